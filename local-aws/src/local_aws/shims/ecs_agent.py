"""What ECS does with a task's execution role before a container starts: images, secrets, logs.

Every step is a request of its own to the local AWS with that role's credentials, so a role that
lacks a permission fails here with the words it fails with on AWS, where
AmazonECS/latest/developerguide/task_execution_IAM_role.html lists the permissions.
"""

import contextlib
import functools
import hashlib
import json
import os
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from ministack.core.responses import get_account_id, get_region
from ministack.services import sts

from local_aws.shims import containers, roles

_RETRIEVAL = (
    "unable to pull secrets or registry auth: execution resource retrieval failed: unable to "
    "retrieve "
)
_making = threading.Lock()  # boto3 makes one client at a time


class InitializationError(Exception):
    """The message is what follows `ResourceInitializationError: ` on AWS."""


class Agent:
    """Acts for the tasks of one task definition, in one account and region.

    It is the containers.Registry of their images, too.
    """

    def __init__(self, account: str, region: str, execution_role: str) -> None:
        self.account = account
        self.region = region
        self._role = execution_role

    def log_in(self) -> None:
        """To ECR."""
        with _retrieving("ecr registry auth: service call has been retried 1 time(s): "):
            self._client("ecr").get_authorization_token()

    def secrets(self, container: dict[str, Any]) -> dict[str, str]:
        """The values of a container definition's `secrets`, from Secrets Manager or SSM."""
        return {s["name"]: self._secret(s["valueFrom"]) for s in container.get("secrets") or []}

    def _secret(self, source: str) -> str:
        if ":secretsmanager:" not in source:
            return self._parameter(source)
        # arn:aws:secretsmanager:region:account:secret:name[:json-key:version-stage:version-id]
        parts = source.split(":")
        arn = ":".join(parts[:7])
        key, stage, version = [*parts[7:], "", "", ""][:3]
        chosen = {"VersionStage": stage} if stage else {}
        chosen |= {"VersionId": version} if version else {}
        tried = "secret from asm: service call has been retried 1 time(s): "
        with _retrieving(f"{tried}failed to fetch secret {arn} from secrets manager: "):
            response = self._client("secretsmanager").get_secret_value(SecretId=arn, **chosen)
        value: str = response["SecretString"]
        if not key:
            return value
        try:
            return str(json.loads(value)[key])
        except (ValueError, KeyError, TypeError) as error:
            missing = f"retrieved secret from Secrets Manager did not contain json key {key}"
            raise InitializationError(_RETRIEVAL + tried + missing) from error

    def _parameter(self, source: str) -> str:
        tried = "secrets from ssm: service call has been retried 1 time(s): "
        with _retrieving(tried):
            response = self._client("ssm").get_parameters(Names=[source], WithDecryption=True)
        if not response["Parameters"]:
            raise InitializationError(f"{_RETRIEVAL}{tried}invalid parameters: {source}")
        return response["Parameters"][0]["Value"]

    def open_log(self, group: str, stream: str, *, create_group: bool) -> None:
        """Make the log stream that the awslogs driver writes to."""
        client = self._client("logs")
        try:
            if create_group:
                with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
                    client.create_log_group(logGroupName=group)
            with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
                client.create_log_stream(logGroupName=group, logStreamName=stream)
        except ClientError as error:
            raise InitializationError(
                "failed to validate logger args: create stream has been retried 1 times: failed "
                f"to create Cloudwatch log stream: {_described(error)} : exit status 1"
            ) from error

    def may_write(self, group: str, stream: str) -> bool:
        """Whether the role lets the awslogs driver put lines into the stream."""
        where = f"{self.region}:{self.account}"
        stream_arn = f"arn:aws:logs:{where}:log-group:{group}:log-stream:{stream}"
        source = f"arn:aws:ecs:{where}:*"
        sender = "ecs-tasks.amazonaws.com"
        denied = roles.denial(self._role, sender, "logs:PutLogEvents", stream_arn, source=source)
        return not self._role or denied is None

    def manifest(self, reference: containers.Reference) -> bytes:
        by = {"imageDigest": reference.digest} if reference.digest else {"imageTag": reference.tag}
        account = reference.account or self.account
        host = f"{account}.dkr.ecr.{reference.region or self.region}.amazonaws.com"
        tag = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
        image = f"{host}/{reference.repository}{tag}"
        try:
            response = self._client("ecr", reference.region).batch_get_image(
                repositoryName=reference.repository, imageIds=[by]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "RepositoryNotFoundException":
                raise containers.not_found(image) from error
            raise containers.PullError(
                f"pull image manifest has been retried 1 time(s): failed to resolve ref {image}: "
                f"{_described(error)}"
            ) from error
        if not response["images"]:
            raise containers.not_found(image)
        manifest: str = response["images"][0]["imageManifest"]
        return manifest.encode()

    def blob(self, reference: containers.Reference, digest: str) -> BinaryIO:
        try:
            response = self._client("ecr", reference.region).get_download_url_for_layer(
                repositoryName=reference.repository, layerDigest=digest
            )
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            return direct.open(response["downloadUrl"], timeout=30)
        except (ClientError, urllib.error.URLError) as error:
            raise containers.PullError(
                f"ref pull has been retried 1 time(s): failed to copy: {digest}: {error}"
            ) from error

    def _client(self, service: str, region: str | None = None) -> Any:
        return client(service, region or self.region, self._role)


@contextlib.contextmanager
def _retrieving(what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise InitializationError(f"{_RETRIEVAL}{what}{_described(error)}") from error


def _described(error: ClientError) -> str:
    return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"


def endpoint() -> str:
    """This server."""
    return f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}"


def credentials(role: str) -> dict[str, str]:
    """A session of a role, as the environment variables that the SDKs read."""
    account, name = role.split(":")[4], role.rsplit("/", 1)[-1]
    session = secrets.token_hex(16)
    access = "ASIA" + secrets.token_hex(8).upper()
    secret = hashlib.sha256(f"secret {session}".encode()).hexdigest()
    token = hashlib.sha256(f"token {session}".encode()).hexdigest()
    sts.register_session(
        access,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
            "UserId": f"{name}:{session}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        },
    )
    return {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": token,
    }


def unassumable(definition: dict[str, Any]) -> str | None:
    """Why ECS may not assume the roles of a task definition; None if it may. It does not say of
    which cluster. The sentence is from memory.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    source = f"arn:aws:ecs:{get_region()}:{get_account_id()}:*"
    for role in (definition.get("taskRoleArn"), definition.get("executionRoleArn")):
        if role and not roles.trusts(role, "ecs-tasks.amazonaws.com", source):
            return (
                f"ECS was unable to assume the role '{role}' that was provided for this task. "
                "Please verify that the role being passed has the proper trust relationship and "
                "permissions and that your IAM user has permissions to pass this role."
            )
    return None


@functools.cache
def client(service: str, region: str, role: str = "") -> Any:
    """A boto3 client of the local AWS with a session of the role, or as the account itself."""
    session = credentials(role) if role else {}
    with _making:
        return _boto3().client(
            service,
            endpoint_url=endpoint(),
            region_name=region,
            aws_access_key_id=session.get("AWS_ACCESS_KEY_ID", "test"),
            aws_secret_access_key=session.get("AWS_SECRET_ACCESS_KEY", "test"),
            aws_session_token=session.get("AWS_SESSION_TOKEN"),
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )


@functools.cache
def _boto3() -> Any:
    """One for all clients: each reads botocore's models anew, and keeps them."""
    return boto3.session.Session()

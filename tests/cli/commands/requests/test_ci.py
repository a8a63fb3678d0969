"""What a workflow of CI may do with the role of the notifications' stack: push, upload and wait."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from demo import ROOT, package
from local_aws import server
from tests.cli.commands.conftest import Operator

ISSUER = "token.actions.githubusercontent.com"
IMAGES = [{"imageTag": "1.1.0"}]
SUBJECT = "repo:team/shop:environment:production"


def token(**claims: str) -> str:
    """A token as GitHub issues it; the local AWS does not check who signed it.

    https://docs.github.com/en/actions/concepts/security/openid-connect
    """
    given = {"iss": f"https://{ISSUER}", "aud": "sts.amazonaws.com", "sub": SUBJECT} | claims
    parts = [{"alg": "RS256"}, given, {}]
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
    return ".".join(text.decode().rstrip("=") for text in texts)


@pytest.fixture
def role(live: Operator) -> Iterator[str]:
    """The role of a service's CI."""
    stage, stack = live.stage, f"{live.stage.service}-ci"
    package.create(
        stage.aws,
        stack,
        {
            "ServiceName": stage.service,
            "GitHubSubject": SUBJECT,
            "CiProviderArn": f"arn:aws:iam::000000000000:oidc-provider/{ISSUER}",
        },
        TemplateBody=(ROOT / "infrastructure/notifications.yaml").read_text(),
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation = stage.aws.client("cloudformation")
    (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    (output,) = described["Outputs"]
    yield str(output["OutputValue"])
    cloudformation.delete_stack(StackName=stack)


def assume(operator: Operator, role: str, **claims: str) -> dict[str, str]:
    result = operator.stage.aws.client("sts").assume_role_with_web_identity(
        RoleArn=role, RoleSessionName="ci", WebIdentityToken=token(**claims)
    )
    return dict(result["Credentials"])


def refused(call: Callable[..., Any], *given: Any, **named: Any) -> None:
    with pytest.raises(ClientError) as failure:
        call(*given, **named)
    assert failure.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")


def decisions(operator: Operator, role: str) -> dict[bool, set[str]]:
    """The actions that the role was allowed, and was not."""
    lines = (operator.stage.aws.directory / server.DECISIONS).read_text().splitlines()
    calls = [call for call in map(json.loads, lines) if call["role"] == role.rpartition("/")[2]]
    return {
        allowed: {call["action"] for call in calls if call["allowed"] == allowed}
        for allowed in (True, False)
    }


def test_a_workflow_pushes_and_waits_with_the_role_and_may_do_nothing_else(
    live: Operator, role: str
) -> None:
    session, stage = assume(live, role), live.stage
    stage.release("1.1.0")
    live.environment = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    assert live.output("wait", "1.1.0")["outcome"] == "SUCCEEDED"
    stage.release("1.2.0", fault="exit-at-start")
    failed = live.run("wait", "1.2.0")
    assert failed.returncode == 1 and "exited with 3" in failed.stderr
    used = decisions(live, role)
    assert used[False] == {"ecs:DescribeServices"}, "how many tasks run is not shown"
    iam = stage.aws.client("iam")
    policy = iam.get_role_policy(RoleName=role.rpartition("/")[2], PolicyName="Wait")
    allowed = {
        action
        for statement in policy["PolicyDocument"]["Statement"]
        for action in (
            statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        )
    }
    assert used[True] == allowed | {"ecr:BatchGetImage"}, "which a push with a cache needs too"

    def client(service: str) -> Any:
        return boto3.Session(
            aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"],
            aws_session_token=session["SessionToken"],
            region_name=stage.aws.region,
        ).client(service, endpoint_url=stage.aws.endpoint)  # type: ignore[call-overload]

    bucket, s3 = stage.outputs["SourceBucket"], client("s3")
    s3.put_object(Bucket=bucket, Key=f"image/{stage.service}/v1.zip", Body=b"x")
    refused(s3.put_object, Bucket=bucket, Key="image/other/v1.zip", Body=b"x")
    client("ecr").get_authorization_token()
    client("ecr").initiate_layer_upload(repositoryName=stage.service)
    refused(client("ecr").initiate_layer_upload, repositoryName="other")
    refused(client("ecr").batch_delete_image, repositoryName=stage.service, imageIds=IMAGES)
    machine = stage.outputs["StateMachine"]
    refused(client("stepfunctions").start_execution, stateMachineArn=machine, input="{}")
    item = {"service": {"S": stage.service}, "id": {"S": "#lock"}}
    table = stage.outputs["ReleasesTable"]
    refused(client("dynamodb").delete_item, TableName=table, Key=item)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "repo:team/shop:ref:refs/heads/main"},
        {"sub": "repo:team/shop:pull_request"},
        {"sub": "repo:other/shop:environment:production"},
        {"aud": "https://github.com/team"},
        {"iss": "https://gitlab.com"},
    ],
    ids=["branch", "pull request", "repository", "audience", "host"],
)
def test_no_other_workflow_assumes_the_role(
    operator: Operator, role: str, claims: dict[str, str]
) -> None:
    refused(assume, operator, role, **claims)

"""A person with an IAM user of the local AWS and an MFA device."""

import itertools
import json
import uuid
from typing import Any

import boto3

from local_aws.aws import LocalAws

VERSION = "2012-10-17"  # of the policy language
# The local AWS takes any six digits for what a device shows, each once.
_codes = (f"{number:06}" for number in itertools.count(100_000))


class Person:
    """An IAM user with an MFA device, who may do what managed policies say; nothing without."""

    def __init__(self, aws: LocalAws, *policies: str) -> None:
        self.aws, self.name, iam = aws, f"ann-{uuid.uuid4().hex[:8]}", aws.client("iam")
        self.arn = iam.create_user(UserName=self.name)["User"]["Arn"]
        self.device = iam.create_virtual_mfa_device(VirtualMFADeviceName=self.name)[
            "VirtualMFADevice"
        ]["SerialNumber"]
        iam.enable_mfa_device(
            UserName=self.name,
            SerialNumber=self.device,
            AuthenticationCode1=next(_codes),
            AuthenticationCode2=next(_codes),
        )
        for policy in policies:
            iam.attach_user_policy(UserName=self.name, PolicyArn=policy)
        self.key = iam.create_access_key(UserName=self.name)["AccessKey"]

    @property
    def mfa(self) -> dict[str, str]:
        return {"SerialNumber": self.device, "TokenCode": next(_codes)}

    def client(
        self, service: str, credentials: dict[str, Any] | None = None, **settings: Any
    ) -> Any:
        """With a session's credentials, or the access key alone."""
        given = credentials or self.key
        any_session: Any = boto3.Session(
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given.get("SessionToken"),
            region_name=self.aws.region,
        )
        return any_session.client(service, endpoint_url=self.aws.endpoint, **settings)

    def session(self, **mfa: str) -> dict[str, Any]:
        return dict(self.client("sts").get_session_token(**mfa)["Credentials"])

    def role(self, policy: str, **mfa: str) -> dict[str, Any]:
        """A session of a role that the person may assume."""
        result = self.client("sts").assume_role(
            RoleArn=self.role_for(policy), RoleSessionName="ann", **mfa
        )
        return dict(result["Credentials"])

    def role_for(self, policy: str) -> str:
        """The ARN of a role that the person may assume."""
        trust = {"Effect": "Allow", "Principal": {"AWS": self.arn}, "Action": "sts:AssumeRole"}
        name, iam = f"{self.name}-{uuid.uuid4().hex[:4]}", self.aws.client("iam")
        arn = str(
            iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(
                    {"Version": "2012-10-17", "Statement": [trust]}
                ),
            )["Role"]["Arn"]
        )
        iam.attach_role_policy(RoleName=name, PolicyArn=policy)
        assume = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arn}
        iam.put_user_policy(
            UserName=self.name,
            PolicyName=name,
            PolicyDocument=json.dumps({"Version": VERSION, "Statement": [assume]}),
        )
        return arn

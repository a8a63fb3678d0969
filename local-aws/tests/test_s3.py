"""S3: where objects are, and who learns that one is missing."""

import io
import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws import server
from local_aws.aws import LocalAws


def reader(aws: LocalAws, name: str, *actions: str) -> Any:
    """S3 as a user sees it who may do these actions."""
    iam = aws.client("iam")
    iam.create_user(UserName=name)
    allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [allow]}
    iam.put_user_policy(UserName=name, PolicyName="one", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.client(
        "s3",
        endpoint_url=aws.endpoint,
        region_name=aws.region,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )


@pytest.mark.parametrize("call", ["get_object", "head_object"])
@pytest.mark.parametrize(("listing", "status"), [(("s3:ListBucket",), 404), ((), 403)])
def test_what_is_not_there_is_forbidden_to_who_may_not_list(
    aws: LocalAws, name: str, call: str, listing: tuple[str, ...], status: int
) -> None:
    aws.client("s3").create_bucket(Bucket=name)
    aws.client("s3").put_object(Bucket=name, Key="there", Body=b"x")
    s3 = reader(aws, name, "s3:GetObject", *listing)
    assert getattr(s3, call)(Bucket=name, Key="there")["ContentLength"] == 1
    with pytest.raises(ClientError) as caught:
        getattr(s3, call)(Bucket=name, Key="nowhere")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_objects_are_not_in_memory(aws: LocalAws, name: str) -> None:
    def used() -> int:
        """Megabytes of all processes of the server."""
        pids = [aws.pid, *server.descendants(aws.pid)]
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
        return sum(int(m[1]) for t in texts if (m := re.search(r"VmRSS:\s+(\d+)", t))) // 1024

    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    before = used()
    contents = [bytes([number]) * (20 << 20) for number in range(6)]
    for content in contents[:3]:
        s3.put_object(Bucket=name, Key="x", Body=content)
    for content in contents[3:]:
        s3.upload_fileobj(io.BytesIO(content), name, "x")  # in parts
        s3.copy_object(Bucket=name, Key="copy", CopySource={"Bucket": name, "Key": "x"})
    assert used() - before < 80
    versions = s3.list_object_versions(Bucket=name, Prefix="x")["Versions"]  # the newest first
    for version, content in zip(reversed(versions), contents, strict=True):
        answer = s3.get_object(Bucket=name, Key="x", VersionId=version["VersionId"])
        assert answer["Body"].read() == content

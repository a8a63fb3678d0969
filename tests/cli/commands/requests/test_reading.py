"""What the operators' policy lets people see, and how large it is."""

import json

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.person import Person


@pytest.mark.parametrize("by", ["user", "role"])
def test_everything_that_is_shown_may_be_seen(live: Operator, ann: Person, by: str) -> None:
    if by == "role":
        result = ann.role(live.stage.outputs["OperatorsPolicy"], **ann.mfa)
        live.environment["AWS_ACCESS_KEY_ID"] = result["AccessKeyId"]
        live.environment["AWS_SECRET_ACCESS_KEY"] = result["SecretAccessKey"]
        live.environment["AWS_SESSION_TOKEN"] = result["SessionToken"]
    output = live.output("status")
    assert (output["live"]["version"], output["unseen"]) == ("1.0.0", {})
    assert output["url"] == live.stage.records()[0]["url"]
    assert live.output("history")["releases"]
    shown = live.run("history", "live")
    assert (shown.returncode, "Verify release" in shown.stdout) == (0, True), shown.stderr
    lines = live.run("logs")
    assert (lines.returncode, "coderd" in lines.stdout) == (0, True), lines.stderr
    assert live.output("hold")["outcome"] == "SUCCEEDED"
    started_by = live.stage.records()[-1]["startedBy"]
    assert started_by == ann.name if by == "user" else started_by.endswith("/ann")


def test_the_policy_fits_into_one(deployer: Stage) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
    iam, arn = deployer.aws.client("iam"), deployer.outputs["OperatorsPolicy"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144

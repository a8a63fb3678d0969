"""Roles in IAM."""

import pytest
from botocore.exceptions import ClientError

from deployer.aws import client, iam
from tests.unit.conftest import ACCOUNT, Script, refusal


@pytest.mark.parametrize("path", ["/", "/service-role/team/"])
def test_a_role_is_found_by_its_arn_whatever_its_path(aws: None, path: str) -> None:
    result = client("iam").create_role(RoleName="coder", Path=path, AssumeRolePolicyDocument="{}")
    assert iam.role_exists(result["Role"]["Arn"])
    assert not iam.role_exists(f"arn:aws:iam::{ACCOUNT}:role/nobody")


def test_another_error_says_nothing_of_the_role(script: Script) -> None:
    script("iam", "GetRole", refusal("ValidationError"))
    with pytest.raises(ClientError):
        iam.role_exists(f"arn:aws:iam::{ACCOUNT}:role/coder")


@pytest.mark.parametrize(
    ("missing", "conditional"),
    [([], False), (["aws:SourceVpce"], True)],
    ids=["plain", "condition"],
)
def test_what_a_role_may_do_is_simulated(
    script: Script, missing: list[str], conditional: bool
) -> None:
    matches = {"EvalActionName": "s3:GetObject", "EvalDecision": "implicitDeny"}
    script(
        "iam",
        "SimulatePrincipalPolicy",
        {"EvaluationResults": [{**matches, "MissingContextValues": missing}]},
    )
    role = f"arn:aws:iam::{ACCOUNT}:role/coder"
    assert iam.decision(role, "s3:GetObject", "arn:aws:s3:::b/k") == ("implicitDeny", conditional)
    (request,) = script.requests("SimulatePrincipalPolicy")
    assert request["PolicySourceArn"] == role and request["ResourceArns"] == ["arn:aws:s3:::b/k"]

"""`deployer promote`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.commands.conftest import Operator


@pytest.fixture
def staging(make: Callable[..., Operator], session: dict[str, str]) -> Operator:
    """An operator of a service on which 1.0.0 is live."""
    made = make()
    made.environment |= session
    assert made.stage.deployed("1.0.0").status == "SUCCEEDED"
    return made


@pytest.fixture
def production(operator: Operator, staging: Operator) -> Operator:
    """The operator of another service of the same repository, which no push deploys."""
    ssm: Any = operator.stage.aws.client("ssm")
    name = f"/deployer/services/{operator.stage.service}"
    spec = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    spec |= {"repository": staging.stage.service, "tags": "production"}
    ssm.put_parameter(Name=name, Value=json.dumps(spec), Overwrite=True)
    pull = ["ecr:BatchGetImage"]  # the layers are here, since the other service runs them
    arn = f"arn:aws:ecr:us-east-1:000000000000:repository/{staging.stage.service}"
    allowed = {"Effect": "Allow", "Action": pull, "Resource": arn}
    operator.stage.aws.client("iam").put_role_policy(
        RoleName=f"{operator.stage.service}-execution",
        PolicyName="staging",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    return operator


@pytest.mark.walk
def test_what_one_service_verified_is_deployed_to_another(
    staging: Operator, production: Operator
) -> None:
    verified = staging.stage.records()[-1]
    to = production.stage.service
    document = staging.output("promote", "--to", to)
    assert (document["outcome"], document["version"]) == ("SUCCEEDED", "1.0.0")
    record = production.stage.records()[-1]
    assert (record["trigger"], record["digest"]) == ("deploy", verified["digest"])
    origin = {"service": staging.stage.service, "release": verified["id"], "version": "1.0.0"}
    assert record["promotedFrom"] == origin
    shown = production.run("history", "last").stdout
    assert f"from {staging.stage.service} 1.0.0 ({verified['id']})" in shown

    started = staging.run("promote", "--to", to, "--detach").stdout
    (arn,) = (execution for execution in production.stage.own_executions() if execution in started)
    assert f"--service {to}" in started, "what is printed is about the service that it deploys to"
    production.stage.ended(arn)

    assert staging.stage.deployed("1.1.0", fault="exit-at-start").status == "FAILED"
    refused = staging.run("promote", "1.1.0", "--to", to)
    assert refused.returncode == 6 and "FAILED" in refused.stderr
    request: dict[str, Any] = {"action": "deploy", "image": "1.1.0", "service": to}
    failed = staging.stage.records()[-1]
    request["promotedFrom"] = origin | {"release": failed["id"], "version": "1.1.0"}
    assert production.stage.ended(production.stage.start(request)).status == "FAILED"
    assert production.stage.records()[-1]["outcome"] == "FAILED"
    assert production.output("status")["live"]["digest"] == verified["digest"]


def test_a_promotion_that_is_not_possible_is_refused_before_anything_starts(
    staging: Operator, make: Callable[..., Operator]
) -> None:
    other = make()
    nowhere = staging.run("promote", "--to", "nowhere")
    assert nowhere.returncode == 2
    assert "deployer-nowhere" in nowhere.stderr
    itself = staging.run("promote", "--to", staging.stage.service)
    assert itself.returncode == 2 and "comes from" in itself.stderr
    elsewhere = staging.run("promote", "--to", other.stage.service)
    digest = staging.stage.records()[-1]["digest"]
    assert elsewhere.returncode == 6
    assert f"{staging.stage.service}@{digest}" in elsewhere.stderr
    assert f"/{other.stage.service}:1.0.0" in elsewhere.stderr
    assert other.stage.records() == []

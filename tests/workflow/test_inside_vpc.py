"""With the deployer in the VPC, what only the VPC reaches is verified at its private address."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo.stage import Stage
from local_aws.aws import LocalAws
from tests.benchmarks.first_release import KINDS, run, walk

pytestmark = pytest.mark.slow

SUBNETS, GROUP = ("subnet-00000001", "subnet-00000002"), "sg-00000001"  # of the default VPC


@pytest.fixture(scope="module")
def inside() -> Iterator[Stage]:
    """A deployer in the default VPC."""
    parameters = {"VerifySubnetIds": ",".join(SUBNETS), "VerifySecurityGroupId": GROUP}
    with LocalAws.start(settings={"ECS_HEALTH_CHECK_SCALE": "0.2"}) as aws:
        yield Stage.set_up(aws, "vpc", patterns="vpc*", parameters=parameters, kept=True)


def test_an_internal_service_is_verified_at_its_private_address(
    inside: Stage, tmp_path: Path
) -> None:
    stage, kind = replace(inside, service="vpc-web"), KINDS["an internal service"]
    walk(stage, stage.service, kind, tmp_path)
    (record,) = stage.records()
    assert stage.spec()["verify"] == {"path": "/"}
    tasks = stage.aws.client("ecs").list_tasks(cluster=stage.cluster, serviceName=stage.service)
    (task,) = stage.aws.client("ecs").describe_tasks(
        cluster=stage.cluster, tasks=tasks["taskArns"]
    )["tasks"]
    details = {d["name"]: d["value"] for a in task["attachments"] for d in a["details"]}
    assert record["url"] == f"http://{details['privateIPv4Address']}:8080"
    assert record["reason"] == "/ answered 200"

    run(stage, tmp_path, "deploy", "1.0.0", "--dry-run", "--service", stage.service)


def test_the_data_of_a_running_release_is_read_from_inside(inside: Stage) -> None:
    first = inside.deployed("1.0.0")
    assert (first.status, "Verify release that runs" in first.path) == ("SUCCEEDED", False)
    second = inside.deployed("1.1.0")
    assert (second.status, "Verify release that runs" in second.path) == ("SUCCEEDED", True)
    assert inside.records()[-1]["probes"] == inside.records()[0]["probes"]

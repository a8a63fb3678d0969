"""A web service, a worker and a migration of one image: live together, or not at all."""

from collections.abc import Iterator
from typing import Any

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.workflow.test_tasks import MIGRATE

# the image of 1.1.2 has a worker that crashes
WORK = "if grep -q 1.1.2 release.json; then echo no such queue; exit 4; fi; exec sleep 600"


@pytest.fixture
def both(live: Stage) -> Iterator[Stage]:
    """A service on which 1.0.0 is live, whose spec names a worker too."""
    worker = {
        "service": f"{live.service}-worker",
        "wave": 2,
        "taskDefinition": live.service,
        "override": {"command": ["sh", "-c", WORK]},
        "serviceDefinition": live.spec()["serviceDefinition"],
        "timeout": 60,
        "bake": 1,
    }
    live.specify(services=[worker], before={"command": ["sh", "-c", MIGRATE], "timeout": 60})
    yield live
    ecs = live.aws.client("ecs")
    ecs.delete_service(cluster=live.cluster, service=worker["service"], force=True)


def running(stage: Stage) -> dict[str, Any]:
    """The task definition that each service runs, and how many tasks."""
    names = [stage.service, f"{stage.service}-worker"]
    ecs = stage.aws.client("ecs")
    described = ecs.describe_services(cluster=stage.cluster, services=names)["services"]
    return {one["serviceName"]: (one["taskDefinition"], one["runningCount"]) for one in described}


@pytest.mark.walk
def test_web_and_worker_are_released_together_and_put_back_together(both: Stage) -> None:
    web, worker = both.service, f"{both.service}-worker"
    done = both.deployed("1.1.0")
    assert done.status == "SUCCEEDED", (done.error, done.cause)
    assert [name for name in done.path if name == "Update service"] == ["Update service"] * 2
    good = both.records()[-1]
    assert (good["outcome"], good["before"]["exitCode"]) == ("SUCCEEDED", 0)
    own = good["services"][worker]
    assert running(both) == {
        web: (good["taskDefinition"], 1),
        worker: (own["taskDefinition"], 1),
    }
    operator = Operator(both)
    (further,) = operator.output("deploy", "1.0.0", "--dry-run")["further"]
    assert (further["name"], further["wave"]) == (worker, 2)
    assert further["taskDefinition"]["runs"] == own["taskDefinition"]

    failed = both.deployed("1.1.2")
    assert (failed.status, failed.error) == ("FAILED", "RolloutFailed"), failed.cause
    record = both.records()[-1]
    assert record["outcome"] == "FAILED_ROLLED_BACK"
    assert record["diagnosis"]["service"] == worker
    assert record["diagnosis"]["log"] == ["no such queue"] * len(record["diagnosis"]["log"]) != []
    assert {*record["updating"]} == {web, worker}
    back = [record["rollback"], record["rollback"]["services"][worker]]
    assert [one["action"] for one in back] == ["ROLL_BACK", "ROLL_BACK"]
    document = operator.output("status")
    (further,) = document["further"]
    assert (further["service"], further["serves"]["verified"]) == (worker, True)
    assert (document["live"]["version"], document["alarm"]) == ("1.1.0", None)
    shown = operator.run("history", "last").stdout
    assert f"{worker} " in shown and "failed, ROLL_BACK: rolling back to 1.1.0" in shown
    assert f" {worker} " in operator.run("logs").stdout
    findings = operator.run("doctor").stdout
    assert f"{worker}: " in findings
    assert running(both) == {
        web: (good["taskDefinition"], 1),
        worker: (own["taskDefinition"], 1),
    }

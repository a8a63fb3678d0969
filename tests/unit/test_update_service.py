"""The service is updated, or created; one call starts one rollout."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import update_service
from deployer.aws import client, ecs
from deployer.deploy.rollout import Rollout
from deployer.errors import ServiceDraining
from deployer.store import releases
from tests.unit.conftest import Clock, Script, refusal
from tests.unit.samples import (
    BALANCER,
    MISSING,
    REVISION,
    before,
    document,
    ours,
    payload,
    previous,
    release,
    service,
)

pytestmark = pytest.mark.usefixtures("lock_held")


def handle(request: Any, context: Any) -> Rollout:
    started = update_service.handler(request, context)
    assert started
    return started


BEFORE = {"services": [service(before(status="PRIMARY", runningCount=1))]}
AFTER = {"service": service(ours(rolloutState="IN_PROGRESS"), before(runningCount=1))}


@pytest.fixture
def there(script: Script, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Script:
    """A service that runs the release before."""
    monkeypatch.setattr(ecs, "time", clock)
    script("ecs", "DescribeServices", BEFORE)
    script("ecs", "DescribeTaskDefinition", {"taskDefinition": document()["taskDefinition"]})
    script("ecs", "UpdateService", AFTER)
    script("ecs", "CreateService", refusal("MustNotBeAsked"))
    return script


@pytest.fixture
def not_there(there: Script) -> Script:
    there("ecs", "DescribeServices", {"services": [service(status="INACTIVE")]})
    there("ecs", "UpdateService", refusal("ServiceNotActiveException"))
    there("ecs", "CreateService", AFTER)
    return there


def test_a_service_that_is_there_is_updated_once(there: Script, context: Any) -> None:
    started = handle(payload(), context)
    assert started["id"] == "ecs-svc/1"
    assert started["taskDefinition"] == REVISION
    (request,) = there.requests("UpdateService")
    assert (request["cluster"], request["service"]) == ("coder", "coder")
    assert request["taskDefinition"] == REVISION
    assert "desiredCount" not in request
    assert request["deploymentConfiguration"]["maximumPercent"] == 100


@pytest.mark.parametrize(
    ("changes", "bake"),
    [
        ({}, 0),
        ({"verify": MISSING}, 0),
        ({"verify": MISSING, "one__healthCheck": MISSING}, 60),
        ({"verify": MISSING, "one__healthCheck": MISSING, "bake": 0}, 0),
        ({"bake": 300}, 300),
    ],
    ids=["verified", "a health check", "nothing to ask", "none wanted", "wanted"],
)
def test_what_nothing_checks_bakes(
    there: Script, context: Any, changes: dict[str, Any], bake: int
) -> None:
    spec = document(**changes)
    there("ecs", "DescribeTaskDefinition", {"taskDefinition": spec["taskDefinition"]})
    assert handle(payload(spec=spec), context)["bake"] == bake


def test_an_alarm_that_is_raised_before_a_rollout_is_not_watched_in_it(
    there: Script, context: Any
) -> None:
    alarms = [
        {"AlarmName": "errors", "StateValue": "ALARM"},
        {"AlarmName": "latency", "StateValue": "INSUFFICIENT_DATA"},
    ]
    there("cloudwatch", "DescribeAlarms", {"MetricAlarms": alarms})
    spec = document(alarms=["errors", "latency"])
    assert handle(payload(spec=spec), context)["alarms"] == ["latency"]


def test_a_rollout_knows_where_it_runs_and_serves(there: Script, context: Any) -> None:
    started = handle(payload(), context)
    (request,) = there.requests("UpdateService")
    assert (started["port"], started["network"]) == (3000, request["networkConfiguration"])


def test_an_earlier_revision_serves_by_its_own_container(there: Script, context: Any) -> None:
    container = {"name": "old", "image": "x/coder:1", "portMappings": [{"containerPort": 9000}]}
    matches = {"taskDefinition": {"containerDefinitions": [container]}}
    there("ecs", "DescribeTaskDefinition", matches)
    given = payload(spec=document(**BALANCER), release=release(taskDefinition=REVISION))
    assert handle(given, context)["port"] == 9000
    ((target,),) = (request["loadBalancers"] for request in there.requests("UpdateService"))
    assert (target["containerName"], target["containerPort"]) == ("old", 9000)


@pytest.mark.parametrize("restore", ["a-snapshot", None])
def test_tasks_of_the_same_revision_are_replaced_to_read_where_the_restored_database_is(
    there: Script, context: Any, restore: str | None
) -> None:
    there("ecs", "DescribeServices", {"services": [service(ours())]})
    handle(payload(release=release(restore=restore)), context)
    (request,) = there.requests("UpdateService")
    assert request.get("forceNewDeployment", False) == (restore is not None)
    assert request["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"] is False


def test_a_service_that_was_stopped_for_a_restoration_is_started_with_the_update(
    there: Script, context: Any
) -> None:
    restoring = release(restore="a-snapshot")
    releases.open_release(restoring)
    releases.note(restoring, restoration={"stopped": {"coder": 3, "worker": 5}})
    handle(payload(release=restoring), context)
    (request,) = there.requests("UpdateService")
    assert request["desiredCount"] == 3


def test_a_rollout_has_the_specs_time(there: Script, context: Any) -> None:
    started = handle(payload(spec=document(timeout=900)), context)
    left = datetime.fromisoformat(started["deadline"]) - datetime.now(UTC)
    assert timedelta(seconds=890) < left <= timedelta(seconds=900)


def test_a_service_that_we_stopped_is_started_with_the_update(there: Script, context: Any) -> None:
    handle(payload(desiredCount=2), context)
    (request,) = there.requests("UpdateService")
    assert request["desiredCount"] == 2


@pytest.mark.parametrize(
    ("earlier", "now", "automatic"),
    [
        (previous(), release(), True),
        (None, release(), False),
        (previous(), release(schema={"number": 13, "hash": "f01"}), False),
        (previous(schema=None), release(), False),
        (previous(schema=None), release(schema=None), True),
    ],
    ids=["same schema", "first", "grew", "unknown before", "no schemas"],
)
def test_ecs_goes_back_by_itself_only_where_the_release_before_could_run(
    there: Script, context: Any, earlier: Any, now: Any, automatic: bool
) -> None:
    spec = document(database={"instance": "coder-db"})
    handle(payload(previous=earlier, release=now, spec=spec), context)
    (request,) = there.requests("UpdateService")
    breaker = request["deploymentConfiguration"]["deploymentCircuitBreaker"]
    assert breaker == {"enable": True, "rollback": automatic}


def test_a_read_that_lags_behind_the_update_is_waited_for(there: Script, context: Any) -> None:
    there("ecs", "UpdateService", {"service": BEFORE["services"][0]})
    there("ecs", "DescribeServices", BEFORE, BEFORE, {"services": [AFTER["service"]]})
    assert handle(payload(), context)["id"] == "ecs-svc/1"
    assert len(there.requests("UpdateService")) == 1


def test_a_rollout_that_an_earlier_try_noted_is_not_begun_again(
    there: Script, context: Any
) -> None:
    """Not even if ECS has given it up and gone back meanwhile."""
    started = handle(payload(), context)
    there("ecs", "DescribeServices", BEFORE)
    assert handle(payload(), context) == started
    assert len(there.requests("UpdateService")) == 1


def test_a_service_that_is_not_there_is_created(not_there: Script, context: Any) -> None:
    started = handle(payload(previous=None), context)
    assert started["id"] == "ecs-svc/1"
    (request,) = not_there.requests("CreateService")
    assert (request["serviceName"], request["launchType"]) == ("coder", "FARGATE")
    assert request["desiredCount"] == 1
    assert not not_there.requests("UpdateService")


def test_creating_a_service_again_for_the_same_release_is_one_call(
    not_there: Script, context: Any
) -> None:
    for _ in range(2):  # the first try dies before it notes the rollout
        handle(payload(), context)
        client("dynamodb").delete_item(
            TableName="releases", Key={"service": {"S": "coder"}, "id": {"S": release()["id"]}}
        )
    handle(payload(release=release(id="another")), context)
    first, second, other = (call["clientToken"] for call in not_there.requests("CreateService"))
    assert first == second != other
    assert len(first) <= 36


def test_a_predecessor_that_still_drains_is_waited_for_by_name(
    not_there: Script, context: Any
) -> None:
    not_there("ecs", "DescribeServices", {"services": [service(status="DRAINING")]})
    not_there("ecs", "CreateService", refusal("InvalidParameterException"))
    with pytest.raises(ServiceDraining, match="coder"):
        handle(payload(), context)


def test_a_restart_makes_new_tasks_of_the_same_revision(there: Script, context: Any) -> None:
    runs = service(before(status="PRIMARY", runningCount=1, taskDefinition=REVISION))
    there("ecs", "DescribeServices", {"services": [runs]})
    again = release(trigger="restart", taskDefinition=REVISION)
    handle(payload(release=again), context)
    (request,) = there.requests("UpdateService")
    assert (request["forceNewDeployment"], request["taskDefinition"]) == (True, REVISION)

"""A release of several services: updated in waves, steady together, put back together."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

import diagnose_failure
import fetch_addresses
import poll_health
import record_failure
import register_task_definition
import roll_back
import update_service
import verify_release
from deployer import lock
from deployer.aws import ecs
from deployer.deploy import (
    diagnosis,
    history,
    identification,
    rollback,
    serving,
    verification,
    waves,
)
from deployer.deploy import spec as specs
from deployer.deploy.prerequisites import shared_groups
from deployer.deploy.rollout import Verdict
from deployer.store import releases, table
from deployer.usecases import read_overview
from tests.unit.conftest import Clock, Script, Web, refusal
from tests.unit.samples import (
    GROUP,
    MISSING,
    NOW,
    OLD_REVISION,
    REVISION,
    crashed,
    document,
    payload,
    previous,
    recorded,
    release,
    rollout,
    service,
    spec,
    task,
)

pytestmark = pytest.mark.usefixtures("lock_held")

WORKER_REVISION = REVISION.replace("/coder:", "/worker:")
OLD_WORKER = OLD_REVISION.replace("/coder:", "/worker:")
WORKER = {
    "service": "worker",
    "taskDefinition": {**document()["taskDefinition"], "family": "worker"},
    "serviceDefinition": document()["serviceDefinition"],
}
TOGETHER = document(services=[WORKER])
IN_WAVES = document(services=[{**WORKER, "wave": 2}])
SPEC = spec(services=[WORKER])
BEFORE = {"worker": {"previous": previous(taskDefinition=OLD_WORKER), "wasRunning": True,
                     "desiredCount": None}}  # fmt: skip


class Cluster:
    """Two services of ECS, in one cluster; each update begins a rollout."""

    def __init__(self, script: Script) -> None:
        self.script, self.started = script, 0
        self.refused: set[str] = set()
        self.revisions = {"coder": OLD_REVISION, "worker": OLD_WORKER}
        self.state = {"coder": "COMPLETED", "worker": "COMPLETED"}
        self.ids = {"coder": "ecs-svc/0", "worker": "ecs-svc/00"}
        script("ecs", "DescribeServices", self.describe)
        script("ecs", "UpdateService", self.update)
        script("ecs", "DescribeTaskDefinition", {"taskDefinition": document()["taskDefinition"]})
        script("ecs", "ListTasks", {"taskArns": []})
        script("ecs", "DescribeTasks", {"tasks": []})
        script("stepfunctions", "SendTaskSuccess", {})

    def shown(self, name: str) -> dict[str, Any]:
        deployment = {
            "id": self.ids[name],
            "status": "PRIMARY",
            "taskDefinition": self.revisions[name],
            "rolloutState": self.state[name],
            "desiredCount": 1,
            "runningCount": 1,
            "createdAt": NOW,
        }
        return service(deployment, serviceName=name)

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"services": [self.shown(name) for name in request["services"]]}

    def update(self, request: dict[str, Any]) -> dict[str, Any] | ClientError:
        name = request["service"]
        if name in self.refused:
            return refusal("InvalidParameterException")
        self.started += 1
        self.ids[name] = f"ecs-svc/{self.started}"
        self.revisions[name], self.state[name] = request["taskDefinition"], "IN_PROGRESS"
        return {"service": self.shown(name)}

    @property
    def updates(self) -> list[tuple[str, str]]:
        """Which services were updated, to what."""
        requests = self.script.requests("UpdateService")
        return [(one["service"], one["taskDefinition"]) for one in requests]


@pytest.fixture
def cluster(script: Script, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The services, and the record of a release whose revisions are registered."""
    monkeypatch.setattr(ecs, "time", clock)
    monkeypatch.setattr(roll_back, "time", clock)
    releases.open_release(release())
    registered = {"worker": {"taskDefinition": WORKER_REVISION}}
    releases.note(release(), servicesBefore=BEFORE, services=registered)
    yield Cluster(script)


def record() -> Any:
    return releases.find("coder", release()["id"])


def test_each_service_gets_a_revision_of_its_own(script: Script, context: Any) -> None:
    releases.open_release(release())
    script("ecs", "DescribeTaskDefinition", refusal("ClientException"))
    script("ecs", "RegisterTaskDefinition", lambda request: {"taskDefinition": {
        "taskDefinitionArn": REVISION.replace("/coder:", f"/{request['family']}:")}})  # fmt: skip
    done = register_task_definition.handler(payload(spec=TOGETHER, previous=None), context)
    assert done["taskDefinition"] == record()["taskDefinition"] == REVISION
    assert record()["services"]["worker"]["taskDefinition"] == WORKER_REVISION
    families = [one["family"] for one in script.requests("RegisterTaskDefinition")]
    assert families == ["coder", "worker"]


def test_a_late_preflight_changes_nothing_of_what_was_updated(cluster: Cluster) -> None:
    releases.note_before(release(), wasRunning=False)
    assert record()["wasRunning"] is False
    releases.note(release(), updating=["coder"])
    releases.note_before(release(), wasRunning=True, servicesBefore={})
    assert (record()["wasRunning"], record()["servicesBefore"]) == (False, BEFORE)


def test_a_wave_is_updated_together(cluster: Cluster, context: Any) -> None:
    started = update_service.handler(payload(spec=TOGETHER, wave=1), context)
    assert started and started["id"] == "ecs-svc/1"
    assert cluster.updates == [("coder", REVISION), ("worker", WORKER_REVISION)]
    assert record()["updating"] == ["coder", "worker"]
    assert record()["services"]["worker"]["rollout"]["id"] == "ecs-svc/2"


def test_a_late_second_try_of_a_wave_begins_no_other(cluster: Cluster, context: Any) -> None:
    for _ in range(2):
        update_service.handler(payload(spec=IN_WAVES, wave=1), context)
    assert cluster.updates == [("coder", REVISION)]
    update_service.handler(payload(spec=IN_WAVES, wave=2), context)
    assert cluster.updates == [("coder", REVISION), ("worker", WORKER_REVISION)]


def test_a_retry_goes_on_with_the_rest_of_a_wave(cluster: Cluster, context: Any) -> None:
    cluster.refused = {"worker"}
    with pytest.raises(ClientError):
        update_service.handler(payload(spec=TOGETHER, wave=1), context)
    assert (record()["updating"], "rollout" in record()["services"]["worker"]) == (
        ["coder", "worker"],
        False,
    )
    cluster.refused = set()
    update_service.handler(payload(spec=TOGETHER, wave=1), context)
    assert [name for name, _ in cluster.updates] == ["coder", "worker", "worker"]


def poll(described: dict[str, Any], context: Any, **more: Any) -> Verdict:
    return poll_health.handler(payload(spec=described, **more), context)


def test_all_must_be_steady(cluster: Cluster, context: Any) -> None:
    update_service.handler(payload(spec=TOGETHER, wave=1), context)
    cluster.state["coder"] = "COMPLETED"
    verdict = poll(TOGETHER, context)
    assert (verdict["health"], verdict["reason"].split(":")[0]) == ("ROLLING", "worker")
    cluster.state["worker"] = "COMPLETED"
    assert poll(TOGETHER, context)["health"] == "STEADY"
    for number in (1, 2):  # an event of either wakes the execution
        assert table.get(f"rollout:ecs-svc/{number}", "token")


def test_one_that_fails_is_named(cluster: Cluster, context: Any) -> None:
    update_service.handler(payload(spec=TOGETHER, wave=1), context)
    cluster.state["worker"] = "FAILED"
    verdict = poll(TOGETHER, context)
    assert (verdict["health"], verdict["service"]) == ("FAILED", "worker")
    assert verdict["reason"].startswith("worker: ECS gave it up")
    failure = {"Error": verdict["error"], "Cause": verdict["reason"], "Service": "worker"}
    dead = crashed(startedBy="ecs-svc/2", stoppedAt=datetime.now(UTC))
    cluster.script("ecs", "ListTasks", {"taskArns": [dead["taskArn"]]})
    cluster.script("ecs", "DescribeTasks", {"tasks": [dead]})
    cluster.script("logs", "GetLogEvents", {"events": []})
    diagnosed = diagnose_failure.handler(payload(spec=TOGETHER, failure=failure), context)
    assert (diagnosed["service"], diagnosed["kind"]) == ("worker", "crash")
    asked = {one["serviceName"] for one in cluster.script.requests("ListTasks")[-1:]}
    assert asked == {"worker"}


def test_the_next_wave_follows_the_steady_one(cluster: Cluster, context: Any) -> None:
    update_service.handler(payload(spec=IN_WAVES, wave=1), context)
    assert poll(IN_WAVES, context)["health"] == "ROLLING"
    cluster.state["coder"] = "COMPLETED"
    assert poll(IN_WAVES, context)["health"] == "NEXT"
    update_service.handler(payload(spec=IN_WAVES, wave=2), context)
    cluster.state["coder"] = "FAILED"  # of the wave before, meanwhile
    assert poll(IN_WAVES, context)["service"] == "coder"


def test_all_go_back_those_too_that_were_steady(cluster: Cluster, context: Any) -> None:
    update_service.handler(payload(spec=TOGETHER, wave=1), context)
    cluster.state = {"coder": "COMPLETED", "worker": "FAILED"}
    decided = roll_back.handler(payload(spec=TOGETHER, rollout=record()["rollout"]), context)
    assert decided["action"] == decided["services"]["worker"]["action"] == "ROLL_BACK"
    assert cluster.updates[2:] == [("coder", OLD_REVISION), ("worker", OLD_WORKER)]
    assert poll(TOGETHER, context, rollback=decided)["health"] == "ROLLING"
    cluster.state = {"coder": "FAILED", "worker": "IN_PROGRESS"}  # one that failed waits for all
    assert poll(TOGETHER, context, rollback=decided)["health"] == "ROLLING"
    cluster.state = {"coder": "COMPLETED", "worker": "COMPLETED"}
    assert poll(TOGETHER, context, rollback=decided)["health"] == "STEADY"


def test_what_was_updated_before_a_refusal_goes_back(cluster: Cluster, context: Any) -> None:
    cluster.refused = {"worker"}
    with pytest.raises(ClientError):
        update_service.handler(payload(spec=TOGETHER, wave=1), context)
    failure = {"Error": "ClientError", "Cause": "refused"}
    diagnosed = diagnose_failure.handler(payload(spec=TOGETHER, failure=failure), context)
    assert diagnosed["service"] == "worker"
    decided = roll_back.handler(payload(spec=TOGETHER, rollout=None), context)
    assert decided["action"] == "ROLL_BACK"
    assert decided["services"]["worker"]["reason"] == "the service was not changed"
    assert cluster.updates[-1] == ("coder", OLD_REVISION)
    assert rollback.complete(decided)


def test_a_service_of_a_later_wave_is_not_waited_for(
    cluster: Cluster, context: Any, clock: Clock
) -> None:
    update_service.handler(payload(spec=IN_WAVES, wave=1), context)
    began, described = clock.now, len(cluster.script.requests("DescribeServices"))
    decided = roll_back.handler(payload(spec=IN_WAVES, rollout=record()["rollout"]), context)
    assert decided["services"]["worker"]["action"] == "LEAVE"
    asked = cluster.script.requests("DescribeServices")[described:]
    assert {name for one in asked for name in one["services"]} == {"coder"}
    assert clock.now == began


def test_what_an_earlier_release_left_unverified_goes_back_too(
    cluster: Cluster, context: Any
) -> None:
    update_service.handler(payload(spec=IN_WAVES, wave=1), context)
    before = {"worker": {**BEFORE["worker"], "runs": "unverified"}}
    releases.note(release(), servicesBefore=before)
    cluster.revisions["worker"] = "unverified"
    decided = roll_back.handler(payload(spec=IN_WAVES, rollout=record()["rollout"]), context)
    assert decided["services"]["worker"]["action"] == "ROLL_BACK"
    assert cluster.updates[-1] == ("worker", OLD_WORKER)


def test_the_others_go_back_if_one_cannot(cluster: Cluster, context: Any) -> None:
    update_service.handler(payload(spec=TOGETHER, wave=1), context)
    cluster.refused = {"coder"}
    with pytest.raises(ClientError):
        roll_back.handler(payload(spec=TOGETHER), context)
    assert cluster.updates[-1] == ("worker", OLD_WORKER)


def test_the_tasks_of_one_may_have_migrated_the_database_of_all(
    cluster: Cluster, context: Any
) -> None:
    update_service.handler(payload(spec=TOGETHER, wave=1), context)
    ran = task(startedBy="ecs-svc/2")
    cluster.script("ecs", "ListTasks", {"taskArns": [ran["taskArn"]]})
    cluster.script("ecs", "DescribeTasks", {"tasks": [ran]})
    grown = release(schema={"number": 13, "hash": "f01"})
    decided = roll_back.handler(payload(spec=TOGETHER, release=grown), context)
    assert decided["action"] == decided["services"]["worker"]["action"] == "LEAVE"
    assert not rollback.complete(decided)


def test_a_release_that_stays_anywhere_was_not_rolled_back(
    cluster: Cluster, context: Any, announced: Any
) -> None:
    update_service.handler(payload(spec=TOGETHER, wave=1), context)
    cluster.revisions["worker"] = "theirs"
    cluster.ids["worker"] = "ecs-svc/9"
    decided = roll_back.handler(payload(spec=TOGETHER), context)
    assert decided["services"]["worker"]["reason"] == "somebody else deployed theirs; it stays"
    ending = record_failure.handler(
        payload(spec=TOGETHER, rollback=decided, restored=True), context
    )
    assert ending["outcome"] == "FAILED"
    assert "Not all rolled back" in ending["cause"] and "worker: somebody else" in ending["cause"]
    assert announced() == ["FAILED"]


def test_each_service_is_verified_where_it_answers(
    cluster: Cluster, context: Any, web: Web
) -> None:
    verify = {"path": "/ready", "unchanged": [{"path": "/id", "field": "id"}]}
    described = document(verify=MISSING, services=[{**WORKER, "verify": verify, "url": web.url}])
    update_service.handler(payload(spec=described, wave=1), context)
    own = record()["rollout"]
    hosts = fetch_addresses.handler(payload(spec=described, rollout=own), context)
    assert hosts["services"] == {"worker": {"url": web.url, "tasks": []}}
    assert hosts["deadline"] >= own["deadline"]
    web.answer("/ready", "")
    web.answer("/id", '{"id": "a"}')
    asked: Any = payload(
        spec=described, rollout=own, addresses=hosts, probes={"worker /id#id": "a"}
    )
    found = verify_release.handler(asked, context)
    assert (found["verdict"], found["probes"]) == ("VERIFIED", {"worker /id#id": "a"})
    web.answer("/id", '{"id": "b"}')
    late: Any = {**hosts, "deadline": NOW.isoformat()}
    asked |= {"addresses": late}
    found = verify_release.handler(asked, context)
    assert (found["verdict"], found["service"]) == ("REFUTED", "worker")


# Decisions ----------------------------------------------------------------------------------------


def verdict(health: Any, reason: str = "", **more: Any) -> Any:
    return {"health": health, "ended": False, "error": "", "reason": reason, **more}


@pytest.mark.parametrize(
    ("healths", "health"),
    [
        (("STEADY", "STEADY"), "STEADY"),
        (("STEADY", "ROLLING"), "ROLLING"),
        (("BAKING", "ROLLING"), "ROLLING"),
        (("BAKING", "STEADY"), "BAKING"),
        (("FAILED", "ROLLING"), "FAILED"),
    ],
)
def test_the_verdict_is_that_of_the_worst(healths: tuple[Any, ...], health: str) -> None:
    verdicts = {f"s{n}": verdict(one, seconds=n) for n, one in enumerate(healths)}
    assert waves.together(verdicts, more=False)["health"] == health


def test_a_bake_is_waited_for_as_long_as_the_longest() -> None:
    verdicts = {"a": verdict("BAKING", seconds=5), "b": verdict("BAKING", seconds=20)}
    assert waves.together(verdicts, more=True) == verdict("BAKING", "a: ; b: ", seconds=20)


def test_a_steady_service_has_as_long_as_those_of_later_waves() -> None:
    early, late = rollout(deadline="2026-01-01"), rollout(deadline="2026-01-02")
    waved = specs.from_document(IN_WAVES, "x")
    polled = waves.polled(waved, {"coder": early, "worker": late})
    assert [one["deadline"] for _, one in polled] == ["2026-01-02"] * 2
    polled = waves.polled(SPEC, {"coder": early, "worker": late})
    assert [one["deadline"] for _, one in polled] == ["2026-01-01", "2026-01-02"]


def test_a_further_service_has_a_history_of_its_own() -> None:
    worker = SPEC.further[0]
    own = {"worker": {"taskDefinition": WORKER_REVISION, "rollout": rollout(id="ecs-svc/2")}}
    back = {"action": "ROLL_BACK", "reason": "", "services": {"worker": {"action": "STOP"}}}
    records = [recorded(services=own, rollback=back), recorded(id="2025")]
    (entry,) = history.of_service(records, worker)
    assert (entry["taskDefinition"], entry["rollback"]) == (WORKER_REVISION, {"action": "STOP"})
    assert history.of_service(records, SPEC) == records
    assert history.began(records, "ecs-svc/2") == records[0]


def test_a_rollback_by_hand_runs_the_revision_of_each() -> None:
    own = {"worker": {"taskDefinition": WORKER_REVISION}}
    again = identification.again(recorded(services=own), "rollback", None, True, "arn", NOW)
    assert again["taskDefinitions"] == {"worker": WORKER_REVISION}
    again = identification.again(recorded(services=own), "rollback", None, False, "arn", NOW)
    assert "taskDefinitions" not in again


def test_what_a_recovery_cleans_up_is_what_the_release_had() -> None:
    assert specs.with_services(IN_WAVES, ["worker"]) == IN_WAVES
    more = specs.with_services(document(), ["worker"])
    assert specs.from_document(more, "x").further[0].service == "worker"


def test_the_probes_of_two_services_are_kept_apart() -> None:
    worker = verification.in_release({"/": "2"}, "worker")
    both = {**verification.in_release({"/": "1"}, None), **worker}
    assert verification.of_service(both, None) == {"/": "1"}
    assert verification.of_service(both, "worker") == {"/": "2"}


def test_a_release_that_changed_any_service_counts_as_one_that_did() -> None:
    began: Any = {"outcome": "FAILED", "lockedAt": "2026-11-24", "updating": ["worker"]}
    later = recorded(**began)
    earlier: Any = {**release(), "lockedAt": "2026-11-23"}
    assert lock._later(earlier, [later]) == later
    lasted = history.applied_schema([recorded(**began, services={"worker": {
        "rollout": rollout()}}, schema={"number": 13, "hash": "f01"})])  # fmt: skip
    assert lasted == {"number": 13, "hash": "f01"}


def test_what_serves_is_asked_of_each_service(cluster: Cluster) -> None:
    own = {"worker": {"taskDefinition": WORKER_REVISION}}
    records = [recorded(taskDefinition=REVISION, services=own)]
    current: Any = cluster.shown("coder")
    assert read_overview.as_far_as_verified(SPEC, records, current) is None
    cluster.revisions["worker"] = WORKER_REVISION
    assert read_overview.as_far_as_verified(SPEC, records, current) is current
    assert read_overview.as_far_as_verified(spec(), records, current) is current


def test_two_services_share_no_target_group() -> None:
    balanced = {"loadBalancers": [{"targetGroupArn": GROUP}]}
    (check,) = shared_groups({"coder": balanced, "worker": balanced, "cron": {}})
    assert check.finding == f"coder and worker have the same target group: {GROUP}"


def test_an_alarm_of_any_service_is_one_of_the_release() -> None:
    quiet, loud = {"alarm": None, "mend": None}, {"alarm": "1.0 serves.", "mend": "  deployer x"}
    assert serving.together({"coder": quiet, "worker": quiet})["alarm"] is None
    result = serving.together({"coder": quiet, "worker": loud})
    assert (result["alarm"], result["mend"]) == ("worker: 1.0 serves.", "  deployer x")


def test_how_a_release_of_several_services_was_left_is_said_of_each() -> None:
    own = {"action": "LEAVE", "reason": "the service was not changed"}
    whole = {**own, "services": {"worker": own}}
    assert diagnosis.of_rollback(whole, False, "service") == (
        "Not rolled back: the service was not changed."
    )
    mixed = {**own, "services": {"worker": {"action": "STOP", "reason": "stopped"}}}
    assert diagnosis.of_rollback(mixed, False, "service") == (
        "Not all rolled back: the service was not changed; worker: stopped."
    )
    back = {"action": "ROLL_BACK", "reason": "", "services": {"worker": own}}
    assert diagnosis.of_rollback(back, True, "service").endswith("steady in 2 services.")

"""Which image, for which service, and does it deploy: each input leaves one record."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

import identify_release
from deployer.aws import client
from deployer.errors import ImageMissing, RequestRejected, ServiceUnknown, SpecInvalid
from deployer.store import locks, releases
from tests.unit.conftest import Script, Web
from tests.unit.samples import (
    ANOTHER_EXECUTION,
    EXECUTION,
    REGISTRY,
    REVISION,
    before,
    config,
    document,
    index,
    manifest,
    payload,
    previous,
    push_event,
    release,
    rollout,
    service,
)

pytestmark = pytest.mark.usefixtures("releases_table")


@pytest.fixture
def registry(script: Script, web: Web) -> Script:
    """A repository, a service spec for it, and configs to download."""
    client("ecr").create_repository(repositoryName="coder")
    client("ssm").put_parameter(
        Name="/deployer/services/coder", Value=json.dumps(document()), Type="String"
    )
    web.answer("/config", json.dumps(config(deployer__schema__number="12")))
    script("ecr", "GetDownloadUrlForLayer", {"downloadUrl": f"{web.url}/config"})
    return script


def push(tag: str = "2.1.0", document: dict[str, Any] | None = None) -> str:
    """Push an image; returns its digest."""
    text = json.dumps(document or manifest())
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    client("ecr").put_image(
        repositoryName="coder", imageManifest=text, imageTag=tag, imageDigest=digest
    )
    return digest


def identify(document: Any, context: Any, execution: str = EXECUTION) -> dict[str, Any]:
    return dict(identify_release.handler(payload(input=document, execution=execution), context))


def pushed(digest: str, tag: str | None = "2.1.0") -> dict[str, Any]:
    return push_event(**{"image-digest": digest, "image-tag": tag})


def record() -> Any:
    (found,) = releases.newest("coder", 9)
    return found


def test_a_push_that_fits_is_deployed_by_digest(registry: Script, context: Any) -> None:
    digest = push()
    result = identify(pushed(digest), context)
    assert result["decision"] == "DEPLOY"
    assert result["spec"] == document()
    assert result["release"]["image"] == f"{REGISTRY}/coder@{digest}"
    assert result["release"]["version"] == "2.1.0"
    assert result["release"]["schema"] == {"number": 12, "hash": None}
    assert record()["id"] == result["release"]["id"]
    assert "outcome" not in record()


def test_a_retry_of_the_same_execution_deploys_the_same_release(
    registry: Script, context: Any
) -> None:
    event = pushed(push())
    first, second = identify(event, context), identify(event, context)
    assert second["decision"] == "DEPLOY"
    assert first["release"]["id"] == second["release"]["id"] == record()["id"]


def test_an_event_that_comes_twice_deploys_once(registry: Script, context: Any) -> None:
    event = pushed(push())
    identify(event, context)
    result = identify(event, context, ANOTHER_EXECUTION)
    assert result["decision"] != "DEPLOY"
    assert EXECUTION in result["reason"]
    assert record()["execution"] == EXECUTION


def test_each_tag_of_a_digest_is_a_release_of_its_own(registry: Script, context: Any) -> None:
    digest = push("2.1.0")
    push("v2.1.0")
    for tag, execution in (("2.1.0", EXECUTION), ("v2.1.0", ANOTHER_EXECUTION)):
        assert identify(pushed(digest, tag), context, execution)["decision"] == "DEPLOY"
    assert {entry["tag"] for entry in releases.history("coder")} == {"2.1.0", "v2.1.0"}


def test_a_tag_that_is_put_on_an_image_later_is_ordered_by_when_that_was(
    registry: Script, context: Any
) -> None:
    digest = push("2.1.0")
    promoted = pushed(digest) | {"time": "2027-01-01T00:00:00Z"}
    assert identify(promoted, context)["release"]["pushedAt"] == "2027-01-01T00:00:00+00:00"
    again = pushed(digest) | {"time": "2027-01-02T00:00:00Z"}
    assert identify(again, context, ANOTHER_EXECUTION)["decision"] == "DEPLOY"
    assert len(releases.history("coder")) == 2


@pytest.mark.parametrize(("live", "version"), [(True, "2.1.0"), (False, "2.2.0")])
def test_an_image_that_was_live_answers_as_it_did_whatever_tag_it_gets(
    registry: Script, context: Any, live: bool, version: str
) -> None:
    digest = push("2.2.0")
    before = release(digest=digest, id="20261120T090000Z-before", version="2.1.0")
    releases.close_release(before, "SUCCEEDED" if live else "FAILED", {})
    result = identify(pushed(digest, "2.2.0"), context)["release"]
    assert (result["version"], result["tag"]) == (version, "2.2.0")


def test_an_index_deploys_once_and_not_once_for_each_child(registry: Script, context: Any) -> None:
    child = push("child", manifest())
    both = index("linux/amd64", "linux/arm64")
    both["manifests"][0]["digest"] = child
    whole = push("2.1.0", both)
    of_child = identify(pushed(child, None), context)
    of_index = identify(pushed(whole), context, ANOTHER_EXECUTION)
    assert of_child["decision"] != "DEPLOY"
    assert of_index["decision"] == "DEPLOY"
    assert of_index["release"]["digest"] == whole
    assert {entry.get("outcome") for entry in releases.newest("coder", 9)} == {"IGNORED", None}


@pytest.mark.parametrize(
    ("tag", "document", "named"),
    [
        ("nightly", manifest(), "nightly"),
        (None, manifest(), "no tag"),
        (f"sha256-{'ab' * 32}.sig", manifest(), "signature"),
        ("2.1.0", manifest(artifactType="application/spdx+json"), "spdx"),
        ("2.1.0", manifest(subject={"digest": f"sha256:{'0' * 64}"}), "SBOM"),
        ("2.1.0", index("linux/arm64"), "linux/amd64"),
    ],
    ids=["another tag", "untagged", "signature", "artifact", "referrer", "platform"],
)
def test_a_push_that_deploys_nothing_is_recorded_with_its_reason(
    registry: Script, context: Any, tag: str | None, document: dict[str, Any], named: str
) -> None:
    result = identify(pushed(push("2.1.0", document), tag), context)
    assert result["decision"] != "DEPLOY"
    assert named in result["reason"]
    assert record()["outcome"] == "IGNORED"
    assert named in record()["reason"]


def test_an_image_that_ecr_does_not_show_is_ignored_for_now(registry: Script, context: Any) -> None:
    digest = push("2.1.0")
    unseen = f"sha256:{'ee' * 32}"
    for seen, decided in ((unseen, False), (digest, True)):
        result = identify(pushed(seen), context, seen)
        assert (result["decision"] == "DEPLOY") == decided
        assert (
            releases.knows_tag("coder", seen, "2.1.0", datetime(2026, 1, 1, tzinfo=UTC)) == decided
        )


def test_an_image_for_another_platform_is_ignored(registry: Script, web: Web, context: Any) -> None:
    web.answer("/config", json.dumps(config() | {"architecture": "arm64"}))
    assert identify(pushed(push()), context)["decision"] != "DEPLOY"
    assert "linux/arm64" in record()["reason"]


def test_a_digest_ignored_under_one_tag_deploys_under_another(
    registry: Script, context: Any
) -> None:
    digest = push("nightly")
    push("2.1.0")
    assert identify(pushed(digest, "nightly"), context)["decision"] != "DEPLOY"
    result = identify(pushed(digest, "2.1.0"), context, ANOTHER_EXECUTION)
    assert result["decision"] == "DEPLOY"
    outcomes = {entry["tag"]: entry.get("outcome") for entry in releases.newest("coder", 9)}
    assert outcomes == {"nightly": "IGNORED", "2.1.0": None}


# orders


@pytest.mark.parametrize("by_digest", [True, False])
def test_an_order_deploys_an_image_by_tag_or_digest(
    registry: Script, context: Any, by_digest: bool
) -> None:
    digest = push("nightly")
    command = {"action": "deploy", "image": digest if by_digest else "nightly", "by": "ada"}
    result = identify(command, context)
    assert result["decision"] == "DEPLOY"
    assert result["release"]["digest"] == digest
    assert result["release"]["startedBy"] == "ada"


def test_an_order_deploys_what_a_push_deployed_before(registry: Script, context: Any) -> None:
    digest = push()
    identify(pushed(digest), context)
    command = {"action": "deploy", "image": digest}
    assert identify(command, context, ANOTHER_EXECUTION)["decision"] == "DEPLOY"
    assert len(releases.history("coder")) == 2


@pytest.mark.parametrize(
    ("document", "image", "named"),
    [
        (manifest(), "9.9.9", "9.9.9 is not in repository coder"),
        (manifest(artifactType="x/y"), "2.1.0", "x/y"),
        (index("linux/arm64"), "2.1.0", "linux/amd64"),
    ],
)
def test_an_order_for_what_cannot_run_is_refused(
    registry: Script, context: Any, document: dict[str, Any], image: str, named: str
) -> None:
    push("2.1.0", document)
    with pytest.raises(ImageMissing, match=named):
        identify({"action": "deploy", "image": image}, context)
    assert releases.history("coder") == []


# what cannot be served


@pytest.mark.parametrize(
    ("requested", "error"),
    [
        ({"action": "explode"}, RequestRejected),
        (push_event(**{"repository-name": "nobody"}), ServiceUnknown),
        ({"action": "deploy", "image": "2.1.0", "service": "nobody"}, ServiceUnknown),
    ],
)
def test_an_input_that_cannot_be_served_is_refused_by_name(
    registry: Script, context: Any, requested: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        identify(requested, context)
    assert releases.history("coder") == []


def test_a_push_whose_spec_is_invalid_has_a_record_and_may_deploy_yet(
    registry: Script, context: Any
) -> None:
    registry("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
    respecify(timeout=1)
    event = pushed(push())
    for execution in (EXECUTION, EXECUTION, ANOTHER_EXECUTION):
        with pytest.raises(SpecInvalid, match="timeout"):
            identify(event, context, execution)
        assert releases.handled_by(execution)
    result = record()
    assert (result["outcome"], result["version"], result["execution"]) == (
        *("FAILED", "2.1.0"),
        EXECUTION,
    )
    assert "timeout" in result["reason"] and result["diagnosis"]["error"] == "SpecInvalid"
    assert releases.history("coder") == [], "no decision need see it"
    assert len(registry.requests("PutEvents")) == 1
    respecify()
    assert identify(event, context, "the reconciler's")["decision"] == "DEPLOY"
    assert "outcome" not in record(), "one push is one record"


def test_a_push_without_a_tag_is_ignored_though_the_spec_is_invalid(
    registry: Script, context: Any
) -> None:
    respecify(timeout=1)
    assert identify(pushed(push(), None), context)["decision"] == "NOTHING"
    assert record()["outcome"] == "IGNORED"


def test_a_push_for_two_services_is_recorded_under_the_one_whose_spec_is_invalid(
    registry: Script, context: Any
) -> None:
    other = json.dumps(document(service="other", timeout=1))
    client("ssm").put_parameter(Name="/deployer/services/other", Value=other, Type="String")
    assert identify(pushed(push()), context)["decision"] == "DEPLOY"
    (found,) = releases.newest("other", 9)
    assert (found["outcome"], found["digest"]) == ("FAILED", record()["digest"])


def test_an_order_that_is_tried_again_deploys_what_it_chose_first(
    registry: Script, context: Any
) -> None:
    """Meanwhile somebody moved the tag."""
    first = push("nightly")
    command = {"action": "deploy", "image": "nightly"}
    identify(command, context)
    push("nightly", manifest(layers=[{"digest": f"sha256:{'aa' * 32}", "size": 1}]))
    assert identify(command, context)["release"]["digest"] == first
    assert record()["digest"] == first


def test_an_order_to_deploy_ends_a_hold_and_one_that_is_refused_does_not(
    registry: Script, context: Any
) -> None:
    locks.hold("coder", HOLD)
    with pytest.raises(ImageMissing):
        identify({"action": "deploy", "image": "9.9.9"}, context)
    assert held() == HOLD
    push()
    identify({"action": "deploy", "image": "2.1.0"}, context)
    assert held() is None


# going back

HOLD: Any = {"by": "ada", "at": "2026-11-23T14:00:00+00:00", "reason": "checkout is slow"}
NOW = "2026-11-23T14:25:04.123000+00:00"


def held() -> Any:
    """The hold, without the keys of the table."""
    result: Any = locks.queue("coder").hold
    return result and {name: result[name] for name in ("by", "at", "reason")}


def lived(version: str, hour: int, **changes: Any) -> Any:
    """A release that was live from an hour on, with its image and its task definition."""
    digest = push(version, manifest(annotations={"of": version}))
    registered = client("ecs").register_task_definition(
        family="coder", containerDefinitions=[{"name": "coder", "image": version, "memory": 1}]
    )
    began = f"2026-11-23T{hour:02}:00:00+00:00"
    entry = release(
        id=f"20261123T{hour:02}0000Z-{digest[7:19]}",
        digest=digest,
        image=f"{REGISTRY}/coder@{digest}",
        version=version,
        tag=version,
        execution=f"execution-{version}",
        pushedAt=began,
        startedAt=began,
    )
    details = {
        "endedAt": f"2026-11-23T{hour:02}:05:00+00:00",
        "taskDefinition": registered["taskDefinition"]["taskDefinitionArn"],
    }
    releases.close_release(entry, "SUCCEEDED", details | changes)
    return releases.find("coder", entry["id"])


def back(context: Any, execution: str = EXECUTION, **command: Any) -> dict[str, Any]:
    return identify({"action": "rollback", "to": "previous"} | command, context, execution)


def test_a_rollback_runs_the_very_task_definition_that_was_live(
    registry: Script, context: Any
) -> None:
    old, _ = lived("1.0.0", 1), lived("1.1.0", 2)
    result = back(context, by="ada", reason="checkout is slow")
    assert result["decision"] == "DEPLOY"
    created = result["release"]
    assert created["taskDefinition"] == old["taskDefinition"]
    assert (created["trigger"], created["to"], created["restore"]) == ("rollback", old["id"], None)
    assert (created["digest"], created["image"]) == (old["digest"], old["image"])
    assert (created["version"], created["startedBy"]) == ("1.0.0", "ada")
    assert releases.find("coder", created["id"]) == created
    assert held() == {"by": "ada", "at": NOW, "reason": "checkout is slow"}


def test_a_rollback_to_the_previous_release_asks_what_the_service_is_set_to(
    registry: Script, context: Any
) -> None:
    old, last = lived("1.0.0", 1), lived("1.1.0", 2)
    for runs, to in ((old, last), (last, old)):
        primary = before(status="PRIMARY", taskDefinition=runs["taskDefinition"])
        registry("ecs", "DescribeServices", {"services": [service(primary)], "failures": []})
        assert back(context, f"rollback to {to['id']}")["release"]["to"] == to["id"]


def test_a_rollback_that_says_no_more_holds_all_the_same(registry: Script, context: Any) -> None:
    lived("1.0.0", 1), lived("1.1.0", 2)
    back(context)
    assert held() == {"by": "operator", "at": NOW, "reason": "rolled back to 1.0.0"}


def test_a_rollback_may_leave_pushes_alone(registry: Script, context: Any) -> None:
    lived("1.0.0", 1), lived("1.1.0", 2)
    back(context, hold=False)
    assert held() is None


def test_a_second_hold_keeps_since_when_pushes_are_held(registry: Script, context: Any) -> None:
    """Else a resumption would forget what was held back before it."""
    locks.hold("coder", HOLD)
    lived("1.0.0", 1), lived("1.1.0", 2)
    back(context, by="bob", reason="still slow")
    assert held() == {"by": "bob", "at": HOLD["at"], "reason": "still slow"}


def test_a_rollback_may_render_the_spec_as_it_is_now(registry: Script, context: Any) -> None:
    respecify(rollback="render")
    old, _ = lived("1.0.0", 1), lived("1.1.0", 2)
    client("ecs").deregister_task_definition(taskDefinition=old["taskDefinition"])
    assert back(context)["release"]["taskDefinition"] is None


def respecify(**changes: Any) -> None:
    client("ssm").put_parameter(
        Name="/deployer/services/coder",
        Value=json.dumps(document(**changes)),
        Type="String",
        Overwrite=True,
    )


def test_a_rollback_that_is_tried_again_goes_where_it_went_first(
    registry: Script, context: Any
) -> None:
    """Meanwhile another release went live, and `previous` means another one."""
    lived("1.0.0", 1), lived("1.1.0", 2)
    first = back(context)
    lived("1.2.0", 3)
    assert back(context) == first
    assert len([r for r in releases.history("coder") if r["trigger"] == "rollback"]) == 1


def test_what_can_not_be_gone_back_to_leaves_no_record_and_no_hold(
    registry: Script, context: Any
) -> None:
    old, _ = lived("1.0.0", 1), lived("1.1.0", 2)
    client("ecs").deregister_task_definition(taskDefinition=old["taskDefinition"])
    with pytest.raises(RequestRejected, match='no longer ACTIVE; set "rollback": "render"'):
        back(context)
    client("ecr").batch_delete_image(
        repositoryName="coder", imageIds=[{"imageDigest": old["digest"]}]
    )
    with pytest.raises(ImageMissing, match=r"the image of 1\.0\.0, sha256:.*, is gone from ECR"):
        back(context)
    with pytest.raises(RequestRejected, match=r"no release is named '7\.7\.7'"):
        back(context, to="7.7.7")
    assert held() is None
    assert len(releases.history("coder")) == 2


# going back with the database

GROWN = {"number": 13, "hash": "f01"}


def migrated(**changes: Any) -> None:
    """1.0.0 was live, and 1.1.0 has changed the schema since."""
    lived("1.0.0", 1)
    before = previous(schema={"number": 12, "hash": "f00"})
    lived("1.1.0", 2, schema=GROWN, previous=before, **changes)


def test_no_release_is_put_on_a_schema_that_it_does_not_know(
    registry: Script, context: Any
) -> None:
    migrated(snapshot="deployer-coder-1")
    with pytest.raises(RequestRejected, match='has no "database"') as caught:
        back(context)
    assert "deployer-coder-1" not in str(caught.value) and "{" not in str(caught.value)
    respecify(database={"instance": "coder-db", "secret": SECRET})
    with pytest.raises(RequestRejected, match="deployer-coder-1") as caught:
        back(context)
    output = str(caught.value)
    assert "would be lost" in output and "before 1.1.0" in output
    command = json.loads(output[output.index('{"action"') :])
    respecify(database={"instance": "coder-db", "secret": SECRET})
    assert identify(command, context)["release"]["restore"] == "deployer-coder-1"


SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:coder-db"


def test_without_a_snapshot_the_refusal_says_so(registry: Script, context: Any) -> None:
    migrated()
    with pytest.raises(RequestRejected, match="no snapshot was taken that fits"):
        back(context)
    respecify(database={"instance": "coder-db", "secret": SECRET})
    with pytest.raises(RequestRejected, match="no snapshot was taken that fits"):
        back(context, restoreDatabase=True)


@pytest.mark.parametrize("named", [None, {"instance": "coder-db"}])
def test_a_database_that_the_spec_does_not_name_is_not_restored(
    registry: Script, context: Any, named: Any
) -> None:
    migrated(snapshot="deployer-coder-1")
    respecify(database=named)
    with pytest.raises(RequestRejected, match='has no "database" with its "secret"'):
        back(context, restoreDatabase=True)


# holding and resuming


def waited(version: str, hour: int) -> Any:
    """A push that was held back."""
    digest = push(version, manifest(annotations={"of": version}))
    pushed_at = f"2026-11-23T{hour:02}:00:00+00:00"
    entry = release(
        id=f"20261123T{hour:02}0000Z-{digest[7:19]}",
        digest=digest,
        version=version,
        execution=f"execution-{version}",
        pushedAt=pushed_at,
    )
    releases.close_release(entry, "HELD", {"endedAt": pushed_at})
    return entry


def test_a_hold_is_noted_and_deploys_nothing(registry: Script, context: Any) -> None:
    registry("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
    result = identify({"action": "hold", "by": "ada", "reason": "freeze"}, context)
    assert result["decision"] == "NOTHING"
    assert held() == {"by": "ada", "at": NOW, "reason": "freeze"}
    assert (record()["trigger"], record()["outcome"]) == ("hold", "SUCCEEDED")
    assert record()["reason"] == "held: freeze"
    (message,) = registry.requests("PutEvents")
    assert json.loads(message["Entries"][0]["Detail"])["reason"] == "held: freeze"


def test_a_resumption_deploys_the_newest_push_that_was_held(registry: Script, context: Any) -> None:
    locks.hold("coder", HOLD)
    waited("1.1.0", 13)  # before the hold began
    newest, _ = waited("1.3.0", 16), waited("1.2.0", 15)
    result = identify({"action": "resume", "by": "ada"}, context)
    assert result["decision"] == "DEPLOY"
    created = result["release"]
    assert (created["digest"], created["version"]) == (newest["digest"], "1.3.0")
    assert (created["trigger"], created["to"]) == ("resume", newest["id"])
    assert created["taskDefinition"] is None, "it never ran"
    assert held() is None


def test_a_resumption_that_is_tried_again_is_the_same_one(registry: Script, context: Any) -> None:
    """Its reply was lost; the hold is over, or another push was held meanwhile."""
    locks.hold("coder", HOLD)
    waited("1.2.0", 15)
    first = identify({"action": "resume"}, context)
    assert identify({"action": "resume"}, context) == first
    locks.hold("coder", HOLD)
    waited("1.3.0", 16)
    assert identify({"action": "resume"}, context) == first
    assert held() == HOLD, "a later hold is none of its business"
    assert len([r for r in releases.history("coder") if r["trigger"] == "resume"]) == 1


def test_a_resumption_with_nothing_held_ends_the_hold_and_may_be_tried_again(
    registry: Script, context: Any
) -> None:
    locks.hold("coder", HOLD)
    first = identify({"action": "resume", "by": "ada"}, context)
    assert (first["decision"], first["reason"]) == ("NOTHING", "resumed; no push was held back")
    assert held() is None
    again = identify({"action": "resume", "by": "ada"}, context)
    assert (again["decision"], again["reason"]) == (first["decision"], first["reason"])
    assert (record()["trigger"], record()["outcome"]) == ("hold", "SUCCEEDED")


def test_a_service_that_is_not_held_is_not_resumed(registry: Script, context: Any) -> None:
    with pytest.raises(RequestRejected, match="coder is not held"):
        identify({"action": "resume"}, context)
    assert releases.history("coder") == []


# restarting


def test_a_restart_is_of_the_live_release(registry: Script, context: Any) -> None:
    with pytest.raises(RequestRejected, match="no release is live"):
        identify({"action": "restart"}, context)
    releases.close_release(release(id="1"), "SUCCEEDED", {"taskDefinition": REVISION})
    active = {"taskDefinitionArn": REVISION, "status": "ACTIVE"}
    registry("ecs", "DescribeTaskDefinition", {"taskDefinition": active})
    result = identify({"action": "restart", "by": "ada"}, context)
    assert result["decision"] == "DEPLOY"
    assert (result["release"]["to"], result["release"]["taskDefinition"]) == ("1", REVISION)
    assert (result["release"]["trigger"], result["release"]["startedBy"]) == ("restart", "ada")


# recovering


def recover(context: Any, release_id: str) -> dict[str, Any]:
    command = {"action": "recover", "service": "coder", "release": release_id}
    return identify(command, context, ANOTHER_EXECUTION)


def test_a_recovery_knows_what_the_execution_that_ended_had_found_out(
    registry: Script, context: Any
) -> None:
    dead = release()
    releases.open_release(dead)
    found_out: dict[str, Any] = {
        "taskDefinition": REVISION,
        "previous": previous(),
        "wasRunning": True,
        "rollout": rollout(),
    }
    releases.note(dead, **found_out)
    result = recover(context, dead["id"])
    assert result["decision"] == "RECOVER"
    assert {name: result[name] for name in found_out} == found_out
    assert result["spec"] == document()
    assert result["release"]["execution"] == EXECUTION, "the release stays the one that it was"
    assert result["failure"]["Error"] == "ExecutionEnded"
    assert EXECUTION in result["failure"]["Cause"]
    assert record()["recoveredBy"] == ANOTHER_EXECUTION
    assert releases.of_execution(ANOTHER_EXECUTION) == record()


def test_a_recovery_looks_for_tasks_that_the_release_may_have_run(
    registry: Script, context: Any
) -> None:
    releases.open_release(release())
    result = recover(context, release()["id"])
    assert (result["before"], result["after"]) == (False, False)
    releases.note(release(), before={"startedBy": "x"})
    result = recover(context, release()["id"])
    assert (result["before"], result["after"]) == (True, False)


def test_a_recovery_looks_for_schedules_that_the_release_may_have_changed(
    registry: Script, context: Any
) -> None:
    releases.open_release(release())
    assert recover(context, release()["id"])["schedules"] is False
    releases.note(release(), scheduled=True)
    assert recover(context, release()["id"])["schedules"] is True


def test_a_recovery_looks_where_the_release_was_deployed_and_not_where_the_spec_leads_by_now(
    registry: Script, context: Any
) -> None:
    releases.open_release(release())
    releases.note(release(), cluster="earlier")
    assert recover(context, release()["id"])["spec"] == document(cluster="earlier")


def test_a_recovery_of_what_had_found_out_nothing_stops_no_service(
    registry: Script, context: Any
) -> None:
    releases.open_release(release())
    result = recover(context, release()["id"])
    assert result["wasRunning"] is True, "what is not known to have stood still is not stopped"
    assert (result["taskDefinition"], result["previous"], result["rollout"]) == (None, None, None)


def test_a_release_that_has_its_outcome_needs_no_recovery(registry: Script, context: Any) -> None:
    releases.close_release(release(), "SUCCEEDED", {})
    result = recover(context, release()["id"])
    assert (result["decision"], result["spec"]) == ("NOTHING", None)
    assert "SUCCEEDED" in result["reason"]
    assert "recoveredBy" not in record()


def test_a_release_that_is_not_there_is_not_recovered(registry: Script, context: Any) -> None:
    with pytest.raises(RequestRejected, match="coder has no release 1"):
        recover(context, "1")


def test_a_push_that_fits_two_services_has_a_record_under_each(
    registry: Script, context: Any
) -> None:
    client("ssm").put_parameter(
        Name="/deployer/services/other", Value=json.dumps(document(service="other")), Type="String"
    )
    digest = push()
    with pytest.raises(RequestRejected, match="fits coder, other"):
        identify(pushed(digest), context)
    for name in ("coder", "other"):
        (found,) = releases.newest(name, 9)
        assert (found.get("outcome"), found["digest"], found["version"]) == (
            "FAILED",
            digest,
            "2.1.0",
        )
        assert "disjoint" in found["reason"]
    with pytest.raises(RequestRejected):  # tried again
        identify(pushed(digest), context)
    assert len(releases.newest("other", 9)) == 1
    assert releases.handled_by(EXECUTION)


def test_what_was_deployed_is_not_refused_once_its_tag_fits_another_service_too(
    registry: Script, context: Any
) -> None:
    event = pushed(push())
    identify(event, context)
    other = json.dumps(document(service="other"))
    client("ssm").put_parameter(Name="/deployer/services/other", Value=other, Type="String")
    earlier = {**event, "time": "2026-11-23T14:25:01Z", "reconciled": True}
    with pytest.raises(RequestRejected, match="fits coder, other"):
        identify(earlier, context, ANOTHER_EXECUTION)
    assert "outcome" not in record()
    (found,) = releases.newest("other", 9)
    assert found["outcome"] == "FAILED"

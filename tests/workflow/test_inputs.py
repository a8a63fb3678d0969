"""Pushes that deploy nothing, and inputs that can't be served: recorded, and nothing touched."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo import oci as image
from demo.image import demo_release
from demo.stage import Stage
from tests.workflow.conftest import route

NOTHING = ["Initialise", "Identify release", "Does it deploy?", "Nothing to deploy"]
REFUSED = ["Initialise", "Identify release", "Record failure", "Failed"]


def pushed_signature(stage: Stage) -> str:
    signed = demo_release("1.0.0")
    return stage.push(image.signature(signed), image.cosign_tag(signed.digest))


def pushed_attestation(stage: Stage) -> str:
    signed = demo_release("1.0.0")
    return stage.push(image.signature(signed), image.cosign_tag(signed.digest, "att"))


PUSHES: dict[str, Callable[[Stage], str]] = {
    "a tag that the spec does not name": lambda s: s.push(demo_release("1.1.0"), "latest"),
    "an untagged push": lambda s: s.push(demo_release("1.1.0"), None),
    "a signature": pushed_signature,
    "an attestation": pushed_attestation,
    "an SBOM": lambda s: s.push(image.sbom(demo_release("1.0.0")), None),
    "an SBOM under a version's tag": lambda s: s.push(image.sbom(demo_release("1.0.0")), "9.9.9"),
    "another platform": lambda s: s.push(demo_release("1.3.0", platform="linux/arm64"), "1.3.0"),
    "an index without the platform": lambda s: s.push(
        image.Index((demo_release("1.2.0", platform="linux/arm64"),)), "1.2.0"
    ),
}


@pytest.fixture(scope="module")
def running(deployer: Stage) -> Iterator[Stage]:
    """A live service that all tests here share, since none of them may change it."""
    service = deployer.beside("test-inputs")
    assert service.deployed("1.0.0").status == "SUCCEEDED"
    yield service
    service.end()


@pytest.fixture
def untouched(running: Stage) -> Any:
    """The service must be the same after the test as before it."""
    before = running.described()
    yield running
    after = running.described()
    for name in ("taskDefinition", "desiredCount", "networkConfiguration"):
        assert after[name] == before[name]
    assert [d["id"] for d in after["deployments"]] == [d["id"] for d in before["deployments"]]


def ignored(stage: Stage, execution: str) -> list[dict[str, Any]]:
    """The records that an execution made of a push that deploys nothing."""
    records = stage.records(f"ignored:{stage.service}")
    return [record for record in records if record["execution"] == execution]


@pytest.mark.parametrize("what", PUSHES)
def test_a_push_that_deploys_nothing_is_recorded_with_its_reason(
    untouched: Stage, what: str
) -> None:
    digest = PUSHES[what](untouched)
    done = untouched.ended(untouched.started_by(digest))
    assert (done.status, done.path) == ("SUCCEEDED", NOTHING)
    (record,) = ignored(untouched, done.arn)
    assert (record["digest"], record["outcome"]) == (digest, "IGNORED")
    assert record["reason"]


def test_an_image_that_is_gone_again_is_ignored(untouched: Stage) -> None:
    seen = untouched.look(untouched.started_by(untouched.records()[0]["digest"])).input
    gone = {**seen["detail"], "image-digest": "sha256:" + "0" * 64, "image-tag": "1.5.0"}
    done = untouched.ended(untouched.start({**seen, "detail": gone}))
    assert (done.status, done.path) == ("SUCCEEDED", NOTHING)
    (record,) = ignored(untouched, done.arn)
    assert (record["digest"], record["outcome"]) == (gone["image-digest"], "IGNORED")


@pytest.fixture
def many(untouched: Stage) -> Iterator[Stage]:
    """One of more services than Parameter Store returns on a page."""
    ssm = untouched.aws.client("ssm")
    names = [f"test-inputs-{number}" for number in range(10)]
    for name in names:
        text = json.dumps({"service": name, "repository": name})
        ssm.put_parameter(Name=f"/deployer/services/{name}", Value=text, Type="String")
    yield untouched
    for name in names:
        ssm.delete_parameter(Name=f"/deployer/services/{name}")


def test_a_push_to_one_of_many_services_is_for_that_one(many: Stage) -> None:
    many.reconcile()  # it leaves an index of the specs
    assert "specs" in {item["id"] for item in many.items("reconcile")}
    digest = many.push(demo_release("1.4.0"), None)
    done = many.ended(many.started_by(digest))
    assert (done.status, done.path) == ("SUCCEEDED", NOTHING)
    (record,) = ignored(many, done.arn)
    assert (record["digest"], record["outcome"]) == (digest, "IGNORED")


def event(**detail: Any) -> dict[str, Any]:
    return {
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "time": "2026-11-23T00:00:00Z",
        "detail": {
            "result": "SUCCESS",
            "action-type": "PUSH",
            "repository-name": "test-inputs",
            "image-digest": "sha256:" + "1" * 64,
            "image-tag": "1.0.0",
            **detail,
        },
    }


@pytest.mark.parametrize(
    ("document", "error", "named"),
    [
        ([1, 2], "RequestRejected", "object"),
        ("deploy", "RequestRejected", "object"),
        ({}, "RequestRejected", "neither"),
        ({"action": "explode"}, "RequestRejected", "explode"),
        ({"action": "deploy"}, "RequestRejected", "image"),
        ({"action": "deploy", "image": 7}, "RequestRejected", "image"),
        ({"action": "deploy", "image": "a b"}, "RequestRejected", "a b"),
        ({"action": "deploy", "image": "1.0.0", "srevice": "x"}, "RequestRejected", "srevice"),
        ({"action": "deploy", "image": "1.0.0", "service": "no"}, "ServiceUnknown", "no"),
        (
            {"action": "deploy", "image": "8.8.8", "service": "test-inputs"},
            "ImageMissing",
            "8.8.8",
        ),
        ({"source": "aws.s3", "detail-type": "Object Created"}, "RequestRejected", "aws.s3"),
        (event(**{"action-type": "DELETE"}), "RequestRejected", "DELETE"),
        (event(**{"image-digest": "sha256:xyz"}), "RequestRejected", "image-digest"),
        (event(**{"repository-name": None}), "RequestRejected", "repository-name"),
        (event(**{"repository-name": "test-nobody"}), "ServiceUnknown", "test-nobody"),
    ],
)
def test_what_can_not_be_served_is_refused_by_name(
    untouched: Stage, document: Any, error: str, named: str
) -> None:
    done = untouched.ended(untouched.start(document))
    assert (done.status, done.error, done.path) == ("FAILED", error, REFUSED)
    assert named in done.cause
    pages = untouched.aws.client("dynamodb").get_paginator("scan")
    items = [
        item
        for page in pages.paginate(TableName=untouched.outputs["ReleasesTable"])
        for item in page["Items"]
        if item.get("execution", {}).get("S") == done.arn
    ]
    assert [item["outcome"]["S"] for item in items] == ["FAILED"]


def write_spec(stage: Stage, text: str) -> None:
    stage.aws.client("ssm").put_parameter(
        Name=f"/deployer/services/{stage.service}", Value=text, Type="String", Overwrite=True
    )


def test_every_wrong_field_of_the_spec_is_named(live: Stage) -> None:
    spec = live.spec()
    spec["timeout"] = 1
    spec["override"]["environment"] = {"DB_PASSWORD": "x"}
    spec["colour"] = "blue"
    write_spec(live, json.dumps(spec))
    before = live.described()["taskDefinition"]
    done = live.deployed("1.1.0")
    assert (done.status, done.error) == ("FAILED", "SpecInvalid")
    for path in ("timeout", "override.environment.DB_PASSWORD", "colour"):
        assert path in done.cause
    assert live.described()["taskDefinition"] == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cluster": "nowhere"}, "nowhere"),
        ({"taskDefinition": "test-nothing"}, "test-nothing"),
        ({"container": "sidecar"}, "sidecar"),
        (
            {"override": {"executionRoleArn": "arn:aws:iam::000000000000:role/test-nobody"}},
            "override.executionRoleArn",
        ),
        ({"serviceDefinition": {"desiredCounts": 1}}, "serviceDefinition.desiredCounts"),
        (
            {
                "serviceDefinition": {
                    "networkConfiguration": {
                        "awsvpcConfiguration": {"subnets": ["subnet-0123456789"]}
                    }
                }
            },
            "subnet-0123456789",
        ),
    ],
)
def test_missing_surroundings_stop_before_anything_changes(
    live: Stage, change: dict[str, Any], named: str
) -> None:
    spec = live.spec()
    write_spec(live, json.dumps({**spec, **change}))
    before = live.described()["taskDefinition"]
    done = live.deployed("1.1.0")
    assert done.status == "FAILED"
    turn = ["Does it deploy?", "Acquire lock", "Is the lock acquired?", "Check preflight"]
    assert route(done) == [*REFUSED[:2], *turn, *REFUSED[2:]]
    assert named in done.cause
    assert live.described()["taskDefinition"] == before

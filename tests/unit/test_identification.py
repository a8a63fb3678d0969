"""Which release an input asks for, and whether it deploys."""

from datetime import UTC, datetime
from typing import Any

import pytest

from deployer.deploy import identification
from deployer.deploy.image import Image
from deployer.requests import Deploy, Promotion, Push
from tests.unit.samples import (
    ANOTHER_EXECUTION,
    DIGEST,
    EXECUTION,
    IMAGE,
    MISSING,
    NOW,
    OTHER_DIGEST,
    config,
    image,
    index,
    manifest,
    recorded,
    spec,
)

CHILD = f"sha256:{0:064x}"
AMD64 = "linux/amd64"


def push(tag: str | None = "2.1.0") -> Push:
    return Push("coder", DIGEST, tag, datetime(2026, 11, 23, 14, 25, 3, tzinfo=UTC))


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (None, None),
        (image(), DIGEST),
        (image(manifest=index("linux/amd64", "linux/arm64")), CHILD),
        (image(manifest=index("linux/arm64")), None),
        (image(refers_to=OTHER_DIGEST), None),
        (image(active=False), None),
        (image(manifest=manifest(artifactType="x/y")), None),
    ],
    ids=["gone", "image", "index", "index without it", "referrer", "archived", "artifact"],
)
def test_a_task_runs_the_image_or_the_indexs_child(
    described: Image | None, expected: str | None
) -> None:
    assert identification.runnable(described, "linux/amd64") == expected


def test_before_the_platform_is_known_every_image_may_run() -> None:
    of_arm = image(manifest=index("linux/arm64"))
    assert identification.runnable(of_arm, None) == CHILD
    assert identification.unfit(of_arm, config() | {"architecture": "arm64"}, None) is None


IGNORED = [
    ("untagged", None, image(), config(), "no tag"),
    ("a signature", f"sha256-{'ab' * 32}.sig", image(), config(), "signature"),
    ("another tag", "nightly", image(), config(), "nightly"),
    ("a tag that only begins right", "2.1.0/x", image(), config(), "2.1.0/x"),
    ("gone", "2.1.0", None, None, "does not show"),
    ("an SBOM", "2.1.0", image(refers_to=OTHER_DIGEST), None, "SBOM"),
    ("archived", "2.1.0", image(active=False), None, "archived"),
    ("an artifact", "2.1.0", image(manifest=manifest(artifactType="x/y")), None, "x/y"),
    ("an index without it", "2.1.0", image(manifest=index("linux/arm64")), None, "linux/amd64"),
    ("another platform", "2.1.0", image(), config() | {"architecture": "arm64"}, "linux/arm64"),
]


@pytest.mark.parametrize(
    ("tag", "described", "document", "named"),
    [case[1:] for case in IGNORED],
    ids=[case[0] for case in IGNORED],
)
def test_a_push_that_deploys_nothing_says_why(
    tag: str | None, described: Image | None, document: Any, named: str
) -> None:
    reason = identification.ignored(push(tag), spec(), described, document, AMD64)
    assert named in str(reason)


@pytest.mark.parametrize("described", [image(), image(manifest=index("linux/amd64"))])
def test_a_push_that_fits_deploys(described: Image) -> None:
    assert identification.ignored(push(), spec(), described, config(), AMD64) is None


def test_a_push_is_the_release_of_a_tag_on_an_image_since_it_was_put_there() -> None:
    labels = config(deployer__schema__number="12")
    created = identification.pushed(push(), "coder", image(), labels, EXECUTION, NOW)
    again = identification.pushed(push(), "coder", None, labels, ANOTHER_EXECUTION, NOW)
    assert created["id"] == again["id"] == "20261123T142503Z-abababababab-8248"
    assert created["image"] == IMAGE and again["image"] == ""
    assert created["digest"] == DIGEST
    assert created["schema"] == {"number": 12, "hash": None}
    assert (created["trigger"], created["startedBy"]) == ("push", "push")
    assert created["pushedAt"] == "2026-11-23T14:25:03+00:00"
    assert created["startedAt"] == NOW.isoformat()
    for other in (
        Push("coder", DIGEST, "v2.1.0", push().time),
        Push("coder", DIGEST, "2.1.0", NOW),
    ):
        result = identification.pushed(other, "coder", image(), labels, EXECUTION, NOW)
        assert result["id"] != created["id"]


@pytest.mark.parametrize(
    ("tag", "tags", "ignored"),
    [
        ("2.1.0-amd64", r"v?[0-9.]+.*", True),
        ("2.1.0-arm64", r"v?[0-9.]+.*", True),
        ("v2.1.0-soci", r"v?[0-9.]+.*", True),
        ("2.1.0-linux-amd64", r".*", True),
        ("2.1.0_x86_64", r".*", True),
        ("2.1.0-arm64v8-soci", r".*", True),
        ("2.1.0-amd64", r".*-amd64", False),
        ("2.1.0-rc.1", r".*", False),
        ("2.1.0-alpine", r".*", False),
        ("amd64", r".*", False),
    ],
)
def test_the_tag_of_a_variant_deploys_nothing_where_the_versions_own_tag_does(
    tag: str, tags: str, ignored: bool
) -> None:
    reason = identification.ignored(push(tag), spec(tags=tags), image(), config(), AMD64)
    assert (reason is not None) == ignored
    if reason:
        assert "variant of" in reason and tag in reason


def test_an_order_is_a_new_release_each_time() -> None:
    command = Deploy("2.1.0", None, None)
    first = identification.requested(command, spec(), image(), config(), EXECUTION, NOW)
    second = identification.requested(command, spec(), image(), config(), ANOTHER_EXECUTION, NOW)
    assert first["id"] != second["id"]
    assert first["id"].startswith("20261123T143000Z-abababababab-")
    assert (first["trigger"], first["startedBy"]) == ("deploy", "operator")


@pytest.mark.parametrize("stack", [None, "deployer-staging"])
def test_a_promotion_keeps_where_its_image_was_verified_and_as_which_version(stack: Any) -> None:
    source = Promotion("staging", "r1", "2.1.0-rc1", stack)
    command = Deploy(DIGEST, None, None, source)
    made = identification.requested(command, spec(), image(), config(), EXECUTION, NOW)
    origin = {"service": "staging", "release": "r1", "version": "2.1.0-rc1"}
    assert made["promotedFrom"] == origin | ({"stack": stack} if stack else {})
    assert made["version"] == "2.1.0-rc1"


@pytest.mark.parametrize(
    ("record", "refusal"),
    [
        (recorded(), None),
        (None, "there is no release"),
        (recorded(outcome="FAILED_ROLLED_BACK"), "FAILED_ROLLED_BACK"),
        (recorded(outcome="HELD"), "HELD"),
        (recorded(outcome=MISSING), "in flight"),
        (recorded(trigger="hold"), "only a release that was verified"),
        (recorded(digest=OTHER_DIGEST), OTHER_DIGEST),
    ],
)
def test_only_what_was_live_and_verified_is_promoted(record: Any, refusal: str | None) -> None:
    if record:
        record = {name: value for name, value in record.items() if value is not MISSING}
    reason = identification.unpromotable(Promotion("staging", "r1", "2.1.0"), record, DIGEST)
    assert reason is None if refusal is None else reason and refusal in reason


def test_an_order_keeps_who_gave_it() -> None:
    command = Deploy("2.1.0", None, "ada")
    result = identification.requested(command, spec(), image(), config(), EXECUTION, NOW)
    assert result["startedBy"] == "ada"


@pytest.mark.parametrize(
    ("requested", "tags", "tag", "version"),
    [
        ("v2.1.0", ("2.1.0", "v2.1.0"), "v2.1.0", "v2.1.0"),
        (DIGEST, ("2.1.0", "v2.1.0"), "2.1.0", "2.1.0"),
        (DIGEST, (), None, "abababababab"),
    ],
)
def test_an_order_by_digest_takes_the_version_of_a_tag_if_there_is_one(
    requested: str, tags: tuple[str, ...], tag: str | None, version: str
) -> None:
    command = Deploy(requested, None, None)
    result = identification.requested(command, spec(), image(tags=tags), config(), EXECUTION, NOW)
    assert (result["tag"], result["version"]) == (tag, version)


def test_a_release_keeps_its_commit_when_it_is_deployed_again() -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    labels = config(org__opencontainers__image__revision=revision)
    release = identification.pushed(push(), "coder", image(), labels, EXECUTION, NOW)
    assert release["builtFrom"] == {"revision": revision, "source": None}
    again = identification.again(recorded(**release), "rollback", "ann", True, EXECUTION, NOW)
    assert again["builtFrom"] == release["builtFrom"]
    unknown = identification.pushed(push(), "coder", image(), config(), EXECUTION, NOW)
    assert "builtFrom" not in unknown

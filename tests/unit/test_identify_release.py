"""Which image, for which service, and does it deploy: each input leaves one record."""

import json
from typing import Any

import pytest

import identify_release
from deployer.aws import client, releases
from deployer.errors import ImageMissing, RequestRejected, ServiceUnknown, SpecInvalid
from tests.unit.conftest import Script, Web
from tests.unit.samples import (
    ANOTHER_EXECUTION,
    EXECUTION,
    REGISTRY,
    config,
    document,
    index,
    manifest,
    payload,
    push_event,
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


def push(tag: str = "2.1.0", made: dict[str, Any] | None = None) -> str:
    """Push an image; returns its digest."""
    image = client("ecr").put_image(
        repositoryName="coder", imageManifest=json.dumps(made or manifest()), imageTag=tag
    )
    return str(image["image"]["imageId"]["imageDigest"])


def identify(document: Any, context: Any, execution: str = EXECUTION) -> dict[str, Any]:
    return dict(identify_release.handler(payload(input=document, execution=execution), context))


def pushed(digest: str, tag: str | None = "2.1.0") -> dict[str, Any]:
    return push_event(**{"image-digest": digest, "image-tag": tag})


def record() -> Any:
    (found,) = releases.history("coder")
    return found


def test_a_push_that_fits_is_deployed_by_digest(registry: Script, context: Any) -> None:
    digest = push()
    found = identify(pushed(digest), context)
    assert found["decision"] == "DEPLOY"
    assert found["spec"] == document()
    assert found["release"]["image"] == f"{REGISTRY}/coder@{digest}"
    assert found["release"]["version"] == "2.1.0"
    assert found["release"]["schema"] == {"number": 12, "hash": None}
    assert record()["id"] == found["release"]["id"]
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
    found = identify(event, context, ANOTHER_EXECUTION)
    assert found["decision"] != "DEPLOY"
    assert EXECUTION in found["reason"]
    assert record()["execution"] == EXECUTION


def test_two_tags_of_one_digest_deploy_once(registry: Script, context: Any) -> None:
    digest = push("2.1.0")
    push("v2.1.0")
    decisions = [
        identify(pushed(digest, "2.1.0"), context)["decision"],
        identify(pushed(digest, "v2.1.0"), context, ANOTHER_EXECUTION)["decision"],
    ]
    assert decisions.count("DEPLOY") == 1


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
    assert {entry.get("outcome") for entry in releases.history("coder")} == {"IGNORED", None}


@pytest.mark.parametrize(
    ("tag", "made", "named"),
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
    registry: Script, context: Any, tag: str | None, made: dict[str, Any], named: str
) -> None:
    found = identify(pushed(push("2.1.0", made), tag), context)
    assert found["decision"] != "DEPLOY"
    assert named in found["reason"]
    assert record()["outcome"] == "IGNORED"
    assert named in record()["reason"]


def test_an_image_that_is_gone_again_is_ignored(registry: Script, context: Any) -> None:
    found = identify(pushed(f"sha256:{'ee' * 32}"), context)
    assert found["decision"] != "DEPLOY"
    assert record()["outcome"] == "IGNORED"
    assert "gone" in record()["reason"]


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
    found = identify(pushed(digest, "2.1.0"), context, ANOTHER_EXECUTION)
    assert found["decision"] == "DEPLOY"
    assert "outcome" not in record()


# orders


@pytest.mark.parametrize("by_digest", [True, False])
def test_an_order_deploys_an_image_by_tag_or_digest(
    registry: Script, context: Any, by_digest: bool
) -> None:
    digest = push("nightly")
    order = {"action": "deploy", "image": digest if by_digest else "nightly", "by": "ada"}
    found = identify(order, context)
    assert found["decision"] == "DEPLOY"
    assert found["release"]["digest"] == digest
    assert found["release"]["startedBy"] == "ada"


def test_an_order_deploys_what_a_push_deployed_before(registry: Script, context: Any) -> None:
    digest = push()
    identify(pushed(digest), context)
    order = {"action": "deploy", "image": digest}
    assert identify(order, context, ANOTHER_EXECUTION)["decision"] == "DEPLOY"
    assert len(releases.history("coder")) == 2


@pytest.mark.parametrize(
    ("made", "image", "named"),
    [
        (manifest(), "9.9.9", "9.9.9 is not in repository coder"),
        (manifest(artifactType="x/y"), "2.1.0", "x/y"),
        (index("linux/arm64"), "2.1.0", "linux/amd64"),
    ],
)
def test_an_order_for_what_cannot_run_is_refused(
    registry: Script, context: Any, made: dict[str, Any], image: str, named: str
) -> None:
    push("2.1.0", made)
    with pytest.raises(ImageMissing, match=named):
        identify({"action": "deploy", "image": image}, context)
    assert releases.history("coder") == []


# what cannot be served


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"action": "explode"}, RequestRejected),
        (push_event(**{"repository-name": "nobody"}), ServiceUnknown),
        ({"action": "deploy", "image": "2.1.0", "service": "nobody"}, ServiceUnknown),
    ],
)
def test_an_input_that_cannot_be_served_is_refused_by_name(
    registry: Script, context: Any, asked: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        identify(asked, context)
    assert releases.history("coder") == []


def test_a_wrong_spec_is_refused_by_name(registry: Script, context: Any) -> None:
    client("ssm").put_parameter(
        Name="/deployer/services/coder",
        Value=json.dumps(document(timeout=1)),
        Type="String",
        Overwrite=True,
    )
    with pytest.raises(SpecInvalid, match="timeout"):
        identify(pushed(push()), context)

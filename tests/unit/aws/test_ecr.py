"""Images in ECR."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deployer.aws import client, ecr
from deployer.deploy.image import CONFIGS
from deployer.deploy.reconciliation import PushedImage
from deployer.errors import AwsUnavailable
from tests.unit.conftest import Script, Web, refusal
from tests.unit.samples import DIGEST, OTHER_DIGEST, REGISTRY, config, index, manifest


@pytest.fixture
def repository(aws: None) -> str:
    client("ecr").create_repository(repositoryName="team/coder")
    return "team/coder"


def push(repository: str, document: dict[str, Any], tag: str) -> str:
    """Push a manifest; returns its digest."""
    pushed = client("ecr").put_image(
        repositoryName=repository, imageManifest=json.dumps(document), imageTag=tag
    )
    return str(pushed["image"]["imageId"]["imageDigest"])


def test_an_image_is_found_by_tag_and_by_digest(repository: str) -> None:
    digest = push(repository, manifest(), "2.1.0")
    for reference in ("2.1.0", digest):
        result = ecr.find(repository, reference)
        assert result and result.digest == digest
        assert result.uri == f"{REGISTRY}/team/coder@{digest}"
        assert result.tags == ("2.1.0",)
        assert result.manifest == manifest()
        assert result.active and result.refers_to is None
        assert abs(datetime.now(UTC) - result.pushed_at).total_seconds() < 60


class Lagging:
    """ECR's answers, of which the first do not show an image yet; and a clock that sleeps move."""

    def __init__(self, seconds: float) -> None:
        self.now, self.shown, self.looks = datetime(2026, 1, 1, tzinfo=UTC), seconds, 0
        self.begun = self.now

    def find(self, repository: str, digest: str) -> str | None:
        self.looks += 1
        return digest if (self.now - self.begun).total_seconds() >= self.shown else None

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("lag", "age", "described", "looks"),
    [(0, 0, True, 1), (5, 1, True, 4), (5, 40, False, 1), (1000, 0, False, 16)],
)
def test_an_image_that_was_just_pushed_may_not_be_shown_yet(
    monkeypatch: pytest.MonkeyPatch, lag: int, age: int, described: bool, looks: int
) -> None:
    world = Lagging(lag)
    monkeypatch.setattr(ecr, "find", world.find)
    monkeypatch.setattr(ecr, "time", world)
    monkeypatch.setattr(ecr, "datetime", SimpleNamespace(now=lambda _: world.now))
    at = world.begun - timedelta(seconds=age)
    assert ((ecr.find_pushed("r", DIGEST, at) is not None), world.looks) == (described, looks)


def test_an_index_is_found_as_an_index(repository: str) -> None:
    push(repository, index("linux/amd64"), "2.1.0")
    result = ecr.find(repository, "2.1.0")
    assert result and result.is_index


def test_a_referrer_tells_what_it_refers_to(repository: str) -> None:
    push(repository, manifest(subject={"digest": OTHER_DIGEST}), "sbom")
    result = ecr.find(repository, "sbom")
    assert result and result.refers_to == OTHER_DIGEST


@pytest.mark.parametrize("reference", ["9.9.9", f"sha256:{'0' * 64}"])
def test_an_image_that_is_not_there_is_none(repository: str, reference: str) -> None:
    push(repository, manifest(), "2.1.0")
    assert ecr.find(repository, reference) is None


def test_a_repository_that_is_not_there_has_no_image(aws: None) -> None:
    assert ecr.find("nobody", "2.1.0") is None


def detail(**changes: Any) -> dict[str, Any]:
    result = {"imageDigest": DIGEST, "imagePushedAt": datetime(2026, 11, 23, tzinfo=UTC)}
    return {"imageDetails": [result | changes]}


def manifests(document: dict[str, Any] | None) -> dict[str, Any]:
    return {"images": [{"imageManifest": json.dumps(document)}] if document else []}


def repositories() -> dict[str, Any]:
    return {"repositories": [{"repositoryUri": f"{REGISTRY}/coder"}]}


@pytest.mark.parametrize(("status", "active"), [("ACTIVE", True), ("ARCHIVED", False)])
def test_an_archived_image_is_not_active(script: Script, status: str, active: bool) -> None:
    script("ecr", "DescribeImages", detail(imageStatus=status))
    script("ecr", "BatchGetImage", manifests(manifest()))
    script("ecr", "DescribeRepositories", repositories())
    result = ecr.find("coder", DIGEST)
    assert result and result.active == active
    assert result.tags == ()


def test_an_image_that_goes_between_two_looks_is_none(script: Script) -> None:
    script("ecr", "DescribeImages", detail())
    script("ecr", "BatchGetImage", manifests(None))
    assert ecr.find("coder", DIGEST) is None


def test_a_refusal_is_not_taken_for_a_missing_image(script: Script) -> None:
    script("ecr", "DescribeImages", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        ecr.find("coder", "2.1.0")


# configs


def test_a_config_is_downloaded_from_where_ecr_says(script: Script, web: Web) -> None:
    web.answer("/layer", json.dumps(config()))
    script("ecr", "BatchGetImage", manifests(manifest()))
    script("ecr", "GetDownloadUrlForLayer", {"downloadUrl": f"{web.url}/layer"})
    assert ecr.config("coder", DIGEST) == config()
    (request,) = script.requests("GetDownloadUrlForLayer")
    assert request == {
        "repositoryName": "coder",
        "layerDigest": manifest(config={"mediaType": CONFIGS[0], "digest": f"sha256:{'c0' * 32}"})[
            "config"
        ]["digest"],
    }


def test_an_image_that_is_gone_has_an_empty_config(script: Script) -> None:
    script("ecr", "BatchGetImage", manifests(None))
    assert ecr.config("coder", DIGEST) == {}


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_download_that_fails_is_aws_being_unavailable(
    script: Script, web: Web, status: int
) -> None:
    web.answer("/layer", "<Error/>", status=status)
    script("ecr", "BatchGetImage", manifests(manifest()))
    script("ecr", "GetDownloadUrlForLayer", {"downloadUrl": f"{web.url}/layer"})
    with pytest.raises(AwsUnavailable):
        ecr.config("coder", DIGEST)


def test_a_download_that_nobody_answers_is_aws_being_unavailable(script: Script) -> None:
    script("ecr", "BatchGetImage", manifests(manifest()))
    script("ecr", "GetDownloadUrlForLayer", {"downloadUrl": "http://127.0.0.1:1/layer"})
    with pytest.raises(AwsUnavailable):
        ecr.config("coder", DIGEST)


# what was pushed

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def pushed(minute: int, *tags: str) -> dict[str, Any]:
    return {
        "imageDigest": f"sha256:{minute:064}",
        "imageTags": list(tags),
        "imagePushedAt": AT + timedelta(minutes=minute),
    }


def test_tagged_images_come_page_by_page(script: Script) -> None:
    def page(request: dict[str, Any]) -> Any:
        if request.get("nextToken"):
            return {"imageDetails": [pushed(1, "1.0.1")]}
        return {"imageDetails": [pushed(3, "latest", "1.0.3")], "nextToken": "n"}

    script("ecr", "DescribeImages", page)
    assert ecr.tagged("team/coder") == [
        PushedImage(f"sha256:{3:064}", ("latest", "1.0.3"), AT + timedelta(minutes=3)),
        PushedImage(f"sha256:{1:064}", ("1.0.1",), AT + timedelta(minutes=1)),
    ]
    assert script.requests("DescribeImages")[0]["filter"] == {"tagStatus": "TAGGED"}


def test_a_repository_that_is_not_there_has_no_pushes(aws: None) -> None:
    assert ecr.tagged("nobody") == []


def test_a_repository_that_is_not_ours_to_read_has_none_and_other_errors_count(
    script: Script,
) -> None:
    script("ecr", "DescribeImages", refusal("AccessDeniedException"))
    assert ecr.tagged("theirs") == []
    script("ecr", "DescribeImages", refusal("InvalidParameterException"))
    with pytest.raises(ClientError, match="InvalidParameter"):
        ecr.tagged("theirs")

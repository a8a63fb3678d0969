"""What lies under a digest: an image that a task can run, or something else."""

from typing import Any

import pytest

from deployer.deploy import image as images
from deployer.deploy.image import INDEXES, MANIFESTS
from tests.unit.samples import OTHER_DIGEST, config, image, index, manifest

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


def without_type(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "mediaType"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (manifest(), MANIFESTS[0]),
        (without_type(manifest()), MANIFESTS[0]),
        (index("linux/amd64"), INDEXES[0]),
        (without_type(index("linux/amd64")), INDEXES[0]),
        (manifest(mediaType="text/plain"), "text/plain"),
    ],
)
def test_a_manifest_tells_its_kind_by_name_or_shape(
    document: dict[str, Any], expected: str
) -> None:
    assert images.media_type(document) == expected


@pytest.mark.parametrize("kind", [*INDEXES, *MANIFESTS])
def test_an_index_is_told_from_an_image(kind: str) -> None:
    assert image(manifest={"mediaType": kind}).is_index == (kind in INDEXES)


@pytest.mark.parametrize(
    ("platform", "child"),
    [("linux/amd64", 0), ("linux/arm64", 1), ("windows/amd64", None), ("unknown/unknown", 2)],
)
def test_an_index_has_a_child_for_a_platform(platform: str, child: int | None) -> None:
    result = images.child_for(index("linux/amd64", "linux/arm64"), platform)
    assert result == (None if child is None else f"sha256:{child:064x}")


@pytest.mark.parametrize("entries", [{}, {"manifests": []}, {"manifests": [{"digest": "x"}]}])
def test_an_index_without_platforms_has_no_child(entries: dict[str, Any]) -> None:
    assert images.child_for(entries, "linux/amd64") is None


@pytest.mark.parametrize(
    "described",
    [
        image(),
        image(manifest=without_type(manifest())),
        image(manifest=manifest(mediaType=MANIFESTS[1], config={"mediaType": DOCKER_CONFIG})),
        image(manifest=index("linux/amd64")),
        image(manifest=index("linux/amd64") | {"mediaType": INDEXES[1]}),
    ],
)
def test_an_image_and_an_index_can_be_run(described: images.Image) -> None:
    assert images.not_an_image(described) is None


@pytest.mark.parametrize(
    ("described", "named"),
    [
        (image(refers_to=OTHER_DIGEST), OTHER_DIGEST),
        (image(refers_to=OTHER_DIGEST, manifest=index("linux/amd64")), OTHER_DIGEST),
        (image(active=False), "archived"),
        (image(manifest=manifest(artifactType="application/spdx+json")), "application/spdx+json"),
        (
            image(manifest=manifest(config={"mediaType": "application/vnd.oci.empty.v1+json"})),
            "application/vnd.oci.empty.v1+json",
        ),
        (
            image(manifest=manifest(config={"mediaType": "application/vnd.cncf.helm.config+json"})),
            "helm",
        ),
        (image(manifest=without_type(manifest(config={}))), "artifact"),
        (
            image(manifest={"mediaType": "application/vnd.docker.distribution.manifest.v1+json"}),
            "manifest.v1",
        ),
    ],
    ids=["referrer", "index", "archived", "artifactType", "empty config", "helm", "none", "v1"],
)
def test_what_is_no_image_is_called_by_what_it_is(described: images.Image, named: str) -> None:
    assert named in str(images.not_an_image(described))


@pytest.mark.parametrize(
    ("document", "platform", "fits"),
    [
        (config(), "linux/amd64", True),
        (config(), "linux/arm64", False),
        ({"os": "windows", "architecture": "amd64"}, "linux/amd64", False),
        ({"os": "unknown", "architecture": "unknown"}, "linux/amd64", False),
        ({}, "linux/amd64", False),
    ],
)
def test_an_image_runs_on_the_platform_that_its_config_names(
    document: dict[str, Any], platform: str, fits: bool
) -> None:
    assert (images.wrong_platform(document, platform) is None) == fits


@pytest.mark.parametrize(
    "document", [{}, {"config": None}, {"config": {}}, {"config": {"Labels": None}}]
)
def test_an_image_may_have_no_labels(document: dict[str, Any]) -> None:
    assert images.labels(document) == {}
    assert images.schema(document) is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"deployer__schema__number": "12"}, {"number": 12, "hash": None}),
        (
            {"deployer__schema__number": "12", "deployer__schema__hash": "f00"},
            {"number": 12, "hash": "f00"},
        ),
        ({"deployer__schema__hash": "f00"}, None),
        ({"deployer__schema__number": "twelve"}, None),
        ({"deployer__schema__number": "-1"}, None),
        ({"deployer__schema__number": ""}, None),
    ],
)
def test_the_schema_comes_from_the_images_labels(
    labels: dict[str, str], expected: dict[str, Any] | None
) -> None:
    assert images.schema(config(**labels)) == expected


SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("revision", "source", "expected"),
    [
        (SHA, "https://github.com/team/shop", "https://github.com/team/shop"),
        (SHA, "https://github.com/team/shop.git", "https://github.com/team/shop"),
        (SHA, "https://git.example.com:8443/a/b/", "https://git.example.com:8443/a/b"),
        (SHA, "", None),
        (SHA, "https://ann:hunter2@github.com/team/shop", None),
        (SHA, "git@github.com:team/shop.git", None),
        (SHA, "https://github.com/team/shop?token=hunter2", None),
        (SHA[:7], "https://github.com/team/shop", ...),
        (f"{SHA}-dirty", "https://github.com/team/shop", ...),
        ("main", "https://github.com/team/shop", ...),
    ],
)
def test_the_commit_comes_from_the_images_labels(revision: str, source: str, expected: Any) -> None:
    """Only a whole hash, and a URL without credentials: what it says is passed on to others."""
    prefix = "org__opencontainers__image__"
    labels = {f"{prefix}revision": revision, f"{prefix}source": source}
    commit = images.commit(config(**labels))
    assert commit == (None if expected is ... else {"revision": SHA, "source": expected})

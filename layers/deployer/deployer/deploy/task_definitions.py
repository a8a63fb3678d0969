"""Make a release's task definition from ECS's own document, and compare two of them.

Imports decisions only, no AWS.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.deploy import documents
from deployer.deploy.release import Release
from deployer.deploy.spec import ServiceSpec
from deployer.redaction import redact

CONTENT_TAG = "deployer:content"
_SECRET = re.compile(r"(?i)pass|secret|token|credential|api_?key|private_?key")
# ECS's defaults for missing fields; that of hostPort is the container's port.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
_DEFAULTS = {"essential": True, "interval": 30, "timeout": 5, "retries": 3}
_ASSIGNED_BY_ECS = (
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
)
_VARIABLES = ("environment", "secrets")
_WORDS = {"containerDefinitions": "container", "secrets": "secret"}

type _Path = tuple[str, ...]
"""The path of a value: keys, and the names of containers, variables and secrets."""


@dataclass(frozen=True)
class Base:
    """The task definition from which a release's is made.

    Attributes:
        definition: as RegisterTaskDefinition takes it, without the release's image.
        arn: of the revision in ECS from which it is; None if the spec has it.
        adopted: whether it is the running service's own.
    """

    definition: Mapping[str, Any]
    arn: str | None = None
    adopted: bool = False


def in_spec(spec: ServiceSpec, definition: Mapping[str, Any]) -> Base:
    """Return the base that the spec itself has."""
    return Base({"family": spec.service, **definition})


def in_ecs(
    spec: ServiceSpec, described: Mapping[str, Any], tags: Sequence[Mapping[str, str]]
) -> Base:
    """Return the base that is in ECS: the running service's own, or the one that the spec names.

    Releases of a named one are registered under another family, so that its newest revision stays
    the one that its owner registered.

    Args:
        described: as DescribeTaskDefinition returns it.
        tags: of that revision; the deployer's own are left out.
    """
    definition = {
        name: value for name, value in described.items() if name not in _ASSIGNED_BY_ECS and value
    }
    kept = [dict(tag) for tag in tags if not tag["key"].startswith(("deployer:", "aws:"))]
    adopted = spec.task_definition is None
    if not adopted:
        definition["family"] = releases_family(str(described["family"]))
    if kept:
        definition["tags"] = kept
    return Base(definition, str(described["taskDefinitionArn"]), adopted)


def releases_family(family: str) -> str:
    """Return the family of the releases that are made from a task definition of a family."""
    return f"{family}-releases"


def render(spec: ServiceSpec, base: Base, image: str | None = None) -> dict[str, Any]:
    """Return the task definition of a release, as RegisterTaskDefinition takes it.

    Args:
        image: `<registry>/<repository>@sha256:…`; None to leave the one of the base.
    Raises:
        PreflightFailed: it is unclear which container runs the image.
    """
    name, own = documents.release_container(spec, base.definition), {"image": image}
    return {
        **base.definition,
        "containerDefinitions": [
            {**overridden(one, spec.override), **(own if image else {})}
            if one.get("name") == name
            else one
            for one in base.definition["containerDefinitions"]
        ],
    }


def overridden(container: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return a container definition with another laid over it; variables are added by name."""
    variables = {one["name"] for kind in _VARIABLES for one in override.get(kind, ())}
    merged = {**container, **override}
    for kind in _VARIABLES if variables else ():
        own = [one for one in documents.listed(container, kind) if one["name"] not in variables]
        merged[kind] = [*own, *override.get(kind, ())]
    return merged


def content_hash(definition: Mapping[str, Any]) -> str:
    """Return a hash of a task definition's content, for a tag of the revision.

    It is safer to compare than DescribeTaskDefinition's response, in which ECS has filled in
    defaults that change over the years.
    """
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:32]


def tags(definition: Mapping[str, Any], release: Release, content: str) -> dict[str, str]:
    """Return the tags of a revision: its own, and the deployer's to identify it in the console."""
    own = {str(tag.get("key")): str(tag.get("value", "")) for tag in definition.get("tags", ())}
    return own | {
        "deployer:version": tag_value(release["version"]),
        "deployer:digest": release["digest"],
        "deployer:release": release["id"],
        CONTENT_TAG: content,
    }


def tag_value(text: str) -> str:
    """Return a text as a tag's value: replace invalid characters, and cut off the rest.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html
    """
    return "".join(char if _allowed_in_tag(char) else "_" for char in text)[:256]


def _allowed_in_tag(char: str) -> bool:
    return char in "_.:/=+-@" or unicodedata.category(char)[0] in "LNZ"


# How two differ -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A difference between two documents: its path in words, and both values.

    A value is None if it is missing on that side.
    """

    what: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the differences between two task definitions, or two services.

    The values of variables that are named like secrets are hidden.

    Args:
        before: as DescribeTaskDefinition returns it, with ECS's defaults.
        after: as RegisterTaskDefinition takes it, or DescribeTaskDefinition returns it.
    """
    old, new = dict(_values(before, ())), dict(_values(after, ()))
    return [
        Change(" ".join(path), _text(path, old.get(path)), _text(path, new.get(path)))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
        and not (path not in new and _is_default(path[-1], old[path]))
    ]


def _values(value: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    """Yield each value with its path; empty, zero and false values count as missing."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if path or key not in (*_ASSIGNED_BY_ECS, "tags"):
                yield from _values(entry, (*path, _WORDS.get(key) or str(key)))
    elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        for index, entry in enumerate(value):
            name = str(entry.get("name", entry.get("containerPort", index + 1)))
            rest = {key: field for key, field in entry.items() if key != "name"}
            if rest.keys() in ({"value"}, {"valueFrom"}):
                yield (*path, name), next(iter(rest.values()))
            else:
                yield from _values(rest, (*path, name))
    elif value:
        yield path, value


def _is_default(name: str, value: Any) -> bool:
    return name == "hostPort" or _DEFAULTS.get(name) == value


def _text(path: _Path, value: Any) -> str | None:
    if value is None:
        return None
    if "environment" in path and _SECRET.search(path[-1]):
        return "(not shown)"
    words = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    text = " ".join(map(str, words))
    return redact(text) if "environment" in path else text

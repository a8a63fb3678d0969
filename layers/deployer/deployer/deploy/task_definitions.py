"""Task definitions as values: what the service spec and a digest make of them; how two differ."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.deploy.release import Release
from deployer.deploy.spec import PLATFORMS, Container, ServiceSpec
from deployer.redaction import redact

CONTENT_TAG = "deployer:content"
_SECRET = re.compile(r"(?i)pass|secret|token|credential|api_?key|private_?key")
# What ECS fills in where a definition does not say it; hostPort is the container's.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
_FILLED_IN = {"essential": True, "interval": 30, "timeout": 5, "retries": 3}
_ITS_OWN = (
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
)
_WORDS = {"containerDefinitions": "container", "secrets": "secret"}

type _Path = tuple[str, ...]
"""Where a value is in a task definition: keys, and the names of containers, variables, secrets."""


def render(spec: ServiceSpec, image: str, region: str) -> dict[str, Any]:
    """The task definition for an image, without tags, as RegisterTaskDefinition takes it.

    Args:
        spec: the service spec.
        image: `<registry>/<repository>@sha256:…`
        region: where the log group is.
    """
    logs = _logs(spec, region)
    definition: dict[str, Any] = {
        "family": spec.family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(spec.cpu),
        "memory": str(spec.memory),
        "runtimePlatform": {
            "operatingSystemFamily": "LINUX",
            "cpuArchitecture": PLATFORMS[spec.platform],
        },
        "executionRoleArn": spec.execution_role,
        "containerDefinitions": [
            _container(spec.container, image) | {"logConfiguration": logs},
            *({"logConfiguration": logs, "essential": False} | dict(s) for s in spec.sidecars),
        ],
    }
    if spec.task_role:
        definition["taskRoleArn"] = spec.task_role
    return definition


def _container(container: Container, image: str) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "essential": True,
        **container.extra,
        "name": container.name,
        "image": image,
        "portMappings": [{"containerPort": container.port, "protocol": "tcp"}],
        "environment": [
            {"name": name, "value": value} for name, value in sorted(container.environment.items())
        ],
        "secrets": [
            {"name": name, "valueFrom": arn} for name, arn in sorted(container.secrets.items())
        ],
    }
    if container.health_check:
        check = container.health_check
        definition["healthCheck"] = {
            "command": list(check.command),
            "interval": check.interval,
            "timeout": check.timeout,
            "retries": check.retries,
            "startPeriod": check.start_period,
        }
    if container.stop_timeout:
        definition["stopTimeout"] = container.stop_timeout
    return definition


def _logs(spec: ServiceSpec, region: str) -> dict[str, Any]:
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": spec.log_group,
            "awslogs-region": region,
            "awslogs-stream-prefix": "ecs",
        },
    }


def served(containers: Sequence[Mapping[str, Any]], spec: ServiceSpec) -> tuple[str, int]:
    """Return the name and port of the container that serves in a revision, which may be older than
    what the spec says now."""
    with_ports = [container for container in containers if container.get("portMappings")]
    best = max(with_ports, key=lambda container: _likeness(container, spec), default=None)
    if best is None:
        return spec.container.name, spec.container.port
    ports = [int(mapping["containerPort"]) for mapping in best["portMappings"]]
    return str(best["name"]), spec.container.port if spec.container.port in ports else ports[0]


def _likeness(container: Mapping[str, Any], spec: ServiceSpec) -> tuple[bool, bool]:
    ours = re.search(rf"/{re.escape(spec.repository)}[:@]", str(container.get("image")))
    return ours is not None, container["name"] == spec.container.name


def content_hash(definition: Mapping[str, Any]) -> str:
    """A hash of what a task definition says.

    It goes onto the revision as a tag. Comparing it beats comparing what DescribeTaskDefinition
    gives back, where ECS has filled in defaults that change over the years.
    """
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:32]


def tags(release: Release, content: str) -> dict[str, str]:
    """The tags of a revision, which tell a reader of the console what it is."""
    return {
        "deployer:version": tag_value(release["version"]),
        "deployer:digest": release["digest"],
        "deployer:release": release["id"],
        CONTENT_TAG: content,
    }


def tag_value(text: str) -> str:
    """Return a text as the value of a tag: what a tag cannot hold is replaced, the rest cut off.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html
    """
    return "".join(char if _may_tag(char) else "_" for char in text)[:256]


def _may_tag(char: str) -> bool:
    return char in "_.:/=+-@" or unicodedata.category(char)[0] in "LNZ"


# How two differ -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A difference between two task definitions: what, by names that a person knows it by, and its
    values; None where there is, or was, none such."""

    what: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs, in words.

    The value of a variable that is named like a secret is not told, only that it changed.

    Args:
        before: as DescribeTaskDefinition gives it, with what ECS fills in.
        after: as RegisterTaskDefinition takes it, or DescribeTaskDefinition gives it.
    """
    old, new = dict(_values(before, ())), dict(_values(after, ()))
    return [
        Change(" ".join(path), _text(path, old.get(path)), _text(path, new.get(path)))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
        and not (path not in new and _filled_in(path[-1], old[path]))
    ]


def _values(value: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    """What is said, with where; what says nothing (empty, zero, false) is as if it were not."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if path or key not in _ITS_OWN:
                yield from _values(entry, (*path, _WORDS.get(key) or str(key)))
    elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        for index, entry in enumerate(value):
            name = str(entry.get("name", entry.get("containerPort", index + 1)))
            rest = {key: found for key, found in entry.items() if key != "name"}
            if rest.keys() in ({"value"}, {"valueFrom"}):
                yield (*path, name), next(iter(rest.values()))
            else:
                yield from _values(rest, (*path, name))
    elif value:
        yield path, value


def _filled_in(name: str, value: Any) -> bool:
    return name == "hostPort" or _FILLED_IN.get(name) == value


def _text(path: _Path, value: Any) -> str | None:
    if value is None:
        return None
    if "environment" in path and _SECRET.search(path[-1]):
        return "(not shown)"
    words = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    said = " ".join(map(str, words))
    return redact(said) if "environment" in path else said

"""Build task definitions from the service spec and an image, and compare two of them.

Imports decisions only, no AWS.
"""

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
)
_WORDS = {"containerDefinitions": "container", "secrets": "secret"}

type _Path = tuple[str, ...]
"""The path of a value: keys, and the names of containers, variables and secrets."""


def render(spec: ServiceSpec, image: str, region: str) -> dict[str, Any]:
    """Return the task definition for an image, without tags, as RegisterTaskDefinition takes it.

    Args:
        spec: the service spec.
        image: `<registry>/<repository>@sha256:…`
        region: the log group's Region.
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
    """Return the name and port of a revision's serving container; the spec may be newer."""
    with_ports = [container for container in containers if container.get("portMappings")]
    best = max(with_ports, key=lambda container: _likeness(container, spec), default=None)
    if best is None:
        return spec.container.name, spec.container.port
    ports = [int(mapping["containerPort"]) for mapping in best["portMappings"]]
    return str(best["name"]), spec.container.port if spec.container.port in ports else ports[0]


def _likeness(container: Mapping[str, Any], spec: ServiceSpec) -> tuple[bool, bool]:
    image = re.search(rf"/{re.escape(spec.repository)}[:@]", str(container.get("image")))
    return image is not None, container["name"] == spec.container.name


def content_hash(definition: Mapping[str, Any]) -> str:
    """Return a hash of a task definition's content, for a tag of the revision.

    It is safer to compare than DescribeTaskDefinition's response, in which ECS has filled in
    defaults that change over the years.
    """
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:32]


def tags(release: Release, content: str) -> dict[str, str]:
    """Return the tags of a revision, to identify it in the console."""
    return {
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
    """A difference between two task definitions: its path in words, and both values.

    A value is None if it is missing on that side.
    """

    what: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the differences between two task definitions.

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
            if path or key not in _ASSIGNED_BY_ECS:
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

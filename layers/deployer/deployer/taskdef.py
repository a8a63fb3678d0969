"""Task definitions as values: what the service spec and a digest make of them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from deployer.release import Release
from deployer.spec import PLATFORMS, Container, ServiceSpec

CONTENT_TAG = "deployer:content"


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


def content_hash(definition: Mapping[str, Any]) -> str:
    """A hash of what a task definition says.

    It goes onto the revision as a tag. Comparing it beats comparing what DescribeTaskDefinition
    gives back, where ECS has filled in defaults that change over the years.
    """
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:32]


def tags(release: Release, content: str) -> dict[str, str]:
    """The tags of a revision, which tell a reader of the console what it is."""
    return {
        "deployer:version": release["version"],
        "deployer:digest": release["digest"],
        "deployer:release": release["id"],
        CONTENT_TAG: content,
    }

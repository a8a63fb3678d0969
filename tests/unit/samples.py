"""Examples of what the deployer reads and passes on: a service like Coder's, its release, ECS."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from deployer.deploy.image import MANIFESTS, Image
from deployer.deploy.release import Previous, Recorded, Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.lock import LockRequest
from deployer.presets.coder import Coder

ACCOUNT = "123456789012"
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
DIGEST = f"sha256:{'ab' * 32}"
OTHER_DIGEST = f"sha256:{'cd' * 32}"
IMAGE = f"{REGISTRY}/coder@{DIGEST}"
TASK_DEFINITIONS = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition"
REVISION = f"{TASK_DEFINITIONS}/coder:7"
OLD_REVISION = f"{TASK_DEFINITIONS}/coder:6"
NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
EXECUTION = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:Deploy:one"
ANOTHER_EXECUTION = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:Deploy:another"
MISSING: Any = object()
"""In `document`: the field is left out."""

SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:coder-db"
_DOCUMENT: dict[str, Any] = {
    "service": "coder",
    "cluster": "coder",
    "repository": "coder",
    "tags": r"v?[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9_.-]*",
    "taskDefinition": {
        "family": "coder",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "memory": "2048",
        "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"},
        "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/coder-execution",
        "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/coder-task",
        "containerDefinitions": [
            {
                "name": "coder",
                "essential": True,
                "portMappings": [{"containerPort": 3000, "protocol": "tcp"}],
                "environment": [{"name": "CODER_HTTP_ADDRESS", "value": "0.0.0.0:3000"}],
                "secrets": [{"name": "CODER_PG_CONNECTION_URL", "valueFrom": SECRET}],
                "healthCheck": {
                    "command": ["CMD", "coder", "--version"],
                    "interval": 30,
                    "timeout": 5,
                    "retries": 3,
                    "startPeriod": 60,
                },
                "stopTimeout": 30,
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": "/ecs/coder",
                        "awslogs-region": "us-east-1",
                        "awslogs-stream-prefix": "ecs",
                    },
                },
            }
        ],
    },
    "serviceDefinition": {
        "launchType": "FARGATE",
        "desiredCount": 1,
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": ["subnet-0123456789abcdef0"],
                "securityGroups": ["sg-0123456789abcdef0"],
                "assignPublicIp": "ENABLED",
            }
        },
    },
    "strategy": "recreate",
    "timeout": 900,
    "verify": {
        **Coder.fields["verify"],
        "version": {"path": "/api/v2/buildinfo", "field": "version", "match": "build"},
    },
}
GROUP = f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:targetgroup/coder/0123456789"
BALANCER: dict[str, Any] = {
    "url": "https://coder.example.com",
    "serviceDefinition__loadBalancers": [
        {"targetGroupArn": GROUP, "containerName": "coder", "containerPort": 3000}
    ],
    "serviceDefinition__healthCheckGracePeriodSeconds": 120,
}
"""In `document`: the service is behind a load balancer."""
_SHORT = {
    "definition": ("taskDefinition",),
    "one": ("taskDefinition", "containerDefinitions", 0),
    "creates": ("serviceDefinition",),
    "vpc": ("serviceDefinition", "networkConfiguration", "awsvpcConfiguration"),
}
ADOPTED: dict[str, Any] = {
    "taskDefinition": MISSING,
    "serviceDefinition": MISSING,
    "strategy": MISSING,
    "verify": MISSING,
    "timeout": MISSING,
}
"""In `document`: the four lines that adopt a service."""


def document(**changes: Any) -> dict[str, Any]:
    """A service spec with some fields changed; `definition__cpu="512"` reaches into an object.

    `one` is its container definition, `vpc` its network, `creates` its service definition.
    """
    result = copy.deepcopy(_DOCUMENT)
    for path, value in changes.items():
        first, *rest = path.split("__")
        whole: list[Any] = [*(_SHORT.get(first, (first,)) if rest else (first,)), *rest]
        *parents, name = whole
        at: Any = result
        for parent in parents:
            at = at[int(parent) if isinstance(at, list) else parent]
        if value is MISSING:
            del at[name]
        else:
            at[name] = value
    return result


def spec(**changes: Any) -> ServiceSpec:
    return from_document(document(**changes), "sample")


def release(**changes: Any) -> Release:
    result: dict[str, Any] = {
        "service": "coder",
        "repository": "coder",
        "digest": DIGEST,
        "image": IMAGE,
        "tag": "2.1.0",
        "version": "2.1.0",
        "schema": {"number": 12, "hash": "f00"},
        "id": "20261123T142502Z-abababababab",
        "pushedAt": "2026-11-23T14:25:02+00:00",
        "trigger": "push",
        "startedBy": "push",
        "startedAt": "2026-11-23T14:25:04+00:00",
        "execution": EXECUTION,
    }
    return result | changes  # type: ignore[return-value]


def recorded(**changes: Any) -> Recorded:
    """A release of the history, which succeeded."""
    entry = {**release(), "outcome": "SUCCEEDED", "taskDefinition": OLD_REVISION}
    return entry | changes  # type: ignore[return-value]


def lock_request(**changes: Any) -> LockRequest:
    """The claim of that release to its service's turn."""
    result: dict[str, Any] = {
        "release": "20261123T142502Z-abababababab",
        "execution": EXECUTION,
        "trigger": "push",
        "pushedAt": "2026-11-23T14:25:02+00:00",
        "since": "2026-11-23T14:25:04.123Z",
        "token": "a-token",
    }
    return result | changes  # type: ignore[return-value]


def previous(**changes: Any) -> Previous:
    rendered: dict[str, Any] = {
        "taskDefinition": OLD_REVISION,
        "release": "20261120T090000Z-cdcdcdcdcdcd",
        "version": "2.0.0",
        "schema": {"number": 12, "hash": "f00"},
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-before"]}},
    }
    return rendered | changes  # type: ignore[return-value]


def rollout(**changes: Any) -> Rollout:
    """The rollout of REVISION that was started a minute ago and has 14 minutes left."""
    rendered: dict[str, Any] = {
        "id": "ecs-svc/1",
        "taskDefinition": REVISION,
        "startedAt": (NOW - timedelta(seconds=60)).isoformat(),
        "since": (NOW - timedelta(seconds=60)).isoformat(),
        "deadline": (NOW + timedelta(seconds=840)).isoformat(),
        "port": 3000,
    }
    return rendered | changes  # type: ignore[return-value]


def ours(**changes: Any) -> dict[str, Any]:
    """The deployment of that rollout as DescribeServices shows it, with one task and steady."""
    return {
        "id": "ecs-svc/1",
        "status": "PRIMARY",
        "taskDefinition": REVISION,
        "rolloutState": "COMPLETED",
        "desiredCount": 1,
        "runningCount": 1,
        "pendingCount": 0,
        "createdAt": NOW - timedelta(seconds=60),
    } | changes


def before(**changes: Any) -> dict[str, Any]:
    """The deployment that the rollout replaces."""
    return {
        "id": "ecs-svc/0",
        "status": "ACTIVE",
        "taskDefinition": OLD_REVISION,
        "rolloutState": "COMPLETED",
        "desiredCount": 1,
        "runningCount": 0,
        "pendingCount": 0,
        "createdAt": NOW - timedelta(days=3),
    } | changes


def service(*deployments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "serviceName": "coder",
        "serviceArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/coder/coder",
        "clusterArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/coder",
        "status": "ACTIVE",
        "desiredCount": 1,
        "runningCount": 1,
        "deployments": list(deployments),
    } | changes


def task(name: str = "t1", **changes: Any) -> dict[str, Any]:
    """A running task of that rollout, with a network interface."""
    return {
        "taskArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/coder/{name}",
        "startedBy": "ecs-svc/1",
        "lastStatus": "RUNNING",
        "startedAt": NOW - timedelta(seconds=30),
        "attachments": [
            {
                "type": "ElasticNetworkInterface",
                "details": [
                    {"name": "subnetId", "value": "subnet-1"},
                    {"name": "networkInterfaceId", "value": f"eni-{name}"},
                    {"name": "privateIPv4Address", "value": "10.0.0.5"},
                ],
            }
        ],
    } | changes


def crashed(name: str = "t1", **changes: Any) -> dict[str, Any]:
    """A task of that rollout that came to run and exited."""
    return task(
        name,
        **{
            "lastStatus": "STOPPED",
            "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited",
            "stoppedAt": NOW - timedelta(seconds=10),
            "containers": [{"name": "coder", "exitCode": 1}],
        }
        | changes,
    )


def unpullable(name: str = "t1", **changes: Any) -> dict[str, Any]:
    """A task of that rollout whose image is not there: no further attempt can heal it."""
    result = task(
        name,
        **{
            "lastStatus": "STOPPED",
            "stopCode": "TaskFailedToStart",
            "stoppedReason": f"CannotPullContainerError: {IMAGE}: not found",
            "stoppedAt": NOW - timedelta(seconds=10),
        }
        | changes,
    )
    del result["startedAt"]
    return result


def manifest(**changes: Any) -> dict[str, Any]:
    """An OCI image manifest."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFESTS[0],
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{'c0' * 32}",
            "size": 100,
        },
        "layers": [],
    } | changes


def index(*platforms: str) -> dict[str, Any]:
    """An OCI index with an image for each platform, and buildx's attestation of the first."""
    images = [
        {
            "mediaType": MANIFESTS[0],
            "digest": f"sha256:{number:064x}",
            "size": 500,
            "platform": dict(zip(("os", "architecture"), platform.split("/"), strict=True)),
        }
        for number, platform in enumerate((*platforms, "unknown/unknown"))
    ]
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": images,
    }


def config(**labels: str) -> dict[str, Any]:
    """An image's config for linux/amd64; a label's dots are written as `__`."""
    named = {name.replace("__", "."): value for name, value in labels.items()}
    return {"os": "linux", "architecture": "amd64", "config": {"Labels": named or None}}


def image(**changes: Any) -> Image:
    result: dict[str, Any] = {
        "digest": DIGEST,
        "uri": IMAGE,
        "tags": ("2.1.0",),
        "pushed_at": datetime(2026, 11, 23, 14, 25, 2, tzinfo=UTC),
        "active": True,
        "refers_to": None,
        "manifest": manifest(),
    }
    return Image(**result | changes)


def push_event(**detail: Any) -> dict[str, Any]:
    """`ECR Image Action`, as EventBridge delivers it.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
    """
    return {
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": ACCOUNT,
        "time": "2026-11-23T14:25:02Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {
            "result": "SUCCESS",
            "repository-name": "coder",
            "image-digest": DIGEST,
            "action-type": "PUSH",
            "image-tag": "2.1.0",
        }
        | detail,
    }


def payload(**changes: Any) -> Any:
    """What the state machine hands to its functions: each takes of it what it needs."""
    entry: dict[str, Any] = {
        "input": push_event(),
        "execution": EXECUTION,
        "startedAt": "2026-11-23T14:25:04.123Z",
        "spec": document(),
        "release": release(),
        "previous": previous(),
        "probes": {},
        "wasRunning": True,
        "desiredCount": None,
        "taskDefinition": REVISION,
        # no test is about how far the clock is, but for those that say so
        "rollout": rollout(deadline="2100-01-01T00:00:00+00:00"),
        "addresses": {"url": None, "tasks": []},
        "token": "a-token",
        "which": "before",
        "before": False,
        "task": None,
        "ended": False,
        "failure": {"Error": "RolloutFailed", "Cause": "3 new tasks failed"},
        "diagnosis": None,
        "rollback": None,
        "restored": False,
        "snapshot": None,
        "reason": "it serves version 2.1.0",
        "since": NOW.isoformat(),
    }
    return entry | changes

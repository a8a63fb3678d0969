"""Explain why a task stopped: what ECS's reasons mean, whether a retry may help, what to do.

Imports nothing of the deployer.

The wordings: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

type Task = Mapping[str, Any]
"""A task as DescribeTasks returns it."""


@dataclass(frozen=True)
class Stop:
    """Why one task stopped.

    Attributes:
        kind: a short name, to group records and alarms by.
        heals: whether another attempt may succeed without a change.
        reason: ECS's reason, with the exit code.
        advice: what a person can do.
    """

    kind: str
    heals: bool
    reason: str
    advice: str


_ARN = re.compile(r"arn:[\w-]+:([\w-]+):\S+")  # only the service counts: names can have any word
# a registry, Secrets Manager, SSM or CloudWatch Logs that is busy
_BUSY = (
    r"too ?many ?requests|rate exceeded|rate limit|request ?limit ?exceeded|SlowDown:"
    r"|thrott(ling|led) ?exception|internal ?(server|service) ?error|internal ?failure"
    r"|service ?unavailable|bad gateway|gateway time-?out|status ?(code)?:? ?(429|5\d\d)\b"
)
# (kind, heals, pattern of the reason, advice); the first match wins
_REASONS: tuple[tuple[str, bool, re.Pattern[str], str], ...] = tuple(
    (kind, heals, re.compile(pattern, re.IGNORECASE | re.DOTALL), advice)
    for kind, heals, pattern, advice in (
        (
            "image-pull-network",
            True,
            r"CannotPullContainer.*(timeout|deadline exceeded|connection (reset|refused)|\bEOF\b"
            r"|TLS handshake|temporary failure)",
            "The task's subnet must reach ECR: a public IP with an internet gateway, a NAT"
            " gateway, or VPC endpoints for ecr.api, ecr.dkr and S3.",
        ),
        (
            "service-busy",
            True,
            rf"(CannotPullContainer|ResourceInitializationError).*({_BUSY})",
            "A registry or AWS service was busy: deploy again. If it is"
            " the rate limit of a public registry, pull the image through ECR.",
        ),
        (
            "image",
            False,
            r"CannotPullContainer",
            "The image can't be pulled: check that the digest is still in the repository and has"
            " the service's platform, and that the execution role can pull it.",
        ),
        (
            "secret-network",
            True,
            # many secrets have "connection" in their names
            r"ResourceInitializationError.*(deadline exceeded|(i/o|handshake) timeout|timed out"
            r"|connection (reset|refused|issue))",
            "The task's subnet must reach Secrets Manager, SSM and ECR: a public IP with an"
            " internet gateway, a NAT gateway, or VPC endpoints.",
        ),
        (
            "log-group",
            False,
            r"ResourceInitializationError.*(logger|log group|log stream)",
            "Create the log group that the spec names, and let the execution role write to it.",
        ),
        (
            "secret",
            False,
            r"ResourceInitializationError.*(secret|asm|ssm|parameter)",
            "A secret of the spec is missing, or the execution role cannot read it: check its ARN"
            " and the role's secretsmanager:GetSecretValue or ssm:GetParameters.",
        ),
        (
            "initialization",
            False,
            r"ResourceInitializationError",
            "The task's resources could not be set up: check the execution role and its policies.",
        ),
        (
            "memory",
            True,
            r"OutOfMemory",
            "The container ran out of memory: raise memory in the service spec.",
        ),
        (
            "start",
            False,
            r"CannotStartContainer|CannotCreateContainer|exec format error",
            "The container could not be started: check the image's entrypoint and that it was"
            " built for the service's platform.",
        ),
        (
            "load-balancer-health",
            True,
            r"failed ELB health checks",
            "The load balancer got no healthy response: check the target group's path and port, the"
            " security group, and whether the grace period covers the start.",
        ),
        (
            "container-health",
            True,
            r"failed container health checks",
            "The container's own health check failed: check its command, and whether startPeriod"
            " and retries cover the start.",
        ),
        (
            "capacity",
            True,
            r"RESOURCE:|capacity is unavailable|network interface provisioning|free (IP|address)",
            "AWS had no capacity: check free addresses in the subnets and the Fargate quota.",
        ),
        (
            "crash",
            True,
            r"essential container",
            "The application exited: see its last log lines. Often an environment variable or a"
            " secret is wrong, or what it connects to does not let it in.",
        ),
    )
)


def failed(task: Task) -> bool:
    """Return whether a stopped task failed, rather than being scaled in or stopped by someone."""
    if task.get("stopCode") in ("TaskFailedToStart", "EssentialContainerExited"):
        return True
    return "health checks" in task.get("stoppedReason", "")


def why(task: Task) -> Stop:
    """Return why this task stopped."""
    reasons = [task.get("stoppedReason") or ""]
    for container in task.get("containers", ()):
        if container.get("reason"):
            reasons.append(container["reason"])
        if container.get("exitCode") is not None:
            reasons.append(f"container {container.get('name')} exited with {container['exitCode']}")
    reason = "; ".join(dict.fromkeys(text for text in reasons if text)) or "no reason given"
    for kind, heals, pattern, advice in _REASONS:
        if pattern.search(_ARN.sub(r"\1", reason)):
            return Stop(kind, heals, reason, advice)
    return Stop("unknown", True, reason, "See the service's events and the container's log.")

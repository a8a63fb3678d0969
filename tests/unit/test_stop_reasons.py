"""Why a task stopped, by the wordings that ECS uses.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from typing import Any

import pytest

from deployer.deploy import stop_reasons
from tests.unit.samples import ACCOUNT, IMAGE, crashed, task, unpullable

UNABLE = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource"
    " retrieval failed: "
)
SECRET_ARN = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:coder-pg-connection-url-AbCdEf"

REASONS = [
    ("image", False, f"CannotPullContainerError: {IMAGE}: not found"),
    (
        "image",
        False,
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to"
        " resolve ref coder@sha256:0: not found",
    ),
    ("image", False, "CannotPullContainerError: write /var/lib/x: no space left on device"),
    (
        "image",
        False,
        "CannotPullContainerError: image Manifest does not contain descriptor matching platform"
        " 'linux/amd64'",
    ),
    ("image", False, "CannotPullContainerError: geoffrey/typeof: pull access denied"),
    (
        "image-pull-network",
        True,
        "CannotPullContainerError: ref pull has been retried 5 time(s): failed to copy: dial tcp"
        " 52.217.1.1:443: i/o timeout",
    ),
    (
        "image-pull-network",
        True,
        "CannotPullContainerError: context deadline exceeded",
    ),
    ("image-pull-network", True, "CannotPullContainerError: unexpected EOF"),
    ("image-pull-network", True, "CannotPullContainerError: net/http: TLS handshake timeout"),
    (
        "secret",
        False,
        f"{UNABLE}unable to retrieve secret from asm: service call has been retried 1 time(s):"
        f" failed to fetch secret {SECRET_ARN} from secrets manager: ResourceNotFoundException",
    ),
    (
        "secret",
        False,
        f"{UNABLE}unable to retrieve secrets from ssm: service call has been retried 1 time(s):"
        " AccessDeniedException: not authorized to perform: ssm:GetParameters",
    ),
    (
        "secret-network",
        True,
        f"{UNABLE}unable to retrieve secret from asm: service call has been retried 5 time(s):"
        f" failed to fetch secret {SECRET_ARN}: RequestCanceled: context deadline exceeded",
    ),
    (
        "secret-network",
        True,
        f"{UNABLE}unable to retrieve ecr registry auth: service call has been retried 3 time(s):"
        " RequestError: send request failed caused by: dial tcp 44.213.79.10:443: i/o timeout",
    ),
    (
        "secret-network",
        True,
        "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot"
        " pull registry auth from Amazon ECR: There is a connection issue between the task and"
        " Amazon ECR. Check your task network configuration.",
    ),
    (
        "log-group",
        False,
        "ResourceInitializationError: failed to validate logger args: create stream has been"
        " retried 1 times: ResourceNotFoundException: The specified log group does not exist.",
    ),
    (
        "initialization",
        False,
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes",
    ),
    ("memory", True, "OutOfMemoryError: Container killed due to memory usage"),
    ("start", False, "CannotStartContainerError: Error response from daemon: no such file"),
    ("start", False, "CannotCreateContainerError: API error (500)"),
    ("start", False, "exec /app/coder: exec format error"),
    (
        "load-balancer-health",
        True,
        "Task failed ELB health checks in (target-group arn:aws:elasticloadbalancing:x)",
    ),
    ("container-health", True, "Task failed container health checks"),
    ("capacity", True, "RESOURCE:ENI"),
    ("capacity", True, "Capacity is unavailable at this time. Please try again later"),
    (
        "capacity",
        True,
        "Timeout waiting for network interface provisioning to complete.",
    ),
    ("crash", True, "Essential container in task exited"),
    ("unknown", True, "The sky fell on its head"),
]


@pytest.mark.parametrize(
    ("kind", "heals", "reason"), REASONS, ids=[f"{k}-{r[:60]}" for k, _, r in REASONS]
)
def test_a_reason_has_a_kind_and_may_heal_or_not(kind: str, heals: bool, reason: str) -> None:
    stop = stop_reasons.why(crashed(stoppedReason=reason, containers=[]))
    assert (stop.kind, stop.heals) == (kind, heals)
    assert stop.reason == reason
    assert stop.advice


def test_a_containers_own_reason_and_exit_code_are_told() -> None:
    stop = stop_reasons.why(
        crashed(
            containers=[
                {"name": "coder", "exitCode": 137, "reason": "OutOfMemoryError: killed"},
                {"name": "proxy", "exitCode": 0},
            ]
        )
    )
    assert stop.kind == "memory"
    assert "OutOfMemoryError: killed" in stop.reason
    assert "container coder exited with 137" in stop.reason
    assert "container proxy exited with 0" in stop.reason


def test_a_reason_that_is_given_twice_is_told_once() -> None:
    reason = "CannotPullContainerError: not found"
    stop = stop_reasons.why(unpullable(stoppedReason=reason, containers=[{"reason": reason}]))
    assert stop.reason == reason


@pytest.mark.parametrize("message", [{"stoppedReason": None}, {"stoppedReason": ""}, {}])
def test_a_task_may_stop_without_a_reason(message: dict[str, Any]) -> None:
    stop = stop_reasons.why({"stopCode": "UserInitiated", **message})
    assert stop.kind == "unknown" and stop.reason


ELB = "Task failed ELB health checks in (target-group x)"


@pytest.mark.parametrize(
    ("dead", "failed"),
    [
        (crashed(), True),
        (unpullable(), True),
        (crashed(stopCode="ServiceSchedulerInitiated", stoppedReason=ELB), True),
        (
            crashed(
                stopCode="ServiceSchedulerInitiated",
                stoppedReason="Task failed container health checks",
            ),
            True,
        ),
        (
            crashed(
                stopCode="ServiceSchedulerInitiated",
                stoppedReason="Scaling activity initiated by (deployment ecs-svc/1)",
            ),
            False,
        ),
        (crashed(stopCode="UserInitiated", stoppedReason="Task stopped by user"), False),
        (crashed(stopCode="SpotInterruption", stoppedReason="Your Spot Task was…"), False),
        (task(), False),
    ],
)
def test_a_task_that_was_scaled_away_or_stopped_by_someone_did_not_fail(
    dead: dict[str, Any], failed: bool
) -> None:
    assert stop_reasons.failed(dead) == failed


TRANSIENT = (
    "toomanyrequests: You have reached your pull rate limit",
    "pull image manifest has been retried 5 time(s): httpReadSeeker: failed open: unexpected status"
    " from GET request to https://x/v2/a/manifests/sha256:0: 503 Service Unavailable",
    "unexpected status code [manifests 1]: 429 Too Many Requests",
    "failed to resolve ref: 502 Bad Gateway",
    "ThrottlingException: Rate exceeded",
    "operation error Secrets Manager: GetSecretValue, https response error StatusCode: 500,"
    " InternalServiceError: An error occurred on the server side",
    "unable to retrieve secrets from ssm: ThrottlingException: Rate exceeded",
    "failed to validate logger args: create stream has been retried 1 times: failed to create"
    " Cloudwatch log stream: ThrottlingException: Rate exceeded : exit status 1",
    "ServiceUnavailable: Service Unavailable",
)


@pytest.mark.parametrize("start", ["CannotPullContainerError: ", "ResourceInitializationError: "])
@pytest.mark.parametrize("message", TRANSIENT)
def test_what_aws_or_a_registry_could_not_answer_heals(start: str, message: str) -> None:
    assert stop_reasons.why(task(stoppedReason=start + message)).heals


@pytest.mark.parametrize(
    "name", ["too-many-requests", "TooManyRequests", "ServiceUnavailable-1", "status:503"]
)
def test_the_name_of_a_secret_heals_nothing(name: str) -> None:
    arn = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:{name}"
    result = stop_reasons.why(
        task(
            stoppedReason=f"{UNABLE}failed to fetch secret {arn} from secrets manager:"
            " ResourceNotFoundException: can't find the specified secret"
        )
    )
    assert (result.kind, result.heals) == ("secret", False)

"""`deployer run`: its request, and what becomes of it whatever AWS does."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli import oneoff
from cli.aws import Account
from cli.command import Call
from cli.commands.run import OneOff
from cli.errors import FAILED, TIMED_OUT, CommandFailed, ProgramFailed
from cli.live import Live
from demo import ROOT
from deployer.aws import ecs, logs
from deployer.errors import AwsUnavailable
from tests.template.conftest import load
from tests.unit.samples import spec

REVISION = "arn:aws:ecs:us-east-1:123456789012:task-definition/shop-releases:3"
ROLE = "arn:aws:iam::123456789012:role/shop-task"
OLD, NEW = ({"awsvpcConfiguration": {"subnets": [name]}} for name in ("subnet-1", "subnet-2"))
OPTIONS = {"awslogs-group": "/ecs/shop", "awslogs-stream-prefix": "ecs"}
DEFINITION = {
    "taskRoleArn": ROLE,
    "containerDefinitions": [
        {"name": "app", "logConfiguration": {"logDriver": "awslogs", "options": OPTIONS}},
        {"name": "proxy"},
    ],
}


def live(**service: Any) -> Live:
    record: Any = {"id": "1", "service": "shop", "version": "1.0.0"}
    return Live(record, REVISION, DEFINITION, service, in_flight=False)


def requested(found: Live) -> dict[str, Any]:
    return oneoff.request(found, "shop", "app", ["a", "b"], "deployer-run/ann", "token")


def test_a_task_is_placed_as_the_release_is_and_not_as_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    following = {"taskDefinition": "shop-releases:4", "networkConfiguration": NEW}
    own = {"taskDefinition": REVISION, "networkConfiguration": OLD, "platformVersion": "1.4.0"}
    request = requested(live(deployments=[following, own], launchType="FARGATE"))
    assert (request["launchType"], request["platformVersion"]) == ("FARGATE", "1.4.0")
    assert (request["networkConfiguration"], request["cluster"]) == (OLD, "shop")
    [override] = request["overrides"]["containerOverrides"]
    assert override == {"name": "app", "command": ["a", "b"]}
    assert ecs.invalid_fields("RunTask", request) == []

    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    request = requested(live(capacityProviderStrategy=spot, launchType="FARGATE"))
    assert request["capacityProviderStrategy"] == spot
    assert "launchType" not in request, "ECS takes one of them"


def test_its_end_wakes_no_execution_and_counts_for_no_rollout() -> None:
    resources = load(ROOT / "template.yaml")["Resources"]
    rules = resources["TaskRule"]["Properties"]["EventPattern"]["detail"]["startedBy"]
    by = oneoff.started_by("ecs-svc/Operators/ann@example.com" + "x" * 200)
    assert by.startswith("deployer-run/ecs-svc/Operators/ann-example-com")
    assert len(by) == 128
    assert not any(by.startswith(rule["prefix"]) for rule in rules)
    assert not requested(live())["group"].startswith("service:")


def task(status: str = "RUNNING", code: int | None = None, **fields: Any) -> dict[str, Any]:
    container = {"name": "app"} | ({} if code is None else {"exitCode": code})
    given = {"taskArn": "arn:aws:ecs:us-east-1:123456789012:task/shop/7", "lastStatus": status}
    wanted = "STOPPED" if status == "STOPPED" else "RUNNING"
    return {**given, "desiredStatus": wanted, "containers": [container], **fields}


@pytest.mark.parametrize(
    ("ended", "code", "said", "advice"),
    [
        (task("STOPPED", 7), 7, "exited with 7", None),
        (
            task("STOPPED", 143, stopCode="UserInitiated", stoppedReason="by bob"),
            143,
            "exited with 143: it was stopped, by bob",
            None,
        ),
        (
            task("STOPPED", 0, stopCode="SpotInterruption", stoppedReason="no capacity"),
            FAILED,
            "stopped before its command was done",
            None,
        ),
        (task("STOPPED", 256), 1, "exited with 256", None),
        (
            task("STOPPED", 137, stoppedReason="OutOfMemoryError: killed"),
            137,
            "exited with 137",
            "raise memory",
        ),
        (
            task("STOPPED", stoppedReason="CannotPullContainerError: not found"),
            FAILED,
            "could not start: CannotPullContainerError",
            "digest",
        ),
        (
            task("STOPPED", startedAt="then", stoppedReason="Host EC2 terminated"),
            FAILED,
            "ended without an exit code",
            "log",
        ),
    ],
)
def test_an_exit_code_is_told_from_a_task_that_did_not_run(
    ended: Any, code: int, said: str, advice: str | None
) -> None:
    failed = oneoff.failure(ended, "app")
    assert failed and failed.code == code
    assert isinstance(failed, ProgramFailed) == ("exited" in said)
    assert said in failed.message
    assert advice is None or advice in failed.advice[0]


class Aws:
    """ECS and CloudWatch Logs, by what a test lets them answer, the last answer for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts: list[Any] = [([task("PROVISIONING")], [])]
        self.shows: list[Any] = [[task("STOPPED", 0)]]
        self.lines: list[Any] = [[]]
        self.stops: list[Any] = [None]
        self.requests: list[Any] = []
        self.stopped: list[str] = []
        monkeypatch.setattr(ecs, "run_task", self._run)
        monkeypatch.setattr(ecs, "stop_task", self._stop)
        monkeypatch.setattr(ecs, "existing_tasks", lambda *given: answer(self.shows))
        monkeypatch.setattr(logs, "lines", lambda *given: iter(answer(self.lines)))
        monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def _run(self, request: Any) -> Any:
        self.requests.append(request)
        return answer(self.starts)

    def _stop(self, cluster: str, arn: str, reason: str) -> None:
        self.stopped.append(reason)
        answer(self.stops)


def answer(answers: list[Any]) -> Any:
    given = answers.pop(0) if len(answers) > 1 else answers[0]
    if isinstance(given, BaseException):
        raise given
    return given


def error(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    return Aws(monkeypatch)


@pytest.fixture
def run(account: Account, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a command for so many seconds; its document."""
    arn = {"Arn": "arn:aws:iam::123456789012:user/ann"}
    sts = SimpleNamespace(get_caller_identity=lambda: arn)
    monkeypatch.setattr(Account, "client", lambda self, name: {"sts": sts}[name])

    def started(timeout: float = 60, container: str = "app") -> dict[str, Any]:
        call = Call(None, None, "deployer", None, json=False)
        call.__dict__ |= {
            "account": account,
            "target": SimpleNamespace(spec=spec(), environment=""),
        }
        OneOff(call, live(), container, ["true"], timeout).run()
        return call.result

    return started


def test_a_start_that_is_tried_again_is_the_same_start(aws: Aws, run: Callable[..., Any]) -> None:
    aws.starts = [AwsUnavailable("RunTask: 503"), AwsUnavailable("RunTask: 503"), *aws.starts]
    assert run()["exitCode"] == 0
    tokens = {request["clientToken"] for request in aws.requests}
    assert (len(aws.requests), len(tokens)) == (3, 1)


@pytest.mark.parametrize(
    ("starts", "said", "advice"),
    [
        (
            error("AccessDeniedException", f"is not authorized to perform: iam:PassRole on {ROLE}"),
            "iam:PassRole",
            f"- iam:PassRole for {ROLE}",
        ),
        (([], [{"reason": "Capacity is unavailable at this time"}]), "Capacity", "Fargate quota"),
        (KeyboardInterrupt(), "interrupted while", "--started-by deployer-run/ann"),
    ],
)
def test_a_start_that_fails_says_why_and_what_to_do(
    aws: Aws, run: Callable[..., Any], starts: Any, said: str, advice: str
) -> None:
    aws.starts = [starts]
    with pytest.raises(CommandFailed) as failed:
        run()
    assert said in failed.value.message
    assert advice in "\n".join(failed.value.advice)


def test_who_takes_too_long_is_stopped(aws: Aws, run: Callable[..., Any]) -> None:
    aws.shows = [[], [task()], [task()], [task("STOPPED", 143)]]
    with pytest.raises(ProgramFailed) as failed:
        run(timeout=0)
    assert failed.value.message == "not done within 0 s; the task was stopped"
    assert failed.value.code == TIMED_OUT
    assert aws.stopped == ["deployer run: timed out"]


def test_a_command_beside_which_others_go_on_is_done_when_it_is(
    aws: Aws, run: Callable[..., Any]
) -> None:
    ours = {"stopCode": "UserInitiated", "stoppedReason": "deployer run: its command has ended"}
    aws.shows = [[task()], [task("RUNNING", 0)], [task("STOPPED", 0, **ours)]]
    assert run()["exitCode"] == 0
    assert aws.stopped == ["deployer run: its command has ended"]


def test_ctrl_c_stops_the_task_and_another_one_does_not_wait(
    aws: Aws, run: Callable[..., Any]
) -> None:
    aws.shows = [[task()], KeyboardInterrupt(), [task()], [task("STOPPED", 143)]]
    with pytest.raises(CommandFailed) as failed:
        run()
    assert failed.value.message == "interrupted; the task was stopped"
    assert (failed.value.code, aws.stopped) == (130, ["deployer run: interrupted"])
    aws.shows = [KeyboardInterrupt(), KeyboardInterrupt()]
    with pytest.raises(CommandFailed) as failed:
        run()
    assert "is being stopped" in failed.value.message
    aws.stops = [KeyboardInterrupt()]
    aws.shows = [KeyboardInterrupt()]
    with pytest.raises(CommandFailed) as failed:
        run()
    assert failed.value.message == "interrupted; the task runs on"
    assert failed.value.code == 130


@pytest.mark.parametrize("stops", [None, error("AccessDeniedException")])
def test_a_task_that_is_left_running_is_told_with_how_to_stop_it(
    aws: Aws, run: Callable[..., Any], stops: Any
) -> None:
    aws.stops = [stops]
    aws.shows = [KeyboardInterrupt() if stops else error("ExpiredTokenException")]
    with pytest.raises(CommandFailed) as failed:
        run()
    assert failed.value.message.endswith("; the task runs on")
    assert failed.value.code == (130 if stops else FAILED)
    assert failed.value.advice[-1].startswith("  aws ecs stop-task --cluster ")


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_a_log_that_cannot_be_read_does_not_end_it(
    aws: Aws, run: Callable[..., Any], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.lines = [error(code)]
    assert run()["exitCode"] == 0
    assert ("cannot be shown" in capsys.readouterr().err) == (code == "AccessDeniedException")
    aws.shows = [[task("STOPPED", containers=[{"name": "proxy", "exitCode": 0}])]]
    assert run(container="proxy")["exitCode"] == 0
    assert "nothing to show" in capsys.readouterr().err

"""`deployer run`."""

import signal
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from botocore.exceptions import ClientError

from cli import completion, live, oneoff
from cli.aws import AWS_ERRORS, DENIED, code_of, explained
from cli.command import Call, command, times_out
from cli.errors import FAILED, INTERRUPTED, TIMED_OUT, CommandFailed, ProgramFailed
from cli.live import Live
from cli.loglines import Log, Tail, task_of
from cli.patience import UNANSWERED, patiently
from cli.requests import caller
from cli.screen import Screen, printable
from deployer.aws import ecs
from deployer.deploy import documents, one_off, stop_reasons
from deployer.deploy.rollout import READ_LAG
from deployer.deploy.stop_reasons import Task
from deployer.errors import AwsUnavailable

LOOK_SECONDS = 2.0  # between two polls of the task and its log
# How long to wait for a task that is being stopped: Fargate's longest stop timeout, and a minute
STOP_SECONDS = 180.0
# How long to wait for STOPPED once the exit code is known: meanwhile the last lines arrive
SETTLE_SECONDS = 20.0


@command(
    runs=True,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  deployer run -- python manage.py migrate
  deployer run --timeout 7200 -- sh -c 'echo "$DATABASE_HOST"; ./backfill'
  deployer run --json -- ./report 2>lines.txt | jq .exitCode

\b
The command's output goes to stdout, with --json to stderr; everything else goes
to stderr. Ctrl-C stops the task; a second one does not wait until it has stopped.

\b
Exit codes:
  that of the command, if it ran
  124  not done within --timeout; the task was stopped
  125  the deployer's own failure: no live release, no permission, a task that
       could not start (in --json, `exitCode` is null then)
  130  Ctrl-C; the task was stopped
""",
)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@click.option(
    "--container",
    shell_complete=completion.containers,
    help="Where to run it; by default the container that gets the image.",
)
@times_out("Seconds after which the task is stopped.")
def run(call: Call, words: Sequence[str], container: str | None, timeout: int) -> None:
    """Run COMMAND in a task of its own of the live release: same image, variables, secrets, roles
    and network as the service. Its log is followed, and its exit code passed on. An entrypoint of
    the image, or of its task definition, gets the command as its arguments."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how CI systems cancel a job
    spec = call.target.spec
    release = live.find(call.target)
    name = live.container(release.definition, spec, container)
    OneOff(call, release, name, words, timeout).run()


class OneOff:
    """A task of its own, from its start to its end."""

    def __init__(
        self, call: Call, release: Live, container: str, words: Sequence[str], timeout: float
    ) -> None:
        self._call, self._live, self._container = call, release, container
        self._screen = Screen(sys.stderr, given=lambda: call.given)
        self._cluster, self._began = call.target.spec.cluster, time.monotonic()
        self._timeout, self._deadline = timeout, time.monotonic() + timeout
        arn = call.account.client("sts").get_caller_identity()["Arn"]
        self._by = oneoff.started_by(caller(arn))
        self._request = oneoff.request(
            release, self._cluster, container, words, self._by, uuid.uuid4().hex
        )
        self._task: Task = {}
        self._tail: Tail | None = None
        self._arn = ""
        self._ended: float | None = None  # when its exit code was seen
        self._stopped_for: CommandFailed | None = None  # what made us stop it, unless it was done

    def run(self) -> None:
        """Run the task to its end.

        Raises:
            CommandFailed: it could not be run, or its command failed.
        """
        record = self._live.record
        self._call.result |= {
            "release": record["id"],
            "version": record["version"],
            "taskDefinition": self._live.revision,
            "container": self._container,
            "command": self._request["overrides"]["containerOverrides"][0]["command"],
            "startedBy": self._by,
            "task": None,
            **oneoff.document({}, self._container),
        }
        self._screen.title(f"Running a task of {record['service']} {printable(record['version'])}")
        if self._live.in_flight:
            self._screen.say("A deployment is about to replace this release.", "yellow")
        try:
            self._start()
            self._follow()
        except KeyboardInterrupt:
            if not self._arn:
                text = "interrupted while the task was started"
                raise self._unknown(INTERRUPTED, text) from None
            raise self._left(CommandFailed(INTERRUPTED, "interrupted")) from None
        except BrokenPipeError:  # as `head` does
            self._stop("its output was closed")
            raise
        except (*AWS_ERRORS, AwsUnavailable) as error:
            raise self._left(CommandFailed(FAILED, f"stopped following: {_why(error)}")) from error
        self._call.result |= oneoff.document(self._task, self._container)
        if self._stopped_for:
            self._stopped_for.message += "; the task was stopped"
        if failed := self._stopped_for or oneoff.failure(self._task, self._container):
            raise failed
        self._screen.say(f"Done after {time.monotonic() - self._began:.0f} s.", "green")

    def _start(self) -> None:
        try:
            tasks, failures = patiently(lambda: ecs.run_task(self._request), self._screen)
        except ClientError as error:
            raise self._refused(error) from error
        except UNANSWERED as error:
            raise self._unknown(FAILED, f"AWS did not answer RunTask: {error}") from error
        if not tasks:
            reason = "; ".join(str(one.get("reason")) for one in failures) or "no reason given"
            stop = stop_reasons.why({"stoppedReason": reason})
            raise CommandFailed(FAILED, f"ECS could not place the task: {reason}", [stop.advice])
        self._task = tasks[0]
        self._call.result["task"] = self._arn = self._task["taskArn"]
        self._screen.say(f"Task {task_of(self._arn)}; Ctrl-C stops it.")
        log = documents.log(documents.container(self._live.definition, self._container))
        if log is None:
            self._screen.say("Its container does not log to CloudWatch: nothing to show.", "yellow")
            return
        stream = f"{log.prefix}{task_of(self._arn)}"
        began = self._task.get("createdAt", datetime.now(UTC))  # by AWS's clock, not by ours
        self._tail = Tail(Log(log.group, self._cluster, stream), began - READ_LAG)

    def _refused(self, error: ClientError) -> CommandFailed:
        """Return the failure of a request that ECS refused."""
        message, advice = explained(error, self._call.opened_account)
        if code_of(error) in DENIED and "explicit deny" not in message:
            advice = oneoff.permissions(self._live)
        elif self._live.definition.get("status") == "INACTIVE":
            advice = ["Its task definition was deregistered; a deployment registers it again."]
        return CommandFailed(FAILED, message, advice)

    def _unknown(self, code: int, why: str) -> CommandFailed:
        list_tasks = f"  aws ecs list-tasks --cluster {self._cluster} --started-by {self._by}"
        return CommandFailed(code, why, ["A task may have started. Look for it:", list_tasks])

    # While it runs --------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._settled():
            try:
                self._look()
                self._show_log()
                self._stop_if_due()
                time.sleep(0 if self._settled() else LOOK_SECONDS)
            except KeyboardInterrupt:
                if self._stopped_for:
                    self._stopped_for.message = "not waiting any longer; the task is being stopped"
                    raise self._stopped_for from None
                self._stopped_for = CommandFailed(INTERRUPTED, "interrupted")
                self._screen.say("Stopping the task; Ctrl-C again does not wait for it.", "yellow")
                self._stop("interrupted")
        self._show_log()

    def _settled(self) -> bool:
        ended = self._ended is not None and time.monotonic() - self._ended > SETTLE_SECONDS
        return ended or self._task.get("lastStatus") == "STOPPED"

    def _look(self) -> None:
        before = self._task.get("lastStatus")
        tasks = patiently(lambda: ecs.existing_tasks(self._cluster, [self._arn]), self._screen)
        if tasks:
            self._task = tasks[0]
        elif time.monotonic() - self._began > READ_LAG.total_seconds():
            raise CommandFailed(
                FAILED,
                "ECS no longer shows the task, as an hour after its end: its exit code is lost",
                ["Its lines are in the service's log:", "  deployer logs --since 1d"],
            )
        if (status := self._task.get("lastStatus")) != before:
            self._screen.say(f"{time.monotonic() - self._began:7.1f} s  {status}", "dim")
        if (
            self._ended is None
            and one_off.entry(self._task, self._container).get("exitCode") is not None
        ):
            self._ended = time.monotonic()

    def _stop_if_due(self) -> None:
        """Stop a task whose command has ended, or that took too long."""
        if one_off.outlived(self._task, self._container):
            self._stop("its command has ended")
        elif self._ended is None and not self._settled() and time.monotonic() > self._deadline:
            if self._stopped_for:
                raise self._left(self._stopped_for)
            late = f"not done within {self._timeout:.0f} s"
            self._stopped_for = ProgramFailed(TIMED_OUT, late)
            self._screen.say(f"{late[:1].upper()}{late[1:]}: stopping the task.", "yellow")
            self._stop("timed out")

    def _stop(self, why: str) -> None:
        reason = f"{oneoff.OURS}{why}"
        try:
            patiently(lambda: ecs.stop_task(self._cluster, self._arn, reason), self._screen)
        except (*AWS_ERRORS, AwsUnavailable) as error:
            failed = self._stopped_for or CommandFailed(FAILED, why)
            failed.message += f"; the task could not be stopped: {_why(error)}"
            raise self._left(failed) from error
        self._deadline = time.monotonic() + STOP_SECONDS

    def _left(self, failed: CommandFailed) -> CommandFailed:
        """Return the failure of a command that leaves its task running."""
        failed.message += "; the task runs on"
        stop = f"  aws ecs stop-task --cluster {self._cluster} --task {self._arn}"
        failed.advice += ["Its lines are in the service's log. To stop it:", stop]
        return failed

    def _show_log(self) -> None:
        if self._tail is None:
            return
        tail, stream = self._tail, sys.stderr if self._call.json else sys.stdout

        def show_more() -> None:
            for line in tail.more():
                print(printable(line.text), file=stream, flush=True)

        try:
            patiently(show_more, self._screen)
        except ClientError as error:
            if code_of(error) in DENIED:
                self._tail = None
                self._screen.say(f"Its log cannot be shown: {_why(error)}", "yellow")
            elif code_of(error) != "ResourceNotFoundException":  # the group is made with the task
                raise


def _why(error: Exception) -> str:
    return explained(error)[0] if isinstance(error, AWS_ERRORS) else f"{error}"

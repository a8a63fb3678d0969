"""`deployer logs`."""

import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from typing import Any

import click
from botocore.exceptions import ClientError
from rich.text import Text

from cli import completion, live
from cli.aws import code_of
from cli.command import Call, command
from cli.errors import INTERRUPTED, UNREADY, WRONG, CommandFailed
from cli.loglines import Log, Tail, periods, task_of
from cli.patience import patiently
from cli.releases import named
from cli.screen import Screen, printable
from deployer.aws import ecs
from deployer.aws.logs import Line
from deployer.deploy import documents, history, rollout
from deployer.deploy.release import Recorded
from deployer.deploy.spec import ServiceSpec
from deployer.errors import PreflightFailed
from deployer.store import releases
from deployer.usecases import read_documents

LOOK_SECONDS = 2.0  # between two polls with --follow; an account may poll 5 times a second
_LINES = 100
_SPAN = re.compile(r"([0-9]+)\s*(s|m|min|h|d|w)")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


class _Moment(click.ParamType):
    """A time: how long ago, such as 15m, or in ISO 8601."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        try:
            if match := _SPAN.fullmatch(str(value).strip()):
                span = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
                return datetime.now(UTC) - span
            moment = datetime.fromisoformat(str(value))
        except (ValueError, OverflowError):
            self.fail(f"invalid time {value!r}; expected 90s, 15m, 1h, 2d or 2026-11-27T14:30Z")
        return moment if moment.tzinfo else moment.astimezone()


@command(
    streams=lambda given: True,
    epilog="""\b
Examples:
  deployer logs                        the last 100 lines
  deployer logs --follow               and new lines, until Ctrl-C
  deployer logs --release last         of the newest release only, failed or not
  deployer logs --since 1h | grep ERROR
  deployer logs --json --since 1h | jq -r .message     an object a line

\b
Credentials that the application logged are shown as ***, also with --json.
""",
)
@click.option(
    "--release",
    shell_complete=completion.releases,
    help="An id, version, tag, digest, `live` or `last`: its tasks only.",
)
@click.option("--follow", "-f", is_flag=True, help="Keep showing new lines until Ctrl-C.")
@click.option("--since", type=_Moment(), help="90s, 15m, 1h, 2d ago, or a time in ISO 8601.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0, 100_000),
    help=f"How many of the last lines; {_LINES}, or all with --since.",
)
@click.option(
    "--container",
    shell_complete=completion.containers,
    help="A sidecar's name; by default the application's container.",
)
def logs(
    call: Call,
    release: str | None,
    follow: bool,
    since: datetime | None,
    lines: int | None,
    container: str | None,
) -> None:
    """Show the service's log lines, all or of one release."""
    logs = _logs(call, release, container)
    tails = {name: Tail(log, datetime.now(UTC)) for name, log in logs.items()}
    count = _LINES if lines is None and since is None else lines

    def show_more() -> None:
        for name, tail in tails.items():
            for line in tail.more():
                _show(call, line, name)

    shown = 0
    try:
        each = [_named(name, _first(log, count, since)) for name, log in logs.items()]
        for name, line in deque(merge(*each, key=lambda one: one[1].at), maxlen=count):
            tails[name].mark_shown(line)
            _show(call, line, name)
            shown += 1
        while follow:
            patiently(show_more, Screen(sys.stderr))
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        raise CommandFailed(INTERRUPTED, "Stopped following; the service keeps running.") from None
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        groups = sorted({log.group for log in logs.values()})
        raise CommandFailed(
            UNREADY,
            f"log group {' or '.join(groups)} does not exist",
            ["Create it, or correct awslogs-group in the service's task definition."],
        ) from error
    if not shown:
        what = "since then" if since else "by that release" if release else "yet"
        for log in logs.values():
            where = f"under {log.prefix} in {log.group}"
            click.echo(f"Nothing was logged {what} {where}.", err=True)


def _first(log: Log, count: int | None, since: datetime | None) -> Iterable[Line]:
    return log.lines(since) if since and count is None else log.last(count or 0, since)


def _named(name: str, lines: Iterable[Line]) -> Iterator[tuple[str, Line]]:
    return ((name, line) for line in lines)


def _logs(call: Call, release: str | None, container: str | None) -> dict[str, Log]:
    """Return the logs of the services of a release, by their names; of those that have one.

    Raises:
        CommandFailed: none has.
    """
    spec = call.target.spec
    records = releases.newest(spec.service, 10_000) if release else []
    record = named(records, release) if release else None
    logs, refusals = dict[str, Log](), list[CommandFailed]()
    for part in spec.parts:
        try:
            logs[part.service] = _log(part, records, record, container)
        except CommandFailed as refused:
            refusals.append(refused)
    if not logs:
        raise refusals[0]
    return logs


def _log(
    spec: ServiceSpec, records: Sequence[Recorded], record: Recorded | None, container: str | None
) -> Log:
    own = [entry for entry in history.of_service([record] if record else [], spec)]
    release = own[0] if own else None
    log = _log_of(spec, container, release.get("taskDefinition") if release else None)
    if not record:
        return log
    log.periods = periods(history.of_service(records, spec), release) if release else []
    if not log.periods:
        outcome = record.get("outcome", "in flight")
        raise CommandFailed(
            WRONG,
            f"{record['version']} ({record['id']}) never ran a task: it is {outcome}",
            [f"  deployer history {record['id']}"],
        )
    return log


def _log_of(spec: ServiceSpec, container: str | None, revision: str | None) -> Log:
    """Return the log of a container, by a task definition; None for the running one's."""
    revision = revision or rollout.task_definition(ecs.service(spec.cluster, spec.service))
    described = ecs.task_definition(revision) if revision else None
    try:
        definition = described[0] if described else read_documents.base(spec).definition
    except PreflightFailed as error:
        raise CommandFailed(UNREADY, f"{error}", ["  deployer doctor"]) from error
    name = live.container(definition, spec, container)
    log = documents.log(documents.container(definition, name))
    if log is None:
        raise CommandFailed(
            UNREADY,
            f"container {name} does not log to CloudWatch",
            ["Set logConfiguration in its task definition: logDriver awslogs, with its group,"
             " Region and stream prefix."],
        )  # fmt: skip
    return Log(log.group, spec.cluster, log.prefix)


def _show(call: Call, line: Line, service: str) -> None:
    task = task_of(line.stream)
    if call.json:
        at = line.at.isoformat(timespec="milliseconds")
        words = {"time": at, "service": service, "task": task, "stream": line.stream}
        call.tell({**words, "message": line.text})
        return
    moment = f"{line.at:%Y-%m-%d %H:%M:%S}"
    of = f"{service} {task[:8]}" if call.target.spec.further else task[:8]
    text = Text.assemble((moment, "dim"), " ", (of, "cyan"), " ", printable(line.text))
    call.screen.console.print(text, soft_wrap=True)

"""`deployer history`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from botocore.exceptions import ClientError

from cli import completion, figures, plan
from cli.aws import DENIED, code_of
from cli.command import Call, command
from cli.commands.status import docs_serves, say_alarm, serves
from cli.executions import Execution, look
from cli.releases import named
from cli.screen import Screen, Step, moment, printable, seconds_of, span, steps
from deployer.build import image_build
from deployer.deploy import diagnosis
from deployer.deploy.release import Record
from deployer.deploy.task_definitions import Change
from deployer.docs import site
from deployer.store import publications, releases

_NEWEST = 20
_WEEKS = 12
_NAMES = {
    "deployments": "frequency",
    "leadTime": "lead time",
    "failureRate": "failure rate",
    "timeToRestore": "to restore",
}
_WIDE = 100  # columns that the tables need
_ALL = 10_000  # more than the records that the table keeps (about a year of them)


@command(
    epilog="""\b
Examples:
  deployer history                     the newest releases
  deployer history last                one release in full: phases, cause, what to do
  deployer history 1.2.0               by id, version, tag or digest, or `live`
  deployer history --builds            the builds; --docs: the documentation site
  deployer history --stats             how often, how fast, how safely it deploys
  deployer history --json | jq -r '.releases[] | select(.outcome == "FAILED").reason'
"""
)
@click.argument("release", shell_complete=completion.releases, required=False)
@click.option(
    "--limit",
    type=click.IntRange(1, _ALL),
    default=_NEWEST,
    show_default=True,
    help="How many of the newest to list.",
)
@click.option("--builds", is_flag=True, help="The builds of the service's image.")
@click.option("--docs", is_flag=True, help="The publications of its documentation site.")
@click.option("--stats", is_flag=True, help="The figures of the releases, week by week.")
@click.option(
    "--weeks",
    type=click.IntRange(1, 52),
    default=_WEEKS,
    show_default=True,
    help="With --stats: how many weeks.",
)
def history(
    call: Call,
    release: str | None,
    limit: int,
    builds: bool,
    docs: bool,
    stats: bool,
    weeks: int,
) -> None:
    """List the releases and their outcomes, or show one in full.

    RELEASE is an id, version, tag, digest (or the beginning of an id or digest), `live` or `last`.
    """
    if builds and docs:
        raise click.UsageError("--builds and --docs are mutually exclusive.")
    if stats and (release or builds or docs):
        raise click.UsageError("--stats goes with neither a release nor --builds nor --docs.")
    service = call.target.service
    if stats:
        every = releases.newest(service, _ALL)
        call.result["stats"] = document = figures.document(every, datetime.now(UTC), weeks)
        call.screen.facts(list(figure_rows(document)))
        return
    partition = (
        image_build.partition(service) if builds else site.owner(service) if docs else service
    )
    if release:
        _one(call, named(releases.of_any_kind.newest(partition, _ALL), release))
        return
    if partition == service:
        call.result |= serves(call.target)
        say_alarm(call.screen, call.result)
    elif docs:
        call.result |= docs_serves(call.target, publications.history(partition))
        say_alarm(call.screen, call.result)
    records = releases.of_any_kind.newest(partition, limit)
    call.result["releases"] = [{**record, "seconds": seconds_of(record)} for record in records]
    if not records:
        what = "builds" if builds else "publications" if docs else "releases"
        call.screen.say(f"There are no {what} of {service} yet.")
        return
    _table(call.screen, records)


def _table(screen: Screen, records: Sequence[Record]) -> None:
    if screen.live and screen.console.width < _WIDE:
        for record in records:
            screen.say(f"{printable(record['version'])}  {_outcome(record)}")
            screen.say(f"  {record['id']}", style="dim")  # which begins with the time
        return
    rows = []
    for record in records:
        duration = seconds_of(record)
        rows.append(
            (
                printable(record["version"]),
                _outcome(record),
                record["trigger"],
                printable(record["startedBy"]),
                moment(record["startedAt"]),
                span(duration) if duration is not None else "",
                record["id"],
            )
        )
    screen.table(("Version", "Outcome", "Trigger", "Who", "Started", "Took", "Release"), rows)


def _outcome(record: Mapping[str, Any]) -> str:
    outcome = str(record.get("outcome", "in flight"))
    return f"{outcome} (it ran already)" if record.get("deployed") is False else outcome


def figure_rows(stats: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each figure in words, with a bar for each week, in at most 80 columns."""
    weeks = stats["weeks"]
    shown = {name: figures.sparkline(stats[name]["series"]) for name in _NAMES}
    deployments, lead = stats["deployments"], stats["leadTime"]
    rate, restored = stats["failureRate"], stats["timeToRestore"]
    yield "", f"{'':<12}  {'last ' + str(weeks) + ' weeks':<{max(weeks, 13)}}"
    rows = {
        "deployments": (f"{deployments['perWeek']:g} a week", f"{deployments['live']} went live"),
        "leadTime": (_seconds(lead["median"]), f"median of {lead['of']}, from push to live"),
        "failureRate": (_percent(rate["share"]), f"{rate['failed']} of {rate['of']} changes"),
        "timeToRestore": (
            _seconds(restored["median"]),
            f"median of {restored['of']}"
            + (f"; {restored['unrestored']} not restored" if restored["unrestored"] else ""),
        ),
    }
    for name, (amount, note) in rows.items():
        yield _NAMES[name], f"{amount:<12}  {shown[name]:<{max(weeks, 13)}}  {note}".rstrip()


def _seconds(amount: float | None) -> str:
    return "none" if amount is None else span(amount)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"


# One release --------------------------------------------------------------------------------------


def _one(call: Call, record: Record) -> None:
    execution = _execution(call, record["execution"])
    phases = steps(execution) if execution else []
    differences = _differences(call, record)
    call.result |= {
        "release": {**record, "seconds": seconds_of(record)},
        "phases": [phase(step) for step in phases] if execution else None,
        "changes": None if differences is None else [asdict(change) for change in differences],
    }
    screen = call.screen
    screen.facts(list(_facts(call, record)))
    if execution is None:
        screen.say()
        screen.say("No phases: the execution's history is gone, or you have no permission for it.")
    elif phases:
        screen.title("Phases")
        if screen.live and screen.console.width < _WIDE:
            narrow_rows = [(f"{s.at:.1f} s", f"{s.name}\n{s.note}".strip()) for s in phases]
            screen.table(("At", "Phase"), narrow_rows)
        else:
            rows = [(f"{s.at:.1f} s", _took(s, execution), s.name, s.note) for s in phases]
            screen.table(("At", "Took", "Phase", ""), rows)
    for name, lines in (*_diagnosis(record), *_tasks(record), *_warnings(record)):
        screen.title(name)
        for line in lines:
            screen.say(f"  {printable(line)}")
    if differences:
        screen.title("Changes, compared with what ran before it")
        screen.table(["", "before", "then"], plan.rows(differences))


def _execution(call: Call, arn: str) -> Execution | None:
    """Return the execution; None if Step Functions deleted it (after 90 days) or denies it."""
    try:
        return look(call.account.client("stepfunctions"), arn)
    except ClientError as error:
        if code_of(error) in (*DENIED, "ExecutionDoesNotExist"):
            return None
        raise


def _differences(call: Call, record: Mapping[str, Any]) -> list[Change] | None:
    """Return how a release's task definition differs from the one that ran before it.

    None if it has none, if nothing ran before it, or without permission to describe them.
    """
    before, then = record.get("previous"), record.get("taskDefinition")
    if not before or not then:
        return None
    try:
        return plan.differences(call.target, before["taskDefinition"], then)
    except ClientError as error:
        if code_of(error) in (*DENIED, "ClientException"):  # which ECS says of one it deleted
            return None
        raise


def phase(step: Step) -> dict[str, Any]:
    """Return a step of an execution as a document for scripts; times are in seconds."""
    seconds = None if step.left is None else round(step.left - step.at, 3)
    times = {"name": step.name, "at": step.at, "seconds": seconds}
    return times | {"failed": step.failed, "note": step.note, "tries": step.tries}


def _took(step: Step, execution: Execution) -> str:
    return f"{(execution.seconds if step.left is None else step.left) - step.at:.1f} s"


def _facts(call: Call, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    now, seconds = datetime.now(UTC), seconds_of(record)
    yield "release", record["id"]
    yield "version", record["version"]
    yield "outcome", _outcome(record)
    if record.get("reason"):
        yield "why", printable(record["reason"])
    yield "trigger", f"{record['trigger']}, by {record['startedBy']}"
    yield "pushed", moment(record["pushedAt"])
    yield "started", moment(record["startedAt"], now)
    if seconds is not None:
        yield "took", span(seconds)
    for name, key in (("tag", "tag"), ("digest", "digest"), ("url", "url"), ("back to", "to")):
        if record.get(key):
            yield name, str(record[key])
    if commit := record.get("builtFrom"):
        yield "commit", commit["revision"]
    if origin := record.get("promotedFrom"):
        stack = f", stack {origin['stack']}" if "stack" in origin else ""
        yield (
            "promoted",
            f"from {origin['service']} {origin['version']} ({origin['release']}){stack}",
        )
    if record.get("taskDefinition"):
        yield "task def", record["taskDefinition"].rpartition("/")[2]
    if previous := record.get("previous"):
        before = previous.get("version") or previous["taskDefinition"].rpartition("/")[2]
        yield "before it", before
    if last := record.get("verified"):
        yield "verified", f"{last['version']} ({last['release']}), the last one at its end"
    if serving := record.get("serves"):
        what = serving["what"] or "nothing"
        yield (
            "served",
            printable(f"{what}{'' if serving['verified'] else ', not verified'}, when it ended"),
        )
    if schema := record.get("schema"):
        yield "schema", f"{schema['number']}"
    if record.get("snapshot"):
        yield "snapshot", record["snapshot"]
    for which in ("before", "after"):
        if run := record.get(which):
            yield f"task {which}", printable(f"{' '.join(run['command'])}: {_ended(run)}")
    if record.get("databaseInstance"):
        yield "database", f"{record['databaseInstance']}, restored from {record.get('restore')}"
    if rollback := record.get("rollback"):
        restored = record.get("outcome") == "FAILED_ROLLED_BACK"
        became = diagnosis.of_rollback(rollback, restored, site.kind(record["service"]))
        yield "rollback", printable(f"{rollback['action']}: {rollback['reason']}. {became}")
    region = call.account.region
    console = f"https://{region}.console.aws.amazon.com/states/home?region={region}"
    yield "execution", f"{console}#/v2/executions/details/{record['execution']}"


def _ended(run: Mapping[str, Any]) -> str:
    """Return how a task before or after the rollout ended."""
    if "endedAt" not in run:
        return "still runs"
    seconds = span(seconds_of({**run, "startedAt": run["requestedAt"]}) or 0.0)
    return str(run.get("failure") or f"exited with 0 after {seconds}")


def _tasks(record: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the last lines of the tasks that succeeded; the diagnosis has those of one that
    failed."""
    for which in ("before", "after"):
        run = record.get(which) or {}
        if run.get("log") and run.get("failure") is None:
            yield f"Last lines of the task {which} the rollout", run["log"]


def _warnings(record: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    if warnings := record.get("warnings"):
        yield "Warnings", warnings


def _diagnosis(record: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    failure = record.get("diagnosis")
    if not failure:
        return
    yield "Why it failed", [failure["cause"]]
    for title, key in (
        ("Tasks that stopped", "stops"),
        ("Events of the service, newest first", "events"),
        ("Last lines of the log", "log"),
        ("Last lines of the log", "lines"),
    ):
        if failure.get(key):
            yield title, failure[key]
    if failure.get("advice"):
        yield "What to do", [failure["advice"]]

"""`deployer rollback`."""

from collections.abc import Sequence

import click

from cli import completion, plan
from cli.command import Call, command, follows
from cli.errors import REFUSED, REJECTED, WRONG, CommandFailed
from cli.plan import Candidate
from cli.requests import Requests
from cli.screen import printable
from deployer.aws import ecs
from deployer.deploy import database, history, rollout, serving
from deployer.deploy.history import History
from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec
from deployer.errors import DeployError


@command(
    epilog="""\b
Examples:
  deployer rollback                     list the possible releases, and ask
  deployer rollback previous            to the last good one that is not running
  deployer rollback 1.1.0 --reason "login is broken"
  deployer rollback 1.1.0 --no-hold     later pushes deploy again
  deployer rollback 1.1.0 --dry-run     what it would change
"""
)
@click.argument("to", shell_complete=completion.earlier, required=False)
@click.option("--reason", help="Why, for the record and the hold.")
@click.option("--hold/--no-hold", default=True, help="Hold later pushes (the default).")
@click.option(
    "--restore-database",
    is_flag=True,
    help="Restore the snapshot from before the newer schema; all data written since is lost.",
)
@click.option("--yes", is_flag=True, help="Agree to --restore-database.")
@click.option("--dry-run", is_flag=True, help="Show what would change; start nothing.")
@follows
def rollback(
    call: Call,
    to: str | None,
    reason: str | None,
    hold: bool,
    restore_database: bool,
    yes: bool,
    dry_run: bool,
    follow: bool,
) -> None:
    """Roll back to TO, a release that was live: a version, tag, digest or release id, or
    `previous`, the last verified one that is not running. It is a deployment like any other, and
    holds later pushes until `deployer resume`."""
    target, records = call.target, call.target.history
    service = ecs.service(target.spec.cluster, target.service)
    to = to or _chosen(call, records, service)
    record: Recorded | None = None
    try:
        record = history.target(records, to, rollout.task_definition(service))
        if not (restore_database or dry_run):
            serving.refuse_what_serves(records, service, record)
        release = plan.to_go_back(target, records, record["id"], restore_database=restore_database)
    except DeployError as error:
        exists = to == "previous" or any(
            to in (entry["id"], entry["version"], entry["tag"], entry["digest"])
            for entry in records
        )
        advice = _alternatives(target.spec, records, to, record, restore_database)
        raise CommandFailed(REJECTED if exists else WRONG, f"{error}", advice) from error
    if dry_run:
        change = plan.of(target, records, release, holds=hold)
        call.result |= change.document(call.given)
        plan.show(change, call.screen)
        return
    if restore_database and not yes:
        snapshot = release.get("restore") or ""
        call.screen.say(f"This restores snapshot {snapshot}; all data written since is lost.")
        call.confirm("Restore it?")
    requests = Requests(target, call.screen, call.result, follow)
    requests.roll_back(record, hold=hold, reason=reason, restore_database=restore_database)


def _chosen(call: Call, records: History, service: Service | None) -> str:
    """Return the id of the release that the user chooses from a list.

    Raises:
        CommandFailed: not on a terminal, nothing to choose from, or cancelled.
    """
    candidates = plan.candidates(call.target, records, service)
    call.result["candidates"] = [_document(candidate) for candidate in candidates]
    possible = [candidate for candidate in candidates if not candidate.refusal]
    refused = [candidate for candidate in candidates if candidate.refusal]
    if possible:
        call.screen.title("Releases to roll back to")
        numbered = [[str(number), *_row(c)] for number, c in enumerate(possible, 1)]
        call.screen.table(["", "version", "live since", "schema", "release"], numbered)
    if refused:
        call.screen.title("Not possible now")
        for candidate in refused:
            version = printable(candidate.record["version"])
            call.screen.say(f"  {version}: {printable(candidate.refusal)}")
    if not possible:
        why = "each release is refused" if refused else "no other release was live"
        raise CommandFailed(REJECTED, f"nothing to roll back to: {why}", ["  deployer status"])
    if not call.interactive:
        raise CommandFailed(
            REFUSED, "name the release to roll back to", [f"  deployer rollback {_name(possible)}"]
        )
    while True:
        answer = call.screen.ask(
            f"Roll back to which release? [1-{len(possible)}, Enter to cancel]"
        )
        if not answer:
            raise CommandFailed(REFUSED, "cancelled; nothing was changed")
        if answer.isdecimal() and 1 <= int(answer) <= len(possible):
            return possible[int(answer) - 1].record["id"]
        call.screen.say(f"Please type a number from 1 to {len(possible)}.")


def _name(possible: Sequence[Candidate]) -> str:
    return possible[0].record["version"]


def _row(candidate: Candidate) -> list[str]:
    record, schema = candidate.record, candidate.record["schema"]
    number = str(schema["number"]) if schema else "unknown"
    since = record.get("endedAt", "")[:16].replace("T", " ")
    return [record["version"], since, number, record["id"]]


def _document(candidate: Candidate) -> dict[str, object]:
    fields = ("id", "version", "digest", "schema", "endedAt")
    values = {name: candidate.record.get(name) for name in fields}
    return values | {"possible": not candidate.refusal, "refusal": candidate.refusal or None}


def _alternatives(
    spec: ServiceSpec, records: History, to: str, record: Recorded | None, restore_database: bool
) -> list[str]:
    """Return the commands to try instead."""
    advice = ["List the releases to roll back to:", "  deployer rollback"]
    if record and not restore_database and _is_restorable(spec, records, record):
        advice += ["With the database, which loses all data written since:"]
        advice += [f"  deployer rollback {to} --restore-database"]
    return advice


def _is_restorable(spec: ServiceSpec, records: History, record: Recorded) -> bool:
    """Return whether the database's schema prevents the rollback, and a snapshot exists."""
    try:
        database.restoration(spec, records, record, requested=True)
    except DeployError:
        return False
    return history.unknown_schema(records, record, spec.database is not None) is not None

"""`deployer rollback`."""

from collections.abc import Sequence

import click

from cli import plan
from cli.command import Call, command, follows
from cli.errors import REFUSED, REJECTED, WRONG, CommandFailed
from cli.plan import Candidate
from cli.requests import Requests
from cli.screen import printable
from deployer.aws import ecs
from deployer.deploy import database, history, rollout
from deployer.deploy.history import History
from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec
from deployer.errors import DeployError


@command(
    epilog="""\b
Examples:
  deployer rollback                     lists where it can go, and asks
  deployer rollback previous            to the last good one that does not run
  deployer rollback 1.1.0 --reason "login is broken"
  deployer rollback 1.1.0 --no-hold     later pushes deploy again
  deployer rollback 1.1.0 --dry-run     what it would change
"""
)
@click.argument("to", required=False)
@click.option("--reason", help="Why, for the record and for whoever meets the hold.")
@click.option("--hold/--no-hold", default=True, help="Hold later pushes back (the default).")
@click.option(
    "--restore-database",
    is_flag=True,
    help="Restore the snapshot of before the newer schema; what was written since is lost.",
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
    `previous`, the last verified one that does not run. It is a deployment like any other, and
    holds later pushes until `deployer resume`."""
    target, past = call.target, call.target.history
    now = ecs.service(target.spec.cluster, target.service)
    to = to or _chosen(call, past, now)
    record: Recorded | None = None
    try:
        record = history.target(past, to, rollout.task_definition(now))
        if not (restore_database or dry_run):
            plan.refuse_what_serves(past, now, record)
        release = plan.to_go_back(target, past, record["id"], restore_database=restore_database)
    except DeployError as refused:
        known = to == "previous" or any(
            to in (entry["id"], entry["version"], entry["tag"], entry["digest"]) for entry in past
        )
        advice = _ways(target.spec, past, to, record, restore_database)
        raise CommandFailed(REJECTED if known else WRONG, f"{refused}", advice) from refused
    if dry_run:
        planned = plan.of(target, past, release, holds=hold)
        call.result |= planned.document(call.given)
        plan.show(planned, call.screen)
        return
    if restore_database and not yes:
        _agree(call, release.get("restore") or "")
    requests = Requests(target, call.screen, call.result, follow)
    requests.roll_back(record, hold=hold, reason=reason, restore_database=restore_database)


def _chosen(call: Call, past: History, now: Service | None) -> str:
    """Return what a person chose from the list. Raises CommandFailed if not on a terminal."""
    listed = plan.candidates(call.target, past, now)
    call.result["candidates"] = [_document(candidate) for candidate in listed]
    found = [candidate for candidate in listed if not candidate.refusal]
    refused = [candidate for candidate in listed if candidate.refusal]
    if found:
        call.screen.title("Releases to roll back to")
        numbered = [[str(number), *_row(c)] for number, c in enumerate(found, 1)]
        call.screen.table(["", "version", "live since", "schema", "release"], numbered)
    if refused:
        call.screen.title("Not possible now")
        for candidate in refused:
            version = printable(candidate.record["version"])
            call.screen.say(f"  {version}: {printable(candidate.refusal)}")
    if not found:
        why = "each one is refused" if refused else "no other release was live"
        raise CommandFailed(
            REJECTED, f"there is nothing to roll back to: {why}", ["  deployer status"]
        )
    if not call.interactive:
        raise CommandFailed(
            REFUSED, "name the release to roll back to", [f"  deployer rollback {_name(found)}"]
        )
    while True:
        answer = call.screen.ask(f"Roll back to which release? [1-{len(found)}, Enter to cancel]")
        if not answer:
            raise CommandFailed(REFUSED, "nothing was chosen; nothing was changed")
        if answer.isdecimal() and 1 <= int(answer) <= len(found):
            return found[int(answer) - 1].record["id"]
        call.screen.say(f"Please type a number from 1 to {len(found)}.")


def _name(found: Sequence[Candidate]) -> str:
    return found[0].record["version"]


def _row(candidate: Candidate) -> list[str]:
    record, schema = candidate.record, candidate.record["schema"]
    number = str(schema["number"]) if schema else "unknown"
    since = record.get("endedAt", "")[:16].replace("T", " ")
    return [record["version"], since, number, record["id"]]


def _document(candidate: Candidate) -> dict[str, object]:
    named = ("id", "version", "digest", "schema", "endedAt")
    told = {name: candidate.record.get(name) for name in named}
    return told | {"possible": not candidate.refusal, "refusal": candidate.refusal or None}


def _ways(
    spec: ServiceSpec, past: History, to: str, record: Recorded | None, restore_database: bool
) -> list[str]:
    """Return what to type instead."""
    advice = ["List the releases to roll back to:", "  deployer rollback"]
    if record and not restore_database and _is_restorable(spec, past, record):
        advice += ["With the database, which loses what was written since:"]
        advice += [f"  deployer rollback {to} --restore-database"]
    return advice


def _is_restorable(spec: ServiceSpec, past: History, record: Recorded) -> bool:
    """Return whether the database's schema is in the way, and there is a snapshot to restore."""
    try:
        database.restoration(spec, past, record, asked=True)
    except DeployError:
        return False
    return history.unknown_schema(past, record) is not None


def _agree(call: Call, snapshot: str) -> None:
    call.screen.say(f"Snapshot {snapshot} is restored: what was written since is lost.")
    if not call.interactive:
        raise CommandFailed(REFUSED, "not a terminal; pass --yes to confirm")
    if not call.screen.agreed("Restore it?"):
        raise CommandFailed(REFUSED, "not agreed to; nothing was changed")

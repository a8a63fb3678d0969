"""`deployer rollback`."""

from collections.abc import Sequence

import click

from cli import plan
from cli.command import Call, command, follows
from cli.errors import REFUSED, WRONG, CommandFailed
from cli.orders import Orders
from cli.plan import Candidate
from deployer import history
from deployer.errors import DeployError
from deployer.history import History
from deployer.release import Recorded


@command(
    epilog="""\b
Examples:
  deployer rollback                     lists where it can go, and asks
  deployer rollback previous            to what was live before
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
    """Go back to TO, a release that was live: `previous`, a version, tag, digest or release id. It
    is a deployment like any other, and holds later pushes until `deployer resume`."""
    target, past = call.target, call.target.history
    to = to or _chosen(call, past)
    try:
        record = history.target(past, to)
        release = plan.to_go_back(target, past, to, restore_database=restore_database)
    except DeployError as refused:
        raise plan.wrong(refused, _ways(past, to, restore_database)) from refused
    if dry_run:
        planned = plan.of(target, past, release, holds=hold)
        call.result |= planned.document(call.given)
        plan.show(planned, call.screen)
        return
    if restore_database and not yes:
        _agree(call, release.get("restore") or "")
    orders = Orders(target, call.screen, call.result, follow)
    orders.roll_back(record, hold=hold, reason=reason, restore_database=restore_database)


def _chosen(call: Call, past: History) -> str:
    """Where a person wants to go back to. Raises CommandFailed if nobody is there to say."""
    found = plan.candidates(call.target, past)
    call.result["candidates"] = [_document(candidate) for candidate in found]
    if not found:
        raise CommandFailed(
            WRONG,
            "there is nothing to go back to: no other release was live",
            ["  deployer status"],
        )
    call.screen.title("Releases that were live")
    numbered = [[str(number), *_row(c)] for number, c in enumerate(found, 1)]
    call.screen.table(["", "version", "live since", "schema", "release", "can be"], numbered)
    if not call.interactive:
        raise CommandFailed(
            REFUSED, "name the release to go back to", [f"  deployer rollback {_name(found)}"]
        )
    while True:
        answer = call.screen.ask(f"Go back to which? 1 to {len(found)}, or nothing for none:")
        if not answer:
            raise CommandFailed(REFUSED, "nothing was chosen; nothing was changed")
        if answer.isdecimal() and 1 <= int(answer) <= len(found):
            return found[int(answer) - 1].record["id"]
        call.screen.say(f"Please type a number from 1 to {len(found)}.")


def _name(found: Sequence[Candidate]) -> str:
    return next((c.record["version"] for c in found if not c.refusal), "<release>")


def _row(candidate: Candidate) -> list[str]:
    record, schema = candidate.record, candidate.record["schema"]
    number = str(schema["number"]) if schema else "unknown"
    since = record.get("endedAt", "")[:16].replace("T", " ")
    can = f"no: {candidate.refusal}" if candidate.refusal else "yes"
    return [record["version"], since, number, record["id"], can]


def _document(candidate: Candidate) -> dict[str, object]:
    named = ("id", "version", "digest", "schema", "endedAt")
    told = {name: candidate.record.get(name) for name in named}
    return told | {"possible": not candidate.refusal, "refusal": candidate.refusal or None}


def _ways(past: History, to: str, restore_database: bool) -> list[str]:
    """What to type instead."""
    advice = ["See where it can go:", "  deployer rollback"]
    if not restore_database and _is_older(past, to):
        advice += ["With the database, which loses what was written since:"]
        advice += [f"  deployer rollback {to} --restore-database"]
    return advice


def _is_older(past: History, to: str) -> bool:
    """Whether it is the database's schema that is in the way."""
    try:
        found: Recorded = history.target(past, to)
    except DeployError:
        return False
    return history.unknown_schema(past, found) is not None


def _agree(call: Call, snapshot: str) -> None:
    call.screen.say(f"Snapshot {snapshot} is restored: what was written since is lost.")
    if not call.interactive:
        raise CommandFailed(REFUSED, "nobody is there to agree to that", ["Add --yes to agree."])
    if not call.screen.agreed("Restore it?"):
        raise CommandFailed(REFUSED, "not agreed to; nothing was changed")

"""`deployer doctor`."""

from collections.abc import Sequence

import click

from cli.checks import document, failed, identity, show
from cli.command import Call, command
from cli.doctor.account import examine, known_names
from cli.doctor.repairs import carry_out
from cli.errors import UNREADY, WRONG, CommandFailed
from deployer.check import FAILED, WARNING, Check, Repair


@command(
    epilog="""\b
Examples:
  deployer doctor
  deployer doctor --fix              asks before each repair
  deployer doctor --checkout ~/coder compares variables with the names in these sources
  deployer doctor --json | jq '.checks[] | select(.state == "failed")'

\b
Exit codes: 0 nothing must be put right, 3 something must. What you may not look at is a warning.
"""
)
@click.option("--fix", is_flag=True, help="Make the repairs that are safe, after asking for each.")
@click.option("--yes", is_flag=True, help="With --fix: make them without asking.")
@click.option(
    "--checkout",
    type=click.Path(exists=True, file_okay=False),
    help="Sources of Coder, or of your fork: the variables that it really knows.",
)
def doctor(call: Call, fix: bool, yes: bool, checkout: str | None) -> None:
    """Check account and service; say what is wrong and the fix.

    \b
    --fix opens a security group's rule, creates the log group, lets Reconcile settle what
    executions left open, and starts the events that could not start an execution. It never
    restarts a service, and never touches secrets, roles, databases, names or certificates.
    """
    known = known_names(checkout)
    if checkout and not known:
        raise CommandFailed(WRONG, f"{checkout} holds no sources of Coder's server")
    found = _look(call, known)
    repairs = [check.repair for check in found if check.repair]
    if fix and repairs:
        done = [repair.what for repair in repairs if _repaired(call, repair, agreed=yes)]
        call.result["repaired"] = done
        if done:
            call.screen.title("After the repairs")
            found = _look(call, known)
    _end(call, found, fix=fix)


def _look(call: Call, known: frozenset[str]) -> list[Check]:
    """Look at everything and show it."""
    with call.screen.working("Looking at the account and the service"):
        found = identity(call.account, call.stack)
        if not failed(found):
            found += _service(call, known)
    call.result["checks"] = [document(check, call.given) for check in found]
    show(call.screen, found)
    return found


def _service(call: Call, known: frozenset[str]) -> list[Check]:
    try:
        return examine(call.target, known)
    except CommandFailed as stopped:  # there is no such stack or service, or its spec is wrong
        if stopped.code == WRONG:
            raise
        return [Check("deployer", FAILED, stopped.message, tuple(stopped.advice))]


def _repaired(call: Call, repair: Repair, *, agreed: bool) -> bool:
    """Make a repair if it is agreed to; whether it was made."""
    if not agreed and not call.screen.agreed(f"{repair.what[:1].upper()}{repair.what[1:]}?"):
        return False
    call.screen.say(f"… {repair.what}")
    call.screen.say(f"  {carry_out(repair, call.target)}")
    return True


def _end(call: Call, found: Sequence[Check], *, fix: bool) -> None:
    """Say what comes next. Raises CommandFailed if something must be put right."""
    wrong = failed(found)
    warnings = sum(check.state == WARNING for check in found)
    call.screen.say()
    if not wrong:
        more = f" (warnings: {warnings})" if warnings else ""
        call.screen.say(f"Nothing must be put right{more}.", "green")
        return
    names = ", ".join(dict.fromkeys(check.name for check in wrong))
    advice = ["Each check above says how."]
    repairable = [check for check in found if check.repair]
    if repairable and not fix:
        advice += [
            f"To put right what is safe to ({len(repairable)}), asked for each:",
            "  deployer doctor --fix",
        ]
    if fix and (left := [check.name for check in wrong if not check.repair]):
        advice.append(f"What --fix leaves to you: {', '.join(dict.fromkeys(left))}.")
    raise CommandFailed(UNREADY, f"to be put right ({len(wrong)}): {names}", advice)

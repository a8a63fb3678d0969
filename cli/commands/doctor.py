"""`deployer doctor`."""

from collections.abc import Sequence

import click

from cli.checks import document, failed, identity, show
from cli.command import Call, command
from cli.doctor.account import examine
from cli.doctor.repairs import carry_out
from cli.errors import UNREADY, WRONG, CommandFailed
from deployer.check import FAILED, WARNING, Check, Repair


@command(
    epilog="""\b
Examples:
  deployer doctor
  deployer doctor --fix              asks before each repair
  deployer doctor --checkout ~/app   compares variables with the names in these sources
  deployer doctor --json | jq '.checks[] | select(.state == "failed")'

\b
Exit codes: 0 no check failed, 3 some did. A check that you have no permission for is a warning.
"""
)
@click.option("--fix", is_flag=True, help="Make the repairs that are safe, after asking for each.")
@click.option("--yes", is_flag=True, help="With --fix: make them without asking.")
@click.option(
    "--checkout",
    type=click.Path(exists=True, file_okay=False),
    help="The application's sources, to check names of variables against.",
)
def doctor(call: Call, fix: bool, yes: bool, checkout: str | None) -> None:
    """Check the account and the service; report failures with their fixes.

    \b
    --fix opens a security group's rule, creates the log group, lets Reconcile settle what
    executions left open, and starts the events that could not start an execution. It never
    restarts a service, and never touches secrets, roles, databases, names or certificates.
    """
    results = _look(call, checkout)
    repairs = [check.repair for check in results if check.repair]
    if fix and repairs:
        repaired = [repair.what for repair in repairs if _repaired(call, repair, agreed=yes)]
        call.result["repaired"] = repaired
        if repaired:
            call.screen.title("After the repairs")
            results = _look(call, checkout)
    _end(call, results, fix=fix)


def _look(call: Call, checkout: str | None) -> list[Check]:
    """Run all checks and show their results."""
    with call.screen.working("Checking the account and the service"):
        results = identity(call.account, call.stack)
        if not failed(results):
            results += _service(call, checkout)
    call.result["checks"] = [document(check, call.given) for check in results]
    show(call.screen, results)
    return results


def _service(call: Call, checkout: str | None) -> list[Check]:
    try:
        return examine(call.target, checkout)
    except CommandFailed as error:  # the stack or service is missing, or its spec is invalid
        if error.code == WRONG:
            raise
        return [Check("deployer", FAILED, error.message, tuple(error.advice))]


def _repaired(call: Call, repair: Repair, *, agreed: bool) -> bool:
    """Make a repair if the user agrees; return whether it was made."""
    if not agreed and not call.screen.agreed(f"{repair.what[:1].upper()}{repair.what[1:]}?"):
        return False
    call.screen.say(f"… {repair.what}")
    call.screen.say(f"  {carry_out(repair, call.target)}")
    return True


def _end(call: Call, results: Sequence[Check], *, fix: bool) -> None:
    """Report the overall result and the next step.

    Raises:
        CommandFailed: a check failed.
    """
    failures = failed(results)
    warnings = sum(check.state == WARNING for check in results)
    call.screen.say()
    if not failures:
        more = f" (warnings: {warnings})" if warnings else ""
        call.screen.say(f"No check failed{more}.", "green")
        return
    names = ", ".join(dict.fromkeys(check.name for check in failures))
    advice = ["Each check above shows its fix."]
    repairable = [check for check in results if check.repair]
    if repairable and not fix:
        advice += [
            f"To make the safe repairs ({len(repairable)}), with a question before each:",
            "  deployer doctor --fix",
        ]
    if fix and (manual := [check.name for check in failures if not check.repair]):
        advice.append(f"To fix by hand: {', '.join(dict.fromkeys(manual))}.")
    raise CommandFailed(UNREADY, f"checks failed ({len(failures)}): {names}", advice)

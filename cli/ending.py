"""End a command: a message with advice for people, a document for scripts, an exit code."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from typing import Any

from cli.aws import AWS_ERRORS, stopped_by, unanswered
from cli.errors import (
    CUT_OFF,
    FAILED,
    INTERRUPTED,
    NOT_RUN,
    REFUSED,
    WRONG,
    CommandFailed,
    ProgramFailed,
)
from cli.nextstep import Given
from deployer.errors import AwsUnavailable, DeployError, RequestRejected
from deployer.redaction import redact, redact_all


def carried_out(
    work: Callable[[], None],
    result: Mapping[str, Any],
    *,
    as_json: bool,
    given: Callable[[], Given] = Given,
    runs: bool = False,
) -> int:
    """Do the work and report how it ended.

    Args:
        work: raises CommandFailed, an error of AWS or of the domain, or EOFError if the input ends
            at a question.
        result: filled by the work; printed as JSON beside `ok`, `seconds`, `error`.
        given: the options that the commands in the advice must repeat.
        runs: whether the exit code is that of a program that the work runs; a failure of the work
            itself then ends with NOT_RUN.
    Returns:
        The exit code.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without `✓` shows a `?`
    began = time.monotonic()

    def to_its_end() -> None:
        work()
        sys.stdout.flush()

    hook = sys.unraisablehook
    # Python prints a traceback if Ctrl-C arrives in a finalizer, such as a connection's
    sys.unraisablehook = lambda _: None
    try:
        failure = failure_of(to_its_end)
    except BrokenPipeError:
        return _cut_off()
    finally:
        sys.unraisablehook = hook
    if failure and runs and not isinstance(failure, ProgramFailed) and failure.code != INTERRUPTED:
        failure.code = NOT_RUN
    if failure:
        failure.advice = given().lines(failure.advice)
        _complain(failure)
    if as_json:
        try:
            printed = document(result, failure, time.monotonic() - began)
            print(json.dumps(printed, indent=2), flush=True)
        except BrokenPipeError:
            return _cut_off()
    return failure.code if failure else 0


def failure_of(work: Callable[[], None]) -> CommandFailed | None:
    """Do the work of a command, and return its failure; None if it ended well."""
    try:
        work()
    except CommandFailed as stopped:
        return stopped
    except AWS_ERRORS as error:
        return stopped_by(error)
    except AwsUnavailable as error:
        return CommandFailed(FAILED, f"AWS does not answer: {error}", [unanswered()])
    except DeployError as error:
        return CommandFailed(WRONG if isinstance(error, RequestRejected) else FAILED, f"{error}")
    except EOFError:
        return CommandFailed(REFUSED, "the questions were not answered; nothing was changed")
    except KeyboardInterrupt:
        return CommandFailed(INTERRUPTED, "interrupted; nothing is under way")
    return None


def _cut_off() -> int:
    """Handle a reader, such as `head`, that closed the output: Python must not write again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CUT_OFF


def _complain(failure: CommandFailed) -> None:
    label = "" if failure.code == INTERRUPTED else "error: "
    print(f"{label}{redact(failure.message)}", file=sys.stderr)
    for line in failure.advice:
        print(line if line.startswith("- ") else f"  {line}", file=sys.stderr)
    sys.stderr.flush()


def document(
    result: Mapping[str, Any], failure: CommandFailed | None, seconds: float
) -> dict[str, Any]:
    """Return what --json prints of a command that ended, without credentials in it."""
    error = failure and {
        "code": failure.code,
        "message": redact(failure.message),
        "advice": failure.advice,
    }
    redacted = redact_all(dict(result), by_name=False)
    return {"ok": failure is None, "seconds": round(seconds, 1), **redacted, "error": error}

"""How commands end, whatever happens in them."""

import io
import json
import sys
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from cli.ending import carried_out
from cli.errors import CommandFailed, ProgramFailed
from deployer.errors import AwsUnavailable, ImageMissing, RequestRejected


def raises(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


class _Connection:
    def __del__(self) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_within_a_finalizer_shows_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)  # not that of pytest
    given = [_Connection()]
    assert carried_out(given.clear, {}, as_json=False) == 0
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is sys.__unraisablehook__


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            CommandFailed(3, "not ready", ["- one", "  two"]),
            3,
            "error: not ready\n- one\n    two\n",
        ),
        (CommandFailed(130, "Stopped following."), 130, "Stopped following.\n"),
        (ClientError({"Error": {"Code": "X", "Message": "m"}}, "Op"), 1, "error: X: m\n"),
        (AwsUnavailable("Query: 503"), 1, "error: AWS does not answer: Query: 503\n  Is there"),
        (RequestRejected("no such order"), 2, "error: no such order\n"),
        (ImageMissing("it fell"), 1, "error: it fell\n"),
        (EOFError(), 4, "error: the questions were not answered"),
        (KeyboardInterrupt(), 130, "interrupted; nothing is under way\n"),
    ],
)
def test_what_ends_it_gives_a_code_and_a_line(
    error: BaseException,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert carried_out(raises(error), {"found": 1}, as_json=True) == code
    out, err = capsys.readouterr()
    assert err.startswith(message)
    output = json.loads(out)
    assert (output["ok"], output["found"], output["error"]["code"]) == (False, 1, code)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProgramFailed(3, "the command exited with 3"), 3),
        (CommandFailed(3, "not ready"), 125),
        (AwsUnavailable("RunTask: 503"), 125),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_programs_exit_code_is_told_from_the_commands_own_failures(
    error: BaseException, code: int
) -> None:
    assert carried_out(raises(error), {}, as_json=False, runs=True) == code


def test_success_and_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert carried_out(lambda: None, {"found": 1}, as_json=True) == 0
    out, err = capsys.readouterr()
    output = json.loads(out)
    assert (output["ok"], output["found"], output["error"], err) == (True, 1, None, "")


def test_an_error_that_nobody_expected_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        carried_out(lambda: print(1 // 0), {}, as_json=False)


def test_a_stream_that_cannot_be_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert carried_out(lambda: None, {}, as_json=False) == 0

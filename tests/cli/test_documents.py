"""The schema of what `--json` prints. Each document in tests/cli/commands is checked by it, too."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from cli import main
from tests.cli.documents import SCHEMA, check

ENDED: dict[str, Any] = {"ok": True, "seconds": 0.1, "error": None}
ERROR: dict[str, Any] = {"code": 3, "message": "not ready", "advice": ["  deployer doctor"]}


def test_every_command_is_in_it() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(main.COMMANDS) <= set(SCHEMA["$defs"])


@pytest.mark.parametrize("verb", sorted({*main.COMMANDS} - {"logs"}))
def test_a_command_may_fail_before_it_knows_anything_but_tells_nothing_else(verb: str) -> None:
    failed = {"ok": False, "seconds": 0.1, "error": ERROR}
    check(verb, failed)
    for wrong in ({**failed, "colour": "blue"}, {"ok": False}, {**failed, "error": "not ready"}):
        with pytest.raises(jsonschema.ValidationError):
            check(verb, wrong)


def test_a_run_that_ended_well_has_an_exit_code() -> None:
    ended = {"task": "arn", "exitCode": 0, "stoppedReason": "it exited"}
    check("run", ENDED | ended)
    with pytest.raises(jsonschema.ValidationError):
        check("run", ENDED | {**ended, "exitCode": "0"})
    with pytest.raises(jsonschema.ValidationError):
        check("run", ENDED)

"""What the buttons do: the very commands, and nothing else."""

import shlex
from typing import Any

import click
import pytest

from cli.nextstep import Given
from cli.ui import actions
from cli.ui.actions import ActionInvalid
from cli.ui.server import COMMANDS, run_words

ID = "20261123T142502Z-3f2a9c1b7d10-5fd9"
DIGEST = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("request_", "command", "preview", "run"),
    [
        (
            {"action": "rollback", "release": ID, "hold": True},
            f"deployer rollback {ID}",
            f"rollback {ID} --dry-run",
            f"rollback {ID} --detach",
        ),
        (
            {"action": "rollback", "release": ID, "hold": False, "reason": "login is broken"},
            f"deployer rollback {ID} --no-hold --reason 'login is broken'",
            f"rollback {ID} --no-hold --dry-run",
            f"rollback {ID} --no-hold --reason 'login is broken' --detach",
        ),
        ({"action": "rollback"}, "deployer rollback", "rollback", "rollback"),
        (
            {"action": "hold", "reason": "--help"},
            "deployer hold --reason --help",
            "",
            "hold --reason --help --detach",
        ),
        ({"action": "hold"}, "deployer hold", "", "hold --detach"),
        (
            {"action": "resume", "release": DIGEST},
            "deployer resume",
            f"deploy {DIGEST} --dry-run",
            "resume --detach",
        ),
        ({"action": "resume"}, "deployer resume", "", "resume --detach"),
        (
            {"action": "cancel", "release": ID, "service": "shop"},
            f"deployer cancel {ID} --yes",
            "",
            f"cancel {ID} --yes",
        ),
        ({"action": "doctor"}, "deployer doctor", "", "doctor"),
    ],
)
def test_a_button_is_a_command(request_: Any, command: str, preview: str, run: str) -> None:
    action = actions.parse(request_)
    assert action.shown(Given()) == command
    assert shlex.join(action.preview) == preview
    assert shlex.join(run_words(action)) == run
    for verb, *words in filter(None, (action.preview, run_words(action))):
        context = COMMANDS[verb].make_context(verb, [*words])  # the command understands them
        assert context.params.get("reason") == request_.get("reason") or "--dry-run" in words


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        "rollback",
        {},
        {"action": "run"},
        {"action": "rollback", "release": "--restore-database"},
        {"action": "rollback", "release": "1.0.0 --yes"},
        {"action": "rollback", "release": ["1.0.0"]},
        {"action": "rollback", "release": ID, "words": ["--yes"]},
        {"action": "rollback", "release": ID, "reason": "x" * 301},
        {"action": "rollback", "release": ID, "reason": "two\nlines"},
        {"action": "rollback", "release": ID, "reason": 7},
        {"action": "hold", "release": ID},
        {"action": "cancel"},
        {"action": "cancel", "release": ""},
        {"action": "doctor", "release": ID},
    ],
)
def test_nothing_else_is_done(request_: Any) -> None:
    with pytest.raises(ActionInvalid):
        actions.parse(request_)


def test_the_command_to_copy_is_about_the_same_account_and_service() -> None:
    given = Given(profile="team", region="eu-west-1", stack="deployer-production", service="shop")
    assert actions.parse({"action": "hold"}).shown(given) == (
        "deployer hold --profile team --region eu-west-1 --stack deployer-production --service shop"
    )


def test_each_command_is_one_of_deployer() -> None:
    from cli.main import deployer

    for verb, command in COMMANDS.items():
        assert deployer.get_command(click.Context(deployer), verb) is command

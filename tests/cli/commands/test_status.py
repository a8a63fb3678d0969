"""`deployer status`."""

from tests.cli.commands.conftest import Operator


def test_what_is_live(live: Operator) -> None:
    assert live.told("status")["live"]["version"] == "1.0.0"
    assert "1.0.0" in live.run("status").stdout


def test_nothing_is_live_yet(operator: Operator) -> None:
    assert operator.told("status")["live"] is None

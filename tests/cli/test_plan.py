"""What a dry run shows."""

from cli.plan import rows
from deployer.taskdef import Change


def test_what_others_wrote_steers_no_terminal() -> None:
    ((what, before, after),) = rows([Change("environment A", None, "\x1b[2Jgone")])
    assert (what, before) == ("environment A", "-")
    assert "gone" in after and "\x1b" not in after

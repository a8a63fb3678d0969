"""What `deployer history` shows of one release."""

from typing import Any

from cli.commands import history
from tests.cli.documents import check

RUN: Any = {
    "command": ["migrate", "up"],
    "task": "arn:task",
    "requestedAt": "2026-11-23T14:26:00+00:00",
    "endedAt": "2026-11-23T14:26:12+00:00",
    "exitCode": 0,
    "failure": None,
    "log": ["migrated"],
}


def test_the_tasks_before_and_after_the_rollout_are_shown_with_their_end() -> None:
    failure = "the task after the rollout exited with 1"
    failed = {**RUN, "exitCode": 1, "failure": failure}
    assert history._ended(RUN) == "exited with 0 after 12 s"
    assert history._ended(failed) == failure
    assert history._ended({"command": ["migrate"], "requestedAt": RUN["requestedAt"]}) == (
        "still runs"
    )
    shown = list(history._tasks({"before": RUN, "after": failed}))
    assert shown == [("Last lines of the task before the rollout", ["migrated"])]
    check("taskRun", RUN)

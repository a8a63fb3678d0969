"""What the records of a service say: where it can go back to if the release that comes fails."""

from typing import Any

import pytest

from deployer import history
from tests.unit.samples import OLD_REVISION, REVISION, recorded


def runs(task_definition: str, outcome: str | None = "SUCCEEDED", **fields: Any) -> Any:
    made = recorded(taskDefinition=task_definition, id=f"of {task_definition}", **fields)
    if outcome is None:
        del made["outcome"]
    else:
        made["outcome"] = outcome  # type: ignore[typeddict-item]
    return made


STRANGER = f"{OLD_REVISION}0"


@pytest.mark.parametrize(
    ("steady", "records", "expected"),
    [
        (None, [], None),
        (OLD_REVISION, [], OLD_REVISION),
        (OLD_REVISION, [runs(OLD_REVISION)], OLD_REVISION),
        (STRANGER, [runs(OLD_REVISION)], STRANGER),
        (REVISION, [runs(REVISION, "FAILED"), runs(OLD_REVISION)], OLD_REVISION),
        (REVISION, [runs(REVISION, "FAILED")], None),
        (REVISION, [runs(REVISION, None), runs(OLD_REVISION)], OLD_REVISION),
        (None, [runs(REVISION, "FAILED"), runs(OLD_REVISION)], OLD_REVISION),
        (None, [runs(REVISION), runs(OLD_REVISION)], REVISION),
        (None, [runs(REVISION, "FAILED_ROLLED_BACK"), runs(STRANGER, "IGNORED")], None),
    ],
    ids=[
        "nothing at all",
        "runs, with no history",
        "runs and is known to be good",
        "runs and nobody knows it",
        "runs and failed before",
        "runs, failed, and nothing good is known",
        "runs and is in flight",
        "does not run, an earlier one was good",
        "does not run, the newest was good",
        "none ever succeeded",
    ],
)
def test_the_way_back_leads_to_what_is_not_known_to_be_bad(
    steady: str | None, records: list[Any], expected: str | None
) -> None:
    found = history.way_back(steady, None, records)
    assert (found and found["taskDefinition"]) == expected


def test_the_way_back_carries_what_is_known_of_the_release() -> None:
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    entry = runs(OLD_REVISION, version="2.0.0", schema={"number": 3, "hash": None})
    assert history.way_back(OLD_REVISION, network, [entry]) == {
        "taskDefinition": OLD_REVISION,
        "release": f"of {OLD_REVISION}",
        "version": "2.0.0",
        "schema": {"number": 3, "hash": None},
        "networkConfiguration": network,
    }


def test_nothing_is_known_of_a_task_definition_that_the_table_does_not_have() -> None:
    found = history.way_back(STRANGER, None, [runs(OLD_REVISION)])
    assert found and (found["release"], found["version"], found["schema"]) == (None, None, None)

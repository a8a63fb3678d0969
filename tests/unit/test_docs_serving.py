"""What a documentation site serves now, and what was verified last: two facts."""

from typing import Any

import pytest

from deployer.deploy.verification import Answer
from deployer.docs import serving
from tests.unit.samples import recorded

FAILED_BACK = {"action": "ROLL_BACK", "reason": "denied"}


def site(name: str, outcome: str | None = "SUCCEEDED", **more: Any) -> Any:
    made: Any = {**recorded(id=name, version=name.upper()), "folder": name, **more}
    made.pop("outcome", None)
    return {**made, "outcome": outcome} if outcome else made


R1, R2 = site("r1"), site("r2", "FAILED", rollback=FAILED_BACK)


@pytest.mark.parametrize(
    ("records", "folder", "alarm"),
    [
        ([R1], "r1", None),
        ([R2, R1], "r1", None),
        ([R2, R1], "r2", "R2 serves, and is not verified; the last verified release is R1."),
        ([R2, R1], "r9", "r9 serves, and is not verified; the last verified release is R1."),
        ([R1], "", "Nothing serves; the last verified release is R1."),
        ([R2], "r2", "R2 serves, and no release was ever verified."),
        ([], "", None),
        # it does not answer: the records tell what may be
        ([R1], None, None),
        ([R1, R2], None, None),
        ([site("r2", "FAILED_ROLLED_BACK", rollback=FAILED_BACK), R1], None, None),
        (
            [R2, R1],
            None,
            "R2 may serve: it failed, and switching back failed too; the last verified release is"
            " R1.",
        ),
    ],
)
def test_what_serves_is_told_apart_from_what_was_verified(
    records: Any, folder: str | None, alarm: str | None
) -> None:
    found = serving.summary(records, folder, in_flight=False)
    assert found["alarm"] == alarm
    mend = alarm is not None and R1 in records
    assert found["mend"] == ("  deployer docs rollback r1" if mend else None)
    if folder is None:
        assert found["serves"] is None
    else:
        assert found["serves"]["verified"] == (folder == "r1")


def test_while_a_publication_runs_nothing_is_to_be_mended() -> None:
    found = serving.summary([site("r3", None), R2, R1], "r2", in_flight=True)
    assert found["alarm"].endswith("A publication is running.")
    assert found["mend"] is None


def test_a_rolled_back_release_is_verified_by_its_folder() -> None:
    again = site("r4", folder="r1")
    assert serving.summary([again, R1], "r1", in_flight=False)["alarm"] is None


def test_the_site_says_what_it_serves() -> None:
    assert serving.served(None) is None
    assert serving.served(Answer(503, {}, b"")) == ""
    assert serving.served(Answer(200, {"x-amz-meta-release": "r1"}, b"")) == "r1"

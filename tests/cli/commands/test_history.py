"""`deployer history`."""

import pytest

from tests.cli.commands.conftest import Operator
from tests.cli.terminal import terminal


@pytest.mark.walk
def test_the_releases_newest_first(rolled_back: Operator) -> None:
    output = rolled_back.output("history")["releases"]
    assert [(r["version"], r["outcome"]) for r in output] == [
        ("1.1.0", "FAILED_ROLLED_BACK"),
        ("1.0.0", "SUCCEEDED"),
    ]
    assert all(r["seconds"] > 0 and r["startedBy"] == "push" for r in output)
    lines = rolled_back.run("history").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["1.1.0", "FAILED_ROLLED_BACK"],
        ["1.0.0", "SUCCEEDED"],
    ]
    assert lines[1].endswith(output[0]["id"])  # nothing is folded for grep and awk
    assert len(rolled_back.output("history", "--limit", "1")["releases"]) == 1


@pytest.mark.parametrize("field", ["id", "version", "tag", "digest", "last"])
def test_one_in_full(rolled_back: Operator, field: str) -> None:
    record = next(r for r in rolled_back.stage.records() if r["tag"] == "1.1.0")
    output = rolled_back.output("history", record.get(field, field))
    assert output["release"]["id"] == record["id"]
    assert output["release"]["diagnosis"] == record["diagnosis"]
    [change] = output["changes"]  # nothing but the image
    assert (change["what"].split()[-1], record["digest"] in change["after"]) == ("image", True)
    names = [phase["name"] for phase in output["phases"]]
    assert names[0] == "Identify release"
    assert names[-2:] == ["Poll health of previous release", "Record failure"]
    assert [p["name"] for p in output["phases"] if p["failed"]] == ["Poll health"]


def test_one_in_full_for_people(rolled_back: Operator) -> None:
    record = next(r for r in rolled_back.stage.records() if r["tag"] == "1.1.0")
    shown = rolled_back.run("history", "last").stdout
    result = record["diagnosis"]
    for text in (
        *(record["id"], record["digest"], record["execution"], "ROLL_BACK", "Diagnose failure"),
        *(result["cause"], result["advice"], *result["stops"], *result["events"], *result["log"]),
    ):
        assert text in shown
    live = rolled_back.run("history", "live").stdout
    assert "1.0.0" in live
    assert "Why it failed" not in live


def test_the_figures(rolled_back: Operator) -> None:
    stats = rolled_back.output("history", "--stats")["stats"]
    assert (stats["deployments"]["live"], len(stats["deployments"]["series"])) == (1, 12)
    assert (stats["failureRate"]["failed"], stats["failureRate"]["of"]) == (1, 2)
    assert 0 < stats["leadTime"]["median"] < 600
    assert 0 < stats["timeToRestore"]["median"] < 600
    shown = rolled_back.run("history", "--stats", "--weeks", "4").stdout
    assert "last 4 weeks" in shown and "1 of 2 changes" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert rolled_back.run("history", "last", "--stats").returncode == 2


def test_the_beginning_of_a_digest_will_do(rolled_back: Operator) -> None:
    record = rolled_back.stage.records()[0]
    for name in (record["digest"][:19], record["digest"][7:19], record["id"][:20]):
        assert rolled_back.output("history", name)["release"]["id"] == record["id"]


def test_no_such_release_names_what_comes_near(rolled_back: Operator) -> None:
    done = rolled_back.run("history", "1.0.1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no release '1.0.1'\n")
    assert rolled_back.stage.records()[0]["id"] in done.stderr
    nothing_like_it = rolled_back.run("history", "zzz").stderr
    assert rolled_back.stage.records()[0]["id"] in nothing_like_it


def test_several_releases_of_a_name(live: Operator) -> None:
    stage = live.stage
    command = {"action": "deploy", "service": stage.service, "image": "1.0.0"}
    assert stage.ended(stage.start(command)).status == "SUCCEEDED"
    done = live.run("history", "1.0.0")
    assert done.returncode == 2
    assert "names 2 releases" in done.stderr
    assert all(record["id"] in done.stderr for record in stage.records())


def test_there_are_none_yet(operator: Operator) -> None:
    assert operator.output("history")["releases"] == []
    assert "no releases" in operator.run("history").stdout
    assert operator.run("history", "last").returncode == 2
    assert operator.run("history", "--builds", "--docs").returncode == 2


def test_at_a_narrow_terminal(rolled_back: Operator) -> None:
    for words in (("history",), ("history", "last")):
        with terminal(rolled_back.command(*words), rolled_back.env, columns=40) as shown:
            assert shown.ended() == 0
        lines = [line.strip() for line in shown.screen.splitlines()]
        assert all(len(line) <= 40 for line in lines), shown.screen
        if words == ("history",):  # an id is in one piece, to be copied
            assert {record["id"] for record in rolled_back.stage.records()} <= set(lines)

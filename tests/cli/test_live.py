"""Which release is live, and what is said where none is."""

from types import SimpleNamespace
from typing import Any

import pytest

from cli import live
from cli.errors import UNREADY, CommandFailed
from deployer.aws import ecs
from tests.unit.samples import recorded, spec

OLD, NEW = "arn:aws:ecs:us-east-1:1:task-definition/coder:1", "coder:2"
LIVE = recorded(outcome="SUCCEEDED", version="1.0.0", taskDefinition=OLD)
IN_FLIGHT = {k: v for k, v in recorded(id="2").items() if k != "outcome"}
DEFINITION = {"containerDefinitions": [{"name": "app"}, {"name": "proxy"}]}


def serves(*revisions: str) -> dict[str, Any]:
    deployments = [{"taskDefinition": one, "runningCount": 1} for one in revisions]
    return {"deployments": deployments, "desiredCount": len(revisions)}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Any:
    def find(service: Any, *records: Any) -> Any:
        monkeypatch.setattr(ecs, "service", lambda *given: service)
        monkeypatch.setattr(ecs, "task_definition", lambda name: (DEFINITION, []))
        target: Any = SimpleNamespace(spec=spec(), history=records)
        return live.find(target)

    return find


def test_the_verified_release_is_live_as_long_as_it_serves(found: Any) -> None:
    release = found(serves(NEW, OLD), IN_FLIGHT, LIVE)
    assert (release.revision, release.in_flight) == (OLD, True)
    assert live.container(release.definition, spec(), "proxy") == "proxy"
    with pytest.raises(CommandFailed, match="no container is named db"):
        live.container(release.definition, spec(), "db")


@pytest.mark.parametrize(
    ("service", "records", "said", "advice"),
    [
        (None, [], "none was ever verified", "  deployer deploy"),
        (serves(NEW), [LIVE], "the last verified release is 1.0.0", "  deployer rollback"),
        (serves(NEW), [IN_FLIGHT, LIVE], "A deployment is running", "  deployer follow"),
        (serves(), [LIVE], "Nothing serves", "  aws ecs update-service"),
        (None, [LIVE], "Nothing serves", "  deployer deploy"),
    ],
)
def test_where_none_is_live_it_says_why_and_what_to_do(
    found: Any, service: Any, records: Any, said: str, advice: str
) -> None:
    with pytest.raises(CommandFailed) as failed:
        found(service, *records)
    assert failed.value.code == UNREADY
    assert said in failed.value.message and not failed.value.message.endswith(".")
    assert failed.value.advice[-1].startswith(advice)

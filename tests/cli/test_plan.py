"""What differs between two task definitions, in words."""

import copy
from typing import Any

import pytest

from cli.plan import Change, changes
from deployer import taskdef
from tests.unit import samples


def rendered(**fields: Any) -> dict[str, Any]:
    return taskdef.render(samples.spec(**fields), samples.IMAGE, "us-east-1")


def described(definition: dict[str, Any]) -> dict[str, Any]:
    """As DescribeTaskDefinition gives it back."""
    made = copy.deepcopy(definition)
    made |= {"revision": 7, "status": "ACTIVE", "volumes": [], "placementConstraints": []}
    made |= {"taskDefinitionArn": samples.REVISION, "compatibilities": ["EC2", "FARGATE"]}
    for container in made["containerDefinitions"]:
        container |= {"cpu": 0, "mountPoints": [], "volumesFrom": [], "systemControls": []}
        for port in container["portMappings"]:
            port["hostPort"] = port["containerPort"]
    return made


def test_what_ecs_fills_in_is_no_change() -> None:
    same = rendered()
    same["containerDefinitions"][0]["healthCheck"] = {"command": ["CMD", "true"]}
    known = described(same)
    filled_in = {"interval": 30, "timeout": 5, "retries": 3}
    known["containerDefinitions"][0]["healthCheck"] |= filled_in
    assert changes(known, same) == []


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        ({"cpu": 2048, "memory": 4096}, Change("cpu", "1024", "2048")),
        (
            {"container__environment": {"CODER_HTTP_ADDRESS": "0.0.0.0:3000", "NEW": ""}},
            Change("container coder environment NEW", None, ""),
        ),
        (
            {"container__environment": {}},
            Change("container coder environment CODER_HTTP_ADDRESS", "0.0.0.0:3000", None),
        ),
        (
            {"container__secrets": {}},
            Change(
                "container coder secret CODER_PG_CONNECTION_URL",
                f"arn:aws:secretsmanager:us-east-1:{samples.ACCOUNT}:secret:coder-db",
                None,
            ),
        ),
        (
            {"container__healthCheck": None},
            Change("container coder healthCheck command", "CMD coder --version", None),
        ),
        ({"container__stopTimeout": 60}, Change("container coder stopTimeout", "30", "60")),
        (
            {"sidecars": [{"name": "agent", "image": "agent:2", "environment": []}]},
            Change("container agent image", None, "agent:2"),
        ),
        (
            {"platform": "linux/arm64"},
            Change("runtimePlatform cpuArchitecture", "X86_64", "ARM64"),
        ),
    ],
)
def test_what_changes_is_told_by_its_name(fields: dict[str, Any], change: Change) -> None:
    assert change in changes(described(rendered()), rendered(**fields))


def test_a_value_named_like_a_secret_is_not_told() -> None:
    before, after = described(rendered()), rendered(container__environment={"A_TOKEN": "hunter2"})
    before["containerDefinitions"][0]["environment"] = [
        {"name": "A_TOKEN", "value": "hunter1"},
        {"name": "DB_PASSWORD", "value": "hunter3"},
        {"name": "DATABASE", "value": "postgresql://ann:hunter4@host/db"},
    ]
    found = changes(before, after)
    assert Change("container coder environment A_TOKEN", "(not shown)", "(not shown)") in found
    assert Change("container coder environment DB_PASSWORD", "(not shown)", None) in found
    assert "hunter" not in str(found)


def test_what_others_wrote_steers_no_terminal() -> None:
    after = rendered(container__environment={"A": "\x1b[2Jgone"})
    assert all("\x1b" not in str(change.after) for change in changes({}, after))


def test_the_first_definition_is_all_new() -> None:
    found = changes({}, rendered())
    assert Change("container coder image", None, samples.IMAGE) in found
    assert all(change.before is None for change in found)

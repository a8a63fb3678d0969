"""The task definition that the service spec and a digest make, valid to botocore's ECS model."""

import copy
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters

from deployer.deploy import task_definitions
from deployer.deploy.spec import ServiceSpec
from deployer.deploy.task_definitions import Change, changes
from tests.unit.samples import (
    ACCOUNT,
    IMAGE,
    MISSING,
    OTHER_DIGEST,
    REVISION,
    release,
    spec,
)

ECS = ServiceModel(Loader().load_service_model("ecs", "service-2"))
SIDECAR = {"name": "proxy", "image": "public.ecr.aws/nginx/nginx:1.27", "essential": True}
SPECS = {
    "as it is": spec(),
    "small": spec(
        taskRole=MISSING,
        container={"port": 80, "environment": {}, "secrets": {}},
        platform="linux/arm64",
    ),
    "with more": spec(
        family="team-coder",
        sidecars=[SIDECAR, {"name": "agent", "image": "agent:1"}],
        container__extra={"essential": False, "user": "1000", "readonlyRootFilesystem": True},
        cpu=16384,
        memory=122880,
    ),
}


def render(made: ServiceSpec | None = None, image: str = IMAGE) -> dict[str, Any]:
    return task_definitions.render(made or spec(), image, "us-east-1")


@pytest.mark.parametrize("made", SPECS.values(), ids=SPECS)
def test_what_is_rendered_is_a_request_that_ecs_takes(made: ServiceSpec) -> None:
    tags = [{"key": k, "value": v} for k, v in task_definitions.tags(release(), "c").items()]
    validate_parameters(
        render(made) | {"tags": tags}, ECS.shape_for("RegisterTaskDefinitionRequest")
    )


def test_a_task_runs_the_digest_on_fargate() -> None:
    made = render()
    assert made["containerDefinitions"][0]["image"] == IMAGE
    assert made["requiresCompatibilities"] == ["FARGATE"]
    assert made["networkMode"] == "awsvpc"
    assert (made["cpu"], made["memory"]) == ("1024", "2048")
    assert made["runtimePlatform"]["cpuArchitecture"] == "X86_64"
    assert made["executionRoleArn"].endswith("role/coder-execution")
    assert made["taskRoleArn"].endswith("role/coder-task")


def test_a_container_gets_what_the_spec_says() -> None:
    container = render()["containerDefinitions"][0]
    assert container["name"] == "coder"
    assert container["essential"] is True
    assert container["portMappings"] == [{"containerPort": 3000, "protocol": "tcp"}]
    assert container["environment"] == [{"name": "CODER_HTTP_ADDRESS", "value": "0.0.0.0:3000"}]
    assert container["secrets"][0]["name"] == "CODER_PG_CONNECTION_URL"
    assert container["secrets"][0]["valueFrom"].startswith("arn:aws:secretsmanager:")
    assert container["healthCheck"]["command"] == ["CMD", "coder", "--version"]
    assert container["healthCheck"]["startPeriod"] == 60
    assert container["stopTimeout"] == 30
    options = container["logConfiguration"]["options"]
    assert options["awslogs-group"] == "/ecs/coder"
    assert options["awslogs-region"] == "us-east-1"


def test_what_the_spec_does_not_say_is_left_to_ecs() -> None:
    made = render(SPECS["small"])
    assert "taskRoleArn" not in made
    assert not {"healthCheck", "stopTimeout"} & made["containerDefinitions"][0].keys()
    assert made["runtimePlatform"]["cpuArchitecture"] == "ARM64"


def test_sidecars_log_too_and_may_die_unless_they_say_otherwise() -> None:
    _, proxy, agent = render(SPECS["with more"])["containerDefinitions"]
    assert proxy["logConfiguration"] == agent["logConfiguration"]
    assert (proxy["essential"], agent["essential"]) == (True, False)


def test_extra_settings_reach_the_container() -> None:
    container = render(SPECS["with more"])["containerDefinitions"][0]
    assert (container["user"], container["essential"]) == ("1000", False)


def test_the_content_is_the_same_however_the_spec_is_ordered() -> None:
    pairs = {"A": "1", "B": "2"}
    backwards = dict(reversed(pairs.items()))
    hashes = {
        task_definitions.content_hash(render(spec(container__environment=environment)))
        for environment in (pairs, backwards, dict(pairs))
    }
    assert len(hashes) == 1


def test_the_content_changes_with_whatever_a_task_would_notice() -> None:
    variants = [
        render(),
        render(image=IMAGE.replace(IMAGE[-64:], OTHER_DIGEST[-64:])),
        render(spec(cpu=2048, memory=4096)),
        render(spec(memory=3072)),
        render(spec(container__environment={"A": "1"})),
        render(spec(container__environment={"A": "2"})),
        render(spec(container__environment={})),
        render(spec(container__environment={}, container__port=3001)),
        render(spec(container__stopTimeout=31)),
        render(spec(container__healthCheck__retries=4)),
        render(spec(taskRole=MISSING)),
        render(spec(logGroup="/ecs/other")),
        render(spec(sidecars=[SIDECAR])),
    ]
    assert len({task_definitions.content_hash(made) for made in variants}) == len(variants)


def test_the_content_does_not_change_with_what_only_the_service_notices() -> None:
    same = spec(desiredCount=5, strategy="rolling", timeout=60, tags=".*", verify=MISSING)
    assert task_definitions.content_hash(render(same)) == task_definitions.content_hash(render())


def test_a_revisions_tags_tell_what_it_is() -> None:
    tags = task_definitions.tags(release(), "c0ffee")
    assert set(tags.values()) >= {"2.1.0", release()["digest"], release()["id"], "c0ffee"}
    assert tags[task_definitions.CONTENT_TAG] == "c0ffee"


# How two differ -----------------------------------------------------------------------------------


def described(definition: dict[str, Any]) -> dict[str, Any]:
    """As DescribeTaskDefinition gives it back."""
    made = copy.deepcopy(definition)
    made |= {"revision": 7, "status": "ACTIVE", "volumes": [], "placementConstraints": []}
    made |= {"taskDefinitionArn": REVISION, "compatibilities": ["EC2", "FARGATE"]}
    for container in made["containerDefinitions"]:
        container |= {"cpu": 0, "mountPoints": [], "volumesFrom": [], "systemControls": []}
        for port in container["portMappings"]:
            port["hostPort"] = port["containerPort"]
    return made


def test_what_ecs_fills_in_is_no_change() -> None:
    same = render()
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
                f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:coder-db",
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
    assert change in changes(described(render()), render(spec(**fields)))


def test_a_value_named_like_a_secret_is_not_told() -> None:
    before, after = described(render()), render(spec(container__environment={"A_TOKEN": "hunter2"}))
    before["containerDefinitions"][0]["environment"] = [
        {"name": "A_TOKEN", "value": "hunter1"},
        {"name": "DB_PASSWORD", "value": "hunter3"},
        {"name": "DATABASE", "value": "postgresql://ann:hunter4@host/db"},
    ]
    found = changes(before, after)
    assert Change("container coder environment A_TOKEN", "(not shown)", "(not shown)") in found
    assert Change("container coder environment DB_PASSWORD", "(not shown)", None) in found
    assert "hunter" not in str(found)


def test_the_first_definition_is_all_new() -> None:
    found = changes({}, render())
    assert Change("container coder image", None, IMAGE) in found
    assert all(change.before is None for change in found)


def test_a_tag_holds_only_what_ecs_takes() -> None:
    value = ECS.shape_for("Tag").members["value"]  # type: ignore[attr-defined]
    assert "{P}" not in value.metadata["pattern"], "letters, separators, numbers and signs alone"
    odd = "1.0 (β) #1,\t„quoted“;é+x_y:z/=@-" + "9" * 300
    version = task_definitions.tags(release(version=odd), "c")["deployer:version"]
    assert version.startswith("1.0 _β_ _1__") and len(version) == value.metadata["max"]
    assert "é+x_y:z/=@-999" in version
    assert task_definitions.tag_value("v2.1.0+build.5") == "v2.1.0+build.5"

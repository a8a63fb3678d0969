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
    ADOPTED,
    IMAGE,
    MISSING,
    NOW,
    OLD_REVISION,
    OTHER_DIGEST,
    REVISION,
    SECRET,
    document,
    release,
    spec,
)

ECS = ServiceModel(Loader().load_service_model("ecs", "service-2"))
SIDECAR: dict[str, Any] = {
    "name": "proxy",
    "image": "public.ecr.aws/nginx/nginx:1.27",
    "essential": True,
}
(CONTAINER,) = document()["taskDefinition"]["containerDefinitions"]
TWO = [CONTAINER, SIDECAR]
SPECS = {
    "as it is": spec(),
    "small": spec(
        taskDefinition={"containerDefinitions": [{"name": "app", "memory": 128}]}, verify=MISSING
    ),
    "with more": spec(
        definition__family="team-coder",
        definition__containerDefinitions=TWO,
        definition__volumes=[
            {"name": "data", "efsVolumeConfiguration": {"fileSystemId": "fs-0123456789abcdef0"}}
        ],
        definition__ephemeralStorage={"sizeInGiB": 50},
        container="coder",
    ),
}


def render(result: ServiceSpec | None = None, image: str = IMAGE) -> dict[str, Any]:
    result = result or spec()
    assert isinstance(result.task_definition, dict)
    return task_definitions.render(
        result, task_definitions.in_spec(result, result.task_definition), image
    )


@pytest.mark.parametrize("document", SPECS.values(), ids=SPECS)
def test_what_is_rendered_is_a_request_that_ecs_takes(document: ServiceSpec) -> None:
    definition = render(document)
    named = task_definitions.tags(definition, release(), "c")
    tags = [{"key": k, "value": v} for k, v in named.items()]
    validate_parameters(definition | {"tags": tags}, ECS.shape_for("RegisterTaskDefinitionRequest"))


def test_a_task_runs_the_digest_and_else_what_the_document_says() -> None:
    rendered, given = render(SPECS["with more"]), SPECS["with more"].task_definition
    assert isinstance(given, dict)
    assert [one["image"] for one in rendered["containerDefinitions"]] == [IMAGE, SIDECAR["image"]]
    assert rendered | {"containerDefinitions": None} == given | {"containerDefinitions": None}
    assert {**rendered["containerDefinitions"][0], "image": None} == {**CONTAINER, "image": None}


def test_a_family_is_the_services_unless_the_document_has_another() -> None:
    assert render(SPECS["small"])["family"] == "coder"
    assert render(SPECS["with more"])["family"] == "team-coder"


# From a task definition in ECS

IN_ECS: dict[str, Any] = {
    **document(one__image="x.dkr.ecr.us-east-1.amazonaws.com/coder:1.0")["taskDefinition"],
    "taskDefinitionArn": OLD_REVISION,
    "revision": 6,
    "status": "ACTIVE",
    "compatibilities": ["EC2", "FARGATE"],
    "requiresAttributes": [{"name": "com.amazonaws.ecs.capability.ecr-auth"}],
    "registeredAt": NOW,
    "registeredBy": "arn:aws:iam::123456789012:user/ann",
    "volumes": [{"name": "data", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}],
    "placementConstraints": [],
    "ephemeralStorage": {"sizeInGiB": 50},
}
TAGS = [
    {"key": "team", "value": "web"},
    {"key": "deployer:content", "value": "old"},
    {"key": "aws:cloudformation:stack-name", "value": "coder-service"},
]


def test_an_adopted_services_release_is_its_own_task_definition_with_the_digest() -> None:
    result = spec(**ADOPTED)
    base = task_definitions.in_ecs(result, IN_ECS, TAGS)
    assert (base.adopted, base.arn) == (True, OLD_REVISION)
    definition = task_definitions.render(result, base, IMAGE)
    own = task_definitions.tags(definition, release(), "c")
    assert (own["team"], own["deployer:content"]) == ("web", "c")
    assert not [key for key in own if key.startswith("aws:")]
    validate_parameters(definition, ECS.shape_for("RegisterTaskDefinitionRequest"))
    differing = changes(IN_ECS, definition)
    assert [change.what for change in differing] == ["container coder image"]


@pytest.mark.parametrize("name", ["coder", "coder:6", OLD_REVISION])
def test_releases_of_a_blueprint_have_a_family_of_their_own(name: str) -> None:
    rendered = spec(taskDefinition=name)
    base = task_definitions.in_ecs(rendered, IN_ECS, TAGS)
    assert not base.adopted
    assert base.definition["family"] == "coder-releases"


def test_what_is_laid_over_a_blueprint_adds_variables_by_name() -> None:
    override = {
        "environment": [{"CODER_HTTP_ADDRESS": "0.0.0.0:4000"}, {"LOG_LEVEL": "info"}],
        "secrets": {"API_KEY": SECRET},
        "stopTimeout": 120,
        "healthCheck": None,
    }
    rendered = spec(taskDefinition="coder", override=override)
    base = task_definitions.in_ecs(rendered, IN_ECS, ())
    (container,) = task_definitions.render(rendered, base, IMAGE)["containerDefinitions"]
    assert container["environment"] == [
        {"name": "CODER_HTTP_ADDRESS", "value": "0.0.0.0:4000"},
        {"name": "LOG_LEVEL", "value": "info"},
    ]
    assert [entry["name"] for entry in container["secrets"]] == [
        "CODER_PG_CONNECTION_URL",
        "API_KEY",
    ]
    assert container["stopTimeout"] == 120
    assert container["healthCheck"] == CONTAINER["healthCheck"]


# What tells two apart


def test_the_content_is_the_same_however_the_spec_is_ordered() -> None:
    definition = document()["taskDefinition"]
    backwards = spec(taskDefinition=dict(reversed(definition.items())))
    hashes = {task_definitions.content_hash(render(entry)) for entry in (spec(), backwards)}
    assert len(hashes) == 1


def test_the_content_changes_with_whatever_a_task_would_notice() -> None:
    variants = [
        render(),
        render(image=IMAGE.replace(IMAGE[-64:], OTHER_DIGEST[-64:])),
        render(spec(definition__cpu="2048", definition__memory="4096")),
        render(spec(definition__memory="3072")),
        render(spec(one__environment=[{"name": "A", "value": "1"}])),
        render(spec(one__environment=[{"name": "A", "value": "2"}])),
        render(spec(one__environment=[])),
        render(spec(one__environment=[], one__portMappings=[{"containerPort": 3001}])),
        render(spec(one__stopTimeout=31)),
        render(spec(one__healthCheck__retries=4)),
        render(spec(definition__taskRoleArn=MISSING)),
        render(spec(one__logConfiguration__options={"awslogs-group": "/ecs/other"})),
        render(spec(definition__containerDefinitions=TWO, container="coder")),
    ]
    assert len({task_definitions.content_hash(entry) for entry in variants}) == len(variants)


def test_the_content_does_not_change_with_what_only_the_service_notices() -> None:
    same = spec(creates__desiredCount=5, strategy="rolling", timeout=60, tags=".*", verify=MISSING)
    assert task_definitions.content_hash(render(same)) == task_definitions.content_hash(render())


def test_a_revisions_tags_tell_what_it_is() -> None:
    tags = task_definitions.tags({}, release(), "c0ffee")
    assert set(tags.values()) >= {"2.1.0", release()["digest"], release()["id"], "c0ffee"}
    assert tags[task_definitions.CONTENT_TAG] == "c0ffee"


# How two differ -----------------------------------------------------------------------------------


def described(definition: dict[str, Any]) -> dict[str, Any]:
    """As DescribeTaskDefinition gives it back."""
    rendered = copy.deepcopy(definition)
    rendered |= {"revision": 7, "status": "ACTIVE", "volumes": [], "placementConstraints": []}
    rendered |= {"taskDefinitionArn": REVISION, "compatibilities": ["EC2", "FARGATE"]}
    for container in rendered["containerDefinitions"]:
        container |= {"cpu": 0, "mountPoints": [], "volumesFrom": [], "systemControls": []}
        for port in container["portMappings"]:
            port["hostPort"] = port["containerPort"]
    return rendered


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
        ({"definition__cpu": "2048"}, Change("cpu", "1024", "2048")),
        (
            {"one__environment": [*CONTAINER["environment"], {"name": "NEW", "value": ""}]},
            Change("container coder environment NEW", None, ""),
        ),
        (
            {"one__environment": []},
            Change("container coder environment CODER_HTTP_ADDRESS", "0.0.0.0:3000", None),
        ),
        (
            {"one__secrets": []},
            Change("container coder secret CODER_PG_CONNECTION_URL", SECRET, None),
        ),
        (
            {"one__healthCheck": MISSING},
            Change("container coder healthCheck command", "CMD coder --version", None),
        ),
        ({"one__stopTimeout": 60}, Change("container coder stopTimeout", "30", "60")),
        (
            {"definition__containerDefinitions": TWO, "container": "coder"},
            Change("container proxy image", None, SIDECAR["image"]),
        ),
        (
            {"definition__runtimePlatform__cpuArchitecture": "ARM64"},
            Change("runtimePlatform cpuArchitecture", "X86_64", "ARM64"),
        ),
    ],
)
def test_what_changes_is_told_by_its_name(fields: dict[str, Any], change: Change) -> None:
    assert change in changes(described(render()), render(spec(**fields)))


def test_a_value_named_like_a_secret_is_not_told() -> None:
    before, after = described(render()), render()
    after["containerDefinitions"][0]["environment"] = [{"name": "A_TOKEN", "value": "hunter2"}]
    before["containerDefinitions"][0]["environment"] = [
        {"name": "A_TOKEN", "value": "hunter1"},
        {"name": "DB_PASSWORD", "value": "hunter3"},
        {"name": "DATABASE", "value": "postgresql://ann:hunter4@host/db"},
    ]
    result = changes(before, after)
    assert Change("container coder environment A_TOKEN", "(not shown)", "(not shown)") in result
    assert Change("container coder environment DB_PASSWORD", "(not shown)", None) in result
    assert "hunter" not in str(result)


def test_the_first_definition_is_all_new() -> None:
    result = changes({}, render())
    assert Change("container coder image", None, IMAGE) in result
    assert all(change.before is None for change in result)


def test_a_tag_holds_only_what_ecs_takes() -> None:
    value = ECS.shape_for("Tag").members["value"]  # type: ignore[attr-defined]
    assert "{P}" not in value.metadata["pattern"], "letters, separators, numbers and signs alone"
    odd = "1.0 (β) #1,\t„quoted“;é+x_y:z/=@-" + "9" * 300
    version = task_definitions.tags({}, release(version=odd), "c")["deployer:version"]
    assert version.startswith("1.0 _β_ _1__") and len(version) == value.metadata["max"]
    assert "é+x_y:z/=@-999" in version
    assert task_definitions.tag_value("v2.1.0+build.5") == "v2.1.0+build.5"

"""The service spec that the infrastructure writes is one that the deployer takes, and says of the
service what Coder, or any other, needs."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters

from deployer.check import FAILED, Check
from deployer.deploy import documents, prerequisites, task_definitions
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.errors import SpecInvalid
from tests.template.test_infrastructure import (
    BALANCED,
    OWN_EVERYTHING,
    OWN_VPC,
    PUBLIC,
    SECURE,
    SETTINGS,
    stacks,
)
from tests.template.test_parameters import SECRET, SUBNETS, TARGET

ECS = ServiceModel(Loader().load_service_model("ecs", "service-2"))


def spec(settings: dict[str, Any]) -> ServiceSpec:
    return from_document(stacks(settings)["service"].document, "/deployer/services/coder")


def blueprint(settings: dict[str, Any]) -> dict[str, Any]:
    """The task definition that the stack makes, as DescribeTaskDefinition gives it back."""
    rendered = stacks(settings)["service"].resources["TaskDefinition"]
    arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/coder:1"
    return {**_lowered(rendered), "taskDefinitionArn": arn, "status": "ACTIVE", "revision": 1}


def _lowered(node: Any) -> Any:
    """CloudFormation's names of fields are ECS's, but for their first letter."""
    if isinstance(node, dict):
        return {
            name[0].lower() + name[1:]: int(value) if name == "ContainerPort" else _lowered(value)
            for name, value in node.items()
        }
    return [_lowered(entry) for entry in node] if isinstance(node, list) else node


def definition(settings: dict[str, Any]) -> dict[str, Any]:
    """The task definition of a release."""
    result = spec(settings)
    return task_definitions.render(result, task_definitions.in_ecs(result, blueprint(settings), ()))


def container(settings: dict[str, Any]) -> Mapping[str, Any]:
    return documents.container(definition(settings), "coder")


def environment(settings: dict[str, Any]) -> Mapping[str, str]:
    return documents.variables(container(settings))


def secrets(settings: dict[str, Any]) -> Mapping[str, str]:
    return documents.secrets(container(settings))


def network(settings: dict[str, Any]) -> Mapping[str, Any]:
    return documents.vpc(spec(settings).service_definition or {}) or {}


def checks(settings: dict[str, Any]) -> list[Check]:
    """What the preflight says of the documents."""
    result = spec(settings)
    as_service = result.service_definition or {}
    return list(prerequisites.definition(result, definition(settings), as_service, None))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_deployer_takes_it(settings: dict[str, Any]) -> None:
    result = spec(settings)
    assert result.service == "coder"
    assert container(settings)["stopTimeout"] == 120
    exposure = settings.get("Exposure", "load-balancer")
    assert (result.verify is None) == (exposure == "none")
    balancers = (result.service_definition or {}).get("loadBalancers", [])
    assert bool(balancers) == bool(result.url) == (exposure == "load-balancer")
    assert [check.finding for check in checks(settings) if check.state == FAILED] == []


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_ecs_takes_what_it_says(settings: dict[str, Any]) -> None:
    release = {**definition(settings), "tags": []}
    validate_parameters(release, ECS.shape_for("RegisterTaskDefinitionRequest"))
    service = {"serviceName": "coder", **(spec(settings).service_definition or {})}
    validate_parameters(service, ECS.shape_for("CreateServiceRequest"))


def test_releases_are_not_revisions_of_the_blueprint() -> None:
    assert blueprint(SECURE)["family"] == spec(SECURE).task_definition == "coder"
    assert definition(SECURE)["family"] == "coder-releases"


def test_coder_behind_https() -> None:
    settings = SECURE | {"DocsUrl": "https://docs.example.com"}
    result = spec(settings)
    assert environment(settings) == {
        "CODER_HTTP_ADDRESS": "0.0.0.0:3000",
        "CODER_ACCESS_URL": "https://coder.example.com",
        "WORKBENCH_ACCESS_URL": "https://coder.example.com",
        "CODER_WILDCARD_ACCESS_URL": "*.coder.example.com",
        "CODER_DOCS_URL": "https://docs.example.com",
        "CODER_REDIRECT_TO_ACCESS_URL": "false",
        "CODER_SECURE_AUTH_COOKIE": "true",
        "CODER_PROXY_TRUSTED_HEADERS": "X-Forwarded-For",
        "CODER_PROXY_TRUSTED_ORIGINS": "10.0.0.0/16",
        "CODER_TELEMETRY_ENABLE": "false",
        "CODER_UPDATE_CHECK": "false",
    }
    assert secrets(settings).keys() == {"CODER_PG_CONNECTION_URL"}
    assert result.url == "https://coder.example.com"
    assert result.service_definition
    assert result.service_definition["healthCheckGracePeriodSeconds"] == 900
    assert (result.strategy, result.desired_count, result.timeout) == ("recreate", 1, 1200)
    assert "healthCheck" not in container(settings)
    assert result.database and result.database.secret
    assert result.verify and result.verify.version and result.verify.version.match == "build"
    assert [probe.path for probe in result.verify.unchanged] == [
        "/api/v2/buildinfo",
        "/api/v2/users/first",
    ]


@pytest.mark.parametrize("url", ["", "none"])
def test_without_a_docs_site_coders_links_lead_to_its_makers(url: str) -> None:
    assert "CODER_DOCS_URL" not in environment(SECURE | {"DocsUrl": url})


def test_coder_at_the_load_balancers_own_name() -> None:
    given = environment(BALANCED)
    url = given["CODER_ACCESS_URL"]
    assert url == given["WORKBENCH_ACCESS_URL"] == spec(BALANCED).url
    assert url == "http://LoadBalancer.DNSName"
    assert not {"CODER_WILDCARD_ACCESS_URL", "CODER_SECURE_AUTH_COOKIE"} & given.keys()


def test_coder_at_its_tasks_own_address() -> None:
    exposed = BALANCED | {"Exposure": "public-ip", "DomainName": "coder.example.com"}
    settings = exposed | {"ContainerPort": 8080}
    assert spec(settings).url is None and network(settings)["assignPublicIp"] == "ENABLED"
    given = environment(settings)
    assert given["CODER_ACCESS_URL"] == "http://coder.example.com:8080"
    assert given["CODER_HTTP_ADDRESS"] == "0.0.0.0:8080"
    assert documents.ports(container(settings)) == [8080]


def test_another_service_has_no_variable_of_coders() -> None:
    settings = BALANCED | {"Application": "web", "HealthCheckPath": "/health"}
    result = spec(settings)
    assert result.preset is None
    assert environment(settings) == {}
    assert secrets(settings).keys() == {"DATABASE_URL"}
    assert result.verify and result.verify.path == "/health" and result.verify.version is None


def test_a_service_without_a_database() -> None:
    assert secrets(PUBLIC) == {} and spec(PUBLIC).database is None


def test_what_a_team_has_is_used() -> None:
    result = spec(OWN_EVERYTHING)
    assert secrets(OWN_EVERYTHING) == {"CODER_PG_CONNECTION_URL": SECRET}
    assert result.database and result.database.instance == "prod-db"
    assert result.database.secret == SECRET
    assert documents.target_groups(result.service_definition or {}) == [TARGET]
    assert "/team/coder" in container(OWN_EVERYTHING)["image"]
    assert (result.cluster, result.repository) == ("shared", "team/coder")
    assert network(OWN_EVERYTHING)["subnets"] == SUBNETS.split(",")
    without = OWN_EVERYTHING | {"DatabaseInstance": ""}
    assert spec(without).database is None


def test_private_tasks_have_no_address_of_their_own() -> None:
    public, private = network(SECURE), network(SECURE | {"PrivateTasks": "true"})
    assert (public["assignPublicIp"], private["assignPublicIp"]) == ("ENABLED", "DISABLED")
    assert not set(public["subnets"]) & set(private["subnets"])
    assert network(OWN_VPC | {"PrivateTasks": "true"})["assignPublicIp"] == "DISABLED"


def test_what_a_team_adds_goes_beside_what_the_application_needs() -> None:
    key = SECRET.replace("database-url", "api-key")
    settings = SECURE | {
        "Environment": '{"CODER_VERBOSE": "true", "JSON": "{\\"a\\": [1]}"}',
        "Secrets": json.dumps({"API_KEY": f"{key}:key::"}),
        "SecretArns": key,
    }
    given = environment(settings)
    assert given["CODER_VERBOSE"] == "true"
    assert given["JSON"] == '{"a": [1]}'
    assert given["CODER_HTTP_ADDRESS"] == "0.0.0.0:3000"
    assert secrets(settings)["API_KEY"] == f"{key}:key::"
    assert secrets(settings).keys() == {"CODER_PG_CONNECTION_URL", "API_KEY"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CODER_POSTGRES_URL", "is unknown to Coder: CODER_PG_CONNECTION_URL"),
        ("CODER_PG_CONNECTION_URL", "looks like a secret"),
    ],
)
def test_what_a_team_adds_is_checked(name: str, message: str) -> None:
    with pytest.raises(SpecInvalid, match=f"override.environment.{name}: {message}"):
        spec(SECURE | {"Environment": json.dumps({name: "x"})})


@pytest.mark.parametrize(
    "added", [{"CODER_HTTP_ADDRESS": "127.0.0.1:3000"}, {"CODER_REDIRECT_TO_ACCESS_URL": "true"}]
)
def test_what_a_team_adds_cannot_undo_what_the_application_needs(added: dict[str, str]) -> None:
    settings = SECURE | {"Environment": json.dumps(added)}
    try:
        matches = [check.finding for check in checks(settings) if check.state == FAILED]
    except SpecInvalid as error:
        matches = [str(error)]
    assert matches and all(name in matches[0] for name in added)


def test_what_the_parameters_say_reaches_the_spec() -> None:
    settings = BALANCED | {
        "Application": "web",
        "HealthCheck": '{"command": ["CMD", "true"], "startPeriod": 300}',
        "GracePeriodSeconds": 120,
        "Verify": "null",
        "Schedules": '{"nightly": {"schedule": "rate(1 day)", "command": ["tidy"]}}',
        "Strategy": "rolling",
        "Cpu": 2048,
        "Memory": 4096,
        "DesiredCount": 2,
        "TimeoutSeconds": 600,
        "Platform": "linux/arm64",
        "KeepReleases": 20,
        "DatabaseUrlName": "PGURL",
        "DatabaseSnapshots": 3,
    }
    rendered, released = spec(settings), definition(settings)
    assert rendered.verify is None
    assert rendered.schedules["nightly"].expression == "rate(1 day)"
    assert container(settings)["healthCheck"] == {"command": ["CMD", "true"], "startPeriod": 300}
    assert (released["cpu"], released["memory"]) == ("2048", "4096")
    assert (rendered.strategy, rendered.desired_count) == ("rolling", 2)
    assert (rendered.timeout, rendered.keep_releases) == (600, 20)
    assert documents.platform(released) == rendered.build.platform == "linux/arm64"
    assert secrets(settings).keys() == {"PGURL"}
    assert rendered.database and rendered.database.snapshots == 3


@pytest.mark.parametrize(
    ("tag", "deploys"),
    [("2.1.0", True), ("v2.0.0-devel-abc", True), ("latest", False), ("v2x1x0", False)],
)
@pytest.mark.parametrize("pattern", [None, r"v?[0-9]+\.[0-9]+\.[0-9]+[\w.-]*"])
def test_the_tags_that_deploy_are_versions(tag: str, deploys: bool, pattern: str | None) -> None:
    given = {"TagPattern": pattern} if pattern else {}
    assert spec(BALANCED | given).deploys(tag) == deploys

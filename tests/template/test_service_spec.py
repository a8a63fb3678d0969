"""The service spec that the infrastructure writes is one that the deployer takes, and says of the
service what Coder, or any other, needs."""

import json
from typing import Any

import pytest

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


def spec(settings: dict[str, Any]) -> ServiceSpec:
    return from_document(stacks(settings)["service"].document, "/deployer/services/coder")


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_deployer_takes_it(settings: dict[str, Any]) -> None:
    made = spec(settings)
    assert made.service == "coder"
    assert made.container.stop_timeout == 120
    exposure = settings.get("Exposure", "load-balancer")
    assert (made.verify is None) == (exposure == "none")
    assert (made.load_balancer is None) == (exposure != "load-balancer")


def test_coder_behind_https() -> None:
    made = spec(SECURE | {"DocsUrl": "https://docs.example.com"})
    assert made.container.environment == {
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
    assert made.container.secrets.keys() == {"CODER_PG_CONNECTION_URL"}
    assert made.load_balancer and made.load_balancer.url == "https://coder.example.com"
    assert made.load_balancer.grace_period == 900
    assert (made.strategy, made.desired_count, made.timeout) == ("recreate", 1, 1200)
    assert made.container.health_check is None
    assert made.database and made.database.secret
    assert made.verify and made.verify.version and made.verify.version.match == "build"
    assert [probe.path for probe in made.verify.unchanged] == [
        "/api/v2/buildinfo",
        "/api/v2/users/first",
    ]


@pytest.mark.parametrize("url", ["", "none"])
def test_without_a_docs_site_coders_links_lead_to_its_makers(url: str) -> None:
    assert "CODER_DOCS_URL" not in spec(SECURE | {"DocsUrl": url}).container.environment


def test_coder_at_the_load_balancers_own_name() -> None:
    environment = spec(BALANCED).container.environment
    url = environment["CODER_ACCESS_URL"]
    assert url == environment["WORKBENCH_ACCESS_URL"] == "http://LoadBalancer.DNSName"
    assert not {"CODER_WILDCARD_ACCESS_URL", "CODER_SECURE_AUTH_COOKIE"} & environment.keys()


def test_coder_at_its_tasks_own_address() -> None:
    exposed = BALANCED | {"Exposure": "public-ip", "DomainName": "coder.example.com"}
    made = spec(exposed | {"ContainerPort": 8080})
    assert made.load_balancer is None and made.network.public_ip
    environment = made.container.environment
    assert environment["CODER_ACCESS_URL"] == "http://coder.example.com:8080"
    assert environment["CODER_HTTP_ADDRESS"] == "0.0.0.0:8080"
    assert made.container.port == 8080


def test_another_service_has_no_variable_of_coders() -> None:
    made = spec(BALANCED | {"Application": "web", "HealthCheckPath": "/health"})
    assert made.container.environment == {}
    assert made.container.secrets.keys() == {"DATABASE_URL"}
    assert made.verify and made.verify.path == "/health" and made.verify.version is None


def test_a_service_without_a_database() -> None:
    made = spec(PUBLIC)
    assert made.container.secrets == {} and made.database is None


def test_what_a_team_has_is_used() -> None:
    made = spec(OWN_EVERYTHING)
    assert made.container.secrets == {"CODER_PG_CONNECTION_URL": SECRET}
    assert made.database and made.database.instance == "prod-db"
    assert made.database.secret == SECRET
    assert made.load_balancer and made.load_balancer.target_group == TARGET
    assert (made.cluster, made.repository) == ("shared", "team/coder")
    assert made.network.subnets == tuple(SUBNETS.split(","))
    without = OWN_EVERYTHING | {"DatabaseInstance": ""}
    assert spec(without).database is None


def test_private_tasks_have_no_address_of_their_own() -> None:
    public, private = spec(SECURE).network, spec(SECURE | {"PrivateTasks": "true"}).network
    assert public.public_ip and not private.public_ip
    assert not set(public.subnets) & set(private.subnets)
    assert not spec(OWN_VPC | {"PrivateTasks": "true"}).network.public_ip


def test_what_a_team_adds_goes_beside_what_the_application_needs() -> None:
    key = SECRET.replace("database-url", "api-key")
    made = spec(
        SECURE
        | {
            "Environment": '{"CODER_VERBOSE": "true", "JSON": "{\\"a\\": [1]}"}',
            "Secrets": json.dumps({"API_KEY": f"{key}:key::"}),
            "SecretArns": key,
        }
    )
    assert made.container.environment["CODER_VERBOSE"] == "true"
    assert made.container.environment["JSON"] == '{"a": [1]}'
    assert made.container.environment["CODER_HTTP_ADDRESS"] == "0.0.0.0:3000"
    assert made.container.secrets["API_KEY"] == f"{key}:key::"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CODER_HTTP_ADDRESS", "is given twice"),
        ("CODER_ACCESS_URL", "is given twice"),
        ("CODER_REDIRECT_TO_ACCESS_URL", "is given twice"),
        ("CODER_POSTGRES_URL", "is unknown to Coder: CODER_PG_CONNECTION_URL"),
        ("CODER_PG_CONNECTION_URL", "looks like a secret"),
    ],
)
def test_what_a_team_adds_cannot_undo_it(name: str, said: str) -> None:
    with pytest.raises(SpecInvalid, match=f"container.environment.{name}: {said}"):
        spec(SECURE | {"Environment": json.dumps({name: "x"})})


def test_what_the_parameters_say_reaches_the_spec() -> None:
    made = spec(
        BALANCED
        | {
            "Application": "web",
            "HealthCheck": '{"command": ["CMD", "true"], "startPeriod": 300}',
            "GracePeriodSeconds": 120,
            "Verify": "null",
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
    )
    assert made.verify is None
    assert made.container.health_check and made.container.health_check.start_period == 300
    assert (made.strategy, made.cpu, made.memory) == ("rolling", 2048, 4096)
    assert (made.desired_count, made.timeout, made.keep_releases) == (2, 600, 20)
    assert made.platform == "linux/arm64"
    assert made.container.secrets.keys() == {"PGURL"}
    assert made.database and made.database.snapshots == 3


@pytest.mark.parametrize(
    ("tag", "deploys"),
    [("2.1.0", True), ("v2.0.0-devel-abc", True), ("latest", False), ("v2x1x0", False)],
)
@pytest.mark.parametrize("pattern", [None, r"v?[0-9]+\.[0-9]+\.[0-9]+[\w.-]*"])
def test_the_tags_that_deploy_are_versions(tag: str, deploys: bool, pattern: str | None) -> None:
    given = {"TagPattern": pattern} if pattern else {}
    assert spec(BALANCED | given).deploys(tag) == deploys

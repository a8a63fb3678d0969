"""The ECS service that a spec makes, valid to botocore's model of ECS."""

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters

from deployer.deploy import service
from deployer.deploy.spec import ServiceSpec
from tests.unit.samples import ADOPTED, BALANCER, GROUP, REVISION, document, release, spec

ECS = ServiceModel(Loader().load_service_model("ecs", "service-2"))
SPECS = {
    "recreate": spec(),
    "rolling": spec(strategy="rolling"),
    "load balancer": spec(**BALANCER, vpc__assignPublicIp="DISABLED", strategy="rolling"),
}
DEFINITION: Any = document()["taskDefinition"]
TWO_GROUPS = [
    {"targetGroupArn": GROUP, "containerName": "coder", "containerPort": 3000},
    {"targetGroupArn": "arn:internal", "containerName": "coder", "containerPort": 3000},
]
BY_HAND: Mapping[str, Any] = {
    "serviceName": "coder",
    "desiredCount": 7,
    "launchType": "FARGATE",
    "loadBalancers": TWO_GROUPS,
    "serviceRegistries": [{"registryArn": "arn:registry"}],
    "networkConfiguration": {
        "awsvpcConfiguration": {
            "subnets": ["subnet-b", "subnet-a"],
            "securityGroups": ["sg-a"],
            "assignPublicIp": "ENABLED",
        }
    },
    "deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 150},
    "healthCheckGracePeriodSeconds": 30,
    "enableExecuteCommand": True,
    "deployments": [],
}
"""A service that somebody made, with what the deployer has no words for."""


def update(
    document: ServiceSpec, automatic_rollback: bool = True, there: Mapping[str, Any] = {}
) -> dict[str, Any]:
    return service.update(document, there, REVISION, automatic_rollback, DEFINITION)


@pytest.mark.parametrize("document", SPECS.values(), ids=SPECS)
def test_ecs_takes_the_update(document: ServiceSpec) -> None:
    request = update(document) | {"service": document.service, "desiredCount": 1}
    validate_parameters(request, ECS.shape_for("UpdateServiceRequest"))


@pytest.mark.parametrize("document", SPECS.values(), ids=SPECS)
def test_ecs_takes_the_creation(document: ServiceSpec) -> None:
    request = service.creation(document, REVISION, DEFINITION, "t" * 32)
    validate_parameters(request, ECS.shape_for("CreateServiceRequest"))


def test_what_ecs_takes_at_the_creation_only_is_not_sent_later() -> None:
    creation, later = (
        set(ECS.shape_for(f"{name}ServiceRequest").members)  # type: ignore[attr-defined]
        for name in ("Create", "Update")
    )
    assert set(service.AT_CREATION) >= creation - later


def test_an_adopted_service_keeps_all_that_it_has() -> None:
    result = update(spec(**ADOPTED), True, BY_HAND)
    breaker = {"enable": True, "rollback": True}
    assert result == {
        "cluster": "coder",
        "taskDefinition": REVISION,
        "deploymentConfiguration": {
            "minimumHealthyPercent": 50,
            "maximumPercent": 150,
            "deploymentCircuitBreaker": breaker,
        },
    }
    assert service.removals(BY_HAND, result) == []
    changes = {change.what: change.after for change in service.differences(BY_HAND, result)}
    assert changes == {
        "deploymentConfiguration deploymentCircuitBreaker enable": "True",
        "deploymentConfiguration deploymentCircuitBreaker rollback": "True",
    }


def test_an_update_names_what_it_changes_and_what_it_removes() -> None:
    named = {
        "loadBalancers": TWO_GROUPS[:1],
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-a", "subnet-b"]}},
        "healthCheckGracePeriodSeconds": 60,
        "desiredCount": 1,
    }
    rendered = update(spec(**ADOPTED | {"serviceDefinition": named}), False, BY_HAND)
    assert "desiredCount" not in rendered
    network = rendered["networkConfiguration"]["awsvpcConfiguration"]
    assert network["assignPublicIp"] == "ENABLED", "not named, so it stays"
    assert service.removals(BY_HAND, rendered) == ["loadBalancers arn:internal"]
    changes = {change.what: change.after for change in service.differences(BY_HAND, rendered)}
    assert changes["healthCheckGracePeriodSeconds"] == "60"
    assert not [what for what in changes if "subnets" in what], "their order means nothing"


@pytest.mark.parametrize(
    ("own", "named", "expected"), [(30, None, 900), (1800, None, None), (30, 60, 60)]
)
def test_a_preset_gives_a_start_behind_a_load_balancer_its_time(
    own: int, named: int | None, expected: int | None
) -> None:
    definition = {"healthCheckGracePeriodSeconds": named} if named else {}
    rendered = spec(**ADOPTED | {"preset": "coder", "serviceDefinition": definition})
    there = {**BY_HAND, "healthCheckGracePeriodSeconds": own}
    assert update(rendered, True, there).get("healthCheckGracePeriodSeconds") == expected
    alone = {**there, "loadBalancers": []}
    without = spec(**ADOPTED | {"preset": "coder"})
    assert "healthCheckGracePeriodSeconds" not in update(without, True, alone)


def test_an_update_leaves_the_desired_count_to_the_team() -> None:
    result = spec(creates__desiredCount=4)
    assert "desiredCount" not in update(result)
    assert service.creation(result, REVISION, DEFINITION, "t")["desiredCount"] == 4


@pytest.mark.parametrize("automatic_rollback", [True, False])
def test_the_circuit_breaker_is_on_and_goes_back_only_where_it_may(
    automatic_rollback: bool,
) -> None:
    breaker = update(spec(), automatic_rollback)["deploymentConfiguration"][
        "deploymentCircuitBreaker"
    ]
    assert breaker == {"enable": True, "rollback": automatic_rollback}


@pytest.mark.parametrize(
    ("strategy", "least", "most"), [("rolling", 100, 200), ("recreate", 0, 100)]
)
def test_the_strategy_says_whether_two_versions_may_run_at_once(
    strategy: str, least: int, most: int
) -> None:
    result = update(spec(strategy=strategy))
    assert result["deploymentConfiguration"]["minimumHealthyPercent"] == least
    assert result["deploymentConfiguration"]["maximumPercent"] == most
    # rebalancing between zones would start the new task before it stops the old one
    assert ("availabilityZoneRebalancing" in result) == (strategy == "recreate")


@pytest.mark.parametrize("assigned", ["ENABLED", "DISABLED"])
def test_tasks_live_where_the_spec_says(assigned: str) -> None:
    result = update(spec(**BALANCER, vpc__assignPublicIp=assigned))
    assert result["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-0123456789abcdef0"],
        "securityGroups": ["sg-0123456789abcdef0"],
        "assignPublicIp": assigned,
    }


def test_behind_a_load_balancer_the_container_joins_its_target_group() -> None:
    result = update(SPECS["load balancer"])
    assert result["loadBalancers"] == [
        {
            "targetGroupArn": GROUP,
            "containerName": "coder",
            "containerPort": 3000,
        }
    ]
    assert result["healthCheckGracePeriodSeconds"] == 120
    assert "loadBalancers" not in update(spec())


def test_a_creation_that_is_sent_twice_is_one() -> None:
    rendered = service.creation(spec(), REVISION, DEFINITION, "a-token")
    assert rendered["clientToken"] == "a-token"


THEIRS: dict[str, Any] = {
    "deploymentCircuitBreaker": {
        "enable": False,
        "rollback": False,
        "resetOnHealthyTask": False,
        "thresholdConfiguration": {"type": "COUNT", "value": 7},
    },
    "maximumPercent": 150,
    "minimumHealthyPercent": 50,
    "alarms": {"alarmNames": ["5xx"], "enable": True, "rollback": True},
    "strategy": "ROLLING",
    "bakeTimeInMinutes": 5,
    "lifecycleHooks": [{"hookTargetArn": "arn:hook", "roleArn": "arn:role"}],
    "linearConfiguration": {"stepPercent": 10.0},
    "canaryConfiguration": {"canaryPercent": 10.0},
    "earlySuccessCriteria": {"enable": False, "healthyPercent": 80},
}


def test_the_teams_settings_are_said_again() -> None:
    known = ECS.shape_for("DeploymentConfiguration").members  # type: ignore[attr-defined]
    assert THEIRS.keys() == known.keys(), "ECS knows more settings: are they said again?"
    there = {"deploymentConfiguration": THEIRS}
    message = update(spec(), True, there)["deploymentConfiguration"]
    ours = {"deploymentCircuitBreaker", "maximumPercent", "minimumHealthyPercent"}
    assert {k: v for k, v in message.items() if k not in ours} == {
        k: v for k, v in THEIRS.items() if k not in ours
    }
    assert message["deploymentCircuitBreaker"] == {
        **THEIRS["deploymentCircuitBreaker"],
        "enable": True,
        "rollback": True,
    }
    result = update(spec(), False, there)
    assert result["deploymentConfiguration"]["alarms"] == {**THEIRS["alarms"], "rollback": False}


def test_a_load_balancers_own_settings_stay() -> None:
    advanced = {"advancedConfiguration": {"roleArn": "arn:role"}}
    there = {"loadBalancers": [{**TWO_GROUPS[0], "containerPort": 1, **advanced}]}
    result = update(SPECS["load balancer"], True, there)
    assert result["loadBalancers"] == [{**TWO_GROUPS[0], **advanced}]


@pytest.mark.parametrize("named", [True, False])
def test_a_load_balancer_leads_to_the_container_that_the_revision_has(named: bool) -> None:
    """ECS refuses a service whose load balancer leads to a container that is not there."""
    result = SPECS["load balancer"] if named else spec(**ADOPTED)
    older = document(one__name="app", one__portMappings=[{"containerPort": 80}])["taskDefinition"]
    there = {"loadBalancers": TWO_GROUPS[:1]}
    request = service.update(result, there, REVISION, True, older)
    assert request["loadBalancers"] == [
        {"targetGroupArn": GROUP, "containerName": "app", "containerPort": 80}
    ]


NETWORK = {"awsvpcConfiguration": {"subnets": ["a"], "securityGroups": ["g"]}}
PREVIOUS: Any = {
    "taskDefinition": "coder:1",
    "release": "1",
    "version": "1.0.0",
    "schema": None,
    "networkConfiguration": NETWORK,
}


def _steady(revision: str, state: str = "COMPLETED", subnet: str = "a") -> dict[str, Any]:
    network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": ["g"]}}
    now = {"status": "PRIMARY", "taskDefinition": revision, "runningCount": 1}
    return {"deployments": [{**now, "rolloutState": state, "networkConfiguration": network}]}


@pytest.mark.parametrize(
    ("there", "may"),
    [
        (_steady("coder:1"), True),
        (_steady("coder:2"), False),  # it failed its verification, and ECS would go back to it
        (_steady("coder:1", "IN_PROGRESS"), False),
        (_steady("coder:1", subnet="b"), False),
        (None, False),
    ],
)
def test_ecs_goes_back_by_itself_only_to_what_we_would_go_back_to(there: Any, may: bool) -> None:
    entry = release(schema=None)
    assert service.may_roll_back(spec(), entry, PREVIOUS, there) is may
    assert not service.may_roll_back(spec(), entry, None, there)
    assert not service.may_roll_back(spec(), release(schema=None, restore="s"), PREVIOUS, there)

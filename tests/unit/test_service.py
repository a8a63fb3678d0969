"""The ECS service that a spec makes, valid to botocore's model of ECS."""

from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters

from deployer.deploy import service
from deployer.deploy.spec import ServiceSpec
from tests.unit.samples import BALANCER, REVISION, release, spec

ECS = ServiceModel(Loader().load_service_model("ecs", "service-2"))
SPECS = {
    "recreate": spec(),
    "rolling": spec(strategy="rolling"),
    "load balancer": spec(loadBalancer=BALANCER, network__publicIp=False, strategy="rolling"),
}


def settings(made: ServiceSpec, automatic_rollback: bool = True) -> dict[str, Any]:
    return service.settings(made, REVISION, automatic_rollback)


@pytest.mark.parametrize("made", SPECS.values(), ids=SPECS)
def test_ecs_takes_the_update(made: ServiceSpec) -> None:
    request = settings(made) | {"service": made.service, "desiredCount": 1}
    validate_parameters(request, ECS.shape_for("UpdateServiceRequest"))


@pytest.mark.parametrize("made", SPECS.values(), ids=SPECS)
def test_ecs_takes_the_creation(made: ServiceSpec) -> None:
    request = service.creation(made, settings(made), "t" * 32)
    validate_parameters(request, ECS.shape_for("CreateServiceRequest"))


def test_an_update_leaves_the_desired_count_to_the_team() -> None:
    assert "desiredCount" not in settings(spec(desiredCount=4))
    assert service.creation(spec(desiredCount=4), {}, "t")["desiredCount"] == 4


@pytest.mark.parametrize("automatic_rollback", [True, False])
def test_the_circuit_breaker_is_on_and_goes_back_only_where_it_may(
    automatic_rollback: bool,
) -> None:
    breaker = settings(spec(), automatic_rollback)["deploymentConfiguration"][
        "deploymentCircuitBreaker"
    ]
    assert breaker == {"enable": True, "rollback": automatic_rollback}


@pytest.mark.parametrize(
    ("strategy", "least", "most"), [("rolling", 100, 200), ("recreate", 0, 100)]
)
def test_the_strategy_says_whether_two_versions_may_run_at_once(
    strategy: str, least: int, most: int
) -> None:
    made = settings(spec(strategy=strategy))
    assert made["deploymentConfiguration"]["minimumHealthyPercent"] == least
    assert made["deploymentConfiguration"]["maximumPercent"] == most
    # rebalancing between zones would start the new task before it stops the old one
    assert ("availabilityZoneRebalancing" in made) == (strategy == "recreate")


@pytest.mark.parametrize(("public", "assigned"), [(True, "ENABLED"), (False, "DISABLED")])
def test_tasks_live_where_the_spec_says(public: bool, assigned: str) -> None:
    made = settings(spec(network__publicIp=public, loadBalancer=BALANCER))
    assert made["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-0123456789abcdef0"],
        "securityGroups": ["sg-0123456789abcdef0"],
        "assignPublicIp": assigned,
    }


def test_behind_a_load_balancer_the_container_joins_its_target_group() -> None:
    made = settings(SPECS["load balancer"])
    assert made["loadBalancers"] == [
        {
            "targetGroupArn": BALANCER["targetGroup"],
            "containerName": "coder",
            "containerPort": 3000,
        }
    ]
    assert made["healthCheckGracePeriodSeconds"] == 120
    assert "loadBalancers" not in settings(spec())


def test_a_creation_that_is_sent_twice_is_one() -> None:
    assert service.creation(spec(), {}, "a-token")["clientToken"] == "a-token"


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
    said = service.settings(spec(), REVISION, True, None, there)["deploymentConfiguration"]
    ours = {"deploymentCircuitBreaker", "maximumPercent", "minimumHealthyPercent"}
    assert {k: v for k, v in said.items() if k not in ours} == {
        k: v for k, v in THEIRS.items() if k not in ours
    }
    assert said["deploymentCircuitBreaker"] == {
        **THEIRS["deploymentCircuitBreaker"],
        "enable": True,
        "rollback": True,
    }
    made = service.settings(spec(), REVISION, False, None, there)
    assert made["deploymentConfiguration"]["alarms"] == {**THEIRS["alarms"], "rollback": False}


def test_another_load_balancer_of_the_teams_stays() -> None:
    made = SPECS["load balancer"]
    group = made.load_balancer.target_group if made.load_balancer else ""
    extra = {"targetGroupArn": "arn:other", "containerName": "admin", "containerPort": 9000}
    ours = {"targetGroupArn": group, "containerName": "old", "containerPort": 1}
    advanced = {"advancedConfiguration": {"roleArn": "arn:role"}}
    there = {"loadBalancers": [{**ours, **advanced}, extra]}
    said = service.settings(made, REVISION, True, ("app", 3000), there)["loadBalancers"]
    served = {"targetGroupArn": group, "containerName": "app", "containerPort": 3000}
    assert said == [{**served, **advanced}, extra]


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
    made = release(schema=None)
    assert service.may_roll_back(made, PREVIOUS, there) is may
    assert not service.may_roll_back(made, None, there)
    assert not service.may_roll_back(release(schema=None, restore="s"), PREVIOUS, there)

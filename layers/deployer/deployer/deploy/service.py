"""Build the requests of CreateService and UpdateService from the spec.

Imports decisions only, no AWS.
"""

from collections.abc import Mapping
from typing import Any

from deployer.deploy.release import Previous, Release, schema_grew
from deployer.deploy.rollout import Service, same_network, steady_task_definition
from deployer.deploy.rollout import network as rollout_network
from deployer.deploy.spec import ServiceSpec

UNCHECKED_BAKE = 60  # seconds


def may_roll_back(release: Release, previous: Previous | None, service: Service | None) -> bool:
    """Return whether ECS may roll a release back by itself.

    ECS rolls back to the deployment that completed last. That must be our rollback target: a
    release that failed its verification completed, too. And ECS must not start anything while the
    secret leads to a restored database.

    Args:
        service: the service before the update.
    """
    if previous is None or service is None or release.get("restore"):
        return False
    if steady_task_definition(service) != previous["taskDefinition"]:
        return False
    if not same_network(rollout_network(service), previous["networkConfiguration"]):
        return False
    return not schema_grew(previous["schema"], release["schema"])


def bake_seconds(spec: ServiceSpec) -> int:
    """Return how long the tasks must run before a release is live.

    Where nothing is asked of a task, that it has run for a while is all that can be known of it.
    """
    if spec.bake is not None:
        return spec.bake
    checked = spec.verify or spec.load_balancer or spec.container.health_check
    return 0 if checked else UNCHECKED_BAKE


def network(spec: ServiceSpec) -> dict[str, Any]:
    """Return the spec's network configuration, as ECS takes it."""
    return {
        "awsvpcConfiguration": {
            "subnets": list(spec.network.subnets),
            "securityGroups": list(spec.network.security_groups),
            "assignPublicIp": "ENABLED" if spec.network.public_ip else "DISABLED",
        }
    }


def settings(
    spec: ServiceSpec,
    task_definition: str,
    automatic_rollback: bool,
    served: tuple[str, int] | None = None,
    service: Service | None = None,
) -> dict[str, Any]:
    """Return the parameters that CreateService and UpdateService share.

    The desired count is not among them: after the creation the team and its autoscaling set it (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-auto-scaling.html).

    Args:
        automatic_rollback: whether ECS's circuit breaker may roll back by itself. It may not if the
            previous release can't run on the new release's schema.
        served: name and port of the container that serves in the task definition; None for the
            spec's. ECS refuses a load balancer whose container the task definition does not have.
        service: the current service; None if it does not exist. UpdateService replaces whole lists
            and structures, so the team's own settings (alarms, hooks, another load balancer) are
            repeated (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html).
    """
    service = service or {}
    container, port = served or (spec.container.name, spec.container.port)
    fields: dict[str, Any] = {
        "cluster": spec.cluster,
        "taskDefinition": task_definition,
        "deploymentConfiguration": _configuration(
            spec, automatic_rollback, service.get("deploymentConfiguration", {})
        ),
        "networkConfiguration": network(spec),
    }
    if spec.load_balancer:
        fields["healthCheckGracePeriodSeconds"] = spec.load_balancer.grace_period
        group, load_balancers = spec.load_balancer.target_group, service.get("loadBalancers", ())
        load_balancer: dict[str, Any] = next(
            (lb for lb in load_balancers if lb.get("targetGroupArn") == group), {}
        )
        fields["loadBalancers"] = [
            {
                **load_balancer,
                "targetGroupArn": group,
                "containerName": container,
                "containerPort": port,
            },
            *(lb for lb in load_balancers if lb.get("targetGroupArn") != group),
        ]
    if spec.strategy == "recreate":
        # rebalancing starts a task in another zone before it stops one, so two would run
        fields["availabilityZoneRebalancing"] = "DISABLED"
    return fields


def _configuration(
    spec: ServiceSpec, automatic_rollback: bool, current: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the deployment configuration: our breaker and percentages, and the team's settings.

    The team's alarms may end a rollout, but roll back only if the breaker may. Otherwise we see
    the rollout fail, and roll back if that is safe.
    """
    breaker = current.get("deploymentCircuitBreaker", {})
    fields: dict[str, Any] = {
        **current,
        "deploymentCircuitBreaker": {**breaker, "enable": True, "rollback": automatic_rollback},
        **_percentages(spec),
    }
    if current.get("alarms") and not automatic_rollback:
        fields["alarms"] = {**current["alarms"], "rollback": False}
    return fields


def _percentages(spec: ServiceSpec) -> dict[str, int]:
    if spec.strategy == "recreate":
        return {"minimumHealthyPercent": 0, "maximumPercent": 100}
    return {"minimumHealthyPercent": 100, "maximumPercent": 200}


def creation(spec: ServiceSpec, common: dict[str, Any], token: str) -> dict[str, Any]:
    """Return the request of CreateService: the shared parameters and its own.

    Args:
        token: makes a repeated call the same call; at most 36 characters.
    """
    return common | {
        "serviceName": spec.service,
        "desiredCount": spec.desired_count,
        "launchType": "FARGATE",
        "clientToken": token,
        "enableECSManagedTags": True,
        "tags": [{"key": "deployer:service", "value": spec.service}],
    }

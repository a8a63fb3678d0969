"""The ECS service as values: what the service spec makes of CreateService and UpdateService."""

from collections.abc import Mapping
from typing import Any

from deployer.deploy.release import Previous, Release, schema_grew
from deployer.deploy.rollout import Service, same_network, steady_task_definition
from deployer.deploy.rollout import network as rollout_network
from deployer.deploy.spec import ServiceSpec


def may_roll_back(release: Release, previous: Previous | None, there: Service | None) -> bool:
    """Return whether ECS may put back by itself what ran before a release.

    ECS goes back to the deployment that completed last. That must be what we would go back to: a
    release that failed its verification has completed, too. And it must not start anything on a
    restored database before the secret leads back to the one before.

    Args:
        there: the service as it is before the update.
    """
    if previous is None or there is None or release.get("restore"):
        return False
    if steady_task_definition(there) != previous["taskDefinition"]:
        return False
    if not same_network(rollout_network(there), previous["networkConfiguration"]):
        return False
    return not schema_grew(previous["schema"], release["schema"])


def network(spec: ServiceSpec) -> dict[str, Any]:
    """Return the network that the spec asks for, as ECS takes it."""
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
    there: Service | None = None,
) -> dict[str, Any]:
    """What creating and updating have in common.

    The desired count is not among them: after the creation it belongs to the team and its
    autoscaling (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-auto-scaling.html).

    Args:
        automatic_rollback: whether ECS's circuit breaker may go back by itself. It may not where
            the release before can't run on the schema that the new one leaves behind.
        served: name and port of the container that serves in the task definition; None for the
            spec's. ECS refuses a load balancer whose container the task definition does not have.
        there: the service as it is, if it is: UpdateService replaces a list or structure as a
            whole, so what the team set beside ours (alarms, hooks, another load balancer) is said
            again (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html).
    """
    there = there or {}
    container, port = served or (spec.container.name, spec.container.port)
    fields: dict[str, Any] = {
        "cluster": spec.cluster,
        "taskDefinition": task_definition,
        "deploymentConfiguration": _configuration(
            spec, automatic_rollback, there.get("deploymentConfiguration", {})
        ),
        "networkConfiguration": network(spec),
    }
    if spec.load_balancer:
        fields["healthCheckGracePeriodSeconds"] = spec.load_balancer.grace_period
        group, theirs = spec.load_balancer.target_group, there.get("loadBalancers", ())
        ours: dict[str, Any] = next((lb for lb in theirs if lb.get("targetGroupArn") == group), {})
        fields["loadBalancers"] = [
            {**ours, "targetGroupArn": group, "containerName": container, "containerPort": port},
            *(lb for lb in theirs if lb.get("targetGroupArn") != group),
        ]
    if spec.strategy == "recreate":
        # rebalancing starts a task in another zone before it stops one: two versions at once
        fields["availabilityZoneRebalancing"] = "DISABLED"
    return fields


def _configuration(
    spec: ServiceSpec, automatic_rollback: bool, theirs: Mapping[str, Any]
) -> dict[str, Any]:
    """How ECS rolls out: our breaker and percentages, and all that the team set beside.

    An alarm of the team's may end a rollout, but go back by itself only where the breaker may:
    where it may not, we see the rollout fail and go back if that is safe.
    """
    breaker = theirs.get("deploymentCircuitBreaker", {})
    fields: dict[str, Any] = {
        **theirs,
        "deploymentCircuitBreaker": {**breaker, "enable": True, "rollback": automatic_rollback},
        **_percentages(spec),
    }
    if theirs.get("alarms") and not automatic_rollback:
        fields["alarms"] = {**theirs["alarms"], "rollback": False}
    return fields


def _percentages(spec: ServiceSpec) -> dict[str, int]:
    if spec.strategy == "recreate":
        return {"minimumHealthyPercent": 0, "maximumPercent": 100}
    return {"minimumHealthyPercent": 100, "maximumPercent": 200}


def creation(spec: ServiceSpec, common: dict[str, Any], token: str) -> dict[str, Any]:
    """The rest of CreateService's request.

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

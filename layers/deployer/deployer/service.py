"""The ECS service as values: what the service spec makes of CreateService and UpdateService."""

from typing import Any

from deployer.release import Previous, Release, schema_grew
from deployer.spec import ServiceSpec


def may_go_back(release: Release, previous: Previous | None) -> bool:
    """Whether ECS may put back by itself what ran before a release; where no release is known to
    be good, what ECS would go back to need not have been good. It must not start anything on a
    restored database before the secret leads back to the one before."""
    if previous is None or release.get("restore"):
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
) -> dict[str, Any]:
    """What creating and updating have in common.

    The desired count is not among them: after the creation it belongs to the team and its
    autoscaling (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-auto-scaling.html).

    Args:
        automatic_rollback: whether ECS's circuit breaker may go back by itself. It may not where
            the release before can't run on the schema that the new one leaves behind.
        served: name and port of the container that serves in the task definition; None for the
            spec's. ECS refuses a load balancer whose container the task definition does not have.
    """
    container, port = served or (spec.container.name, spec.container.port)
    fields: dict[str, Any] = {
        "cluster": spec.cluster,
        "taskDefinition": task_definition,
        "deploymentConfiguration": {
            "deploymentCircuitBreaker": {"enable": True, "rollback": automatic_rollback},
            **_percentages(spec),
        },
        "networkConfiguration": network(spec),
    }
    if spec.load_balancer:
        fields["healthCheckGracePeriodSeconds"] = spec.load_balancer.grace_period
        fields["loadBalancers"] = [
            {
                "targetGroupArn": spec.load_balancer.target_group,
                "containerName": container,
                "containerPort": port,
            }
        ]
    if spec.strategy == "recreate":
        # rebalancing starts a task in another zone before it stops one: two versions at once
        fields["availabilityZoneRebalancing"] = "DISABLED"
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

"""A service that somebody made by hand is deployed by a spec of four lines, and keeps the rest."""

import json
from collections.abc import Mapping
from typing import Any

from demo.image import demo_release
from demo.stage import Stage

_MOVES = ("deployments", "events", "taskDefinition", "runningCount", "pendingCount")


def made_by_hand(stage: Stage) -> dict[str, Any]:
    """Make a service with CreateService, and its spec of four lines; the steady service."""
    ecs, spec = stage.aws.client("ecs"), stage.spec()
    lines = {name: spec[name] for name in ("service", "cluster", "repository", "tags")}
    stage.aws.client("ssm").put_parameter(
        Name=f"/deployer/services/{stage.service}", Value=json.dumps(lines), Overwrite=True
    )
    stage.push(demo_release("0.9.0"), "by-hand")
    blueprint = ecs.describe_task_definition(taskDefinition=spec["taskDefinition"])
    (container,) = blueprint["taskDefinition"]["containerDefinitions"]
    environment = [{"name": "CODER_HTTP_ADDRESS", "value": "0.0.0.0:3000"}]
    image = f"{stage.aws.registry}/{stage.service}:by-hand"
    fields = (
        *("networkMode", "requiresCompatibilities", "cpu", "memory", "executionRoleArn"),
        *("taskRoleArn", "runtimePlatform"),
    )
    rendered = ecs.register_task_definition(
        family=stage.service,
        containerDefinitions=[{**container, "image": image, "environment": environment}],
        ephemeralStorage={"sizeInGiB": 30},
        tags=[{"key": "team", "value": "web"}],
        **{name: blueprint["taskDefinition"][name] for name in fields},
    )
    ecs.create_service(
        cluster=stage.cluster,
        serviceName=stage.service,
        taskDefinition=rendered["taskDefinition"]["taskDefinitionArn"],
        desiredCount=2,
        launchType="FARGATE",
        networkConfiguration=spec["serviceDefinition"]["networkConfiguration"],
        deploymentConfiguration={"minimumHealthyPercent": 50, "maximumPercent": 150},
        propagateTags="TASK_DEFINITION",
    )
    ecs.get_waiter("services_stable").wait(
        cluster=stage.cluster,
        services=[stage.service],
        WaiterConfig={"Delay": 1, "MaxAttempts": 90},
    )
    return stage.described()


def apart(service: Mapping[str, Any]) -> dict[str, Any]:
    """What a release must not change: all but the image and the circuit breaker."""
    rest = {name: value for name, value in service.items() if name not in _MOVES}
    configuration = dict(rest["deploymentConfiguration"])
    configuration.pop("deploymentCircuitBreaker", None)
    return {**rest, "deploymentConfiguration": configuration}


def definition(stage: Stage) -> tuple[dict[str, Any], str, dict[str, str]]:
    """The task definition that runs, without its image; the image; and its tags."""
    response = stage.aws.client("ecs").describe_task_definition(
        taskDefinition=stage.described()["taskDefinition"], include=["TAGS"]
    )
    shown = dict(response["taskDefinition"])
    for name in ("taskDefinitionArn", "revision", "registeredAt", "registeredBy"):
        shown.pop(name, None)
    (container,) = shown["containerDefinitions"]
    tags = {tag["key"]: tag["value"] for tag in response.get("tags", ())}
    return {**shown, "containerDefinitions": [{**container, "image": ""}]}, container["image"], tags


def test_four_lines_adopt_a_service_that_somebody_made(service: Stage) -> None:
    before, (rendered, _, _) = made_by_hand(service), definition(service)

    digest = service.release("1.0.0")
    assert service.ended(service.started_by(digest)).status == "SUCCEEDED"
    now, image, tags = definition(service)
    assert image.endswith(f"@{digest}")
    assert (now, tags["team"]) == (rendered, "web")
    assert apart(service.described()) == apart(before)
    live = service.described()["taskDefinition"]

    bad = service.ended(service.started_by(service.release("1.1.0", fault="exit-at-start")))
    assert bad.status == "FAILED"
    assert service.records()[-1]["outcome"] == "FAILED_ROLLED_BACK"
    assert service.described()["taskDefinition"] == live
    assert apart(service.described()) == apart(before)

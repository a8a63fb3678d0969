"""A service that somebody made by hand is deployed by a spec of four lines, and keeps the rest."""

import json
from collections.abc import Mapping
from typing import Any

from demo.image import demo_release
from demo.stage import Stage

_MOVES = ("deployments", "events", "taskDefinition", "runningCount", "pendingCount")


PORTS = (3000, 9000)  # of the application, and of the proxy beside it


def made_by_hand(stage: Stage) -> dict[str, Any]:
    """Make a service as a team would, and its spec of four lines; the steady service.

    It has a target group for each of two ports, a sidecar, an EFS volume and autoscaling.
    """
    ecs, spec, network = stage.aws.client("ecs"), stage.spec(), stage.network
    lines = {name: spec[name] for name in ("service", "cluster", "repository", "tags")}
    stage.aws.client("ssm").put_parameter(
        Name=f"/deployer/services/{stage.service}", Value=json.dumps(lines), Overwrite=True
    )
    stage.push(demo_release("0.9.0"), "by-hand")
    proxy = f"{stage.service}-proxy"
    stage.aws.client("ecr").create_repository(repositoryName=proxy)
    stage.push(demo_release("5.0.0"), "5", proxy)
    files = stage.aws.client("efs").create_file_system(CreationToken=stage.service)
    volume = {"fileSystemId": files["FileSystemId"], "transitEncryption": "ENABLED"}
    blueprint = ecs.describe_task_definition(taskDefinition=spec["taskDefinition"])
    (container,) = blueprint["taskDefinition"]["containerDefinitions"]
    mount = {"sourceVolume": "files", "containerPath": "/srv/files", "readOnly": False}
    beside = {
        **container,
        "name": "proxy",
        "image": f"{stage.aws.registry}/{proxy}:5",
        "essential": False,
        "portMappings": [{"containerPort": PORTS[1], "protocol": "tcp"}],
        "dependsOn": [{"containerName": container["name"], "condition": "START"}],
        "environment": [{"name": "CODER_HTTP_ADDRESS", "value": f"0.0.0.0:{PORTS[1]}"}],
    }
    ours = {
        **container,
        "image": f"{stage.aws.registry}/{stage.service}:by-hand",
        "environment": [{"name": "CODER_HTTP_ADDRESS", "value": f"0.0.0.0:{PORTS[0]}"}],
        "mountPoints": [mount],
    }
    _may_pull(stage, proxy, blueprint["taskDefinition"]["executionRoleArn"])
    fields = (
        *("networkMode", "requiresCompatibilities", "cpu", "memory", "executionRoleArn"),
        *("taskRoleArn", "runtimePlatform"),
    )
    rendered = ecs.register_task_definition(
        family=stage.service,
        containerDefinitions=[beside, ours],
        volumes=[{"name": "files", "efsVolumeConfiguration": volume}],
        ephemeralStorage={"sizeInGiB": 30},
        tags=[{"key": "team", "value": "web"}],
        **{name: blueprint["taskDefinition"][name] for name in fields},
    )
    ecs.create_service(
        cluster=stage.cluster,
        serviceName=stage.service,
        taskDefinition=rendered["taskDefinition"]["taskDefinitionArn"],
        desiredCount=1,
        launchType="FARGATE",
        loadBalancers=[
            {"targetGroupArn": group, "containerName": name, "containerPort": port}
            for group, name, port in zip(
                _target_groups(stage, network["subnets"]),
                (container["name"], "proxy"),
                PORTS,
                strict=True,
            )
        ],
        healthCheckGracePeriodSeconds=60,
        networkConfiguration=spec["serviceDefinition"]["networkConfiguration"],
        deploymentConfiguration={"minimumHealthyPercent": 50, "maximumPercent": 150},
        propagateTags="TASK_DEFINITION",
    )
    steady(stage)
    return stage.described()


def _may_pull(stage: Stage, repository: str, role: str) -> None:
    actions = ("BatchGetImage", "GetDownloadUrlForLayer")
    arn = f"arn:aws:ecr:{stage.aws.region}:000000000000:repository/{repository}"
    statement = {"Effect": "Allow", "Action": [f"ecr:{a}" for a in actions], "Resource": arn}
    stage.aws.client("iam").put_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyName="PullProxy",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def _target_groups(stage: Stage, subnets: list[str]) -> list[str]:
    """The target groups of both ports, each behind a listener of one load balancer."""
    elb, ec2, arns = stage.aws.client("elbv2"), stage.aws.client("ec2"), list[str]()
    vpc = ec2.describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
    balancer = elb.create_load_balancer(Name=stage.service, Subnets=subnets)["LoadBalancers"][0]
    for port in PORTS:
        group = elb.create_target_group(
            Name=f"{stage.service}-{port}",
            TargetType="ip",
            Protocol="HTTP",
            Port=port,
            VpcId=vpc,
            HealthCheckPath="/healthz",
            HealthCheckIntervalSeconds=5,
            HealthyThresholdCount=2,
        )["TargetGroups"][0]
        elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=port,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
        )
        elb.modify_target_group_attributes(
            TargetGroupArn=group["TargetGroupArn"],
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}],
        )
        arns.append(str(group["TargetGroupArn"]))
    return arns


def steady(stage: Stage) -> None:
    stage.aws.client("ecs").get_waiter("services_stable").wait(
        cluster=stage.cluster,
        services=[stage.service],
        WaiterConfig={"Delay": 1, "MaxAttempts": 90},
    )


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
    ours = next(one for one in shown["containerDefinitions"] if one["name"] == stage.service)
    image, ours["image"] = ours["image"], ""
    tags = {tag["key"]: tag["value"] for tag in response.get("tags", ())}
    return shown, image, tags


def test_four_lines_adopt_a_service_that_somebody_made(service: Stage) -> None:
    made_by_hand(service)
    (rendered, _, _) = definition(service)
    # what autoscaling does: it, or a person, sets the count while nobody deploys
    service.aws.client("ecs").update_service(
        cluster=service.cluster, service=service.service, desiredCount=2
    )
    steady(service)
    before = service.described()

    digest = service.release("1.0.0")
    assert service.ended(service.started_by(digest)).status == "SUCCEEDED"
    now, image, tags = definition(service)
    assert image.endswith(f"@{digest}")
    assert (now, tags["team"]) == (rendered, "web")
    assert apart(service.described()) == apart(before)
    assert service.described()["desiredCount"] == 2
    live = service.described()["taskDefinition"]

    bad = service.ended(service.started_by(service.release("1.1.0", fault="exit-at-start")))
    assert bad.status == "FAILED"
    assert service.records()[-1]["outcome"] == "FAILED_ROLLED_BACK"
    assert service.described()["taskDefinition"] == live
    assert apart(service.described()) == apart(before)

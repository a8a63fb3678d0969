"""What is around a service is looked at before anything changes: what cannot work is refused."""

from collections.abc import Callable

import pytest

from demo.stage import Stage

REFUSED = ["Check preflight", "Record failure", "Failed"]


def refused(stage: Stage, version: str, named: str) -> str:
    """Push a release that the preflight refuses, for a reason that names something."""
    live = any(record["outcome"] == "SUCCEEDED" for record in stage.records())
    before = stage.described() if live else {}
    done = stage.deployed(version)
    assert (done.status, done.error, done.path[-3:]) == ("FAILED", "PreflightFailed", REFUSED)
    assert named in done.cause
    assert stage.records()[-1]["diagnosis"]["kind"] == "PreflightFailed"
    if before:
        assert stage.described()["deployments"] == before["deployments"]
    return done.cause


def group(stage: Stage, name: str) -> tuple[str, str]:
    """A security group that lets nobody in, and the VPC that it is of."""
    ec2 = stage.aws.client("ec2")
    subnet = stage.network["subnets"][0]
    vpc = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
    result = ec2.create_security_group(
        GroupName=f"{stage.service}-{name}", Description=name, VpcId=vpc
    )
    return result["GroupId"], vpc


def test_a_closed_security_group(live: Stage) -> None:
    closed, _ = group(live, "closed")
    live.specify_network(securityGroups=[closed])
    refused(live, "1.1.0", closed)


def test_a_subnet_without_a_way_to_ecr(live: Stage) -> None:
    ec2 = live.aws.client("ec2")
    _, vpc = group(live, "unused")
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="172.31.200.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    live.specify_network(subnets=[subnet])
    assert table in refused(live, "1.1.0", subnet)


def test_a_log_group_that_is_gone(live: Stage) -> None:
    live.aws.client("logs").delete_log_group(logGroupName=f"/ecs/{live.service}")
    refused(live, "1.1.0", f"/ecs/{live.service}")


def test_a_secret_that_is_gone(live: Stage) -> None:
    secrets = live.aws.client("secretsmanager")
    secrets.delete_secret(SecretId=f"{live.service}/database-url", ForceDeleteWithoutRecovery=True)
    refused(live, "1.1.0", f"{live.service}/database-url")


@pytest.mark.walk
def test_a_secret_that_the_execution_role_may_not_read(live: Stage) -> None:
    other = live.aws.client("secretsmanager").create_secret(
        Name=f"{live.service}/other", SecretString="x"
    )["ARN"]
    live.specify_container(secrets={"OTHER": other})
    refused(live, "1.1.0", "put-role-policy")


def test_a_secret_named_otherwise_than_the_service(make: Callable[..., Stage]) -> None:
    """The deployer's SecretArns names it; another it cannot describe."""
    before = make()
    secrets = before.aws.client("secretsmanager")
    url = secrets.get_secret_value(SecretId=f"{before.service}/database-url")["SecretString"]
    elsewhere = secrets.create_secret(Name="elsewhere/url", SecretString=url)["ARN"]
    service = make(DatabaseUrlSecretArn=elsewhere)
    parameter = "arn:aws:ssm:us-east-1:000000000000:parameter/elsewhere/key"
    unnamed = elsewhere.replace(":elsewhere/", ":nowhere/")
    service.specify_container(secrets={"A": parameter, "B": unnamed})
    cause = refused(service, "0.1.0", f"{parameter} does not exist")
    assert f"no permission to describe {unnamed}" in cause
    service.specify_container(secrets={})
    done = service.deployed("1.0.0")
    assert done.status == "SUCCEEDED", done.cause


@pytest.mark.walk
def test_behind_a_load_balancer(make: Callable[..., Stage]) -> None:
    service = make()
    elb, ec2 = service.aws.client("elbv2"), service.aws.client("ec2")
    front, vpc = group(service, "front")
    tasks, _ = group(service, "tasks")
    pair = [{"GroupId": front}]
    rule = {"IpProtocol": "tcp", "FromPort": 3000, "ToPort": 3000, "UserIdGroupPairs": pair}
    ec2.authorize_security_group_ingress(GroupId=tasks, IpPermissions=[rule])
    balancer = elb.create_load_balancer(
        Name=service.service, Subnets=service.network["subnets"], SecurityGroups=[front]
    )["LoadBalancers"][0]
    target = elb.create_target_group(
        Name=service.service,
        Protocol="HTTP",
        Port=80,
        VpcId=vpc,
        TargetType="ip",
        HealthCheckPath="/healthz",
        HealthCheckPort="8080",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    service.specify_network(securityGroups=[tasks])
    service.specify_container(healthCheck=None)
    behind = {
        "loadBalancers": [
            {
                "targetGroupArn": target,
                "containerName": service.service,
                "containerPort": 3000,
            }
        ]
    }
    service.specify(
        serviceDefinition=service.spec()["serviceDefinition"] | behind,
        url=f"http://{balancer['DNSName']}",
    )
    refused(service, "0.1.0", "no listener")
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": target}],
    )
    refused(service, "0.2.0", "traffic-port")
    elb.modify_target_group(TargetGroupArn=target, HealthCheckPort="traffic-port")
    done = service.deployed("1.0.0")
    assert done.status == "SUCCEEDED", done.cause
    ec2.revoke_security_group_ingress(GroupId=tasks, IpPermissions=[rule])
    refused(service, "1.1.0", front)


@pytest.mark.parametrize("status", ["missing", "closed"])
def test_a_database_that_no_task_can_reach(live: Stage, status: str) -> None:
    rds, name = live.aws.client("rds"), f"{live.service}-db"
    live.specify(database={"instance": name})
    if status == "missing":
        refused(live, "1.1.0", name)
        return
    closed, _ = group(live, "database")
    live.create_instance(name, VpcSecurityGroupIds=[closed])
    try:
        assert "5432" in refused(live, "1.1.0", closed)
    finally:
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)

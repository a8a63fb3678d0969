"""`deployer doctor`: what is really wrong on the local AWS is seen, and mended where it is safe."""

import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.person import Person

pytestmark = pytest.mark.slow

Make = Callable[..., Operator]
_numbers = itertools.count(1)


def looked(operator: Operator, *words: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and what was found."""
    done = operator.run("doctor", *words, "--json", **environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, list(json.loads(done.stdout).get("checks", []))


def answered(operator: Operator, *answers: str) -> "subprocess.CompletedProcess[str]":
    """`doctor --fix`, its questions answered."""
    return subprocess.run(
        operator.command("doctor", "--fix"),
        env=operator.env,
        input="".join(f"{answer}\n" for answer in answers),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def wrong(described: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What failed, by name; each has its fix."""
    failed = {check["name"]: check for check in described if check["state"] == "failed"}
    assert all(check["fix"] for check in failed.values()), failed
    return failed


def group(stage: Stage, **ingress: Any) -> str:
    """A security group of the default VPC."""
    ec2 = stage.aws.client("ec2")
    name = f"doctor-{next(_numbers)}"
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    result = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc["VpcId"])
    if ingress:
        ec2.authorize_security_group_ingress(GroupId=result["GroupId"], IpProtocol="tcp", **ingress)
    return str(result["GroupId"])


def anyone(port: int) -> dict[str, Any]:
    return {"FromPort": port, "ToPort": port, "CidrIp": "0.0.0.0/0"}


def rules(stage: Stage, name: str) -> list[dict[str, Any]]:
    response = stage.aws.client("ec2").describe_security_groups(GroupIds=[name])
    return list(response["SecurityGroups"][0]["IpPermissions"])


def secret(stage: Stage) -> str:
    return f"{stage.service}/database-url"


@pytest.fixture(scope="session")
def eyes(deployer: Stage) -> Mapping[str, str]:
    """The credentials of somebody who has the policies that the stack makes for people."""
    policies = [deployer.outputs[name] for name in ("OperatorsPolicy", "DiagnosisPolicy")]
    return credentials(Person(deployer.aws, *policies).key)


def credentials(key: Mapping[str, str]) -> Mapping[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_SESSION_TOKEN": "",
    }


def warnings(described: list[dict[str, Any]]) -> list[str]:
    """Return the warnings about the service. The deployer is shared: requests that other tests have
    it refuse are failed executions without a record of a service."""
    names = [check["name"] for check in described if check["state"] == "warning"]
    return [name for name in names if name != "executions"]


# Nothing wrong -----------------------------------------------------------------------------------


def test_a_service_that_was_never_deployed_is_well(operator: Operator) -> None:
    code, result = looked(operator)
    assert (code, wrong(result)) == (0, {})


def test_a_service_that_is_live_is_well(live: Operator) -> None:
    live.stage.specify(preset="coder")
    code, result = looked(live)
    assert (code, wrong(result)) == (0, {})
    output = {check["name"] for check in result}
    assert output >= {"answers", "drift", "image", "way to ECR", "security group", "lock"}
    findings = {check["finding"] for check in result}
    assert {"1 of 1 tasks run", "none failed within the last hour"} <= findings
    # the demo application's database has no user yet
    assert warnings(result) == ["first user"]


def test_operators_who_may_diagnose_see_everything(live: Operator, eyes: Mapping[str, str]) -> None:
    live.stage.specify(preset="coder")
    code, result = looked(live, **eyes)
    assert (code, wrong(result)) == (0, {})
    assert warnings(result) == ["first user"]


def test_people_see_it_too(live: Operator) -> None:
    done = live.run("doctor")
    assert done.returncode == 0
    assert "answered 200" in done.stdout and "\x1b" not in done.stdout


# What surrounds it -------------------------------------------------------------------------------


@pytest.fixture
def ill(deployer: Stage, make: Make) -> Iterator[Operator]:
    """A live service, and then much that is around it and recorded of it goes wrong at once."""
    tasks = group(deployer, **anyone(3000))
    operator = make(ServiceSecurityGroupId=tasks)
    stage = operator.stage
    client = stage.aws.client
    assert stage.deployed("1.0.0").status == "SUCCEEDED"
    record = stage.records()[-1]
    client("ec2").revoke_security_group_ingress(GroupId=tasks, IpProtocol="tcp", **anyone(3000))
    client("logs").delete_log_group(logGroupName=f"/ecs/{stage.service}")
    client("secretsmanager").delete_secret(SecretId=secret(stage), RecoveryWindowInDays=7)
    client("dynamodb").put_item(
        TableName=stage.outputs["ReleasesTable"],
        Item={
            name: {"S": value}
            for name, value in {
                **{"service": stage.service, "id": "#lock", "release": record["id"]},
                **{"execution": record["execution"], "trigger": "push", "token": ""},
                **{"pushedAt": record["pushedAt"], "since": record["startedAt"]},
            }.items()
        },
    )
    event = json.loads(
        client("stepfunctions").describe_execution(executionArn=record["execution"])["input"]
    )
    client("sqs").send_message(
        QueueUrl=stage.outputs["UndeliveredPushesQueue"],
        MessageBody=json.dumps(event),
        MessageAttributes={
            "TARGET_ARN": {"DataType": "String", "StringValue": stage.outputs["StateMachine"]}
        },
    )
    stage.specify_definition(memory="4096")
    yield operator


def test_what_is_safe_is_put_right_and_the_rest_is_left(ill: Operator) -> None:
    code, result = looked(ill)
    bad = wrong(result)
    assert code == 3
    safe = {"security group", "log group", "lock", "dead letters"}
    assert bad.keys() == {*safe, "secrets"}
    assert {name for name, check in bad.items() if "repair" in check} == safe
    assert {c["name"] for c in result if c["state"] == "warning"} >= {"drift"}
    assert "memory" in next(c["finding"] for c in result if c["name"] == "drift")

    executions = len(ill.stage.own_executions())
    unanswered = ill.run("doctor", "--fix")
    assert unanswered.returncode == 4, unanswered.stderr
    one = answered(ill, "y", "n", "", "no")
    assert one.returncode == 3, one.stderr
    assert "After the repairs" in one.stdout
    assert len(ill.stage.own_executions()) == executions
    assert wrong(looked(ill)[1]).keys() == bad.keys() - {"security group"}

    code, result = looked(ill, "--fix", "--yes")
    assert code == 3
    assert wrong(result).keys() == {"secrets"}
    redriven = ill.stage.own_executions()[0]
    assert ill.stage.ended(redriven).status == "SUCCEEDED"
    assert len(ill.stage.records()) == 1, "what was deployed already is not deployed twice"


def test_a_database_that_is_closed_to_the_tasks_is_opened(
    operator: Operator, eyes: Mapping[str, str]
) -> None:
    stage, rds = operator.stage, operator.stage.aws.client("rds")
    closed = group(stage)
    name = f"{stage.service}-db"
    stage.create_instance(name, VpcSecurityGroupIds=[closed])
    stage.specify(database={"instance": name})
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
    )
    try:
        bad = wrong(looked(operator, **eyes)[1])
        assert bad.keys() == {"database"}
        assert "5432" in bad["database"]["finding"]

        assert looked(operator, "--fix", "--yes")[0] == 0
        (rule,) = rules(stage, closed)
        assert rule["UserIdGroupPairs"] and not rule["IpRanges"]

        rds.stop_db_instance(DBInstanceIdentifier=name)
        assert "start-db-instance" in str(wrong(looked(operator)[1])["database"]["fix"])
    finally:
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


def test_a_subnet_without_a_way_to_ecr(operator: Operator) -> None:
    stage, ec2 = operator.stage, operator.stage.aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.1.0/24")["Subnet"]["SubnetId"]
    tasks = ec2.create_security_group(GroupName="t", Description="t", VpcId=vpc)["GroupId"]
    stage.specify(verify=None)
    network = {"securityGroups": [tasks], "assignPublicIp": "DISABLED"}
    stage.specify_network(subnets=[subnet], **network)
    assert wrong(looked(operator)[1]).keys() == {"way to ECR"}

    stage.specify_network(subnets=[subnet, "subnet-0123456789abcdef0"])
    assert "subnet-0123456789abcdef0" in wrong(looked(operator)[1])["network"]["finding"]


def test_a_secret_that_the_execution_role_may_not_read(operator: Operator) -> None:
    stage = operator.stage
    other = stage.aws.client("secretsmanager").create_secret(
        Name=f"{stage.service}/other", SecretString="x"
    )["ARN"]
    gone = other.replace("/other", "/gone")
    stage.specify_container(secrets={"OTHER": other, "GONE": gone})
    _, result = looked(operator)
    message = [c["finding"] for c in result if c["name"] == "secrets" and c["state"] == "failed"]
    assert len(message) == 2
    assert any("has no permission to read" in text for text in message)
    assert any("does not exist" in text for text in message)


# The load balancer -------------------------------------------------------------------------------


@pytest.fixture
def balanced(deployer: Stage, make: Make) -> tuple[Operator, dict[str, Any]]:
    """A live service behind a load balancer, as the templates make one, and what it is made of."""
    elb, ec2 = deployer.aws.client("elbv2"), deployer.aws.client("ec2")
    front, tasks = group(deployer, **anyone(80)), group(deployer)
    pair = {"FromPort": 3000, "ToPort": 3000, "UserIdGroupPairs": [{"GroupId": front}]}
    ec2.authorize_security_group_ingress(
        GroupId=tasks, IpPermissions=[{"IpProtocol": "tcp", **pair}]
    )
    operator = make(ServiceSecurityGroupId=tasks)
    network = operator.stage.network
    vpc = ec2.describe_subnets(SubnetIds=network["subnets"][:1])["Subnets"][0]["VpcId"]
    result = elb.create_load_balancer(
        Name=operator.stage.service, Subnets=network["subnets"], SecurityGroups=[front]
    )["LoadBalancers"][0]
    target = elb.create_target_group(
        Name=operator.stage.service,
        Protocol="HTTP",
        Port=80,
        VpcId=vpc,
        TargetType="ip",
        HealthCheckPath="/healthz",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
        UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(
        LoadBalancerArn=result["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": target}],
    )
    operator.stage.specify_container(healthCheck=None)
    balancer = {
        "targetGroupArn": target,
        "containerName": operator.stage.service,
        "containerPort": 3000,
    }
    operator.stage.specify(
        serviceDefinition={
            **operator.stage.spec()["serviceDefinition"],
            "loadBalancers": [balancer],
            "healthCheckGracePeriodSeconds": 3600,
        },
        url=f"http://{result['DNSName']}",
        preset="coder",
    )
    assert operator.stage.deployed("1.0.0").status == "SUCCEEDED"
    return operator, {"front": front, "tasks": tasks, "pair": pair, "target": target, **result}


def test_behind_a_load_balancer(
    balanced: tuple[Operator, dict[str, Any]], eyes: Mapping[str, str]
) -> None:
    operator, created = balanced
    stage = operator.stage
    elb, ec2 = stage.aws.client("elbv2"), stage.aws.client("ec2")
    code, result = looked(operator, **eyes)
    assert (code, wrong(result)) == (0, {})
    assert {check["name"] for check in result} >= {"targets", "target group", "answers"}
    assert warnings(result) == ["first user"]

    ec2.revoke_security_group_ingress(
        GroupId=created["tasks"], IpPermissions=[{"IpProtocol": "tcp", **created["pair"]}]
    )
    elb.modify_target_group(TargetGroupArn=created["target"], HealthCheckPath="/nowhere")
    for _ in range(60):
        output = elb.describe_target_health(TargetGroupArn=created["target"])
        states = [entry["TargetHealth"] for entry in output["TargetHealthDescriptions"]]
        if any(state.get("Reason") == "Target.ResponseCodeMismatch" for state in states):
            break
        time.sleep(0.5)
    bad = wrong(looked(operator)[1])
    assert {"security group", "targets"} <= bad.keys()
    assert "404" in bad["targets"]["finding"]
    assert created["front"] in bad["security group"]["finding"]

    elb.modify_target_group(TargetGroupArn=created["target"], HealthCheckPath="/healthz")
    looked(operator, "--fix", "--yes")
    (rule,) = rules(stage, created["tasks"])
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [created["front"]]


def test_a_name_that_leads_nowhere_and_a_certificate_that_waits(
    balanced: tuple[Operator, dict[str, Any]], eyes: Mapping[str, str]
) -> None:
    operator, created = balanced
    stage, acm = operator.stage, operator.stage.aws.client("acm")
    host = f"{stage.service}.example.test"
    stage.specify(url=f"https://{host}")
    acm.request_certificate(DomainName=host, ValidationMethod="DNS")
    bad = wrong(looked(operator, **eyes)[1])
    assert {"certificate", "domain"} <= bad.keys()
    assert created["DNSName"] in str(bad["domain"]["fix"])

    route53 = stage.aws.client("route53")
    zone = route53.create_hosted_zone(Name="example.test", CallerReference=stage.service)
    target = {
        "HostedZoneId": created["CanonicalHostedZoneId"],
        "DNSName": created["DNSName"],
        "EvaluateTargetHealth": False,
    }
    record = {"Name": host, "Type": "A", "AliasTarget": target}
    route53.change_resource_record_sets(
        HostedZoneId=zone["HostedZone"]["Id"],
        ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]},
    )
    _, result = looked(operator, **eyes)
    (domain,) = (check for check in result if check["name"] == "domain")
    assert domain["state"] == "warning", "Route 53 is right, and this machine does not ask it"


# What runs ---------------------------------------------------------------------------------------


def test_a_release_that_crashed_says_why(live: Operator) -> None:
    live.stage.deployed("1.1.0", fault="exit-at-start")
    code, result = looked(live)
    bad = wrong(result)
    assert (code, set(bad)) == (3, {"last release"})
    assert "exited with 3" in str(live.stage.records()[-1]["diagnosis"]["stops"])
    assert "crash" in bad["last release"]["finding"]
    assert any("exits at start" in line for line in bad["last release"]["evidence"])
    assert bad["last release"]["fix"][0] == live.stage.records()[-1]["diagnosis"]["advice"]


def test_tasks_that_do_not_stay_say_why(live: Operator) -> None:
    """A JSON object in the place of the URL, and the task is started anew."""
    stage, ecs = live.stage, live.stage.aws.client("ecs")
    stage.specify(preset="coder")
    stage.aws.client("secretsmanager").put_secret_value(
        SecretId=secret(stage), SecretString=json.dumps({"CODER_PG_CONNECTION_URL": "x"})
    )
    (task,) = ecs.list_tasks(cluster=stage.cluster, serviceName=stage.service)["taskArns"]
    ecs.stop_task(cluster=stage.cluster, task=task)
    for _ in range(120):
        ended = ecs.list_tasks(
            cluster=stage.cluster, serviceName=stage.service, desiredStatus="STOPPED"
        )["taskArns"]
        if len(ended) > 2:
            break
        time.sleep(0.25)
    code, result = looked(live)
    bad = wrong(result)
    assert code == 3
    assert {"tasks", "database URL"} <= bad.keys()
    assert "exited with 1" in bad["tasks"]["finding"]
    assert any("connect to postgres failed" in line for line in bad["tasks"]["evidence"])
    assert "JSON" in bad["database URL"]["finding"]
    assert "CODER_PG" not in str(bad["database URL"]), "what is in a secret is not told"


def test_coder_that_keeps_its_data_inside_the_task(operator: Operator) -> None:
    """The wrong variable, in a task definition that somebody registered by hand."""
    stage, ecs = operator.stage, operator.stage.aws.client("ecs")
    stage.specify_definition("secrets")
    stage.specify(preset="coder")
    assert stage.deployed("1.0.0").status == "SUCCEEDED"
    bad = wrong(looked(operator)[1])
    assert bad.keys() == {"log", "variables"}
    assert "built-in-database" in bad["log"]["finding"]

    ran = stage.described()["taskDefinition"]
    definition = ecs.describe_task_definition(taskDefinition=ran)["taskDefinition"]
    (first,) = definition["containerDefinitions"]
    first["environment"].append({"name": "CODER_POSTGRES_URL", "value": "postgres://db/coder"})
    wanted = ("family", "networkMode", "cpu", "memory", "executionRoleArn", "taskRoleArn")
    theirs = ecs.register_task_definition(
        **{name: definition[name] for name in wanted},
        containerDefinitions=[first],
        requiresCompatibilities=["FARGATE"],
    )["taskDefinition"]["taskDefinitionArn"]
    ecs.update_service(cluster=stage.cluster, service=stage.service, taskDefinition=theirs)
    _, result = looked(operator)
    bad = wrong(result)
    assert "environment CODER_POSTGRES_URL" in bad["drift"]["finding"]
    message = [c["finding"] for c in result if c["name"] == "variables that run"]
    assert any("CODER_POSTGRES_URL" in text for text in message)


def test_the_names_are_those_of_the_fork(operator: Operator, tmp_path: Path) -> None:
    stage = operator.stage
    environment = {"CODER_HTTP_ADDRESS": "0.0.0.0:3000", "CODER_ACCESS_URL": "http://x.test"}
    stage.specify_container(environment=environment)
    stage.specify(preset="coder")
    assert looked(operator)[0] == 0
    golden = tmp_path / "cli/testdata/coder_server_--help.golden"
    assert operator.run("doctor", "--checkout", str(tmp_path)).returncode == 2
    golden.parent.mkdir(parents=True)
    golden.write_text(
        "      --access-url url, $WORKBENCH_ACCESS_URL\n"
        "      --http-address string, $CODER_HTTP_ADDRESS (default: 127.0.0.1:3000)\n"
        "      --postgres-url string, $CODER_PG_CONNECTION_URL\n"
    )
    bad = wrong(looked(operator, "--checkout", str(tmp_path))[1])
    assert bad.keys() == {"variables"}
    assert "WORKBENCH_ACCESS_URL" in bad["variables"]["finding"]


def test_an_image_that_cannot_be_pulled_any_more(live: Operator) -> None:
    stage = live.stage
    arm = {"operatingSystemFamily": "LINUX", "cpuArchitecture": "ARM64"}
    stage.specify_definition(runtimePlatform=arm)
    assert "linux/amd64" in wrong(looked(live)[1])["image"]["finding"]
    digest = stage.records()[-1]["digest"]
    stage.aws.client("ecr").batch_delete_image(
        repositoryName=stage.service, imageIds=[{"imageDigest": digest}]
    )
    assert "gone" in wrong(looked(live)[1])["image"]["finding"]


def test_a_build_that_failed(operator: Operator) -> None:
    stage = operator.stage
    assert stage.ended(stage.upload(b"no archive", "source.zip")).status == "FAILED"
    code, result = looked(operator)
    assert (code, set(wrong(result))) == (3, {"last build"})


# Who looks ---------------------------------------------------------------------------------------


def user(stage: Stage, *actions: str) -> Mapping[str, str]:
    """The credentials of a person who may do these actions."""
    iam = stage.aws.client("iam")
    name = f"{stage.service}-person"
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    iam.put_user_policy(
        UserName=name,
        PolicyName="may",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    return credentials(iam.create_access_key(UserName=name)["AccessKey"])


def test_what_may_not_be_looked_at_is_a_warning(live: Operator) -> None:
    may = ("cloudformation:DescribeStacks", "ssm:GetParametersByPath")
    code, result = looked(live, **user(live.stage, *may))
    assert (code, wrong(result)) == (0, {})
    unseen = {c["name"] for c in result if c["state"] == "warning"}
    assert unseen >= {"records", "service", "network", "cluster", "dead letters", "lock"}


def test_credentials_that_are_no_good(live: Operator) -> None:
    code, result = looked(live, AWS_ACCESS_KEY_ID="AKIA0000000000000000", AWS_SECRET_ACCESS_KEY="x")
    assert (code, set(wrong(result))) == (3, {"credentials"})


def test_a_stack_that_is_not_there(operator: Operator) -> None:
    code, result = looked(operator, "--stack", "nowhere")
    assert (code, set(wrong(result))) == (3, {"deployer"})


def test_a_spec_with_a_wrong_name(operator: Operator) -> None:
    stage = operator.stage
    arn = stage.aws.client("secretsmanager").describe_secret(SecretId=secret(stage))["ARN"]
    stage.specify_container(secrets={"CODER_POSTGRES_URL": arn})
    stage.specify(preset="coder")
    code, result = looked(operator)
    assert (code, set(wrong(result))) == (3, {"deployer"})
    assert "CODER_PG_CONNECTION_URL" in wrong(result)["deployer"]["finding"]


def test_schedules_are_shown_and_their_drift_is_named(
    live: Operator, eyes: Mapping[str, str]
) -> None:
    nightly = {"schedule": "cron(0 3 1 1 ? *)", "timezone": "Europe/Berlin", "command": ["tidy"]}
    yearly = {"schedule": "cron(0 4 1 1 ? *)", "command": ["report", "--token=abcdefgh12345678"]}

    def drift() -> list[str]:
        _, result = looked(live, **eyes)
        checks = [check for check in result if check["name"] == "schedules"]
        assert checks
        return [check["finding"] for check in checks if check["state"] != "ok"]

    live.stage.specify(schedules={"nightly": nightly})
    assert drift() == ["schedule nightly is missing"]
    planned = live.output("deploy", "1.0.0", "--dry-run")
    assert planned["schedules"] == {
        "nightly": "would be created: cron(0 3 1 1 ? *) Europe/Berlin, 'tidy'"
    }
    shown = live.run("deploy", "1.0.0", "--dry-run").stdout
    assert "nightly: would be created" in shown
    assert live.run("restart").returncode == 0  # it applies the spec
    assert drift() == []
    revision = live.stage.records()[-1]["taskDefinition"].rpartition("/")[2]
    assert live.output("status")["schedules"] == [
        {
            "name": "nightly",
            "schedule": "cron(0 3 1 1 ? *)",
            "timezone": "Europe/Berlin",
            "command": "tidy",
            "taskDefinition": revision,
            "enabled": True,
        }
    ]
    line = f"nightly: cron(0 3 1 1 ? *) Europe/Berlin, 'tidy' on {revision}"
    assert line in live.run("status").stdout
    more = {"nightly": {**nightly, "command": ["tidy", "--all"]}, "yearly": yearly}
    live.stage.specify(schedules=more)
    assert drift() == [
        "schedule nightly runs 'tidy', and the spec says 'tidy --all'",
        "schedule yearly is missing",
    ]
    planned = live.output("deploy", "1.0.0", "--dry-run")
    assert planned["schedules"]["yearly"].endswith("'report --token=***'")

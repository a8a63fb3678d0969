"""The demo's service and the deployer, deployed into a running local AWS, and what one does with
them: push a release, watch the execution that it starts, read the records.

The templates are the real ones; only the values here are the demo's.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from secrets import token_urlsafe
from typing import Any, Literal

from boto3.dynamodb.types import TypeDeserializer

from cli.executions import Execution, look
from demo import ROOT, package
from demo import oci as image
from demo.image import demo_release
from local_aws.aws import LocalAws

# The container's health check runs inside the container, where curl may be missing.
HEALTH_CHECK = (
    "python3 -ISc \"import http.client as h; c = h.HTTPConnection('localhost', 3000, timeout=2);"
    " c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)\""
)
VERIFY = {
    "path": "/healthz",
    "version": {"path": "/healthz", "header": "X-Coder-Build-Version", "match": "build"},
    "unchanged": [
        {"path": "/api/v2/buildinfo", "field": "deployment_id"},
        {"path": "/api/v2/users/first"},
    ],
}

_value = TypeDeserializer().deserialize


class StageError(RuntimeError):
    """What was waited for did not come; the message says what was seen instead."""


@dataclass
class Stage:
    """One service and a deployer for it. Made by `set_up`, or `attach` to one that is there."""

    aws: LocalAws
    service: str
    cluster: str
    stack: str
    port: int = 3000
    _outputs: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def set_up(
        cls,
        aws: LocalAws,
        service: str = "demo",
        *,
        kept: bool = False,
        patterns: str | None = None,
        database: bool = False,
        parameters: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> "Stage":
        """Deploy the surroundings and the deployer.

        kept        take what `sam` made of these sources before, where it is still there.
        patterns    which services the deployer may deploy, for more than this one (see `beside`);
                    None allows just this one.
        database    make the service's database an RDS instance; otherwise it is a file.
        parameters  more of the deployer's, such as the repository whose pushes are built.
        say         called with what comes next, for a person who waits.
        """
        stage = cls(aws, service, service, "deployer")
        if database:
            say("RDS: an instance for PostgreSQL")
            stage.make_database()
        values = {
            "ServicePattern": patterns or service,
            "ClusterName": service,
            "DatabasePattern": patterns or f"{service}*",
            **(parameters or {}),
        }
        if kept:
            stage._create(stage._surroundings())
            package.deploy(aws, stage.stack, values)
            return stage
        say("sam build: the functions and their layer")
        built = aws.build(ROOT / "template.yaml", aws.directory / "build")
        say("sam deploy: cluster, repository, roles and the service spec")
        aws.deploy(
            f"{service}-service", ROOT / "infrastructure/service.yaml", stage._surroundings()
        )
        say("sam deploy: the deployer")
        aws.deploy(stage.stack, built, values)
        return stage

    def beside(self, service: str, **parameters: str) -> "Stage":
        """Another service in the same cluster, deployed by the same deployer.

        parameters  of infrastructure/service.yaml, other than the demo's.
        """
        other = Stage(self.aws, service, self.cluster, self.stack)
        other._create({**other._surroundings(), "ClusterName": self.cluster, **parameters})
        return other

    def plain(self, service: str) -> "Stage":
        """A web application beside this one, of which nothing is asked but a 200 at port 8080."""
        other = self.beside(
            service,
            ContainerPort="8080",
            Database="none",
            DatabaseUrlSecretArn="",
            Environment="{}",
            HealthCheck="null",
            Strategy="rolling",
            Verify=json.dumps({"path": "/"}),
        )
        ec2 = self.aws.client("ec2")
        for group in self.network["securityGroups"]:
            rule = {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "CidrIp": "0.0.0.0/0"}
            ec2.authorize_security_group_ingress(GroupId=group, **rule)
        return other

    def _create(self, values: Mapping[str, str]) -> None:
        """The service's stack."""
        template = (ROOT / "infrastructure/service.yaml").read_text()
        capabilities = ["CAPABILITY_NAMED_IAM"]
        package.create(
            self.aws,
            f"{self.service}-service",
            values,
            TemplateBody=template,
            Capabilities=capabilities,
        )

    def _surroundings(self) -> dict[str, str]:
        """What the team would have already: a network, and a database with its URL as a secret."""
        ec2, secrets = self.aws.client("ec2"), self.aws.client("secretsmanager")
        vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
        of_vpc = {"Name": "vpc-id", "Values": [vpc["VpcId"]]}
        default = {"Name": "group-name", "Values": ["default"]}
        groups = ec2.describe_security_groups(Filters=[of_vpc, default])["SecurityGroups"]
        ec2.authorize_security_group_ingress(
            GroupId=groups[0]["GroupId"],
            IpProtocol="tcp",
            FromPort=3000,
            ToPort=3000,
            CidrIp="0.0.0.0/0",
        )
        subnets = [s["SubnetId"] for s in ec2.describe_subnets(Filters=[of_vpc])["Subnets"]]
        database = self.aws.directory / "state" / f"{self.service}.db"
        name = f"{self.service}/database-url"
        try:
            secret = secrets.describe_secret(SecretId=name)["ARN"]
        except secrets.exceptions.ResourceNotFoundException:
            secret = secrets.create_secret(Name=name, SecretString=f"file://{database}")["ARN"]
        health_check = {"command": ["CMD-SHELL", HEALTH_CHECK], "interval": 5, "timeout": 3}
        return {
            "ServiceName": self.service,
            "Application": "web",
            "Exposure": "public-ip",
            "SubnetIds": ",".join(subnets[:2]),
            "ServiceSecurityGroupId": groups[0]["GroupId"],
            "TimeoutSeconds": "60",
            "Environment": json.dumps({"CODER_HTTP_ADDRESS": "0.0.0.0:3000"}),
            "Database": "existing",
            "DatabaseUrlName": "CODER_PG_CONNECTION_URL",
            "DatabaseUrlSecretArn": secret,
            "HealthCheck": json.dumps(health_check),
            "Verify": json.dumps(VERIFY),
        }

    def create_instance(self, name: str, **settings: Any) -> None:
        """Begin to create a PostgreSQL instance in RDS."""
        self.aws.client("rds").create_db_instance(
            DBInstanceIdentifier=name,
            Engine="postgres",
            DBInstanceClass="db.t4g.micro",
            AllocatedStorage=20,
            MasterUsername="app",
            **{"MasterUserPassword": "not-a-secret", **settings},
        )

    def make_database(self) -> str:
        """Make an RDS instance for the service, and the secret with its URL, which its stack takes
        instead of a file's. The instance's name. Call it before `beside`."""
        rds, name, password = self.aws.client("rds"), f"{self.service}-db", token_urlsafe()
        self.create_instance(name, MasterUserPassword=password, DBName="app")
        rds.get_waiter("db_instance_available").wait(
            DBInstanceIdentifier=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
        )
        result = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["Endpoint"]
        if result["Address"] == "localhost":
            raise StageError(f"no PostgreSQL can run here; {self.aws.log} says why")
        address = f"{result['Address']}:{result['Port']}"
        self.aws.client("secretsmanager").create_secret(
            Name=f"{self.service}/database-url",
            SecretString=f"postgresql://app:{password}@{address}/app?sslmode=require",
        )
        return name

    def end(self) -> None:
        """Stop the service's tasks: their health checks cost a process each second."""
        ecs = self.aws.client("ecs")
        with contextlib.suppress(ecs.exceptions.ServiceNotFoundException):
            ecs.delete_service(cluster=self.cluster, service=self.service, force=True)

    @property
    def outputs(self) -> Mapping[str, str]:
        """The outputs of the deployer's stack."""
        if not self._outputs:
            self._outputs.update(self.aws.outputs(self.stack))
        return self._outputs

    @cached_property
    def _login(self) -> tuple[str, str]:
        return image.ecr_login(self.aws.client("ecr"))

    def push(self, what: image.Manifest, tag: str | None, repository: str | None = None) -> str:
        """Push an image (or an index, or an artifact) into the service's repository.

        ECR's times are whole seconds: waits until this push is later than those before.
        Returns its digest.
        """
        user, password = self._login
        repository = repository or self.service
        pages = (
            self.aws.client("ecr")
            .get_paginator("describe_images")
            .paginate(repositoryName=repository)
        )
        pushed = [one["imagePushedAt"] for page in pages for one in page["imageDetails"]]
        while pushed and int(time.time()) <= int(max(pushed).timestamp()):
            time.sleep(0.05)
        name = f"{self.aws.registry}/{repository}"
        return image.push(what, name, tag, username=user, password=password)

    def release(self, version: str, **variant: Any) -> str:
        """Push the demo application under its version as tag; see `demo_release`."""
        return self.push(demo_release(version, **variant), version.replace("+", "-"))

    def start(self, request: Any, machine: str = "StateMachine") -> str:
        """Start an execution by hand; its ARN."""
        started = self.aws.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs[machine], input=json.dumps(request)
        )
        return str(started["executionArn"])

    def executions(self, machine: str = "StateMachine") -> list[str]:
        """The ARNs of all executions, newest first, of the machine that an output names."""
        pages = self.aws.client("stepfunctions").get_paginator("list_executions")
        return [
            str(result["executionArn"])
            for page in pages.paginate(stateMachineArn=self.outputs[machine])
            for result in page["executions"]
        ]

    def own_executions(self) -> list[str]:
        """The ARNs of the deploy machine's executions, newest first, without those that name
        another service: the reconciler starts such a recovery at any time."""
        return [
            arn
            for arn in self.executions()
            if (given := self._input(arn)) and given.get("service", self.service) == self.service
        ]

    def _input(self, arn: str) -> dict[str, Any] | None:
        """What an execution was started with, empty if that is not an object; None while a lagging
        read does not show it yet."""
        sfn = self.aws.client("stepfunctions")
        try:
            given = json.loads(sfn.describe_execution(executionArn=arn)["input"])
        except sfn.exceptions.ExecutionDoesNotExist:
            return None
        return given if isinstance(given, dict) else {}

    def started_by(self, digest: str, seconds: float = 120, machine: str = "StateMachine") -> str:
        """The ARN of the execution that the push of a digest started, as soon as there is one; not
        of the push of the same content into another service's repository."""
        for _ in _until(seconds):
            for arn in self.executions(machine):
                given = self._input(arn)
                if given is None or digest not in json.dumps(given):
                    continue
                pushed_to = (given.get("detail") or {}).get("repository-name")
                if pushed_to in (None, self.service):
                    return arn
        raise StageError(f"no execution was started by the push of {digest} within {seconds} s")

    def upload(self, content: bytes, name: str) -> str:
        """Upload a source archive of the service; the ARN of the execution that it starts."""
        answer = self.aws.client("s3").put_object(
            Bucket=self.outputs["SourceBucket"], Key=f"image/{self.service}/{name}", Body=content
        )
        return self.started_by(answer["VersionId"], machine="BuildStateMachine")

    def reconcile(self) -> dict[str, Any]:
        """The clock's round, now; what the reconciler did."""
        answer = self.aws.client("lambda").invoke(
            FunctionName=self.outputs["ReconcileFunctionName"],
            Payload=json.dumps({"detail-type": "Scheduled Event"}),
        )
        done: dict[str, Any] = json.loads(answer["Payload"].read())
        return done

    def builds(self) -> list[dict[str, Any]]:
        """The records of the service's builds, in the order in which they were started."""
        return self.records(f"build:{self.service}")

    def spec(self) -> dict[str, Any]:
        """The service spec, as it lies in the parameter store."""
        result = self.aws.client("ssm").get_parameter(Name=f"/deployer/services/{self.service}")
        spec: dict[str, Any] = json.loads(result["Parameter"]["Value"])
        return spec

    def specify(self, **fields: Any) -> None:
        """Change fields of the service spec."""
        self.aws.client("ssm").put_parameter(
            Name=f"/deployer/services/{self.service}",
            Value=json.dumps(self.spec() | fields),
            Overwrite=True,
        )

    @property
    def network(self) -> dict[str, Any]:
        """The tasks' network in the service spec, as ECS's `awsvpcConfiguration`."""
        definition = self.spec()["serviceDefinition"]
        network: dict[str, Any] = definition["networkConfiguration"]["awsvpcConfiguration"]
        return network

    def specify_network(self, **fields: Any) -> None:
        """Change fields of the tasks' network in the service spec."""
        network = {"awsvpcConfiguration": self.network | fields}
        definition = self.spec()["serviceDefinition"]
        self.specify(serviceDefinition={**definition, "networkConfiguration": network})

    def specify_container(self, **fields: Any) -> None:
        """Change fields of what the service spec lays over the container."""
        self.specify(override=self.spec()["override"] | fields)

    def specify_definition(self, *without: str, **fields: Any) -> None:
        """Write the task definition into the service spec, with fields changed, and the container
        without some."""
        result = self.aws.client("ecs").describe_task_definition(taskDefinition=self.service)
        (container,) = result["taskDefinition"]["containerDefinitions"]
        override = self.spec()["override"]
        given = [{"name": name, "value": value} for name, value in override["environment"].items()]
        kept = (
            *("family", "networkMode", "requiresCompatibilities", "cpu", "memory"),
            *("executionRoleArn", "taskRoleArn", "runtimePlatform"),
        )
        whole = {**container, "environment": given, "healthCheck": override["healthCheck"]}
        left = {name: value for name, value in whole.items() if value and name not in without}
        definition = {name: result["taskDefinition"][name] for name in kept}
        self.specify(
            taskDefinition={**definition, "containerDefinitions": [left], **fields}, override=None
        )

    def look(self, arn: str) -> Execution:
        """An execution as it stands."""
        return look(self.aws.client("stepfunctions"), arn)

    def follow(self, arn: str, seconds: float = 300) -> Iterator[Execution]:
        """An execution whenever it entered another state, until it ends."""
        seen = -1
        for _ in _until(seconds):
            try:
                now = self.look(arn)
            except self.aws.client("stepfunctions").exceptions.ExecutionDoesNotExist:
                continue  # not yet: reads may lag (shims/lags.py)
            if len(now.states) > seen or now.status != "RUNNING":
                seen = len(now.states)
                yield now
            if now.status != "RUNNING":
                return
        raise StageError(f"{arn} still runs after {seconds} s: {self.look(arn).path}")

    def ended(self, arn: str, seconds: float = 300) -> Execution:
        """An execution when it has ended."""
        *_, last = self.follow(arn, seconds)
        return last

    def deployed(self, version: str, **variant: Any) -> Execution:
        """Push a release and wait for the execution that it starts to end."""
        return self.ended(self.started_by(self.release(version, **variant)))

    def records(self, service: str | None = None) -> list[dict[str, Any]]:
        """The records of a service's releases, in the order in which they were started."""
        releases = [item for item in self.items(service) if not item["id"].startswith("#")]
        return sorted(releases, key=lambda record: str(record["startedAt"]))

    def recorded(self, execution: str) -> dict[str, Any]:
        """The record of an execution, of whichever service; {} before there is one."""
        items = self._read(
            "scan",
            FilterExpression="#execution = :execution",
            ExpressionAttributeNames={"#execution": "execution"},
            ExpressionAttributeValues={":execution": {"S": execution}},
        )
        return next((item for item in items if not item["id"].startswith("#")), {})

    def items(self, service: str | None = None) -> list[dict[str, Any]]:
        """All items of a service: releases, and what else is kept of it under names with `#`."""
        return self._read(
            "query",
            KeyConditionExpression="service = :service",
            ExpressionAttributeValues={":service": {"S": service or self.service}},
        )

    def _read(self, operation: Literal["query", "scan"], **request: Any) -> list[dict[str, Any]]:
        paginator = self.aws.client("dynamodb").get_paginator(operation)
        table = self.outputs["ReleasesTable"]
        return [
            {name: _value(entry) for name, entry in item.items()}
            for page in paginator.paginate(TableName=table, ConsistentRead=True, **request)
            for item in page["Items"]
        ]

    def record(self, digest: str, service: str | None = None) -> dict[str, Any]:
        """The one record of a digest."""
        records = [r for r in self.records(service) if r.get("digest") == digest]
        if len(records) != 1:
            raise StageError(f"{len(records)} records of {digest}, not one: {records}")
        return records[0]

    def described(self) -> dict[str, Any]:
        """The ECS service; {} before it is created."""
        result = self.aws.client("ecs").describe_services(
            cluster=self.cluster, services=[self.service]
        )
        return dict(next(iter(result["services"]), {}))


def _until(seconds: float, between: float = 0.2) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(between)

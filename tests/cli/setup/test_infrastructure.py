"""The real templates through the real command: from nothing to a URL behind the load balancer."""

import http.client
import json
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import ROOT
from demo.site import DocsSite, tar_gz
from demo.stage import Stage
from local_aws.aws import LocalAws
from tests.cli.setup.conftest import Checkout
from tests.workflow.test_docs import sources

NAME, DOMAIN = "coder", "coder.example.test"
STACKS = [
    f"{NAME}-network",
    f"{NAME}-database",
    f"{NAME}-load-balancer",
    f"{NAME}-docs",
    f"{NAME}-service",
    "deployer",
    f"{NAME}-monitoring",
]
CODE = ("buildspecs", "functions", "infrastructure", "layers", "statemachine")


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    hurry = {"ECS_HEALTH_CHECK_SCALE": "0.2", "ELB_TIME_SCALE": "0.2"}
    with LocalAws.start(settings=hurry) as running:
        yield running


@pytest.fixture(scope="module")
def project(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The checkout as it is, with settings of its own."""
    root = tmp_path_factory.mktemp("checkout")
    for name in CODE:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, root)
    return Checkout(root, NAME, aws)


@pytest.fixture(scope="module")
def shipped() -> dict[str, str]:
    """The settings that a new checkout begins with."""
    text = (ROOT / "environments" / "default.yaml").read_text()
    given = {name: str(value) for name, value in yaml.safe_load(text).items()}
    return {"DeployerStack": "deployer"} | given


def actions(message: dict[str, Any]) -> dict[str, str]:
    return {stack["stack"]: stack["action"] for stack in message["stacks"]}


def test_from_nothing_to_https_and_on_and_away(
    project: Checkout, aws: LocalAws, shipped: dict[str, str], tmp_path: Path
) -> None:
    zone = aws.client("route53").create_hosted_zone(Name="example.test", CallerReference="test")
    settings = shipped | {
        "DomainName": DOMAIN,
        "HostedZoneId": zone["HostedZone"]["Id"].rpartition("/")[2],
    }
    project.write(**settings)
    result = project.output("--mode", "infrastructure", "--yes")
    assert actions(result) == dict.fromkeys(STACKS, "created")

    # Of the passwords nothing is told anywhere.
    secrets = aws.client("secretsmanager")
    url = secrets.get_secret_value(SecretId=f"{NAME}/database-url")["SecretString"]
    assert url.startswith("postgresql://app:") and url.endswith("/app?sslmode=require")
    cloudformation = aws.client("cloudformation")
    password = url.split(":")[2].split("@")[0]
    for stack in cloudformation.describe_stacks()["Stacks"]:
        assert password not in json.dumps(stack, default=str)
        template = cloudformation.get_template(StackName=stack["StackName"])["TemplateBody"]
        assert password not in json.dumps(template, default=str)

    # A push goes live behind the load balancer, under the name, over TLS, on the real database.
    stage = Stage(aws, NAME, NAME, "deployer")
    first = stage.deployed("1.0.0")
    assert first.status == "SUCCEEDED", (first.error, first.cause)
    (record,) = stage.records()
    assert (record["outcome"], record["url"]) == ("SUCCEEDED", f"https://{DOMAIN}")
    assert asked(aws, 443) == (200, "v1.0.0")
    status, location = asked(aws, 80)
    assert (status, location.removesuffix("/").removesuffix(":443/healthz")) == (
        301,
        f"https://{DOMAIN}",
    )

    # Again: nothing changes. Then all at once: what may change does, and the data stays; an image
    # goes live, and the documentation is published.
    assert actions(project.output("--mode", "infrastructure")) == dict.fromkeys(STACKS, "unchanged")
    project.write(**settings | {"Memory": "8192", "DatabaseBackupDays": "14"})
    stage.release("1.1.0")
    docs = tmp_path / "docs.tar.gz"
    docs.write_bytes(tar_gz(sources(pages=3)))
    every = ("--yes", "--allow-replace", "--image", "1.1.0", "--docs", str(docs))
    changed = project.output("--mode", "full", *every)
    assert {name for name, action in actions(changed).items() if action == "updated"} == {
        f"{NAME}-database",
        f"{NAME}-service",
    }
    assert changed["application"]["url"] == f"https://{DOMAIN}"
    site = DocsSite(replace(stage, service=f"docs:{NAME}"), NAME)
    assert changed["docs"]["url"] == site.url
    assert "This is index." in site.get("/").text
    blueprint = aws.client("ecs").describe_task_definition(taskDefinition=NAME)["taskDefinition"]
    variables = blueprint["containerDefinitions"][0]["environment"]
    assert {"name": "CODER_DOCS_URL", "value": site.outputs["Url"]} in variables
    assert asked(aws, 443) == (200, "v1.1.0")
    assert record["probes"] == stage.records()[-1]["probes"], "the deployment id is another one"
    definition = stage.described()["taskDefinition"]
    task = aws.client("ecs").describe_task_definition(taskDefinition=definition)["taskDefinition"]
    assert task["memory"] == "8192"

    # Away, but for the data.
    removed = project.run("--remove", "--yes", "--allow-replace")
    assert removed.returncode == 0, removed.stderr
    assert names(aws) & {*STACKS} == set()
    rds = aws.client("rds")
    assert rds.describe_db_instances()["DBInstances"] == []
    (snapshot,) = rds.describe_db_snapshots(DBInstanceIdentifier=f"{NAME}-db")["DBSnapshots"]
    assert snapshot["Status"] == "available"
    assert aws.client("ecr").describe_images(repositoryName=NAME)["imageDetails"]


@pytest.mark.walk
def test_with_what_the_team_has_already(
    project: Checkout, aws: LocalAws, shipped: dict[str, str]
) -> None:
    """A network, a cluster, a repository and a database, and no load balancer."""
    name, ec2 = "shop", aws.client("ec2")
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    of_vpc = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = [s["SubnetId"] for s in ec2.describe_subnets(Filters=of_vpc)["Subnets"]][:2]
    aws.client("ecs").create_cluster(clusterName="theirs")
    aws.client("ecr").create_repository(repositoryName="theirs/shop")
    secret = aws.client("secretsmanager").create_secret(
        Name="theirs", SecretString="postgresql://app:x@db.example.test:5432/app"
    )
    project.write(
        DeployerStack="",
        ServiceName=name,
        ServicePattern=name,
        Application="web",
        Exposure="public-ip",
        VpcId=vpc["VpcId"],
        VpcCidr=vpc["CidrBlock"],
        SubnetIds=",".join(subnets),
        ClusterName="theirs",
        RepositoryName="theirs/shop",
        RepositoryPattern="theirs/shop",
        Database="existing",
        DatabaseUrlSecretArn=secret["ARN"],
        DocsUrl="https://docs.example.test",
    )
    (project.root / "environments" / "default.yaml").rename(project.root / "environments/own.yaml")
    result = project.output("--environment", "own", "--mode", "infrastructure", "--yes")
    assert actions(result) == dict.fromkeys(
        [f"{name}-network", f"{name}-service", "deployer-own", f"{name}-monitoring"], "created"
    )
    output = json.loads(spec(aws, name))
    assert (output["cluster"], output["repository"]) == ("theirs", "theirs/shop")
    network = output["serviceDefinition"]["networkConfiguration"]["awsvpcConfiguration"]
    assert network["subnets"] == subnets
    group = ec2.describe_security_groups(GroupIds=network["securityGroups"])
    assert group["SecurityGroups"][0]["VpcId"] == vpc["VpcId"]
    blueprint = aws.client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]
    (container,) = blueprint["containerDefinitions"]
    assert container["secrets"] == [{"name": "DATABASE_URL", "valueFrom": secret["ARN"]}]


def spec(aws: LocalAws, service: str) -> str:
    """The service spec that the service's stack wrote."""
    response = aws.client("ssm").get_parameter(Name=f"/deployer/services/{service}")
    return str(response["Parameter"]["Value"])


def names(aws: LocalAws) -> set[str]:
    """The stacks that are there."""
    return {s["StackName"] for s in aws.client("cloudformation").describe_stacks()["Stacks"]}


def asked(aws: LocalAws, port: int) -> tuple[int, str]:
    """What the service's name answers there: the status, and the version or where to go."""
    host, real = aws.locate(DOMAIN, port)
    trust = ssl.create_default_context(cafile=str(aws.authority))
    connection = (
        _Named(host, real, context=trust) if port == 443 else http.client.HTTPConnection(host, real)
    )
    connection.request("GET", "/healthz", headers={"Host": DOMAIN})
    answer = connection.getresponse()
    answer.read()
    output = answer.headers.get("X-Coder-Build-Version", answer.headers.get("Location", ""))
    connection.close()
    return answer.status, output.partition("+")[0]


class _Named(http.client.HTTPSConnection):
    """Asks for the service's name, wherever it is."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=DOMAIN)

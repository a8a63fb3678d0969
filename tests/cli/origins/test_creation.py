"""What a new service needs is found in the account where it is unambiguous, and never guessed."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

from cli.aws import Account
from cli.command import Call
from cli.commands import init
from cli.errors import CommandFailed
from cli.origins import creation
from cli.origins.account import Surroundings
from cli.origins.application import Application
from cli.origins.creation import Options
from cli.screen import Screen
from cli.specfile import wrong_fields

NOTHING = Options(
    cluster=None,
    repository=None,
    tags="v.*",
    port=None,
    exposure=None,
    health_path=None,
    target_group=None,
    url=None,
    subnets=(),
    groups=(),
    role=None,
    secrets={},
)
DEPLOYER = {"ServicePattern": "shop*", "ClusterName": "web"}
LATER = "arn:aws:secretsmanager:us-east-1:123456789012:secret:elsewhere-AbCdEf"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account with a default VPC and the cluster `web`."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "false")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "false")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(Surroundings, "_of_stacks", lambda self: [])  # moto needs more for stacks
    with mock_aws():
        made = Account(region="us-east-1")
        made.as_default()
        made.client("ecs").create_cluster(clusterName="web")
        yield made


def around(account: Account, *answers: str, **changes: Any) -> Surroundings:
    replies = list(answers)

    def ask(question: str, names: Sequence[str]) -> str | None:
        answer = replies.pop(0) if replies else None
        assert answer is None or answer in names, (question, names)
        return answer

    parameters = changes.pop("parameters", DEPLOYER)
    return Surroundings(account, changes.pop("service", "shop"), parameters, ask)


def web(**changes: Any) -> Application:
    return Application("shop", "Dockerfile", ports=[8080], **changes)


def test_a_web_application_in_an_account_with_one_of_each(account: Account) -> None:
    found = around(account)
    made = creation.document(web(), found, replace(NOTHING, exposure="public-ip"))
    assert (found.problems, wrong_fields(made)) == ([], [])
    assert (made["cluster"], made["repository"], made["verify"]) == ("web", "shop", {"path": "/"})
    vpc = made["serviceDefinition"]["networkConfiguration"]["awsvpcConfiguration"]
    assert vpc["assignPublicIp"] == "ENABLED" and vpc["subnets"] and vpc["securityGroups"]
    assert {check.name for check in found.missing} == {"roles", "repository"}
    facts = dict(found.facts)
    assert "default VPC" in facts["network"] and "to be created" in facts["role"]


def test_what_is_ambiguous_is_all_asked_for_at_once(account: Account) -> None:
    account.client("ecs").create_cluster(clusterName="other")
    found = around(account, parameters=None)
    several = Application("shop", "x", ports=[80, 8080], secrets=["API_TOKEN"])
    assert creation.document(several, found, NOTHING) == {}
    told = " ".join(found.problems)
    for option in ("--cluster", "--port", "API_TOKEN", "create-secret"):
        assert option in told, option
    assert not creation.document(web(), answered := around(account, parameters=None), NOTHING)
    assert "--exposure" in " ".join(answered.problems)


def test_what_the_user_answers_is_taken(account: Account) -> None:
    account.client("ecs").create_cluster(clusterName="other")
    found = around(account, "8080", "internal", "other", parameters=None)
    two = Application("shop", "x", ports=[80, 8080])
    made = creation.document(two, found, NOTHING)
    assert (found.problems, made["cluster"]) == ([], "other")
    (container,) = made["taskDefinition"]["containerDefinitions"]
    assert [m["containerPort"] for m in container["portMappings"]] == [8080, 80]
    assert "verify" not in made


def test_an_internal_service_is_verified_where_the_deployer_is_in_the_vpc(
    account: Account,
) -> None:
    inside = {**DEPLOYER, "VerifySubnetIds": "subnet-1,subnet-2"}
    application = web()
    application.check(["CMD-SHELL", "curl -f http://localhost:8080/up"], {"interval": 5})
    options = replace(NOTHING, exposure="internal")
    made = creation.document(application, around(account, parameters=inside), options)
    assert made["verify"] == {"path": "/up"}


def test_a_worker_has_neither_port_nor_address(account: Account) -> None:
    found = around(account)
    made = creation.document(web(), found, replace(NOTHING, port=0))
    (container,) = made["taskDefinition"]["containerDefinitions"]
    assert container["portMappings"] == [{"containerPort": 8080}], "it may be a metrics port"
    assert not {"verify", "url"} & made.keys()
    refused = around(account)
    worker = Application("shop", "x")
    creation.document(worker, refused, replace(NOTHING, exposure="public-ip"))
    assert "--port" in refused.problems[0]


def test_further_services_share_what_is_around_the_first(account: Account) -> None:
    token = account.client("secretsmanager").create_secret(Name="shop/API_TOKEN", SecretString="x")
    application = web(secrets=["API_TOKEN"], before=["migrate", "up"])
    worker = Application("worker", "compose.yaml", {"command": ["work"]}, cpu=512, count=2)
    worker.secrets = ["API_TOKEN"]
    mailer = Application("mailer", "compose.yaml", secrets=["MAIL_PASSWORD"])
    application.further = {"work_er": worker, "mailer": mailer}
    found = around(account)
    options = replace(NOTHING, exposure="public-ip", secrets={"MAIL_PASSWORD": LATER})
    made = creation.document(application, found, options)
    assert (found.problems, wrong_fields(made)) == ([], [])
    assert made["before"] == {"command": ["migrate", "up"]}
    first, second = made["services"]
    assert (first["service"], second["service"]) == ("shop-worker", "shop-mailer")
    task, service = first["taskDefinition"], first["serviceDefinition"]
    assert (task["cpu"], task["memory"], service["desiredCount"]) == ("512", "1024", 2)
    assert task["executionRoleArn"] == made["taskDefinition"]["executionRoleArn"]
    network = "networkConfiguration"
    assert service[network] == made["serviceDefinition"][network]
    (container,) = task["containerDefinitions"]
    assert (container["name"], container["command"]) == ("shop-worker", ["work"])
    assert container["secrets"] == [{"name": "API_TOKEN", "valueFrom": token["ARN"]}]
    assert container["logConfiguration"]["options"]["awslogs-group"] == "/ecs/shop"
    (container,) = second["taskDefinition"]["containerDefinitions"]
    assert [secret["name"] for secret in container["secrets"]] == ["MAIL_PASSWORD"]


def test_what_all_services_lack_is_told_once(account: Account) -> None:
    application, found = web(), around(account)
    application.further = {"worker": Application("worker", "compose.yaml")}
    made = creation.document(application, found, replace(NOTHING, exposure="public-ip"))
    lacks = [check.finding for check in creation.lacking(made, found)]
    assert len([finding for finding in lacks if "/ecs/shop does not exist" in finding]) == 1


def test_a_further_service_that_the_deployer_may_not_touch_or_fargate_not_hold_is_reported(
    account: Account,
) -> None:
    application = web()
    application.further = {"worker": Application("worker", "compose.yaml")}
    exact = around(account, parameters={**DEPLOYER, "ServicePattern": "shop"})
    creation.document(application, exact, replace(NOTHING, exposure="public-ip"))
    (check,) = (c for c in exact.missing if c.name == "deployer")
    assert "service shop-worker" in check.finding and "family shop-worker" in check.finding
    other = around(account, parameters={**DEPLOYER, "ServicePattern": "web"})
    creation.document(application, other, replace(NOTHING, exposure="public-ip"))
    (check,) = (c for c in other.missing if c.name == "deployer")
    assert "service shop " in check.finding and "service shop-worker " in check.finding
    application.further["worker"].memory = 200_000
    large = around(account)
    assert not creation.document(application, large, replace(NOTHING, exposure="public-ip"))
    assert any(problem.startswith("shop-worker: ") for problem in large.problems)


def balanced(account: Account, name: str, *protocols: tuple[str, int]) -> str:
    """Make a target group behind a load balancer in the default VPC."""
    elb, ec2 = account.client("elbv2"), account.client("ec2")
    subnets = ec2.describe_subnets()["Subnets"]
    balancer = elb.create_load_balancer(Name=name, Subnets=[s["SubnetId"] for s in subnets])
    arn = balancer["LoadBalancers"][0]["LoadBalancerArn"]
    group = elb.create_target_group(
        Name=name, TargetType="ip", Protocol="HTTP", Port=8080, VpcId=subnets[0]["VpcId"]
    )["TargetGroups"][0]["TargetGroupArn"]
    for protocol, port in protocols:
        certificate = account.client("acm").request_certificate(DomainName="shop.example.com")
        certificates = [{"CertificateArn": certificate["CertificateArn"]}]
        elb.create_listener(
            LoadBalancerArn=arn,
            Protocol=protocol,
            Port=port,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
            **({"Certificates": certificates} if protocol == "HTTPS" else {}),
        )
    return str(group)


def test_a_service_joins_the_only_target_group_that_is_free(account: Account) -> None:
    group = balanced(account, "shop", ("HTTP", 80))
    found = around(account)
    application = web()
    application.check(["CMD", "true"], {"interval": 5, "retries": 2})
    made = creation.document(application, found, replace(NOTHING, exposure="load-balancer"))
    assert (found.problems, wrong_fields(made)) == ([], [])
    (balancer,) = made["serviceDefinition"]["loadBalancers"]
    assert balancer == {"targetGroupArn": group, "containerName": "shop", "containerPort": 8080}
    assert made["serviceDefinition"]["healthCheckGracePeriodSeconds"] == 10
    assert made["url"].startswith("http://shop-")


def test_a_url_with_tls_and_one_of_several_target_groups_are_named(account: Account) -> None:
    balanced(account, "secure", ("HTTP", 80), ("HTTPS", 443))
    balanced(account, "plain", ("HTTP", 80))
    found = around(account)
    creation.document(web(), found, replace(NOTHING, exposure="load-balancer"))
    assert "plain, secure" in found.problems[0]
    without = around(account)
    creation.document(web(), without, replace(NOTHING, target_group="secure"))
    assert "--url" in without.problems[0]
    named = replace(NOTHING, target_group="secure", url="https://shop.example.com")
    made = creation.document(web(), around(account), named)
    assert made["url"] == "https://shop.example.com"
    missing = around(account)
    creation.document(web(), missing, replace(NOTHING, target_group="nobody"))
    assert "there is no nobody" in missing.problems[0]


def test_secrets_are_found_by_their_name_or_given(account: Account) -> None:
    secret = account.client("secretsmanager").create_secret(
        Name="shop/API_TOKEN", SecretString="hunter2"
    )
    application = web(secrets=["API_TOKEN", "LATER_TOKEN"])
    options = replace(NOTHING, exposure="public-ip", secrets={"LATER_TOKEN": LATER})
    made = creation.document(application, around(account), options)
    (container,) = made["taskDefinition"]["containerDefinitions"]
    assert {s["name"]: s["valueFrom"] for s in container["secrets"]} == {
        "API_TOKEN": secret["ARN"],
        "LATER_TOKEN": LATER,
    }


@pytest.mark.parametrize(
    ("cpu", "memory", "size"),
    [
        (0, 0, ("256", "512")),
        (100, 2049, ("512", "3072")),
        (1500, 100, ("2048", "4096")),
        (16384, 122880, ("16384", "122880")),
    ],
)
def test_limits_become_the_next_size_of_fargate(
    account: Account, cpu: int, memory: int, size: tuple[str, str]
) -> None:
    options = replace(NOTHING, exposure="public-ip")
    made = creation.document(web(cpu=cpu, memory=memory), around(account), options)
    assert (made["taskDefinition"]["cpu"], made["taskDefinition"]["memory"]) == size


def test_what_is_larger_than_fargate_or_not_the_deployers_is_reported(account: Account) -> None:
    large = around(account)
    options = replace(NOTHING, exposure="public-ip")
    assert creation.document(web(cpu=20000), large, options) == {}
    assert "16384" in large.problems[0]
    strange = around(account, service="mailer")
    creation.document(web(), strange, options)
    (check,) = (c for c in strange.missing if c.name == "deployer")
    assert "ServicePattern (shop*)" in check.finding


def options() -> dict[str, Any]:
    """The options of the command that only a new service has, as click hands them over."""
    names = {"groups": "security_groups", "role": "execution_role"}
    given = asdict(NOTHING)
    return {names.get(n, n): v for n, v in given.items() if n not in ("cluster", "tags")}


def called(account: Account) -> Call:
    """A call of the command in the account, whose deployer is there."""
    call = Call(None, "us-east-1", "deployer", None, False)
    target = SimpleNamespace(parameters=DEPLOYER, environment=None)
    call.__dict__ |= {"account": account, "target": target}
    return call


def test_services_that_run_the_same_image_are_adopted_together(
    account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ecs, registry = account.client("ecs"), "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    for name, image in (("shop", "shop"), ("worker", "shop"), ("cron", "shop"), ("db", "other")):
        container = {"name": "app", "image": f"{registry}/{image}:1", "memory": 512}
        ecs.register_task_definition(family=name, containerDefinitions=[container])
        ecs.create_service(cluster="web", serviceName=name, taskDefinition=name, desiredCount=1)
    call, file = called(account), tmp_path / "deployer.yaml"
    init._adopt(call, "web", "shop", None, ("worker",), "v.*", file)
    written = yaml.safe_load(file.read_text())
    assert written.keys() == {"service", "cluster", "repository", "tags", "services"}
    assert written["services"] == [{"service": "worker"}]
    assert wrong_fields(written) == []
    shown = capsys.readouterr().out
    assert "--with worker,cron" in shown and "db" not in shown

    for other in ("db", "nobody", "shop"):
        with pytest.raises(CommandFailed, match=other) as refused:
            init._adopt(call, "web", "shop", None, ("worker", other), "v.*", file)
        assert "cron, worker" in refused.value.advice[0]


def test_what_with_does_not_mean_is_reported_and_nothing_written(
    account: Account, tmp_path: Path
) -> None:
    file = tmp_path / "deployer.yaml"
    with pytest.raises(CommandFailed) as refused:
        given = {**options(), "exposure": "internal"}
        init._create(called(account), web(), None, ("worker",), "v.*", file, True, given)
    assert any("--with: worker" in line for line in refused.value.advice)
    assert not file.exists()


def test_where_nothing_is_there_three_answers_make_a_spec(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["shop", "8080", "public-ip"]
    monkeypatch.setattr(Screen, "ask", lambda self, question: answers.pop(0))
    monkeypatch.setattr(Call, "interactive", True)
    call, file = called(account), tmp_path / "deployer.yaml"
    init._create(call, init._asked(call, None), None, (), "v.*", file, False, options())
    assert (answers, yaml.safe_load(file.read_text())) == ([], call.result["spec"])
    assert call.result["spec"]["service"] == "shop"
    assert {check["name"] for check in call.result["missing"]} >= {"roles", "log group"}

    monkeypatch.setattr(Call, "interactive", False)
    with pytest.raises(CommandFailed, match="neither a compose file nor a Dockerfile"):
        init._asked(call, None)

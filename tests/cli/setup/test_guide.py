"""The questions of the first time: each kind of application is asked what matters for it, and what
is answered makes stacks."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence

import pytest
from botocore.stub import Stubber

from cli.aws import Account
from cli.screen import Screen
from demo import ROOT
from deployer.check import OK, WARNING, Check
from setup import guide, settings
from setup.infrastructure import Infrastructure
from setup.settings import Project
from setup.stacks import State
from tests.cli.setup.conftest import infrastructure

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/url-AbCdEf"
REAL = Project(ROOT)  # this checkout's own templates and settings


class Person(Screen):
    """A screen with somebody before it, who answers what is asked in turn."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        super().__init__(io.StringIO())
        self.answers, self.asked = list(answers.items()), list[str]()

    def ask(self, question: str) -> str:
        self.asked.append(question)
        about, answer = self.answers.pop(0)
        shown = self.console.file.getvalue() + question  # type: ignore[attr-defined]
        assert about in shown.rpartition("\n\n")[2], (about, shown[-600:])
        return answer


@pytest.fixture(autouse=True)
def empty(account: Account) -> Iterator[None]:
    """An account that has neither zones nor a VPC."""
    with Stubber(account.client("route53")) as route53, Stubber(account.client("ec2")) as ec2:
        zones = {"HostedZones": [], "Marker": "", "IsTruncated": False, "MaxItems": "1"}
        route53.add_response("list_hosted_zones", zones)
        ec2.add_response("describe_vpcs", {"Vpcs": []})
        yield


CODER = {
    "What kind": "1",
    "ServiceName": "team",
    "DomainName": "",
    "PostgreSQL": "1",
    "documentation site": "2",
}
WEB = {
    "What kind": "2",
    "ServiceName": "shop",
    "ContainerPort": "8080",
    "HealthCheckPath": "/",
    "size of a task": "1",
    "DomainName": "",
    "PostgreSQL": "1",
    "documentation site": "1",
}
WORKER = {
    "What kind": "3",
    "ServiceName": "mailer",
    "HealthCheck": '{"command": ["CMD", "true"]}',
    "size of a task": "2",
    "PostgreSQL": "3",
    "DatabaseUrlSecretArn": SECRET,
}


@pytest.mark.parametrize(
    ("answers", "needed", "some"),
    [
        (
            CODER,
            ["network", "database", "load-balancer", "service", "deployer", "monitoring", "docs"],
            {"ServiceName": "team", "ServicePattern": "team"},
        ),
        (
            WEB,
            ["network", "load-balancer", "service", "deployer", "monitoring"],
            {"Application": "web", "Strategy": "rolling", "ContainerPort": "8080", "Cpu": "256"},
        ),
        (
            WORKER,
            ["network", "service", "deployer", "monitoring"],
            {"Exposure": "none", "Database": "existing", "DocsUrl": "none", "Memory": "1024"},
        ),
    ],
    ids=["Coder", "web", "worker"],
)
def test_a_kind_is_asked_what_matters_for_it_and_makes_stacks(
    account: Account, answers: Mapping[str, str], needed: Sequence[str], some: Mapping[str, str]
) -> None:
    person, given = Person(answers), settings.load(REAL.file)
    chosen = guide.kind(person, REAL.parameters, "as it is")
    output = guide.ask(person, account, REAL, given, [], first=True, chosen=chosen)
    assert person.answers == []
    message = person.console.file.getvalue()  # type: ignore[attr-defined]
    network, *_, docs = REAL.stacks({})
    about = network.parameters["ServiceName"].description
    assert about in message and about != docs.parameters["ServiceName"].description
    assert some.items() <= output.items()
    effective = settings.effective(given | output, REAL.parameters)
    stacks = REAL.stacks(given | output)
    assert [stack.kind for stack in settings.needed(stacks, effective)] == needed
    assert settings.problems(given | output, stacks, REAL.file, "us-east-1") == []


def test_coder_again_after_a_worker(account: Account) -> None:
    given = settings.load(REAL.file)
    for answers in (WORKER, CODER):
        with Stubber(account.client("ec2")) as ec2, Stubber(account.client("route53")):
            ec2.add_response("describe_vpcs", {"Vpcs": []})
            person = Person(answers)
            chosen = guide.kind(person, REAL.parameters)
            output = guide.ask(person, account, REAL, given, [], first=True, chosen=chosen)
        given = given | output
    assert given["Application"] == "coder"
    assert settings.problems(given, REAL.stacks(given), REAL.file, "us-east-1") == []


def test_the_settings_may_stay_as_they_are() -> None:
    assert guide.kind(Person({"as it is": "4"}), REAL.parameters, "as it is") is None
    assert guide.kind(Person({}), {}) is None  # templates that know one kind only


# Before the last question ------------------------------------------------------------------------


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("live", [True, False])
def test_what_will_exist_what_it_costs_and_what_was_checked_is_said(
    account: Account, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    given = settings.load(REAL.file)
    effective = settings.effective(given, REAL.parameters)
    kinds = [stack.kind for stack in settings.needed(REAL.stacks(given), effective)]
    result: Infrastructure = infrastructure(account, *kinds, ServiceName="coder")
    stream = _Terminal() if live else io.StringIO()
    result.screen = Screen(stream, width=80)
    result.values = effective
    result.checked = [Check("names", OK, "12"), Check("CloudFront", WARNING, "perhaps")]
    result._show_plan(
        {
            kind: State("s", status="CREATE_COMPLETE" if kind == "network" else None)
            for kind in kinds
        }
    )
    shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())  # without colours
    message = " ".join(shown.split())
    assert "PostgreSQL and its secrets" in message
    assert "about 35 minutes, and $134.14 a month before any use" in message
    assert "Checked: names. Warnings, see above: CloudFront." in message
    table = shown if live else shown.partition("Together")[0]  # a pipe's lines are not wrapped
    assert max(map(len, table.splitlines())) <= 80
    assert (result.plan["minutes"], result.plan["dollars"]) == (35, 134.14)

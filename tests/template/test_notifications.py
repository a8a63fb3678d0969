"""What the notifications' stack sends of an event: its patterns, paths, inputs and state machine,
evaluated, and taken by the stand-ins.

The patterns, paths and inputs are read by the local AWS's EventBridge, the state machine by the
simulation's interpreter.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ministack.services import eventbridge

from deployer.notify import github
from tests.notified import GitHub, Response
from tests.simulation.asl import Machine, Run, StateError
from tests.template.cloudformation import ACCOUNT, Stack
from tests.template.test_infrastructure import ELSEWHERE, NOTIFIED
from tests.template.test_parameters import TOPIC
from tests.template.test_permissions import listed

SHA = "0123456789abcdef0123456789abcdef01234567"
EXPORTS = {**ELSEWHERE, "coder-monitoring-AlarmTopic": TOPIC}
NASTY = '"quoted" \\ <aws.events.event> {"a": 1} \n $.detail ünïcode' * 90
DOWN: Response = (500, {}, "Unicorn!")


def stack(**settings: Any) -> dict[str, Any]:
    """The resources of the stack, by logical id."""
    return Stack("notifications", {"ServiceName": "coder"} | settings, EXPORTS).resources


def event(state: str, **changes: Any) -> dict[str, Any]:
    """An event as PutEvents takes it."""
    detail: dict[str, Any] = {
        "service": "shop",
        "id": "20261123T142502Z-3f2a9c1b7d10-5fd9",
        "version": "1.2.0",
        "execution": "arn:aws:states:us-east-1:123456789012:execution:deployer-Deploy:one",
        "builtFrom": {"revision": SHA, "source": "https://github.com/team/shop"},
        "state": state,
        "reason": NASTY,
        "url": None,
    }
    detail |= changes
    detail["github"] = github.of(detail)
    return {
        "Time": 1795444156,
        "EventId": "13cde686-328b-6117-af20-0e5566167482",
        "Source": "deployer",
        "DetailType": "Release State Change",
        "Detail": json.dumps(detail),
    }


def targets(resources: Mapping[str, Any], event: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets of the rules that the event matches."""
    rules = [r for r in resources.values() if "EventPattern" in r]
    return [
        target
        for rule in rules
        if eventbridge._matches_pattern(json.dumps(rule["EventPattern"]), event)
        for target in rule["Targets"]
    ]


def chosen(target: dict[str, Any], event: dict[str, Any]) -> str:
    """What a target is given of an event."""
    view = eventbridge._pattern_event_view(event)
    if "InputTransformer" in target:
        return str(eventbridge._apply_input_transformer(target["InputTransformer"], {}, view))
    value = view.event_with_detail()
    for name in target["InputPath"].removeprefix("$.").split("."):
        value = value[name]
    return json.dumps(value)


@dataclass
class Sender:
    """EventBridge and Step Functions, as far as they send requests to GitHub."""

    github: GitHub
    resources: dict[str, Any]
    token: str = GitHub.token
    slept: list[float] = field(default_factory=list)

    @property
    def definition(self) -> dict[str, Any]:
        return dict(json.loads(self.resources["Deployments"]["DefinitionString"]))

    def send(self, event: dict[str, Any]) -> list[int]:
        """Deliver an event to its targets, once each. Returns the statuses of API destinations."""
        statuses = []
        for target in targets(self.resources, event):
            if ":api-destination/" in target["Arn"]:
                statuses.append(self._invoke(target, event))
            else:
                self.execute(json.loads(chosen(target, event)))
        return statuses

    def _invoke(self, target: dict[str, Any], event: dict[str, Any]) -> int:
        whole = eventbridge._pattern_event_view(event).event_with_detail()
        parameters = eventbridge._resolve_http_parameters(target["HttpParameters"], whole)
        request = eventbridge._build_api_destination_request(
            self.resources["CommitStatuses"], {}, parameters, chosen(target, event)
        )
        headers = {"User-Agent": "Amazon/EventBridge/ApiDestinations", **request["headers"]}
        answer = self._receive(request["method"], request["url"], headers, request["body"])
        return answer[0]

    def _receive(self, method: str, url: str, headers: dict[str, str], body: str) -> Response:
        key = self.resources["GitHub"]["AuthParameters"]["ApiKeyAuthParameters"]
        secret = "{{resolve:secretsmanager:deployer/github}}"
        assert secret in key["ApiKeyValue"], "no token is in the template"
        token = key["ApiKeyValue"].replace(secret, self.token)
        return self.github.receive(method, url, {**headers, key["ApiKeyName"]: token}, body)

    def execute(self, given: Any) -> None:
        """Run the state machine to its end. Raises StateError if it fails."""
        machine = Machine(self.definition)
        Run(machine, self, {"Id": "one", "StartTime": "now"}, given)()

    # the interpreter's host

    def integrate(self, action: str, arguments: Any, timeout: float) -> Any:
        """https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html"""
        assert action == "http:invoke" and timeout > 60  # which is the longest that it waits
        assert arguments["Authentication"] == {"ConnectionArn": "${GitHub}"}
        query = "&".join(f"{k}={v}" for k, v in arguments.get("QueryParameters", {}).items())
        url = arguments["ApiEndpoint"] + (f"?{query}" if query else "")
        headers = {"User-Agent": "Amazon|StepFunctions|HttpInvoke", **arguments["Headers"]}
        body = arguments.get("RequestBody")
        status, _, text = self._receive(
            arguments["Method"], url, headers, json.dumps(body) if body else ""
        )
        if status >= 400:
            raise StateError(f"States.Http.StatusCode.{status}", text)
        return {"StatusCode": status, "ResponseBody": json.loads(text)}

    def now_text(self) -> str:
        return "2026-11-23T14:25:04Z"

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def entered(self, name: str) -> None: ...

    def jitter(self) -> float:
        return 1.0

    def call(self, function: str, payload: bytes, timeout: float) -> Any:
        raise AssertionError(function)

    def call_back(self, function: str, arguments: Any, timeout: float) -> Any:
        raise AssertionError(function)


@pytest.fixture
def sender() -> Sender:
    resources = stack(GitHubRepositories="team/api,team/shop")
    return Sender(GitHub({"team/shop": {SHA}}), resources)


OUTCOMES = ("SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "SUPERSEDED", "HELD")


@pytest.mark.parametrize("state", OUTCOMES)
def test_a_release_sets_its_commits_status_and_becomes_a_deployment(
    sender: Sender, state: str
) -> None:
    assert sender.send(event("STARTED")) == [201]
    assert sender.github.statuses[-1]["state"] == "pending"
    assert sender.github.deployments == []
    assert sender.send(event(state, url="https://shop.example.com")) == [201]
    status, (deployment,) = sender.github.statuses[-1], sender.github.deployments
    assert (status["sha"], status["context"]) == (SHA, "deployer/shop")
    (shown,) = deployment["statuses"]
    expected = github.of(json.loads(event(state)["Detail"]))
    assert expected
    assert status["state"] == expected["commitStatus"]["state"]
    assert shown["state"] == expected["deploymentStatus"]["state"]
    assert shown["environment_url"] == "https://shop.example.com"
    assert shown["log_url"] == status["target_url"]


def test_an_event_that_comes_twice_makes_one_deployment(sender: Sender) -> None:
    for _ in range(2):
        sender.send(event("SUCCEEDED"))
    (deployment,) = sender.github.deployments
    assert [status["state"] for status in deployment["statuses"]] == ["success"] * 2


def test_the_release_that_is_replaced_becomes_inactive(sender: Sender) -> None:
    sender.send(event("SUCCEEDED", id="one"))
    sender.send(event("FAILED_ROLLED_BACK", id="two"))
    assert sender.github.deployments[0]["statuses"][-1]["state"] == "success"
    sender.send(event("SUCCEEDED", id="three"))
    assert sender.github.deployments[0]["statuses"][-1]["state"] == "inactive"


def test_a_start_that_is_not_delivered_at_once_cannot_overwrite_the_outcome() -> None:
    resources = stack(**NOTIFIED)
    ((start,), outcome) = (resources[name]["Targets"] for name in ("StartRule", "OutcomeRule"))
    assert start["RetryPolicy"]["MaximumRetryAttempts"] == 0
    assert "DeadLetterConfig" not in start
    for target in outcome:
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 86400
        assert target["DeadLetterConfig"]["Arn"].endswith(":UndeliveredStatuses")


@pytest.mark.parametrize(
    "commit",
    [
        None,
        {"revision": SHA, "source": None},
        {"revision": SHA, "source": "https://github.com/other/shop"},
        {"revision": SHA, "source": "https://gitlab.com/team/shop"},
    ],
)
def test_no_other_repositorys_commit_is_reported(sender: Sender, commit: Any) -> None:
    for state in ("STARTED", "SUCCEEDED"):
        assert sender.send(event(state, builtFrom=commit)) == []


def test_github_that_is_down_for_an_hour_gets_the_deployment_then(sender: Sender) -> None:
    sender.github.answers += [DOWN] * 7
    outcome = github.of(json.loads(event("SUCCEEDED")["Detail"]))
    sender.execute(outcome)
    assert sender.slept == [60, 120, 240, 480, 960, 1920, 3600]
    assert len(sender.github.deployments) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [("token", "401"), ("repository", "404"), ("commit", "422")],
)
def test_what_a_person_must_mend_fails_at_once_and_can_be_redriven(
    sender: Sender, fault: str, error: str
) -> None:
    outcome: Any = github.of(json.loads(event("SUCCEEDED")["Detail"]))
    repositories, token = sender.github.repositories, sender.github.token
    match fault:
        case "token":
            sender.github.token = "another, since the stack's has expired"
        case "repository":
            sender.github.repositories = {}
        case "commit":
            sender.github.repositories = {"team/shop": set()}
    machine = Machine(sender.definition)
    run = Run(machine, sender, {"Id": "one", "StartTime": "now"}, outcome)
    with pytest.raises(StateError, match=f"States.Http.StatusCode.{error}"):
        run()
    assert sender.slept == []
    sender.github.repositories, sender.github.token = repositories, token
    run()  # redriven
    assert len(sender.github.deployments) == 1


def test_one_that_stays_down_fails_after_a_day(sender: Sender) -> None:
    sender.github.answers += [DOWN] * 99
    with pytest.raises(StateError, match="500"):
        sender.execute(github.of(json.loads(event("SUCCEEDED")["Detail"])))
    assert 23 * 3600 < sum(sender.slept) < 25 * 3600
    assert sum(sender.slept) < sender.definition["TimeoutSeconds"]


# Slack and the webhook


@pytest.mark.parametrize("state", ["STARTED", *OUTCOMES])
def test_the_queue_gets_the_event_as_it_is_for_each_who_is_notified(state: str) -> None:
    resources, given = stack(Slack="true", Webhook="true"), event(state)
    messages = [json.loads(chosen(target, given)) for target in targets(resources, given)]
    assert [message["to"] for message in messages] == ["slack", "webhook"]
    for message in messages:
        assert message["event"]["detail"] == json.loads(given["Detail"])
        assert message["event"]["id"] == given["EventId"] and message["event"]["time"]


@pytest.mark.parametrize("name", ["Slack", "Webhook"])
def test_who_is_not_asked_for_is_not_notified(name: str) -> None:
    resources = stack(**{name: "true"})
    (target,) = targets(resources, event("SUCCEEDED"))
    assert target["Id"] == name
    assert not resources.keys() & {"GitHub", "Deployments", "CiRole"}


def test_a_message_is_tried_thirty_times_and_then_kept() -> None:
    resources = stack(Slack="true")
    redrive = resources["Notifications"]["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"].endswith(":UndeliveredNotifications")
    assert redrive["maxReceiveCount"] == 30
    for name in ("Notifications", "UndeliveredNotifications"):
        assert resources[name]["MessageRetentionPeriod"] == 14 * 86400


def test_the_function_and_its_queue_know_each_other(template: dict[str, Any]) -> None:
    resources = stack(Slack="true", DeployerStack="deployer-production")
    function = template["Resources"]["SendNotification"]["Properties"]

    def of_stack(text: str) -> str:
        return text.replace("${AWS::StackName}", "deployer-production")

    name = resources["Notifications"]["QueueName"]
    assert of_stack(function["Environment"]["Variables"]["QUEUE"]["Fn::Sub"]).endswith(f"/{name}")
    source = resources["NotificationSource"]
    assert source["FunctionName"] == of_stack(function["FunctionName"]["Fn::Sub"])
    assert (source["BatchSize"], source["EventSourceArn"]) == (
        1,
        f"arn:aws:sqs:us-east-1:{ACCOUNT}:Notifications",
    )
    assert resources["Notifications"]["VisibilityTimeout"] >= 6 * 50


@pytest.mark.parametrize("topic", ["", TOPIC])
def test_each_alarm_tells_the_topic_and_says_what_to_do(topic: str) -> None:
    resources = stack(**NOTIFIED, **({"AlarmTopicArn": topic} if topic else {}))
    alarms = {n: r for n, r in resources.items() if "AlarmDescription" in r}
    assert alarms.keys() == {
        *("NotificationsFail", "NotificationsAreUndelivered"),
        *("DeploymentsFail", "StatusesAreUndelivered"),
    }
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == [TOPIC]
        assert "deployer" in alarm["AlarmDescription"] and "  " not in alarm["AlarmDescription"]


# CI


@pytest.mark.parametrize(
    ("settings", "issuer"),
    [
        (
            {"GitHubSubject": "repo:team/shop:environment:production"},
            "token.actions.githubusercontent.com",
        ),
        ({"GitLabSubject": "project_path:team/shop:ref_type:tag:ref:v*"}, "gitlab.com"),
    ],
)
def test_the_role_of_ci_trusts_one_repository_and_place(
    settings: dict[str, str], issuer: str
) -> None:
    resources = stack(**settings)
    assert resources["CiProvider"]["Url"] == f"https://{issuer}"
    (trust,) = resources["CiRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {f"{issuer}:aud": "sts.amazonaws.com"},
        "StringLike": {f"{issuer}:sub": next(iter(settings.values()))},
    }


def test_a_provider_that_is_there_is_used() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
    subject = "repo:team/shop:ref:refs/heads/main"
    resources = stack(GitHubSubject=subject, CiProviderArn=arn)
    assert "CiProvider" not in resources
    (trust,) = resources["CiRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Federated": arn}


def test_the_role_of_ci_pushes_uploads_and_waits_and_nothing_else() -> None:
    resources = stack(
        GitHubSubject="repo:team/shop:environment:production", RepositoryName="apps/a"
    )
    allowed = {
        (action, resource.split(":", 5)[5] if resource != "*" else "*")
        for policy in resources["CiRole"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    assert {resource for _, resource in allowed} == {
        "*",
        "repository/apps/a",
        "deployer-sources/image/coder/*",
        "deployer-sources/docs/coder/*",
        "stack/deployer/*",
        "parameter/deployer/services",
        "table/releases",
        "table/releases/index/Standing",
        "execution:deployer-Deploy:*",
    }
    assert {action for action, resource in allowed if resource == "*"} == {
        "ecr:GetAuthorizationToken"
    }
    reads = re.compile(r"\w+:(Get|Batch|Describe|Query)")
    assert {action for action, _ in allowed if not reads.match(action)} == {
        *("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
        *("ecr:PutImage", "s3:PutObject", "s3:AbortMultipartUpload"),
    }

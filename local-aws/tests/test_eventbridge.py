"""EventBridge's deliveries to state machines and functions, and what becomes of refused ones."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws.aws import LocalAws
from local_aws.shims.eventbridge import execution_name
from support import Function, Json, Machines, packed, succeed


class Rule:
    """A rule on an event of its own, with a state machine as its target."""

    def __init__(self, machines: Machines, name: str, **target: Any) -> None:
        self.machines, self.name, self.events = machines, name, machines.aws.client("events")
        self.machine = machines.make({"Done": succeed()})
        pattern = {"source": ["test"], "detail-type": [name]}
        self.arn = self.events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
        self.aim(Arn=self.machine, **target)

    def aim(self, **target: Any) -> None:
        answer = self.events.put_targets(Rule=self.name, Targets=[{"Id": "machine", **target}])
        assert answer["FailedEntryCount"] == 0

    def emit(self) -> str:
        entry = {"Source": "test", "DetailType": self.name, "Detail": '{"n": 1}'}
        return str(self.events.put_events(Entries=[entry])["Entries"][0]["EventId"])

    def executions(self) -> list[Json]:
        return list(self.machines.sfn.list_executions(stateMachineArn=self.machine)["executions"])

    def remove(self) -> None:
        self.events.remove_targets(Rule=self.name, Ids=["machine"])
        self.events.delete_rule(Name=self.name)


@pytest.fixture
def rule(machines: Machines, name: str) -> Iterator[Rule]:
    role = machines.make_role("events.amazonaws.com", "states:StartExecution", "*")
    result = Rule(machines, name, RoleArn=role)
    yield result
    result.remove()


def test_a_rule_starts_an_execution_named_after_the_event(rule: Rule) -> None:
    event = rule.emit()
    (execution,) = rule.executions()
    assert execution["name"].startswith(f"{event}_")
    assert len(execution["name"]) <= 80
    given = json.loads(rule.machines.ended(execution["executionArn"])["input"])
    assert (given["id"], given["detail"]) == (event, {"n": 1})


def test_an_event_delivered_twice_starts_one_execution(rule: Rule) -> None:
    """A second delivery would ask for the same name, which exists."""
    event = rule.emit()
    (execution,) = rule.executions()
    assert execution["name"] == execution_name(event, rule.arn, "machine")
    rule.machines.ended(execution["executionArn"])
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        rule.machines.sfn.start_execution(stateMachineArn=rule.machine, name=execution["name"])
    assert rule.emit() != event
    assert len(rule.executions()) == 2


def test_the_rules_role_has_to_allow_the_start(machines: Machines, rule: Rule) -> None:
    for role in (
        machines.make_role("events.amazonaws.com", "states:StartExecution", "*:other"),
        machines.make_role("states.amazonaws.com", "states:StartExecution", "*"),
        "arn:aws:iam::000000000000:role/gone",
    ):
        rule.aim(Arn=rule.machine, RoleArn=role)
        rule.emit()
    assert rule.executions() == []


def test_the_role_is_for_the_rule_that_it_trusts(machines: Machines, rule: Rule) -> None:
    def role(**trusted: Json) -> str:
        return machines.make_role("events.amazonaws.com", "states:StartExecution", "*", **trusted)

    rule.aim(Arn=rule.machine, RoleArn=role(ArnEquals={"aws:SourceArn": f"{rule.arn}-other"}))
    rule.emit()
    rule.aim(Arn=rule.machine, RoleArn=role(StringEquals={"aws:SourceAccount": "123456789012"}))
    rule.emit()
    assert rule.executions() == []
    rule.aim(
        Arn=rule.machine,
        RoleArn=role(
            StringEquals={"aws:SourceAccount": "000000000000"},
            ArnEquals={"aws:SourceArn": rule.arn},
        ),
    )
    rule.emit()
    assert len(rule.executions()) == 1


def test_a_function_has_to_let_the_rule_in(
    aws: LocalAws, machines: Machines, rule: Rule, name: str
) -> None:
    """The function's own log tells for which events it ran."""
    function = Function(aws, name, packed(app="def handler(e, c): print('ran', e['id'])"))
    arn = f"arn:aws:lambda:{aws.region}:{aws.account}:function:{name}"
    permission = {"Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com"}
    rule.aim(Arn=arn)

    rule.emit()
    function.client.add_permission(
        FunctionName=name, StatementId="other", SourceArn=f"{rule.arn}-other", **permission
    )
    rule.emit()
    function.client.add_permission(
        FunctionName=name, StatementId="rule", SourceArn=rule.arn, **permission
    )
    event = rule.emit()
    logs, group = aws.client("logs"), f"/aws/lambda/{name}"

    def written() -> list[str]:
        try:
            result = logs.filter_log_events(logGroupName=group, filterPattern='"ran"')
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [entry["message"] for entry in result["events"]]

    machines.until(written)
    assert written() == [f"ran {event}"]

"""What GitHub, Slack and a webhook get of a release: taken by stand-ins that refuse what the real
ones refuse, whatever is in the release; and what becomes of what they refuse."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

import send_notification
from deployer import http
from deployer.aws import sqs
from deployer.deploy.verification import Answer
from deployer.errors import NotificationFailed
from deployer.notify import delivery, github, slack, webhook
from tests.cli.test_nextstep import understood
from tests.notified import GitHub, Receiver, Response, Slack
from tests.unit.conftest import Clock

SHA = "0123456789abcdef0123456789abcdef01234567"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:deployer-Deploy:one"
STATES = ("STARTED", "SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "SUPERSEDED", "HELD")
NASTY = '<!channel> & "quoted" \\ ```code``` *bold* \n\u2028 ünïcode ✓ ' + "x" * 4000
URL = "https://hooks.slack.com/services/T0/B0/x"


def detail(**changes: Any) -> dict[str, Any]:
    return {
        "service": "shop",
        "id": "20261123T142502Z-3f2a9c1b7d10-5fd9",
        "version": "1.2.0",
        "digest": "sha256:abc",
        "trigger": "push",
        "startedBy": "push",
        "startedAt": "2026-11-23T14:25:04.123+00:00",
        "execution": EXECUTION,
        "builtFrom": {"revision": SHA, "source": "https://github.com/team/shop"},
        "state": "FAILED_ROLLED_BACK",
        "reason": "the tasks stopped: exit code 1",
        "url": None,
    } | changes


def event(**changes: Any) -> dict[str, Any]:
    own = detail(**changes)
    return {
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "time": "2026-11-23T14:29:16Z",
        "detail": own | {"github": github.of(own)},
    }


def record(number: int, outcome: str = "FAILED_ROLLED_BACK", **changes: Any) -> Any:
    return {
        "service": "shop",
        "id": f"release-{number:04}",
        "version": f"1.{number}.0",
        "trigger": "push",
        "startedAt": f"2026-11-23T14:{number // 60:02}:{number % 60:02}",
        "endedAt": f"2026-11-23T15:{number // 60:02}:{number % 60:02}",
        "outcome": outcome,
        "diagnosis": {"error": "RolloutFailed", "kind": "crash"},
    } | changes


# GitHub


@pytest.mark.parametrize("reason", ["", "short", NASTY])
@pytest.mark.parametrize("state", STATES)
def test_github_takes_every_state(state: str, reason: str) -> None:
    standin = GitHub({"team/shop": {SHA}})
    result = github.of(detail(state=state, reason=reason, url="https://shop.example.com"))
    assert result and result["repository"] == "team/shop"
    headers = {"Authorization": f"Bearer {standin.token}", "User-Agent": "test"}
    base = "https://api.github.com/repos/team/shop"
    for path, body in (
        (f"/statuses/{SHA}", result["commitStatus"]),
        ("/deployments", result["deployment"]),
        ("/deployments/1/statuses", result["deploymentStatus"]),
    ):
        status, _, text = standin.receive("POST", base + path, headers, json.dumps(body))
        assert status == 201, text
    assert standin.statuses[0]["target_url"].endswith(EXECUTION)


def test_github_shows_a_release_by_its_outcome_and_a_skipped_one_as_inactive() -> None:
    shown = {}
    for state in STATES:
        result = github.of(detail(state=state))
        assert result
        shown[state] = (result["commitStatus"]["state"], result["deploymentStatus"]["state"])
    assert shown == {
        "STARTED": ("pending", "in_progress"),
        "SUCCEEDED": ("success", "success"),
        "FAILED": ("failure", "failure"),
        "FAILED_ROLLED_BACK": ("failure", "failure"),
        "SUPERSEDED": ("success", "inactive"),
        "HELD": ("success", "inactive"),
    }
    skipped = github.of(detail(state="SUPERSEDED", reason="1.3.0 was pushed"))
    assert skipped
    assert skipped["commitStatus"]["description"] == (
        "Skipped: shop 1.2.0 was superseded by a newer one: 1.3.0 was pushed"
    )


def test_two_deployers_do_not_share_a_context() -> None:
    production = github.of(detail(execution=EXECUTION.replace("deployer-", "deployer-production-")))
    default = github.of(detail())
    assert production and default
    assert production["commitStatus"]["context"] == "deployer-production/shop"
    assert default["commitStatus"]["context"] == default["deployment"]["environment"]


@pytest.mark.parametrize(
    "commit",
    [
        None,
        {"revision": SHA, "source": None},
        {"revision": SHA, "source": "https://gitlab.com/team/shop"},
        {"revision": SHA, "source": "https://github.com/team"},
        {"revision": SHA, "source": "https://github.com/team/shop/../../other"},
        {"revision": SHA, "source": "https://github.com.example.com/team/shop"},
    ],
)
def test_a_commit_that_is_not_on_github_is_not_reported(commit: Any) -> None:
    assert github.of(detail(builtFrom=commit)) is None


# Slack


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "HELD"])
@given(reason=st.text(max_size=5000), who=st.text(max_size=300), version=st.text(max_size=200))
def test_slack_takes_every_message(state: str, reason: str, who: str, version: str) -> None:
    standin = Slack()
    message = slack.message(
        event(
            state=state,
            reason=reason,
            startedBy=who,
            version=version,
            url="https://shop.example.com/?a=1&b=<2>|3",
            serves={"what": f"1.1.0 {who}", "verified": True},
        ),
        [],
    )
    assert standin.receive("POST", URL, {}, json.dumps(message)) == (200, {}, "ok")


def test_a_message_says_what_a_person_needs() -> None:
    message = slack.message(event(serves={"what": "1.1.0", "verified": True}), [])
    assert message and message["text"] == "shop 1.2.0 failed and was rolled back"
    title, cause, facts, command = (block["text"]["text"] for block in message["blocks"])
    assert title == ":large_orange_circle: *shop 1.2.0 failed and was rolled back*"
    assert cause == "```the tasks stopped: exit code 1```"
    assert facts.startswith("by push · took 4 min 12 s · serves 1.1.0 · <https://us-east-1.console")
    assert command == f"```deployer history {detail()['id']} --service shop```"


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "HELD"])
@pytest.mark.parametrize("stack", ["deployer", "deployer-production"])
def test_the_command_of_a_message_is_one(state: str, stack: str) -> None:
    execution = EXECUTION.replace("deployer-", f"{stack}-")
    message = slack.message(event(state=state, execution=execution), [])
    assert message
    command = message["blocks"][-1]["text"]["text"].strip("`")
    understood(command.split())
    assert ("--stack deployer-production" in command) == (stack != "deployer")


@pytest.mark.parametrize("state", ["STARTED", "SUPERSEDED"])
def test_what_nobody_can_act_on_is_no_message(state: str) -> None:
    assert slack.message(event(state=state), []) is None


def heard(records: list[Any]) -> list[str]:
    """What Slack hears of these outcomes, one after the other."""
    texts = []
    for count in range(1, len(records) + 1):
        past, own = records[:count][::-1], records[count - 1]
        message = slack.message(
            event(id=own["id"], version=own["version"], state=own["outcome"]), past
        )
        texts += [message["text"]] if message else []
    return texts


def test_the_same_failure_in_a_row_is_said_once_and_then_counted() -> None:
    texts = heard([record(0, "SUCCEEDED"), *(record(n) for n in range(1, 101))])
    assert texts[1] == "shop 1.1.0 failed and was rolled back"
    assert texts[2].endswith(", 2 times in a row for the same cause")
    assert [text.split(", ")[1].split(" ")[0] for text in texts[2:]] == [
        *("2", "4", "8", "16", "32", "64")
    ]


def test_another_cause_is_said_and_so_is_the_end_of_the_failures() -> None:
    other: dict[str, Any] = {
        "diagnosis": {"error": "RolloutFailed", "kind": "database-unreachable"}
    }
    texts = heard(
        [
            *(record(1), record(2), record(3), record(4, **other)),
            record(5, "SUPERSEDED"),
            *(record(6, "SUCCEEDED"), record(7), record(8, "HELD"), record(9, "HELD")),
            record(10, "HELD", diagnosis=None),
        ]
    )
    assert texts == [
        "shop 1.1.0 failed and was rolled back",
        "shop 1.2.0 failed and was rolled back, 2 times in a row for the same cause",
        "shop 1.4.0 failed and was rolled back",
        "shop 1.6.0 is live, after 4 that failed",
        "shop 1.7.0 failed and was rolled back",
        "shop 1.8.0 is held back",
        "shop 1.9.0 is held back, 2 times in a row for the same cause",
        "shop 1.10.0 is held back",
    ]


def test_releases_that_ended_later_do_not_count() -> None:
    """A message that is sent an hour late says what it would have said in time."""
    records = [record(n) for n in (4, 3, 2, 1)]
    message = slack.message(event(id="release-0001", version="1.1.0"), records)
    assert message and message["text"] == "shop 1.1.0 failed and was rolled back"


def test_what_has_no_record_is_said() -> None:
    unread = dict.fromkeys(("id", "version", "digest", "trigger", "startedBy", "builtFrom"))
    message = slack.message(event(**unread, service="repository:shop", state="FAILED"), [])
    assert message and Slack().receive("POST", URL, {}, json.dumps(message))[0] == 200
    assert "deployer " not in json.dumps(message)


# Webhooks


def test_a_signature_is_that_of_the_specification() -> None:
    """Its test vector: https://github.com/standard-webhooks/standard-webhooks/tree/main/libraries"""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = webhook.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key]
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_key_is_replaced_without_a_gap() -> None:
    receiver, new = Receiver(), base64.b64encode(b"n" * 32).decode()
    secret = json.dumps({"url": "https://example.com", "keys": [f"whsec_{new}", receiver.key]})
    request = delivery.request("webhook", secret, event(reason=NASTY), [], 0)
    assert request
    for key in (receiver.key, f"whsec_{new}"):
        receiver.key = key
        arrived = receiver.receive("POST", "", request.headers, request.body.decode())
        assert arrived[0] == 204


def test_a_webhook_gets_the_event_as_it_is() -> None:
    body = json.loads(webhook.body(event(reason=NASTY)))
    assert body == {
        "type": "release.failed_rolled_back",
        "timestamp": "2026-11-23T14:29:16Z",
        "data": detail(reason=NASTY),
    }


# Secrets, answers and the next attempt

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize(
    ("to", "secret"),
    [
        ("slack", ""),
        ("slack", "http://hooks.slack.com/services/T0/B0/hunter2"),
        ("slack", "https://"),
        ("slack", "https://hooks.slack.com/hunter2\nX-Header: 1"),
        ("webhook", "https://example.com/hunter2"),
        ("webhook", '["hunter2"]'),
        ("webhook", '{"url": "https://hunter2.example.com"}'),
        ("webhook", json.dumps({"url": "http://hunter2.example.com", "keys": [KEY]})),
        ("webhook", json.dumps({"url": "https://hunter2.example.com", "keys": []})),
        ("webhook", json.dumps({"url": "https://hunter2.example.com", "keys": ["whsec_short"]})),
        ("webhook", json.dumps({"url": "https://hunter2.example.com", "keys": "hunter2"})),
        ("webhook", json.dumps({"url": 5, "keys": [KEY]})),
        ("github", "hunter2"),
        ("github", f"Bearer ghp_{'1' * 36}"),
        ("github", f"ghp_{'1' * 36}\n"),
    ],
)
def test_a_wrong_secret_is_refused_without_being_shown(to: str, secret: str) -> None:
    problem = delivery.invalid(to, secret)
    assert problem and "must be" in problem and "hunter2" not in problem


@pytest.mark.parametrize(
    ("to", "secret"),
    [
        ("slack", f"{URL}\n"),
        ("webhook", json.dumps({"url": "https://example.com/hook?a=1", "keys": [f"whsec_{KEY}"]})),
        ("github", f"github_pat_{'a1_' * 20}"),
        ("github", f"ghp_{'1' * 36}"),
    ],
)
def test_a_good_secret_is_taken(to: str, secret: str) -> None:
    assert delivery.invalid(to, secret) is None


def answer(status: int, body: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, body.encode())


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (answer(200, "ok"), None),
        (answer(204), None),
        (None, "did not answer"),
        (answer(302), "answered 302: redirects are not followed"),
        (answer(401, "invalid_token"), "answered 401: the secret may have expired: invalid_token"),
        (answer(404, "no_service"), "answered 404: the address is not there: no_service"),
        (answer(429), "answered 429: too many requests"),
        (answer(500, "x" * 900), f"answered 500: {'x' * 200}"),
    ],
)
def test_a_refusal_is_said_plainly(response: Answer | None, why: str | None) -> None:
    assert delivery.refusal(response) == why


def test_attempts_go_on_for_a_day_and_no_sooner_than_the_target_wants() -> None:
    pauses = [delivery.pause(attempt) for attempt in range(1, 30)]
    assert pauses[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert 23 * 3600 < sum(pauses) < 25 * 3600
    assert delivery.pause(1, answer(429, retry_after="30")) == 60
    assert delivery.pause(1, answer(429, retry_after="600")) == 600
    assert delivery.pause(9, answer(503, retry_after="600")) == 3600
    assert delivery.pause(1, answer(429, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")) == 60
    assert delivery.pause(1, answer(429, retry_after="999999")) < 43_200  # SQS's longest


# The function, with SQS and Secrets Manager


@dataclass
class Sending:
    """The function, its queue, and who is notified. A message is delivered as Lambda does."""

    queue: str
    dead: str
    context: Any
    monkeypatch: pytest.MonkeyPatch
    clock: Clock = field(default_factory=Clock)
    logged: list[str] = field(default_factory=list)

    def to(self, target: Any, name: str, secret: str) -> None:
        def post(url: str, body: bytes, headers: dict[str, str]) -> Answer | None:
            status, named, text = target.receive("POST", url, headers, body.decode())
            lower = {name.lower(): value for name, value in named.items()}
            return Answer(status, lower, text.encode()) if status else None

        boto3.client("secretsmanager").create_secret(Name=f"deployer/{name}", SecretString=secret)
        self.monkeypatch.setattr(http, "post", post)

    def send(self, to: str, **changes: Any) -> None:
        body = json.dumps({"to": to, "event": event(**changes)})
        boto3.client("sqs").send_message(QueueUrl=self.queue, MessageBody=body)

    def deliver(self) -> list[str]:
        """Deliver until nothing is visible. Returns what the attempts ended with."""
        client, ends = boto3.client("sqs"), []
        while found := client.receive_message(
            QueueUrl=self.queue, AttributeNames=["ApproximateReceiveCount"]
        ).get("Messages"):
            (message,) = found
            delivered = {
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
            }
            try:
                send_notification.handler({"Records": [delivered]}, self.context)
            except NotificationFailed as failed:
                ends.append(str(failed))
                continue
            ends.append("")
            client.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return ends

    def waiting(self, queue: str) -> int:
        count = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])[
            "Attributes"
        ]
        hidden = count["ApproximateNumberOfMessagesNotVisible"]
        return int(count["ApproximateNumberOfMessages"]) + int(hidden)


@pytest.fixture
def sending(
    releases_table: None, context: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sending]:
    client = boto3.client("sqs")
    dead = client.create_queue(QueueName="dead")["QueueUrl"]
    described = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    attributes = described["Attributes"]
    redrive = {"deadLetterTargetArn": attributes["QueueArn"], "maxReceiveCount": "30"}
    queue = client.create_queue(
        QueueName="deployer-Notifications", Attributes={"RedrivePolicy": json.dumps(redrive)}
    )["QueueUrl"]
    monkeypatch.setenv("QUEUE", queue)
    monkeypatch.setenv("STACK", "deployer")
    yield Sending(queue, dead, context, monkeypatch)


def test_slack_gets_a_message_and_the_queue_is_empty(sending: Sending) -> None:
    standin = Slack()
    sending.to(standin, "slack", URL)
    sending.send("slack")
    assert sending.deliver() == [""]
    assert [message["text"] for message in standin.messages] == [
        "shop 1.2.0 failed and was rolled back"
    ]
    assert sending.waiting(sending.queue) == 0


def test_a_webhook_verifies_what_it_gets(sending: Sending) -> None:
    standin = Receiver(now=sending.clock.now)
    sending.monkeypatch.setattr(send_notification, "time", sending.clock)
    secret = json.dumps({"url": "https://example.com", "keys": [standin.key]})
    sending.to(standin, "webhook", secret)
    sending.send("webhook", state="STARTED")
    assert sending.deliver() == [""]
    (payload,) = standin.events.values()
    assert payload["type"] == "release.started"


def test_what_is_no_message_is_done_with(sending: Sending) -> None:
    standin = Slack()
    sending.to(standin, "slack", URL)
    sending.send("slack", state="STARTED")
    assert sending.deliver() == [""]
    assert standin.messages == [] and sending.waiting(sending.queue) == 0


DOWN: Response = (500, {}, "internal_error")


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (DOWN, "slack answered 500: internal_error; attempt 1"),
        ((401, {}, ""), "slack answered 401: the secret may have expired; attempt 1"),
        ((404, {}, "no_team"), "slack answered 404: the address is not there: no_team; attempt 1"),
        ((429, {"Retry-After": "7200"}, ""), "slack answered 429: too many requests; attempt 1"),
        ((0, {}, ""), "slack did not answer; attempt 1"),
    ],
)
def test_what_is_refused_stays_in_the_queue_and_out_of_sight(
    sending: Sending, response: Response, why: str
) -> None:
    hidden: list[int] = []
    hide = sqs.hide

    def hides(queue: str, receipt: str, seconds: int) -> None:
        hidden.append(seconds)
        hide(queue, receipt, seconds)

    sending.monkeypatch.setattr(sqs, "hide", hides)
    sending.to(Slack(answers=[response]), "slack", URL)
    sending.send("slack")
    assert sending.deliver() == [why]
    assert hidden == [60, 7200 if response[0] == 429 else 60]
    assert sending.waiting(sending.queue) == 1


def test_a_target_that_is_down_gets_it_later_and_one_that_stays_down_loses_nothing(
    sending: Sending,
) -> None:
    """Without the pauses: how long they are is tested above."""
    sending.monkeypatch.setattr(delivery, "pause", lambda *_: 0)
    standin = Slack(answers=[DOWN] * 9)
    sending.to(standin, "slack", URL)
    sending.send("slack")
    ends = sending.deliver()
    assert (len(ends), ends[-1]) == (10, "")
    assert len(standin.messages) == 1
    standin.answers += [DOWN] * 99
    sending.send("slack")
    assert len(sending.deliver()) == 30
    assert (sending.waiting(sending.queue), sending.waiting(sending.dead)) == (0, 1)


def test_no_secret_is_logged(sending: Sending, capsys: pytest.CaptureFixture[str]) -> None:
    sending.to(Slack(answers=[(404, {}, f"no such hook {URL}?token=hunter2")]), "slack", URL)
    sending.send("slack")
    sending.send("slack")
    (why, sent) = sending.deliver()
    assert "hunter2" not in why and sent == ""
    assert "T0/B0" not in capsys.readouterr().out


def test_a_secret_that_is_wrong_is_tried_again_like_anything_else(sending: Sending) -> None:
    sending.to(Slack(), "slack", "http://hunter2")
    sending.send("slack")
    (why,) = sending.deliver()
    assert why.startswith("the secret of slack must be the URL of an incoming webhook")
    assert sending.waiting(sending.queue) == 1

"""What is read for the page, how often, and what it says when nothing can be read."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from cli.commands.hold import hold
from cli.nextstep import Given
from cli.ui import feed as feeds
from cli.ui.feed import LONGEST_PAUSE, PAUSE_SECONDS, PULSE_SECONDS, Board, Desk, Feed
from deployer.check import OK as OK_
from deployer.check import WARNING, Check
from deployer.errors import AwsUnavailable
from deployer.store import locks, releases
from deployer.store.locks import Queue
from tests.cli.documents import check
from tests.cli.ui.desk import OK, FakeDesk, record, refusal, status

STATS = "history --stats"


class Account(FakeDesk):
    """A desk whose executions and records a test sets."""

    def __init__(self) -> None:
        super().__init__({"status": OK | status(), "history": OK | {"releases": [record()]}})
        self.answers[STATS] = OK | {"stats": {}}
        self.executions: dict[str, str] = {}
        self.reopened = 0
        sfn = SimpleNamespace(
            describe_execution=lambda executionArn: {"status": self.executions[executionArn]}
        )
        self.target = SimpleNamespace(account=SimpleNamespace(client=lambda name: sfn))

    def call(self, service: str | None) -> Any:
        return SimpleNamespace(target=self.target)

    def reopen(self) -> None:
        self.reopened += 1


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setattr(locks, "queue", lambda service: Queue(None, [], None))
    monkeypatch.setattr(releases, "newest", lambda service, count: [])
    monkeypatch.setattr(feeds, "drift", lambda target: [Check("drift", OK_, "as the spec says")])
    return Account()


@pytest.fixture
def feed(account: Account) -> Iterator[Feed]:
    """A feed of which a tab of one service is open."""
    feed = Feed(cast(Desk, account), Board())
    with feed.board.watching("shop"):
        yield feed


def test_while_no_tab_is_open_nothing_is_read() -> None:
    board = Board()
    assert not board.await_tab(0)
    with board.watching("shop"), board.watching("shop"):
        assert board.await_tab(0)
        assert board.watched == ["shop"]
    assert not board.await_tab(0)


def test_a_tab_gets_the_documents_of_the_commands(feed: Feed) -> None:
    assert feed.round() <= PULSE_SECONDS
    parts = feed.board.of("shop")
    assert parts["status"]["live"]["version"] == "1.0.0"
    assert [release["version"] for release in parts["history"]["releases"]] == ["1.0.0"]
    assert parts["services"][0]["service"] == "shop"
    assert (parts["flights"], parts["drift"], parts["problem"]) == ([], [], None)


def test_drift_is_what_doctor_says(
    feed: Feed, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix = ("The next release corrects it; to do it now:", "  deployer deploy 1.0.0")
    warning = Check("drift", WARNING, "shop:7 is not as the spec says now: cpu", fix)
    monkeypatch.setattr(feeds, "drift", lambda target: [warning])
    feed.round()
    [drift] = feed.board.of("shop")["drift"]
    assert drift["finding"] == "shop:7 is not as the spec says now: cpu"
    assert drift["fix"][1] == "  deployer deploy --service shop 1.0.0"


def test_documents_are_read_again_when_something_changed(
    feed: Feed, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.round()
    first = account.asked.count("history")
    feed.round()
    assert account.asked.count("history") == first
    monkeypatch.setattr(releases, "newest", lambda service, count: [record("1.1.0")])
    feed.round()
    assert account.asked.count("history") == first + 1
    assert account.asked.count(STATS) == 1, "they change with the releases only"


def test_what_cannot_be_read_is_said_and_what_was_known_stays(feed: Feed, account: Account) -> None:
    feed.round()
    expired = refusal("your AWS session has expired (ExpiredToken)", "  aws sso login", code=1)
    account.answers["status"] = account.answers["history"] = expired
    feed._keys.clear()
    pauses = []
    for _ in range(6):
        feed._again.clear()  # the pause is over
        feed.round()
        pauses.append(feed.board.of("shop")["problem"]["again"])
    problem = feed.board.of("shop")["problem"]
    assert problem["message"] == "your AWS session has expired (ExpiredToken)"
    assert problem["advice"] == ["  aws sso login"]
    assert feed.board.of("shop")["status"]["live"]["version"] == "1.0.0"
    assert pauses == [PAUSE_SECONDS, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert account.reopened == 5, "the credentials may be new"
    asked = len(account.asked)
    feed.round()
    assert len(account.asked) == asked, "nothing is read during the pause"
    account.answers["status"] = OK | status()
    account.answers["history"] = OK | {"releases": []}
    feed._again.clear()
    feed.round()
    assert feed.board.of("shop")["problem"] is None


def test_a_service_that_cannot_be_read_keeps_no_other_from_it(feed: Feed, account: Account) -> None:
    def answer(service: str | None, command: Any, *words: str) -> dict[str, Any]:
        if service == "typo":
            return refusal("there is no service typo", code=2)
        return FakeDesk.answer(account, service, command, *words)

    account.answer = answer  # type: ignore[method-assign]
    with feed.board.watching("typo"):
        assert feed.round() <= PULSE_SECONDS
        feed._again.clear()
        feed.round()
    assert feed.board.of("typo")["problem"]["message"] == "there is no service typo"
    assert feed.board.of("shop")["problem"] is None
    assert account.reopened == 0


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (AwsUnavailable("Query: 400 ThrottlingException"), "AWS does not answer: Query: 400"),
        (ZeroDivisionError("a mistake"), "ZeroDivisionError: a mistake"),
    ],
)
def test_whatever_goes_wrong_the_page_goes_on(
    feed: Feed, error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(service: str) -> Queue:
        raise error

    monkeypatch.setattr(locks, "queue", fail)
    feed.round()
    assert feed.board.of("shop")["problem"]["message"].startswith(message)


def test_a_request_is_followed_to_what_became_of_it(
    feed: Feed, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.executions["arn:1"] = "RUNNING"
    number = feed.begin("shop", "deployer rollback 1.0.0")
    feed.finish("shop", number, OK | {"execution": "arn:1"}, follow=True)
    feed.round()
    [request] = feed.board.of("shop")["requests"]
    assert (request["status"], request["outcome"]) == ("RUNNING", None)
    account.executions["arn:1"] = "SUCCEEDED"
    superseded = record(outcome="SUPERSEDED", reason="a later rollback was carried out")
    monkeypatch.setattr(releases.of_any_kind, "handled_by", lambda arn: superseded)
    feed.round()
    [request] = feed.board.of("shop")["requests"]
    assert (request["outcome"], request["version"]) == ("SUPERSEDED", "1.0.0")
    assert request["reason"] == "a later rollback was carried out"


def test_a_command_that_cannot_even_begin_ends_with_a_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def expired(self: Desk) -> Any:
        raise ClientError({"Error": {"Code": "ExpiredToken"}}, "DescribeStacks")

    monkeypatch.setattr(Desk, "target", property(expired))
    monkeypatch.setattr(Desk, "given", lambda self, service: Given(service=service))
    document = Desk.__new__(Desk).answer("shop", hold, "--detach")
    check("hold", document)
    assert document["error"]["message"] == "your AWS session has expired (ExpiredToken)"


def test_a_tab_is_woken_by_what_differs_and_by_nothing_else() -> None:
    board, seen = Board(), list[int]()
    board.put("shop", "status", status())
    version = board.await_news(-1, 0)
    board.put("shop", "status", status())
    assert board.await_news(version, 0) == version
    waiting = threading.Thread(target=lambda: seen.append(board.await_news(version, 60)))
    waiting.start()
    board.put("shop", "status", status(alarm="it is down"))
    waiting.join(60)
    assert seen == [version + 1]

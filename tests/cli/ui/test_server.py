"""The page's server, of documents that are made up: what it serves, and to whom."""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.cli.ui.desk import ID, OK, Served, refusal, served, status

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def page() -> Iterator[Served]:
    with served() as page:
        yield page


def ask(page: Served, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """The status, the headers and the body of a response."""
    with closing(http.client.HTTPConnection("127.0.0.1", page.server.gate.port)) as connection:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()


def press(page: Served, what: str, body: Any) -> Any:
    """What the page's own script gets."""
    origin = f"http://127.0.0.1:{page.server.gate.port}"
    path = f"/{page.server.gate.token}/{what}"
    code, _, text = ask(page, "POST", path, body, Origin=origin, **JSON)
    return json.loads(text) if code == 200 else (code, text.strip())


def test_the_page_has_what_is_known_and_its_files(page: Served) -> None:
    page.board.put("shop", "status", status(alarm="</script><script>alert(1)</script>"))
    code, headers, html = ask(page, "GET", f"/{page.server.gate.token}/")
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert html.count("<script") == html.count("</script>") == 2
    for name in ("page.css", "page.js"):
        assert ask(page, "GET", f"/{page.server.gate.token}/{name}")[0] == 200
    assert ask(page, "GET", f"/{page.server.gate.token}/../gate.py")[0] == 404


def test_who_does_not_know_the_token_gets_nothing(page: Served) -> None:
    for path in ("/", "/page.js", "/events", "/wrong/", "/wrong/events"):
        code, _, text = ask(page, "GET", path)
        assert (code, "shop" in text) == (404, False)
    assert ask(page, "GET", f"/{page.server.gate.token}/", Host="evil.example")[0] == 403


def test_another_site_presses_no_button(page: Served) -> None:
    path = f"/{page.server.gate.token}/act"
    for headers in (
        {"Origin": "https://evil.example", **JSON},
        JSON,
        {"Content-Type": "text/plain"},
    ):
        assert ask(page, "POST", path, {"action": "hold"}, **headers)[0] == 403
    assert page.desk.asked == []


def test_a_preview_is_the_dry_run_and_starts_nothing(page: Served) -> None:
    page.desk.answers[f"rollback {ID} --dry-run"] = OK | {"dryRun": True}
    done = press(page, "preview", {"action": "rollback", "release": ID})
    assert done["command"] == f"deployer rollback --service shop {ID}"
    assert done["document"]["dryRun"]
    press(page, "command", {"action": "rollback", "release": ID, "reason": "a b"})
    press(page, "preview", {"action": "hold"})
    assert page.desk.asked == [f"rollback {ID} --dry-run"]
    assert "requests" not in page.board.of("shop")


def test_a_button_runs_its_command_and_every_tab_hears_of_it(page: Served) -> None:
    page.desk.answers[f"rollback {ID} --detach"] = OK | {"execution": "arn:1"}
    press(page, "act", {"action": "rollback", "release": ID})
    assert page.desk.asked == [f"rollback {ID} --detach"]
    [request] = page.board.of("shop")["requests"]
    assert (request["status"], request["execution"]) == ("RUNNING", "arn:1")
    assert request["command"] == f"deployer rollback --service shop {ID}"


def test_a_refusal_is_shown_with_what_to_do(page: Served) -> None:
    refused = refusal("1.0.0 serves already", "List them:", "  deployer rollback")
    page.desk.answers[f"rollback {ID} --detach"] = refused
    done = press(page, "act", {"action": "rollback", "release": ID})
    assert done["document"]["error"]["message"] == "1.0.0 serves already"
    [request] = page.board.of("shop")["requests"]
    assert (request["status"], request["reason"]) == ("REFUSED", "1.0.0 serves already")
    assert request["advice"] == ["List them:", "  deployer rollback"]


def test_two_tabs_that_roll_back_at_once_both_hear_what_became_of_theirs(page: Served) -> None:
    for number in (1, 2):
        page.desk.answers[f"rollback {ID} --detach"] = OK | {"execution": f"arn:{number}"}
        press(page, "act", {"action": "rollback", "release": ID})
    requests = page.board.of("shop")["requests"]
    assert [request["execution"] for request in requests] == ["arn:1", "arn:2"]


@pytest.mark.parametrize("body", [{"action": "run"}, [], {"action": "cancel"}])
def test_what_no_button_does_is_not_done(page: Served, body: Any) -> None:
    code, text = press(page, "act", body)
    assert (code, page.desk.asked) == (400, [])
    assert text


def test_events_bring_all_that_is_known_and_then_what_changes(page: Served) -> None:
    page.board.put("", "services", [])
    page.board.put("shop", "status", status())
    page.board.put("other", "status", status(service="other"))
    with closing(http.client.HTTPConnection("127.0.0.1", page.server.gate.port)) as connection:
        connection.request("GET", f"/{page.server.gate.token}/events?service=shop")
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "text/event-stream; charset=utf-8"

        def next_event() -> tuple[str, Any]:
            while not (line := response.readline().decode()).startswith("event:"):
                assert line
            name, data = line.split()[1], response.readline().decode()
            return name, json.loads(data.removeprefix("data: "))

        assert {next_event()[0], next_event()[0]} == {"services", "status"}
        assert page.board.watched == ["shop"]
        page.board.put("other", "status", status(service="other", alarm="x"))
        page.board.put("shop", "status", status(alarm="it is down"))
        name, document = next_event()
        assert (name, document["service"], document["alarm"]) == ("status", "shop", "it is down")


def test_a_release_is_the_document_of_history(page: Served) -> None:
    page.desk.answers[f"history -- {ID}"] = OK | {"release": {"id": ID}}
    code, _, text = ask(page, "GET", f"/{page.server.gate.token}/release?service=shop&id={ID}")
    document = json.loads(text)
    assert (code, document["document"]["release"]["id"]) == (200, ID)
    assert document["logs"] == f"deployer logs --service shop --release {ID}"


def test_the_script_makes_no_markup_of_texts(page: Served) -> None:
    _, _, script = ask(page, "GET", f"/{page.server.gate.token}/page.js")
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|srcdoc"
    assert not re.search(markup, script)

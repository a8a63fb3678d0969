"""The page in Chromium, of documents that are made up: hostile texts, bad days, the keyboard."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.ui.desk import ID, OK, SINCE, Served, record, refusal, release, served, status
from tests.workflow.conftest import browser

__all__ = ["browser"]
pytestmark = pytest.mark.slow

HOSTILE = "</script><img src=x onerror=\"document.title='pwned'\"><b>bold</b> &amp; \u202e $state"
FLIGHT: dict[str, Any] = {
    "execution": "arn:of:it",
    "link": "https://console.example.com",
    "status": "RUNNING",
    "startedAt": SINCE,
    "seconds": 5.0,
    "stages": [{"name": "Poll health", "state": "now", "note": "", "at": 1.0, "seconds": None}],
    "failure": [],
    "phases": [],
    "standing": "",
    "lines": ["ecs: started"],
    "count": 1,
}  # fmt: skip


@pytest.fixture
def shop() -> Iterator[Served]:
    """The page of a service on which 1.0.0 is live."""
    with served() as shop:
        shop.board.put("", "problem", None)
        shop.board.put("", "services", [])
        shop.board.put("shop", "commands", {"mend": "deployer rollback --service shop 1.0.0"})
        shop.board.put("shop", "status", status())
        shop.board.put("shop", "history", OK | {"releases": [record()]})
        yield shop


@pytest.fixture
def page(browser: Browser, shop: Served) -> Iterator[Page]:
    """A tab, in which no script fails."""
    context = browser.new_context(viewport={"width": 375, "height": 800})
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(shop.address)
    expect(page.locator("#pulse")).to_have_text("live")
    yield page
    context.close()
    assert complaints == []


def test_texts_from_elsewhere_are_texts(page: Page, shop: Served) -> None:
    """Log lines, reasons, names, versions and URLs are what anybody may have written."""
    diagnosis = {"cause": HOSTILE, "advice": HOSTILE, "stops": [HOSTILE], "log": [HOSTILE]}
    failed = record(HOSTILE, outcome="FAILED", reason=HOSTILE, startedBy=HOSTILE, trigger="deploy")
    failed |= {"diagnosis": diagnosis, "url": "javascript:document.title='pwned'", "tag": HOSTILE}
    shop.desk.answers[f"history -- {ID}"] = OK | {
        "release": failed,
        "phases": [{"name": HOSTILE, "at": 1.0, "seconds": 1.0, "failed": True, "note": HOSTILE}],
        "changes": [{"what": HOSTILE, "before": HOSTILE, "after": HOSTILE}],
    }
    shop.board.put("shop", "history", OK | {"releases": [failed]})
    entry = {"release": ID, "version": HOSTILE, "trigger": "deploy", "startedBy": HOSTILE}
    entry |= {"since": SINCE, "execution": "arn:of:it", "status": "RUNNING", "phase": HOSTILE}
    task = {"id": "1", "version": HOSTILE, "taskDefinition": "a", "status": HOSTILE, "health": None}
    tasks = {"desired": 1, "running": 1, "pending": 0, "taskDefinition": "a"}
    bad = status(
        alarm=HOSTILE,
        differs=HOSTILE,
        url="javascript:document.title='pwned'",
        live=release(HOSTILE, startedBy=HOSTILE, trigger="deploy"),
        hold={"by": HOSTILE, "at": SINCE, "reason": HOSTILE, "newestHeld": release(HOSTILE)},
        lastFailure=release(
            HOSTILE, outcome="FAILED", endedAt=SINCE, reason=HOSTILE, rollback=None
        ),
        verified=release(HOSTILE, since="2026-11-01T00:00:00+00:00"),
        inFlight=[entry],
        waiting=[entry],
        tasks=tasks | {"list": [task | {"targetHealthy": None, "startedAt": SINCE}]},
        unseen={HOSTILE: HOSTILE},
    )
    stage = {"name": HOSTILE, "state": "now", "note": HOSTILE, "at": 0.0, "seconds": None}
    shop.board.put("shop", "status", bad)
    shop.board.put(
        "shop", "flights", [FLIGHT | {"stages": [stage], "lines": [HOSTILE] * 3, "count": 3}]
    )
    shop.board.put(
        "", "problem", {"code": 1, "message": HOSTILE, "advice": [HOSTILE, f"  {HOSTILE}"]}
    )
    expect(page.locator(".log")).to_contain_text("onerror")
    page.locator("#releases summary").first.click()
    expect(page.locator("#releases .inside")).to_contain_text("What to do")
    expect(page.locator("#failure-more")).to_contain_text("What to do")
    assert page.locator("img, b:text-is('bold'), [href^=javascript]").count() == 0
    page.reload()  # now all of it is embedded in the page
    expect(page.locator(".log")).to_contain_text("onerror")
    assert page.locator("img, b:text-is('bold'), [href^=javascript]").count() == 0
    assert "pwned" not in page.title().replace("onerror=\"document.title='pwned'\"", "")
    scrolls = "document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(scrolls), "whatever the texts, a phone need not scroll sideways"


def test_expired_credentials_are_said_and_what_was_known_stays(page: Page, shop: Served) -> None:
    problem = {"code": 1, "message": "your AWS session has expired", "advice": ["  aws sso login"]}
    shop.board.put("", "problem", problem)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("your AWS session has expired")
    expect(alert.get_by_role("button", name="Copy: aws sso login")).to_be_visible()
    expect(page.locator("#pulse")).to_have_text("old")
    expect(page.locator("#version")).to_have_text("1.0.0")
    shop.board.put("", "problem", None)
    expect(alert).to_have_count(0)
    expect(page.locator("#pulse")).to_have_text("live")


def test_a_server_that_ended_is_said_with_the_command_to_start_it(page: Page, shop: Served) -> None:
    page.route("**/events*", lambda route: route.abort())
    shop.server.shutdown()
    page.evaluate("source.close(); listen()")
    expect(page.locator("#gone")).to_contain_text("deployer ui", timeout=15_000)
    expect(page.locator("#version")).to_have_text("1.0.0")


def test_a_viewer_without_rights_sees_the_rest_and_why(page: Page, shop: Served) -> None:
    denied = "you may not do this: User ann is not authorized to perform: states:StartExecution"
    unseen = {"tasks": "not authorized to perform: ecs:ListTasks"}
    shop.board.put("shop", "status", status(tasks=None, unseen=unseen))
    expect(page.locator("#notes")).to_contain_text("not authorized to perform: ecs:ListTasks")
    shop.desk.answers["hold --detach"] = refusal(denied, "Ask for this permission.", code=1)
    page.get_by_role("button", name="Hold pushes…").click()
    page.get_by_role("dialog").get_by_role("button", name="Hold pushes").click()
    expect(page.get_by_role("dialog")).to_contain_text("not authorized")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#notes")).to_contain_text("Started here: failed")
    expect(page.locator("#notes")).to_contain_text("states:StartExecution")


def test_a_rollback_by_keyboard_asks_first_and_shows_its_dry_run(page: Page, shop: Served) -> None:
    earlier = {"id": ID, "version": "0.9.0", "endedAt": SINCE, "possible": True, "refusal": None}
    gone = {**earlier, "id": "x", "version": "0.8.0", "possible": False, "refusal": "gone from ECR"}
    shop.desk.answers["rollback"] = refusal("name it", code=4) | {"candidates": [earlier, gone]}
    shop.desk.answers[f"rollback {ID} --dry-run"] = OK | {
        "dryRun": True,
        "release": {"version": "0.9.0"},
        "live": {"version": "1.0.0"},
        "taskDefinition": {"becomes": "shop:6", "changes": []},
        "database": None,
        "automaticRollback": True,
        "lock": None,
        "hold": None,
        "holdAfter": True,
        "warnings": [],
    }  # fmt: skip
    run = f"rollback {ID} --reason 'login is broken' --detach"
    shop.desk.answers[run.replace("'", "")] = OK | {"execution": "arn:1"}
    page.get_by_role("button", name="Roll back…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Roll shop back")
    expect(dialog.get_by_role("radio", name="0.9.0")).to_be_focused()
    expect(dialog).to_contain_text("later pushes are held")
    expect(dialog).to_contain_text("1 not possible now")
    for _ in range(10):
        if page.evaluate("document.activeElement.type") == "text":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("login is broken")
    page.keyboard.press("Tab")
    expect(dialog.locator("code")).to_have_text(
        f"deployer rollback --service shop {ID} --reason 'login is broken'"
    )
    assert not [words for words in shop.desk.asked if "--detach" in words], "nothing ran yet"
    for _ in range(10):
        if page.evaluate("document.activeElement.textContent") == "Roll back to 0.9.0":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator("#notes")).to_contain_text("Started here: it is running")
    expect(page.get_by_role("button", name="Roll back…")).to_be_focused()


def test_escape_does_nothing(page: Page, shop: Served) -> None:
    page.get_by_role("button", name="Hold pushes…").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert shop.desk.asked == []


def test_a_dry_run_that_would_fail_has_no_button_to_press(page: Page, shop: Served) -> None:
    shop.desk.answers["rollback"] = refusal("nothing to roll back to", "  deployer status")
    page.get_by_role("button", name="Roll back…").click()
    expect(page.get_by_role("dialog")).to_contain_text("nothing to roll back to")
    expect(page.locator("#dialog-yes")).to_be_disabled()


def test_no_element_is_without_a_name(page: Page) -> None:
    names = """[...document.querySelectorAll('button, a, input, [role=img], section, nav, ol')]
      .filter((e) => e.checkVisibility() && !e.ariaLabel && !e.textContent.trim())
      .filter((e) => !e.getAttribute('aria-labelledby') && !e.labels?.length)
      .map((e) => e.outerHTML)"""
    assert page.evaluate(names) == []
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("h1:visible").count() == 1
    assert page.get_by_role("main").count() == 1


CONTRAST = """() => {
  const part = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
  const of = (rgb) => { const [r, g, b] = rgb.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b) };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!/rgba\\(.*, 0\\)|transparent/.test(c)) return c } return 'rgb(255, 255, 255)' };
  const low = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest('.unseen, :disabled, .knot, .skip')) continue;
    const [a, b] = [of(getComputedStyle(e).color), of(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push([e.textContent.trim().slice(0, 30), ratio.toFixed(2)]);
  }
  return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_readable(page: Page, shop: Served, scheme: Any) -> None:
    """The contrast that WCAG 2.2 asks for at level AA: https://www.w3.org/TR/WCAG22/#contrast-minimum"""
    page.emulate_media(color_scheme=scheme)
    outcomes = ("SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "HELD", "SUPERSEDED", "IGNORED")
    releases = [
        record(id=f"r{i}", outcome=outcome, reason="why") for i, outcome in enumerate(outcomes)
    ]
    shop.board.put("shop", "history", OK | {"releases": releases})
    hold = {"by": "ann", "at": SINCE, "reason": "freeze", "newestHeld": None}
    shop.board.put("shop", "flights", [FLIGHT])
    shop.board.put("shop", "status", status(hold=hold, alarm="x", mend="  deployer x", live=None))
    expect(page.locator("#notes")).to_contain_text("freeze")
    assert page.evaluate(CONTRAST) == []

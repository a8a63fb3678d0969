"""`deployer ui` in Chromium, on the local AWS: a push, a failure and a rollback, watched and done.

With PYTEST_PICTURES=1 it makes the README's pictures of what it sees, in docs/pictures.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from playwright.sync_api import Browser, Locator, Page, expect

from demo import ROOT
from demo.stage import Stage

pytestmark = pytest.mark.slow

WITHIN = 60_000.0  # milliseconds, on a machine that is busy with much else
MEASURE = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 9999"
NOTE = """window.shown = 0;
new MutationObserver((_, observer) => {
  if (!document.querySelector("#flights").textContent.includes("1.1.0")) return;
  window.shown = Date.now();
  observer.disconnect();
}).observe(document.querySelector("#flights"), { childList: true, subtree: true })"""
PICTURES = ROOT / "docs" / "pictures"


@contextmanager
def page_of(stage: Stage) -> Iterator[str]:
    """The address of `deployer ui` about a service, while the block lasts."""
    command = [sys.executable, "-m", "cli", "ui", "--no-open", "--json", "--stack", stage.stack]
    command += ["--service", stage.service]
    paths = [str(ROOT), str(ROOT / "layers/deployer")]
    environment = {**stage.aws.env, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield str(json.loads(process.stdout.readline())["address"])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


@pytest.fixture
def address(make: Callable[..., Stage]) -> Iterator[tuple[Stage, str]]:
    """A service on which 1.0.0 is live, with weeks behind it, and its page."""
    stage = make(Strategy="rolling")  # so that 1.1.0 serves while 1.2.0 fails
    remember(stage)
    assert stage.deployed("1.0.0").status == "SUCCEEDED"
    with page_of(stage) as address:
        yield stage, address


def remember(stage: Stage) -> None:
    """Give a service twelve weeks of releases, of which some failed."""
    chance, now = random.Random(4), datetime.now(UTC)
    serialize, dynamodb = TypeSerializer().serialize, stage.aws.client("dynamodb")
    days = [day for day in range(83, 2, -1) for _ in range(chance.choice((0, 0, 0, 1, 1, 2)))]
    for number, day in enumerate(days, 1):
        ended = now - timedelta(days=day, seconds=chance.randrange(40_000))
        took = timedelta(seconds=chance.randrange(70, 170) - number)
        begun, failed = ended - took, chance.random() < 0.12
        digest = f"sha256:{chance.getrandbits(256):064x}"
        why = {"cause": "2 new tasks failed; the last: exited with 3", "advice": "See its log."}
        record: dict[str, Any] = {
            "service": stage.service,
            "id": f"{begun:%Y%m%dT%H%M%SZ}-{digest[7:19]}",
            "version": f"0.9.{number}",
            "tag": f"0.9.{number}",
            "digest": digest,
            "trigger": "push",
            "startedBy": "push",
            "pushedAt": (begun - timedelta(seconds=2)).isoformat(),
            "startedAt": begun.isoformat(),
            "endedAt": ended.isoformat(),
            "execution": "arn:aws:states:us-east-1:000000000000:execution:gone:gone",
            "outcome": "FAILED_ROLLED_BACK" if failed else "SUCCEEDED",
            "schema": None,
            "repository": stage.service,
            "image": "",
            "rollout": {"id": f"old/{number}", "taskDefinition": "", "since": begun.isoformat()},
            "standing": f"over#{number}" if failed else f"live#{ended.isoformat()}#{number}",
        } | ({"diagnosis": why, "reason": why["cause"]} if failed else {})
        record["rollout"]["startedAt"] = begun.isoformat()
        item = {name: serialize(value) for name, value in record.items()}
        dynamodb.put_item(TableName=stage.outputs["ReleasesTable"], Item=item)


def test_a_push_a_failure_and_a_rollback(address: tuple[Stage, str], browser: Browser) -> None:
    stage, url = address
    wide = browser.new_page(
        viewport={"width": 1120, "height": 960}, color_scheme="light", device_scale_factor=1.5
    )
    phone = browser.new_page(viewport={"width": 375, "height": 800}, color_scheme="dark")
    complaints: list[str] = []
    for page in (wide, phone):
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda it: complaints.append(it.text) if it.type == "error" else None)
        page.goto(url)
        expect(page.locator("#version")).to_have_text("1.0.0", timeout=WITHIN)
        expect(page.locator("#badge")).to_have_text("live and verified")
    paints = [paint(wide, url)]
    while paints[-1] >= 300 and len(paints) < 20:  # on a machine that is busy with much else
        paints.append(paint(wide, url))
    print(f"first contentful paint: {paints} ms")
    assert paints[-1] < 300
    expect(wide.locator("#figures")).to_contain_text("Lead time, push to live")

    late = watch_a_push(stage, wide)
    see_a_failure(stage, wide, phone)
    roll_back_by_keyboard(stage, wide)
    print(f"the page shows a push {late:.2f} s after its record")
    assert late < 5, "of a machine that is not busy it is less than one"
    for page in (wide, phone):
        expect(page.locator("#version")).to_have_text("1.0.0", timeout=WITHIN)
        page.locator("#releases summary").nth(1).click()
        expect(page.locator("#releases .inside").nth(1)).to_contain_text("Difference")
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert complaints == []


def paint(page: Page, url: str) -> float:
    """How long the first paint with a content takes, in milliseconds."""
    page.goto("about:blank")
    page.goto(url)
    expect(page.locator("#version")).to_have_text("1.0.0", timeout=WITHIN)
    return float(page.evaluate(MEASURE))


def watch_a_push(stage: Stage, page: Page) -> float:
    """Push 1.1.0 and see it go live; how many seconds after its record the page showed it."""
    page.evaluate(NOTE)
    stage.release("1.1.0")
    while stage.records()[-1]["version"] != "1.1.0":
        pass
    recorded = time.time() * 1000
    flight = page.locator(".flight", has_text="1.1.0")
    flight.wait_for(timeout=WITHIN)
    shown = page.evaluate("shown")
    graph = flight.get_by_role("list", name="Stages", exact=True)
    expect(graph.locator("[aria-current=step]")).to_have_count(1, timeout=WITHIN)
    expect(flight.get_by_role("log")).to_contain_text("has started 1 tasks", timeout=WITHIN)
    expect(graph.locator("li[data-state=done]", has_text="Poll health")).to_be_visible(
        timeout=WITHIN
    )
    expect(flight.locator(".badge")).to_have_text("live and verified", timeout=WITHIN)
    expect(page.locator("#version")).to_have_text("1.1.0", timeout=WITHIN)
    return float(shown - recorded) / 1000


def see_a_failure(stage: Stage, page: Page, phone: Page) -> None:
    """Push 1.2.0, which exits at start: its stages go back, and its cause is shown."""
    stage.release("1.2.0", fault="exit-at-start")
    flight = page.locator(".flight", has_text="1.2.0")
    back = flight.get_by_role("list", name="Stages after the failure")
    expect(back.get_by_text("Roll back")).to_be_visible(timeout=WITHIN)
    take_pictures(page, back.locator("[aria-current=step]", has_text="previous release"))
    expect(flight.locator("[data-state=failed]")).to_contain_text("Poll health")
    expect(flight.locator(".badge")).to_have_text("failed, rolled back", timeout=WITHIN)
    for tab in (page, phone):
        failure = tab.get_by_role("region", name="The last failure")
        for fact in ("1.2.0", "exited with 3", "exits at start, with code 3", "What to do"):
            expect(failure).to_contain_text(fact, timeout=WITHIN)
        expect(failure.locator("code")).to_contain_text("deployer logs")
        expect(tab.locator("#said")).to_contain_text("1.2.0 failed, rolled back")
        expect(tab.locator("#version")).to_have_text("1.1.0", timeout=WITHIN)


def roll_back_by_keyboard(stage: Stage, page: Page) -> None:
    """Roll back to 1.0.0 without a mouse, after the dry run was shown."""
    executions = len(stage.own_executions())
    tab_to(page, "Roll back…")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("radio").first).to_be_focused(timeout=WITHIN)
    expect(dialog.locator("dl")).to_contain_text("later pushes are held", timeout=WITHIN)
    expect(dialog.locator("code")).to_contain_text("deployer rollback")
    assert len(stage.own_executions()) == executions, "the dry run starts nothing"
    tab_to(page, "Roll back to 1.0.0")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden(timeout=WITHIN)
    notes = page.locator("#notes")
    expect(notes).to_contain_text("1.0.0 is live and verified", timeout=WITHIN)
    expect(notes).to_contain_text("Pushes are held by")
    record = stage.records()[-1]
    assert (record["trigger"], record["version"]) == ("rollback", "1.0.0")

    stage.deployed("1.3.0")
    expect(notes).to_contain_text("1.3.0 waits for the hold to end", timeout=WITHIN)
    tab_to(page, "Resume…")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("deployer resume", timeout=WITHIN)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Resume…")).to_be_focused()


def tab_to(page: Page, name: str) -> None:
    """Press the tabulator until a button has the focus."""
    for _ in range(60):
        if page.evaluate("document.activeElement.textContent") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the tabulator does not come to {name!r}")


def take_pictures(page: Page, moment: Locator) -> None:
    """Make the README's pictures of a moment, where they are asked for."""
    if not os.environ.get("PYTEST_PICTURES"):
        return
    moment.wait_for(timeout=WITHIN)
    page.evaluate("source.close()")  # both show the same
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=PICTURES / f"page-{scheme}.png")
    page.emulate_media(color_scheme="light")
    page.evaluate("listen()")

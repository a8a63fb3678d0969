"""The widget's HTML keeps to CloudWatch's rules, says the truth, and its buttons what they do."""

from typing import Any

import pytest

from deployer import requests
from deployer.deploy import overview
from deployer.deploy.task_definitions import Change
from deployer.errors import RequestRejected
from deployer.widget import buttons, view
from deployer.widget.view import Widget
from tests.console import Shown, event
from tests.unit.samples import EXECUTION, NOW, lock_request, recorded

SHOW = "arn:aws:lambda:us-east-1:123456789012:function:deployer-ShowWidget"
PRESS = "arn:aws:lambda:us-east-1:123456789012:function:deployer-PressButton"
HOSTILE = "\"'><script>alert(1)</script>&<iframe src=//x>{}{0}\x1b]0;</cwdb-action><a onclick=x()>"
LIVE = recorded(
    id="20261123T142502Z-abababababab", version="2.1.0", endedAt="2026-11-23T14:27:00+00:00"
)
BEFORE = recorded(
    id="20261120T090000Z-cdcdcdcdcdcd", version="2.0.0", endedAt="2026-11-20T09:02:00+00:00"
)


def widget(theme: str = "light") -> Widget:
    return Widget(theme, SHOW, PRESS, NOW)


def document(**changes: Any) -> dict[str, Any]:
    """A service on which 2.1.0 is live and verified."""
    verified = {**overview.release(LIVE), "since": LIVE["endedAt"]}
    return {
        "service": "coder",
        "cluster": "coder",
        "live": verified,
        "verified": verified,
        "serves": {"what": "2.1.0", "taskDefinitions": [], "verified": True},
        "alarm": None,
        "mend": None,
        "url": "https://coder.example.com",
        "tasks": {"desired": 2, "running": 2, "pending": 0},
        "inFlight": [],
        "waiting": [],
        "hold": None,
        "lastFailure": None,
    } | changes


def flight(**changes: Any) -> dict[str, Any]:
    return {
        "release": "20261123T142800Z-efefefefefef",
        "version": "2.2.0",
        "trigger": "push",
        "startedBy": "push",
        "since": "2026-11-23T14:28:00+00:00",
        "execution": EXECUTION,
        "phase": "Poll health",
    } | changes


def failure(**changes: Any) -> dict[str, Any]:
    diagnosis = {
        "error": "RolloutFailed",
        "cause": "3 new tasks failed; the last: exited with 3",
        "kind": "crash",
        "advice": "See its last log lines.",
        "stops": ["exited with 3"],
        "events": [],
        "log": ["starting", "error: no database"],
    }
    return {
        **recorded(
            id="20261123T142900Z-fafafafafafa",
            version="2.2.0",
            outcome="FAILED_ROLLED_BACK",
            endedAt="2026-11-23T14:29:30+00:00",
            diagnosis=diagnosis,
            rollback={"action": "ROLL_BACK", "reason": "rolling back to 2.1.0"},
        )
    } | changes


def shown(html: str) -> Shown:
    result = Shown(html)
    assert result.wrong == []
    return result


def of_service(
    records: Any = (LIVE, BEFORE),
    targets: Any = (BEFORE["id"],),
    previous: Any = BEFORE,
    **changes: Any,
) -> Shown:
    return shown(
        view.service(widget(), document(**changes), records, targets, previous, "the-state")
    )


@pytest.mark.parametrize(
    ("html", "wrong"),
    [
        ("<script>x</script>", "<script>"),
        ("<iframe></iframe>", "<iframe>"),
        ("<svg><use></use></svg>", "<svg>"),
        ('<a onclick="x()">y</a>', "onclick of <a>"),
        ('<a href="javascript:x()">y</a>', "href javascript:x()"),
        ("<style>@import 'x'</style>", "a style that loads something"),
        ("<p>x", "<p> is not closed"),
        (f'<cwdb-action action="call" endpoint="{SHOW}">{{}}</cwdb-action>', "no element"),
        ('<a>x</a><cwdb-action action="call">{}</cwdb-action>', "without the ARN"),
        (f'<a>x</a><cwdb-action action="call" endpoint="{SHOW}">x</cwdb-action>', "parameters 'x'"),
        (
            f'<a>x</a><cwdb-action action="run" endpoint="{SHOW}">{{}}</cwdb-action>',
            "action run",
        ),
        (f"<p>{'x' * 6_300_000}</p>", "longer"),
    ],
)
def test_the_rules_are_kept_by_a_check_that_sees_what_breaks_them(html: str, wrong: str) -> None:
    assert any(wrong in one for one in Shown(html).wrong)


def test_a_service_is_shown_with_what_serves_since_when_and_where() -> None:
    page = of_service()
    for fact in (
        "coder live and verified",
        "2.1.0 (abababababab) since 2026-11-23 14:27 UTC, 3 min ago",
        "https://coder.example.com",
        "2 of 2 running",
        "2.0.0 verified",
    ):
        assert fact in page.text, fact
    assert '<a href="https://coder.example.com">' in page.html


def test_what_serves_unverified_is_an_alarm_with_its_fix() -> None:
    page = of_service(
        live=None,
        serves={"what": "2.2.0", "taskDefinitions": [], "verified": False},
        alarm="2.2.0 serves, and is not verified; the last verified release is 2.1.0.",
        mend="  deployer rollback 20261123T142502Z-abababababab",
    )
    assert "coder not verified" in page.text and "Verified last 2.1.0" in page.text
    assert "deployer rollback 20261123T142502Z-abababababab" in page.text


def test_before_the_first_release_there_is_nothing_to_roll_back_to() -> None:
    page = of_service([], (), None, live=None, verified=None, url=None, tasks=None, serves=None)
    assert "nothing live yet" in page.text and "no permission to see the service" in page.text
    assert [one.label for one in page.buttons] == ["Hold pushes", "Refresh", "All services"]


def test_the_deployment_in_flight_is_shown_with_its_stage_and_can_be_cancelled() -> None:
    waits = flight(version=None, release="r2", trigger="rollback", startedBy="ann")
    page = of_service(inFlight=[flight()], waiting=[waits])
    assert "2.2.0 (push), Poll health, for 2 min" in page.text
    assert "r2 (rollback by ann), Poll health, for 2 min" in page.text
    runs = page.button("Cancel", release="20261123T142800Z-efefefefefef")
    assert (runs.endpoint, runs.display) == (PRESS, "popup")
    assert "the last good release is restored" in runs.confirmation
    assert "has changed nothing yet" in page.button("Cancel", release="r2").confirmation


def test_the_last_failure_has_its_cause_and_fix_until_a_release_is_verified_again() -> None:
    document = overview.last_failure([failure(), LIVE])  # type: ignore[list-item]
    page = of_service(lastFailure=document)
    for fact in ("2.2.0 failed", "exited with 3", "is back and steady", "See its last log lines"):
        assert fact in page.text
    assert page.button("Cause and log lines").params["release"] == "20261123T142900Z-fafafafafafa"
    verified = {**overview.release(LIVE), "since": "2026-11-23T14:30:00+00:00"}
    assert "2.2.0 failed" not in of_service(lastFailure=document, verified=verified).text


def test_a_hold_is_shown_with_who_why_and_what_waits() -> None:
    held = overview.release({**LIVE, "version": "2.3.0"})
    hold = {"by": "ann", "at": "2026-11-23T14:00:00+00:00", "reason": "freeze", "newestHeld": held}
    page = of_service(hold=hold)
    assert "held by ann since 2026-11-23 14:00 UTC, 30 min ago: freeze" in page.text
    assert "2.3.0, the newest held push, is deployed" in page.button("Resume").confirmation
    assert "Hold pushes" not in [one.label for one in page.buttons]
    without = of_service(hold={**hold, "newestHeld": None})
    assert "No push was held" in without.button("Resume").confirmation


def test_each_button_that_changes_something_asks_first_and_is_of_the_function_that_acts() -> None:
    page = of_service(inFlight=[flight()])
    assert {one.label for one in page.buttons if one.endpoint == PRESS} == {
        *("Roll back to 2.0.0", "Roll back", "Hold pushes", "Cancel")
    }
    for one in page.buttons:
        assert bool(one.confirmation) == (one.endpoint == PRESS)
        assert one.endpoint in (SHOW, PRESS)
        if one.endpoint == PRESS:
            assert one.params["service"] == "coder" and one.params["seen"] == "the-state"
    back = page.button("Roll back", release=BEFORE["id"])
    assert "Roll coder back to 2.0.0 (20261120T090000Z-cdcdcdcdcdcd)?" in back.confirmation
    assert "Later pushes are held until somebody resumes" in back.confirmation
    assert "The deployment in flight ends first" in back.confirmation
    assert "in flight" not in of_service().button("Roll back").confirmation


def test_only_a_release_that_may_be_rolled_back_to_has_the_button() -> None:
    rows = [one.params["release"] for one in of_service().buttons if one.label == "Roll back"]
    assert rows == [BEFORE["id"]]


@pytest.mark.parametrize("theme", ["light", "dark", "unknown"])
def test_its_colours_can_be_read_in_each_theme(theme: str) -> None:
    """https://www.w3.org/TR/WCAG21/#contrast-minimum"""
    html = view.service(widget(theme), document(), [LIVE], (), None, "")
    background = "#0f1b2a" if theme == "dark" else "#ffffff"
    colours = view._COLOURS["dark" if theme == "dark" else "light"]
    for colour in colours.values():
        assert colour in html
        light, dark = sorted((luminance(colour), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_others_wrote_is_text_and_nothing_else() -> None:
    """Tags, versions, reasons, names and log lines come from whoever pushes or writes a log."""
    release = {
        **overview.release(LIVE),
        **dict.fromkeys(("version", "tag", "startedBy", "release"), HOSTILE),
    }
    failed = failure(version=HOSTILE, tag=HOSTILE, startedBy=HOSTILE, reason=HOSTILE, id=HOSTILE)
    failed["diagnosis"] = {
        **dict.fromkeys(("cause", "advice"), HOSTILE),
        **{name: [HOSTILE] for name in ("stops", "log", "events")},
    }
    hold = {"by": HOSTILE, "at": LIVE["endedAt"], "reason": HOSTILE, "newestHeld": release}
    page = of_service(
        [failed],
        (HOSTILE,),
        failed,
        verified={**release, "since": BEFORE["endedAt"]},
        hold=hold,
        url=f"https://x/{HOSTILE}",
        alarm=HOSTILE,
        mend=HOSTILE,
        inFlight=[flight(version=HOSTILE, startedBy=HOSTILE, phase=HOSTILE, trigger=HOSTILE)],
        lastFailure=overview.last_failure([failed]),  # type: ignore[list-item]
    )
    assert page.button("Roll back").params["release"] == HOSTILE
    changes = [Change(HOSTILE, HOSTILE, HOSTILE)]
    whole = shown(view.release(widget(), failed, changes))
    entry = {"service": HOSTILE, "problem": HOSTILE, "verified": None, "hold": hold}
    every = shown(view.services(widget(), [entry], [HOSTILE]))
    answer = shown(view.problem(widget(), HOSTILE))
    for each in (page, whole, every, answer):
        assert "alert(1)" in each.text and "\x1b" not in each.html
        assert "<script" not in each.html and "<iframe" not in each.html
    assert view._url("javascript:alert(1)") == "javascript:alert(1)"


def test_no_credential_is_shown() -> None:
    text = "connect postgres://app:hunter2hunter2@db/app"
    failed = failure(reason=text)
    failed["diagnosis"] = {**failed["diagnosis"], "cause": text, "log": [text]}
    for html in (
        view.release(widget(), failed, None),
        view.service(widget(), document(), [failed], (), None, ""),
        view.problem(widget(), text),
    ):
        assert "hunter2" not in html and "postgres://" in html


def test_one_release_is_shown_in_full() -> None:
    changes = [Change("memory", "512", "1024"), Change("environment A", None, "b")]
    page = shown(view.release(widget(), failure(), changes))
    for fact in (
        "Outcome FAILED_ROLLED_BACK",
        "By push, by push",
        "Why it failed",
        "error: no database",
        "What to do",
        "memory 512 1024",
        "environment A - b",
        "deployer history 20261123T142900Z-fafafafafafa",
    ):
        assert fact in page.text, fact
    running = {k: v for k, v in recorded().items() if k not in ("outcome", "endedAt")}
    assert "Outcome in flight" in shown(view.release(widget(), running, None)).text
    held = {**BEFORE, "outcome": "HELD", "reason": "held by ann", "to": "r0"}
    assert "Why held by ann" in shown(view.release(widget(), held, None)).text


def test_all_services_are_a_table_and_each_can_be_opened() -> None:
    verified = {**overview.release(LIVE), "since": LIVE["endedAt"]}
    entries: list[dict[str, Any]] = [
        {"service": "coder", "problem": None, "verified": verified, "inFlight": [flight()]},
        {
            "service": "shop",
            "problem": "Nothing serves.",
            "verified": None,
            "hold": {"by": "ann", "reason": "freeze"},
        },
    ]
    page = shown(view.services(widget(), entries, ["late"]))
    for fact in ("coder 2.1.0", "2.2.0 (push)", "nothing yet", "Nothing serves.", "held by ann"):
        assert fact in page.text, fact
    opened = [(b.label, b.endpoint, b.display, b.params) for b in page.buttons]
    assert opened == [
        (name, SHOW, "widget", {"service": name}) for name in ("coder", "shop", "late")
    ]
    assert "no service yet" in shown(view.services(widget(), [], [])).text


def test_many_long_releases_are_a_small_answer() -> None:
    long = failure(version="v" * 128, startedBy="x" * 512)
    long["diagnosis"] = {**long["diagnosis"], "cause": "y" * 2000}
    page = of_service([{**long, "id": f"r{number}"} for number in range(12)])
    assert len(page.html) < 60_000


# Its buttons --------------------------------------------------------------------------------------


def press(**params: Any) -> buttons.Press:
    context = params.pop("context", {})
    given = {"action": "rollback", "service": "coder", "release": "r1", "seen": "s"} | params
    return buttons.parse(event({k: v for k, v in given.items() if v is not None}, **context))


@pytest.mark.parametrize("action", ["rollback", "hold", "resume"])
def test_a_press_is_a_request_that_the_state_machine_takes_from_the_dashboard(action: str) -> None:
    made = press(action=action, context={"forms": {"all": {"reason": " login is broken "}}})
    parsed = requests.parse(made.request)
    assert (parsed.service, parsed.by) == ("coder", "the widget on dashboard shop")  # type: ignore[union-attr]
    if action == "rollback":
        assert isinstance(parsed, requests.Rollback)
        assert (parsed.to, parsed.hold, parsed.restore_database) == ("r1", True, False)
    assert ("reason" in made.request) == (action != "resume")
    assert made.request.get("reason", "login is broken") == "login is broken"


@pytest.mark.parametrize("name", ["a<b>", "", None, "x" * 256, 7])
def test_a_dashboard_whose_name_cannot_be_is_not_named(name: Any) -> None:
    assert press(context={"dashboardName": name}).by == "a widget"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"action": "deploy"}, "unknown action 'deploy'"),
        ({"action": None}, "expected one of: rollback, hold, resume, cancel"),
        ({"release": None}, "rollback needs release"),
        ({"action": "cancel", "release": ""}, "cancel needs release"),
        ({"service": ""}, "needs service"),
        ({"service": ["coder"]}, "needs service"),
        ({"seen": "x" * 600}, "needs seen"),
        ({"context": {"forms": {"all": {"reason": "x" * 301}}}}, "the reason must be a line"),
        ({"context": {"forms": {"all": {"reason": "a\nb"}}}}, "the reason must be a line"),
        ({"context": {"forms": {"all": {"reason": 7}}}}, "the reason must be a line"),
    ],
)
def test_what_no_button_sends_is_refused_by_name(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(RequestRejected, match=why):
        press(**wrong)


@pytest.mark.parametrize("context", [None, "x", {"forms": None}, {"forms": {"all": []}}])
def test_a_context_that_is_not_cloudwatchs_is_no_failure(context: Any) -> None:
    params = {"action": "hold", "service": "coder", "widgetContext": context}
    assert buttons.parse(params).reason is None


def test_two_viewers_who_press_the_same_button_start_one_execution() -> None:
    assert press().execution == press(context={"forms": {"all": {"reason": "x"}}}).execution
    others = [press(seen="t"), press(release="r2"), press(service="shop"), press(action="hold")]
    names = {one.execution for one in (press(), *others)}
    assert len(names) == 5
    # https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    assert all(len(name) <= 80 for name in names)


def test_what_a_viewer_saw_is_outdated_once_the_service_changed() -> None:
    hold: Any = {"by": "ann", "at": "t", "reason": "r"}
    holder = lock_request()
    other: Any = {**hold, "reason": "another"}
    states = {
        buttons.state([LIVE, BEFORE], None, [], None),
        buttons.state([{**LIVE, "outcome": "FAILED"}, BEFORE], None, [], None),
        buttons.state([BEFORE], None, [], None),
        buttons.state([], None, [], None),
        buttons.state([LIVE], holder, [], None),
        buttons.state([LIVE], holder, [lock_request(release="r2")], None),
        buttons.state([LIVE], None, [], hold),
        buttons.state([LIVE], None, [], other),
    }
    assert len(states) == 8
    current = buttons.state([LIVE, BEFORE], None, [], None)
    assert current == buttons.state([LIVE], None, [], None)
    buttons.refuse_outdated(press(seen=current), current)
    with pytest.raises(RequestRejected, match=r"coder has changed since.*Refresh"):
        buttons.refuse_outdated(press(seen="older"), current)


def test_the_documentation_is_markdown_whose_first_block_are_the_parameters() -> None:
    """CloudWatch offers them to who adds the widget."""
    block = view.DOCUMENTATION.split("```")[1]
    assert block == " yaml\nservice: shop\n"

"""Does it answer, with the version that was pushed, on the data that was there?"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import verify_release
from tests.unit.conftest import Clock, Web
from tests.unit.samples import BALANCER, MISSING, document, payload, release, rollout

BEFORE = {"/api/v2/buildinfo#deployment_id": "d1", "/api/v2/users/first": "200"}


@pytest.fixture(autouse=True)
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(verify_release, "time", clock)
    return clock


@pytest.fixture
def coder(web: Web) -> Web:
    """A release that answers as it must."""
    web.answer("/healthz", "OK")
    web.answer("/api/v2/buildinfo", json.dumps({"version": "v2.1.0+abc", "deployment_id": "d1"}))
    web.answer("/api/v2/users/first", "{}")
    return web


def verify(web: Web, context: Any, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "addresses": {"url": web.url, "tasks": [web.url]},
        "probes": BEFORE,
    }
    return dict(verify_release.handler(payload(**given | changes), context))


def test_a_cold_start_loads_neither_boto3_nor_the_certificates() -> None:
    run = "import sys, verify_release, deployer.http as http; "
    run += "print('botocore.client' in sys.modules, http._tls.cache_info().currsize)"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", run], env=paths, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "0"]


def test_a_release_that_answers_as_it_must_is_verified_at_once(
    coder: Web, context: Any, clock: Clock
) -> None:
    result = verify(coder, context)
    assert result["verdict"] == "VERIFIED"
    assert result["probes"] == BEFORE
    assert "2.1.0" in result["reason"]
    assert clock.sleeps == []


def test_a_release_that_needs_a_moment_is_asked_again(
    coder: Web, context: Any, clock: Clock
) -> None:
    def starting(handler: Any) -> None:
        if clock.now > 1002:
            coder.answer("/healthz", "OK")
        handler.send_response(503)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    coder.answers["/healthz"] = starting
    assert verify(coder, context)["verdict"] == "VERIFIED"
    assert clock.sleeps


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 503),
        ("/healthz", 302),
        ("/api/v2/buildinfo", 404),
        ("/api/v2/users/first", 500),
    ],
)
def test_a_release_that_does_not_answer_yet_is_looked_at_again_later(
    coder: Web, context: Any, clock: Clock, path: str, status: int
) -> None:
    coder.answer(path, status=status)
    result = verify(coder, context)
    assert (result["verdict"], result["error"]) == ("PENDING", "")
    assert coder.url in result["reason"]
    assert 5 < sum(clock.sleeps) < 30


def test_a_release_that_does_not_answer_in_time_is_refuted(coder: Web, context: Any) -> None:
    coder.answer("/healthz", status=503)
    late = rollout(deadline="2020-01-01T00:00:00+00:00")
    result = verify(coder, context, rollout=late)
    assert (result["verdict"], result["error"]) == ("REFUTED", "VerificationTimedOut")
    assert "503" in result["reason"]


def test_a_release_that_answers_late_but_answers_is_verified(coder: Web, context: Any) -> None:
    late = rollout(deadline="2020-01-01T00:00:00+00:00")
    assert verify(coder, context, rollout=late)["verdict"] == "VERIFIED"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"version": "v2.0.0", "deployment_id": "d1"}, "WrongVersion"),
        ({"version": "v2.1.0", "deployment_id": "d2"}, "DataChanged"),
    ],
)
def test_another_version_or_other_data_is_refuted_at_once(
    coder: Web, context: Any, clock: Clock, body: Any, error: str
) -> None:
    coder.answer("/api/v2/buildinfo", json.dumps(body))
    result = verify(coder, context)
    assert (result["verdict"], result["error"]) == ("REFUTED", error)
    assert clock.sleeps == []


def test_a_first_user_who_is_gone_is_an_empty_database(coder: Web, context: Any) -> None:
    coder.answer("/api/v2/users/first", status=404)
    assert verify(coder, context)["error"] == "DataChanged"


def test_a_first_release_has_nothing_to_compare_with(coder: Web, context: Any) -> None:
    coder.answer("/api/v2/users/first", status=404)
    result = verify(coder, context, probes={})
    assert result["verdict"] == "VERIFIED"
    assert result["probes"]["/api/v2/users/first"] == "404"


def test_the_tag_that_was_pushed_is_the_version_that_counts(coder: Web, context: Any) -> None:
    assert verify(coder, context, release=release(version="2.1.1"))["error"] == "WrongVersion"
    assert verify(coder, context, release=release(version="2.1.0-abc"))["verdict"] == "VERIFIED"


def test_every_task_must_answer(coder: Web, context: Any) -> None:
    tasks = [coder.url, "http://127.0.0.1:1"]
    result = verify(coder, context, addresses={"url": coder.url, "tasks": tasks})
    assert result["verdict"] == "PENDING"
    assert "127.0.0.1:1" in result["reason"]


def test_a_service_without_an_address_is_not_verified(coder: Web, context: Any) -> None:
    result = verify(coder, context, addresses={"url": None, "tasks": []})
    assert result["verdict"] == "PENDING"
    assert coder.paths == []


def test_a_load_balancer_may_still_hand_out_the_last_answers_of_old_tasks(
    coder: Web, context: Any, clock: Clock
) -> None:
    new = {"version": "v2.1.0", "deployment_id": "d1"}

    def switching(handler: Any) -> None:
        version = new if clock.now > 1002 else new | {"version": "v2.0.0"}
        body = json.dumps(version).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    coder.answers["/api/v2/buildinfo"] = switching
    spec = document(**BALANCER | {"url": coder.url})
    result = verify(coder, context, spec=spec, addresses={"url": coder.url, "tasks": []})
    assert result["verdict"] == "VERIFIED"


def test_an_old_version_behind_a_load_balancer_is_refuted_in_the_end(
    coder: Web, context: Any
) -> None:
    spec = document(**BALANCER | {"url": coder.url})
    result = verify(coder, context, spec=spec, release=release(version="9.9.9"))
    assert (result["verdict"], result["error"]) == ("REFUTED", "WrongVersion")


def test_a_spec_that_names_nothing_to_ask_is_verified_by_ecs_alone(web: Web, context: Any) -> None:
    assert verify(web, context, spec=document(verify=MISSING))["verdict"] == "VERIFIED"
    assert web.paths == []

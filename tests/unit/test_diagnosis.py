"""A failure explains itself: what failed, why, what became of the service, what to do."""

import json
from typing import Any

import pytest

from deployer.deploy import diagnosis
from deployer.deploy.diagnosis import Failure
from deployer.errors import DeployError
from tests.unit.samples import crashed, unpullable

FAILURE: Failure = {"Error": "RolloutFailed", "Cause": "3 new tasks failed"}


def lambda_cause(message: str) -> str:
    return json.dumps({"errorMessage": message, "errorType": "X", "stackTrace": ["line 1"]})


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ("", "X"),
        (None, "X"),
        ("plain", "plain"),
        (lambda_cause("subnet x is missing"), "subnet x is missing"),
        (lambda_cause(""), lambda_cause("")),
        ('{"other": 1}', '{"other": 1}'),
        ('["a"]', '["a"]'),
        ("7", "7"),
        ("{broken", "{broken"),
    ],
)
def test_a_cause_is_the_message_within_a_functions_error(cause: Any, expected: str) -> None:
    assert diagnosis.explain({"Error": "X", "Cause": cause}) == ("X", expected)


def test_a_failure_may_come_without_a_cause() -> None:
    timeout: Any = {"Error": "States.Timeout"}
    assert diagnosis.explain(timeout) == ("States.Timeout", "States.Timeout")


def test_a_failure_without_failed_tasks_is_explained_by_its_error() -> None:
    result = diagnosis.diagnose({"Error": "WrongVersion", "Cause": "it serves 1"}, [], [], [])
    assert (result["error"], result["kind"], result["cause"]) == (
        "WrongVersion",
        "WrongVersion",
        "it serves 1",
    )
    assert "Tag the image" in result["advice"]


def test_an_error_that_nobody_foresaw_is_not_left_without_advice() -> None:
    assert diagnosis.diagnose({"Error": "KeyError", "Cause": "x"}, [], [], [])["advice"]


@pytest.mark.parametrize(
    "error",
    # about AWS being away nothing is to be done but waiting; no execution sends notifications
    sorted(
        {item.__name__ for item in DeployError.__subclasses__()}
        - {"AwsUnavailable", "NotificationFailed"}
    ),
)
def test_every_error_of_our_own_has_advice_of_its_own(error: str) -> None:
    common = diagnosis.diagnose({"Error": "?", "Cause": ""}, [], [], [])["advice"]
    assert diagnosis.diagnose({"Error": error, "Cause": ""}, [], [], [])["advice"] != common


def test_a_failed_task_explains_more_than_the_error() -> None:
    result = diagnosis.diagnose(FAILURE, [crashed()], [], [])
    assert (result["error"], result["kind"]) == ("RolloutFailed", "crash")
    assert "log lines" in result["advice"]


def test_a_reason_that_cannot_heal_explains_more_than_one_that_may() -> None:
    result = diagnosis.diagnose(FAILURE, [crashed("a"), unpullable("b"), crashed("c")], [], [])
    assert result["kind"] == "image"
    assert len(result["stops"]) == 2


def test_of_reasons_that_may_heal_the_newest_explains() -> None:
    memory = crashed("a", stoppedReason="OutOfMemoryError: container killed")
    assert diagnosis.diagnose(FAILURE, [memory, crashed("b")], [], [])["kind"] == "crash"
    assert diagnosis.diagnose(FAILURE, [crashed("b"), memory], [], [])["kind"] == "memory"


def test_tasks_that_did_not_fail_explain_nothing() -> None:
    scaled = crashed(stopCode="ServiceSchedulerInitiated")
    result = diagnosis.diagnose(FAILURE, [scaled], [], [])
    assert (result["kind"], result["stops"]) == ("RolloutFailed", [])


def test_what_ecs_and_the_application_say_goes_into_the_diagnosis() -> None:
    result = diagnosis.diagnose(FAILURE, [], ["(service coder) failed"], ["panic: no database"])
    assert result["events"] == ["(service coder) failed"]
    assert result["log"] == ["panic: no database"]


# credentials

REDACTED = [
    ("postgres://coder:hunter2@db:5432/coder", "hunter2"),
    ("https://user:hunter2@example.com/x", "hunter2"),
    ("password=hunter2 host=db", "hunter2"),
    ("Password: hunter2", "hunter2"),
    ('{"password": "hunter2", "user": "coder"}', "hunter2"),
    ('{"token":"hunter2"}', "hunter2"),
    ("secret = hunter2;", "hunter2"),
    ("api_key=hunter2", "hunter2"),
    ("passwd:hunter2", "hunter2"),
]


@pytest.mark.parametrize(("text", "secret"), REDACTED, ids=[text for text, _ in REDACTED])
def test_credentials_in_what_is_quoted_are_struck_out(text: str, secret: str) -> None:
    result = diagnosis.diagnose(
        {"Error": "X", "Cause": text},
        [crashed(containers=[{"name": "coder", "reason": text}])],
        [text],
        [text],
    )
    assert secret not in json.dumps(result)
    assert "***" in result["cause"]


def test_no_log_however_long_outgrows_what_the_workflow_can_carry() -> None:
    """256 KiB: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""
    giant = "é" * 262144
    tasks = [
        crashed(f"t{number}", stoppedReason=f"Essential container {number} {'x' * 1000}")
        for number in range(400)
    ]
    result = diagnosis.diagnose(FAILURE, tasks, [giant] * 5, [giant] * 20)
    assert len(json.dumps(result)) < 128 * 1024
    assert len(result["log"]) == 20
    assert "container 399" in result["stops"][-1]


# the summary


@pytest.mark.parametrize(
    ("rollback", "restored", "named"),
    [
        (None, False, "The service was not changed."),
        ({"action": "ROLL_BACK", "reason": "going back to 2.0.0"}, True, "back and steady"),
        ({"action": "AWAIT", "reason": "ECS did"}, True, "back and steady"),
        ({"action": "ROLL_BACK", "reason": "AccessDenied"}, False, "needs manual attention"),
        ({"action": "AWAIT", "reason": "ECS did"}, False, "needs manual attention"),
        ({"action": "LEAVE", "reason": "the schema grew"}, False, "the schema grew"),
        ({"action": "STOP", "reason": "scaled to zero"}, False, "scaled to zero"),
    ],
)
def test_the_summary_says_what_became_of_the_service(
    rollback: Any, restored: bool, named: str
) -> None:
    result = diagnosis.diagnose(FAILURE, [], [], [])
    summary = diagnosis.summary(result, rollback, restored, "service")
    assert "3 new tasks failed" in summary
    assert named in summary
    assert result["advice"] in summary
    assert ("steady" in summary) == restored


@pytest.mark.parametrize(
    ("rollback", "named"),
    [
        (None, "The site was not changed."),
        ({"action": "ROLL_BACK", "reason": "x"}, "The site needs"),
    ],
)
def test_the_summary_of_a_site_does_not_speak_of_a_service(rollback: Any, named: str) -> None:
    result = diagnosis.diagnose({"Error": "SiteRejected", "Cause": "too small"}, [], [], [])
    summary = diagnosis.summary(result, rollback, False, "site")
    assert named in summary
    assert "service" not in summary


def test_the_cause_comes_before_ecss_own_vaguer_sentence() -> None:
    vague: Failure = {"Error": "RolledBackByECS", "Cause": "ECS rolled it back: tasks failed"}
    cause = diagnosis.diagnose(vague, [unpullable()], [], [])["cause"]
    assert cause.index("CannotPullContainer") < cause.index("ECS rolled it back")

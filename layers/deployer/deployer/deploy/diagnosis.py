"""A failure in words: what failed, why, and what to do about it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

from deployer.deploy import log_patterns, stop_reasons
from deployer.deploy.rollback import Rollback
from deployer.deploy.stop_reasons import Task
from deployer.redaction import clip, redact

_ADVICE = {
    "RequestRejected": "Start the execution again with an input as the message shows it.",
    "ServiceUnknown": "Create the service spec, or narrow the rule to repositories that have one.",
    "SpecInvalid": "Correct the named fields of the spec, and push, upload or deploy again.",
    "ImageMissing": "Push the image again, or deploy one that is in the repository.",
    "PreflightFailed": "Put right what is named, then deploy again; `deployer doctor` looks anew.",
    "SiteUnknown": "Deploy infrastructure/docs.yaml for the site, or upload to its folder.",
    "SourcesRejected": "Correct the archive and upload it again.",
    "SiteRejected": "Correct the sources and upload them again; the build's log says what it did.",
    "BuildNotBegun": "Do what the message says, then upload again.",
    "BuildFailed": "See the build's log; correct the sources and upload them again.",
    "VerificationFailed": "See what the site answers; upload again when it is clear why.",
    "DatabaseFailed": "See the instance and its events in RDS; then push or deploy again.",
    "LockTimedOut": "See who holds the lock; stop that execution if it hangs, then push or upload.",
    "LockLost": "Another execution has already cleaned up; push, upload or deploy again.",
    "ExecutionEnded": "See who stopped the execution; push or upload again when it is clear why.",
    "ServiceDraining": "Wait until the deleted service is INACTIVE and deploy again.",
    "ServiceScaledDown": "Scale the service up and deploy again.",
    "ServiceMissing": "Somebody deleted the service. Deploy again to create it.",
    "RolloutReplaced": "Somebody else changed the service meanwhile. Agree on one way to deploy.",
    "RolloutTimedOut": "See the log lines and events; raise timeout if it only needs longer.",
    "VerificationTimedOut": "See the log lines; check health path, port and security group.",
    "WrongVersion": "Tag the image with the version it serves, or correct the rule.",
    "DataChanged": "The release came up on other data: check its database setting first.",
}
_BUILD = {"Arn", "BuildStatus", "Phases"}
# By the names that Step Functions gives StartBuild's errors
_START_BUILD = {
    "CodeBuild.AccountLimitExceededException": (
        "The account may run no more builds at once; a new account's quota can be 0. See it and ask"
        " for more in the console of Service Quotas, AWS CodeBuild, 'Concurrently running builds'"
        " of the project's environment: `aws service-quotas list-service-quotas --service-code"
        " codebuild`"
    ),
    "CodeBuild.ResourceNotFoundException": (
        "The build project is gone: deploy the deployer's stack again"
    ),
}
# The workflow carries the diagnosis, and no state can catch what outgrows its 256 KiB:
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
_LINE_LIMIT = 500  # characters
_SEARCHED = 4000  # characters of a line: some patterns take longer for it than its length
_CAUSE_LIMIT = 4000  # characters
_STOPS_LIMIT = 10
_LOG_LIMIT = 20  # lines
_CAUSE_LINES = 5
# What may have any reason, of which the log may tell more.
_OPEN_ERRORS = (
    *("RolloutFailed", "RolledBackByECS", "RolloutTimedOut", "VerificationTimedOut"),
    "DataChanged",
)
_OPEN_STOPS = ("crash", "container-health", "load-balancer-health", "unknown")
_TELLING = re.compile(r"(?i)error|ERR_|can't|cannot|not found|no such|refus|fail|made no|hold")


class Failure(TypedDict):
    """A failure as a state hands it on, in the shape of Step Functions' error output; and how often
    the state was tried, if it was a state that failed."""

    Error: str
    Cause: str
    State: NotRequired[str]
    Tries: NotRequired[int]


class Diagnosis(TypedDict):
    """A failure explained. `log` holds the last lines of the container that failed."""

    error: str
    cause: str
    kind: str
    advice: str
    stops: list[str]
    events: list[str]
    log: list[str]


def explain(failure: Failure) -> tuple[str, str]:
    """Return the error's name and message. A Lambda's Cause is JSON with the message within.

    A failure without a Cause, such as States.Timeout, has its name as the message.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    message = failure.get("Cause") or failure["Error"]
    try:
        parsed = json.loads(message)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and parsed.get("errorMessage"):
        message = str(parsed["errorMessage"])
    if failure.get("Tries", 1) > 1:
        message += f" ({failure.get('State', 'the state')} was tried {failure.get('Tries')} times)"
    return failure["Error"], message


def diagnose(
    failure: Failure, stopped_tasks: Sequence[Task], events: Sequence[str], log: Sequence[str]
) -> Diagnosis:
    """Explain a failure.

    Args:
        failure: what the state reported.
        stopped_tasks: the failed rollout's stopped tasks, oldest first.
        events: the service's newest events, newest first.
        log: the last lines of a failed task's container; what they tell is the kind where the
            task's own reason leaves it open.
    """
    error, cause = explain(failure)
    log = [clip(redact(line), _SEARCHED) for line in log]
    stops = [stop_reasons.why(task) for task in stopped_tasks if stop_reasons.failed(task)]
    reasons = list(dict.fromkeys(stop.reason for stop in stops))
    kind, advice = error, _ADVICE.get(error, "See the execution's history and the functions' logs.")
    if stops:
        # a reason that cannot heal explains more than one that may
        telling = next((stop for stop in stops if not stop.heals), stops[-1])
        kind, advice = telling.kind, telling.advice
        if error in _OPEN_ERRORS and telling.reason not in cause:
            # ECS's own sentence says only that tasks failed
            cause = f"{_line(telling.reason)} ({cause})"
    if kind in _OPEN_STOPS if stops else error in _OPEN_ERRORS:
        for symptom in log_patterns.found(log)[:1]:
            kind, advice = symptom.kind, f"{symptom.why} {symptom.advice}"
    return {
        "error": error,
        "cause": clip(redact(cause), _CAUSE_LIMIT),
        "kind": kind,
        "advice": advice,
        "stops": [_line(reason) for reason in reasons[-_STOPS_LIMIT:]],
        "events": [_line(event) for event in events],
        "log": [clip(line, _LINE_LIMIT) for line in log[-_LOG_LIMIT:]],
    }


def build_log(failure: Failure) -> tuple[str, str] | None:
    """The log group and stream of a failed build; None if the failure is none of a build's.

    The Cause of a failed `startBuild.sync` is the build as BatchGetBuilds describes it:
    https://docs.aws.amazon.com/step-functions/latest/dg/connect-codebuild.html
    """
    found = build_of(failure).get("Logs") or {}
    group, stream = found.get("GroupName"), found.get("StreamName")
    return (group, stream) if group and stream else None


def diagnose_docs_build(failure: Failure, log: Sequence[str]) -> Diagnosis:
    """Explain a failed build by the phase that failed and the last lines of its log.

    CodeBuild's own lines, which say what the phases' contexts say too, are left out of the cause.
    """
    told = [clip(redact(line), _SEARCHED) for line in log]
    told = [line for line in told if line.strip() and not line.startswith("[Container]")]
    reasons = [
        f"{phase.get('PhaseType')}: {context.get('Message')}"
        for phase in build_of(failure).get("Phases") or []
        if phase.get("PhaseStatus") not in (None, "SUCCEEDED")
        for context in phase.get("Contexts") or []
        if context.get("Message")
    ]
    if failure["Error"].startswith("CodeBuild."):
        return diagnose({"Error": "BuildNotBegun", "Cause": not_begun(failure)}, [], [], told)
    if not reasons:
        return diagnose(failure, [], [], told)
    cause = "; ".join(reasons)
    telling = [line.strip() for line in told if _TELLING.search(line)] or told
    if telling:
        cause += ". It wrote: " + " | ".join(telling[-_CAUSE_LINES:])
    return diagnose({"Error": "BuildFailed", "Cause": cause}, [], [], told)


def build_of(failure: Failure) -> Mapping[str, Any]:
    """Return the build that a failure of `startBuild.sync` is about; {} if none began.

    StartBuild's own errors come under States.TaskFailed too, with a message instead of a build.
    """
    try:
        found = json.loads(failure.get("Cause") or "")
    except ValueError:
        return {}
    build = found.get("Build", found) if isinstance(found, dict) else None
    return build if isinstance(build, dict) and build.keys() & _BUILD else {}


def not_begun(failure: Failure) -> str:
    """Return why CodeBuild began no build, and what to do.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StartBuild.html#API_StartBuild_Errors
    """
    error, message = explain(failure)
    advice = _START_BUILD.get(error, "")
    return f"CodeBuild began no build: {redact(message) or error}{advice and f'. {advice}'}"


def _line(text: str) -> str:
    return clip(redact(text), _LINE_LIMIT)


def summary(diagnosis: Diagnosis, rollback: Rollback | None, restored: bool, what: str) -> str:
    """What failed, what became of the service and what to do, for the record and the execution.

    Args:
        what: what it is in a word: a service, or a site.
    """
    became = of_rollback(rollback, restored, what)
    return f"{diagnosis['cause']}. {became} {diagnosis['advice']}"


def of_rollback(rollback: Mapping[str, Any] | None, restored: bool, what: str) -> str:
    """Return what became of a service or site after a release failed.

    Args:
        restored: whether the previous release was seen steady, or the site was switched back.
    """
    if restored:
        return f"The previous release is back{' and steady' if what == 'service' else ''}."
    if rollback and rollback["action"] in ("ROLL_BACK", "AWAIT"):
        told: Failure = {"Error": "", "Cause": rollback["reason"]}
        failure = cast(Failure, rollback.get("failure") or told)
        why = clip(redact(explain(failure)[1]), _CAUSE_LIMIT).removesuffix(".")
        return f"The rollback failed too: {why}. The {what} needs manual attention."
    if rollback:
        return f"Not rolled back: {rollback['reason']}."
    return f"The {what} was not changed."

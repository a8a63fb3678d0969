"""Explain a failure: what failed, why, and what to do. Imports decisions only, no AWS."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

from deployer.deploy import documents, log_patterns, stop_reasons
from deployer.deploy.rollback import Rollback, reactions, restores
from deployer.deploy.stop_reasons import Task
from deployer.redaction import clip, redact
from deployer.symptoms import Pattern

_ADVICE = {
    "RequestRejected": "Start the execution again with an input as the message shows it.",
    "ServiceUnknown": "Create the service spec, or narrow the rule to repositories that have one.",
    "SpecInvalid": "Correct the named fields of the spec, and push, upload or deploy again.",
    "ImageMissing": "Push the image again, or deploy one that is in the repository.",
    "PreflightFailed": "Fix the named problems, then deploy again; `deployer doctor` checks.",
    "SiteUnknown": "Deploy infrastructure/docs.yaml for the site, or upload to its folder.",
    "SourcesRejected": "Correct the sources and upload them again.",
    "SiteRejected": "See the build's log, correct the sources and upload them again.",
    "BuildNotBegun": "Do what the message says, then upload again.",
    "BuildFailed": "See the build's log; correct the sources and upload them again.",
    "VerificationFailed": "See how the site responds; upload again once you know why.",
    "DatabaseFailed": "See the instance and its events in RDS; then push or deploy again.",
    "SchedulesFailed": "Correct what the message names; then deploy again, or restart.",
    "LockTimedOut": "See who holds the lock; stop that execution if it hangs, then push or upload.",
    "LockLost": "Another execution has already cleaned up; push, upload or deploy again.",
    "ExecutionEnded": "See who stopped the execution and why; then push or upload again.",
    "ServiceDraining": "Wait until the deleted service is INACTIVE and deploy again.",
    "ServiceScaledDown": "Scale the service up and deploy again.",
    "ServiceMissing": "Somebody deleted the service. Deploy again to create it.",
    "RolloutReplaced": "Somebody else changed the service meanwhile. Agree on one way to deploy.",
    "TaskStopping": "See the task in ECS; it ends within its container's stopTimeout.",
    "TaskFailed": "See the last log lines of the task; correct it, and push or deploy again.",
    "TaskTimedOut": "See the task's last log lines; raise its timeout if it only needs more time.",
    "AlarmRaised": "See what the alarm watches, and the log of the new tasks.",
    "RolloutTimedOut": "See the log lines and events; raise timeout if it only needs more time.",
    "VerificationTimedOut": "See the log lines; check health path, port and security group.",
    "WrongVersion": "Tag the image with the version it serves, or correct the rule.",
    "DataChanged": "The release started with other data: check its database setting first.",
}
_BUILD_FIELDS = {"Arn", "BuildStatus", "Phases"}
# By Step Functions' names for the errors of StartBuild
_START_BUILD = {
    "CodeBuild.AccountLimitExceededException": (
        "The quota of concurrent builds is used up; a new account's can be 0. Raise it in the"
        " console of Service Quotas, AWS CodeBuild, 'Concurrently running builds' of the project's"
        " environment: `aws service-quotas list-service-quotas --service-code"
        " codebuild`"
    ),
    "CodeBuild.ResourceNotFoundException": (
        "The build project is missing: deploy the deployer's stack again"
    ),
}
# The diagnosis passes through the workflow, where no state can catch an output above 256 KiB:
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
_LINE_LIMIT = 500  # characters
_SEARCH_LIMIT = 4000  # characters of a line: some patterns take more than linear time
_CAUSE_LIMIT = 4000  # characters
_STOPS_LIMIT = 10
_LOG_LIMIT = 20  # lines
_CAUSE_LINES = 5
# Failures that can have any reason; the log may have the details.
_UNEXPLAINED_ERRORS = (
    *("RolloutFailed", "RolledBackByECS", "RolloutTimedOut", "VerificationTimedOut"),
    *("AlarmRaised", "DataChanged"),
)
_UNEXPLAINED_STOPS = ("crash", "container-health", "load-balancer-health", "unknown")
# What package managers add about a script that failed, after its own words
_OF_A_PACKAGE_MANAGER = re.compile(
    r"^\s*(npm (warn|notice)|npm (error|ERR!) (code|errno|path|command|signal|A complete log)\b|> "
    r"|ELIFECYCLE\b|info Visit https|➤ YN0000: [└┌])"
)
_ERROR_LINE = re.compile(r"(?i)error|ERR_|can't|cannot|not found|no such|refus|fail|made no|hold")


class Failure(TypedDict):
    """A failure in the shape of Step Functions' error output.

    `State` and `Tries` are set if a state failed: its name, and how often it was tried. `Service`
    is the one that failed, of several.
    """

    Error: str
    Cause: str
    State: NotRequired[str]
    Tries: NotRequired[int]
    Service: NotRequired[str | None]


class Diagnosis(TypedDict):
    """A failure explained. `log` holds the last lines of the container that failed, `service` its
    service if the release has several."""

    error: str
    cause: str
    kind: str
    advice: str
    stops: list[str]
    events: list[str]
    log: list[str]
    service: NotRequired[str]


def explain(failure: Failure) -> tuple[str, str]:
    """Return the error's name and message.

    The Cause of a Lambda function is JSON with the message in it. Without a Cause, as for
    States.Timeout, the message is the name.

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
    failure: Failure,
    stopped_tasks: Sequence[Task],
    events: Sequence[str],
    log: Sequence[str],
    symptoms: Sequence[Pattern] = (),
) -> Diagnosis:
    """Explain a failure.

    Args:
        failure: the state's error output.
        stopped_tasks: the failed rollout's stopped tasks, oldest first.
        events: the service's newest events, newest first.
        log: the last lines of a failed task's container; they decide the kind if the task's
            own reason does not.
        symptoms: the patterns of the application's preset.
    """
    error, cause = explain(failure)
    log = [clip(redact(line), _SEARCH_LIMIT) for line in log]
    stops = [stop_reasons.why(task) for task in stopped_tasks if stop_reasons.failed(task)]
    reasons = list(dict.fromkeys(stop.reason for stop in stops))
    kind, advice = error, _ADVICE.get(error, "See the execution's history and the functions' logs.")
    if stops:
        # a permanent reason explains more than a temporary one
        main_stop = next((stop for stop in stops if not stop.heals), stops[-1])
        kind, advice = main_stop.kind, main_stop.advice
        if error in _UNEXPLAINED_ERRORS and main_stop.reason not in cause:
            # ECS's own message says only that tasks failed
            cause = f"{_line(main_stop.reason)} ({cause})"
    if kind in _UNEXPLAINED_STOPS if stops else error in _UNEXPLAINED_ERRORS:
        for symptom in log_patterns.matching(log, symptoms)[:1]:
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


def failed_containers(task: Task, definition: Mapping[str, Any]) -> list[str]:
    """Return the names of a task's containers, those first that failed or that are essential.

    Args:
        definition: the task's task definition.
    """
    exits = {one.get("name"): one.get("exitCode") for one in task.get("containers", ())}
    containers = documents.containers(definition)
    containers.sort(
        key=lambda one: (not exits.get(one.get("name")), one.get("essential", True) is False)
    )
    return [str(one.get("name")) for one in containers]


def build_log(failure: Failure) -> tuple[str, str] | None:
    """Return the log group and stream of a failed build; None if the failure is not a build's.

    The Cause of a failed `startBuild.sync` is the build as BatchGetBuilds describes it:
    https://docs.aws.amazon.com/step-functions/latest/dg/connect-codebuild.html
    """
    logs = build_of(failure).get("Logs") or {}
    group, stream = logs.get("GroupName"), logs.get("StreamName")
    return (group, stream) if group and stream else None


def diagnose_docs_build(failure: Failure, log: Sequence[str]) -> Diagnosis:
    """Explain a failed build by the phase that failed and the last lines of its log.

    The cause leaves out CodeBuild's own lines, which repeat the phases' contexts.
    """
    lines = [clip(redact(line), _SEARCH_LIMIT) for line in log]
    lines = [line for line in lines if line.strip() and not line.startswith("[Container]")]
    reasons = [
        f"{phase.get('PhaseType')}: {context.get('Message')}"
        for phase in build_of(failure).get("Phases") or []
        if phase.get("PhaseStatus") not in (None, "SUCCEEDED")
        for context in phase.get("Contexts") or []
        if context.get("Message")
    ]
    if failure["Error"].startswith("CodeBuild."):
        return diagnose({"Error": "BuildNotBegun", "Cause": not_begun(failure)}, [], [], lines)
    if not reasons:
        return diagnose(failure, [], [], lines)
    cause = "; ".join(reasons)
    installing = any(reason.startswith(("INSTALL:", "PRE_BUILD:")) for reason in reasons)
    if causes := _telling(lines, installing):
        cause += ". Its log says: " + " | ".join(causes)
    return diagnose({"Error": "BuildFailed", "Cause": cause}, [], [], lines)


def _telling(lines: Sequence[str], installing: bool) -> list[str]:
    """Return the last lines of a log that say why a build failed.

    Args:
        installing: whether packages were installed; their scripts print anything before they fail.
    """
    own = [line.strip() for line in lines if not _OF_A_PACKAGE_MANAGER.search(line)]
    errors = [index for index, line in enumerate(own) if _ERROR_LINE.search(line)]
    last = range(len(own))[-_CAUSE_LINES:]
    chosen = {*errors[-_CAUSE_LINES:], *(last if installing or not errors else ())}
    return [own[index] for index in sorted(chosen)]


def build_of(failure: Failure) -> Mapping[str, Any]:
    """Return the build of a failed `startBuild.sync`; {} if no build began.

    Errors of StartBuild itself also come as States.TaskFailed, with a message instead of a build.
    """
    try:
        cause = json.loads(failure.get("Cause") or "")
    except ValueError:
        return {}
    build = cause.get("Build", cause) if isinstance(cause, dict) else None
    return build if isinstance(build, dict) and build.keys() & _BUILD_FIELDS else {}


def not_begun(failure: Failure) -> str:
    """Return why CodeBuild did not begin a build, and what to do.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StartBuild.html#API_StartBuild_Errors
    """
    error, message = explain(failure)
    advice = _START_BUILD.get(error, "")
    return f"CodeBuild did not begin a build: {redact(message) or error}{advice and f'. {advice}'}"


def _line(text: str) -> str:
    return clip(redact(text), _LINE_LIMIT)


def summary(diagnosis: Diagnosis, rollback: Rollback | None, restored: bool, what: str) -> str:
    """Return a failure in a few sentences, for the record and the execution.

    They say what failed, how the service or site was left, and what to do.

    Args:
        what: `service` or `site`.
    """
    became = of_rollback(rollback, restored, what)
    if why := rollback and rollback.get("schedules"):
        why = clip(redact(explain({"Error": "", "Cause": why})[1]), _CAUSE_LIMIT).removesuffix(".")
        became += (
            f" Its schedules could not be put back: {why}. `deployer doctor` names them, and"
            " `deployer restart` sets them."
        )
    return f"{diagnosis['cause']}. {became} {diagnosis['advice']}"


def of_rollback(rollback: Mapping[str, Any] | None, restored: bool, what: str) -> str:
    """Return in words how a service or site was left after a release failed.

    Args:
        restored: whether the previous release is steady again, or the site was switched back.
    """
    further = (rollback or {}).get("services", {})
    if restored:
        count = f" in {len(further) + 1} services" if further else ""
        return f"The previous release is back{' and steady' if what == 'service' else ''}{count}."
    errors = rollback and (rollback.get("failure") or rollback.get("schedules"))
    if rollback and further and not errors and not _alike(rollback):
        each = [f"{name}: {one['reason']}" for name, one in further.items()]
        return f"Not all rolled back: {'; '.join([rollback['reason'], *each])}."
    if rollback and restores(rollback):
        cause = rollback.get("schedules") or rollback["reason"]
        unrecorded: Failure = {"Error": "", "Cause": cause}
        failure = cast(Failure, rollback.get("failure") or unrecorded)
        why = clip(redact(explain(failure)[1]), _CAUSE_LIMIT).removesuffix(".")
        return f"The rollback failed too: {why}. The {what} needs manual attention."
    if rollback:
        return f"Not rolled back: {rollback['reason']}."
    return f"The {what} was not changed."


def _alike(rollback: Mapping[str, Any]) -> bool:
    """Return whether all services of a release were left in the same way."""
    return len({(one["action"], one["reason"]) for one in reactions(rollback)}) == 1

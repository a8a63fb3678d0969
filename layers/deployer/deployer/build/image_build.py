"""Decide about builds of a service's image from uploaded source archives, and explain failures.

The releases table keeps records of builds under `build:<service>`. Builds use locks as releases do,
so one image of a service is built at a time and the newest upload wins. Imports decisions only, no
AWS.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict, final

from deployer.deploy import diagnosis, documents, release
from deployer.deploy.diagnosis import Failure
from deployer.deploy.release import Entry, Record, release_id
from deployer.deploy.spec import ServiceSpec
from deployer.errors import RequestRejected
from deployer.redaction import clip, redact
from deployer.requests import fields_of, text

EXAMPLE = '{"action": "build", "service": "<service>", "key": "image/<service>/<archive>.tar.gz"}'
BY_COMMIT = '{"action": "build", "service": "<service>", "commit": "<commit>"}'
MAX_ARCHIVE = 5 * 1024**3  # bytes; a large repository with its history has about 1 GiB

_KEY = re.compile(r"image/(?P<service>[a-zA-Z0-9][a-zA-Z0-9_-]{0,254})/(?P<name>[^/]+)")
_ARCHIVE = re.compile(r"(?P<stem>.+)\.(tar\.gz|tgz|zip)")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
# This phase pushes to ECR, so a build must not be stopped in it or later.
_PUSHES = "POST_BUILD"
_SCRIPT_ERROR = re.compile(r"image: (?P<error>[A-Z][A-Za-z]+): (?P<cause>.+)")
# What compilers, linkers, make, pnpm, docker, nix and git write only when they fail.
_ERROR_LINE = re.compile(
    r"(?i)error\b(?! ?=)|line \d+|\bfatal\b|\bpanic\b|\bexception\b|not found"
    r"|no such file|permission denied|undefined|cannot |out of memory|killed|no space left"
    r"|\S:\d+:\d+:|\*\*\* \["
)
_LINES = 12
_LINE = 300
_INFRASTRUCTURE = ("SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE")
_RETRIABLE = ("PushInterrupted", "AwsUnavailable")

type BuildDocument = Mapping[str, Any]
"""A build as Step Functions' startBuild.sync shows it: CodeBuild's Build in PascalCase."""


@dataclass(frozen=True)
class Upload:
    """An archive that arrived in the bucket, or that a request to build names."""

    service: str
    key: str
    version: str | None
    by: str | None


@dataclass(frozen=True)
class Fetch:
    """A request to fetch a commit from the connected repository; its upload then starts a build."""

    service: str
    commit: str


class Source(TypedDict):
    """An archive in the bucket of sources, as S3 describes it. `size` is in bytes."""

    key: str
    version: str | None
    etag: str
    size: int
    at: str


class Build(Entry):
    """A build as the states pass it on and the table keeps it.

    `digest` is the archive's entity tag until the image exists; `version` the archive's name until
    the version is known. `content` identifies the archive's content: the commit that it is named
    after, or its entity tag.
    """

    source: Source
    content: str


@final
class RecordedBuild(Build, Record):
    """The record of a build. `digest` is the image's if it produced one."""

    diagnosis: NotRequired["Diagnosis"]


class Variable(TypedDict):
    """A variable of CodeBuild's environment."""

    Name: str
    Value: str
    Type: Literal["PLAINTEXT"]


class Diagnosis(TypedDict):
    """The reason for a failed build; `again` if a second try is likely to succeed."""

    error: str
    cause: str
    lines: list[str]
    again: bool


class Result(TypedDict):
    """The result of a build, from its exported variables. Durations are seconds by phase."""

    version: NotRequired[str]
    tag: NotRequired[str]
    digest: NotRequired[str]
    commit: NotRequired[str]
    skipped: bool
    build: str
    log: str
    durations: dict[str, int]


def partition(service: str) -> str:
    """Return the name of a service's builds in the releases table."""
    return f"build:{service}"


def is_build(service: str) -> bool:
    """Return whether a name in the releases table is that of builds."""
    return service.startswith(partition(""))


def of_partition(name: str) -> str:
    """Return the service of a name in the releases table."""
    return name.removeprefix(partition(""))


def is_archive(stored: Mapping[str, Any]) -> bool:
    """Return whether an object that S3 lists is an archive to build."""
    source: Any = stored
    return bool(_KEY.fullmatch(stored["key"])) and refusal(source) is None


def parse(document: object) -> Upload | Fetch:
    """Read the input of an execution.

    Args:
        document: S3's `Object Created` event as EventBridge delivers it
            (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html), or a request.
    Raises:
        RequestRejected: the message names the problem and has a valid example.
    """
    document = fields_of(document, EXAMPLE)
    if "action" in document:
        return _manual(document)
    detail = document.get("detail")
    if document.get("detail-type") != "Object Created" or not isinstance(detail, dict):
        raise RequestRejected(
            f"the input is neither S3's 'Object Created' nor a request; a request is {EXAMPLE}"
        )
    stored = detail.get("object")
    if not isinstance(stored, dict):
        raise RequestRejected("the S3 event has no object")
    key = text(stored, "key", "S3 event's object")
    version = stored.get("version-id")
    return Upload(_service(key), key, str(version) if version else None, None)


def _manual(request: Mapping[str, object]) -> Upload | Fetch:
    fields = {"action", "service", "key", "commit", "by"}
    unknown = sorted(map(str, request.keys() - fields))
    if request["action"] != "build" or unknown or ("key" in request) == ("commit" in request):
        raise RequestRejected(f"a request to build is {EXAMPLE} or {BY_COMMIT}")
    service = text(request, "service", "request")
    if "commit" in request:
        commit = text(request, "commit", "request")
        if not _COMMIT.fullmatch(commit):
            raise RequestRejected(
                f"commit {commit[:80]!r} is invalid: it must have 7 to 40 hex digits,"
                " such as e0f93fb88"
            )
        return Fetch(service, commit)
    key = text(request, "key", "request")
    if _service(key) != service:
        raise RequestRejected(f"{key} is not an archive of {service}; a request is {EXAMPLE}")
    return Upload(
        service, key, None, text(request, "by", "request") if "by" in request else "operator"
    )


def _service(key: str) -> str:
    match = _KEY.fullmatch(key)
    if not match:
        raise RequestRejected(
            f"{key[:200]} is not an archive of a service:"
            " upload to image/<service>/<archive>.tar.gz"
        )
    return match["service"]


def refusal(source: Source) -> str | None:
    """Return why an object cannot be built; None if it can."""
    if not _ARCHIVE.fullmatch(source["key"]):
        return f"{source['key']} is not an archive: its name must end in .tar.gz, .tgz or .zip"
    if source["size"] == 0:
        return f"{source['key']} is empty"
    if source["size"] > MAX_ARCHIVE:
        return (
            f"{source['key']} is too large: {source['size'] / 1024**3:.1f} GiB; "
            f"the limit is {MAX_ARCHIVE // 1024**3} GiB"
        )
    return None


def entry(upload: Upload, source: Source, execution: str, now: datetime) -> Build:
    """Return the build for an upload: the same id for each of its events."""
    moment = datetime.fromisoformat(source["at"])
    name = upload.key.rpartition("/")[2]
    match = _ARCHIVE.fullmatch(name)
    stem = match["stem"] if match else name
    requested = upload.by is not None
    return {
        "service": partition(upload.service),
        "id": release_id(moment, source["etag"], execution if requested else upload.key),
        "digest": source["etag"],
        "tag": None,
        "version": stem,
        "pushedAt": source["at"],
        "trigger": "deploy" if requested else "push",
        "startedBy": upload.by or "upload",
        "startedAt": now.isoformat(),
        "execution": execution,
        "source": source,
        "content": stem if re.fullmatch(r"[0-9a-f]{40}", stem) else source["etag"],
    }


def already_built(earlier: Record, build: Build, history: Sequence[Record]) -> str | None:
    """Return why the archive need not be built: its content was, or is being. None if it must be.

    If the earlier build is being stopped for an upload of other content, this one is built again.

    Args:
        earlier: the record of the earlier build of this content.
        history: the service's builds.
    """
    if build["trigger"] != "push":
        return None
    outcome = earlier.get("outcome")
    if outcome == "SUCCEEDED":
        return f"the same content was built before: {earlier['version']}, {earlier['id']}"
    others = [entry for entry in history if entry["id"] != build["id"]]
    stopped = earlier["trigger"] == "push" and newer(earlier, others)
    if outcome is None and not stopped:
        return f"the same content is being built: {earlier['id']}"
    return None


def variables(spec: ServiceSpec, source: Source, bucket: str, execution: str) -> list[Variable]:
    """Return the buildspec's variables; buildspecs/image.yaml documents each."""
    build = spec.build
    values = {
        "SERVICE": spec.service,
        "REPOSITORY": spec.repository,
        "ARCHITECTURE": _platform(spec).partition("/")[2],
        "TAGS": spec.tags,
        "MODE": build.mode,
        "VERSION_COMMAND": build.version,
        "BUILD_COMMAND": build.compile,
        "IMAGE_COMMAND": build.image,
        "BASE_IMAGE": build.base_image or "",
        "MIGRATIONS": build.migrations,
        "SOURCE_BUCKET": bucket,
        "SOURCE_KEY": source["key"],
        "SOURCE_VERSION": source["version"] or "",
        "EXECUTION": execution,
    }
    return [{"Name": name, "Value": value, "Type": "PLAINTEXT"} for name, value in values.items()]


def _platform(spec: ServiceSpec) -> str:
    """Return the platform to build for: the spec's, or that of the task definition in it."""
    definition = spec.task_definition if isinstance(spec.task_definition, Mapping) else {}
    return spec.build.platform or documents.platform(definition) or "linux/amd64"


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Return a hash of files' names and contents, of 12 hex digits."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def overtakes(build: Build, holder: Mapping[str, Any]) -> bool:
    """Return whether this build's upload is newer than that of the running build."""
    pushes = build["trigger"] == holder["trigger"] == "push"
    holder_pushed, build_pushed = holder["pushedAt"], build["pushedAt"]
    return pushes and datetime.fromisoformat(holder_pushed) < datetime.fromisoformat(build_pushed)


def may_be_stopped(running: Mapping[str, Any]) -> bool:
    """Return whether a build, as BatchGetBuilds shows it, cannot have pushed to ECR yet."""
    begun = {phase["phaseType"] for phase in running.get("phases", ())}
    return _PUSHES not in begun | {running.get("currentPhase")}


def result(build: BuildDocument) -> Result:
    """Return what a build produced and how long it took."""
    exported = {
        variable["Name"]: variable["Value"]
        for variable in build.get("ExportedEnvironmentVariables") or ()
    }
    result: Result = {
        "skipped": exported.get("OUTCOME") == "SKIPPED",
        "build": str(build.get("Arn", "")),
        "log": str((build.get("Logs") or {}).get("DeepLink", "")),
        "durations": {
            phase["PhaseType"]: int(phase["DurationInSeconds"])
            for phase in build.get("Phases") or ()
            if "DurationInSeconds" in phase
        },
    }
    for name in ("version", "tag", "digest", "commit"):
        if exported.get(name.upper()):
            result[name] = exported[name.upper()]
    return result


def summary(service: str, result: Result) -> str:
    """Return the result of a successful build in a sentence."""
    what = f"{service} {result.get('version')}"
    if result["skipped"]:
        return f"{what} is in ECR already, built from the same content"
    seconds = sum(result["durations"].values())
    return (
        f"{what} was built from {result.get('commit') or 'the archive'} and pushed in {seconds} s"
    )


def explain(failure: Failure | None, lines: Sequence[str] = ()) -> Diagnosis:
    """Explain why an execution built no image: its build failed, did not begin, or otherwise.

    Args:
        lines: the last lines of the build's log, if it has one.
    """
    failure = failure or {"Error": "ExecutionEnded", "Cause": ""}
    if failed := diagnosis.build_of(failure):
        return diagnose(failed, lines)
    error, cause = diagnosis.explain(failure)
    if error.startswith("CodeBuild."):
        # Step Functions has used up its retries
        error, cause = "BuildNotBegun", diagnosis.not_begun(failure)
    return {"error": error, "cause": redact(cause) or error, "lines": [], "again": False}


def diagnose(build: BuildDocument, lines: Sequence[str]) -> Diagnosis:
    """Explain a failed build by the phase that failed and the relevant lines of its log.

    Args:
        lines: the last lines of the build's log.
    """
    status = build.get("BuildStatus")
    failed: Mapping[str, Any] = next(
        (p for p in build.get("Phases") or () if p.get("PhaseStatus") not in (None, "SUCCEEDED")),
        {},
    )
    phase = failed.get("PhaseType", "")
    if status == "STOPPED":
        return {
            "error": "BuildStopped",
            "cause": "the build was stopped",
            "lines": [],
            "again": False,
        }
    if status == "TIMED_OUT":
        cause = f"the build did not finish in {build.get('TimeoutInMinutes')} minutes, in {phase}"
        return {"error": "BuildTimedOut", "cause": cause, "lines": telling(lines), "again": False}
    context: Mapping[str, Any] = next(iter(failed.get("Contexts") or ()), {})
    message = str(context.get("Message") or f"phase {phase} failed")
    if status == "FAULT" or phase in _INFRASTRUCTURE:
        cause = redact(f"CodeBuild could not begin the build, in {phase}: {message}")
        return {"error": "BuildNotBegun", "cause": cause, "lines": telling(lines), "again": True}
    script_errors = [match for line in lines if (match := _SCRIPT_ERROR.fullmatch(line.strip()))]
    if not script_errors:
        return {
            "error": "BuildFailed",
            "cause": redact(message),
            "lines": telling(lines),
            "again": False,
        }
    error, cause = script_errors[-1]["error"], script_errors[-1]["cause"]
    return {
        "error": error,
        "cause": redact(cause),
        "lines": telling(lines),
        "again": error in _RETRIABLE,
    }


def telling(lines: Sequence[str]) -> list[str]:
    """Return the relevant lines: those with an error, or else the last ones."""
    short = [clip(redact(line), _LINE) for line in lines]
    output = [
        line
        for line in short
        if not line.startswith("[Container]") and not _SCRIPT_ERROR.match(line)
    ]
    matches = [line for line in output if _ERROR_LINE.search(line)] or [
        line for line in output if line.strip()
    ]
    return matches[-_LINES:]


def reason(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as one text: the cause and the first errors, or else the last line."""
    lines = [line.strip() for line in diagnosis["lines"]]
    # make adds only that there were errors.
    errors = [line for line in lines if _ERROR_LINE.search(line) and not line.startswith("make")]
    return ". ".join([diagnosis["cause"], " | ".join(errors[:3] or lines[-1:])]).removesuffix(". ")


def newer(build: Entry, history: Sequence[Record]) -> Record | None:
    """Return the newer upload for which a build was stopped; None if a person stopped it."""
    pushed = datetime.fromisoformat(build["pushedAt"])
    for record in history:
        counts = record["trigger"] == "push" and record.get("outcome") != "IGNORED"
        if counts and datetime.fromisoformat(record["pushedAt"]) > pushed:
            return record
    return None


def unidentified(document: object, execution: str, started_at: str) -> release.Unidentified:
    """Return the record of an input that could not be parsed as a build."""
    try:
        service = parse(document).service
    except RequestRejected:
        service = "unknown"
    return {
        **release.unidentified({}, execution, started_at),
        "service": partition(service),
    }

"""A build: a service's image made from an uploaded source archive, and what became of it.

The records of builds lie beside those of releases, under `build:<service>`; Locks are taken there
as releases take theirs, so one image of a service is built at a time and the newest upload wins.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from deployer.deploy import diagnosis, release
from deployer.deploy.diagnosis import Failure
from deployer.deploy.release import Entry, Recorded, release_id
from deployer.deploy.spec import ServiceSpec
from deployer.errors import RequestRejected
from deployer.redaction import clip, redact
from deployer.requests import text

EXAMPLE = '{"action": "build", "service": "<service>", "key": "image/<service>/<archive>.tar.gz"}'
BY_COMMIT = '{"action": "build", "service": "<service>", "commit": "<commit>"}'
MAX_ARCHIVE = 5 * 1024**3  # bytes; Coder with its history is about one

_KEY = re.compile(r"image/(?P<service>[a-zA-Z0-9][a-zA-Z0-9_-]{0,254})/(?P<name>[^/]+)")
_ARCHIVE = re.compile(r"(?P<stem>.+)\.(tar\.gz|tgz|zip)")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
# Nothing is in ECR before this phase, and in it a build must not be stopped.
_PUSHES = "POST_BUILD"
_OURS = re.compile(r"image: (?P<error>[A-Z][A-Za-z]+): (?P<cause>.+)")
# What compilers, linkers, make, pnpm, docker, nix and git write when they give up, and nobody else.
_TELLING = re.compile(
    r"(?i)error\b(?! ?=)|line \d+|\bfatal\b|\bpanic\b|\bexception\b|not found"
    r"|no such file|permission denied|undefined|cannot |out of memory|killed|no space left"
    r"|\S:\d+:\d+:|\*\*\* \["
)
_LINES = 12
_LINE = 300
_INFRASTRUCTURE = ("SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE")
_AGAIN = ("PushInterrupted", "AwsUnavailable")

type BuildDocument = Mapping[str, Any]
"""A build as Step Functions' startBuild.sync shows it: CodeBuild's Build in PascalCase."""


@dataclass(frozen=True)
class Upload:
    """An archive arrived in the bucket, or is there and is ordered to be built."""

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

    `digest` is the archive's entity tag until there is an image; `version` its name until the
    version is known. `content` is the same for two archives of the same content: the commit that
    an archive is named after, or its entity tag.
    """

    source: Source
    content: str


class Variable(TypedDict):
    """A variable of CodeBuild's environment."""

    Name: str
    Value: str
    Type: Literal["PLAINTEXT"]


class Diagnosis(TypedDict):
    """Why a build failed, in words; `again` if a second try may well succeed."""

    error: str
    cause: str
    lines: list[str]
    again: bool


class Result(TypedDict):
    """What a build made, from its exported variables. Durations are seconds by phase."""

    version: NotRequired[str]
    tag: NotRequired[str]
    digest: NotRequired[str]
    commit: NotRequired[str]
    skipped: bool
    build: str
    log: str
    durations: dict[str, int]


def partition(service: str) -> str:
    """Under which name the builds of a service are kept."""
    return f"build:{service}"


def is_build(service: str) -> bool:
    """Whether what the releases table keeps under a name is a service's builds."""
    return service.startswith(partition(""))


def of_partition(name: str) -> str:
    """The service whose builds the releases table keeps under a name."""
    return name.removeprefix(partition(""))


def is_archive(stored: Mapping[str, Any]) -> bool:
    """Whether an object that S3 lists is an archive to build."""
    source: Any = stored
    return bool(_KEY.fullmatch(stored["key"])) and refusal(source) is None


def parse(document: object) -> Upload | Fetch:
    """Read the input of an execution.

    Args:
        document: S3's `Object Created` event as EventBridge delivers it
            (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html), or a request.
    Raises:
        RequestRejected: naming what is wrong, with an example of what is right.
    """
    if not isinstance(document, dict):
        raise RequestRejected(
            f"the input must be an object, not {type(document).__name__}; for example {EXAMPLE}"
        )
    if "action" in document:
        return _priority(document)
    detail = document.get("detail")
    if document.get("detail-type") != "Object Created" or not isinstance(detail, dict):
        raise RequestRejected(
            f"the input is neither S3's 'Object Created' nor a request; a request is {EXAMPLE}"
        )
    found = detail.get("object")
    if not isinstance(found, dict):
        raise RequestRejected("the S3 event names no object")
    key = text(found, "key", "S3 event's object")
    version = found.get("version-id")
    return Upload(_service(key), key, str(version) if version else None, None)


def _priority(request: Mapping[str, object]) -> Upload | Fetch:
    known = {"action", "service", "key", "commit", "by"}
    unknown = sorted(map(str, request.keys() - known))
    if request["action"] != "build" or unknown or ("key" in request) == ("commit" in request):
        raise RequestRejected(f"a request to build is {EXAMPLE} or {BY_COMMIT}")
    service = text(request, "service", "order")
    if "commit" in request:
        commit = text(request, "commit", "order")
        if not _COMMIT.fullmatch(commit):
            raise RequestRejected(
                f"commit {commit[:80]!r} is none: 7 to 40 hex digits, such as e0f93fb88"
            )
        return Fetch(service, commit)
    key = text(request, "key", "order")
    if _service(key) != service:
        raise RequestRejected(f"{key} is no archive of {service}: that is {EXAMPLE}")
    return Upload(
        service, key, None, text(request, "by", "order") if "by" in request else "operator"
    )


def _service(key: str) -> str:
    match = _KEY.fullmatch(key)
    if not match:
        raise RequestRejected(
            f"{key[:200]} is no archive of a service: upload to image/<service>/<archive>.tar.gz"
        )
    return match["service"]


def refusal(source: Source) -> str | None:
    """Why an object is not built; None if it is."""
    if not _ARCHIVE.fullmatch(source["key"]):
        return f"{source['key']} is no archive: its name must end in .tar.gz, .tgz or .zip"
    if source["size"] == 0:
        return f"{source['key']} is empty"
    if source["size"] > MAX_ARCHIVE:
        return (
            f"{source['key']} is too large: {source['size'] / 1024**3:.1f} GiB; "
            f"{MAX_ARCHIVE // 1024**3} GiB are the most"
        )
    return None


def entry(upload: Upload, source: Source, execution: str, now: datetime) -> Build:
    """The build that an upload is. The same upload has the same id, whoever tells of it."""
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


def known(earlier: Recorded, mine: Build, history: Sequence[Recorded]) -> str | None:
    """Why the archive need not be built: the same content was, or is being; None if it must.

    A build of an upload may be stopped for a newer upload of other content, which this one
    follows: then it is built once more.

    Args:
        earlier: the build that had this content before, by its record.
        history: the service's builds.
    """
    if mine["trigger"] != "push":
        return None
    outcome = earlier.get("outcome")
    if outcome == "SUCCEEDED":
        return f"the same content was built before: {earlier['version']}, {earlier['id']}"
    others = [entry for entry in history if entry["id"] != mine["id"]]
    stopped = earlier["trigger"] == "push" and newer(earlier, others)
    if outcome is None and not stopped:
        return f"the same content is being built: {earlier['id']}"
    return None


def variables(spec: ServiceSpec, source: Source, bucket: str, execution: str) -> list[Variable]:
    """What the buildspec is told; buildspecs/image.yaml says what each is for."""
    build = spec.build
    told = {
        "SERVICE": spec.service,
        "REPOSITORY": spec.repository,
        "ARCHITECTURE": spec.platform.partition("/")[2],
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
    return [{"Name": name, "Value": value, "Type": "PLAINTEXT"} for name, value in told.items()]


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Twelve hex digits that differ whenever a file's name or content does."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def overtakes(mine: Build, holder: Mapping[str, Any]) -> bool:
    """Whether this build makes the one that runs out of date: a newer upload than that one's."""
    pushes = mine["trigger"] == holder["trigger"] == "push"
    theirs, ours = holder["pushedAt"], mine["pushedAt"]
    return pushes and datetime.fromisoformat(theirs) < datetime.fromisoformat(ours)


def may_be_stopped(running: Mapping[str, Any]) -> bool:
    """Whether nothing of a build (as BatchGetBuilds shows it) can be in ECR yet."""
    begun = {phase["phaseType"] for phase in running.get("phases", ())}
    return _PUSHES not in begun | {running.get("currentPhase")}


def result(build: BuildDocument) -> Result:
    """What a build made and how long it took."""
    exported = {
        variable["Name"]: variable["Value"]
        for variable in build.get("ExportedEnvironmentVariables") or ()
    }
    made: Result = {
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
            made[name] = exported[name.upper()]
    return made


def summary(service: str, made: Result) -> str:
    """What a build came to that did not fail."""
    what = f"{service} {made.get('version')}"
    if made["skipped"]:
        return f"{what} is in ECR already, built from the same content"
    seconds = sum(made["durations"].values())
    return f"{what} was built from {made.get('commit') or 'the archive'} and pushed in {seconds} s"


def explain(failure: Failure | None, lines: Sequence[str] = ()) -> Diagnosis:
    """Explain why an execution made no image: its build failed, none began, or something else.

    Args:
        lines: the last lines of the build's log, where there is one.
    """
    failure = failure or {"Error": "ExecutionEnded", "Cause": ""}
    if failed := diagnosis.build_of(failure):
        return diagnose(failed, lines)
    error, cause = diagnosis.explain(failure)
    if error.startswith("CodeBuild."):
        # Step Functions has tried it again for as long as that helps
        error, cause = "BuildNotBegun", diagnosis.not_begun(failure)
    return {"error": error, "cause": redact(cause) or error, "lines": [], "again": False}


def diagnose(build: BuildDocument, lines: Sequence[str]) -> Diagnosis:
    """Why a build failed: the phase that failed, and the lines of its log that tell.

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
        cause = f"the build was not done in {build.get('TimeoutInMinutes')} minutes, in {phase}"
        return {"error": "BuildTimedOut", "cause": cause, "lines": telling(lines), "again": False}
    context: Mapping[str, Any] = next(iter(failed.get("Contexts") or ()), {})
    said = str(context.get("Message") or f"phase {phase} failed")
    if status == "FAULT" or phase in _INFRASTRUCTURE:
        cause = redact(f"CodeBuild could not begin the build, in {phase}: {said}")
        return {"error": "BuildNotBegun", "cause": cause, "lines": telling(lines), "again": True}
    ours = [match for line in lines if (match := _OURS.fullmatch(line.strip()))]
    if not ours:
        return {
            "error": "BuildFailed",
            "cause": redact(said),
            "lines": telling(lines),
            "again": False,
        }
    error, cause = ours[-1]["error"], ours[-1]["cause"]
    return {
        "error": error,
        "cause": redact(cause),
        "lines": telling(lines),
        "again": error in _AGAIN,
    }


def telling(lines: Sequence[str]) -> list[str]:
    """The lines that matter: those that speak of an error, or the last ones if none does."""
    short = [clip(redact(line), _LINE) for line in lines]
    own = [line for line in short if not line.startswith("[Container]") and not _OURS.match(line)]
    found = [line for line in own if _TELLING.search(line)] or [
        line for line in own if line.strip()
    ]
    return found[-_LINES:]


def reason(found: Diagnosis) -> str:
    """A diagnosis in one text: the cause, and the first errors, or else the last line."""
    lines = [line.strip() for line in found["lines"]]
    # What make says of a compiler's errors is only that there were some.
    errors = [line for line in lines if _TELLING.search(line) and not line.startswith("make")]
    return ". ".join([found["cause"], " | ".join(errors[:3] or lines[-1:])]).removesuffix(". ")


def newer(mine: Entry, history: Sequence[Recorded]) -> Recorded | None:
    """The upload that made a stopped build out of date; None if a person stopped it."""
    pushed = datetime.fromisoformat(mine["pushedAt"])
    for record in history:
        counts = record["trigger"] == "push" and record.get("outcome") != "IGNORED"
        if counts and datetime.fromisoformat(record["pushedAt"]) > pushed:
            return record
    return None


def unidentified(document: object, execution: str, started_at: str) -> release.Unidentified:
    """The record of an input that could not be read as a build."""
    try:
        service = parse(document).service
    except RequestRejected:
        service = "unknown"
    return {
        **release.unidentified({}, execution, started_at),
        "service": partition(service),
    }

"""Judge HTTP responses: do they come from the deployed release, with unchanged data?

Imports decisions only, no AWS.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from deployer.deploy.release import as_tag
from deployer.deploy.spec import Probe, Verification, VersionProbe

# Values pass through the execution, whose state is limited to 256 KiB.
_MAX_VALUE = 200  # characters
_MAX_DOCUMENT = 1024 * 1024  # bytes

type Probes = Mapping[str, str]
"""The values of the probes that no deployment may change, by the probe's name."""


@dataclass(frozen=True)
class Answer:
    """An HTTP response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Finding(TypedDict):
    """The verdict on a response: VERIFIED, PENDING (not as expected yet), or REFUTED.

    `error` is the failure's name in the execution; it is empty unless REFUTED. Of several services,
    `service` is the one that was.
    """

    verdict: Literal["VERIFIED", "PENDING", "REFUTED"]
    error: str
    reason: str
    service: NotRequired[str]


def healthy(verify: Verification, answer: Answer | None) -> Finding:
    """Judge the response on the health path; `answer` is None without one."""
    if answer is None:
        return pending(f"no answer on {verify.path}")
    if answer.status != 200:
        return pending(f"{verify.path} answered {answer.status}")
    return verified(f"{verify.path} answered 200")


def served_version(probe: VersionProbe, answer: Answer | None) -> str | None:
    """Return the version in a response; None if it has none."""
    if answer is None:
        return None
    if probe.header:
        version = answer.headers.get(probe.header.lower())
    else:
        version = field_of(answer, probe.field or "")
    return version and version[:_MAX_VALUE]


def versions_match(served: str, version: str, match: str) -> bool:
    """Return whether the served version is the release's.

    Args:
        match: `exact`, or `build`: ignore a leading `v`, treat `+` and `-` as the same, and allow
            the binary to add build metadata after a `+` (https://semver.org/#spec-item-10).
    """
    if match == "exact":
        return served == version
    served_version, expected = served.removeprefix("v"), as_tag(version.removeprefix("v"))
    return expected in (as_tag(served_version), served_version.split("+")[0])


def right_version(probe: VersionProbe, answer: Answer | None, version: str) -> Finding:
    """Judge the version that the service reports."""
    served = served_version(probe, answer)
    if served is None:
        where = f"header {probe.header}" if probe.header else f"field {probe.field}"
        return pending(f"{probe.path} reports no version in {where}")
    if not versions_match(served, version, probe.match):
        return refuted("WrongVersion", f"it serves version {served}, not {version}")
    return verified(f"it serves version {served}")


def probe_name(probe: Probe) -> str:
    """Return the name for a probe's value in records."""
    return f"{probe.path}#{probe.field}" if probe.field else probe.path


def probe_value(probe: Probe, answer: Answer | None) -> str | None:
    """Return a probe's value: its JSON field, or else the status; None without a value."""
    if answer is None or answer.status >= 500:
        return None
    if not probe.field:
        return str(answer.status)
    value = field_of(answer, probe.field)
    if value and len(value) > _MAX_VALUE:
        return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value


def unchanged(before: Probes, after: Probes) -> Finding:
    """Judge the probes that must not change across a deployment."""
    silent = sorted(before.keys() - after.keys())
    if silent:
        return pending(f"no answer from {', '.join(silent)}")
    changes = [
        f"{name} was {value} and is {after[name]}"
        for name, value in sorted(before.items())
        if after[name] != value
    ]
    if changes:
        return refuted("DataChanged", f"the data changed: {'; '.join(changes)}")
    return verified(f"{len(before)} probe(s) unchanged")


def remembered(previous: Probes) -> Probes:
    """Return the recorded values that can replace a current response.

    A field such as a deployment id identifies the data permanently. A status may have changed
    for a good reason, for instance because the first user was created.
    """
    return {name: value for name, value in previous.items() if "#" in name}


def field_of(answer: Answer, name: str) -> str | None:
    """Return a field of a JSON body as text; a dotted name selects nested objects."""
    if len(answer.body) > _MAX_DOCUMENT:
        return None
    try:
        value: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value if isinstance(value, str) else json.dumps(value)


def of_service(probes: Probes, service: str | None) -> Probes:
    """Return the probes of one of several services, by their names in it; None for the leading
    one."""
    prefix = f"{service} " if service else "/"
    own = {name: value for name, value in probes.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): value for name, value in own.items()} if service else own


def in_release(probes: Probes, service: str | None) -> Probes:
    """Return the probes of a service by their names in a release to several; see `of_service`."""
    return {f"{service} {name}" if service else name: value for name, value in probes.items()}


def verified(reason: str) -> Finding:
    """Return the finding that a response is as expected."""
    return {"verdict": "VERIFIED", "error": "", "reason": reason}


def pending(reason: str) -> Finding:
    """Return the finding that the response is not as expected yet."""
    return {"verdict": "PENDING", "error": "", "reason": reason}


def refuted(error: str, reason: str) -> Finding:
    """Return the finding that another release or other data responds."""
    return {"verdict": "REFUTED", "error": error, "reason": reason}

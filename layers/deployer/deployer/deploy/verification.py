"""Whether what answers over HTTP is the release that was deployed, on the data it had before."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

from deployer.deploy.release import as_tag
from deployer.deploy.spec import Probe, Verification, VersionProbe

# What an application answers travels through the execution, which may hold 256 KiB in all.
_LONGEST = 200  # characters
_LONGEST_DOCUMENT = 1024 * 1024  # bytes

type Probes = Mapping[str, str]
"""What each probe that no deployment may change answered, by the probe's name."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Finding(TypedDict):
    """What a look at the service found: VERIFIED, PENDING (no answer yet), or REFUTED.

    `error` names the failure as the execution reports it; it is empty unless REFUTED.
    """

    verdict: Literal["VERIFIED", "PENDING", "REFUTED"]
    error: str
    reason: str


def healthy(verify: Verification, answer: Answer | None) -> Finding:
    """Judge the answer on the health path; None if there was none."""
    if answer is None:
        return pending(f"no answer on {verify.path}")
    if answer.status != 200:
        return pending(f"{verify.path} answered {answer.status}")
    return verified(f"{verify.path} answered 200")


def served_version(probe: VersionProbe, answer: Answer | None) -> str | None:
    """The version that an answer names; None if it names none."""
    if answer is None:
        return None
    if probe.header:
        told = answer.headers.get(probe.header.lower())
    else:
        told = field_of(answer, probe.field or "")
    return told and told[:_LONGEST]


def versions_match(served: str, version: str, match: str) -> bool:
    """Whether the version served is the one pushed.

    Args:
        match: `exact`, or `build`: a leading `v` does not count, `+` and `-` are the same, and
            the binary may add build metadata after a `+` (https://semver.org/#spec-item-10).
    """
    if match == "exact":
        return served == version
    told, wanted = served.removeprefix("v"), as_tag(version.removeprefix("v"))
    return wanted in (as_tag(told), told.split("+")[0])


def right_version(probe: VersionProbe, answer: Answer | None, version: str) -> Finding:
    """Judge the version that the service tells."""
    served = served_version(probe, answer)
    if served is None:
        where = f"header {probe.header}" if probe.header else f"field {probe.field}"
        return pending(f"{probe.path} tells no version in {where}")
    if not versions_match(served, version, probe.match):
        return refuted("WrongVersion", f"it serves version {served}, not {version}")
    return verified(f"it serves version {served}")


def probe_name(probe: Probe) -> str:
    """The name by which a probe's value is kept."""
    return f"{probe.path}#{probe.field}" if probe.field else probe.path


def probe_value(probe: Probe, answer: Answer | None) -> str | None:
    """What a probe says: the JSON field where it names one, else the status; None if nothing."""
    if answer is None or answer.status >= 500:
        return None
    if not probe.field:
        return str(answer.status)
    told = field_of(answer, probe.field)
    if told and len(told) > _LONGEST:
        return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"
    return told


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
        return refuted("DataChanged", f"the data is not what it was: {'; '.join(changes)}")
    return verified(f"{len(before)} probe(s) unchanged")


def remembered(previous: Probes) -> Probes:
    """Of the values noted when a release was verified, those that may stand in for an answer now.

    A field such as a deployment id identifies the data for good; a status (has a first user been
    created?) may rightly have changed since.
    """
    return {name: value for name, value in previous.items() if "#" in name}


def field_of(answer: Answer, name: str) -> str | None:
    """A field of a JSON body, as text; a dotted name goes into nested objects."""
    if len(answer.body) > _LONGEST_DOCUMENT:
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


def verified(reason: str) -> Finding:
    """A finding that all is as it must be."""
    return {"verdict": "VERIFIED", "error": "", "reason": reason}


def pending(reason: str) -> Finding:
    """A finding that there is no answer yet to judge."""
    return {"verdict": "PENDING", "error": "", "reason": reason}


def refuted(error: str, reason: str) -> Finding:
    """A finding that what answers is not the release, under the failure's name."""
    return {"verdict": "REFUTED", "error": error, "reason": reason}

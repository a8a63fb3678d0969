"""How to recognise a failure in log lines. Imports `redaction` only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_SEARCH_LIMIT = 4000  # characters of a line: some patterns take more than linear time


@dataclass(frozen=True)
class Symptom:
    """A failure that a log line shows.

    Attributes:
        kind: a short name, as in `stop_reasons`.
        line: the line.
        why: what it means.
        advice: what a person can do.
    """

    kind: str
    line: str
    why: str
    advice: str


class Pattern(NamedTuple):
    """A symptom's kind, the pattern of its lines, what it means and what a person can do."""

    kind: str
    pattern: str
    why: str
    advice: str


def matching(log: Sequence[str], patterns: Sequence[Pattern]) -> list[Symptom]:
    """Return the symptoms in a log in the order of the patterns, each with its last line."""
    from deployer.redaction import clip  # every function reads a spec, and few read logs

    symptoms: list[Symptom] = []
    short = [clip(line, _SEARCH_LIMIT) for line in log]
    for kind, pattern, why, advice in patterns:
        expression = re.compile(pattern, re.IGNORECASE)
        matches = [line for line in short if expression.search(line)]
        if matches:
            symptoms.append(Symptom(kind, matches[-1], why, advice))
    return symptoms

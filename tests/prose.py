"""`python -m tests.prose`: refuse the words of tests/prose.txt, and say what to write instead."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = Path("tests/prose.txt")
TEXT = (".md", ".yaml", ".yml", ".toml")
CODE = (".py", ".json")
LEFT_OUT = (
    "tests/",
    "CHANGELOG.md",
    "demo/handbook/",
    "docs/simulation.md",  # has the names of guards and invariants as the simulation has them
)


@dataclass(frozen=True)
class Word:
    """A word that is refused, in text alone or in code too."""

    everywhere: bool
    pattern: re.Pattern[str]
    better: str


def words(lines: str) -> list[Word]:
    """The words of a list. Raises ValueError for a line that cannot be understood."""
    matches = []
    for line in lines.splitlines():
        if not line or line.startswith("#"):
            continue
        scope, pattern, better = (part.strip() for part in re.split(r" \| ", line, maxsplit=2))
        if scope not in ("text", "all"):
            raise ValueError(f"unknown scope {scope!r}; expected text or all: {line}")
        matches.append(Word(scope == "all", re.compile(pattern, re.IGNORECASE), better))
    return matches


def refused(name: str, content: str, listed: list[Word]) -> Iterator[str]:
    """A line for each refused word in a file, in the form of a compiler's message."""
    code = name.endswith(CODE)
    for number, line in enumerate(content.splitlines(), 1):
        for word in listed:
            if (word.everywhere or not code) and (match := word.pattern.search(line)):
                yield f"{name}:{number}: {match[0]!r}; better: {word.better}"


def files() -> list[str]:
    """The files of the repository that hold prose."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    named = (name for name in listed if name.endswith((*TEXT, *CODE)))
    return [name for name in named if not name.startswith(LEFT_OUT) and (ROOT / name).is_file()]


def main() -> int:
    listed = words((ROOT / WORDS).read_text())
    matches = [
        line for name in files() for line in refused(name, (ROOT / name).read_text(), listed)
    ]
    print("\n".join(matches), end="\n" if matches else "", file=sys.stderr)
    return 1 if matches else 0


if __name__ == "__main__":
    sys.exit(main())

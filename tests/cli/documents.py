"""What commands print for scripts, held against its documented schema."""

import json
from collections.abc import Sequence

import jsonschema  # type: ignore[import-untyped]

from demo import ROOT

SCHEMA = json.loads((ROOT / "docs/json.schema.json").read_text())


def check(definition: str, document: object) -> None:
    """Check a document against a definition of the schema."""
    jsonschema.Draft202012Validator(
        {"$ref": f"#/$defs/{definition}", "$defs": SCHEMA["$defs"]}
    ).validate(document)


def check_printed(words: Sequence[str], printed: str) -> None:
    """Check what a command printed, if it was called with --json."""
    if "--json" not in words:
        return
    if words[0] == "logs":
        for line in printed.splitlines():
            check("logs", json.loads(line))
    elif printed:  # wrong usage prints nothing
        check(words[0], json.loads(printed))

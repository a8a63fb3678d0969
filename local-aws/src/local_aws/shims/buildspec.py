"""A buildspec, as much of version 0.2 as this runner follows; what it does not follow it refuses.

https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
"""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml

PHASES = ("install", "pre_build", "build", "post_build")


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


_TEXTS = {"type": "array", "items": {"type": "string"}}
_PHASE = _object(
    **{
        "on-failure": {"const": "ABORT"},
        "commands": _TEXTS,
        "runtime-versions": {"type": "object"},
    },
    **{"finally": _TEXTS},
)
_SCHEMA = _object(
    version={"enum": [0.2, "0.2"]},  # where all commands share one shell
    env=_object(
        **{"shell": {"type": "string"}, "variables": {"type": "object"}},
        **{"exported-variables": _TEXTS},
    ),
    phases=_object(**dict.fromkeys(PHASES, _PHASE)),
    artifacts=_object(**{"base-directory": {"type": "string"}, "files": _TEXTS}),
    cache=_object(key={"type": "string"}, paths=_TEXTS),
)


class BadBuildspec(Exception):
    """This cannot be run; the message says where and why."""


def parse(text: str) -> dict[str, dict[str, Any]]:
    """The buildspec's sections. Raises BadBuildspec for what CodeBuild refuses."""
    try:
        spec = yaml.safe_load(text)
        jsonschema.validate(spec, _SCHEMA)
    except yaml.YAMLError as error:
        raise BadBuildspec(f"not YAML: {error}") from error
    except jsonschema.ValidationError as error:
        raise BadBuildspec(f"{error.json_path}: {error.message}") from error
    del spec["version"]
    sections: dict[str, dict[str, Any]] = {"env": {}, "phases": {}, "artifacts": {}, "cache": {}}
    sections |= spec
    return sections

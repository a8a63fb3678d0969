"""A buildspec, as much of version 0.2 as this runner follows; what it does not follow it refuses.

https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

PHASES = ("install", "pre_build", "build", "post_build")
_KNOWN = {
    "": {"version", "env", "phases", "artifacts", "cache"},
    "env": {"shell", "variables", "exported-variables"},
    "phases": {*PHASES},
    "artifacts": {"base-directory", "files"},
    "cache": {"paths"},
}
_OF_PHASE = {"commands", "finally", "on-failure", "runtime-versions"}


class BadBuildspec(Exception):
    """This cannot be run; the message says where and why."""


@dataclass(frozen=True)
class Phase:
    """What one phase runs. `on_failure` is ABORT, CONTINUE or "" (the phase's own way)."""

    commands: Sequence[str] = ()
    finally_: Sequence[str] = ()
    on_failure: str = ""


@dataclass(frozen=True)
class Buildspec:
    shell: str
    variables: Mapping[str, str]
    exported: Sequence[str]
    phases: Mapping[str, Phase]
    artifacts: Sequence[str]
    base: str
    cache: Sequence[str]

    @classmethod
    def parse(cls, text: str) -> "Buildspec":
        """Raises BadBuildspec for what CodeBuild refuses as YAML_FILE_ERROR."""
        try:
            spec = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" at line {mark.line + 1}" if mark else ""
            raise BadBuildspec(
                f"not YAML{where}: {getattr(error, 'problem', None) or error}"
            ) from error
        if not isinstance(spec, dict) or str(spec.get("version")) != "0.2":
            raise BadBuildspec("version must be 0.2, where all commands share one shell")
        sections = {name: _mapping(spec, name) for name in _KNOWN if name}
        for name, section in (("", spec), *sections.items()):
            if unknown := set(section) - _KNOWN[name]:
                raise BadBuildspec(f"{name or 'top level'}: {min(unknown)} is not known here")
        env = sections["env"]
        return cls(
            shell=str(env.get("shell", "sh")),
            variables={name: _scalar(value) for name, value in _mapping(env, "variables").items()},
            exported=_list(env, "exported-variables"),
            phases={name: _phase(name, found) for name, found in sections["phases"].items()},
            artifacts=_list(sections["artifacts"], "files"),
            base=str(sections["artifacts"].get("base-directory") or "."),
            cache=_list(sections["cache"], "paths"),
        )


def _phase(name: str, given: Any) -> Phase:
    if not isinstance(given, dict):
        raise BadBuildspec(f"phases: {name} must be a mapping with commands")
    chosen = str(given.get("on-failure") or "")
    unknown = set(given) - _OF_PHASE
    if unknown or chosen not in ("", "ABORT", "CONTINUE"):
        what = min(unknown) if unknown else f"on-failure: {chosen}"
        raise BadBuildspec(f"phases: {name}: {what} is not known here")
    return Phase(_list(given, "commands"), _list(given, "finally"), chosen)


def _mapping(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = spec.get(name) or {}
    if not isinstance(found, dict):
        raise BadBuildspec(f"{name} must be a mapping, not {found!r}")
    return found


def _list(spec: Mapping[str, Any], name: str) -> list[str]:
    found = spec.get(name) or []
    if not isinstance(found, list) or any(isinstance(item, (dict, list)) for item in found):
        raise BadBuildspec(f"{name} must be a list of strings; quote what has a colon in it")
    return [_scalar(item) for item in found]


def _scalar(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise BadBuildspec(f"{value!r} must be a scalar")
    return str(value).lower() if isinstance(value, bool) else str(value)

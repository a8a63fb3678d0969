"""A buildspec as CodeBuild reads it, version 0.2.

Follows the AWS CodeBuild user guide: Build specification reference for CodeBuild.
https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

PHASES = ("install", "pre_build", "build", "post_build")
_ON_FAILURE = re.compile(r"ABORT|CONTINUE|RETRY(-(?P<count>\d+))?(-(?P<pattern>.+))?")
_ENV = ("variables", "parameter-store", "secrets-manager")


class BadBuildspec(Exception):
    """The text is no buildspec; the message says where and why."""


@dataclass(frozen=True)
class Phase:
    """What one phase runs. `on_failure` is ABORT, CONTINUE, RETRY or "" (the phase's own way).

    With RETRY the commands are run again, `retries` times at most, while what failed matches
    `pattern`.
    """

    commands: Sequence[str] = ()
    finally_: Sequence[str] = ()
    on_failure: str = ""
    retries: int = 0
    pattern: str = ".*"


@dataclass(frozen=True)
class Artifacts:
    files: Sequence[str] = ()
    name: str = ""
    base: str = "."
    discard_paths: bool = False
    exclude: Sequence[str] = ()


@dataclass(frozen=True)
class Buildspec:
    """`variables`, `parameters` and `secrets` map a variable's name to its value or reference."""

    shell: str
    variables: Mapping[str, str]
    parameters: Mapping[str, str]
    secrets: Mapping[str, str]
    exported: Sequence[str]
    phases: Mapping[str, Phase]
    artifacts: Artifacts | None = None
    cache: Sequence[str] = field(default=())

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
        if not isinstance(spec, dict):
            raise BadBuildspec("the buildspec is no mapping; it begins with version: 0.2")
        if str(spec.get("version")) != "0.2":
            raise BadBuildspec(
                f"version is {spec.get('version')!r}; this runner knows 0.2, where all commands "
                "share one shell's variables"
            )
        phases = _mapping(spec, "phases")
        unknown = set(phases) - set(PHASES)
        if unknown:
            raise BadBuildspec(f"phases: {sorted(unknown)[0]} is none of {', '.join(PHASES)}")
        env = _mapping(spec, "env")
        variables, parameters, secrets = (_strings(_mapping(env, name), name) for name in _ENV)
        return cls(
            shell=str(env.get("shell", "sh")),
            variables=variables,
            parameters=parameters,
            secrets=secrets,
            exported=_list(env, "exported-variables"),
            phases={name: _phase(name, phases[name] or {}) for name in PHASES if name in phases},
            artifacts=_artifacts(spec),
            cache=_list(_mapping(spec, "cache"), "paths"),
        )


def _phase(name: str, given: Any) -> Phase:
    if not isinstance(given, dict):
        raise BadBuildspec(f"phases: {name} must be a mapping with commands")
    chosen = str(given.get("on-failure") or "")
    match = _ON_FAILURE.fullmatch(chosen)
    if chosen and not match:
        raise BadBuildspec(
            f"phases: {name}: on-failure is {chosen!r}; it is ABORT, CONTINUE, RETRY, RETRY-3 or "
            "RETRY-3-<regular expression>"
        )
    retry = chosen.startswith("RETRY")
    return Phase(
        commands=_list(given, "commands"),
        finally_=_list(given, "finally"),
        on_failure="RETRY" if retry else chosen,
        retries=int(match["count"] or 3) if retry and match else 0,
        pattern=(match["pattern"] or ".*") if match else ".*",
    )


def _artifacts(spec: Mapping[str, Any]) -> Artifacts | None:
    given = _mapping(spec, "artifacts")
    if not given:
        return None
    return Artifacts(
        files=_list(given, "files"),
        name=str(given.get("name") or ""),
        base=str(given.get("base-directory") or "."),
        discard_paths=str(given.get("discard-paths")).lower() in ("yes", "true"),
        exclude=_list(given, "exclude-paths"),
    )


def _mapping(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = spec.get(name) or {}
    if not isinstance(found, dict):
        raise BadBuildspec(f"{name} must be a mapping, not {found!r}")
    return found


def _strings(values: Mapping[str, Any], where: str) -> dict[str, str]:
    for name, value in values.items():
        if isinstance(value, (dict, list)):
            raise BadBuildspec(f"env: {where}: {name} must be a scalar")
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }


def _list(spec: Mapping[str, Any], name: str) -> list[str]:
    found = spec.get(name) or []
    if not isinstance(found, list) or any(isinstance(item, (dict, list)) for item in found):
        raise BadBuildspec(f"{name} must be a list of strings; quote what has a colon in it")
    return [str(item) for item in found]

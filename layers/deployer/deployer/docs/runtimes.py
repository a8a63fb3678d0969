"""Choose the version of Node.js or Python that a site is built with, among CodeBuild's.

https://docs.aws.amazon.com/codebuild/latest/userguide/available-runtimes.html
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

# Of the image aws/codebuild/amazonlinux-x86_64-standard:5.0, in order of preference. CodeBuild
# installs any other version of Node.js at the start of the build, but compiles Python.
_NODES = (22, 24, 20, 18)
_PYTHONS = ((3, 13), (3, 12), (3, 14), (3, 11), (3, 10), (3, 9))
_DEFAULT_PYTHON = ".".join(map(str, _PYTHONS[0]))
_LTS = {"hydrogen": 18, "iron": 20, "jod": 22, "krypton": 24}
_DEFAULT = "the deployer's default"
_UNKNOWN = 10**6  # the minor version of a release that may be any


def node(near: Sequence[tuple[str, bytes]], package: Any) -> tuple[str, str, tuple[str, ...]]:
    """Return the version of Node.js for CodeBuild, what asks for it, and warnings.

    Args:
        near: the documents beside the site and above it, the nearest first.
        package: the site's package.json.
    """
    engines = package.get("engines") if isinstance(package, Mapping) else None
    allowed = engines.get("node") if isinstance(engines, Mapping) else None
    for path, content in near:
        if PurePosixPath(path).name not in (".nvmrc", ".node-version"):
            continue
        if version := _pinned(content.decode(errors="replace")):
            warnings: tuple[str, ...] = ()
            if isinstance(allowed, str) and not _allows(allowed, int(version)):
                warnings = (f"{path} says Node {version}, but package.json's engines {allowed}",)
            return version, path, warnings
        return str(_NODES[0]), _DEFAULT, (f"{path} names no version of Node that is known",)
    for path, content in near:
        if PurePosixPath(path).name == "package.json":
            wanted = _engines(content)
            if wanted:
                fits = next((major for major in _NODES if _allows(wanted, major)), None)
                version = str(fits) if fits else _lowest(wanted)
                return version, f"engines in {path}: {wanted}", ()
    return str(_NODES[0]), _DEFAULT, ()


def _engines(content: bytes) -> str:
    try:
        engines = json.loads(content).get("engines")
    except (ValueError, AttributeError, RecursionError):
        return ""
    wanted = engines.get("node") if isinstance(engines, Mapping) else None
    return wanted if isinstance(wanted, str) else ""


def _pinned(text: str) -> str:
    """Return the major version that .nvmrc or .node-version names; "" for none."""
    lines = [line.split("#")[0].strip().lower() for line in text.splitlines()]
    name = next((line for line in lines if line), "")
    if found := re.match(r"(?:node[-/ ])?v?(\d+)", name):
        return found[1]
    if name in ("node", "stable", "latest", "current", "lts/*", "lts"):
        return str(max(_NODES))
    return str(_LTS.get(name.removeprefix("lts/"), ""))


def _allows(wanted: str, major: int) -> bool:
    """Return whether a range of npm's allows the newest release of a major version.

    https://github.com/npm/node-semver#ranges
    """
    newest = (major, _UNKNOWN, _UNKNOWN)
    return any(
        all(_fits(operator, version, newest) for operator, version in _comparators(alternative))
        for alternative in wanted.split("||")
    )


def _comparators(alternative: str) -> list[tuple[str, list[int]]]:
    hyphen = re.sub(r"(\S+)\s+-\s+(\S+)", r">=\1 <=\2", alternative)
    comparators = re.findall(r"([<>]=?|[~^=])?\s*v?(\d+(?:\.(?:\d+|x|\*))*|x|\*)", hyphen)
    return [
        (operator, [int(part) for part in version.split(".") if part.isdigit()])
        for operator, version in comparators
    ]


def _fits(operator: str, version: list[int], newest: tuple[int, ...]) -> bool:
    if not version:
        return True
    same = list(newest[: len(version)])
    if operator == ">=":
        return same >= version
    if operator == ">":
        return same > version
    if operator == "<":
        return newest[0] < version[0] or (newest[0] == version[0] and len(version) > 1)
    if operator == "<=":
        return newest[0] <= version[0]
    return newest[0] == version[0]


def _lowest(wanted: str) -> str:
    """Return the lowest major version of a range that no usual version is in."""
    majors = [
        version[0] - (operator == "<")
        for part in wanted.split("||")
        for operator, version in _comparators(part)[:1]
        if version
    ]
    return str(min(majors, default=_NODES[0]))


def python(
    near: Sequence[tuple[str, bytes]], project: Mapping[str, Any]
) -> tuple[str, str, tuple[str, ...]]:
    """Return the version of Python for CodeBuild, what asks for it, and warnings.

    Args:
        near: the documents beside the site and above it, the nearest first.
        project: pyproject.toml's content.
    """
    for path, content in near:
        if PurePosixPath(path).name == ".python-version":
            match = re.search(rb"3\.(\d+)", content)
            if match and (3, int(match[1])) in _PYTHONS:
                return f"3.{int(match[1])}", path, ()
            named = content.decode(errors="replace").strip()[:40]
            return _DEFAULT_PYTHON, _DEFAULT, (_no_python(path, named),)
    table = project.get("project")
    wanted = table.get("requires-python") if isinstance(table, Mapping) else None
    if isinstance(wanted, str):
        for version in _PYTHONS:
            if _python_allows(wanted, version):
                return ".".join(map(str, version)), f"requires-python {wanted}", ()
        return _DEFAULT_PYTHON, _DEFAULT, (_no_python("requires-python", wanted),)
    return _DEFAULT_PYTHON, _DEFAULT, ()


def _no_python(where: str, wanted: str) -> str:
    versions = ", ".join(f"3.{minor}" for _, minor in sorted(_PYTHONS))
    return (
        f"{where} says {wanted!r}, and the build has Python {versions}: it runs on"
        f" {_DEFAULT_PYTHON}. Name one of these in .python-version"
    )


def _python_allows(wanted: str, version: tuple[int, int]) -> bool:
    """https://packaging.python.org/en/latest/specifications/version-specifiers/"""
    for operator, numbers in re.findall(r"([<>=~!]=?)\s*(\d+(?:\.\d+)?)", wanted):
        parts = tuple(map(int, numbers.split(".")))
        same = version[: len(parts)]
        compatible = version[0] == parts[0] and version >= parts
        fits = {
            ">=": same >= parts,
            ">": same > parts,
            "<": same < parts,
            "<=": same <= parts,
            "==": same == parts,
            "!=": same != parts or len(parts) == 1,
            "~=": compatible,
        }
        if not fits.get(operator, True):
            return False
    return True

"""Builds in CodeBuild."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_codebuild import CodeBuildClient


def _codebuild() -> "CodeBuildClient":
    return client("codebuild")  # type: ignore[no-any-return]


def running(project: str, variable: str, value: str) -> Mapping[str, Any] | None:
    """Return the running build of a project that has this value of a variable, or None.

    Only the newest hundred builds are searched; CodeBuild runs far fewer at a time.
    """
    newest = _codebuild().list_builds_for_project(projectName=project, sortOrder="DESCENDING")
    if not newest.get("ids"):
        return None
    for build in _codebuild().batch_get_builds(ids=newest["ids"][:100])["builds"]:
        variables = build.get("environment", {}).get("environmentVariables", [])
        matches = any(v["name"] == variable and v["value"] == value for v in variables)
        if matches and build.get("buildStatus") == "IN_PROGRESS":
            return build
    return None


def stop(build_id: str) -> None:
    """Stop a build; an ended one is left alone."""
    _codebuild().stop_build(id=build_id)

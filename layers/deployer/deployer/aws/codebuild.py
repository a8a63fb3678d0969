"""Builds in CodeBuild."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_codebuild import CodeBuildClient


def _codebuild() -> "CodeBuildClient":
    return client("codebuild")  # type: ignore[no-any-return]


def running(project: str, variable: str, value: str) -> Mapping[str, Any] | None:
    """The running build of a project that was started with a variable of this value.

    Among the newest hundred of the project, of which CodeBuild runs far fewer at a time.
    """
    newest = _codebuild().list_builds_for_project(projectName=project, sortOrder="DESCENDING")
    if not newest.get("ids"):
        return None
    for build in _codebuild().batch_get_builds(ids=newest["ids"][:100])["builds"]:
        told = build.get("environment", {}).get("environmentVariables", [])
        ours = any(v["name"] == variable and v["value"] == value for v in told)
        if ours and build.get("buildStatus") == "IN_PROGRESS":
            return build
    return None


def stop(build_id: str) -> None:
    """Stop a build; one that is over stays as it is."""
    _codebuild().stop_build(id=build_id)

"""CodeBuild that builds: StartBuild runs the buildspec, here as processes of this machine.

MiniStack keeps projects and calls each build succeeded. This runs them (`codebuild_run`), with
StartBuild's overrides, StopBuild, phases with durations and exported variables. CloudFormation's
projects keep their logs and cache. Step Functions' startBuild.sync calls it, in the state machine's
role.

Follows the AWS CodeBuild API reference (StartBuild, StopBuild, BatchGetBuilds) and the Step
Functions developer guide (Call AWS CodeBuild with Step Functions).
"""

import contextvars
import copy
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import (
    error_response_json,
    get_account_id,
    get_region,
    json_response,
)
from ministack.services import codebuild, stepfunctions
from ministack.services.cloudformation import provisioners

from local_aws.shims import Shim, after, step_functions
from local_aws.shims.codebuild_run import Build

Json = dict[str, Any]
Call = Callable[..., Any]

_log = logging.getLogger("local_aws.codebuild")
# What MiniStack leaves out of a project, and its name in the API.
_MORE = {"LogsConfig": "logsConfig", "Cache": "cache"}
_OVERRIDES = {
    "sourceTypeOverride": ("source", "type"),
    "sourceLocationOverride": ("source", "location"),
    "buildspecOverride": ("source", "buildspec"),
    "cacheOverride": ("cache",),
    "artifactsOverride": ("artifacts",),
    "serviceRoleOverride": ("serviceRole",),
}
shim = Shim()


_running: dict[str, Build] = {}


def install() -> None:
    shim.install()
    after("AWS::CodeBuild::Project", _add)


# Projects: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-codebuild-project.html
# -------------------------------------------------------------------------------------------------


def _add(name: str, props: Json) -> None:
    for given, name_in_api in _MORE.items():
        if given in props:
            codebuild._projects[name][name_in_api] = provisioners._pascal_to_camel(props[given])


@shim.wraps(codebuild, "_create_project", "data")
def _create_project(original: Call, data: Json) -> Any:
    answer = original(data)
    if answer[0] == 200:
        more = {more_name: data[more_name] for more_name in _MORE.values() if more_name in data}
        codebuild._projects[data["name"]].update(more)
    return answer


@shim.wraps(codebuild, "_project_shape", "project")
def _project_shape(original: Call, project: Json) -> Any:
    more = {more_name: project[more_name] for more_name in _MORE.values() if more_name in project}
    return original(project) | more


# Builds
# -------------------------------------------------------------------------------------------------


@shim.replaces(codebuild, "_start_build", "data")
def _start_build(data: Json) -> Any:
    """https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StartBuild.html"""
    given = data.get("projectName", "")
    name = codebuild._project_name_from_identifier(given)
    if not name or name not in codebuild._projects:
        arn = codebuild._project_arn(given)
        return error_response_json(
            "ResourceNotFoundException", f"Project cannot be found: {arn}", 400
        )
    project = _overridden(codebuild._projects[name], data)
    record = _record(project, data)
    codebuild._builds[record["id"]] = record
    build = _running[record["id"]] = Build(record, project)
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(_run, build), daemon=True).start()
    return json_response({"build": copy.deepcopy(record)})


@shim.replaces(codebuild, "_stop_build", "data")
def _stop_build(data: Json) -> Any:
    """https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StopBuild.html"""
    record = _find(data.get("id", ""))
    if record is None:
        return error_response_json(
            "ResourceNotFoundException", f"Build cannot be found: {data.get('id')}", 400
        )
    if build := _running.get(record["id"]):
        build.stop()
    return json_response({"build": copy.deepcopy(record)})


@shim.replaces(codebuild, "_batch_get_builds", "data")
def _batch_get_builds(data: Json) -> Any:
    records = {given: _find(given) for given in data.get("ids", [])}
    return json_response(
        {
            "builds": [copy.deepcopy(record) for record in records.values() if record],
            "buildsNotFound": [given for given, record in records.items() if not record],
        }
    )


def _find(given: str) -> Json | None:
    """By id or ARN."""
    return codebuild._builds.get(given.rpartition(":build/")[2])


def _overridden(project: Json, data: Json) -> Json:
    merged = copy.deepcopy(project)
    for parameter, (*path, last) in _OVERRIDES.items():
        if parameter in data:
            parent = merged[path[0]] if path else merged
            parent[last] = data[parameter]
    variables = {v["name"]: v for v in merged["environment"].get("environmentVariables") or []}
    variables |= {v["name"]: v for v in data.get("environmentVariablesOverride") or []}
    merged["environment"]["environmentVariables"] = list(variables.values())
    return merged


def _record(project: Json, data: Json) -> Json:
    """A build that has just been submitted."""
    name, now = project["name"], time.time()
    build_id = codebuild._build_id(name)
    logs = (project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
    group = logs.get("groupName") or f"/aws/codebuild/{name}"
    stream = build_id.rpartition(":")[2]
    region = get_region()
    link = f"https://console.aws.amazon.com/cloudwatch/home?region={region}#logsV2:log-groups"
    quoted = group.replace("/", "$252F")
    done = {"phaseStatus": "SUCCEEDED", "startTime": now, "endTime": now, "durationInSeconds": 0}
    return {
        "id": build_id,
        "arn": codebuild._build_arn(build_id),
        "buildNumber": 1 + sum(b["projectName"] == name for b in codebuild._builds.values()),
        "startTime": now,
        "currentPhase": "QUEUED",
        "buildStatus": "IN_PROGRESS",
        "buildComplete": False,
        "sourceVersion": data.get("sourceVersion") or project.get("sourceVersion") or "",
        "projectName": name,
        "phases": [{"phaseType": kind, **done} for kind in ("SUBMITTED", "QUEUED")],
        "source": project["source"],
        "artifacts": {"location": ""},
        "cache": project.get("cache") or {"type": "NO_CACHE"},
        "environment": project["environment"],
        "serviceRole": project["serviceRole"],
        "logs": {
            "groupName": group,
            "streamName": stream,
            "deepLink": f"{link}/log-group/{quoted}/log-events/{stream}",
            "cloudWatchLogsArn": f"arn:aws:logs:{region}:{get_account_id()}:log-group:{group}"
            f":log-stream:{stream}",
        },
        "timeoutInMinutes": int(project.get("timeoutInMinutes") or 60),
        "initiator": f"{get_account_id()}/user",
        "exportedEnvironmentVariables": [],
    }


def _run(build: Build) -> None:
    record = build.record
    try:
        build.run()
    except Exception:
        _log.exception("build %s", record["id"])
        record |= {"buildStatus": "FAULT", "currentPhase": "COMPLETED", "buildComplete": True}
        record["endTime"] = time.time()
    finally:
        _running.pop(record["id"], None)


# Step Functions: https://docs.aws.amazon.com/step-functions/latest/dg/connect-codebuild.html
# -------------------------------------------------------------------------------------------------


@shim.wraps(stepfunctions, "_invoke_resource_with_timeout", "resource input_data timeout")
def _invoke_resource_with_timeout(
    original: Call, resource: str, given: Any, timeout: float | None
) -> Any:
    if resource != "arn:aws:states:::codebuild:startBuild.sync":
        return original(resource, given, timeout)
    failure = stepfunctions._ExecutionError
    data = provisioners._pascal_to_camel(given)
    project = str(data.get("projectName"))
    arn = project if project.startswith("arn:") else codebuild._project_arn(project)
    # It learns of the end by an event, for which it makes a rule of its own.
    rule = "rule/StepFunctionsGetEventForCodeBuildStartBuildRule"
    rule = f"arn:aws:events:{get_region()}:{get_account_id()}:{rule}"
    for needs in ("StartBuild", "StopBuild", "BatchGetBuilds"):
        step_functions._allow(f"codebuild:{needs}", arn, "CodeBuild.AccessDeniedException")
    for needs in ("PutTargets", "PutRule", "DescribeRule"):
        step_functions._allow(f"events:{needs}", rule, "CodeBuild.AccessDeniedException")
    if role := data.get("serviceRoleOverride"):
        passed = {"iam:passedtoservice": "codebuild.amazonaws.com"}
        step_functions._allow("iam:PassRole", role, "CodeBuild.AccessDeniedException", passed)
    status, _, body = _start_build(data)
    answer = json.loads(body)
    if status >= 400:
        kind = str(answer.get("__type", "")).rpartition("#")[2]
        raise failure(f"CodeBuild.{kind}", answer.get("message", ""))
    build, run = codebuild._builds[answer["build"]["id"]], step_functions._current.get()
    try:
        submitted = {"Build": _pascal(answer["build"])}
        step_functions._report(run.execution, resource, "Submitted", submitted)
        deadline = time.monotonic() + timeout if timeout else math.inf
        while not build["buildComplete"]:
            if time.monotonic() > deadline:
                raise failure("States.Timeout", "")
            if run.over.wait(0.05):
                raise step_functions._Stopped
    finally:
        _stop_build({"id": build["id"]})  # if it is not over
    result = {"Build": _pascal(build)}
    if build["buildStatus"] != "SUCCEEDED":
        raise failure("States.TaskFailed", json.dumps(result))
    return result


def _pascal(value: Any) -> Any:
    """As Step Functions shows it: names in PascalCase, times in milliseconds."""
    if isinstance(value, list):
        return [_pascal(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name[:1].upper() + name[1:]: int(found * 1000)
        if name in ("startTime", "endTime")
        else _pascal(found)
        for name, found in value.items()
    }

"""CodeBuild: what the builds of this project rest on, one real build for each fact."""

import io
import json
import re
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local_aws.aws import LocalAws, processes
from support import Json, Machines, task

LOGS = ["logs:CreateLogStream", "logs:PutLogEvents"]


class Project:
    """A project of CodeBuild with a role of its own."""

    def __init__(self, aws: LocalAws, name: str, *actions: str, **settings: Any) -> None:
        self.aws, self.name, self.client = aws, name, aws.client("codebuild")
        iam = aws.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}}
        role = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=_policy(trust | {"Action": "sts:AssumeRole"}),
        )["Role"]["Arn"]
        allow = {"Effect": "Allow", "Action": [*LOGS, *actions], "Resource": "*"}
        iam.put_role_policy(RoleName=name, PolicyName="one", PolicyDocument=_policy(allow))
        environment = {
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/standard:7.0",
            "computeType": "BUILD_GENERAL1_SMALL",
        } | settings.pop("environment", {})
        aws.client("logs").create_log_group(logGroupName=f"/aws/codebuild/{name}")
        self.client.create_project(
            **{
                "name": name,
                "source": {"type": "NO_SOURCE", "buildspec": spec(build=["true"])},
                "artifacts": {"type": "NO_ARTIFACTS"},
                "environment": environment,
                "serviceRole": role,
                **settings,
            }
        )

    def start(self, buildspec: str | None = None, **overrides: Any) -> str:
        given = {"buildspecOverride": buildspec} if buildspec else {}
        answer = self.client.start_build(projectName=self.name, **given, **overrides)
        return str(answer["build"]["id"])

    def ended(self, build: str, within: float = 120) -> Json:
        deadline = time.monotonic() + within
        while not (result := self.look(build))["buildComplete"]:
            assert time.monotonic() < deadline, result
            time.sleep(0.02)
        return result

    def look(self, build: str) -> Json:
        return dict(self.client.batch_get_builds(ids=[build])["builds"][0])

    def builds(self) -> list[str]:
        return list(self.client.list_builds_for_project(projectName=self.name)["ids"])

    def run(self, buildspec: str | None = None, **overrides: Any) -> Json:
        return self.ended(self.start(buildspec, **overrides))

    def lines(self, build: Json) -> list[str]:
        """The log's lines, without those that CodeBuild writes itself."""
        events = self.aws.client("logs").get_log_events(
            logGroupName=build["logs"]["groupName"],
            logStreamName=build["logs"]["streamName"],
            startFromHead=True,
        )["events"]
        messages = [event["message"] for event in events]
        return [message for message in messages if not message.startswith("[Container]")]


def _policy(statement: Json) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def spec(env: Json | None = None, **phases: Any) -> str:
    """A buildspec; a phase is its commands or the whole mapping. `cache`, `artifacts` as given."""
    top = {name: phases.pop(name) for name in ("cache", "artifacts") if name in phases}
    given = {name: {"commands": p} if isinstance(p, list) else p for name, p in phases.items()}
    return json.dumps({"version": 0.2, "env": env or {}, "phases": given, **top})


@pytest.fixture
def project(aws: LocalAws, name: str) -> Project:
    return Project(aws, name)


def bucket(aws: LocalAws, name: str, **objects: bytes) -> str:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name)
    for key, content in objects.items():
        s3.put_object(Bucket=name, Key=key, Body=content)
    return name


def archive(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for path, text in files.items():
            packed.writestr(path.replace("__", "."), text)
    return content.getvalue()


def phases(build: Json) -> list[tuple[str, str]]:
    return [(phase["phaseType"], phase.get("phaseStatus", "")) for phase in build["phases"]]


# What a build is


def test_a_build_goes_through_its_phases(project: Project) -> None:
    build = project.run(
        spec(install=["echo one"], pre_build=["echo two"], build=["echo 3"], post_build=["echo 4"])
    )
    assert build["buildStatus"] == "SUCCEEDED"
    assert build["currentPhase"] == "COMPLETED"
    assert phases(build) == [
        ("SUBMITTED", "SUCCEEDED"),
        ("QUEUED", "SUCCEEDED"),
        ("PROVISIONING", "SUCCEEDED"),
        ("DOWNLOAD_SOURCE", "SUCCEEDED"),
        ("INSTALL", "SUCCEEDED"),
        ("PRE_BUILD", "SUCCEEDED"),
        ("BUILD", "SUCCEEDED"),
        ("POST_BUILD", "SUCCEEDED"),
        ("UPLOAD_ARTIFACTS", "SUCCEEDED"),
        ("FINALIZING", "SUCCEEDED"),
        ("COMPLETED", ""),
    ]
    assert all("durationInSeconds" in phase for phase in build["phases"][:-1])
    assert project.lines(build) == ["one", "two", "3", "4"]
    assert build["logs"]["groupName"] == f"/aws/codebuild/{project.name}"
    assert build["id"] in project.client.list_builds_for_project(projectName=project.name)["ids"]


def test_commands_share_variables_directory_and_what_they_export(project: Project) -> None:
    build = project.run(
        spec(
            {"variables": {"A": "from the buildspec", "B": "b"}, "exported-variables": ["V", "NO"]},
            pre_build=["export V=1.2.3", "C=unexported", "mkdir sub", "cd sub"],
            build=[
                'echo "$V $A $B $C"',
                "sh -c 'echo not ${C:-there}'",
                "basename $PWD",
                "test -d $CODEBUILD_SRC_DIR/sub && echo ok",
            ],
        ),
        environmentVariablesOverride=[{"name": "B", "value": "overridden"}],
    )
    assert project.lines(build) == [
        "1.2.3 from the buildspec overridden unexported",
        "not there",
        "sub",
        "ok",
    ]
    assert build["exportedEnvironmentVariables"] == [{"name": "V", "value": "1.2.3"}]


def test_a_build_knows_who_it_is_and_acts_in_the_role(project: Project) -> None:
    build = project.run(
        spec(build=["echo $CODEBUILD_BUILD_ID $CODEBUILD_BUILD_NUMBER $CI $AWS_REGION"])
    )
    assert project.lines(build) == [f"{build['id']} 1 true us-east-1"]


def test_the_shell_can_be_bash(project: Project) -> None:
    build = project.run(
        spec({"shell": "bash"}, build=["[[ abc == a* ]] && echo ${BASH_VERSION%%.*}"])
    )
    assert int(project.lines(build)[0]) >= 4


# Failures


def test_a_failed_command_fails_the_build_and_names_itself(project: Project) -> None:
    build = project.run(spec(build=["echo before", "sh -c 'exit 3'", "echo never"]))
    assert build["buildStatus"] == "FAILED"
    failed = next(phase for phase in build["phases"] if phase["phaseType"] == "BUILD")
    assert failed["phaseStatus"] == "FAILED"
    assert failed["contexts"] == [
        {
            "statusCode": "COMMAND_EXECUTION_ERROR",
            "message": "Error while executing command: sh -c 'exit 3'. Reason: exit status 3",
        }
    ]
    assert project.lines(build) == ["before"]


def test_a_failed_build_is_followed_by_post_build_but_a_failed_preparation_is_not(
    project: Project,
) -> None:
    after = ['echo "succeeding: $CODEBUILD_BUILD_SUCCEEDING"']
    build = project.run(spec(build=["false"], post_build=after))
    assert build["buildStatus"] == "FAILED"
    assert project.lines(build) == ["succeeding: 0"]
    build = project.run(spec(pre_build=["false"], build=["echo never"], post_build=after))
    assert build["buildStatus"] == "FAILED"
    assert project.lines(build) == []
    assert ("FINALIZING", "SUCCEEDED") in phases(build)


def test_a_phase_may_end_the_build(project: Project) -> None:
    build = project.run(
        spec(build={"on-failure": "ABORT", "commands": ["echo 1; exit 7"]}, post_build=["echo 2"])
    )
    assert project.lines(build) == ["1"]
    assert build["buildStatus"] == "FAILED"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version: 0.2\nphases: [", "line 2"),
        ("version: 0.2\nreports: {a: {files: [a]}}", "not known to this runner: reports"),
        ("missing.yml", "No such file"),
    ],
)
def test_a_bad_buildspec_fails_the_download_phase(project: Project, text: str, why: str) -> None:
    build = project.run(text)
    failed = next(phase for phase in build["phases"] if phase.get("phaseStatus") == "FAILED")
    assert failed["phaseType"] == "DOWNLOAD_SOURCE"
    assert failed["contexts"][0]["statusCode"] == "YAML_FILE_ERROR"
    assert re.search(why, failed["contexts"][0]["message"])


def test_a_stopped_build_leaves_no_process(aws: LocalAws, project: Project) -> None:
    started = project.start(spec(build=["sleep 987 & sleep 987"], post_build=["echo never"]))
    deadline = time.monotonic() + 60
    while project.look(started)["currentPhase"] != "BUILD":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    project.client.stop_build(id=started)
    build = project.ended(started)
    assert build["buildStatus"] == "STOPPED"
    assert ("BUILD", "STOPPED") in phases(build)
    assert not [pid for pid in processes(aws.directory) if _command(pid) == ["sleep", "987"]]


def _command(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline") as line:  # noqa: PTH123
            return line.read().split("\0")[:-1]
    except OSError:
        return []


# What the role may


def test_without_permission_to_write_its_log_a_build_fails(aws: LocalAws, name: str) -> None:
    project = Project(aws, name)
    aws.client("iam").delete_role_policy(RoleName=name, PolicyName="one")
    build = project.run(spec(build=["true"]))
    failed = next(phase for phase in build["phases"] if phase.get("phaseStatus") == "FAILED")
    assert failed["phaseType"] == "PROVISIONING"
    assert "not authorized to perform: logs:CreateLogStream" in failed["contexts"][0]["message"]


# Source, artifacts, caches


def test_the_source_is_an_archive_and_its_version_can_be_chosen(aws: LocalAws, name: str) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    text = spec(build=["cat said '[[...x]]'"])
    odd = {"[[...x]]": "and a name with dots\n"}
    versions = [
        s3.put_object(
            Bucket=name, Key="a.zip", Body=archive(said=message, buildspec__yml=text, **odd)
        )
        for message in ("old", "new")
    ]
    source = {"type": "S3", "location": f"{name}/a.zip"}
    project = Project(aws, name, "s3:GetObject*", source=source)
    assert project.lines(project.run()) == ["newand a name with dots"]
    build = project.run(sourceVersion=versions[0]["VersionId"])
    assert project.lines(build) == ["oldand a name with dots"]
    assert build["resolvedSourceVersion"] == versions[0]["VersionId"]


def test_what_is_no_archive_is_said_so(aws: LocalAws, name: str) -> None:
    bucket(aws, name, broken=b"not a zip")
    source = {"type": "S3", "location": f"{name}/broken"}
    build = Project(aws, name, "s3:GetObject", source=source).run()
    failed = next(phase for phase in build["phases"] if phase.get("phaseStatus") == "FAILED")
    assert failed["phaseType"] == "DOWNLOAD_SOURCE"
    assert "File is not a zip file" in failed["contexts"][0]["message"]


def test_artifacts_arrive_in_the_bucket(aws: LocalAws, name: str) -> None:
    bucket(aws, name)
    target = {"type": "S3", "location": name, "path": "out", "name": "site.zip"}
    target |= {"namespaceType": "BUILD_ID", "packaging": "ZIP"}
    project = Project(aws, name, "s3:PutObject", artifacts=target)
    build = project.run(
        spec(
            build=["mkdir -p dist/css", "echo a >dist/a.html", "echo b >dist/css/b.css"],
            artifacts={"base-directory": "dist", "files": ["**/*"]},
        )
    )
    assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    key = f"out/{build['id'].rpartition(':')[2]}/site.zip"
    assert build["artifacts"]["location"] == f"arn:aws:s3:::{name}/{key}"
    body = aws.client("s3").get_object(Bucket=name, Key=key)["Body"].read()
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        assert packed.namelist() == ["a.html", "css/b.css"]
    nothing = project.run(spec(build=["true"], artifacts={"files": ["dist/**/*"]}))
    assert ("UPLOAD_ARTIFACTS", "FAILED") in phases(nothing)


def test_a_cache_is_there_for_the_next_build(aws: LocalAws, name: str) -> None:
    cache = {"type": "S3", "location": f"{bucket(aws, name)}/cache"}
    project = Project(aws, name, "s3:GetObject", "s3:PutObject", cache=cache)
    text = spec(
        build=[
            "mkdir -p kept/deep",
            "cat kept/deep/count || echo none",
            "echo x >>kept/deep/count",
        ],
        cache={"paths": ["kept/**/*"]},
    )
    assert project.lines(project.run(text))[-1] == "none"
    assert project.lines(project.run(text)) == ["x"]
    assert project.lines(project.run(text)) == ["x", "x"]


def test_a_cache_with_a_key_is_written_once(aws: LocalAws, name: str) -> None:
    cache = {"type": "S3", "location": f"{bucket(aws, name)}/cache"}
    project = Project(aws, name, "s3:GetObject", "s3:PutObject", cache=cache)

    def kept(key: str, command: str = "echo x >>kept/count") -> list[str]:
        text = spec(
            build=["cat kept/count || true", command], cache={"key": key, "paths": ["kept/**/*"]}
        )
        return [line for line in project.lines(project.run(text)) if line == "x"]

    assert kept("lock-1", "true") == []  # nothing to cache is not cached
    assert kept("lock-1", "mkdir kept; echo x >kept/count") == []
    assert kept("lock-1") == kept("lock-1") == ["x"]
    assert kept("lock-2", "true") == []


def test_what_comes_finally_runs_also_after_a_failure(project: Project) -> None:
    build = project.run(
        spec(build={"commands": ["echo 1; exit 7", "echo 2"], "finally": ["echo 3"]})
    )
    assert project.lines(build) == ["1", "3"]
    assert build["buildStatus"] == "FAILED"


def test_a_variable_may_be_a_secret_which_no_log_shows(aws: LocalAws, name: str) -> None:
    secret = json.dumps({"token": "s3cr3t-t0k3n"})
    made = aws.client("secretsmanager").create_secret(Name=f"docs/{name}", SecretString=secret)
    text = spec(build=['echo "has $TOKEN, ${#TOKEN} characters"'])
    for number, named in enumerate((f"docs/{name}", made["ARN"])):
        variable = {"name": "TOKEN", "value": f"{named}:token", "type": "SECRETS_MANAGER"}
        project = Project(aws, f"{name}-{number}", "secretsmanager:GetSecretValue")
        build = project.run(text, environmentVariablesOverride=[variable])
        assert project.lines(build) == ["has ***, 12 characters"]
    denied = Project(aws, f"{name}-denied")
    build = denied.run(text, environmentVariablesOverride=[variable])
    assert ("DOWNLOAD_SOURCE", "FAILED") in phases(build)


def test_a_start_may_say_where_artifacts_and_cache_are(aws: LocalAws, name: str) -> None:
    project = Project(aws, name, "s3:GetObject", "s3:PutObject")
    bucket(aws, name)
    target = {"type": "S3", "location": name, "path": "out", "name": "1.zip", "packaging": "ZIP"}
    build = project.run(
        spec(build=["mkdir -p kept; echo a >kept/a"], artifacts={"files": ["kept/*"]},
             cache={"key": "k", "paths": ["kept/**/*"]}),
        artifactsOverride={**target, "namespaceType": "NONE"},
        cacheOverride={"type": "S3", "location": f"{name}/site"},
    )  # fmt: skip
    assert build["artifacts"]["location"] == f"arn:aws:s3:::{name}/out/1.zip"
    listed = aws.client("s3").list_objects_v2(Bucket=name)["Contents"]
    assert [entry["Key"].split("/")[0] for entry in listed] == ["out", "site"]


# Sources of GitHub, where a folder stands for it


def repository(where: Path, tag: str) -> str:
    """Make a git repository with one commit, under a tag; the commit."""
    where.mkdir(parents=True)
    (where / "readme").write_text("hello\n")

    def git(*words: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        done = subprocess.run(["git", *who, *words], cwd=where, capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "one")
    git("tag", tag)
    return git("rev-parse", "HEAD")


CONNECTION = "arn:aws:codeconnections:us-east-1:000000000000:connection/0"


@pytest.mark.parametrize("connected", [True, False])
def test_a_connection_clones_in_the_projects_role(
    aws: LocalAws, github: Path, name: str, connected: bool
) -> None:
    commit = repository(github / "example" / name, "v1.0.0")
    connect = ("codeconnections:GetConnection", "codeconnections:GetConnectionToken")
    project = Project(
        aws,
        name,
        *(connect if connected else connect[:1]),
        source={
            "type": "GITHUB",
            "location": f"https://github.com/example/{name}",
            "auth": {"type": "CODECONNECTIONS", "resource": CONNECTION},
            "gitCloneDepth": 0,
            "buildspec": spec(build=["git describe --tags"]),
        },
    )
    build = project.run()
    if connected:
        assert build["resolvedSourceVersion"] == commit
        assert project.lines(build) == ["v1.0.0"]
    else:
        assert ("DOWNLOAD_SOURCE", "FAILED") in phases(build)
        (context,) = next(
            p["contexts"] for p in build["phases"] if p["phaseType"] == "DOWNLOAD_SOURCE"
        )
        assert "codeconnections:GetConnectionToken" in context["message"]


# Starting


def test_a_build_of_no_project_is_refused(aws: LocalAws) -> None:
    client = aws.client("codebuild")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="project/nowhere"):
        client.start_build(projectName="nowhere")


# From Step Functions

SYNC = "arn:aws:states:::codebuild:startBuild.sync"


@pytest.fixture
def role(machines: Machines, aws: LocalAws) -> str:
    arn = machines.make_role("states.amazonaws.com", "codebuild:*", "*")
    aws.client("iam").put_role_policy(
        RoleName=arn.rpartition("/")[2],
        PolicyName="rule",
        PolicyDocument=_policy({"Effect": "Allow", "Action": "events:*", "Resource": "*"}),
    )
    return arn


def building(project: Project, buildspec: str, **fields: Any) -> Json:
    arguments = {"ProjectName": project.name, "BuildspecOverride": buildspec}
    return {"Build": task(SYNC, Arguments=arguments, End=True, **fields)}


def test_sync_waits_for_the_build(machines: Machines, project: Project, role: str) -> None:
    text = spec({"exported-variables": ["V"]}, build=["export V=1.0"])
    execution = machines.start(building(project, text), None, role)
    output = json.loads(machines.ended(execution)["output"])["Build"]
    assert output["BuildStatus"] == "SUCCEEDED"
    assert output["ExportedEnvironmentVariables"] == [{"Name": "V", "Value": "1.0"}]
    assert output["StartTime"] == pytest.approx(time.time() * 1000, abs=60_000)
    (submitted,) = [
        event["taskSubmittedEventDetails"]
        for event in machines.history(execution)
        if event["type"] == "TaskSubmitted"
    ]
    assert json.loads(submitted["output"])["Build"]["Id"] == output["Id"]


def test_a_failed_build_fails_the_task(machines: Machines, project: Project, role: str) -> None:
    result = machines.fails(building(project, spec(build=["false"])), role=role)
    assert result["error"] == "States.TaskFailed"
    assert json.loads(result["cause"])["Build"]["BuildStatus"] == "FAILED"


def test_who_stops_waiting_stops_the_build(machines: Machines, project: Project, role: str) -> None:
    late = machines.fails(building(project, spec(build=["sleep 60"]), TimeoutSeconds=1), role=role)
    assert late["error"] == "States.Timeout"
    earlier = project.builds()  # none, if the time was over before it had begun
    execution = machines.start(building(project, spec(build=["sleep 60"])), role=role)
    machines.until(lambda: len(project.builds()) > len(earlier))
    machines.sfn.stop_execution(executionArn=execution)
    for build in project.builds():
        assert project.ended(build)["buildStatus"] == "STOPPED"


def test_the_machine_needs_permission(machines: Machines, project: Project) -> None:
    result = machines.fails(building(project, spec(build=["true"])))
    assert result["error"] == "CodeBuild.AccessDeniedException"
    assert "codebuild:StartBuild" in result["cause"]


def test_a_build_may_run_in_another_role_that_the_machine_may_pass(
    aws: LocalAws, name: str, machines: Machines, project: Project, role: str
) -> None:
    other = Project(aws, f"{name}-other").run()["serviceRole"]
    states = building(project, spec(build=["aws sts get-caller-identity --query Arn"]))
    states["Build"]["Arguments"]["ServiceRoleOverride"] = other
    refused = machines.fails(states, role=role)
    assert refused["error"] == "CodeBuild.AccessDeniedException"
    assert "iam:PassRole" in refused["cause"]
    to_builds = {"StringEquals": {"iam:PassedToService": "codebuild.amazonaws.com"}}
    pass_role = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": other}
    aws.client("iam").put_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyName="pass",
        PolicyDocument=_policy({**pass_role, "Condition": to_builds}),
    )
    done = json.loads(machines.ended(machines.start(states, None, role))["output"])["Build"]
    assert done["ServiceRole"] == other
    assert f"assumed-role/{name}-other/" in project.lines(project.look(done["Id"]))[0]


# From CloudFormation


def test_a_project_of_a_template_keeps_logs_and_cache(aws: LocalAws, name: str) -> None:
    role = Project(aws, f"{name}-role", "s3:GetObject", "s3:PutObject")
    response = role.client.batch_get_projects(names=[role.name])["projects"][0]
    resource = {
        "Type": "AWS::CodeBuild::Project",
        "Properties": {
            "Name": name,
            "ServiceRole": response["serviceRole"],
            "Artifacts": {"Type": "NO_ARTIFACTS"},
            "Source": {"Type": "NO_SOURCE", "BuildSpec": spec(build=["echo $V"])},
            "Environment": {
                "Type": "LINUX_CONTAINER",
                "Image": "aws/codebuild/standard:7.0",
                "ComputeType": "BUILD_GENERAL1_SMALL",
                "EnvironmentVariables": [{"Name": "V", "Value": "given"}],
            },
            "Cache": {"Type": "S3", "Location": f"{bucket(aws, name)}/cache"},
            "LogsConfig": {"CloudWatchLogs": {"Status": "ENABLED", "GroupName": f"/own/{name}"}},
        },
    }
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=name, TemplateBody=json.dumps({"Resources": {"Project": resource}})
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
    )
    aws.client("logs").create_log_group(logGroupName=f"/own/{name}")
    role.name = name
    build = role.run()
    assert build["logs"]["groupName"] == f"/own/{name}"
    assert build["cache"]["location"] == f"{name}/cache"
    assert role.lines(build) == ["given"]

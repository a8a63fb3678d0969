"""One build, run as CodeBuild runs it, its commands as processes of this machine.

What CodeBuild does in the project's role is done here with that role's credentials over the local
AWS's own endpoint (source, cache, artifacts, log), so a permission that the role lacks fails the
build as it does on AWS. The build environment's image is this machine.

Follows the AWS CodeBuild user guide: Build phase transitions; Build specification reference;
Environment variables in build environments; Build caching.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import get_region
from ministack.services import cloudwatch_logs

from local_aws import server
from local_aws.shims import containers, ecs_agent, roles

Json = dict[str, Any]

PHASES = ("install", "pre_build", "build", "post_build")

# All commands share one shell on CodeBuild: its variables, exported or not, and its directory.
_SCRIPT = """[ ! -e "$0.vars" ] || . "$0.vars" 2>/dev/null
trap '__code=$?; trap - EXIT; env -0 >"$0.env"; set >"$0.vars"; pwd >"$0.cwd"; exit "$__code"' EXIT
. "$0"
"""
# A folder that stands for https://github.com: a repository is at <owner>/<name> in it.
_GITHUB = "CODEBUILD_GITHUB"
# How this machine reaches the registries, where that goes through a proxy of its own.
_WAY_OUT = ("HTTPS_PROXY", "HTTP_PROXY", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_HIDDEN = {"_", "SHLVL", "OLDPWD", "BASH_EXECUTION_STRING"}


class PhaseFailed(Exception):
    """A phase failed; `code` is CodeBuild's status code, such as COMMAND_EXECUTION_ERROR."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Ended(Exception):
    """The build was stopped or is out of time."""


@dataclass
class Build:
    """A build in progress. `record` is what BatchGetBuilds answers, changed as it goes on.

    `project` is what BatchGetProjects shows, with the overrides of StartBuild applied.
    """

    record: Json
    project: Json
    _spec: Json = field(default_factory=dict)
    _environment: dict[str, str] = field(default_factory=dict)
    _succeeding: str = "1"
    _over: str = ""
    _restored: bool = False
    _lifeline: int = -1
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _secrets: list[str] = field(default_factory=list)
    _log: Json = field(default_factory=dict)

    def run(self) -> None:
        """Run it to its end. What fails is in the record, never raised."""
        self.directory = Path(tempfile.mkdtemp(prefix="codebuild-"))
        self._cwd = self._source = self.directory / "src"
        self._source.mkdir()
        clock = threading.Timer(60 * self.record["timeoutInMinutes"], self.stop, ("TIMED_OUT",))
        clock.daemon = True
        clock.start()
        try:
            self._run()
        finally:
            clock.cancel()
            shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self, status: str = "STOPPED") -> None:
        with self._lock:
            if self._over or self.record["buildComplete"]:
                return
            self._over = status
            self._cut()

    def _cut(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    # Phases
    # ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        status = "SUCCEEDED"
        try:
            self._phase("PROVISIONING", self._open_log)
            self._phase("DOWNLOAD_SOURCE", self._fetch)
            status = self._commands()
        except PhaseFailed:
            status = "FAILED"
        except Ended:
            status = self._over
        try:
            self._phase("FINALIZING", self._finalize)
        except (PhaseFailed, Ended):
            status = "FAILED" if status == "SUCCEEDED" else status
        self._complete(status)

    def _commands(self) -> str:
        """Run the buildspec's phases and upload; SUCCEEDED or FAILED.

        https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
        """
        failed = False
        for name in PHASES:
            phase = self._spec["phases"].get(name, {})
            try:
                self._phase(name.upper(), partial(self._commands_of, phase))
            except PhaseFailed:
                failed = True
                self._succeeding = "0"
                # A failed build is followed by post_build, a failed preparation by nothing.
                if phase.get("on-failure") == "ABORT" or name in ("install", "pre_build"):
                    return "FAILED"
        try:
            self._phase("UPLOAD_ARTIFACTS", lambda: self._upload(failed))
        except PhaseFailed:
            failed = True
        return "FAILED" if failed else "SUCCEEDED"

    def _commands_of(self, phase: Json) -> None:
        """Run a phase's commands; those of `finally` run also after one that failed."""
        try:
            self._each(phase.get("commands", ()))
        finally:
            if not self._over:
                self._each(phase.get("finally", ()))

    def _phase(self, name: str, work: Callable[[], None]) -> None:
        began = time.time()
        entry: Json = {"phaseType": name, "startTime": began}
        self.record["currentPhase"] = name
        self.record["phases"].append(entry)
        self._say(f"Entering phase {name}")
        context = {"statusCode": "", "message": ""}
        try:
            if self._over:
                raise Ended
            work()
            entry["phaseStatus"] = "SUCCEEDED"
        except Ended:
            entry["phaseStatus"] = self._over
            raise
        except (PhaseFailed, ClientError, BotoCoreError, OSError, zipfile.BadZipFile) as error:
            entry["phaseStatus"] = "FAILED"
            code = error.code if isinstance(error, PhaseFailed) else "CLIENT_ERROR"
            context = {"statusCode": code, "message": str(error)}
            raise PhaseFailed(code, str(error)) from error
        finally:
            ended = time.time()
            entry |= {"endTime": ended, "durationInSeconds": int(ended - began)}
            entry["contexts"] = [context]
            self._say(f"Phase complete: {name} State: {entry.get('phaseStatus', 'FAULT')}")

    def _complete(self, status: str) -> None:
        now = time.time()
        self.record["phases"].append({"phaseType": "COMPLETED", "startTime": now})
        with self._lock:
            self.record |= {
                "buildStatus": status,
                "currentPhase": "COMPLETED",
                "buildComplete": True,
                "endTime": now,
            }

    # What the phases do
    # ---------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        source = self.project["source"]
        kind, version = source["type"], self.record.get("sourceVersion") or ""
        if kind == "S3":
            self._fetch_s3(source["location"], version)
        elif kind != "NO_SOURCE":
            self._fetch_git(source, version)
        self._spec = self._buildspec(source.get("buildspec") or "")
        self._environment = {**self._base(), **self._variables()}
        self._restore_cache()

    def _fetch_s3(self, location: str, version: str) -> None:
        """A folder, or a ZIP file."""
        bucket, _, key = location.partition("/")
        s3, archive = self._client("s3"), self.directory / "source.zip"
        if key.endswith("/") or not key:
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
                for stored in page.get("Contents", []):
                    target = self._source / stored["Key"].removeprefix(key)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    s3.download_file(bucket, stored["Key"], str(target))
            return
        answer = self._load(archive, bucket, key, **({"VersionId": version} if version else {}))
        self.record["resolvedSourceVersion"] = answer.get("VersionId") or version
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                path = packed.extract(entry, self._source)
                if (mode := entry.external_attr >> 16) and not entry.is_dir():
                    Path(path).chmod(mode & 0o777)
        archive.unlink()

    def _load(self, target: Path, bucket: str, key: str, **version: str) -> Json:
        stored: Json = self._client("s3").get_object(Bucket=bucket, Key=key, **version)
        with target.open("wb") as file:
            shutil.copyfileobj(stored["Body"], file)
        return stored

    def _store(self, source: Path, bucket: str, key: str) -> None:
        with source.open("rb") as file:
            self._client("s3").put_object(Bucket=bucket, Key=key, Body=file)

    def _fetch_git(self, source: Json, version: str) -> None:
        """https://docs.aws.amazon.com/codebuild/latest/userguide/connections-github-app.html"""
        auth = source.get("auth") or {}
        if auth.get("type") == "CODECONNECTIONS":
            for action in ("GetConnection", "GetConnectionToken"):
                self._require(f"codeconnections:{action}", auth["resource"])
        stand_in = os.environ.get(_GITHUB)
        instead = ["-c", f"url.{stand_in}/.insteadOf=https://github.com/"] if stand_in else []
        self._git(*instead, "clone", "--quiet", source["location"], ".")
        if version:
            self._git("checkout", "--quiet", version.removeprefix("refs/heads/"))
        self.record["resolvedSourceVersion"] = self._git("rev-parse", "HEAD")

    def _git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self._source,
            env=self._base(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PhaseFailed("GIT_CLONE_FAILED", done.stderr.strip().rpartition("\n")[2])
        return done.stdout.strip()

    def _require(self, action: str, resource: str) -> None:
        """Fail unless the project's role allows what has no endpoint here."""
        if why := roles.denial(
            self.project["serviceRole"],
            "codebuild.amazonaws.com",
            action,
            resource,
            source=self.project["arn"],
        ):
            raise PhaseFailed("CLIENT_ERROR", why)

    def _buildspec(self, given: str) -> Json:
        """The sections of inline text, or of a file in the source (buildspec.yml)."""
        sections: Json = {"env": {}, "phases": {}, "artifacts": {}, "cache": {}}
        try:
            inline = "\n" in given or given.lstrip().startswith("{")
            text = given if inline else (self._source / (given or "buildspec.yml")).read_text()
            spec: Json = yaml.safe_load(text)
        except (OSError, yaml.YAMLError) as error:
            raise PhaseFailed("YAML_FILE_ERROR", f"YAML file error: {error}") from error
        if unknown := spec.keys() - {"version", *sections}:
            raise PhaseFailed("YAML_FILE_ERROR", f"not known to this runner: {', '.join(unknown)}")
        return sections | spec

    def _base(self) -> dict[str, str]:
        """What every command gets.

        https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
        """
        build = self.record
        return {
            # The standard images have boto3 with their Python, as this one does.
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": os.environ.get("HOME", "/root"),
            "LANG": "C.UTF-8",
            "TMPDIR": tempfile.gettempdir(),
            "AWS_ENDPOINT_URL": ecs_agent.endpoint(),
            "AWS_REGION": get_region(),
            "AWS_DEFAULT_REGION": get_region(),
            **server.ISOLATION,
            **{name: os.environ[name] for name in _WAY_OUT if name in os.environ},
            server.MARKER: os.environ.get(server.MARKER, ""),
            **ecs_agent.credentials(self.project["serviceRole"]),
            "CI": "true",
            "CODEBUILD_BUILD_ARN": build["arn"],
            "CODEBUILD_BUILD_ID": build["id"],
            "CODEBUILD_BUILD_NUMBER": str(build["buildNumber"]),
            "CODEBUILD_RESOLVED_SOURCE_VERSION": build.get("resolvedSourceVersion", ""),
            "CODEBUILD_SOURCE_VERSION": build["sourceVersion"],
            "CODEBUILD_SRC_DIR": str(self._source),
        }

    def _variables(self) -> dict[str, str]:
        """The buildspec's, over them the project's and those of StartBuild."""
        values = {
            name: str(value) for name, value in self._spec["env"].get("variables", {}).items()
        }
        for given in self.project["environment"].get("environmentVariables") or []:
            kind, value = given.get("type", "PLAINTEXT"), str(given["value"])
            if kind not in ("PLAINTEXT", "SECRETS_MANAGER"):
                raise PhaseFailed("CLIENT_ERROR", f"{given['name']}: {kind} not known here")
            values[given["name"]] = self._secret(value) if kind == "SECRETS_MANAGER" else value
        return values

    def _secret(self, named: str) -> str:
        """`secret-id:json-key`, read in the project's role. The log never shows the value.

        https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
        """
        parts = named.split(":")
        at = 7 if named.startswith("arn:") else 1
        name, key = ":".join(parts[:at]), "".join(parts[at : at + 1])
        text = str(self._client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
        value = str(json.loads(text)[key]) if key else text
        self._secrets.append(value)
        return value

    def _each(self, commands: Sequence[str]) -> None:
        for command in map(str.rstrip, commands):
            self._say(f"Running command {command}")
            code = self._execute(command)
            if self._over:
                raise Ended
            if code:
                self._say(f"Command did not exit successfully {command} exit status {code}")
                message = f"Error while executing command: {command}. Reason: exit status {code}"
                raise PhaseFailed("COMMAND_EXECUTION_ERROR", message)

    def _execute(self, command: str) -> int:
        name = self._spec["env"].get("shell", "sh")
        if not (shell := shutil.which(name, path=self._environment["PATH"])):
            raise PhaseFailed("CLIENT_ERROR", f"shell {name} is not installed")
        script = self.directory / "command"
        # set last, for the shell remembers it too
        script.write_text(f"export CODEBUILD_BUILD_SUCCEEDING={self._succeeding}\n{command}\n")
        process, lifeline = containers.spawn(
            [shell, "-c", _SCRIPT, str(script)],
            self._environment,
            self._cwd if self._cwd.is_dir() else self._source,
        )
        with self._lock:
            self._lifeline = lifeline
            if self._over:
                self._cut()
        for line in containers.output(process):
            self._write(line)
        code = process.wait()
        with self._lock:
            self._cut()
        self._remember(script)
        return code

    def _remember(self, script: Path) -> None:
        state, cwd = script.with_name("command.env"), script.with_name("command.cwd")
        with contextlib.suppress(FileNotFoundError):  # the command replaced the shell
            pairs = (entry.partition("=") for entry in state.read_text().split("\0") if entry)
            self._environment = {name: value for name, _, value in pairs if name not in _HIDDEN}
            self._cwd = Path(cwd.read_text().rstrip("\n"))
            state.unlink()
            cwd.unlink()

    def _upload(self, failed: bool) -> None:
        """Put the artifacts into their bucket, as one archive: ZIP is the only packaging here."""
        target, spec = self.project["artifacts"], self._spec["artifacts"]
        wanted = spec.get("files")
        if not wanted or target.get("type") != "S3":
            return
        base = self._source / spec.get("base-directory", ".")
        files = sorted({p for pattern in wanted for p in base.glob(pattern) if p.is_file()})
        if not files:
            if failed:
                return
            message = f"no matching artifact paths found: no matching files for {wanted}"
            raise PhaseFailed("CLIENT_ERROR", message)
        if target.get("packaging") != "ZIP":
            raise PhaseFailed("CLIENT_ERROR", "artifacts are packed as ZIP only by this runner")
        build = self.record["id"].rpartition(":")[2]
        folder = build if target.get("namespaceType") == "BUILD_ID" else ""
        key = _joined(target.get("path", ""), folder, target.get("name", ""))
        bucket, archive = target["location"].split(":::")[-1], self.directory / "artifacts.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in files:
                packed.write(path, path.relative_to(base))
        self._store(archive, bucket, key)
        self.record["artifacts"] = {"location": f"arn:aws:s3:::{bucket}/{key}"}

    def _finalize(self) -> None:
        if self._spec:
            self.record["exportedEnvironmentVariables"] = [
                {"name": name, "value": self._environment[name]}
                for name in self._spec["env"].get("exported-variables", ())
                if name in self._environment
            ]
            self._keep_cache()

    # Caches: https://docs.aws.amazon.com/codebuild/latest/userguide/build-caching.html
    # ---------------------------------------------------------------------------------------------

    def _cache(self) -> tuple[str, str] | None:
        """Bucket and key. CodeBuild names the object itself; location and namespace are its
        promise."""
        cache: Json = self.project.get("cache") or {}
        if not self._spec["cache"] or cache.get("type") != "S3":
            return None
        bucket, _, prefix = cache["location"].split(":::")[-1].partition("/")
        key = self._spec["cache"].get("key", "")
        return bucket, _joined(prefix, self.project["name"], key, "cache.tar")

    def _restore_cache(self) -> None:
        if cache := self._cache():
            archive = self.directory / "cache.tar"
            try:
                self._load(archive, *cache)
            except ClientError as error:  # the first build has none, and a cache is only that
                self._say(f"Unable to download cache: {error.response['Error']['Code']}")
                return
            with tarfile.open(archive) as packed:
                packed.extractall(self._source, filter="fully_trusted")
            self._restored = True
            self._say("Restored cache")

    def _keep_cache(self) -> None:
        cache = self._cache()
        if cache is None or self._over or (self._restored and "key" in self._spec["cache"]):
            return  # what is kept under a key is never written again
        patterns = self._spec["cache"].get("paths", ())
        paths = [path for pattern in patterns for path in self._source.glob(pattern)]
        if not paths:
            return self._say("Nothing to cache")
        archive = self.directory / "cache.tar"
        with tarfile.open(archive, mode="w") as packed:
            for path in paths:
                packed.add(path, path.relative_to(self._source), recursive=False)
        try:
            self._store(archive, *cache)
        except ClientError as error:
            self._say(f"Unable to upload cache: {error}")

    # The log
    # ---------------------------------------------------------------------------------------------

    def _client(self, service: str) -> Any:
        return ecs_agent.client(service, get_region(), self.project["serviceRole"])

    def _say(self, line: str) -> None:
        now = time.time()
        stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime(now))
        self._write(f"[Container] {stamp}.{int(now % 1 * 1e6):06d} {line}")

    def _open_log(self) -> None:
        """Make the stream, as the role."""
        where = self.record["logs"]
        group, stream = where["groupName"], where["streamName"]
        self._client("logs").create_log_stream(logGroupName=group, logStreamName=stream)
        self._require("logs:PutLogEvents", where["cloudWatchLogsArn"])
        self._log = {"logGroupName": group, "logStreamName": stream}

    def _write(self, line: str) -> None:
        if not self._log:
            return  # there is no stream yet
        for secret in filter(None, self._secrets):
            line = line.replace(secret, "***")
        # CloudWatch Logs refuses empty messages.
        event = {"timestamp": int(time.time() * 1000), "message": line or " "}
        cloudwatch_logs._put_log_events(self._log | {"logEvents": [event]})


def _joined(*parts: str) -> str:
    """A key of S3, without the parts that are empty."""
    return "/".join(part.strip("/") for part in parts if part.strip("/"))

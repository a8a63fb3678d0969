"""`make demo`: watch pushes become live releases, on a local AWS that is gone afterwards.

    python -m demo.deploy            three releases: one, a newer one, and a broken one
    python -m demo.deploy --serve    `make local`: keep a local AWS up and show what is pushed to it

The demo checks each step that it shows, and ends at the first that is not as it must be.
"""

import argparse
import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

import cli.follow
from cli.executions import Execution
from cli.screen import Screen, brief, printable, seconds_of, standing
from demo.oci import PushRefused
from demo.stage import Stage, StageError
from local_aws.aws import DIRECTORY, LocalAws, LocalAwsError, PortTaken

HEALTH_CHECK_SECONDS = 5  # between two health checks of the stage's container
IDLE_SECONDS = 0.5  # between two looks for a new execution
DEMO_LIMIT = 150.0  # seconds for one release of the demo; its spec gives it 60 s, and 60 s back
SERVE_LIMIT = 3 * 3600.0  # seconds; the state machine's own limit
PORT = 4566
WEB = "demo-web"  # the plain web application of a local AWS that stays

_PR_SET_PDEATHSIG = 1  # linux/prctl.h: end with the process that started it
_PYTHON = ".venv/bin/python"
_USER = {"email": "first@example.com", "username": "first", "password": "not kept"}
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Surprise(RuntimeError):
    """A step of the demo did not end as it must; the message says what was expected and seen."""


EXPECTABLE = (Surprise, StageError, LocalAwsError, PushRefused, ClientError, BotoCoreError)
"""What may go wrong outside this module; anything else is a mistake in it."""


# Executions ---------------------------------------------------------------------------------------


def follow(stage: Stage, arn: str, screen: Screen, limit: float) -> Execution:
    """Show an execution until it ends. Raises StageError if it still runs after `limit` seconds."""
    try:
        return cli.follow.follow(
            lambda: stage.look(arn), screen, limit, lambda: standing(_of(arn, stage).described())
        )
    except TimeoutError as error:
        raise StageError(str(error)) from error


def conclude(stage: Stage, ended: Execution, screen: Screen) -> dict[str, Any]:
    """Show how an execution ended, in the words of its record. Returns the record, {} if none."""
    record = stage.recorded(ended.arn)
    cli.follow.conclude(record, ended, screen)
    return record


# The service -------------------------------------------------------------------------------------


def address(stage: Stage) -> str | None:
    """The URL of the service's task, found as a person would: task → network interface → public IP.

    None if no task has one.
    """
    ecs, ec2 = stage.aws.client("ecs"), stage.aws.client("ec2")
    tasks = ecs.list_tasks(
        cluster=stage.cluster, serviceName=stage.service, desiredStatus="RUNNING"
    )["taskArns"]
    if not tasks:
        return None
    details = {
        detail["name"]: detail["value"]
        for task in ecs.describe_tasks(cluster=stage.cluster, tasks=tasks)["tasks"]
        for attachment in task["attachments"]
        for detail in attachment["details"]
    }
    interfaces = ec2.describe_network_interfaces(
        NetworkInterfaceIds=[details["networkInterfaceId"]]
    )["NetworkInterfaces"]
    public = interfaces[0].get("Association", {}).get("PublicIp")
    return f"http://{public}:{stage.port}" if public else None


@dataclass(frozen=True)
class Answer:
    status: int
    version: str
    body: Any

    @property
    def brief(self) -> str:
        return f"{self.status}, X-Coder-Build-Version {printable(self.version)}"


def ask(url: str, document: Mapping[str, str] | None = None) -> Answer:
    """GET, or POST of a document; no proxy stands between. Raises Surprise if nothing answers."""
    body = json.dumps(document).encode() if document else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        response: Any = opener.open(urllib.request.Request(url, body), timeout=5)
    except urllib.error.HTTPError as error:
        response = error
    except OSError as error:
        raise Surprise(f"expected an answer from {url}, saw: {error}") from error
    with response:
        text = response.read()
        version = response.headers.get("X-Coder-Build-Version") or ""
        is_json = "json" in (response.headers.get("Content-Type") or "")
        return Answer(response.status, version, json.loads(text) if is_json else text.decode())


def expect(what: str, wanted: object, seen: object) -> None:
    """Raises Surprise unless they are equal."""
    if seen != wanted:
        raise Surprise(f"expected {what} to be {wanted!r}, saw {seen!r}")


# The demo ----------------------------------------------------------------------------------------


class Demo:
    """The story that `make demo` tells, and the document that `--json` prints of it."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.steps: list[dict[str, Any]] = []
        self.live: dict[str, str] | None = None
        self.records: list[dict[str, Any]] = []
        self.error: dict[str, str] | None = None
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._began, 2)

    @property
    def document(self) -> dict[str, Any]:
        return {
            "ok": self.error is None,
            "url": self.live["url"] if self.live else None,
            "version": self.live["version"] if self.live else None,
            "seconds": self.seconds,
            "healthCheckScale": health_check_scale(),
            "steps": self.steps,
            "releases": [
                {
                    "version": record.get("version"),
                    "outcome": record.get("outcome"),
                    "seconds": seconds_of(record),
                    "reason": brief(record),
                }
                for record in self.records
            ],
            "error": self.error,
        }

    def begin(self) -> None:
        """Say what takes the time."""
        pace = HEALTH_CHECK_SECONDS * health_check_scale()
        self.screen.say(
            "In real time: health is checked every 5 s, as on AWS, and most of the time goes there."
            if pace == HEALTH_CHECK_SECONDS
            else f"ECS_HEALTH_CHECK_SCALE is set: health is checked every {pace:g} s, not each 5 s."
        )

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """One step of the story; what it puts into the dictionary is in the document."""
        self.screen.title(f"{len(self.steps) + 1}. {name}")
        report: dict[str, Any] = {"name": name, "ok": False}
        self.steps.append(report)
        began = time.monotonic()
        try:
            yield report
            report["ok"] = True
        finally:
            report["seconds"] = round(time.monotonic() - began, 2)

    def run(self, stage: Stage) -> None:
        """Raises Surprise, or one of EXPECTABLE, at the first step that is not as it must be."""
        with self.step("Push 1.0.0, the first release") as report:
            first = self.pushed(stage, report, "1.0.0")
        with self.step("Create the first user, then push 1.1.0") as report:
            expect("POST users/first", 201, ask(f"{first}/api/v2/users/first", _USER).status)
            self.screen.say("POST /api/v2/users/first: 201, so that there is data to lose")
            url = self.pushed(stage, report, "1.1.0")
            self.kept_data(url)
        with self.step("Push 1.2.0, which is broken: it exits at start") as report:
            self.broken(stage, report, "1.2.0", "1.1.0")
        with self.step("Ask who serves now") as report:
            back = address(stage)
            if back is None:
                raise Surprise("expected a running task with a public IP, saw none")
            report["url"] = back
            self.serves(back, "1.1.0")
            self.kept_data(back)
        with self.step("Roll back by hand, to the release before") as report:
            back = self.rolled_back(stage, report, "1.0.0")
            self.kept_data(back)
        self.records = stage.records()
        outcomes = [(record["version"], record.get("outcome")) for record in self.records]
        wanted = [
            ("1.0.0", "SUCCEEDED"),
            ("1.1.0", "SUCCEEDED"),
            ("1.2.0", "FAILED_ROLLED_BACK"),
            ("1.0.0", "SUCCEEDED"),
        ]
        expect("the release records", wanted, outcomes)
        self.live = {"url": back, "version": "1.0.0"}

    def advise(self, stage: Stage, *, keep: bool) -> None:
        """Say what to try next, with the local AWS that stays if it is kept, else without."""
        if keep:
            stage.plain(WEB)
            guide(stage, self.screen, "1.3.0")
        else:
            what_next(self.screen)

    def attend(self, stage: Stage) -> None:
        """Show what happens in the local AWS that is kept, until Ctrl-C."""
        attend(stage, self.screen, set(stage.executions()))

    def released(
        self, stage: Stage, report: dict[str, Any], version: str, **variant: Any
    ) -> tuple[Execution, dict[str, Any]]:
        """Push a release and show what comes of it; the execution and the record."""
        digest = stage.release(version, **variant)
        where = f"{stage.aws.registry}/{stage.service}:{version}"
        self.screen.say(f"pushed {where}, {digest[:19]}…", "cyan")
        report |= {"version": version, "digest": digest}
        return self.followed(stage, report, stage.started_by(digest))

    def followed(
        self, stage: Stage, report: dict[str, Any], arn: str
    ) -> tuple[Execution, dict[str, Any]]:
        """Show an execution to its end; the execution and the record."""
        ended = follow(stage, arn, self.screen, DEMO_LIMIT)
        record = conclude(stage, ended, self.screen)
        report |= {
            "execution": ended.arn,
            "status": ended.status,
            "error": ended.error,
            "cause": ended.cause,
            "executionSeconds": ended.seconds,
            "states": [{"name": state.name, "at": state.at} for state in ended.states],
            "outcome": record.get("outcome"),
        }
        return ended, record

    def pushed(self, stage: Stage, report: dict[str, Any], version: str) -> str:
        """A release that must succeed; its URL."""
        ended, record = self.released(stage, report, version)
        expect(f"the execution of {version}", "SUCCEEDED", ended.status)
        expect(f"the outcome of {version}", "SUCCEEDED", record.get("outcome"))
        url = str(record["url"])
        report["url"] = url
        report["deploymentId"] = self.serves(url, version)
        return url

    def broken(self, stage: Stage, report: dict[str, Any], version: str, previous: str) -> None:
        """A release that must fail, explain itself, and be rolled back."""
        ended, record = self.released(stage, report, version, fault="exit-at-start")
        expect(f"the execution of {version}", "FAILED", ended.status)
        expect(f"the error of {version}", "RolloutFailed", ended.error)
        expect(f"the outcome of {version}", "FAILED_ROLLED_BACK", record.get("outcome"))
        diagnosis = record["diagnosis"]
        report["diagnosis"] = diagnosis
        if not any("exited with 3" in stop for stop in diagnosis["stops"]):
            raise Surprise(f"expected the exit code 3 in the diagnosis, saw {diagnosis['stops']}")
        if not any("exits at start" in line for line in diagnosis["log"]):
            raise Surprise(f"expected the task's last words in the log, saw {diagnosis['log']}")
        expect("the previous release", previous, record["previous"]["version"])

    def rolled_back(self, stage: Stage, report: dict[str, Any], version: str) -> str:
        """A request to roll back, after which this version must be live; its URL."""
        request = {"action": "rollback", "to": "previous", "by": "the demo", "hold": False}
        self.screen.say(f"started by hand with {json.dumps(request)}", "cyan")
        ended, record = self.followed(stage, report, stage.start(request))
        expect("the execution of the rollback", "SUCCEEDED", ended.status)
        expect("the release that was rolled back to", version, record.get("version"))
        url = str(record["url"])
        report["url"] = url
        self.serves(url, version)
        return url

    def serves(self, url: str, version: str) -> str:
        """Ask a URL what it is; it must be this version. Its deployment id."""
        health, build = ask(f"{url}/healthz"), ask(f"{url}/api/v2/buildinfo")
        facts = {"GET /healthz": health.brief}
        if isinstance(build.body, dict):
            names = ("version", "deployment_id")
            facts["GET /api/v2/buildinfo"] = ", ".join(f"{k} {build.body.get(k)}" for k in names)
        for name, fact in facts.items():
            self.screen.say(f"{name}: {printable(fact)}")
        expect(f"the status of {url}/healthz", 200, health.status)
        expect(f"the status of {url}/api/v2/buildinfo", 200, build.status)
        expect(f"the version at {url}", f"v{version}", health.version.partition("+")[0])
        expect("the version in buildinfo", health.version, build.body["version"])
        return str(build.body["deployment_id"])

    def kept_data(self, url: str) -> None:
        """The database is the one of the first release, with the user in it."""
        before = self.steps[1]["deploymentId"]
        expect("GET users/first", 200, ask(f"{url}/api/v2/users/first").status)
        expect("the deployment id", before, ask(f"{url}/api/v2/buildinfo").body["deployment_id"])
        self.screen.say(
            "GET /api/v2/users/first: 200, and the deployment id is the same: data kept"
        )


def health_check_scale() -> float:
    """By what the local AWS multiplies the intervals of container health checks; 1 is real time."""
    return float(os.environ.get("ECS_HEALTH_CHECK_SCALE", "1"))


def demonstrate(
    screen: Screen,
    *,
    keep: bool,
    as_json: bool,
    database: bool = False,
    story: type[Demo] = Demo,
) -> int:
    """Run the demo. The exit code: 0 if every step ended as it must, else 1."""
    demo, aws, stage = story(screen), None, None
    demo.begin()
    with contextlib.ExitStack() as ending:
        try:
            with demo.step("Start a local AWS, deploy the deployer into it"), screen.working():
                aws = ending.enter_context(started())
                screen.say(f"local AWS: {aws.endpoint}")
                stage = Stage.set_up(aws, patterns="demo*", database=database, say=screen.say)
            demo.run(stage)
        except Exception as error:
            if not isinstance(error, EXPECTABLE):
                traceback.print_exc()
            message, log = _in_words(error), _kept(aws.log) if aws else ""
            demo.error = {"message": message, "log": log}
            _complain(f"{demo.steps[-1]['name']}: {message}", log)
        else:
            screen.title("What was recorded")
            screen.releases(demo.records)
            spent = (
                f"{demo.seconds:.1f} s, of which setting up took {demo.steps[0]['seconds']:.1f} s"
            )
            screen.say(f"Every step ended as it must. It took {spent}.", "green")
            demo.advise(stage, keep=keep)
            screen.say()
        if as_json:
            print(json.dumps(demo.document, indent=2), flush=True)
        if not demo.live:
            return 1
        live_line(screen, demo.live["url"], demo.live["version"])
        if keep and stage:
            demo.attend(stage)
    return 0


def live_line(screen: Screen, url: str, version: str) -> None:
    """What serves now, in a form for programs."""
    screen.console.print(f"LIVE {url} {version}", soft_wrap=True)


def _in_words(error: Exception) -> str:
    """An error in words; AWS's own and ours need no class name."""
    return str(error) if isinstance(error, EXPECTABLE) else f"{type(error).__name__}: {error}"


def _complain(message: str, log: str = "") -> None:
    print(f"error: {message}" + (f"\nlog: {log}" if log else ""), file=sys.stderr, flush=True)


def _kept(log: Path) -> str:
    """A copy of the log, which stays when the local AWS and its files are gone."""
    handle, name = tempfile.mkstemp(prefix="local-aws-", suffix=".log")
    os.close(handle)
    shutil.copyfile(log, name)
    return name


def what_next(screen: Screen) -> None:
    """What to try after the demo, whose local AWS is gone by then."""
    screen.title("What to try next")
    screen.say("Keep a local AWS up, with the deployer in it, and see what is pushed to it:")
    screen.command("make local")
    screen.say("In another terminal, push the demo application, or a program of your own:")
    for command in _pushes("1.0.0"):
        screen.command(command)
    screen.say(
        "`docker push` and `aws stepfunctions start-execution` work too: `make local` prints"
    )
    screen.say("the commands. More: README.md#push-your-own-image")


def _pushes(demo_tag: str, option: str = "") -> list[str]:
    push = f"{_PYTHON} -m demo.image push{option} --repository"
    own = '--directory my-app --entrypoint "python3 server.py"'
    return [f"{push} demo --tag {demo_tag}", f"{push} {WEB} --tag 1.0.0 {own}"]


# The local AWS that stays ------------------------------------------------------------------------


def guide(stage: Stage, screen: Screen, demo_tag: str) -> None:
    """What one can do with a local AWS that stays up."""
    aws = stage.aws
    is_default = aws.directory == DIRECTORY.resolve()
    target = f"{aws.registry}/{WEB}:1.1.0"
    screen.title("Push the demo application, or a program of your own (in another terminal)")
    for command in _pushes(demo_tag, "" if is_default else f" --endpoint {aws.endpoint}"):
        screen.command(command)
    screen.say("Your own must listen on port 8080 and answer GET / with 200.")
    where = "" if is_default else f" --directory {shlex.quote(str(aws.directory))}"
    screen.title("The operator's command, and any AWS tool, from the checkout in a shell after")
    screen.command(f'eval "$({_PYTHON} -m local_aws{where} env)"')
    screen.command(f"export DEPLOYER_SERVICE={WEB}   # or {stage.service}")
    for command in ("status --watch", "history", "deploy 1.0.0", "rollback", "doctor"):
        screen.command(f"deployer {command}")
    screen.say("A service of its own, in the directory of its Dockerfile or compose file")
    screen.command(f"deployer init --cluster {stage.cluster} --service demo-my-app")
    screen.title(f"docker push, to {aws.registry}")
    login = f"docker login --username AWS --password-stdin {aws.registry}"
    screen.command(f"aws ecr get-login-password | {login}")
    screen.command(f"docker tag my-app {target} && docker push {target}")
    screen.say()
    screen.say("More: README.md#push-your-own-image")
    screen.say()
    screen.say("Waiting for pushes; Ctrl-C ends the local AWS.")


def serve(screen: Screen, port: int, directory: Path, *, database: bool = False) -> int:
    """Keep a local AWS up and show every execution, until Ctrl-C. The exit code."""
    with started(port, directory) as aws:
        screen.say(f"local AWS: {aws.endpoint}, log: {_relative(aws.log)}")
        with screen.working():
            stage = Stage.set_up(aws, patterns="demo*", database=database, say=screen.say)
            stage.plain(WEB)
        screen.say("The local AWS is up, with the deployer in it.", "green")
        with page(stage) as address:
            screen.say("All of it on a page, live:")
            screen.console.print(f"  {address}", style="cyan", soft_wrap=True)
            guide(stage, screen, "1.0.0")
            return attend(stage, screen, set())


@contextlib.contextmanager
def page(stage: Stage) -> Iterator[str]:
    """`deployer ui` for the time of the block; its address."""
    command = [sys.executable, "-m", "cli", "ui", "--no-open", "--json", "--stack", stage.stack]
    tied = partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGKILL)
    serving = subprocess.Popen(
        command,
        env=stage.aws.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        preexec_fn=tied,
    )
    try:
        line = serving.stdout.readline() if serving.stdout else ""
        if not line:
            raise StageError(f"the page did not start: {serving.communicate()[1].strip()}")
        yield str(json.loads(line)["address"])
    finally:
        serving.terminate()  # not as Ctrl-C: what a script starts in the background ignores that
        serving.communicate()


def attend(
    stage: Stage,
    screen: Screen,
    seen: set[str],
    machine: str = "StateMachine",
    show: Callable[[str], object] | None = None,
) -> int:
    """Show the executions that start, one after the other, until Ctrl-C, which is the end of it.

    seen    the executions that are not to be shown.
    machine  the output that names their state machine.
    show     shows one to its end; None shows it as a deployment.
    """
    try:
        while True:
            for arn in [arn for arn in reversed(stage.executions(machine)) if arn not in seen]:
                seen.add(arn)
                screen.title(_describe_start(stage.look(arn)))
                if show:
                    show(arn)
                else:
                    _show(stage, arn, screen)
            time.sleep(IDLE_SECONDS)
    except (BotoCoreError, ClientError) as error:
        raise LocalAwsError(f"The local AWS does not answer any more: {error}") from error
    except KeyboardInterrupt:
        return 0


def _show(stage: Stage, arn: str, screen: Screen) -> None:
    record = conclude(stage, follow(stage, arn, screen, SERVE_LIMIT), screen)
    match record:
        case {"outcome": "SUCCEEDED", "url": str(url), "version": version}:
            live_line(screen, url, version)
        case {"outcome": "FAILED_ROLLED_BACK", "previous": {"version": str(version)}}:
            service = _of(arn, stage)
            urls = [str(one["url"]) for one in service.records() if one.get("url")]
            port = (urllib.parse.urlsplit(urls[-1]).port if urls else None) or stage.port
            if back := address(replace(service, port=port)):
                live_line(screen, back, version)


def _of(arn: str, stage: Stage) -> Stage:
    """The service that an execution is about; the demo's until that is recorded."""
    service = str(stage.recorded(arn).get("service", stage.service))
    return replace(stage, service=service.removeprefix("ignored:"))


def _describe_start(execution: Execution) -> str:
    """What started an execution."""
    match execution.input:
        case {"detail": {"repository-name": repository, "image-tag": str(tag)}} if tag:
            return printable(f"Push of {repository}:{tag}")
        case {"detail": {"repository-name": repository, "image-digest": digest}}:
            return printable(f"Push of {repository}@{digest}")
        case {"detail": {"object": {"key": key}}}:
            return printable(f"Upload of {key}")
        case other:
            return printable(f"By hand: {json.dumps(other)}")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


# The command -------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(port: int | None = None, directory: Path | None = None) -> Iterator[LocalAws]:
    """A local AWS for the time of the block; it ends with everything that was started meanwhile."""
    aws = LocalAws.start(port, directory)
    try:
        yield aws
    finally:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDINGS}
        try:
            aws.stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


EXAMPLES = """\
examples:
  python -m demo.deploy                  the demo, half a minute; its local AWS is gone afterwards
  python -m demo.deploy --keep           keeps that local AWS up until Ctrl-C
  python -m demo.deploy --json           for programs: one JSON document instead of prose
  python -m demo.deploy --serve          what `make local` does, on port 4566
  python -m demo.deploy --serve --port 4600 --directory /tmp/mine    another one beside it
  ECS_HEALTH_CHECK_SCALE=0.2 python -m demo.deploy     health checks every second instead of 5

exit codes: 0 every step ended as it must (or --serve and --keep were ended by Ctrl-C), 1 one did
not, 2 wrong arguments, 130 ended by Ctrl-C before that.
"""


def parser_of(demo: str, description: str, examples: str) -> argparse.ArgumentParser:
    """The parser of a demo's command, with the options that all have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m demo.{demo}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keep", action="store_true", help="do not end after the demo")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    return parser


def _parser() -> argparse.ArgumentParser:
    about = "Watch pushes become live releases, on a local AWS."
    parser = parser_of("deploy", about, EXAMPLES)
    parser.add_argument("--serve", action="store_true", help="no demo: a local AWS for your pushes")
    parser.add_argument(
        "--database", action="store_true", help="PostgreSQL in an RDS instance, not a file"
    )
    parser.add_argument("--port", type=int, help=f"for --serve: where it listens ({PORT})")
    parser.add_argument(
        "--directory", type=Path, help=f"for --serve: its log and state ({DIRECTORY.name})"
    )
    return parser


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def as_command(run: Callable[[Screen], int], *, quiet: bool) -> int:
    """Run a demo's command: signals end it, and an expected failure is one line.

    Args:
        quiet: nothing is shown to people, for programs read what is printed.
    Returns:
        The exit code.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no `✓` shows a `?`
    try:
        return run(Screen(sys.stdout, quiet=quiet))
    except EXPECTABLE as error:
        _complain(_in_words(error))
        return 1
    except KeyboardInterrupt:
        _complain("interrupted; the local AWS is stopped and nothing is left behind")
        return 128 + signal.SIGINT


def perform(story: type[Demo], options: argparse.Namespace, *, database: bool = False) -> int:
    """Run a demo as a command, with the options that all have. The exit code."""
    show = partial(
        demonstrate, keep=options.keep, as_json=options.json, database=database, story=story
    )
    return as_command(show, quiet=options.json)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.serve and (options.json or options.keep):
        parser.error("--serve runs no demo: --json and --keep do not go with it")
    if not options.serve and (options.port is not None or options.directory is not None):
        parser.error("--port and --directory belong to --serve; the demo takes a free port")
    if options.port is not None and not 0 < options.port < 65536:
        parser.error(f"--port {options.port} is no port (1 to 65535)")

    if not options.serve:
        return perform(Demo, options, database=options.database)
    port, directory = options.port or PORT, options.directory or DIRECTORY

    def run(screen: Screen) -> int:
        try:
            return serve(screen, port, directory, database=options.database)
        except PortTaken as error:
            _complain(f"{error} Choose another, such as --port {port + 1}")
            return 1

    return as_command(run, quiet=False)


if __name__ == "__main__":
    sys.exit(main())

"""From nothing to live: each kind of service by the commands that a person types.

`deployer init` writes the spec and prints what the account lacks; those commands are run as they
are printed, then `deployer apply`, a push, `deployer wait`. Coder is made by `make deploy`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo import ROOT
from demo.oci import Image
from demo.stage import Stage
from local_aws.aws import LocalAws
from tests.cli.setup.conftest import Checkout

_WEB = """\
from http.server import BaseHTTPRequestHandler, HTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

HTTPServer(("0.0.0.0", 8080), App).serve_forever()
"""
_DOCKERFILE = """\
FROM python:3.13-slim
COPY main.py /app/
EXPOSE 8080
ENTRYPOINT ["python3", "main.py"]
"""
_COMPOSE = """\
services:
  worker:
    build: .
    environment: {MODE: "${MODE:-batch}"}
    healthcheck: {test: [CMD, python3, -c, pass], interval: 5s}
    deploy: {resources: {limits: {cpus: "0.25", memory: 512M}}}
"""
_SEVERAL = """\
services:
  web:
    build: .
    command: [web]
    ports: ["8080"]
    depends_on: {migration: {condition: service_completed_successfully}}
  worker:
    build: .
    command: [worker]
    healthcheck: {test: [CMD, python3, -c, pass], interval: 5s}
  migration:
    build: .
    command: [migrate, --all]
"""
_BY_COMMAND = f"""\
import sys, time

if sys.argv[1:] == ["migrate", "--all"]:
    sys.exit()
if sys.argv[1:] == ["worker"]:
    time.sleep(3600)
assert sys.argv[1:] == ["web"], sys.argv
{_WEB}"""


@dataclass(frozen=True)
class Kind:
    """A kind of service: its sources, and the options of `deployer init`."""

    files: Mapping[str, str]
    options: tuple[str, ...] = ()


KINDS = {
    "a worker": Kind({"compose.yaml": _COMPOSE, "main.py": "import time\ntime.sleep(3600)\n"}),
    "a web application": Kind(
        {"Dockerfile": _DOCKERFILE, "main.py": _WEB}, ("--exposure", "public-ip")
    ),
    "an internal service": Kind(
        {
            "Dockerfile": f"{_DOCKERFILE}HEALTHCHECK --interval=5s CMD python3 -c pass\n",
            "main.py": _WEB,
        },
        ("--exposure", "internal"),
    ),
    "an application (web, worker, migration)": Kind(
        {"compose.yaml": _SEVERAL, "main.py": _BY_COMMAND},
        ("--container", "web", "--with", "worker", "--exposure", "public-ip"),
    ),
}


def walk(stage: Stage, service: str, kind: Kind, directory: Path) -> float:
    """Bring a service of the stage's deployer from nothing to live; the seconds that it took."""
    for name, text in kind.files.items():
        (directory / name).write_text(text)
    image = Image.from_directory(directory, entrypoint=["python3", "main.py"])
    began = time.monotonic()
    document = run(stage, directory, "init", "--service", service, *kind.options)
    for line in (line for check in document["missing"] for line in check["fix"]):
        if line.startswith("  "):
            _typed(stage, line, directory)
    run(stage, directory, "apply", "--yes", "--service", service)
    stage.push(image, "1.0.0", service)
    run(stage, directory, "wait", "1.0.0", "--service", service)
    return time.monotonic() - began


def run(stage: Stage, directory: Path, *words: str) -> dict[str, Any]:
    """What a command of the deployer tells a script; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words, "--stack", stage.stack, "--json"],
        cwd=directory,
        env=_environment(stage.aws),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return dict(json.loads(done.stdout))


def _typed(stage: Stage, line: str, directory: Path) -> None:
    """Run a printed command as a person pastes it."""
    done = subprocess.run(
        line,
        shell=True,
        cwd=directory,
        env=_environment(stage.aws),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (line, done.stderr)


def _environment(aws: LocalAws) -> dict[str, str]:
    tools = Path(sys.executable).parent
    path = f"{ROOT}:{ROOT / 'layers/deployer'}"
    return {**aws.env, "PYTHONPATH": path, "PATH": f"{tools}:{aws.env['PATH']}", "AWS_PAGER": ""}


def coder(aws: LocalAws, directory: Path) -> float:
    """Bring Coder from nothing to live with `make deploy`, database and load balancer included."""
    for name in ("buildspecs", "functions", "infrastructure", "layers", "statemachine"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, directory / name, ignore=ignored)
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, directory)
    project = Checkout(directory, "coder", aws)
    settings = yaml.safe_load((ROOT / "environments/default.yaml").read_text())
    given = {name: str(value) for name, value in settings.items()}
    project.write(**{"DeployerStack": "deployer"} | given)
    began = time.monotonic()
    made = subprocess.run(
        project.command("--mode", "infrastructure", "--yes"),
        cwd=directory,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    execution = Stage(aws, "coder", "coder", "deployer").deployed("1.0.0")
    assert execution.status == "SUCCEEDED", (execution.error, execution.cause)
    return time.monotonic() - began


def measure(stage: Stage) -> Iterator[tuple[str, float]]:
    """Bring each kind of service to live, Coder in an account of its own; the seconds of each."""
    with tempfile.TemporaryDirectory() as directory:
        for kind, made in KINDS.items():
            service = f"{stage.service}-{kind.split()[1]}"
            place = Path(directory) / service
            place.mkdir()
            yield kind, walk(stage, service, made, place)
        place = Path(directory) / "coder"
        place.mkdir()
        with LocalAws.start(settings={"ECS_HEALTH_CHECK_SCALE": "0.2"}) as aws:
            yield "Coder", coder(aws, place)

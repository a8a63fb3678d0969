"""Images of the demo application, and `push`, which brings one into the local AWS that runs:

python -m demo.image push --repository demo --tag 1.2.0
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from demo.app import server as app
from demo.oci import (
    CREATED,
    Blob,
    File,
    Files,
    Image,
    ImageError,
    Layer,
    PushRefused,
    ecr_login,
    push,
)
from local_aws import server
from local_aws.aws import LocalAws, LocalAwsError, NotRunning

DEMO_APP = Path(app.__file__).parent
DEMO_FAULTS = app.FAULTS | {"wrong-version": "serves another version than its tag says"}


def demo_release(
    version: str,
    schema: int = 1,
    fault: str | None = None,
    *,
    seconds: float = 5.0,
    serves: str = "0.0.1",
    platform: str = "linux/amd64",
    labels: Mapping[str, str] | None = None,
) -> Image:
    """A release of the demo application (demo/app).

    version     as the application tells it, with its `+`; the label keeps it so.
    schema      the number of the last migration in it.
    fault       one of DEMO_FAULTS.
    seconds     the time that the faults `exit-late` and `slow-start` speak of.
    serves      the version that the fault `wrong-version` serves.
    labels      more labels, or others than it would have.

    Raises ImageError for a fault or a schema that there is not.
    """
    if fault is not None and fault not in DEMO_FAULTS:
        raise ImageError(f"no fault {fault!r}; there are: {', '.join(DEMO_FAULTS)}")
    known = app.read_migrations(DEMO_APP)
    migrations = [migration for migration in known if migration.number <= schema]
    if not migrations or migrations[-1].number != schema:
        numbers = ", ".join(str(migration.number) for migration in known)
        raise ImageError(f"the demo application has no schema {schema}; it has: {numbers}")
    # As names and contents are hashed upstream: the number alone does not tell a fork's migration.
    schema_hash = hashlib.sha256("".join(m.name + m.sql for m in migrations).encode()).hexdigest()
    wrong = fault == "wrong-version"
    revision = _revision(version)
    release = {
        "version": serves if wrong else version,
        "revision": revision,
        "fault": None if wrong else fault,
        "seconds": float(seconds),
    }
    program: Files = {
        "/opt/app/server.py": File((DEMO_APP / "server.py").read_bytes(), executable=True),
        **{f"/opt/app/migrations/{m.name}": m.sql.encode() for m in migrations},
    }
    return Image.build(
        Layer.of(program, made_by="COPY server.py migrations /opt/app/"),
        Layer.of(
            {"/opt/app/release.json": json.dumps(release).encode()},
            made_by="COPY release.json /opt/app/",
        ),
        entrypoint=["/opt/app/server.py"],
        working_dir="/opt/app",
        ports=[3000],
        platform=platform,
        labels={
            "deployer.schema.hash": schema_hash,
            "deployer.schema.number": str(schema),
            "org.opencontainers.image.created": CREATED,
            "org.opencontainers.image.revision": revision,
            "org.opencontainers.image.title": "demo",
            "org.opencontainers.image.version": version,
            **(labels or {}),
        },
    )


def _revision(version: str) -> str:
    """Forty hex digits that begin with the commit in the version, where it has one."""
    commit = re.search(r"\+([0-9a-f]{7,40})$", version)
    return ((commit[1] if commit else "") + hashlib.sha1(version.encode()).hexdigest())[:40]


EXAMPLES = """\
the demo application, into the local AWS that `make local` keeps running:
  python -m demo.image push --repository demo --tag 1.2.0
  python -m demo.image push --repository demo --tag 2.0.0-devel+e0f93fb88 --schema 2
  python -m demo.image push --repository demo --tag 1.3.0 --fault exit-at-start

your own application, a directory with a program in it:
  python -m demo.image push --repository demo --tag 1.2.0 \\
      --directory my-app --entrypoint "python3 server.py" --env MODE=demo
it runs on this machine's kernel and programs, and must do what the service's spec asks: listen on
0.0.0.0 at its port, answer its health path, tell its version.
"""


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m demo.image", description="Build and push.")
    command = parser.add_subparsers(required=True, metavar="push").add_parser(
        "push",
        help="build an image and push it into the local AWS",
        description="Build an image and push it into the local AWS.",
        epilog=EXAMPLES
        + "\nfaults of the demo application:\n"
        + "\n".join(f"  {name:<15} {what}" for name, what in DEMO_FAULTS.items()),
        formatter_class=form,
    )
    command.add_argument("--repository", required=True, metavar="NAME", help="an ECR repository")
    command.add_argument(
        "--tag", required=True, help="the version; a + in it becomes a - in the tag"
    )
    command.add_argument(
        "--endpoint",
        metavar="URL",
        default=os.environ.get("AWS_ENDPOINT_URL"),
        help="of the local AWS, if not that of AWS_ENDPOINT_URL or of this directory",
    )
    command.add_argument("--platform", default="linux/amd64", help="os/architecture[/variant]")
    command.add_argument(
        "--label", action="append", default=[], type=_pair, metavar="NAME=VALUE", help="repeatable"
    )
    demo = command.add_argument_group("the demo application")
    demo.add_argument("--schema", type=int, metavar="N", help="number of its last migration (1)")
    demo.add_argument("--fault", choices=DEMO_FAULTS, metavar="FAULT", help="see below")
    demo.add_argument("--seconds", type=float, help="for exit-late and slow-start (5)")
    demo.add_argument("--serves", metavar="VERSION", help="for wrong-version (0.0.1)")
    own = command.add_argument_group("your own application")
    own.add_argument("--directory", type=Path, metavar="DIR", help="becomes /app in the image")
    own.add_argument("--entrypoint", type=shlex.split, help="what to run in /app, quoted")
    own.add_argument("--command", type=shlex.split, help="as Docker's CMD; a spec may replace it")
    own.add_argument("--env", action="append", type=_pair, metavar="NAME=VALUE", help="repeatable")
    return parser


def _pair(value: str) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{value!r} is not NAME=VALUE")
    return name, text


def _build(parser: argparse.ArgumentParser, requested: argparse.Namespace) -> Image:
    options = {"schema", "fault", "seconds", "serves"}
    given = {
        name: getattr(requested, name) for name in options if getattr(requested, name) is not None
    }
    labels = dict(requested.label)
    if requested.directory is None:
        if requested.entrypoint or requested.command or requested.env:
            parser.error("--entrypoint, --command and --env belong to --directory")
        return demo_release(requested.tag, platform=requested.platform, labels=labels, **given)
    if given:
        parser.error(f"--{min(given)} belongs to the demo application, not to --directory")
    if not (requested.entrypoint or requested.command):
        parser.error("--directory needs --entrypoint or --command")
    return Image.from_directory(
        requested.directory,
        entrypoint=requested.entrypoint or (),
        command=requested.command or (),
        env=dict(requested.env or []),
        labels={"org.opencontainers.image.version": requested.tag, **labels},
        platform=requested.platform,
    )


def _report(blob: Blob, existed: bool) -> None:
    size = f"{len(blob.content) / 1000:.1f} kB"
    print(f"{blob.digest[:19]}  {size:>10}  {'exists' if existed else 'pushed'}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    requested = parser.parse_args(arguments)
    try:
        image = _build(parser, requested)
        if requested.endpoint is None:
            aws = LocalAws.attach()
            endpoint, ecr = aws.endpoint, aws.client("ecr")
        else:
            endpoint = requested.endpoint
            session = boto3.Session("test", "test", region_name=server.REGION)
            once = Config(retries={"total_max_attempts": 1})
            ecr = session.client("ecr", endpoint_url=endpoint, config=once)
        username, password = ecr_login(ecr)
        repository = f"{urllib.parse.urlsplit(endpoint).netloc}/{requested.repository}"
        tag = requested.tag.replace("+", "-")
        push(image, repository, tag, username=username, password=password, progress=_report)
    except NotRunning:
        print(
            "error: no local AWS runs in this directory; start one with: make local\n"
            '  In the directory of one that runs: eval "$(.venv/bin/python -m local_aws env)"',
            file=sys.stderr,
        )
        return 1
    except (
        ImageError,
        PushRefused,
        LocalAwsError,
        BotoCoreError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{requested.repository}:{tag}@{image.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

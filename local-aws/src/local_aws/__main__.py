"""Run the local AWS, a stand-in for an AWS account: no Docker, no root, no credentials."""

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path

from local_aws import aws
from local_aws.aws import AlreadyRunning, LocalAws, LocalAwsError, NotRunning, PortTaken

EXAMPLES = """\
examples:
  python -m local_aws up                     in the foreground, until Ctrl-C
  python -m local_aws up --detach            in the background
  python -m local_aws up --port 4600         where 4566 is taken
  eval "$(python -m local_aws env)"          let aws, sam and boto3 in this shell speak to it
  python -m local_aws status
  python -m local_aws down
"""
PORT = 4566


def up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    port = options.port or PORT
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        running = LocalAws.start(port, options.directory, detach=options.detach)
    except AlreadyRunning as refusal:
        say(str(refusal), error=not options.detach)
        return 0 if options.detach else 1
    except PortTaken as refusal:
        say(f"{refusal} Choose another: python -m local_aws up --port {port + 1}", error=True)
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 0
    say(f"Ready in {time.monotonic() - began:.1f} s: {running.endpoint}")
    say(f"  registry  {running.registry}")
    say(f"  log       {_short(running.log)}")
    say('  use it    eval "$(python -m local_aws env)"')
    if options.detach:
        say("  stop it   python -m local_aws down")
        return 0
    try:
        say("Ctrl-C stops it.")
        code = running.wait()
    except KeyboardInterrupt:
        code = 0
    finally:
        # A second Ctrl-C must not leave half of it behind.
        for order in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(order, signal.SIG_IGN)
        end = running.log_tail()
        running.stop()
    if code:
        say(f"The local AWS ended by itself ({code}). Its log ends:\n{end}", error=True)
        return 1
    say("Stopped.")
    return 0


def down(options: argparse.Namespace) -> int:
    try:
        running = LocalAws.attach(options.directory)
    except NotRunning:
        aws.clear(options.directory)
        say("No local AWS is running.")
        return 0
    running.stop()
    say(f"Stopped {running.endpoint}.")
    return 0


def status(options: argparse.Namespace) -> int:
    running = LocalAws.attach(options.directory)
    healthy = running.healthy
    say(f"{'Running' if healthy else 'Does not answer'}: {running.endpoint}")
    for name in ("registry", "region", "account", "pid"):
        say(f"  {name:9} {getattr(running, name)}")
    say(f"  {'log':9} {_short(running.log)}")
    return 0 if healthy else 1


def env(options: argparse.Namespace) -> int:
    running = LocalAws.attach(options.directory)
    say("unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN")
    for name, value in running.settings.items():
        say(f"export {name}={shlex.quote(value)}")
    tools = Path(sys.executable).parent
    say(f'export PATH={shlex.quote(str(tools))}:"$PATH"')  # `deployer` and `sam` are there
    return 0


def say(line: str, *, error: bool = False) -> None:
    print(line, file=sys.stderr if error else sys.stdout, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local_aws",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=aws.DIRECTORY,
        help="where it keeps its log, state and files (default: .local)",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="up | down | status | env")
    starting = verbs.add_parser("up", help="start it; Ctrl-C stops it")
    starting.add_argument("--port", type=_number, help=f"port to listen on (default {PORT})")
    starting.add_argument("--detach", action="store_true", help="start it in the background")
    starting.set_defaults(run=up)
    verbs.add_parser("down", help="stop it").set_defaults(run=down)
    verbs.add_parser("status", help="say whether it runs, and where").set_defaults(run=status)
    verbs.add_parser("env", help="print the variables that lead AWS tools to it").set_defaults(
        run=env
    )
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except LocalAwsError as refusal:
        say(str(refusal), error=True)
        return 1


def _number(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port (1 to 65535)")
    return int(text)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

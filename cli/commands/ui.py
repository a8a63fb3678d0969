"""`deployer ui`."""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from cli.command import Call, command
from cli.errors import BUSY, INTERRUPTED, CommandFailed
from cli.requests import caller


@command(
    streams=lambda given: True,
    epilog="""\b
Examples:
  deployer ui                      all services, or the only one
  deployer ui --service shop
  deployer ui --no-open --port 8800    for `ssh -L 8800:localhost:8800 …`
""",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="The port of this machine that it listens on.",
)
@click.option("--open/--no-open", "opens", default=True, help="Open it in the browser.")
def ui(call: Call, port: int, opens: bool) -> None:
    """Show the services on a page, live, with buttons to roll back, hold, resume and cancel.

    This machine serves it, to this machine only, with your credentials, until Ctrl-C. Nothing of it
    runs in the account. Whoever has its address can press the buttons.
    """
    from cli.ui.feed import Board, Desk, Feed
    from cli.ui.server import Page, Server

    target = call.target
    identity = call.account.client("sts").get_caller_identity()
    about = {
        "region": call.account.region,
        "account": identity["Account"],
        "stack": call.stack,
        "by": caller(identity["Arn"]),
        "environment": "AWS_ACCESS_KEY_ID" in os.environ,
        "restart": call.given.command("deployer ui"),
    }
    services = list(target.services)
    desk = Desk(call)
    feed = Feed(desk, Board())
    service = call.service or (services[0] if len(services) == 1 else None)
    try:
        server = Server(Page(desk, feed, service, about), port)
    except OSError as error:
        raise CommandFailed(
            BUSY, f"port {port} can't be used: {error.strerror}", ["  deployer ui --port 0"]
        ) from error
    reader = threading.Thread(target=feed.run, args=[service or ""], daemon=True)
    signal.signal(signal.SIGTERM, _end)
    with server, contextlib.ExitStack() as stack:
        reader.start()
        if call.json:
            call.tell({"address": server.gate.address})
        else:
            call.screen.say("The page, for you alone: whoever has its address can press buttons.")
            call.screen.console.print(f"  {server.gate.address}", style="cyan", soft_wrap=True)
            call.screen.say("Ctrl-C ends it.")
        if opens and sys.stdout.isatty() and _has_display():
            webbrowser.open(stack.enter_context(_shortcut(server.gate.address)).as_uri())
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            message = "The page has ended; running executions continue."
            raise CommandFailed(INTERRUPTED, message) from None
        finally:
            feed.stop.set()


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _has_display() -> bool:
    return sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


@contextlib.contextmanager
def _shortcut(address: str) -> Iterator[Path]:
    """Make a file that leads to the page: other users see a browser's arguments, but not it."""
    with tempfile.TemporaryDirectory(prefix="deployer-ui-") as folder:
        shortcut = Path(folder) / "open.html"
        shortcut.write_text(f'<meta http-equiv="refresh" content="0; url={address}">\n')
        yield shortcut

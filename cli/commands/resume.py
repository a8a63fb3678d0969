"""`deployer resume`."""

from cli.command import Call, command, follows
from cli.requests import Requests
from deployer.store import locks


@command(
    epilog="""\b
Examples:
  deployer resume
"""
)
@follows
def resume(call: Call, follow: bool) -> None:
    """End a hold, deploy the newest held push, and follow that to its end."""
    held = locks.queue(call.target.service).hold
    call.result["hold"] = held and {name: held[name] for name in ("by", "at", "reason")}
    if held is None:
        call.screen.say(f"{call.target.service} is not held; nothing to resume.")
        return
    Requests(call.target, call.screen, call.result, follow).resume()

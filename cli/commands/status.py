"""`deployer status`."""

from cli.command import Call, command
from deployer import history
from deployer.aws import turns


@command(
    epilog="""\b
Examples:
  deployer status
  deployer status --json | jq -r .live.url
"""
)
def status(call: Call) -> None:
    """What is live, in flight and waiting, and what failed last."""
    target = call.target
    past = target.history
    line = turns.line(target.service)
    live = history.live(past)
    call.result |= {
        "service": target.service,
        "live": live and {name: live.get(name) for name in ("version", "digest", "endedAt")},
        "hold": line.hold,
    }
    call.screen.facts([("live", live["version"] if live else "nothing yet")])

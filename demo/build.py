"""`make demo-build`: watch uploaded source archives become live releases, on a local AWS.

The sources are the demo application's, in a tree shaped like Coder's (demo/source_tree). They are
built within nix-shell if that is installed, else by the tree's own scripts; the image is made with
docker if there is a daemon, else without. The demo says which.
"""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cli.screen import printable
from demo import source
from demo.deploy import DEMO_LIMIT, Demo, expect, follow, parser_of, perform
from demo.image import DEMO_APP
from demo.stage import Stage

_WAYS = ("image: an OCI layout, made without docker", "image: made with docker")


class BuildDemo(Demo):
    """Source in, release out; the same again; what does not compile; and the correction."""

    def run(self, stage: Stage) -> None:
        nix = shutil.which("nix-shell") is not None
        stage.specify(build={**source.BUILD, "mode": "nix" if nix else "plain"})
        self.screen.say(
            "Commands run within nix-shell."
            if nix
            else "nix-shell is not installed: commands run without it (mode plain)."
        )
        content = source.archive("v1.0.0")
        with self.step("Upload the sources of 1.0.0") as report:
            record = self.uploaded(stage, report, content, "Built")
            self.way(stage, record)
            self.deployed(stage, report, record)
        with self.step("Upload the same archive again") as report:
            record = self.uploaded(stage, report, content, "Nothing to build")
            self.screen.say(printable(record["reason"]))
        server = (DEMO_APP / "server.py").read_text()
        with self.step("Upload sources that do not compile") as report:
            broken = {"server.py": server.replace("def main(", "def main((", 1)}
            record = self.uploaded(stage, report, source.archive("v1.1.0", broken), "Failed")
            expect("the outcome", "FAILED", record["outcome"])
            for line in record["diagnosis"]["lines"]:
                self.screen.say(printable(line), "red")
            self.serves(str(self.steps[1]["url"]), "1.0.0")
        with self.step("Upload them corrected") as report:
            record = self.uploaded(stage, report, source.archive("v1.1.0"), "Built")
            url = self.deployed(stage, report, record)
        self.records = stage.records()
        expect("the releases", ["1.0.0", "1.1.0"], [entry["version"] for entry in self.records])
        self.live = {"url": url, "version": "1.1.0"}

    def uploaded(
        self, stage: Stage, report: dict[str, Any], content: bytes, end: str
    ) -> Mapping[str, Any]:
        """Upload an archive and show its build, which must end so; the build's record."""
        name = f"{time.time_ns()}.tar.gz"
        arn = stage.upload(content, name)
        key = f"image/{stage.service}/{name}"
        self.screen.say(f"uploaded {key}, {len(content) / 1000:.0f} kB", "cyan")
        ended = follow(stage, arn, self.screen, DEMO_LIMIT)
        expect("the end of the build", end, ended.path[-1])
        record = next(record for record in stage.builds() if record["execution"] == arn)
        report |= {"execution": arn, "outcome": record["outcome"], "reason": record["reason"]}
        return record

    def way(self, stage: Stage, record: Mapping[str, Any]) -> None:
        """Say how the image was made, by the build's log."""
        logs, build = stage.aws.client("logs"), stage.aws.client("codebuild")
        where = build.batch_get_builds(ids=[record["build"]])["builds"][0]["logs"]
        events = logs.get_log_events(
            logGroupName=where["groupName"], logStreamName=where["streamName"], startFromHead=True
        )["events"]
        messages = [event["message"] for event in events]
        self.screen.say(next(line for line in messages if line in _WAYS))
        took = ", ".join(f"{name} {seconds} s" for name, seconds in record["durations"].items())
        self.screen.say(f"{record['reason']}: {took}")

    def deployed(self, stage: Stage, report: dict[str, Any], record: Mapping[str, Any]) -> str:
        """Show the deployment that the build's push starts; the URL that serves its version."""
        self.screen.say(f"pushed {record['tag']}, {record['digest'][:19]}…", "cyan")
        ended, release = self.followed(stage, report, stage.started_by(record["digest"]))
        expect("the deployment", "Deployed", ended.path[-1])
        report["url"] = release["url"]
        self.serves(str(release["url"]), str(record["version"]))
        return str(release["url"])


EXAMPLES = """\
examples:
  python -m demo.build           the demo, about a minute; its local AWS is gone afterwards
  python -m demo.build --keep    keeps that local AWS up until Ctrl-C
  python -m demo.build --json    for programs: one JSON document instead of prose
"""


def main(arguments: Sequence[str] | None = None) -> int:
    about = "Watch uploaded sources become live releases, on a local AWS."
    return perform(BuildDemo, parser_of("build", about, EXAMPLES).parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())

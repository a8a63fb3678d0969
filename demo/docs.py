"""`make demo-docs`: watch uploaded documentation become a live site, on a local AWS.

The site is the handbook, a static export of Next.js (demo/handbook): pnpm and Next.js come from
the npm registry, and CloudFront's edge is the local one. The demo checks each step that it shows,
and ends at the first that is not as it must be.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import cli.follow
from cli.screen import printable
from demo.deploy import Demo, Surprise, attend, expect, follow, parser_of, perform
from demo.site import DocsSite, Page, handbook, tar_gz
from demo.stage import Stage

LIMIT = 300.0  # seconds for one upload; the first fetches what Next.js needs
PAGE = "/networking/part-03/"
NEWS = "Since today, this page has another sentence."


class DocsDemo(Demo):
    """Sources in, site out; one page changed; what does not build; and back to the first."""

    site: DocsSite

    def begin(self) -> None:
        self.screen.say("Real builds, by pnpm and Next.js from the npm registry, take the time.")

    def run(self, stage: Stage) -> None:
        with self.step("Make the site: bucket, distribution, switch"):
            self.site = DocsSite.set_up(stage, "demo")
            self.screen.say(f"{self.site.url} answers {self.site.get('/').status}: nothing yet")
        with self.step("Upload the sources of the handbook") as report:
            first = self.published(report, "handbook-1.0", {})
            self.shows(PAGE, first["folder"], NEWS, False)
        with self.step("Change one page, and upload everything again") as report:
            file = f"docs{PAGE.rstrip('/')}.md"
            text = str(handbook()[file])
            second = self.published(report, "handbook-1.1", {file: f"{text}\n{NEWS}\n"})
            self.shows(PAGE, second["folder"], NEWS, True)
            if second["uploaded"] * 20 > second["files"]:
                raise Surprise(
                    f"expected that one page changes few files, saw {second['uploaded']} of"
                    f" {second['files']} uploaded"
                )
        with self.step("Upload sources that do not build: a page is missing") as report:
            failed = self.uploaded(report, "handbook-1.2", {"docs/storage/part-02.md": None})
            expect("the outcome", "FAILED", failed.get("outcome"))
            expect("the error", "BuildFailed", failed["diagnosis"]["error"])
            self.shows(PAGE, second["folder"], NEWS, True)
        with self.step("Roll back by hand, to the release before") as report:
            request = {"action": "rollback", "to": "previous", "by": "the demo", "hold": False}
            self.screen.say(f"started by hand with {json.dumps(request)}", "cyan")
            arn = self.site.stage.start({**request, "site": self.site.site}, "DocsStateMachine")
            back = self.followed_docs(report, arn)
            expect("the release that was rolled back to", first["id"], back.get("to"))
            expect("the build of the rollback", False, "Build docs" in report["states"])
            self.shows(PAGE, first["folder"], NEWS, False)
            self.screen.say(
                f"no build, {back['uploaded']} files uploaded, in {report['took']:.1f} s"
            )
        self.records = self.site.stage.records()
        wanted = ["SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED"]
        expect("the outcomes", wanted, [record.get("outcome") for record in self.records])
        self.live = {"url": self.site.url, "version": str(back["version"])}

    def uploaded(
        self, report: dict[str, Any], version: str, changes: Mapping[str, str | None]
    ) -> Mapping[str, Any]:
        """Upload the handbook with changes, and show what comes of it; its record."""
        sources = handbook(changes)
        archive, name = tar_gz(sources), f"{version}.tar.gz"
        size = f"{len(sources)} files, {len(archive) / 1000:.0f} kB"
        self.screen.say(f"uploaded docs/{self.site.site}/{name}: {size}", "cyan")
        return self.followed_docs(report, self.site.started_by(self.site.upload(archive, name)))

    def published(
        self, report: dict[str, Any], version: str, changes: Mapping[str, str | None]
    ) -> Mapping[str, Any]:
        """Sources that must become live; their record."""
        record = self.uploaded(report, version, changes)
        expect(f"the outcome of {version}", "SUCCEEDED", record.get("outcome"))
        self.screen.say(
            f"{record['files']} files: {record['uploaded']} uploaded ({record['bytes'] / 1000:.0f}"
            f" kB), {record['copied']} copied within S3 from the release before"
        )
        return record

    def followed_docs(self, report: dict[str, Any], arn: str) -> Mapping[str, Any]:
        """Show an execution to its end; its record, {} if it has none. What matters is reported."""
        stage = self.site.stage
        ended = follow(stage, arn, self.screen, LIMIT)
        record = next((entry for entry in stage.records() if entry["execution"] == arn), {})
        cli.follow.conclude({**record, "url": self.site.url}, ended, self.screen)
        report |= {name: record.get(name) for name in ("version", "outcome", "reason")}
        numbers = ("files", "uploaded", "copied", "bytes")
        report |= {name: int(record[name]) for name in numbers if name in record}
        report |= {"execution": arn, "states": ended.path, "took": ended.seconds}
        return record

    def shows(self, path: str, release: str, words: str, expected: bool) -> None:
        """Ask the site for a page, which must be of this release and have these words or not."""
        page: Page = self.site.get(path)
        expect(f"the status of {path}", 200, page.status)
        expect(f"the release of {path}", release, page.release)
        expect(f"that {path} has the new sentence", expected, words in page.text)
        news = "with" if expected else "without"
        self.screen.say(
            f"GET {path}: 200, of release {printable(release)}, {news} the new sentence"
        )

    def advise(self, stage: Stage, *, keep: bool) -> None:
        self.screen.title("What to try next")
        if not keep:
            self.screen.say("Look at the site in a browser; this keeps it until Ctrl-C:")
            self.screen.command(".venv/bin/python -m demo.docs --keep")
            self.screen.say("A site of your own: docs/docs-site.md")
            return
        self.screen.say(f"Open {self.site.url} in a browser.")
        self.screen.say("Upload sources of your own, in a shell with these variables:")
        for name, value in stage.aws.settings.items():
            self.screen.command(f"export {name}={value}")
        bucket = self.site.stage.outputs["SourceBucket"]
        self.screen.command(f"aws s3 cp docs.tar.gz s3://{bucket}/docs/{self.site.site}/")
        self.screen.say("Waiting for uploads; Ctrl-C ends the local AWS.")

    def attend(self, stage: Stage) -> None:
        machine = "DocsStateMachine"
        seen = set(self.site.stage.executions(machine))
        show = partial(self.followed_docs, {})
        attend(self.site.stage, self.screen, seen, machine, show)


EXAMPLES = """\
examples:
  python -m demo.docs           the demo, about two minutes; its local AWS is gone afterwards
  python -m demo.docs --keep    keeps the site up until Ctrl-C, to look at it in a browser
  python -m demo.docs --json    for programs: one JSON document instead of prose

Needed besides: node 18.18 or newer with npm, and the npm registry.

exit codes: 0 every step ended as it must (or --keep was ended by Ctrl-C), 1 one did not, 2 wrong
arguments, 130 ended by Ctrl-C before that.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    about = "Watch uploaded documentation become a live site, on a local AWS."
    options = parser_of("docs", about, EXAMPLES).parse_args(arguments)
    return perform(DocsDemo, options)


if __name__ == "__main__":
    sys.exit(main())

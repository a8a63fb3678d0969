"""One command for everything around the service, and for the service itself.

What it may need to make is checked before anything is made, what a stack would change is shown
before it is changed, and it may be run again at any time.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli import images
from cli.aws import AWS_ERRORS, Account
from cli.checks import document, identity, show
from cli.ending import carried_out
from cli.errors import UNREADY, CommandFailed
from cli.nextstep import DEFAULT_STACK, Given, of_the_checkout, unless_set
from cli.orders import Orders
from cli.screen import Screen
from cli.setup import checks, guide, settings
from cli.setup.infrastructure import Answers, Infrastructure
from cli.setup.settings import Project, SettingsInvalid, Stack
from cli.setup.stacks import Stacks
from cli.target import Target, find, missing
from deployer.check import FAILED, Check

MODES = ("full", "infrastructure", "application", "docs")

EXAMPLES = """\
modes:
  full            infrastructure, then the application and the docs, if they are given
  infrastructure  the stacks: network, database, load balancer, docs, service, deployer, monitoring
  application     --image: deploy what is in the repository; --source: build it first
  docs            build and publish the docs site

examples:
  python -m cli.setup                                   the first time and ever after
  python -m cli.setup --mode infrastructure --yes       unattended; replaces and removes nothing
  python -m cli.setup --environment production          with environments/production.yaml
  python -m cli.setup --mode application --image 1.2.0  a tag or digest in the repository
  python -m cli.setup --mode application --source .     a checkout or an archive of it
  python -m cli.setup --mode docs --docs ../docs
  python -m cli.setup --remove                          delete the stacks; says what stays
  make deploy MODE=application IMAGE=1.2.0               the same through make

exit codes:
  0 done, or there was nothing to do        4 not agreed to: a question was answered with no, or
  1 AWS failed; resource and reason told      nobody was there to answer it
  2 wrong arguments or settings             5 somebody else changed the stack meanwhile
  3 a check failed; nothing was made        130 Ctrl-C; what AWS does goes on
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cli.setup",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--mode", choices=MODES, default="full", help="what to deploy (full)")
    parser.add_argument("--remove", action="store_true", help="delete the stacks instead")
    parser.add_argument(
        "--environment",
        default="default",
        metavar="NAME",
        help="settings in environments/NAME.yaml (default)",
    )
    parser.add_argument("--image", help="a tag or digest in the repository")
    parser.add_argument(
        "--source", type=Path, metavar="PATH", help="a directory or archive to build the image from"
    )
    parser.add_argument(
        "--docs", type=Path, metavar="PATH", help="a directory or archive of the docs' sources"
    )
    parser.add_argument("--yes", action="store_true", help="agree to additions and modifications")
    parser.add_argument(
        "--allow-replace", action="store_true", help="with --yes: to replacements and removals too"
    )
    parser.add_argument(
        "--allow-data-loss",
        action="append",
        default=[],
        metavar="ID",
        help="let a resource that holds data be replaced or removed, by logical id; repeatable",
    )
    parser.add_argument("--profile", help="an AWS profile (AWS_PROFILE)")
    parser.add_argument("--region", help="an AWS Region (AWS_REGION)")
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON; progress goes to stderr"
    )
    return parser


def _contradictions(asked: argparse.Namespace) -> str | None:
    if asked.image and asked.source:
        return "--image and --source exclude each other: one is there, the other is to be built"
    if asked.mode in ("infrastructure", "docs") and (asked.image or asked.source):
        return f"--image and --source do not go with --mode {asked.mode}; take application or full"
    if asked.mode in ("infrastructure", "application") and asked.docs:
        return f"--docs does not go with --mode {asked.mode}; take docs or full"
    if asked.mode == "docs" and not asked.docs:
        return "--mode docs needs --docs, a directory or archive, such as --docs ../docs"
    if asked.remove and (asked.image or asked.source or asked.docs):
        return "--remove deletes; --image, --source and --docs do not go with it"
    if asked.allow_replace and not asked.yes:
        return "--allow-replace goes with --yes; without it you are asked"
    for name in ("source", "docs"):
        if (path := getattr(asked, name)) and not path.exists():
            return f"--{name}: there is no {path}"
    return None


class Command:
    """One run of the command; `result` is what --json prints."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.given = Given(
            unless_set(asked.profile, "AWS_PROFILE"),
            unless_set(asked.region, "AWS_REGION", "AWS_DEFAULT_REGION"),
            environment=asked.environment,
            programs=of_the_checkout(),
        )
        self.screen = Screen(sys.stderr if asked.json else sys.stdout, given=lambda: self.given)
        self.interactive = sys.stdin.isatty()
        self.answers = Answers(asked.yes, asked.allow_replace, tuple(asked.allow_data_loss))
        self.result: dict[str, Any] = {}

    def run(self) -> None:
        """Raises CommandFailed, SettingsInvalid, or an error of AWS."""
        project = Project(Path.cwd(), self.asked.environment)
        account = Account(self.asked.profile, self.asked.region)
        given = self._settings(project, account)
        stacks = project.stacks(given)
        given = settings.with_deployer(given, stacks)
        values = settings.effective(given, project.known)
        needed = settings.needed(stacks, values)
        self.given = replace(
            self.given,
            stack=unless_set(_deployers(needed), "DEPLOYER_STACK", default=DEFAULT_STACK),
            service=unless_set(values.get(settings.REQUIRED_NAME), "DEPLOYER_SERVICE"),
        )
        if problems := settings.problems(given, stacks, project.file, account.region):
            raise SettingsInvalid(problems)
        if self.asked.remove:
            self._check(identity(account))
            self._infrastructure(project, account, given, stacks).remove()
            return
        mode = self.asked.mode
        if mode in ("full", "infrastructure"):
            checked = checks.everything(account, needed, values)
            self._check(checked)
            made = self._infrastructure(project, account, given, needed)
            made.values, made.checked = values, checked
            self.result["plan"] = made.plan
            made.deploy()
        else:
            self._check(identity(account))
        outputs = self._outputs(account, needed)
        if mode == "application" or (mode == "full" and (self.asked.image or self.asked.source)):
            target = self._target(account, needed, values)
            self._application(self._orders(target, "application"), target)
        if self.asked.docs:
            target = self._target(account, needed, values)
            self._orders(target, "docs").publish(self.asked.docs)
        if mode in ("full", "infrastructure") and "application" not in self.result:
            repository = values.get("RepositoryName") or values["ServiceName"]
            self._what_next(account, outputs, repository, values.get("Platform", "linux/amd64"))

    def _infrastructure(
        self,
        project: Project,
        account: Account,
        given: Mapping[str, str],
        needed: Sequence[Stack],
    ) -> Infrastructure:
        made = Infrastructure(
            account, project, given, needed, self.screen, self.answers, self.interactive
        )
        self.result["stacks"] = made.done
        return made

    def _settings(self, project: Project, account: Account) -> dict[str, str]:
        """The settings. A person is asked for what they lack, and the first time for what shapes
        everything, such as the domain."""
        there = project.file.exists()
        given = settings.load(project.file) if there else {}
        values = settings.effective(given, project.known)
        needed = settings.needed(project.stacks(given), values)
        lacking = settings.missing(given, needed)
        where = project.file.relative_to(project.root)
        if not self.interactive or self.answers.yes or self.asked.remove:
            if lacking and not there:
                raise SettingsInvalid(
                    [
                        f"there is no {where}: run this at a terminal to be asked for its values,"
                        f" or write it; it begins with `{settings.REQUIRED_NAME}: coder`"
                    ]
                )
            return given
        first = settings.REQUIRED_NAME not in given
        if not lacking:
            if not self._nothing_deployed(account, needed):
                return given
            self.screen.say(f"Nothing is deployed yet with {where}.")
            first = True
        chosen = None
        if first and "Application" in project.known:
            chosen = guide.kind(
                self.screen, project.known, "" if lacking else f"as {where} says; ask no more"
            )
            if chosen is None:
                return given
        elif first and not lacking and not self.screen.agreed("Review the main settings now?"):
            return given
        answers = guide.asked(
            self.screen, account, project, given, lacking, first=first, chosen=chosen
        )
        settings.save(project.file, answers)
        project.rename(answers.get(settings.REQUIRED_NAME))
        self.screen.say(f"Written to {where}.", "green")
        return settings.load(project.file)

    def _nothing_deployed(self, account: Account, needed: Sequence[Stack]) -> bool:
        if self.asked.mode not in ("full", "infrastructure"):
            return False
        own = [stack for stack in needed if stack.kind != "deployer"]
        try:
            return all(Stacks(account).state(s.name).status is None for s in own)
        except AWS_ERRORS:  # the checks say what is wrong
            return False

    def _check(self, found: Sequence[Check]) -> None:
        """Show what the checks found. Raises CommandFailed if one failed."""
        self.screen.title("Checks")
        show(self.screen, found)
        self.result["checks"] = [document(check, self.given) for check in found]
        failed = [check for check in found if check.state == FAILED]
        if failed:
            names = ", ".join(check.name for check in failed)
            raise CommandFailed(UNREADY, f"nothing was made; put right first: {names}")

    def _outputs(self, account: Account, needed: Sequence[Stack]) -> Mapping[str, str]:
        """The outputs of the deployer's stack. Raises CommandFailed if it is needed and missing."""
        name = _deployers(needed)
        outputs = Stacks(account).state(name).outputs
        if outputs is None and self.asked.mode in ("application", "docs"):
            raise missing(account, name)
        return outputs or {}

    def _target(
        self, account: Account, needed: Sequence[Stack], values: Mapping[str, str]
    ) -> Target:
        return find(account, _deployers(needed), values["ServiceName"])

    def _orders(self, target: Target, what: str) -> Orders:
        self.result[what] = {}
        return Orders(target, self.screen, self.result[what])

    def _application(self, orders: Orders, target: Target) -> None:
        if self.asked.source:
            orders.build(self.asked.source)
        else:
            orders.deploy(self.asked.image or images.newest(target))

    def _what_next(
        self, account: Account, outputs: Mapping[str, str], repository: str, platform: str
    ) -> None:
        self.screen.title("What next")
        lines = ["Push an image; its push deploys it:"]
        lines += images.push_lines(account, repository, platform)
        if "BuildStateMachine" in outputs:
            lines += [
                f"or have it built from a checkout, such as ../{repository}:",
                f"  make deploy MODE=application SOURCE=../{repository}",
            ]
        lines += ["and see it go live:", "  make deploy MODE=application IMAGE=1.0.0"]
        self.result["next"] = self.given.lines(lines)
        for line in lines:
            self._advise(line)

    def _advise(self, line: str, indent: str = "") -> None:
        """A line of advice; one that begins with two spaces is a command to copy."""
        if line.startswith("  "):
            self.screen.command(indent + line.strip())
        else:
            self.screen.say(indent + line)


def _deployers(needed: Sequence[Stack]) -> str:
    """The name of the deployer's stack."""
    return next((stack.name for stack in needed if stack.kind == "deployer"), "deployer")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if wrong := _contradictions(asked):
        parser.error(wrong)
    command = Command(asked)
    return carried_out(command.run, command.result, as_json=asked.json, given=lambda: command.given)


if __name__ == "__main__":
    sys.exit(main())

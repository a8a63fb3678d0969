"""`make deploy`: one command for everything around the service, and for the service itself."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from cli import images
from cli.aws import AWS_ERRORS, Account
from cli.checks import document, identity, show
from cli.ending import carried_out
from cli.errors import UNREADY, CommandFailed
from cli.nextstep import DEFAULT_STACK, Given, of_the_checkout, unless_set
from cli.requests import Requests
from cli.screen import Screen
from cli.target import Target, find, missing
from deployer.check import FAILED, Check
from setup import checks, guide, settings
from setup.infrastructure import Answers, Infrastructure
from setup.settings import Project, SettingsInvalid, Stack
from setup.stacks import Stacks

MODES = ("full", "infrastructure", "application", "docs")

EXAMPLES = """\b
Modes:
  full            infrastructure, then the application and the docs, if given
  infrastructure  the stacks: network, database, load balancer, service,
                  deployer, monitoring, notifications, docs
  application     --image: deploy what is in the repository
                  --source: build it first
  docs            build and publish the docs site

\b
Examples:
  python -m setup                                   the first time and ever after
  python -m setup --mode infrastructure --yes       unattended; replaces and removes nothing
  python -m setup --environment production          with environments/production.yaml
  python -m setup --mode application --image 1.2.0  a tag or digest in the repository
  python -m setup --mode application --source .     a checkout or an archive of it
  python -m setup --mode docs --docs ../docs
  python -m setup --remove                          delete the stacks; says what stays
  make deploy MODE=application IMAGE=1.2.0          the same through make

\b
Exit codes:
  0  done, or nothing to do             4    not confirmed, or not a terminal
  1  AWS failed; the message says why   5    somebody else changed the stack
  2  wrong arguments or settings        130  Ctrl-C; AWS continues its work
  3  a check failed; nothing was created
"""


@dataclass(frozen=True)
class Options:
    """The command line; the fields are named after the options."""

    mode: str
    remove: bool
    environment: str
    image: str | None
    source: Path | None
    docs: Path | None
    yes: bool
    allow_replace: bool
    allow_data_loss: tuple[str, ...]
    profile: str | None
    region: str | None
    as_json: bool

    @property
    def contradiction(self) -> str | None:
        """Return why these options cannot be combined; None if they can."""
        if self.image and self.source:
            return "--image and --source are mutually exclusive: --image deploys, --source builds"
        if self.mode in ("infrastructure", "docs") and (self.image or self.source):
            return f"--image and --source need --mode application or full, not {self.mode}"
        if self.mode in ("infrastructure", "application") and self.docs:
            return f"--docs needs --mode docs or full, not {self.mode}"
        if self.mode == "docs" and not self.docs:
            return "--mode docs needs --docs, a directory or archive, such as --docs ../docs"
        if self.remove and (self.image or self.source or self.docs):
            return "--remove deletes; it takes no --image, --source or --docs"
        if self.allow_replace and not self.yes:
            return "--allow-replace needs --yes; without it you are asked"
        return None


class Command:
    """One run of the command; `result` is what --json prints."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.given = Given(
            unless_set(options.profile, "AWS_PROFILE"),
            unless_set(options.region, "AWS_REGION", "AWS_DEFAULT_REGION"),
            environment=options.environment,
            programs=of_the_checkout(),
        )
        self.screen = Screen(
            sys.stderr if options.as_json else sys.stdout, given=lambda: self.given
        )
        self.interactive = sys.stdin.isatty()
        self.answers = Answers(options.yes, options.allow_replace, options.allow_data_loss)
        self.result: dict[str, Any] = {}

    def run(self) -> None:
        """Run the command.

        Raises:
            CommandFailed: it failed. SettingsInvalid is one.
            AWS_ERRORS: AWS failed.
        """
        project = Project(Path.cwd(), self.options.environment)
        account = Account(self.options.profile, self.options.region)
        current = self._settings(project, account)
        stacks = project.stacks(current)
        current = settings.with_deployer(current, stacks)
        values = settings.effective(current, project.parameters)
        needed = settings.needed(stacks, values)
        self.given = replace(
            self.given,
            stack=unless_set(_deployers(needed), "DEPLOYER_STACK", default=DEFAULT_STACK),
            service=unless_set(values.get(settings.REQUIRED_NAME), "DEPLOYER_SERVICE"),
        )
        if problems := settings.problems(current, stacks, project.file, account.region):
            raise SettingsInvalid(problems)
        if self.options.remove:
            self._check(identity(account))
            self._infrastructure(project, account, current, stacks).remove()
            return
        mode = self.options.mode
        if mode in ("full", "infrastructure"):
            results = checks.everything(account, needed, values)
            self._check(results)
            infrastructure = self._infrastructure(project, account, current, needed)
            infrastructure.values, infrastructure.checked = values, results
            self.result["plan"] = infrastructure.plan
            infrastructure.deploy()
        else:
            self._check(identity(account))
        outputs = self._outputs(account, needed)
        if mode == "application" or (
            mode == "full" and (self.options.image or self.options.source)
        ):
            target = self._target(account, needed, values)
            self._application(self._requests(target, "application"), target)
        if self.options.docs:
            target = self._target(account, needed, values)
            self._requests(target, "docs").publish(self.options.docs)
        if mode in ("full", "infrastructure") and "application" not in self.result:
            repository = values.get("RepositoryName") or values["ServiceName"]
            self._what_next(account, outputs, repository, values.get("Platform", "linux/amd64"))

    def _infrastructure(
        self,
        project: Project,
        account: Account,
        current: Mapping[str, str],
        needed: Sequence[Stack],
    ) -> Infrastructure:
        infrastructure = Infrastructure(
            account, project, current, needed, self.screen, self.answers, self.interactive
        )
        self.result["stacks"] = infrastructure.done
        return infrastructure

    def _settings(self, project: Project, account: Account) -> dict[str, str]:
        """Return the settings.

        Asks for missing values, and at the first run for the main settings, such as the domain.
        """
        exists = project.file.exists()
        current = settings.load(project.file) if exists else {}
        values = settings.effective(current, project.parameters)
        needed = settings.needed(project.stacks(current), values)
        required = settings.missing(current, needed)
        path = project.file.relative_to(project.root)
        if not self.interactive or self.answers.yes or self.options.remove:
            if required and not exists:
                raise SettingsInvalid(
                    [
                        f"{path} does not exist: run this at a terminal to enter its values,"
                        f" or write it; it begins with `{settings.REQUIRED_NAME}: shop`"
                    ]
                )
            return current
        first = settings.REQUIRED_NAME not in current
        if not required:
            if not self._nothing_deployed(account, needed):
                return current
            self.screen.say(f"Nothing is deployed yet with {path}.")
            first = True
        kind = None
        if first and "Application" in project.parameters:
            kind = guide.kind(
                self.screen, project.parameters, "" if required else f"keep the settings in {path}"
            )
            if kind is None:
                return current
        elif first and not required and not self.screen.agreed("Review the main settings now?"):
            return current
        answers = guide.ask(
            self.screen, account, project, current, required, first=first, chosen=kind
        )
        settings.save(project.file, answers)
        self.screen.say(f"Written to {path}.", "green")
        return settings.load(project.file)

    def _nothing_deployed(self, account: Account, needed: Sequence[Stack]) -> bool:
        if self.options.mode not in ("full", "infrastructure"):
            return False
        own = [stack for stack in needed if stack.kind != "deployer"]
        try:
            return all(Stacks(account).state(s.name).status is None for s in own)
        except AWS_ERRORS:  # the checks report it
            return False

    def _check(self, results: Sequence[Check]) -> None:
        """Show the results of the checks.

        Raises:
            CommandFailed: one failed.
        """
        self.screen.title("Checks")
        show(self.screen, results)
        self.result["checks"] = [document(check, self.given) for check in results]
        failed = [check for check in results if check.state == FAILED]
        if failed:
            names = ", ".join(check.name for check in failed)
            raise CommandFailed(UNREADY, f"nothing was created; correct first: {names}")

    def _outputs(self, account: Account, needed: Sequence[Stack]) -> Mapping[str, str]:
        """Return the outputs of the deployer's stack.

        Raises:
            CommandFailed: the stack is required, and missing.
        """
        name = _deployers(needed)
        outputs = Stacks(account).state(name).outputs
        if outputs is None and self.options.mode in ("application", "docs"):
            raise missing(account, name)
        return outputs or {}

    def _target(
        self, account: Account, needed: Sequence[Stack], values: Mapping[str, str]
    ) -> Target:
        return find(account, _deployers(needed), values["ServiceName"])

    def _requests(self, target: Target, what: str) -> Requests:
        self.result[what] = {}
        return Requests(target, self.screen, self.result[what])

    def _application(self, requests: Requests, target: Target) -> None:
        if self.options.source:
            requests.build(self.options.source)
        else:
            requests.deploy(self.options.image or images.newest(target))

    def _what_next(
        self, account: Account, outputs: Mapping[str, str], repository: str, platform: str
    ) -> None:
        self.screen.title("What next")
        lines = ["Push an image; its push deploys it:"]
        lines += images.push_lines(account, repository, platform)
        if "BuildStateMachine" in outputs:
            lines += [
                f"or build it from a checkout, such as ../{repository}:",
                f"  make deploy MODE=application SOURCE=../{repository}",
            ]
        lines += ["and follow its deployment:", "  make deploy MODE=application IMAGE=1.0.0"]
        self.result["next"] = self.given.lines(lines)
        for line in lines:
            self._advise(line)

    def _advise(self, line: str, indent: str = "") -> None:
        """Show a line of advice; one that begins with two spaces is a command to copy."""
        if line.startswith("  "):
            self.screen.command(indent + line.strip())
        else:
            self.screen.say(indent + line)


def _deployers(needed: Sequence[Stack]) -> str:
    """Return the name of the deployer's stack."""
    return next((stack.name for stack in needed if stack.kind == "deployer"), "deployer")


_PATH = click.Path(exists=True, path_type=Path)


@click.command("python -m setup", epilog=EXAMPLES, context_settings={"max_content_width": 100})
@click.option("--mode", type=click.Choice(MODES), default="full", show_default=True)
@click.option("--remove", is_flag=True, help="Delete the stacks instead.")
@click.option(
    "--environment",
    default="default",
    show_default=True,
    metavar="NAME",
    help="Take the settings in environments/NAME.yaml.",
)
@click.option("--image", help="A tag or digest in the repository.")
@click.option("--source", type=_PATH, help="A directory or archive to build the image from.")
@click.option("--docs", type=_PATH, help="A directory or archive of the docs' sources.")
@click.option("--yes", is_flag=True, help="Agree to additions and modifications.")
@click.option("--allow-replace", is_flag=True, help="With --yes: to replacements and removals too.")
@click.option(
    "--allow-data-loss",
    multiple=True,
    metavar="ID",
    help="Let a resource that holds data be replaced or removed, by logical id; repeatable.",
)
@click.option("--profile", help="An AWS profile (AWS_PROFILE).")
@click.option("--region", help="An AWS Region (AWS_REGION).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; progress goes to stderr.")
def setup(**arguments: Any) -> None:
    """Deploy everything around the service, and the service itself.

    Checks everything before it creates anything, shows what would change before it changes, and
    may be run again at any time.
    """
    options = Options(**arguments)
    if contradiction := options.contradiction:
        raise click.UsageError(contradiction)
    command = Command(options)
    sys.exit(
        carried_out(
            command.run, command.result, as_json=options.as_json, given=lambda: command.given
        )
    )


if __name__ == "__main__":
    setup()

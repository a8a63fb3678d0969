"""`deployer`: the operator's command. It loads one module of `commands`, the one that was called,
so that `--help` and completion are quick."""

import difflib
import importlib
from typing import Any

import click

COMMANDS = {
    "status": "Show what is live, in flight and waiting, and what failed last.",
    "ui": "Show the services on a page in the browser, live, with buttons.",
    "deploy": "Deploy an image from the repository, and follow it.",
    "promote": "Deploy an image that another service or environment verified.",
    "wait": "Wait for what a push becomes, as a CI job does.",
    "follow": "Follow the deployment in flight, or the next.",
    "init": "Write the spec of a service: one that runs, or a new one.",
    "validate": "Check a service spec in a file, without asking AWS.",
    "apply": "Store a service spec from a file, after showing what changes.",
    "rollback": "Roll back to an earlier release, and follow it.",
    "restart": "Run the live release in new tasks, and follow it.",
    "run": "Run a command in a task of its own of the live release; pass on its exit code.",
    "exec": "Open a shell, or run a command, in a running task, by ECS Exec.",
    "hold": "Hold pushes.",
    "resume": "End a hold, and deploy the newest held push.",
    "build": "Build an image from sources, and follow it to its URL.",
    "docs": "Build and publish the documentation site, or roll it back.",
    "history": "List the releases and their outcomes, or show one in full.",
    "logs": "Show the service's log lines, all or of one release.",
    "cancel": "Stop the deployment in flight, and roll back to the last good release.",
    "doctor": "Check the account and the service; report failures with their fixes.",
}

EXAMPLES = """\b
Examples:
  deployer status --watch          what is going on, until Ctrl-C
  deployer deploy 1.2.0            a tag or digest in the repository
  deployer rollback                list the possible releases, and ask
  deployer history --json | jq .   for scripts
  deployer doctor                  when something is wrong

\b
Exit codes:
  0  done                                    4    not confirmed, or not a terminal
  1  AWS, or the deployment, failed          5    another operation is running
  2  wrong usage                             130  Ctrl-C; AWS continues its work
  3  something must be corrected first       6    valid, but not possible now
                                             141  the output was closed, as by `head`

\b
The account is found as the AWS command line finds it: --profile, AWS_PROFILE,
AWS_REGION, AWS_ENDPOINT_URL. Completion for bash, also zsh and fish:
  eval "$(_DEPLOYER_COMPLETE=bash_source deployer)"
"""


class _Commands(click.Group):
    """A group whose commands are modules, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"cli.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            matches = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean {matches[0]}?" if matches else f"Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"Unknown command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> Any:
        from click.shell_completion import CompletionItem

        matches = [n for n in COMMANDS if n.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name]) for name in matches]


@click.group(cls=_Commands, epilog=EXAMPLES, context_settings={"max_content_width": 100})
@click.version_option(package_name="deployer", message="%(version)s")
def deployer() -> None:
    """Deploy images to ECS when they are pushed to ECR; see what is live, roll back, diagnose."""

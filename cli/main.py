"""`deployer`: the operator's command. It loads one module of `commands`, the one that was called,
so that `--help` and completion are quick."""

import difflib
import importlib
from typing import Any

import click

COMMANDS = {
    "status": "What is live, in flight and waiting, and what failed last.",
    "deploy": "Deploy an image that is in the repository, and follow it.",
    "rollback": "Go back to an earlier release, and follow it.",
    "hold": "Keep pushes from deploying.",
    "resume": "End a hold, and deploy what it kept back.",
    "build": "Build an image from sources, and follow it to its URL.",
    "docs": "Build and publish the documentation site, or switch back.",
    "history": "The releases and their outcomes; one of them in full.",
    "logs": "The service's log lines, by release.",
    "cancel": "Stop what is in flight and put the last good release back.",
    "doctor": "Check account and service; say what is wrong and the fix.",
}

EXAMPLES = """\b
Examples:
  deployer status --watch          what is going on, until Ctrl-C
  deployer deploy 1.2.0            a tag or digest in the repository
  deployer rollback                lists where it can go, and asks
  deployer history --json | jq .   for scripts
  deployer doctor                  when something is wrong

\b
Exit codes:
  0  done                                    4    not agreed to, or nobody there to answer
  1  AWS, or the deployment, failed          5    something else is at work
  2  wrong usage                             130  Ctrl-C; what AWS does goes on
  3  something must be corrected first       6    cannot be carried out as things stand
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
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(COMMANDS)}."
            ctx.fail(f"There is no command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> Any:
        from click.shell_completion import CompletionItem

        found = [n for n in COMMANDS if n.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name]) for name in found]


@click.group(cls=_Commands, epilog=EXAMPLES, context_settings={"max_content_width": 100})
@click.version_option(package_name="deployer", message="%(version)s")
def deployer() -> None:
    """Deploys to ECS what is pushed to ECR: see what is live, deploy, go back, find out why not."""

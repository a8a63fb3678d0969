"""`deployer exec`."""

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence

import click

from cli import completion, live
from cli.command import Call, command
from cli.errors import REJECTED, UNREADY, WRONG, CommandFailed
from cli.live import Live
from cli.loglines import task_of
from deployer.aws import ecs
from deployer.deploy import documents, one_off
from deployer.deploy.stop_reasons import Task

_PLUGIN = "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"
_CLI = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html
_CHANNELS = ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")


@command(
    runs=True,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  deployer exec                          a shell
  deployer exec -- ps aux
  deployer exec --task 3f2a -- sh -c 'kill -USR1 1'
  deployer exec --json | jq -r .run      the command that would be run

\b
It needs the AWS CLI, its Session Manager plugin, and ECS Exec in the service:
where it is not enabled, the command says how to enable it.

\b
Exit codes: that of `aws ecs execute-command`, which does not pass on that of
the command (use `deployer run` for that); 125 if it could not be started.
""",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND…]")
@click.option("--task", help="The beginning of a task's id; by default the oldest is taken.")
@click.option(
    "--container",
    shell_complete=completion.containers,
    help="By default the container that gets the image.",
)
def exec(call: Call, words: Sequence[str], task: str | None, container: str | None) -> None:
    """Open a shell in a running task of the live release, or run COMMAND there, by ECS Exec."""
    spec, release = call.target.spec, live.find(call.target)
    name = live.container(release.definition, spec, container)
    chosen = _chosen(release, spec.cluster, spec.service, task)
    if problem := _not_enabled(release, chosen, name):
        raise problem
    arguments = [
        *("ecs", "execute-command", "--region", call.account.region),
        *("--cluster", spec.cluster, "--task", chosen["taskArn"], "--container", name),
        *("--interactive", "--command", shlex.join(words) or "/bin/sh"),
    ]
    call.result |= {"task": chosen["taskArn"], "container": name}
    call.result["run"] = call.given.command(shlex.join(["aws", *arguments]))
    if call.json:
        return
    if missing := list(_missing_programs()):
        raise CommandFailed(UNREADY, "ECS Exec needs a program that is missing here", missing)
    click.echo(f"Task {task_of(chosen['taskArn'])}, container {name}", err=True)
    os.execvpe("aws", ["aws", *arguments], call.account.signed_environment)


def _chosen(release: Live, cluster: str, service: str, asked: str | None) -> Task:
    """Return the running task that the user names; by default the oldest of the live release.

    Raises:
        CommandFailed: no such task runs, or several do.
    """
    running = [
        one
        for one in ecs.tasks(cluster, service)
        if one["lastStatus"] == "RUNNING" and one["taskDefinitionArn"] == release.revision
    ]
    matching = [one for one in running if task_of(one["taskArn"]).startswith(asked or "")]
    if len(matching) == 1 or (matching and not asked):
        return min(matching, key=lambda one: one["startedAt"])
    listed = ", ".join(task_of(one["taskArn"]) for one in running) or "none"
    what = f"several tasks are named {asked}…" if matching else f"no task {asked or ''} runs"
    raise CommandFailed(
        WRONG if asked else REJECTED,
        " ".join(what.split()),
        [f"Running tasks of {release.record['version']}: {listed}."],
    )


def _missing_programs() -> Iterator[str]:
    for program, what, where in (
        ("aws", "the AWS CLI", _CLI),
        ("session-manager-plugin", "its Session Manager plugin", _PLUGIN),
    ):
        if not shutil.which(program):
            yield f"Install {what}, {program}: {where}"


def _not_enabled(release: Live, task: Task, container: str) -> CommandFailed | None:
    """Return why ECS Exec does not work in a task, with the fix; None if it works."""
    if not task.get("enableExecuteCommand"):
        return CommandFailed(UNREADY, "ECS Exec is not enabled in this task", _enable(release))
    agents = [
        agent
        for agent in one_off.entry(task, container).get("managedAgents", ())
        if agent["name"] == "ExecuteCommandAgent"
    ]
    status = agents[0].get("lastStatus") if agents else "missing"
    if status == "RUNNING":
        return None
    reason = f": {agents[0]['reason']}" if agents and agents[0].get("reason") else ""
    problem = f"ECS Exec's agent in container {container} is {status}{reason}"
    if status == "PENDING":
        return CommandFailed(REJECTED, problem, ["It starts within seconds: try again."])
    fixed = documents.container(release.definition, container).get("readonlyRootFilesystem")
    return CommandFailed(
        UNREADY,
        problem,
        [
            "- the task must reach the service ssmmessages: by a NAT gateway, a public IP, or a VPC"
            " endpoint",
            *(
                ["- it needs a file system that can be written: readonlyRootFilesystem"]
                * bool(fixed)
            ),
            *_role(release),
            "Then start new tasks:",
            "  deployer restart",
        ],
    )


def _enable(release: Live) -> list[str]:
    return [
        "Set it in the service spec:",
        "    serviceDefinition:",
        "      enableExecuteCommand: true",
        "and store that:",
        "  deployer apply",
        *_role(release),
        "Then start new tasks:",
        "  deployer restart",
    ]


def _role(release: Live) -> list[str]:
    """Return what the tasks' role must allow."""
    role = release.definition.get("taskRoleArn")
    actions = [f"ssmmessages:{name}" for name in _CHANNELS]
    if not role:
        return [f"The task definition needs a taskRoleArn, whose role allows {', '.join(actions)}."]
    listed = ",".join(f'"{action}"' for action in actions)
    statement = f'{{"Effect":"Allow","Action":[{listed}],"Resource":"*"}}'
    policy = f'{{"Version":"2012-10-17","Statement":[{statement}]}}'
    return [
        "Let the tasks' role open the channels, unless it may already:",
        f"  aws iam put-role-policy --role-name {role.rpartition('/')[2]} --policy-name ecs-exec"
        f" --policy-document '{policy}'",
    ]

"""`deployer promote`."""

import click
from botocore.exceptions import ClientError

from cli import completion, plan
from cli.aws import DENIED, code_of
from cli.command import Call, command, follows
from cli.errors import REJECTED, UNREADY, WRONG, CommandFailed
from cli.nextstep import DEFAULT_ENVIRONMENT, DEFAULT_STACK
from cli.releases import named
from cli.requests import Requests
from cli.target import Target, find
from deployer.aws import ecr
from deployer.deploy.history import was_live
from deployer.deploy.release import Recorded
from deployer.errors import DeployError


@command(
    epilog="""\b
Examples:
  deployer promote --service shop-staging --to shop        what is live there
  deployer promote 1.2.0 --service shop-staging --to shop
  deployer promote 1.2.0 --to production                   an environment's stack
  deployer promote 1.2.0 --to production --dry-run
"""
)
@click.argument("release", required=False, shell_complete=completion.releases)
@click.option(
    "--to",
    required=True,
    metavar="NAME",
    shell_complete=completion.services,
    help="A service of this deployer, or an environment: the same service of its deployer.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change; start nothing.")
@follows
def promote(call: Call, release: str | None, to: str, dry_run: bool, follow: bool) -> None:
    """Deploy the image of RELEASE, which was live and verified, to another service or environment;
    without RELEASE, of the one that is live. Nothing is built again."""
    source = call.target
    record = named(source.history, release or "live")
    if not was_live(record):
        outcome = record.get("outcome", "in flight")
        raise CommandFailed(
            REJECTED,
            f"{record['version']} of {source.service} is {outcome}; only a release that was live"
            " and verified is promoted",
            ["  deployer history"],
        )
    origin: dict[str, str] = {
        "service": source.service,
        "release": record["id"],
        "version": record["version"],
    }
    repository, environment = source.spec.repository, source.environment
    target = _destination(call, source, to)
    # the commands that are printed from here on are about this one
    call.target, call.stack, call.service = target, target.stack, target.service
    if target.stack != source.stack:
        origin["stack"] = source.stack
    if ecr.find(target.spec.repository, record["digest"]) is None:
        raise _elsewhere(target, repository, record)
    try:
        change = plan.to_deploy(target, record["digest"], origin)
    except DeployError as error:
        raise plan.refused(target, record["digest"], error) from error
    where = source.service if target.stack == source.stack else f"{source.service} ({environment})"
    call.screen.say(f"{record['version']} was verified as {record['id']} of {where}.")
    if dry_run:
        shown = plan.of(target, target.history, change, holds=False)
        call.result |= shown.document(call.given)
        plan.show(shown, call.screen)
    else:
        requests = Requests(target, call.screen, call.result, follow)
        requests.deploy(record["digest"], record["version"], origin)


def _destination(call: Call, source: Target, name: str) -> Target:
    """Return the service of this deployer with that name, or this service of that environment.

    Raises:
        CommandFailed: there is neither, or it is where the release comes from.
    """
    services = source.services
    target = services.get(name)
    if name in services and target is None:
        raise CommandFailed(UNREADY, f"the spec of {name} is invalid", ["  deployer doctor"])
    if target is None:
        stack = DEFAULT_STACK if name == DEFAULT_ENVIRONMENT else f"{DEFAULT_STACK}-{name}"
        others = ", ".join(sorted(set(services) - {source.service})) or "none"
        advice = [f"Other services of this deployer: {others}."]
        what = f"{name} is not another service of this deployer"
        try:
            target = find(call.account, stack, source.service)
        except CommandFailed as error:
            raise CommandFailed(WRONG, f"{what}, nor an environment: {error}", advice) from error
        except ClientError as error:
            if code_of(error) not in DENIED:
                raise
            why = f"no permission to describe the stack {stack}"
            raise CommandFailed(WRONG, f"{what}, nor an environment: {why}", advice) from error
    if (target.stack, target.service) == (source.stack, source.service):
        raise CommandFailed(WRONG, f"{name} is where the release comes from", [])
    return target


def _elsewhere(target: Target, repository: str, record: Recorded) -> CommandFailed:
    """Return the failure of a promotion whose image is not in the target's repository."""
    registry = record["image"].partition("/")[0]
    tag = record["tag"] or record["version"]
    image = f"{registry}/{repository}@{record['digest']}"
    copy = f"{registry}/{target.spec.repository}:{tag}"
    then = "That push deploys it." if target.spec.deploys(tag) else "Then promote it again."
    return CommandFailed(
        REJECTED,
        f"the image of {record['version']} is not in {target.spec.repository}, the repository of"
        f" {target.service}",
        [
            f"Copy it; nothing is built again. {then}",
            f"  docker buildx imagetools create --tag {copy} {image}",
        ],
    )

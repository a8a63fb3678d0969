"""`deployer deploy`."""

import click

from cli import completion, images, plan
from cli.command import Call, command, follows
from cli.requests import Requests
from deployer.errors import DeployError


@command(
    epilog="""\b
Examples:
  deployer deploy                  the image pushed last
  deployer deploy 1.2.0            a tag in the repository
  deployer deploy sha256:3f2a…     a digest in it
  deployer deploy 1.2.0 --dry-run  what it would change
"""
)
@click.argument("image", shell_complete=completion.tags, required=False)
@click.option("--dry-run", is_flag=True, help="Show what would change; start nothing.")
@follows
def deploy(call: Call, image: str | None, dry_run: bool, follow: bool) -> None:
    """Deploy IMAGE, a tag or digest in the service's repository, and follow it to its end; without
    IMAGE, deploy the image pushed last. It runs before waiting pushes, and ends a hold."""
    target = call.target
    if image is None:
        image = images.newest(target)
        call.screen.say(f"The image pushed last is {image}.")
    try:
        release = plan.to_deploy(target, image)
    except DeployError as error:
        tags = ", ".join(images.tags(target)[:10]) or "none"
        advice = [f"Tags in the repository, newest first: {tags}"]
        raise plan.refused(target, image, error, advice) from error
    if dry_run:
        change = plan.of(target, target.history, release, holds=False)
        call.result |= change.document(call.given)
        plan.show(change, call.screen)
    else:
        Requests(target, call.screen, call.result, follow).deploy(image, release["version"])

"""`deployer deploy`."""

import click

from cli import images, plan
from cli.command import Call, command, follows
from cli.requests import Requests
from deployer.errors import DeployError


@command(
    epilog="""\b
Examples:
  deployer deploy                  the image that was pushed last
  deployer deploy 1.2.0            a tag in the repository
  deployer deploy sha256:3f2a…     a digest in it
  deployer deploy 1.2.0 --dry-run  what it would change
"""
)
@click.argument("image", required=False)
@click.option("--dry-run", is_flag=True, help="Show what would change; start nothing.")
@follows
def deploy(call: Call, image: str | None, dry_run: bool, follow: bool) -> None:
    """Deploy IMAGE, a tag or digest in the service's repository, and follow it to its end; without
    IMAGE the one that was pushed last. It goes before pushes that wait, and ends a hold."""
    target = call.target
    if image is None:
        image = images.newest(target)
        call.screen.say(f"The image that was pushed last is {image}.")
    try:
        release = plan.to_deploy(target, image)
    except DeployError as refused:
        known = ", ".join(images.tags(target)[:10]) or "none"
        advice = [f"Tags that it has, the newest first: {known}"]
        raise plan.refused(target, image, refused, advice) from refused
    if dry_run:
        planned = plan.of(target, target.history, release, holds=False)
        call.result |= planned.document(call.given)
        plan.show(planned, call.screen)
    else:
        Requests(target, call.screen, call.result, follow).deploy(image, release["version"])

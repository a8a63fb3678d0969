"""The images in a service's repository."""

from cli.aws import Account
from cli.errors import UNREADY, CommandFailed
from cli.target import Target
from deployer.requests import COSIGN_TAG
from deployer.usecases import read_documents


def tags(target: Target) -> list[str]:
    """Return the tags that the service deploys, newest push first."""
    pages = (
        target.account.client("ecr")
        .get_paginator("describe_images")
        .paginate(repositoryName=target.spec.repository, filter={"tagStatus": "TAGGED"})
    )
    images = [
        (image["imagePushedAt"], tag)
        for page in pages
        for image in page["imageDetails"]
        for tag in image["imageTags"]
        if target.spec.deploys(tag) and not COSIGN_TAG.fullmatch(tag)
    ]
    return [tag for _, tag in sorted(images, reverse=True)]


def newest(target: Target) -> str:
    """Return the tag of the image pushed last.

    Raises:
        CommandFailed: there is no such image.
    """
    deployable = tags(target)
    if not deployable:
        spec = target.spec
        raise CommandFailed(
            UNREADY,
            f"the repository {spec.repository} has no image yet whose tag deploys ({spec.tags})",
            [
                "Push one:",
                *push_lines(target.account, spec.repository, read_documents.platform(spec)),
            ],
        )
    return deployable[0]


def push_lines(account: Account, repository: str, platform: str | None) -> list[str]:
    """Return the commands that build an image and push it."""
    owner = account.client("sts").get_caller_identity()["Account"]
    domain = "amazonaws.com.cn" if account.region.startswith("cn-") else "amazonaws.com"
    registry = f"{owner}.dkr.ecr.{account.region}.{domain}"
    image = f"{registry}/{repository}:1.0.0"
    return [
        f"  aws ecr get-login-password | docker login --username AWS --password-stdin {registry}",
        f"  docker build{f' --platform {platform}' if platform else ''} --tag {image} .",
        f"  docker push {image}",
    ]

"""`deployer init`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from cli import specfile
from cli.command import Call, command
from cli.errors import UNREADY, WRONG, CommandFailed
from deployer.aws import ecs
from deployer.deploy import documents, rollout
from deployer.deploy.rollout import Service

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
_IMAGE = re.compile(
    r"[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/(?P<repository>[^:@]+)"
)
_TAGS = r"v?[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9_.-]*"


@command(
    epilog="""\b
Examples:
  deployer init --cluster web --service shop
  deployer init                    finds them where there is one, and asks otherwise
  deployer init --cluster web --service shop --file specs/shop.yaml
"""
)
@click.option("--cluster", help="The ECS cluster in which the service runs.")
@click.option("--container", help="The container that gets the image, where several could.")
@click.option("--tags", default=_TAGS, show_default=True, help="Which tags deploy.")
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), default=Path(specfile.NAME)
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def init(
    call: Call, cluster: str | None, container: str | None, tags: str, file: Path, force: bool
) -> None:
    """Write a service spec that adopts a service which runs on ECS. Nothing in AWS changes."""
    if file.exists() and not force:
        raise CommandFailed(WRONG, f"{file} is there already", ["Replace it with --force."])
    call.account.as_default()
    client = call.account.client("ecs")
    cluster = cluster or _one(call, "cluster", _names(client, "list_clusters", "clusterArns"))
    services = _names(client, "list_services", "serviceArns", cluster=cluster)
    name = call.service or _one(call, "service", services)
    service = ecs.service(cluster, name)
    if service is None:
        raise CommandFailed(
            UNREADY,
            f"there is no service {name} in cluster {cluster}",
            [f"Services in it: {', '.join(sorted(services)) or 'none'}."],
        )
    runs, repository = _container(service, container)
    document = {"service": name, "cluster": cluster, "repository": repository, "tags": tags}
    if container:
        document["container"] = runs
    if problems := specfile.wrong_fields(document):
        raise CommandFailed(WRONG, "the spec would be wrong", [f"- {p}" for p in problems])
    text = f"# Each release is the task definition that {name} runs, with the new image.\n"
    try:
        file.write_text(text + yaml.safe_dump(document, sort_keys=False))
    except OSError as error:
        raise CommandFailed(WRONG, f"{file} cannot be written: {error.strerror}") from error
    call.result |= {"file": str(file), "spec": document}
    call.screen.facts(list(_found(service, runs, document)))
    call.screen.say(f"Wrote {file}. Store it for the deployer:", "green")
    call.screen.command(f"deployer apply {file}")


def _names(client: Any, operation: str, field: str, **about: str) -> list[str]:
    pages = client.get_paginator(operation).paginate(**about)
    return [arn.rpartition("/")[2] for page in pages for arn in page[field]]


def _one(call: Call, what: str, names: Sequence[str]) -> str:
    """Return the only name, or the one that the user chooses.

    Raises:
        CommandFailed: there is none, or nobody can be asked.
    """
    if len(names) == 1:
        return names[0]
    if not names:
        raise CommandFailed(
            UNREADY,
            f"there is no {what} to adopt in {call.account.region}",
            ["Create one with its surroundings, from a checkout:", "  make deploy"],
        )
    choices = ", ".join(sorted(names))
    if not call.interactive:
        raise CommandFailed(WRONG, f"name the {what}: --{what}", [f"There are {choices}."])
    chosen = call.screen.ask(f"Which {what}? ({choices})").strip()
    if chosen not in names:
        raise CommandFailed(WRONG, f"there is no {what} {chosen}", [f"There are {choices}."])
    return chosen


def _container(service: Service, requested: str | None) -> tuple[str, str]:
    """Return the container that gets the image, and its repository."""
    described = ecs.task_definition(rollout.task_definition(service) or "")
    declared = documents.containers(described[0] if described else {})
    images = {str(one.get("name")): str(one.get("image")) for one in declared}
    candidates: Mapping[str, str] = {
        name: match["repository"]
        for name, image in images.items()
        if (match := _IMAGE.match(image)) and requested in (None, name)
    }
    if len(candidates) == 1:
        return next(iter(candidates.items()))
    listed = [f"- {name}: {image}" for name, image in images.items()]
    if candidates:
        raise CommandFailed(
            WRONG, "name the container whose image is deployed: --container", listed
        )
    raise CommandFailed(
        UNREADY,
        f"no container{f' {requested}' if requested else ''} runs an image of ECR; the deployer"
        " deploys from there",
        ["Push the image to ECR and run it from there once. The containers:", *listed],
    )


def _found(service: Service, container: str, document: Mapping[str, Any]) -> Any:
    yield "service", f"{document['service']}, {service.get('runningCount', 0)} tasks running"
    yield "container", f"{container}, of repository {document['repository']}"
    groups = documents.target_groups(service)
    if groups:
        yield "behind", ", ".join(arn.split("/")[1] for arn in groups)
    yield "deploys", f"tags {document['tags']}"

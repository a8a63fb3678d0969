"""`deployer init`."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from botocore.exceptions import ClientError

from cli import specfile
from cli.aws import code_of
from cli.checks import document as shown
from cli.checks import show
from cli.command import Call, command
from cli.errors import UNREADY, WRONG, CommandFailed
from cli.origins import compose, creation, dockerfile
from cli.origins.account import Surroundings
from cli.origins.application import Application
from deployer.aws import ecs
from deployer.deploy import documents, rollout
from deployer.deploy.documents import PLATFORMS
from deployer.deploy.rollout import Service

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
_IMAGE = re.compile(
    r"[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/(?P<repository>[^:@]+)"
)
_TAGS = r"v?[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9_.-]*"
_AN_EXAMPLE = "--service shop --port 8080 --exposure public-ip"


def _pairs(context: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    wrong = [pair for pair in given if not re.fullmatch(r"\w+=arn:.+", pair)]
    if wrong:
        raise click.BadParameter("must be NAME=ARN, such as API_KEY=arn:aws:secretsmanager:…")
    return dict(pair.split("=", 1) for pair in given)


def _ids(context: click.Context, option: click.Parameter, given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]


@command(
    epilog="""\b
Examples:
  deployer init --cluster web --service shop      adopts the service that runs there
  deployer init                    from compose.yaml or Dockerfile here; asks without one
  deployer init --from compose.yaml --container api --exposure public-ip
  deployer init --container web --with worker,cron      all of one image, in one release
  deployer init --exposure load-balancer --target-group shop --url https://shop.example.com
  deployer init --port 0           a worker, whatever the Dockerfile exposes
"""
)
@click.option("--cluster", help="The ECS cluster in which the service runs, or shall run.")
@click.option("--container", help="The container that gets the image; a compose file's service.")
@click.option(
    "--with",
    "also",
    callback=_ids,
    help="Other services that run the same image, and follow the same releases: of the compose"
    " file or the cluster, separated by commas.",
)
@click.option("--tags", default=_TAGS, show_default=True, help="Which tags deploy.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(specfile.NAME),
    help="The spec to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A Dockerfile or compose file; otherwise the one in this directory.",
)
@click.option("--leave-out", is_flag=True, help="Leave out what ECS has no word for.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port that serves; 0: none.")
@click.option(
    "--exposure", type=click.Choice(creation.EXPOSURES), help="How clients reach the port."
)
@click.option("--health-path", help="The path that answers 200.")
@click.option("--target-group", help="The target group that the tasks join, by name or ARN.")
@click.option("--url", help="The URL behind the load balancer.")
@click.option("--subnets", callback=_ids, help="The tasks' subnets, separated by commas.")
@click.option("--security-groups", callback=_ids, help="Their security groups.")
@click.option("--execution-role", help="The role that starts the tasks, by name or ARN.")
@click.option("--repository", help="The ECR repository; otherwise named as the service.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    callback=_pairs,
    metavar="NAME=ARN",
    help="A variable from Secrets Manager or SSM.",
)
def init(
    call: Call,
    cluster: str | None,
    container: str | None,
    also: Sequence[str],
    tags: str,
    file: Path,
    force: bool,
    source: Path | None,
    leave_out: bool,
    **asked: Any,
) -> None:
    """Write the spec of a service: of one that runs on ECS, or of a new one, from a Dockerfile, a
    compose file or answers. Nothing in AWS changes."""
    if file.exists() and not force:
        raise CommandFailed(WRONG, f"{file} is there already", ["Replace it with --force."])
    call.account.as_default()
    here = source or _here()
    application = _read(call, here, container, also) if here or _wants(asked) else None
    name = call.service or (application.name if application else "")
    if not source and (place := _place(call, cluster, name)):
        _adopt(call, *place, None if here else container, also, tags, file)
        if here:
            call.screen.say(f"{place[1]} runs already, so {here} was not used.")
        return
    application = application or _asked(call, cluster)
    _create(call, application, cluster, also, tags, file, leave_out, asked)


def _here() -> Path | None:
    """Return the compose file, or else the Dockerfile, in this directory."""
    names = (*compose.NAMES, "Dockerfile")
    return next((path for name in names if (path := Path(name)).is_file()), None)


def _wants(asked: Mapping[str, Any]) -> bool:
    """Return whether an option is given that only a new service has."""
    return any(value not in (None, (), [], {}) for value in asked.values())


def _write(call: Call, file: Path, document: Mapping[str, Any], comment: str) -> None:
    """Write a spec.

    Raises:
        CommandFailed: the spec would be wrong, or cannot be written.
    """
    if problems := specfile.wrong_fields(document):
        raise CommandFailed(WRONG, "the spec would be wrong", [f"- {p}" for p in problems])
    try:
        file.write_text(f"# {comment}\n" + yaml.safe_dump(document, sort_keys=False, width=100))
    except OSError as error:
        raise CommandFailed(WRONG, f"{file} cannot be written: {error.strerror}") from error
    call.result |= {"file": str(file), "spec": document}


# A service that is there --------------------------------------------------------------------------


def _place(call: Call, cluster: str | None, name: str) -> tuple[str, str] | None:
    """Return the cluster and name of the service to adopt; None if it is a new one.

    Args:
        name: the service's; "" if nothing says which.
    """
    client = call.account.client("ecs")
    clusters = [cluster] if cluster else _names(client, "list_clusters", "clusterArns")
    if name:
        holding = [place for place in clusters if _described(place, name)]
        return (_one(call, "cluster", holding), name) if holding else None
    places = {
        place: services
        for place in clusters
        if (services := _names(client, "list_services", "serviceArns", cluster=place))
    }
    if not places:
        return None
    cluster = _one(call, "cluster", list(places))
    return cluster, _one(call, "service", places[cluster])


def _described(cluster: str, name: str) -> Service | None:
    try:
        return ecs.service(cluster, name)
    except ClientError as error:
        if code_of(error) != "ClusterNotFoundException":
            raise
        return None


def _adopt(
    call: Call,
    cluster: str,
    name: str,
    container: str | None,
    also: Sequence[str],
    tags: str,
    file: Path,
) -> None:
    service = _described(cluster, name) or {}
    runs, repository = _container(service, container)
    document: dict[str, Any] = {
        "service": name,
        "cluster": cluster,
        "repository": repository,
        "tags": tags,
    }
    if container:
        document["container"] = runs
    with call.screen.working("Looking at the other services of the cluster"):
        same = _of_repository(call, cluster, repository, other_than=name)
    if wrong := [other for other in also if other not in same]:
        listed = ", ".join(sorted(same)) or "none"
        raise CommandFailed(
            WRONG,
            f"--with: not running an image of {repository} in {cluster}: {', '.join(wrong)}",
            [f"Other services that do: {listed}."],
        )
    if also:
        document["services"] = [{"service": other} for other in also]
    _write(
        call,
        file,
        document,
        f"Each release is the task definition that {name} runs, with the new image.",
    )
    call.screen.facts(list(_found(service, runs, document)))
    if left := [other for other in sorted(same) if other not in also]:
        call.screen.say(
            f"Not in the spec, but of the same image: {', '.join(left)}. To release them together:"
            f" --with {','.join([*also, *left])}"
        )
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


def _of_repository(call: Call, cluster: str, repository: str, other_than: str) -> list[str]:
    """Return the other services of the cluster that run an image of the repository."""
    names = _names(call.account.client("ecs"), "list_services", "serviceArns", cluster=cluster)
    return [
        name
        for name in names
        if name != other_than
        and repository in _repositories(_described(cluster, name) or {}).values()
    ]


def _repositories(service: Service) -> dict[str, str]:
    """Return the repositories of a service's containers, by the containers' names."""
    return {
        name: match["repository"]
        for name, image in _images(service).items()
        if (match := _IMAGE.match(image))
    }


def _images(service: Service) -> dict[str, str]:
    described = ecs.task_definition(rollout.task_definition(service) or "")
    declared = documents.containers(described[0] if described else {})
    return {str(one.get("name")): str(one.get("image")) for one in declared}


def _container(service: Service, requested: str | None) -> tuple[str, str]:
    """Return the container that gets the image, and its repository."""
    candidates = {
        name: repository
        for name, repository in _repositories(service).items()
        if requested in (None, name)
    }
    if len(candidates) == 1:
        return next(iter(candidates.items()))
    listed = [f"- {name}: {image}" for name, image in _images(service).items()]
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
    if further := document.get("services"):
        yield "with", ", ".join(part["service"] for part in further)
    yield "deploys", f"tags {document['tags']}"


# A new service ------------------------------------------------------------------------------------


def _read(
    call: Call, source: Path | None, container: str | None, also: Sequence[str]
) -> Application:
    """Return the application that a file, or the options alone, describe."""
    if source is None:
        return Application("", "the options")
    if source.name.startswith("Dockerfile") or source.suffix.lower() == ".dockerfile":
        return dockerfile.read(source, source.read_text(errors="replace"))
    try:
        services, variables = compose.services(source, os.environ)
    except compose.NotCompose as error:
        raise CommandFailed(UNREADY, f"{error}") from error
    names = compose.choose(services, container)
    if len(names) != 1:
        listed = ", ".join(services)
        chosen = _choose(call, "Which service is it about?", names) if names else None
        if chosen is None:
            advice = [f"There are {listed}."]
            if names and (same := compose.of_same_image(names[0], services)):
                advice += [
                    "Those of one image may follow the same releases, such as",
                    f"  deployer init --container {names[0]} --with {','.join(same)}",
                ]
            raise CommandFailed(WRONG, f"name the service of {source}: --container", advice)
        names = [chosen]
    return compose.read(source, names[0], services, variables, also)


def _asked(call: Call, cluster: str | None) -> Application:
    """Return the application that the user describes.

    Raises:
        CommandFailed: nobody can be asked.
    """
    if not call.interactive:
        where = f"cluster {cluster}" if cluster else call.account.region
        there = (
            _names(call.account.client("ecs"), "list_services", "serviceArns", cluster=cluster)
            if cluster
            else []
        )
        raise CommandFailed(
            UNREADY,
            f"there is no service{f' {call.service}' if call.service else ''} to adopt in {where},"
            " and neither a compose file nor a Dockerfile here",
            [
                *([f"Services in it: {', '.join(sorted(there))}."] if there else []),
                "For a new one, say what it is, such as:",
                f"  deployer init {_AN_EXAMPLE}",
            ],
        )
    name = call.service or call.screen.ask("What is the service called?")
    port = call.screen.ask("On which port does it listen? [Enter for none: a worker]")
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise CommandFailed(WRONG, f"{port} is not a port")
    application = Application(name, "your answers")
    application.ports = [int(port)] if port else []
    return application


def _choose(call: Call, question: str, names: Sequence[str]) -> str | None:
    """Return the name that the user chooses; None if nobody can be asked, or it is none of them."""
    if not call.interactive:
        return None
    answer = call.screen.ask(f"{question} ({', '.join(names)})")
    return answer if answer in names else None


def _create(
    call: Call,
    application: Application,
    cluster: str | None,
    also: Sequence[str],
    tags: str,
    file: Path,
    leave_out: bool,
    answers: Mapping[str, Any],
) -> None:
    name = call.service or application.name
    if not name:
        raise CommandFailed(WRONG, "name the service: --service")
    try:
        parameters: Mapping[str, str] | None = call.target.parameters
    except CommandFailed:
        parameters = None
    around = Surroundings(
        call.account, name, parameters, lambda question, names: _choose(call, question, names)
    )
    if parameters is None:
        around.facts.append(("deployer", f"no stack {call.stack} yet; it comes with: make deploy"))
    with call.screen.working("Looking around in the account"):
        options = creation.Options(cluster=cluster, tags=tags, **_named(answers))
        made = creation.document(application, around, options)
    around.problems += [
        f"--with: {other} is no other service that keeps running the image of {application.origin}"
        for other in also
        if other not in application.further
    ]
    refused = [] if leave_out else application.problems
    problems = [*refused, *around.problems]
    if problems:
        call.screen.facts(around.facts)
        advice = [line if line.startswith("  ") else f"- {line}" for line in problems]
        if refused:
            advice += ["Or leave out what ECS has no word for: --leave-out."]
        count = sum(not line.startswith("  ") for line in problems)
        raise CommandFailed(
            UNREADY, f"{count} thing(s) to correct first; no spec was written", advice
        )
    comment = f"{name}, made from {application.origin}. Every field: docs/service-spec.md"
    _write(call, file, made, comment)
    with call.screen.working("Checking what a release needs"):
        missing = creation.lacking(made, around)
    left_out = [f"left out: {problem}" for problem in application.problems]
    notes = [*left_out, *application.notes]
    call.result |= {
        "resources": [{"name": name, "value": value} for name, value in around.facts],
        "notes": notes,
        "missing": [shown(check, call.given) for check in missing],
    }
    call.screen.facts(around.facts)
    if notes:
        call.screen.title("What ECS does in another way")
        for note in notes:
            call.screen.say(f"  {note}")
    if missing:
        call.screen.title("What it needs before the first release")
        show(call.screen, missing)
    _next(call, file, made, around)


def _next(call: Call, file: Path, made: Mapping[str, Any], around: Surroundings) -> None:
    """Show the commands from the spec to the first release."""
    registry = f"{made['taskDefinition']['executionRoleArn'].split(':')[4]}.dkr.ecr"
    china = ".cn" if around.account.region.startswith("cn-") else ""
    registry += f".{around.account.region}.amazonaws.com{china}"
    image = f"{registry}/{made['repository']}:1.0.0"
    architecture = made["taskDefinition"]["runtimePlatform"]["cpuArchitecture"]
    platform = next(name for name, value in PLATFORMS.items() if value == architecture)
    call.screen.title(f"Wrote {file}. Store it for the deployer, and push:")
    call.screen.command(f"deployer apply {file}")
    call.screen.command(
        "aws ecr get-login-password | docker login --username AWS --password-stdin " + registry
    )
    call.screen.command(f"docker build --platform {platform} --tag {image} .")
    call.screen.command(f"docker push {image}")
    call.screen.command(f"deployer wait 1.0.0 --service {made['service']}")


def _named(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as `creation.Options` calls them."""
    others = {"security_groups": "groups", "execution_role": "role"}
    return {others.get(name, name): value for name, value in asked.items()}

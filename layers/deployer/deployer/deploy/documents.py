"""Read ECS's own documents: which container serves, where, with which logs, roles and secrets.

A task definition is as RegisterTaskDefinition takes it or DescribeTaskDefinition returns it, a
service as CreateService takes it or DescribeServices returns it:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html

They may come from a spec that nobody has validated yet: what has the wrong type counts as missing.
Imports the names of failures only.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deployer.errors import PreflightFailed

if TYPE_CHECKING:
    from deployer.deploy.spec import ServiceSpec

type Document = Mapping[str, Any]

PLATFORMS: Mapping[str, str] = {"linux/amd64": "X86_64", "linux/arm64": "ARM64"}


class Log(NamedTuple):
    """The log group and the prefix of the streams of a container, `prefix/container/`."""

    group: str
    prefix: str


def listed(document: Document, name: str) -> list[Document]:
    """Return the objects of a list."""
    return [entry for _, entry in _entries(document, name)]


def _entries(document: Document, name: str) -> Iterator[tuple[int, Document]]:
    entries = document.get(name)
    for index, entry in enumerate(entries if isinstance(entries, Sequence) else ()):
        if isinstance(entry, Mapping):
            yield index, entry


def indexed(definition: Document) -> Iterator[tuple[int, Document]]:
    """Yield the containers of a task definition with their indexes."""
    yield from _entries(definition, "containerDefinitions")


def containers(definition: Document) -> list[Document]:
    """Return the containers of a task definition."""
    return listed(definition, "containerDefinitions")


def container(definition: Document, name: str) -> Document:
    """Return a container of a task definition by its name; {} if it has none of that name."""
    return next(
        (container for container in containers(definition) if container.get("name") == name), {}
    )


def release_container(spec: "ServiceSpec", definition: Document) -> str:
    """Return the name of the container that runs the release's image.

    Raises:
        PreflightFailed: the spec names none that is there, or it is unclear which it is.
    """
    declared = containers(definition)
    names = [str(container.get("name")) for container in declared]
    if spec.container:
        if spec.container in names:
            return spec.container
        raise PreflightFailed(no_container(spec.container, definition))
    ours = [container for container in declared if runs_image_of(container, spec.repository)]
    adopted = spec.task_definition is None
    if not ours and adopted:
        images = ", ".join(str(container.get("image")) for container in declared)
        raise PreflightFailed(
            f"no container runs an image of repository {spec.repository}, but {images}: correct"
            " repository, or name in `container` the one whose image the releases replace"
        )
    essential = [
        container for container in declared if container.get("essential", True) is not False
    ]
    for candidates in (ours, declared, essential):
        if len(candidates) == 1:
            return str(candidates[0].get("name"))
    raise PreflightFailed(
        f"name in `container` the one that runs the image: {', '.join(names)}"
        if names
        else "a task definition needs a container"
    )


def no_container(name: str | None, definition: Document) -> str:
    """Return that a task definition has no container of a name; "" if it has one, or None is
    named."""
    names = [str(container.get("name")) for container in containers(definition)]
    if name is None or name in names:
        return ""
    return (
        f"{name!r} is not a container of the task definition; it has {', '.join(names) or 'none'}"
    )


def runs_image_of(container: Document, repository: str) -> bool:
    """Return whether a container's image is of an ECR repository."""
    pattern = rf".*/{re.escape(repository)}([:@].*)?"
    return re.fullmatch(pattern, str(container.get("image", ""))) is not None


def of_release(definition: Document, name: str | None, repository: str) -> Document:
    """Return the container of a revision that runs the release's image; {} without containers.

    Args:
        name: the container that the spec names; the revision may be older than the spec.
    """
    return max(
        containers(definition),
        key=lambda container: (runs_image_of(container, repository), container.get("name") == name),
        default={},
    )


def ports(container: Document) -> list[int]:
    """Return the ports on which a container listens."""
    mappings = listed(container, "portMappings")
    return [p for m in mappings if isinstance(p := m.get("containerPort"), int)]


def served(
    definition: Document, name: str | None, repository: str, balancers: Sequence[Document] = ()
) -> tuple[str, int] | None:
    """Return the name and port of the container that serves; None if none listens.

    That is the one that runs the release's image, or else the first that listens, such as a proxy
    beside it. Of several ports it is the one that a load balancer uses.

    Args:
        name: the container that the spec names; another revision may have it by another name.
        balancers: the `loadBalancers` of a service.
    """
    listening = [container for container in containers(definition) if ports(container)]
    best = max(
        listening,
        key=lambda container: (runs_image_of(container, repository), container.get("name") == name),
        default=None,
    )
    if best is None:
        return None
    used = [
        lb.get("containerPort") for lb in balancers if lb.get("containerName") == best.get("name")
    ]
    open_ports = ports(best)
    port = next((port for port in open_ports if port in used), open_ports[0])
    return str(best.get("name")), port


def platform(definition: Document) -> str | None:
    """Return the platform of a task definition, such as `linux/arm64`; None if it is unknown.

    Without one, tasks on Fargate are of X86_64, and others of their machine's.
    """
    runtime = definition.get("runtimePlatform")
    if not isinstance(runtime, Mapping):
        requires = definition.get("requiresCompatibilities")
        return "linux/amd64" if "FARGATE" in (requires or ()) else None
    if runtime.get("operatingSystemFamily", "LINUX") != "LINUX":
        return None
    architecture = runtime.get("cpuArchitecture", "X86_64")
    return next((name for name, arch in PLATFORMS.items() if arch == architecture), None)


def log(container: Document) -> Log | None:
    """Return where a container logs to CloudWatch; None if it does not, or its streams are random.

    The awslogs driver names a task's stream `prefix/container/task`:
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html
    """
    configuration = container.get("logConfiguration")
    if not isinstance(configuration, Mapping) or configuration.get("logDriver") != "awslogs":
        return None
    options = configuration.get("options")
    options = options if isinstance(options, Mapping) else {}
    group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
    return Log(group, f"{prefix}/{container.get('name')}/") if group and prefix else None


def log_groups(definition: Document) -> list[str]:
    """Return the log groups that must exist before a task starts, each once."""
    groups = []
    for container in containers(definition):
        configuration = container.get("logConfiguration")
        options = configuration.get("options") if isinstance(configuration, Mapping) else None
        if isinstance(options, Mapping) and options.get("awslogs-create-group") != "true":
            groups.append(options.get("awslogs-group"))
    return [group for group in dict.fromkeys(groups) if isinstance(group, str)]


def variables(container: Document) -> Mapping[str, str]:
    """Return a container's plain variables by name."""
    entries = listed(container, "environment")
    return {str(entry.get("name")): str(entry.get("value", "")) for entry in entries}


def secrets(container: Document) -> Mapping[str, str]:
    """Return a container's secrets: the ARN, or a parameter's name, by the variable's name."""
    entries = listed(container, "secrets")
    return {str(entry.get("name")): str(entry.get("valueFrom", "")) for entry in entries}


def secret_arns(definition: Document) -> list[str]:
    """Return the secrets that a task reads when it starts, each once, without their JSON keys.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
    """
    values = [
        value for container in containers(definition) for value in secrets(container).values()
    ]
    arns = [
        ":".join(arn.split(":")[:7]) if ":secretsmanager:" in arn else arn
        for arn in values
        if arn.startswith("arn:")
    ]
    return list(dict.fromkeys(arns))


def roles(definition: Document) -> list[str]:
    """Return the ARNs of a task definition's roles."""
    named = (definition.get("executionRoleArn"), definition.get("taskRoleArn"))
    return [arn for arn in dict.fromkeys(named) if isinstance(arn, str)]


def vpc(service: Document) -> Document | None:
    """Return a service's `awsvpcConfiguration`; None if its tasks use their host's network."""
    configuration = service.get("networkConfiguration")
    network = (
        configuration.get("awsvpcConfiguration") if isinstance(configuration, Mapping) else None
    )
    return network if isinstance(network, Mapping) else None


def has_public_ip(service: Document) -> bool:
    """Return whether each task of a service gets a public IP address."""
    return (vpc(service) or {}).get("assignPublicIp") == "ENABLED"


def names(document: Document | None, field: str) -> list[str]:
    """Return the texts of a list, such as the subnets of an `awsvpcConfiguration`."""
    entries = (document or {}).get(field)
    texts = entries if isinstance(entries, Sequence) and not isinstance(entries, str) else ()
    return [entry for entry in texts if isinstance(entry, str)]


def target_groups(service: Document) -> list[str]:
    """Return the ARNs of the target groups that a service's tasks join."""
    balancers = listed(service, "loadBalancers")
    arns = [lb.get("targetGroupArn") for lb in balancers]
    return [arn for arn in dict.fromkeys(arns) if isinstance(arn, str)]

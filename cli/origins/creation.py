"""Make the spec of a service that is yet to be created, from an application and the account."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.aws import AWS_ERRORS
from cli.origins.account import Surroundings
from cli.origins.application import Application, size
from deployer.check import OK, Check
from deployer.deploy import spec as specs
from deployer.deploy.documents import PLATFORMS
from deployer.usecases import check_prerequisites

EXPOSURES = ("load-balancer", "public-ip", "internal")
_GRACE = 60  # seconds that a load balancer gives a starting task
_ASKED = "How do clients reach it? load-balancer, public-ip or internal (in the VPC only)"


@dataclass(frozen=True)
class Options:
    """What the user named; the rest is found, or asked for."""

    cluster: str | None
    repository: str | None
    tags: str
    port: int | None
    exposure: str | None
    health_path: str | None
    target_group: str | None
    url: str | None
    subnets: Sequence[str]
    groups: Sequence[str]
    role: str | None
    secrets: Mapping[str, str]


def document(application: Application, around: Surroundings, asked: Options) -> dict[str, Any]:
    """Return the spec of a new service; what is unclear is among the problems of `around`."""
    name = around.service
    around.facts.append(("service", f"{name}, from {application.origin}"))
    port = _port(application, around, asked)
    exposure = _exposure(around, asked, port)
    cluster = around.cluster(asked.cluster)
    role = around.execution_role(asked.role)
    repository = around.repository(asked.repository or application.repository or name)
    parts = {name: application} | {
        f"{name}-{one.name}": one for one in application.further.values()
    }
    named = [variable for part in parts.values() for variable in part.secrets]
    secrets = {
        variable: arn
        for variable in dict.fromkeys((*named, *asked.secrets))
        if (arn := asked.secrets.get(variable) or around.secret(variable))
    }
    network = around.network(cluster, asked.subnets, asked.groups) if cluster else None
    group = url = None
    if exposure == "load-balancer" and cluster and network:
        target = around.target_group(asked.target_group, cluster, network[0])
        if target:
            group, balancer = target
            url = around.url(asked.url, balancer)
    for service, part in parts.items():
        if size(part.cpu, part.memory) is None:
            around.problems.append(
                f"{service}: {part.cpu} CPU units with {part.memory} MiB: Fargate has at most"
                " 16384 with 122880"
            )
    if around.problems or not (cluster and network):
        return {}
    around.facts += [
        ("repository", repository),
        ("size", _size(application)),
        ("deploys", f"tags {asked.tags}"),
    ]
    public = exposure == "public-ip" or around.needs_public_ip(network[0])
    if public and exposure != "public-ip":
        around.facts.append(("public IPs", "the subnets reach ECR only with them"))
    place = _Place(around, role, network, public, secrets)
    spec: dict[str, Any] = {
        "service": name,
        "cluster": cluster,
        "repository": repository,
        "tags": asked.tags,
        "strategy": "rolling",
        **({"url": url} if url else {}),
        **_documents(name, application, place, asked.secrets, port),
    }
    if group:
        (container,) = spec["taskDefinition"]["containerDefinitions"]
        balancer = {"targetGroupArn": group, "containerName": name, "containerPort": port}
        spec["serviceDefinition"] |= {
            "loadBalancers": [balancer],
            "healthCheckGracePeriodSeconds": _grace(container),
        }
    if verify := _verify(application, around, asked, port, exposure):
        spec["verify"] = verify
    if application.before:
        spec["before"] = {"command": [*application.before]}
        around.facts.append(("before", f"each rollout: {shlex.join(application.before)}"))
    further = {service: part for service, part in parts.items() if part is not application}
    if further:
        spec["services"] = [
            {"service": service, **_documents(service, part, place)}
            for service, part in further.items()
        ]
    around.facts += [
        ("with", f"{service}, {_size(part)}, live after {_alive(part)}")
        for service, part in further.items()
    ]
    around.permitted(
        (
            *(("service", service, "ServicePattern", "{}") for service in parts),
            ("cluster", cluster, "ClusterName", "{}"),
            ("repository", repository, "RepositoryPattern", "{}"),
            *(("family", service, "TaskFamilyPattern", "{}") for service in parts),
            ("role", role.rpartition("/")[2], "ExecutionRolePattern", "{}-execution"),
            ("log group", f"/ecs/{name}", "LogGroupPattern", "/ecs/{}"),
        )
    )
    return spec


def _size(application: Application) -> str:
    cpu, memory = size(application.cpu, application.memory) or (0, 0)
    return f"{cpu / 1024:g} vCPU, {memory} MiB, {application.platform}"


@dataclass(frozen=True)
class _Place:
    """What the services of an application share, and the secrets' ARNs by variable."""

    around: Surroundings
    role: str
    network: tuple[Sequence[str], Sequence[str]]
    public: bool
    secrets: Mapping[str, str]


def _documents(
    name: str,
    application: Application,
    place: _Place,
    more_secrets: Iterable[str] = (),
    port: int | None = None,
) -> dict[str, Any]:
    """Return ECS's documents of a service.

    Args:
        more_secrets: variables of secrets beside its own.
        port: the one that serves; None if none does.
    """
    cpu, memory = size(application.cpu, application.memory) or (0, 0)
    variables = application.variables | {*more_secrets}
    secrets = {name: arn for name, arn in place.secrets.items() if name in variables}
    task = {
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(cpu),
        "memory": str(memory),
        "runtimePlatform": {
            "operatingSystemFamily": "LINUX",
            "cpuArchitecture": PLATFORMS[application.platform],
        },
        "executionRoleArn": place.role,
        "containerDefinitions": [_container(name, application, place.around, port, secrets)],
    }
    vpc = {
        "subnets": [*place.network[0]],
        "securityGroups": [*place.network[1]],
        "assignPublicIp": "ENABLED" if place.public else "DISABLED",
    }
    service = {
        "launchType": "FARGATE",
        "desiredCount": application.count,
        "networkConfiguration": {"awsvpcConfiguration": vpc},
    }
    return {"taskDefinition": task, "serviceDefinition": service}


def _port(application: Application, around: Surroundings, asked: Options) -> int | None:
    """Return the port that serves; None for a worker."""
    if asked.port is not None:
        return asked.port or None
    if not application.ports:
        around.facts.append(("port", "none is named, so it is a worker; --port names one"))
        return None
    numbers = [str(port) for port in application.ports]
    chosen = around.choose("port", "--port", numbers)
    return int(chosen) if chosen else None


def _exposure(around: Surroundings, asked: Options, port: int | None) -> str | None:
    if port is None:
        if asked.exposure or asked.target_group:
            around.problems.append("--port: name the port on which it listens")
        return None
    if asked.target_group and asked.exposure in (None, "load-balancer"):
        return "load-balancer"
    if asked.target_group:
        around.problems.append(f"--target-group: is not for --exposure {asked.exposure}")
    if asked.exposure or (answer := around.ask(_ASKED, EXPOSURES)) is None:
        if not asked.exposure:
            around.problems.append(
                f"--exposure: name how clients reach port {port}: {', '.join(EXPOSURES)}"
            )
        return asked.exposure
    return answer


def _container(
    name: str,
    application: Application,
    around: Surroundings,
    port: int | None,
    secrets: Mapping[str, str],
) -> dict[str, Any]:
    ports = dict.fromkeys([port, *application.ports] if port else application.ports)
    variables = [{"name": name, "valueFrom": arn} for name, arn in secrets.items()]
    container = {"name": name, **application.container}
    plain = [e for e in container.pop("environment", ()) if e["name"] not in secrets]
    if ports:
        container["portMappings"] = [{"containerPort": number} for number in ports]
    if plain:
        container["environment"] = plain
    if variables:
        container["secrets"] = variables
    container["logConfiguration"] = {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": f"/ecs/{around.service}",
            "awslogs-region": around.account.region,
            "awslogs-stream-prefix": "ecs",
        },
    }
    return container


def _grace(container: Mapping[str, Any]) -> int:
    """Return the load balancer's patience: not more than that of the container's health check."""
    check = container.get("healthCheck")
    if not check:
        return _GRACE
    patience = check.get("startPeriod", 0) + check.get("interval", 30) * check.get("retries", 3)
    return min(_GRACE, int(patience))


def _verify(
    application: Application,
    around: Surroundings,
    options: Options,
    port: int | None,
    exposure: str | None,
) -> dict[str, str] | None:
    """Return how a release is verified over HTTP; None if nothing can be asked."""
    if port is None:
        around.facts.append(("live after", _alive(application)))
        return None
    if exposure == "internal" and not (around.parameters or {}).get("VerifySubnetIds"):
        around.facts.append(
            ("verified", "not over HTTP: the deployer is not in the VPC (see VerifySubnetIds)")
        )
        return None
    own = application.asked_path(port)
    path = options.health_path or own or "/"
    why = "--health-path" if options.health_path else "the health check's" if own else "the default"
    around.facts.append(("verified", f"{path} answers 200 ({why}; --health-path names another)"))
    return {"path": path}


def _alive(application: Application) -> str:
    return "its health check" if "healthCheck" in application.container else "60 s of running"


def lacking(made: Mapping[str, Any], around: Surroundings) -> list[Check]:
    """Return what a release of the spec would fail on, as the preflight finds it."""
    spec = specs.from_document(made, "the spec")
    known = [check.name for check in around.missing]
    problems: list[Check] = []
    shared: list[Check] = []
    for part in spec.parts:
        try:
            place = check_prerequisites.place(part)
        except AWS_ERRORS as error:
            problems.append(check_prerequisites.unseen("network", error))
            break
        checks = [
            check
            for name, look in check_prerequisites.all_checks(place).items()
            if name not in known and name not in ("alarms", "database")
            for check in check_prerequisites.guarded(name, look)
            if check.state != OK and not check.denied and check not in shared
        ]
        shared += checks  # what several services lack, such as their log group, is listed once
        problems += check_prerequisites.of_part(part, checks)
    return [*around.missing, *problems]

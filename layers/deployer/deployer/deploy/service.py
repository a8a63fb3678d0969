"""Build the requests of CreateService and UpdateService from the spec.

An update sends the task definition, the deployment configuration with the circuit breaker, and
what the spec names. It changes nothing else of a service: UpdateService leaves a missing field as
it is, and replaces a given one whole, so a service's own settings within it are repeated
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html).

Imports decisions only, no AWS.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from deployer import presets
from deployer.deploy import documents, task_definitions
from deployer.deploy.documents import Document
from deployer.deploy.release import Previous, Release, schema_grew
from deployer.deploy.rollout import Service, primary, same_network, steady_task_definition
from deployer.deploy.rollout import network as rollout_network
from deployer.deploy.spec import ServiceSpec

UNCHECKED_BAKE = 60  # seconds
AT_CREATION = ("clientToken", "launchType", "role", "schedulingStrategy", "serviceName", "tags")
"""The fields of CreateService that UpdateService does not take."""
_GRACE = "healthCheckGracePeriodSeconds"
# What tells the entries of a list apart, such as load balancers
_IDENTITY = (
    *("targetGroupArn", "loadBalancerName", "registryArn", "capacityProvider"),
    *("name", "expression", "field", "type"),
)


def may_roll_back(
    spec: ServiceSpec, release: Release, previous: Previous | None, service: Service | None
) -> bool:
    """Return whether ECS may roll a release back by itself.

    ECS rolls back to the deployment that completed last. That must be our rollback target: a
    release that failed its verification completed, too. And ECS must not start anything while the
    secret leads to a restored database.

    Args:
        service: the service before the update.
    """
    if previous is None or service is None or release.get("restore"):
        return False
    if steady_task_definition(service) != previous["taskDefinition"]:
        return False
    if not same_network(rollout_network(service), previous["networkConfiguration"]):
        return False
    return not schema_grew(previous["schema"], release["schema"], spec.database is not None)


def bake_seconds(spec: ServiceSpec, service: Document, definition: Document) -> int:
    """Return how long the tasks must run before a release is live.

    Where nothing is asked of a task, that it has run for a while is all that can be known of it.

    Args:
        service: the service, as ECS describes it.
        definition: the release's task definition.
    """
    if spec.bake is not None:
        return spec.bake
    checked = any(one.get("healthCheck") for one in documents.containers(definition))
    return 0 if spec.verify or service.get("loadBalancers") or checked else UNCHECKED_BAKE


def current(service: Document, field: str) -> Any:
    """Return a field of a service; ECS describes some of them in its deployments only."""
    if service.get(field) is not None:
        return service[field]
    return (primary(service) or {}).get(field)


def effective(spec: ServiceSpec, service: Document | None) -> Mapping[str, Any]:
    """Return the service as it would be: its own fields, with those that the spec names."""
    named = spec.service_definition or {}
    if service is None:
        return dict(named)
    return {**service, **{name: _merged(current(service, name), named[name]) for name in named}}


def update(
    spec: ServiceSpec,
    service: Service,
    task_definition: str,
    automatic_rollback: bool,
    definition: Document,
) -> dict[str, Any]:
    """Return the request of UpdateService, without the service's name.

    The desired count is not in it: after the creation the team and its autoscaling set it
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-auto-scaling.html).

    Args:
        service: the service now.
        task_definition: the ARN of the revision to run.
        automatic_rollback: whether ECS's circuit breaker may roll back by itself. It may not if the
            previous release can't run on the new release's schema.
        definition: that revision.
    """
    named = spec.service_definition or {}
    fields: dict[str, Any] = {
        name: _merged(current(service, name), value)
        for name, value in named.items()
        if name not in (*AT_CREATION, "desiredCount")
    }
    balancers: Sequence[Document] = fields.get("loadBalancers") or service.get("loadBalancers", ())
    fitting = _fitting(spec, balancers, definition)
    if "loadBalancers" in fields or fitting != list(balancers):
        fields["loadBalancers"] = fitting
    grace = presets.named(spec.preset).grace_period
    if fitting and _GRACE not in named and grace and service.get(_GRACE, 0) < grace:
        fields[_GRACE] = grace
    return {
        **fields,
        **_strategy(spec),
        "cluster": spec.cluster,
        "taskDefinition": task_definition,
        "deploymentConfiguration": _configuration(
            spec, automatic_rollback, service.get("deploymentConfiguration", {})
        ),
    }


def creation(
    spec: ServiceSpec, task_definition: str, definition: Document, token: str
) -> dict[str, Any]:
    """Return the request of CreateService.

    Args:
        task_definition: the ARN of the revision to run.
        definition: that revision.
        token: makes a repeated call the same call; at most 36 characters.
    """
    named = spec.service_definition or {}
    fields: dict[str, Any] = {"enableECSManagedTags": True, **named, **_strategy(spec)}
    grace = presets.named(spec.preset).grace_period
    if named.get("loadBalancers"):
        fields["loadBalancers"] = _fitting(spec, named["loadBalancers"], definition)
        if grace:
            fields.setdefault(_GRACE, grace)
    return fields | {
        "cluster": spec.cluster,
        "taskDefinition": task_definition,
        "deploymentConfiguration": _configuration(spec, False, {}),
        "serviceName": spec.service,
        "desiredCount": spec.desired_count,
        "clientToken": token,
        "tags": [{"key": "deployer:service", "value": spec.service}, *named.get("tags", ())],
    }


def differences(service: Service, request: Document) -> list[task_definitions.Change]:
    """Return what an update changes of a service, except for its task definition.

    Args:
        request: of UpdateService.
    """
    after = {n: v for n, v in request.items() if n not in ("cluster", "taskDefinition")}
    before = {name: current(service, name) for name in after}
    return task_definitions.changes(_ordered(before), _ordered(after))


def removals(service: Service, request: Document) -> list[str]:
    """Return what an update removes from a service's lists, such as a target group.

    Args:
        request: of UpdateService.
    """
    changes = []
    for name in request:
        before, after = current(service, name), request[name]
        if isinstance(before, Sequence) and isinstance(after, Sequence):
            kept = [_identity(entry) for entry in after]
            entries = [one for one in before if isinstance(one, Mapping)]
            changes += [f"{name} {_identity(one)}" for one in entries if _identity(one) not in kept]
    return changes


def _identity(entry: Any) -> str:
    """Return what tells an entry of a list apart from the others."""
    if not isinstance(entry, Mapping):
        return str(entry)
    return next((str(entry[key]) for key in _IDENTITY if entry.get(key)), str(dict(entry)))


def _ordered(value: Any) -> Any:
    """Return a document whose lists of texts are sorted: their order means nothing to ECS."""
    if isinstance(value, Mapping):
        return {name: _ordered(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        if all(isinstance(entry, str) for entry in value):
            return sorted(value)
        return [_ordered(entry) for entry in value]
    return value


def _merged(before: Any, named: Any) -> Any:
    """Return a value of a service with what the spec names laid over it.

    Objects keep the fields that the spec does not name; a list is the spec's, whose entries keep
    theirs.
    """
    if isinstance(before, Mapping) and isinstance(named, Mapping):
        return {**before, **{key: _merged(before.get(key), named[key]) for key in named}}
    if isinstance(before, Sequence) and isinstance(named, list):
        own = {_identity(one): one for one in before if isinstance(one, Mapping)}
        return [_merged(own.get(_identity(one)), one) for one in named]
    return named


def _fitting(
    spec: ServiceSpec, balancers: Sequence[Document], definition: Document
) -> list[Document]:
    """Return load balancers whose container and port the task definition has.

    ECS refuses others, and a revision to roll back to may have them by another name.
    """
    fitting = list[Document]()
    for balancer in balancers:
        name, port = balancer.get("containerName"), balancer.get("containerPort")
        container = documents.container(definition, str(name))
        target = documents.served(definition, spec.container, spec.repository)
        if port not in documents.ports(container) and target:
            ports = documents.ports(documents.container(definition, target[0]))
            port = port if port in ports else target[1]
            balancer = {**balancer, "containerName": target[0], "containerPort": port}
        fitting.append(balancer)
    return fitting


def _strategy(spec: ServiceSpec) -> dict[str, Any]:
    """Return the fields that the strategy sets beside the deployment configuration."""
    if spec.strategy == "recreate":
        # rebalancing starts a task in another zone before it stops one, so two would run
        return {"availabilityZoneRebalancing": "DISABLED"}
    return {}


def _configuration(
    spec: ServiceSpec, automatic_rollback: bool, before: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the deployment configuration: our breaker and percentages, and the team's settings.

    The team's alarms may end a rollout, but roll back only if the breaker may. Otherwise we see
    the rollout fail, and roll back if that is safe.
    """
    named = (spec.service_definition or {}).get("deploymentConfiguration", {})
    fields: dict[str, Any] = {**_merged(before, named), **_percentages(spec)}
    breaker = fields.get("deploymentCircuitBreaker", {})
    fields["deploymentCircuitBreaker"] = {
        **breaker,
        "enable": True,
        "rollback": automatic_rollback,
    }
    if fields.get("alarms") and not automatic_rollback:
        fields["alarms"] = {**fields["alarms"], "rollback": False}
    return fields


def _percentages(spec: ServiceSpec) -> dict[str, int]:
    if spec.strategy == "recreate":
        return {"minimumHealthyPercent": 0, "maximumPercent": 100}
    if spec.strategy == "rolling":
        return {"minimumHealthyPercent": 100, "maximumPercent": 200}
    return {}

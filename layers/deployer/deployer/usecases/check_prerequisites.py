"""Run the checks of `deploy.prerequisites`, for a preflight, a dry run and `deployer doctor`.

The checks are independent. If AWS denies a call or does not answer in time, the result is a
warning.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from deployer import http
from deployer.aws import alarms, ec2, ecs, elb, iam, logs, rds, refused, secrets, ssm
from deployer.check import FAILED, WARNING, Check
from deployer.deploy import documents, prerequisites, schedules, task_definitions
from deployer.deploy import service as services
from deployer.deploy.preflight import NEEDED
from deployer.deploy.prerequisites import Description, Secret
from deployer.deploy.release import Release
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec
from deployer.errors import AwsUnavailable, PreflightFailed
from deployer.store import releases
from deployer.usecases import read_documents

type Look = Callable[[], Iterable[Check]]
type TargetGroup = Callable[[str], Description | None]
type Balancers = Callable[[tuple[str, ...]], Sequence[Description]]

_SECONDS = 15  # time limit of a preflight's checks; the rollout finds what they miss


@dataclass(frozen=True)
class Place:
    """A spec, ECS's documents of the service, and its existing subnets and security groups.

    Attributes:
        definition: the task definition of the next release; {} if there is none to make it from.
        service: the service as it would be.
        current: the service as it is; None if it does not exist.
        problems: what is wrong with the documents, so that no release can be made.
        subnets, groups: descriptions by id.
    """

    spec: ServiceSpec
    definition: Description
    service: Description
    current: Service | None
    problems: Sequence[Check]
    subnets: Mapping[str, Description]
    groups: Mapping[str, Description]

    @property
    def vpcs(self) -> set[str]:
        return {subnet["VpcId"] for subnet in self.subnets.values()}

    @property
    def cidrs(self) -> list[str]:
        return [subnet["CidrBlock"] for subnet in self.subnets.values() if "CidrBlock" in subnet]

    @property
    def vpc(self) -> Description | None:
        return documents.vpc(self.service)

    @property
    def served(self) -> tuple[str, int] | None:
        """The name and port of the container that serves."""
        balancers = documents.listed(self.service, "loadBalancers")
        return documents.served(
            self.definition, self.spec.container, self.spec.repository, balancers
        )


def place(spec: ServiceSpec) -> Place:
    """Return the spec with ECS's documents, subnets and security groups as they exist."""
    current, problems = _current(spec)
    service = services.effective(spec, current)
    definition: Description = {}
    if not problems:
        definition, problems = _definition(spec, current)
    vpc = documents.vpc(service)
    return Place(
        spec,
        definition,
        service,
        current,
        problems,
        ec2.subnets(documents.names(vpc, "subnets")),
        ec2.security_groups(documents.names(vpc, "securityGroups")),
    )


def _current(spec: ServiceSpec) -> tuple[Service | None, list[Check]]:
    """Return the service as it is, and why it cannot be described."""
    try:
        return ecs.service(spec.cluster, spec.service), []
    except ClientError as error:
        if not refused(error):
            raise
        message = f"no permission to describe service {spec.service} in cluster {spec.cluster}"
        return None, [prerequisites.denied("cluster", message)]


def _definition(spec: ServiceSpec, current: Service | None) -> tuple[Description, list[Check]]:
    """Return the next release's task definition ({} without one), and what is wrong with it."""
    problems = list(prerequisites.definitions(invalid_fields(spec)))
    if problems:
        return {}, problems
    try:
        return task_definitions.render(spec, read_documents.base(spec, current)), []
    except PreflightFailed as error:
        return {}, [Check("definitions", FAILED, f"{error}")]


def invalid_fields(spec: ServiceSpec) -> list[tuple[str, str]]:
    """Return the path of each field of the spec's documents that ECS does not take, and why."""
    further = [
        (f"services[{index}].{path}", why)
        for index, part in enumerate(spec.further)
        for path, why in invalid_fields(part)
    ]
    requests: list[tuple[str, str, str, Description]] = []
    if isinstance(spec.task_definition, Mapping):
        request = {"family": spec.service, **spec.task_definition}
        requests.append(("taskDefinition.", "", "RegisterTaskDefinition", request))
    if spec.override:
        request = {"family": spec.service, "containerDefinitions": [spec.override]}
        prefix = "containerDefinitions[0]."
        requests.append(("override.", prefix, "RegisterTaskDefinition", request))
    if spec.service_definition is not None:
        request = {"serviceName": spec.service, **spec.service_definition}
        requests.append(("serviceDefinition.", "", "CreateService", request))
    return [
        (f"{path}{field.removeprefix(prefix)}", why)
        for path, prefix, operation, request in requests
        for field, why in ecs.invalid_fields(operation, request)
    ] + further


def all_checks(at: Place) -> Mapping[str, Look]:
    """Return all checks by name. A check calls AWS when it is run, and raises AWS's errors."""
    # two checks ask for the same, and the API takes ten calls a second of an account
    group, balancers = cache(elb.target_group), cache(elb.load_balancers)
    return {
        "definitions": lambda: _definitions(at),
        "cluster": lambda: _cluster(at),
        "service": lambda: service(at.spec, at.current, at.definition),
        "roles": lambda: _roles(at),
        "network": lambda: _network(at),
        "way to ECR": lambda: _ecr_access(at),
        "security group": lambda: _groups(at),
        "target group": lambda: _target_groups(at, group, balancers),
        "verification": lambda: _verification(at, group, balancers),
        "secrets": lambda: _secrets(at),
        "log group": lambda: _log_groups(at),
        "one-off tasks": lambda: (
            prerequisites.tasks(at.spec, at.definition) if at.definition else ()
        ),
        "schedules": lambda: _schedules(at),
        "alarms": lambda: prerequisites.alarms(at.spec, alarms.states(at.spec.alarms)),
        "database": lambda: _database(at),
    }


def service(spec: ServiceSpec, current: Service | None, definition: Description) -> Iterable[Check]:
    """Check that the deployer can update the service and judge its rollouts.

    Args:
        definition: the task definition of the next release; {} if there is none.
    """
    yield from prerequisites.service(spec, current)
    if current and definition:
        yield from prerequisites.update(spec, current, definition)


def before(release: Release, spec: ServiceSpec) -> list[Check]:
    """Run the checks before a release changes anything, within the time limit.

    Raises:
        AwsUnavailable, ClientError: a NEEDED check could not run.
    """
    return checks_at([place(part) for part in spec.parts], release)


def checks_at(places: Sequence[Place], release: Release) -> list[Check]:
    """Run the checks of the places of a release's services; see `before`."""
    deadline, results = time.monotonic() + _SECONDS, list[Check]()
    for at in places:
        own, checks_by_name = list[Check](), all_checks(at)
        for name, run_check in checks_by_name.items():
            if name in NEEDED:
                own += run_check()
            elif name == "service":
                continue  # the preflight checks the service itself, once reads no longer lag
            elif name == "database" and release.get("restore"):
                continue  # it is restored because it is broken
            elif time.monotonic() > deadline:
                own.append(Check(name, WARNING, "skipped: earlier checks used up the time limit"))
            else:
                own += guarded(name, run_check)
        results += of_part(at.spec, own)
    return [*results, *prerequisites.shared_groups({at.spec.service: at.service for at in places})]


def of_part(spec: ServiceSpec, checks: Iterable[Check]) -> list[Check]:
    """Return the checks of a service; those of a further one name it."""
    return [
        replace(check, finding=f"{spec.service}: {check.finding}") if spec.lead else check
        for check in checks
    ]


def guarded(name: str, run_check: Look) -> list[Check]:
    """Return the results of a check, or a warning if it could not run."""
    results: list[Check] = []
    try:
        for check in run_check():
            results.append(check)
    except (AwsUnavailable, BotoCoreError, ClientError) as error:
        results.append(unseen(name, error))
    return results


def unseen(name: str, error: Exception) -> Check:
    """Return the warning that a check could not run."""
    if isinstance(error, ClientError) and refused(error):
        return prerequisites.denied(name, f"not checked: {error}")
    return Check(name, WARNING, f"not checked: {error}")


def _cluster(at: Place) -> Iterable[Check]:
    yield from prerequisites.cluster(at.spec, ecs.cluster_status(at.spec.cluster))


def _definitions(at: Place) -> Iterable[Check]:
    yield from at.problems
    if at.definition:
        inside = bool(ec2.verification_network()[0])
        yield from prerequisites.definition(
            at.spec, at.definition, at.service, at.current, inside=inside
        )


def _roles(at: Place) -> Iterable[Check]:
    arns = documents.roles(at.definition)
    yield from prerequisites.roles({arn: iam.role_exists(arn) for arn in arns})


def _schedules(at: Place) -> Iterable[Check]:
    if at.spec.schedules:
        role, now = schedules.role_name(at.spec.service), datetime.now(UTC)
        yield from prerequisites.schedules(at.spec, at.service, role, iam.trust(role), now)


def _network(at: Place) -> Iterable[Check]:
    if at.vpc:
        yield from prerequisites.network(at.vpc, at.subnets, at.groups)


def _ecr_access(at: Place) -> Iterable[Check]:
    if not at.vpc:
        return
    vpcs = sorted(at.vpcs)
    tables, endpoints = ec2.route_tables(vpcs), ec2.endpoints(vpcs)
    yield from prerequisites.way_out(at.vpc, at.subnets, tables, endpoints)


def _groups(at: Place) -> Iterable[Check]:
    groups = list(at.groups.values())
    yield from prerequisites.way_to_port(443, groups)
    exposed = documents.has_public_ip(at.service) and not documents.target_groups(at.service)
    if exposed and at.served:
        inside = bool(ec2.verification_network()[0])
        verified = bool(at.spec.verify and not at.spec.url and not inside)
        yield from prerequisites.public_port(at.served[1], verified, groups)


def _target_groups(at: Place, group: TargetGroup, balancers: Balancers) -> Iterable[Check]:
    for balancer in documents.listed(at.service, "loadBalancers"):
        arn, port = balancer.get("targetGroupArn"), balancer.get("containerPort")
        if isinstance(arn, str) and isinstance(port, int):
            yield from _target_group(at, arn, port, group(arn), balancers)


def _target_group(
    at: Place, arn: str, port: int, target_group: Description | None, balancers_of: Balancers
) -> Iterable[Check]:
    healthy = bool(target_group and elb.healthy_addresses(arn))
    yield from prerequisites.target_group(
        arn, at.definition, at.spec.verify, target_group, at.vpcs, healthy
    )
    balancers = balancers_of(tuple((target_group or {}).get("LoadBalancerArns", ())))
    balancer_groups = [
        name for balancer in balancers for name in balancer.get("SecurityGroups", ())
    ]
    zones = [zone for balancer in balancers for zone in balancer.get("AvailabilityZones", ())]
    balancer_subnets = ec2.subnets([zone["SubnetId"] for zone in zones if zone.get("SubnetId")])
    yield from prerequisites.between(
        "security group",
        ("the load balancer", "the tasks"),
        port,
        list(ec2.security_groups(balancer_groups).values()),
        list(at.groups.values()),
        [subnet["CidrBlock"] for subnet in balancer_subnets.values() if "CidrBlock" in subnet],
        "No task passes the load balancer's health checks, so none stays.",
    )


def _verification(at: Place, group: TargetGroup, balancers_of: Balancers) -> Iterable[Check]:
    if not at.spec.verify:
        return
    subnets, own_group = ec2.verification_network()
    arns = [
        arn
        for name in documents.target_groups(at.service)
        for arn in (group(name) or {}).get("LoadBalancerArns", ())
    ]
    balancers = balancers_of(tuple(arns)) if at.spec.url else []
    host = urlsplit(at.spec.url or "").hostname or ""
    resolved = http.addresses(host) if balancers and not subnets else []
    yield from prerequisites.reach(at.spec, balancers, resolved, inside=bool(subnets))
    if not subnets:
        return
    own = ec2.subnets(subnets)
    yield from prerequisites.vpc_of_verification(own, subnets, at.vpcs)
    if at.spec.url or not at.served:
        return
    yield from prerequisites.between(
        "verification",
        ("the deployer", "the tasks"),
        at.served[1],
        list(ec2.security_groups([own_group]).values()),
        list(at.groups.values()),
        [subnet["CidrBlock"] for subnet in own.values() if "CidrBlock" in subnet],
        "No release of it can be verified.",
    )


def _secrets(at: Place) -> Iterable[Check]:
    role = at.definition.get("executionRoleArn")
    if not role:
        return
    checked = []
    for arn in documents.secret_arns(at.definition):
        secret, description = _describe_secret(arn, account=role.split(":")[4])
        if secret.exists is False or secret.going:
            checked.append(secret)
            continue
        # the container may omit the random suffix of a secret's ARN, which a policy may contain
        full_arn = str(description.get("ARN", arn))
        try:
            access, otherwise = iam.decision(role, prerequisites.reads(arn), full_arn)
        except ClientError:
            checked.append(secret)
            continue
        if access == "implicitDeny" and ":secretsmanager:" in arn:
            otherwise = otherwise or not description or secrets.has_policy(arn)
        checked.append(replace(secret, access=access, otherwise=otherwise))
    yield from prerequisites.secrets(role, checked)


def _describe_secret(arn: str, account: str) -> tuple[Secret, dict[str, Any]]:
    """Return a secret or parameter, and its description in AWS ({} if unreadable or missing)."""
    _, _, service, region, owner, *_ = f"{arn}:::::".split(":")
    if (region, owner) != (secrets.region(), account):
        return Secret(arn, elsewhere=True), {}
    describe = secrets.description if service == "secretsmanager" else ssm.parameter
    try:
        description = describe(arn) or {}
    except ClientError as error:
        return Secret(arn, denied=refused(error)), {}
    deleting = bool(description.get("DeletedDate"))
    return Secret(arn, exists=bool(description), going=deleting), description


def _log_groups(at: Place) -> Iterable[Check]:
    for group in documents.log_groups(at.definition):
        yield from prerequisites.log_group(group, logs.group_exists(group))


def _database(at: Place) -> Iterable[Check]:
    if not at.spec.database:
        return
    lead = at.spec.lead or at.spec.service
    name = releases.database_instance(lead, at.spec.database.instance)
    instance = rds.instance(name)
    yield from prerequisites.database(name, instance)
    if not instance:
        return
    ids = [group["VpcSecurityGroupId"] for group in instance.get("VpcSecurityGroups", ())]
    yield from prerequisites.between(
        "database",
        ("the tasks", name),
        prerequisites.database_port(instance),
        list(at.groups.values()),
        list(ec2.security_groups(ids).values()),
        at.cidrs,
        "The application cannot reach its database.",
    )

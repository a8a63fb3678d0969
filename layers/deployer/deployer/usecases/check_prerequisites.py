"""Run the checks of `deploy.prerequisites`, for a preflight, a dry run and `deployer doctor`.

Each check stands alone. Where AWS denies it or does not answer in time, its result is a warning.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deployer.aws import ec2, ecs, elb, iam, logs, rds, refused, secrets, ssm
from deployer.check import WARNING, Check
from deployer.deploy import prerequisites
from deployer.deploy.preflight import NEEDED
from deployer.deploy.prerequisites import Description, Secret
from deployer.deploy.release import Release
from deployer.deploy.spec import ServiceSpec
from deployer.errors import AwsUnavailable
from deployer.store import releases

type Look = Callable[[], Iterable[Check]]

_SECONDS = 15  # what AWS does not tell a preflight by then, the rollout will


@dataclass(frozen=True)
class Place:
    """A spec, and the subnets and security groups of it that exist, described, by id."""

    spec: ServiceSpec
    subnets: Mapping[str, Description]
    groups: Mapping[str, Description]

    @property
    def vpcs(self) -> set[str]:
        return {subnet["VpcId"] for subnet in self.subnets.values()}

    @property
    def cidrs(self) -> list[str]:
        return [subnet["CidrBlock"] for subnet in self.subnets.values() if "CidrBlock" in subnet]


def place(spec: ServiceSpec) -> Place:
    """Where a spec's tasks live."""
    network = spec.network
    return Place(spec, ec2.subnets(network.subnets), ec2.security_groups(network.security_groups))


def all_checks(at: Place) -> Mapping[str, Look]:
    """What can be looked at, by name; each asks AWS when it is called, and raises what AWS says."""
    return {
        "cluster": lambda: _cluster(at),
        "service": lambda: prerequisites.service(
            at.spec, ecs.service(at.spec.cluster, at.spec.service)
        ),
        "roles": lambda: _roles(at),
        "network": lambda: prerequisites.network(at.spec, at.subnets, at.groups),
        "way to ECR": lambda: _way_out(at),
        "security group": lambda: _groups(at),
        "target group": lambda: _target_group(at),
        "secrets": lambda: _secrets(at),
        "log group": lambda: _log_group(at),
        "database": lambda: _database(at),
    }


def before(release: Release, spec: ServiceSpec) -> list[Check]:
    """What is looked at before a release changes anything, within the time that there is for it.

    Raises:
        AwsUnavailable, ClientError: what is NEEDED can't be looked at.
    """
    deadline, checks = time.monotonic() + _SECONDS, list[Check]()
    around = all_checks(place(spec))
    for name, look in around.items():
        if name in NEEDED:
            checks += look()
        elif name == "service":
            continue  # the preflight looks at the service by itself, when reads no longer lag
        elif name == "database" and release.get("restore"):
            continue  # that it is broken is why it is restored
        elif time.monotonic() > deadline:
            checks.append(Check(name, WARNING, "skipped: earlier checks used up the time limit"))
        else:
            checks += guarded(name, look)
    return checks


def guarded(name: str, look: Look) -> list[Check]:
    """Return the results of a check; that AWS did not let it run is a warning."""
    found: list[Check] = []
    try:
        for check in look():
            found.append(check)
    except (AwsUnavailable, BotoCoreError, ClientError) as error:
        found.append(unseen(name, error))
    return found


def unseen(name: str, error: Exception) -> Check:
    """Return the warning that a check could not run."""
    if isinstance(error, ClientError) and refused(error):
        return prerequisites.denied(name, f"not checked: {error}")
    return Check(name, WARNING, f"not checked: {error}")


def _cluster(at: Place) -> Iterable[Check]:
    yield from prerequisites.cluster(at.spec, ecs.cluster_status(at.spec.cluster))


def _roles(at: Place) -> Iterable[Check]:
    arns = [arn for arn in (at.spec.execution_role, at.spec.task_role) if arn]
    yield from prerequisites.roles({arn: iam.role_exists(arn) for arn in arns})


def _way_out(at: Place) -> Iterable[Check]:
    vpcs = sorted(at.vpcs)
    yield from prerequisites.way_out(
        at.spec, at.subnets, ec2.route_tables(vpcs), ec2.endpoints(vpcs)
    )


def _groups(at: Place) -> Iterable[Check]:
    groups = list(at.groups.values())
    yield from prerequisites.way_to_port(443, groups)
    yield from prerequisites.public_port(at.spec, groups)


def _target_group(at: Place) -> Iterable[Check]:
    if not at.spec.load_balancer:
        return
    arn = at.spec.load_balancer.target_group
    found = elb.target_group(arn)
    healthy = bool(found and elb.healthy_addresses(arn))
    yield from prerequisites.target_group(at.spec, found, at.vpcs, healthy)
    balancers = elb.load_balancers((found or {}).get("LoadBalancerArns", ()))
    sending = [name for balancer in balancers for name in balancer.get("SecurityGroups", ())]
    zones = [zone for balancer in balancers for zone in balancer.get("AvailabilityZones", ())]
    theirs = ec2.subnets([zone["SubnetId"] for zone in zones if zone.get("SubnetId")])
    yield from prerequisites.between(
        "security group",
        ("the load balancer", "the tasks"),
        at.spec.container.port,
        list(ec2.security_groups(sending).values()),
        list(at.groups.values()),
        [subnet["CidrBlock"] for subnet in theirs.values() if "CidrBlock" in subnet],
        "No task passes the load balancer's health checks, so none stays.",
    )


def _secrets(at: Place) -> Iterable[Check]:
    role = at.spec.execution_role
    found = []
    for arn in prerequisites.secret_arns(at.spec):
        secret, described = _described(arn, account=role.split(":")[4])
        if secret.there is False or secret.going:
            found.append(secret)
            continue
        # a spec may leave out the end that Secrets Manager gave the ARN, which a policy may have
        whole = str(described.get("ARN", arn))
        try:
            access, otherwise = iam.decision(role, prerequisites.reads(arn), whole)
        except ClientError:
            found.append(secret)
            continue
        if access == "implicitDeny" and ":secretsmanager:" in arn:
            otherwise = otherwise or not described or secrets.has_policy(arn)
        found.append(replace(secret, access=access, otherwise=otherwise))
    yield from prerequisites.secrets(at.spec, found)


def _described(arn: str, account: str) -> tuple[Secret, dict[str, Any]]:
    """Return a secret or parameter as far as AWS describes it, and its description."""
    _, _, service, region, owner, *_ = f"{arn}:::::".split(":")
    if (region, owner) != (secrets.region(), account):
        return Secret(arn, elsewhere=True), {}
    describe = secrets.description if service == "secretsmanager" else ssm.parameter
    try:
        described = describe(arn) or {}
    except ClientError as error:
        return Secret(arn, denied=refused(error)), {}
    going = bool(described.get("DeletedDate"))
    return Secret(arn, there=bool(described), going=going), described


def _log_group(at: Place) -> Iterable[Check]:
    yield from prerequisites.log_group(at.spec, logs.group_exists(at.spec.log_group))


def _database(at: Place) -> Iterable[Check]:
    if not at.spec.database:
        return
    name = releases.database_instance(at.spec.service, at.spec.database.instance)
    found = rds.instance(name)
    yield from prerequisites.database(name, found)
    if not found:
        return
    ids = [group["VpcSecurityGroupId"] for group in found.get("VpcSecurityGroups", ())]
    yield from prerequisites.between(
        "database",
        ("the tasks", name),
        prerequisites.database_port(found),
        list(at.groups.values()),
        list(ec2.security_groups(ids).values()),
        at.cidrs,
        "The application cannot reach its database.",
    )

"""Run the checks of `deploy.prerequisites`, for a preflight, a dry run and `deployer doctor`.

The checks are independent. If AWS denies a call or does not answer in time, the result is a
warning.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deployer.aws import alarms, ec2, ecs, elb, iam, logs, rds, refused, secrets, ssm
from deployer.check import WARNING, Check
from deployer.deploy import prerequisites
from deployer.deploy.preflight import NEEDED
from deployer.deploy.prerequisites import Description, Secret
from deployer.deploy.release import Release
from deployer.deploy.spec import ServiceSpec
from deployer.errors import AwsUnavailable
from deployer.store import releases

type Look = Callable[[], Iterable[Check]]

_SECONDS = 15  # time limit of a preflight's checks; the rollout finds what they miss


@dataclass(frozen=True)
class Place:
    """A spec, and the descriptions of its existing subnets and security groups, by id."""

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
    """Return the spec with its subnets and security groups as they exist."""
    network = spec.network
    return Place(spec, ec2.subnets(network.subnets), ec2.security_groups(network.security_groups))


def all_checks(at: Place) -> Mapping[str, Look]:
    """Return all checks by name. A check calls AWS when it is run, and raises AWS's errors."""
    return {
        "cluster": lambda: _cluster(at),
        "service": lambda: prerequisites.service(
            at.spec, ecs.service(at.spec.cluster, at.spec.service)
        ),
        "roles": lambda: _roles(at),
        "network": lambda: prerequisites.network(at.spec, at.subnets, at.groups),
        "way to ECR": lambda: _ecr_access(at),
        "security group": lambda: _groups(at),
        "target group": lambda: _target_group(at),
        "secrets": lambda: _secrets(at),
        "log group": lambda: _log_group(at),
        "alarms": lambda: prerequisites.alarms(at.spec, alarms.states(at.spec.alarms)),
        "database": lambda: _database(at),
    }


def before(release: Release, spec: ServiceSpec) -> list[Check]:
    """Run the checks before a release changes anything, within the time limit.

    Raises:
        AwsUnavailable, ClientError: a NEEDED check could not run.
    """
    deadline, results = time.monotonic() + _SECONDS, list[Check]()
    checks_by_name = all_checks(place(spec))
    for name, run_check in checks_by_name.items():
        if name in NEEDED:
            results += run_check()
        elif name == "service":
            continue  # the preflight checks the service itself, once reads no longer lag
        elif name == "database" and release.get("restore"):
            continue  # it is restored because it is broken
        elif time.monotonic() > deadline:
            results.append(Check(name, WARNING, "skipped: earlier checks used up the time limit"))
        else:
            results += guarded(name, run_check)
    return results


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


def _roles(at: Place) -> Iterable[Check]:
    arns = [arn for arn in (at.spec.execution_role, at.spec.task_role) if arn]
    yield from prerequisites.roles({arn: iam.role_exists(arn) for arn in arns})


def _ecr_access(at: Place) -> Iterable[Check]:
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
    target_group = elb.target_group(arn)
    healthy = bool(target_group and elb.healthy_addresses(arn))
    yield from prerequisites.target_group(at.spec, target_group, at.vpcs, healthy)
    balancers = elb.load_balancers((target_group or {}).get("LoadBalancerArns", ()))
    balancer_groups = [
        name for balancer in balancers for name in balancer.get("SecurityGroups", ())
    ]
    zones = [zone for balancer in balancers for zone in balancer.get("AvailabilityZones", ())]
    balancer_subnets = ec2.subnets([zone["SubnetId"] for zone in zones if zone.get("SubnetId")])
    yield from prerequisites.between(
        "security group",
        ("the load balancer", "the tasks"),
        at.spec.container.port,
        list(ec2.security_groups(balancer_groups).values()),
        list(at.groups.values()),
        [subnet["CidrBlock"] for subnet in balancer_subnets.values() if "CidrBlock" in subnet],
        "No task passes the load balancer's health checks, so none stays.",
    )


def _secrets(at: Place) -> Iterable[Check]:
    role = at.spec.execution_role
    checked = []
    for arn in prerequisites.secret_arns(at.spec):
        secret, description = _describe_secret(arn, account=role.split(":")[4])
        if secret.there is False or secret.going:
            checked.append(secret)
            continue
        # the spec may omit the random suffix of a secret's ARN, which a policy may contain
        full_arn = str(description.get("ARN", arn))
        try:
            access, otherwise = iam.decision(role, prerequisites.reads(arn), full_arn)
        except ClientError:
            checked.append(secret)
            continue
        if access == "implicitDeny" and ":secretsmanager:" in arn:
            otherwise = otherwise or not description or secrets.has_policy(arn)
        checked.append(replace(secret, access=access, otherwise=otherwise))
    yield from prerequisites.secrets(at.spec, checked)


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
    return Secret(arn, there=bool(description), going=deleting), description


def _log_group(at: Place) -> Iterable[Check]:
    yield from prerequisites.log_group(at.spec, logs.group_exists(at.spec.log_group))


def _database(at: Place) -> Iterable[Check]:
    if not at.spec.database:
        return
    name = releases.database_instance(at.spec.service, at.spec.database.instance)
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

"""Check what a release of a service needs: cluster, network, roles, secrets, and so on.

The preflight runs these checks before any change, `deployer doctor` on request. FAILED cannot work.
WARNING may work; it stops a deployment only if AWS denied the check (see `preflight.check`).
Descriptions are those of AWS's Describe calls. Imports decisions only, no AWS.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any

from deployer import presets
from deployer.check import FAILED, OK, WARNING, Check, Repair
from deployer.deploy import documents, schedule_expressions
from deployer.deploy import service as services
from deployer.deploy.documents import Document
from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec, Verification, containers_named, is_secret
from deployer.redaction import redact

type Description = Mapping[str, Any]

ANYWHERE = "0.0.0.0/0"
_INSIDE = "set VerifySubnetIds and VerifySecurityGroupId of the deployer's stack"
_PARAMETERS = {
    "cluster": "ClusterName",
    "roles": "ExecutionRolePattern and TaskRolePattern",
    "secrets": "SecretArns",
    "log group": "LogGroupPattern",
    "database": "DatabasePattern",
}
"""The parameters of the deployer's stack that give it permissions, by the check that needs them."""
_DELETED = ("deleting", "deleted", "failed", "rejected", "expired")
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
_UNUSABLE_DATABASE = (
    *("deleting", "failed", "inaccessible-encryption-credentials", "inaccessible-encryption"),
    *("incompatible-network", "incompatible-parameters", "incompatible-restore"),
    *("restore-error", "stopped", "stopping", "storage-full"),
)


_ROLE = (
    "infrastructure/service.yaml makes it: update the service's stack. For a service without one,"
    " docs/deploy.md says how, under Scheduled tasks"
)


# What the spec names -----------------------------------------------------------------------------


def cluster(spec: ServiceSpec, status: str | None) -> Iterator[Check]:
    """Check that the cluster can run tasks.

    Args:
        status: the cluster's, or MISSING; None without permission to describe it.
    """
    fix = (
        "Correct cluster in the service spec, or ClusterName of the deployer's stack. List them:",
        "  aws ecs list-clusters",
    )
    if status == "ACTIVE":
        yield Check("cluster", OK, f"{spec.cluster} is ACTIVE")
    elif status:
        message = f"cluster {spec.cluster} is {'missing' if status == 'MISSING' else status}"
        yield Check("cluster", FAILED, message, fix, "No task starts.")
    else:
        yield denied("cluster", f"no permission to describe cluster {spec.cluster}")


def moved(
    spec: ServiceSpec, live: Recorded, earlier_service: Description | None
) -> Iterator[Check]:
    """Check that a service whose spec names another cluster does not go on in the earlier one.

    Args:
        live: the live release, deployed to the earlier cluster.
        earlier_service: the service in the earlier cluster; None if it is gone.
    """
    if earlier_service is None:
        return
    earlier = live["cluster"]
    yield Check(
        "cluster",
        FAILED,
        f"{spec.service} runs in cluster {earlier}, where {live['version']} is live, and the"
        f" service spec names cluster {spec.cluster}: it would run in both",
        (
            f"Name cluster {earlier} in the service spec again, or delete the service there first:",
            f"  aws ecs delete-service --cluster {earlier} --service {spec.service} --force",
        ),
        "Nobody would deploy to the earlier one any more.",
    )


def tasks(spec: ServiceSpec, definition: Description) -> Iterator[Check]:
    """Check that the tasks beside the service's have a container to run in.

    Args:
        definition: the next release's task definition.
    """
    tasks = {"before": spec.before, "after": spec.after}
    commands = {which: one.command for which, one in tasks.items() if one}
    commands |= {f"schedules.{name}": one.command for name, one in spec.schedules.items()}
    for path, container in containers_named(spec):
        if missing := documents.no_container(container, definition):
            fix = (f"Correct {path} in the service spec.",)
            yield Check("one-off tasks", FAILED, f"{path}: {missing}", fix, "It cannot run.")
        else:
            which = path.removesuffix(".container")
            yield Check("one-off tasks", OK, f"{which}: {redact(' '.join(commands[which]))}")


def schedules(
    spec: ServiceSpec, service: Document, role: str, trust: Document | None, now: datetime
) -> Iterator[Check]:
    """Check that the scheduled tasks can run.

    Args:
        service: the service as it would be.
        role: the name of the role in which Scheduler runs them.
        trust: the role's trust policy; None if the role does not exist.
    """
    name, useless = "schedules", "No schedule could run a task."
    for key, schedule in spec.schedules.items():
        if why := schedule_expressions.problem(schedule.expression, now.year):
            fix = (f"Correct or remove schedules.{key} in the service spec.",)
            yield Check(name, FAILED, f"schedules.{key}.schedule: {why}", fix)
    if service.get("volumeConfigurations"):
        fix = ("Leave out schedules, or the service's volumeConfigurations.",)
        finding = "EventBridge Scheduler cannot give tasks the volumes that the service's have"
        yield Check(name, FAILED, finding, fix, useless)
    if trust is None:
        yield Check(name, FAILED, f"role {role} does not exist", (_ROLE,), useless)
    elif "scheduler.amazonaws.com" not in json.dumps(trust):
        finding = f"role {role} does not trust scheduler.amazonaws.com"
        yield Check(name, FAILED, finding, (_ROLE,), useless)
    else:
        yield Check(name, OK, f"{', '.join(spec.schedules)}, in the role {role}")


def alarms(spec: ServiceSpec, states: Mapping[str, str]) -> Iterator[Check]:
    """Check that the alarms that a release must not raise exist.

    Args:
        states: OK, ALARM or INSUFFICIENT_DATA, by name, of those that exist.
    """
    fix = ("Correct alarms in the service spec. List them:", "  aws cloudwatch describe-alarms")
    for name in spec.alarms:
        if name not in states:
            yield Check("alarms", FAILED, f"alarm {name} does not exist", fix, "It guards nothing.")
        elif states[name] == "ALARM":
            finding = f"alarm {name} is raised already, so it cannot tell whether a release is bad"
            why = "A release goes live in spite of it."
            yield Check("alarms", WARNING, finding, (), why)
        else:
            yield Check("alarms", OK, f"{name} is {states[name]}")


def network(
    vpc: Description, subnets: Mapping[str, Description], groups: Mapping[str, Description]
) -> Iterator[Check]:
    """Check that the subnets and security groups exist and belong to one VPC.

    Args:
        vpc: the service's `awsvpcConfiguration`.
        subnets, groups: those that exist, by id.
    """
    named = documents.names(vpc, "subnets")
    problems = [f"subnet {name} is missing" for name in named if name not in subnets]
    problems += [
        f"security group {name} is missing"
        for name in documents.names(vpc, "securityGroups")
        if name not in groups
    ]
    vpcs = sorted(
        {str(description.get("VpcId")) for description in (*subnets.values(), *groups.values())}
    )
    if len(vpcs) > 1:
        problems.append(f"subnets and security groups belong to several VPCs: {', '.join(vpcs)}")
    fix = (
        "Correct networkConfiguration of the service:",
        "  make deploy MODE=infrastructure",
    )
    for problem in problems:
        yield Check("network", FAILED, problem, fix, "No task starts.")
    if not problems:
        yield Check("network", OK, f"{', '.join(vpcs)}, with the service's subnets and groups")


def roles(exists_by_arn: Mapping[str, bool | None]) -> Iterator[Check]:
    """Check that the tasks' roles exist.

    Args:
        exists_by_arn: whether each role exists; None without permission to get it.
    """
    for arn, exists in exists_by_arn.items():
        if exists:
            yield Check("roles", OK, arn.rpartition("/")[2])
        elif exists is False:
            fix = ("Create it:", "  make deploy MODE=infrastructure")
            yield Check("roles", FAILED, f"role {arn} does not exist", fix, "No task starts.")
        else:
            yield denied("roles", f"no permission to get role {arn}")


def denied(name: str, message: str) -> Check:
    """Return the result of a check that AWS denied, with how to get the permission."""
    fix = ["For people: attach DiagnosisPolicy of the deployer's stack."]
    if name in _PARAMETERS:
        fix.insert(0, f"For the preflight: name it in {_PARAMETERS[name]} of the deployer's stack.")
    return Check(name, WARNING, message, tuple(fix), denied=True)


def service(spec: ServiceSpec, description: Description | None) -> Iterator[Check]:
    """Check that the deployer can judge rollouts of the current service.

    Only the controller ECS sets `rolloutState`. It covers all tasks only with the strategy ROLLING
    and without early success criteria:
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html

    Args:
        description: as DescribeServices returns it; None before the service exists.
    """
    description = description or {}
    configuration = description.get("deploymentConfiguration", {})
    controller = description.get("deploymentController", {}).get("type", "ECS")
    strategy = configuration.get("strategy", "ROLLING")
    update = f"  aws ecs update-service --cluster {spec.cluster} --service {spec.service}"
    problems, fixes = [], []
    if controller != "ECS":
        problems.append(f"has the deployment controller {controller}, not ECS")
        fixes.append(f"{update} --deployment-controller type=ECS")
    if strategy != "ROLLING":
        problems.append(f"has the deployment strategy {strategy}, not ROLLING")
        fixes.append(f"{update} --deployment-configuration strategy=ROLLING")
    if configuration.get("earlySuccessCriteria", {}).get("enable"):
        problems.append("lets ECS complete a rollout before all tasks are healthy")
        fixes.append(
            f'{update} --deployment-configuration \'{{"earlySuccessCriteria":'
            ' {"enable": false}}\''
        )
    if problems:
        message = f"service {spec.service} {', '.join(problems)}: its rollouts can't be judged"
        yield Check(
            "service", FAILED, message, ("Change that, or deploy it by other means:", *fixes)
        )
    elif description:
        yield Check("service", OK, f"{spec.service} is deployed by ECS's rolling updates")


# ECS's documents ---------------------------------------------------------------------------------


def definitions(invalid: Sequence[tuple[str, str]]) -> Iterator[Check]:
    """Check the spec's ECS documents.

    Args:
        invalid: the path of each field that ECS does not take, and why.
    """
    if invalid:
        wrong = "; ".join(f"{path}: {why}" for path, why in invalid)
        message = f"the service spec has {len(invalid)} wrong field(s): {wrong}"
        yield Check("definitions", FAILED, message, ("Correct them in the service spec.",))


def definition(
    spec: ServiceSpec,
    document: Document,
    service: Document,
    current: Service | None,
    *,
    inside: bool = False,
) -> Iterator[Check]:
    """Check that a task definition can run as the service, and be verified there.

    Args:
        document: the task definition of the next release, without its image.
        service: the service as it would be.
        current: the service as it is; None if it does not exist.
        inside: whether releases are verified from inside the VPC.
    """
    name, in_ecs = "definitions", not isinstance(spec.task_definition, Mapping)
    problems = [
        *_launch_problems(document, service),
        *_verification_problems(spec, document, service, inside),
    ]
    if current is None and spec.service_definition is None:
        problems.append(
            f"service {spec.service} does not exist in cluster {spec.cluster}, and the spec has no"
            " serviceDefinition to create it. Correct service and cluster; or add it, such as"
            ' {"launchType": "FARGATE", "networkConfiguration": {…}}'
        )
    container = documents.container(document, documents.release_container(spec, document))
    if in_ecs:
        problems += [
            f"{field} of container {container.get('name')} {why}"
            for field, why in presets.named(spec.preset).problems(container, spec.url)
        ]
    for problem in problems:
        fix = ("Correct the service spec, or the task definition and service in ECS.",)
        yield Check(name, FAILED, problem, fix, "No release can work.")
    plain = [
        f"{variable} of {one.get('name')}"
        for one in (documents.containers(document) if in_ecs else ())
        for variable, value in documents.variables(one).items()
        if is_secret(variable, value)
    ]
    if plain:
        message = f"{', '.join(plain)} look like secrets in plain environment"
        fix = ("Store them in Secrets Manager, and name them under secrets.",)
        yield Check(name, WARNING, message, fix, "All who may describe the task can read them.")
    if not problems and not plain:
        yield Check(name, OK, f"releases of {document.get('family')} run in {container['name']}")


def _launch_problems(definition: Document, service: Document) -> Iterator[str]:
    """Yield why tasks of a task definition cannot run where the service's run."""
    requires = definition.get("requiresCompatibilities")
    launch = service.get("launchType")
    strategy = documents.listed(service, "capacityProviderStrategy")
    providers = {str(entry.get("capacityProvider")) for entry in strategy}
    if strategy:
        fargate = providers <= {"FARGATE", "FARGATE_SPOT"}
        launch = "FARGATE" if fargate else None  # others may be of EC2 or of machines of their own
    if requires and launch and launch not in requires:
        yield (
            f"the task definition requires {', '.join(requires)}, and the service's tasks run on"
            f" {launch}: name a task definition with requiresCompatibilities {launch}"
        )


def _verification_problems(
    spec: ServiceSpec, definition: Document, service: Document, inside: bool
) -> Iterator[str]:
    """Yield why a release cannot be verified over HTTP."""
    if not spec.verify or spec.url:
        return
    if not documents.has_public_ip(service) and not inside:
        yield (
            "verify needs an address that the deployer reaches, and the tasks have private ones:"
            f" {_INSIDE}; or name the load balancer's URL in `url`, or give the tasks a public IP"
            " (assignPublicIp ENABLED), or leave verify out"
        )
    elif documents.served(definition, spec.container, spec.repository) is None:
        yield "verify needs a port, and no container has portMappings: add one, or leave verify out"


def update(spec: ServiceSpec, current: Service, document: Document) -> Iterator[Check]:
    """Check that the update removes nothing of the service that the spec does not name.

    Args:
        current: the service now.
        document: the task definition of the next release.
    """
    name = "service"
    request = services.update(spec, current, "", True, document)
    for removed in services.removals(current, request):
        yield Check(
            name,
            FAILED,
            f"the update would remove {removed} from {spec.service}",
            (
                "Name it in the same field of serviceDefinition, or leave the field out: what the"
                " spec does not name stays as it is.",
            ),
            "The service has it, and the spec does not name it.",
        )
    named = spec.service_definition or {}
    fixed = [
        f"{field} is {current[field]}, not {named[field]}"
        for field in ("launchType", "schedulingStrategy")
        if field in named and current.get(field) not in (None, named[field])
    ]
    if fixed:
        message = f"{'; '.join(fixed)}: ECS takes it at the creation only"
        yield Check(name, WARNING, message, ("Correct it in serviceDefinition.",))


# The way out -------------------------------------------------------------------------------------


def way_out(
    vpc: Description,
    subnets: Mapping[str, Description],
    tables: Sequence[Description],
    endpoints: Sequence[Description],
) -> Iterator[Check]:
    """Check that the tasks can reach ECR from each subnet, to pull images.

    The route may lead through a gateway of any kind, or to the VPC's own endpoints for ECR.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-networking.html

    Args:
        vpc: the service's `awsvpcConfiguration`.
        subnets: by id.
        tables: the route tables of the subnets' VPCs.
        endpoints: those VPCs' endpoints.
    """
    name = "way to ECR"
    routes = []
    for subnet in documents.names(vpc, "subnets"):
        vpc_id = subnets.get(subnet, {}).get("VpcId")
        table = _table(subnet, vpc_id, tables)
        if table is None:
            yield Check(name, WARNING, f"the route table of {subnet} is unknown")
            continue
        default_routes = [route for route in table.get("Routes", ()) if _leads_out(route)]
        gateways = {
            _gateway(route) for route in default_routes if route.get("State") != "blackhole"
        }
        service_names = {
            str(endpoint.get("ServiceName", "")).split(".", 3)[-1]
            for endpoint in endpoints
            if endpoint.get("VpcId") == vpc_id and endpoint.get("State", "").lower() not in _DELETED
        }
        if service_names >= {"ecr.api", "ecr.dkr"}:
            routes.append(f"{subnet} by endpoints")
        elif not gateways:
            blackhole = any(route.get("State") == "blackhole" for route in default_routes)
            problem = "leads to a deleted gateway" if blackhole else "has no route out of the VPC"
            yield Check(
                name,
                FAILED,
                f"route table {table['RouteTableId']} of {subnet} {problem}, and the VPC has no"
                " endpoints for ECR",
                (
                    "Give it a route to an internet gateway (tasks with a public IP) or a NAT"
                    " gateway (without), or the VPC endpoints for ecr.api, ecr.dkr, S3, logs and"
                    " secretsmanager:",
                    f"  aws ec2 create-route --route-table-id {table['RouteTableId']}"
                    f" --destination-cidr-block {ANYWHERE} --gateway-id"
                    ' "$(aws ec2 describe-internet-gateways --output text --query'
                    " 'InternetGateways[0].InternetGatewayId' --filters"
                    f' Name=attachment.vpc-id,Values={table.get("VpcId", "")})"',
                ),
                "Tasks there cannot pull images, read secrets or write logs.",
            )
        elif (
            all(gateway.startswith("igw-") for gateway in gateways)
            and vpc.get("assignPublicIp") != "ENABLED"
        ):
            yield Check(
                name,
                FAILED,
                f"{subnet} reaches the internet only through an internet gateway, and the tasks"
                " have no public IP",
                (
                    "Set assignPublicIp to ENABLED, or name subnets with a route to a"
                    " NAT gateway (PrivateTasks):",
                    "  make deploy MODE=infrastructure",
                ),
                "An internet gateway forwards traffic of public IPs only.",
            )
        else:
            routes.append(f"{subnet} by {', '.join(sorted(gateways))}")
    if routes:
        yield Check(name, OK, "; ".join(routes))


def _table(subnet: str, vpc: str | None, tables: Sequence[Description]) -> Description | None:
    """Return a subnet's route table: its own, or else the VPC's main one; None if unknown."""
    own = [t for t in tables for a in t.get("Associations", ()) if a.get("SubnetId") == subnet]
    main = [
        table
        for table in tables
        if table.get("VpcId") == vpc and any(a.get("Main") for a in table.get("Associations", ()))
    ]
    return next(iter([*own, *main]), None)


def _leads_out(route: Description) -> bool:
    """Return whether a route leads out of the VPC, not to an endpoint (S3, DynamoDB)."""
    gateway = _gateway(route)
    return gateway not in ("", "local") and not gateway.startswith("vpce-")


def _gateway(route: Description) -> str:
    targets = (
        *("GatewayId", "NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId"),
        *("VpcPeeringConnectionId", "LocalGatewayId", "CarrierGatewayId", "CoreNetworkArn"),
    )
    return next((str(route[name]) for name in targets if route.get(name)), "")


# Where a release is verified from ----------------------------------------------------------------


def reach(
    spec: ServiceSpec, balancers: Sequence[Description], resolved: Sequence[str], *, inside: bool
) -> Iterator[Check]:
    """Check that the URL at which a release is verified can be reached from there.

    Args:
        balancers: the service's load balancers.
        resolved: the addresses to which the URL's host resolves.
        inside: whether releases are verified from inside the VPC.
    """
    if not (spec.verify and spec.url) or inside or not balancers:
        return
    internal = all(balancer.get("Scheme") == "internal" for balancer in balancers)
    if internal and all(ip_address(address).is_private for address in resolved):
        names = ", ".join(str(balancer.get("LoadBalancerName")) for balancer in balancers)
        fix: tuple[str, ...] = (
            f"In environments/, {_INSIDE}:",
            "  make deploy MODE=infrastructure",
            "Or leave verify out of the service spec.",
        )
        message = f"load balancer {names} is internal, and the deployer is not in the VPC"
        yield Check("verification", FAILED, message, fix, "No release of it can be verified.")


def vpc_of_verification(
    own: Mapping[str, Description], named: Sequence[str], vpcs: set[str]
) -> Iterator[Check]:
    """Check the subnets from which releases are verified.

    Args:
        own: those that exist, by id.
        named: those that the deployer's stack names.
        vpcs: the VPCs of the tasks' subnets.
    """
    name, theirs = "verification", {str(subnet.get("VpcId")) for subnet in own.values()}
    if missing := [subnet for subnet in named if subnet not in own]:
        message = f"{', '.join(missing)} in VerifySubnetIds do not exist"
        fix: tuple[str, ...] = ("Correct it in environments/:", "  make deploy MODE=infrastructure")
        yield Check(name, FAILED, message, fix, "No release can be verified.")
    elif vpcs and not theirs <= vpcs:
        message = f"the deployer verifies from {', '.join(sorted(theirs))}, and the tasks are in"
        fix = ("Unless the VPCs are connected, name subnets of the tasks' VPC in VerifySubnetIds.",)
        yield Check(name, WARNING, f"{message} {', '.join(sorted(vpcs))}", fix)


# Security groups ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sources:
    """The sources, or destinations, that security groups' rules allow on a port."""

    cidrs: frozenset[str]
    lists: frozenset[str]
    groups: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.cidrs or self.lists or self.groups)


def _sources(groups: Sequence[Description], port: int, direction: str = "") -> _Sources:
    """Return the sources that the groups allow on a port.

    Args:
        direction: `Egress` for the destinations that they allow.
    """
    rules = [
        rule
        for group in groups
        for rule in group.get(f"IpPermissions{direction}", ())
        if str(rule.get("IpProtocol")) in ("-1", "tcp", "6")
        and (rule.get("FromPort") in (None, -1) or rule["FromPort"] <= port <= rule["ToPort"])
    ]
    return _Sources(
        cidrs=frozenset(r["CidrIp"] for rule in rules for r in rule.get("IpRanges", ())),
        lists=frozenset(r["PrefixListId"] for rule in rules for r in rule.get("PrefixListIds", ())),
        groups=frozenset(p["GroupId"] for rule in rules for p in rule.get("UserIdGroupPairs", ())),
    )


def public_port(port: int, verified: bool, groups: Sequence[Description]) -> Iterator[Check]:
    """Check that people can reach the tasks at their public addresses.

    Args:
        port: on which the tasks listen.
        verified: whether a release is verified there.
        groups: the tasks' security groups.
    """
    if not groups:
        return
    name, first = "security group", groups[0]["GroupId"]
    ids = ", ".join(group["GroupId"] for group in groups)
    allowed = _sources(groups, port)
    if ANYWHERE in allowed.cidrs:
        yield Check(name, OK, f"{ids} allows everyone on port {port}")
    elif allowed.cidrs or allowed.lists:
        sources = ", ".join(sorted(allowed.cidrs | allowed.lists))
        message = f"{ids} allows only {sources} on port {port}"
        why = "The deployer sends requests from the internet, so it cannot verify a release there."
        yield Check(name, WARNING if verified else OK, message, why=why if verified else "")
    else:
        yield Check(
            name,
            FAILED if verified else WARNING,
            f"{ids} allows nobody from outside on port {port}",
            (
                "Allow everyone, or only your own addresses:",
                _open_command(first, port, f"--cidr {ANYWHERE}"),
            ),
            "Nobody can reach the service, and no release of it can be verified.",
            repair=_open_port(first, port, cidr=ANYWHERE),
        )


def way_to_port(port: int, groups: Sequence[Description]) -> Iterator[Check]:
    """Check whether the tasks may call AWS, over HTTPS. `groups`: the tasks' security groups."""
    if any("IpPermissionsEgress" in group for group in groups) and not _sources(
        groups, port, "Egress"
    ):
        group = groups[0]["GroupId"]
        yield Check(
            "security group",
            FAILED,
            f"{group} allows no outbound traffic on port {port}",
            (
                "Allow it:",
                f"  aws ec2 authorize-security-group-egress --group-id {group}"
                f" --protocol tcp --port {port} --cidr {ANYWHERE}",
            ),
            "Tasks cannot pull images, read secrets or write logs.",
        )


def _open_command(group: str, port: int, source: str) -> str:
    return (
        f"  aws ec2 authorize-security-group-ingress --group-id {group}"
        f" --protocol tcp --port {port} {source}"
    )


def _open_port(group: str, port: int, **source: str) -> Repair:
    source_name = source.get("cidr") or source["from_group"]
    clients = "anyone" if source_name == ANYWHERE else source_name
    return Repair(
        f"allow {clients} in {group} on port {port}",
        "open-port",
        {"group": group, "port": port, **source},
    )


def between(
    name: str,
    what: tuple[str, str],
    port: int,
    sending: Sequence[Description],
    receiving: Sequence[Description],
    cidrs: Sequence[str],
    why: str,
) -> Iterator[Check]:
    """Check that one side can connect to the other through their security groups.

    Args:
        what: both sides in words, such as `the load balancer` and `the tasks`.
        cidrs: the ranges of the sending side's addresses.
    """
    if not sending or not receiving:
        return
    ids = {group["GroupId"] for group in sending}
    allowed = _sources(receiving, port)
    to, source = receiving[0]["GroupId"], sending[0]["GroupId"]
    if not (allowed.groups & ids or allowed.lists or _overlap(allowed.cidrs, cidrs)):
        yield Check(
            name,
            FAILED,
            f"{to} of {what[1]} does not allow {what[0]} ({', '.join(sorted(ids))}) on port {port}",
            (f"Allow {what[0]}:", _open_command(to, port, f"--source-group {source}")),
            why,
            repair=_open_port(to, port, from_group=source),
        )
    elif any("IpPermissionsEgress" in g for g in sending) and not _sources(sending, port, "Egress"):
        yield Check(
            name,
            FAILED,
            f"{source} of {what[0]} allows no outbound traffic on port {port}",
            (
                f"Allow it to {what[1]}:",
                f"  aws ec2 authorize-security-group-egress --group-id {source} --ip-permissions"
                f" IpProtocol=tcp,FromPort={port},ToPort={port},"
                f"UserIdGroupPairs='[{{GroupId={to}}}]'",
            ),
            why,
        )
    else:
        yield Check(name, OK, f"{what[0]} can connect to {what[1]} on port {port}")


def _overlap(rules: frozenset[str], cidrs: Sequence[str]) -> bool:
    """Return whether a rule's range contains any of the addresses; also if those are unknown."""
    if not rules or not cidrs:
        return bool(rules)
    return any(
        ip_network(rule, strict=False).overlaps(ip_network(cidr, strict=False))
        for rule in rules
        for cidr in cidrs
    )


# Secrets and the log -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Secret:
    """A secret, or an SSM parameter, that a container names.

    Attributes:
        arn: without a JSON key or version.
        exists: None if that is unknown.
        denied: whether AWS denied the caller the permission to describe it.
        elsewhere: whether it belongs to another account or Region, so that it cannot be described.
        going: whether it is scheduled for deletion.
        access: the execution role's, as SimulatePrincipalPolicy decides: allowed, explicitDeny,
            implicitDeny; None if unknown.
        otherwise: whether the real access may differ, by the secret's own policy, a condition, or
            the end of its ARN if the container leaves that out.
    """

    arn: str
    exists: bool | None = None
    denied: bool = False
    elsewhere: bool = False
    going: bool = False
    access: str | None = None
    otherwise: bool = False


def secrets(execution_role: str, descriptions: Sequence[Secret]) -> Iterator[Check]:
    """Check that the secrets exist and that the execution role, an ARN, can read them."""
    name, why, readable = "secrets", "No task starts without it.", 0
    for secret in descriptions:
        short = secret.arn.rpartition(":")[2]
        if secret.exists is False:
            parameter = ":ssm:" in secret.arn
            listing = (
                "aws ssm describe-parameters --query 'Parameters[].Name'"
                if parameter
                else "aws secretsmanager list-secrets --query 'SecretList[].ARN'"
            )
            yield Check(
                name,
                FAILED,
                f"{'parameter' if parameter else 'secret'} {secret.arn} does not exist",
                (
                    "Correct the ARN in the task definition, or create it. List them:",
                    f"  {listing}",
                ),
                why,
            )
        elif secret.going:
            fix = ("Restore it:", f"  aws secretsmanager restore-secret --secret-id {secret.arn}")
            yield Check(name, FAILED, f"secret {short} is scheduled for deletion", fix, why)
        elif secret.denied:
            yield denied(name, f"no permission to describe {secret.arn}")
        elif secret.access in ("explicitDeny", "implicitDeny"):
            certain = secret.access == "explicitDeny" or not secret.otherwise
            role = execution_role.rpartition("/")[2]
            yield Check(
                name,
                FAILED if certain else WARNING,
                f"the execution role {role} has no permission to read {short}",
                (
                    "Name the ARN in the service's setting SecretArns, or allow it by hand:",
                    f"  aws iam put-role-policy --role-name {role} --policy-name ReadSecret"
                    f" --policy-document '{_policy(secret.arn)}'",
                ),
                why if certain else "No task starts, unless the secret's own policy allows it.",
            )
        elif secret.elsewhere:
            message = f"{secret.arn} belongs to another account or Region, so it was not checked"
            yield Check(name, WARNING, message)
        elif secret.exists is None:
            yield Check(name, WARNING, f"AWS could not describe {short}")
        elif secret.access is None:
            message = f"{short} exists; whether the execution role can read it is unknown"
            yield Check(name, WARNING, message)
        else:
            readable += 1
    if readable:
        yield Check(name, OK, f"{readable} exist, and the execution role can read them")


def reads(arn: str) -> str:
    """Return the IAM action that ECS needs to read a secret or parameter."""
    return "secretsmanager:GetSecretValue" if ":secretsmanager:" in arn else "ssm:GetParameters"


def _policy(arn: str) -> str:
    statement = f'{{"Effect":"Allow","Action":"{reads(arn)}","Resource":"{arn}"}}'
    return f'{{"Version":"2012-10-17","Statement":[{statement}]}}'


def log_group(group: str, exists: bool) -> Iterator[Check]:
    """Check that a log group exists; ECS does not create it."""
    name = "log group"
    if exists:
        yield Check(name, OK, group)
    else:
        yield Check(
            name,
            FAILED,
            f"log group {group} does not exist",
            ("Create it:", f"  aws logs create-log-group --log-group-name {group}"),
            "No task starts without it.",
            repair=Repair(
                f"create the log group {group}",
                "create-log-group",
                {"name": group},
            ),
        )


# The target group --------------------------------------------------------------------------------


def shared_groups(services: Mapping[str, Document]) -> Iterator[Check]:
    """Check that no two services of a release register their tasks in one target group.

    Args:
        services: each as it would be, by its name.
    """
    owners: dict[str, str] = {}
    for name, service in services.items():
        for arn in documents.target_groups(service):
            if owners.setdefault(arn, name) != name:
                finding = f"{owners[arn]} and {name} have the same target group: {arn}"
                fix = ("Give each service a target group of its own.",)
                yield Check("target group", FAILED, finding, fix, "Each answers for the other.")


def target_group(
    arn: str,
    definition: Document,
    verify: Verification | None,
    description: Description | None,
    vpcs: set[str],
    healthy: bool,
) -> Iterator[Check]:
    """Check that tasks can join the target group and pass its health checks.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/alb.html

    Args:
        definition: the task definition.
        description: the target group; None if it does not exist.
        vpcs: the subnets' VPCs.
        healthy: whether some target is healthy now, which proves the health check's path and port.
    """
    name, kind = "target group", _target_type(definition)
    if description is None:
        fix = (
            "Correct targetGroupArn in loadBalancers of the service. List them:",
            "  aws elbv2 describe-target-groups --query 'TargetGroups[].TargetGroupArn'",
        )
        yield Check(name, FAILED, f"target group {arn} does not exist", fix)
        return
    problems = []
    if description.get("TargetType", kind) != kind:
        problems.append(
            f"its targets are of type {description['TargetType']}, and the tasks' are of type"
            f" {kind}"
        )
    if not description.get("LoadBalancerArns"):
        problems.append("no listener of a load balancer forwards to it")
    for message in problems:
        fix = (
            f"Name a target group of type {kind} in the tasks' VPC that a listener forwards to. Or"
            " leave TargetGroupArn empty to create one:",
            "  make deploy MODE=infrastructure",
        )
        yield Check(name, FAILED, message, fix, "ECS refuses a service with it.")
    if vpcs and description.get("VpcId") and description["VpcId"] not in vpcs:
        message = f"it is in {description['VpcId']}, and the tasks are in {', '.join(sorted(vpcs))}"
        yield Check(
            name,
            WARNING,
            message,
            ("Unless the VPCs are connected, name a target group in the tasks' VPC.",),
        )
    modify = f"  aws elbv2 modify-target-group --target-group-arn {arn}"
    port = str(description.get("HealthCheckPort", "traffic-port"))
    ports = [str(p) for one in documents.containers(definition) for p in documents.ports(one)]
    if port not in ("traffic-port", *ports) and not healthy:
        yield Check(
            name,
            FAILED,
            f"its health checks go to port {port}, and the containers listen on"
            f" {', '.join(ports) or 'none'}",
            ("Check the tasks' own port:", f"{modify} --health-check-port traffic-port"),
            "No task passes the load balancer's health checks, so tasks keep stopping.",
        )
        return
    path = description.get("HealthCheckPath")
    if verify and path and path != verify.path and not healthy:
        yield Check(
            name,
            WARNING,
            f"its health checks request {path}, and a release is verified on {verify.path}",
            ("Request the same path:", f"{modify} --health-check-path {verify.path}"),
            "If the application does not respond on that path, tasks keep stopping.",
        )
    elif not problems:
        yield Check(name, OK, f"health checks request {path or port}")


def _target_type(definition: Document) -> str:
    """Return the type of the tasks' targets: by its address, or by that of its host."""
    return "ip" if definition.get("networkMode") == "awsvpc" else "instance"


# The database ------------------------------------------------------------------------------------


def database(name: str, description: Description | None) -> Iterator[Check]:
    """Check that the database instance exists and is usable.

    Args:
        description: the instance; None if it does not exist.
    """
    if description is None:
        listing = (
            "Correct database.instance in the service spec. List them:",
            "  aws rds describe-db-instances --query 'DBInstances[].DBInstanceIdentifier'",
        )
        yield Check("database", FAILED, f"RDS instance {name} does not exist", listing)
        return
    status = str(description.get("DBInstanceStatus"))
    if status not in _UNUSABLE_DATABASE:
        yield Check("database", OK, f"{name} is {status}")
        return
    fix: tuple[str, ...] = (f"See {name} and its events in RDS.",)
    if status in ("stopped", "stopping"):
        fix = ("Start it:", f"  aws rds start-db-instance --db-instance-identifier {name}")
    elif status == "storage-full":
        storage = (
            int(description.get("AllocatedStorage", 20)) * 3 // 2
        )  # RDS takes a tenth more at least
        fix = (
            "Give it more storage, in GiB:",
            f"  aws rds modify-db-instance --db-instance-identifier {name} --apply-immediately"
            f" --allocated-storage {storage}",
        )
    why = "No release starts without its database."
    yield Check("database", FAILED, f"{name} is {status}", fix, why)


def database_port(description: Description) -> int:
    """Return the port of a database instance."""
    return int(
        (description.get("Endpoint") or {}).get("Port") or description.get("DbInstancePort") or 5432
    )

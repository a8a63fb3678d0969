"""Check what a release of a service needs: cluster, network, roles, secrets, and so on.

The preflight runs these checks before anything changes, `deployer doctor` whenever a person wants
to know. FAILED is what cannot work; WARNING is what may work, which stops no deployment unless AWS
denied the check (see `preflight.check`). Descriptions are those of AWS's Describe calls.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from deployer.check import FAILED, OK, WARNING, Check, Repair
from deployer.deploy.spec import ServiceSpec

type Description = Mapping[str, Any]

ANYWHERE = "0.0.0.0/0"
_PARAMETERS = {
    "cluster": "ClusterName",
    "roles": "ExecutionRolePattern and TaskRolePattern",
    "secrets": "SecretArns",
    "log group": "LogGroupPattern",
    "database": "DatabasePattern",
}
"""The parameters of the deployer's stack that give it permissions, by the check that needs them."""
_GONE = ("deleting", "deleted", "failed", "rejected", "expired")
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
_NO_DATABASE = (
    *("deleting", "failed", "inaccessible-encryption-credentials", "inaccessible-encryption"),
    *("incompatible-network", "incompatible-parameters", "incompatible-restore"),
    *("restore-error", "stopped", "stopping", "storage-full"),
)


# What the spec names -----------------------------------------------------------------------------


def cluster(spec: ServiceSpec, status: str | None) -> Iterator[Check]:
    """Check that the cluster can run tasks.

    Args:
        status: ACTIVE if it can, MISSING if there is none; None without permission to describe it.
    """
    fix = (
        "Correct cluster in the service spec, or ClusterName of the deployer's stack; what there"
        " is:",
        "  aws ecs list-clusters",
    )
    if status == "ACTIVE":
        yield Check("cluster", OK, f"{spec.cluster} is ACTIVE")
    elif status:
        said = f"cluster {spec.cluster} is {'missing' if status == 'MISSING' else status}"
        yield Check("cluster", FAILED, said, fix, "No task starts.")
    else:
        yield denied("cluster", f"no permission to describe cluster {spec.cluster}")


def network(
    spec: ServiceSpec, subnets: Mapping[str, Description], groups: Mapping[str, Description]
) -> Iterator[Check]:
    """Whether the subnets and security groups are there, and of one VPC.

    Args:
        subnets, groups: those that exist, by id.
    """
    named = spec.network
    wrong = [f"subnet {name} is missing" for name in named.subnets if name not in subnets]
    wrong += [
        f"security group {name} is missing" for name in named.security_groups if name not in groups
    ]
    vpcs = sorted({str(found.get("VpcId")) for found in (*subnets.values(), *groups.values())})
    if len(vpcs) > 1:
        wrong.append(f"subnets and security groups lie in several VPCs: {', '.join(vpcs)}")
    fix = ("Correct network in the service spec:", "  make deploy MODE=infrastructure")
    for said in wrong:
        yield Check("network", FAILED, said, fix, "No task starts.")
    if not wrong:
        yield Check("network", OK, f"{', '.join(vpcs)}, as the spec names it")


def roles(found: Mapping[str, bool | None]) -> Iterator[Check]:
    """Check that the tasks' roles exist. `found`: by ARN; None without permission to get it."""
    for arn, there in found.items():
        if there:
            yield Check("roles", OK, arn.rpartition("/")[2])
        elif there is False:
            fix = ("Make it again:", "  make deploy MODE=infrastructure")
            yield Check("roles", FAILED, f"there is no role {arn}", fix, "No task starts.")
        else:
            yield denied("roles", f"no permission to get role {arn}")


def denied(name: str, found: str) -> Check:
    """Return the result of a check that AWS denied the caller, with what gives the permission."""
    fix = ["For people: attach DiagnosisPolicy of the deployer's stack."]
    if name in _PARAMETERS:
        fix.insert(0, f"For the preflight: name it in {_PARAMETERS[name]} of the deployer's stack.")
    return Check(name, WARNING, found, tuple(fix), denied=True)


def service(spec: ServiceSpec, found: Description | None) -> Iterator[Check]:
    """Return whether rollouts of the service as it is can be judged.

    A rollout has a `rolloutState` with the controller ECS alone, and means all of its tasks with
    the strategy ROLLING alone, unless it may be called done early:
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html

    Args:
        found: as DescribeServices gives it; None if there is none yet.
    """
    found = found or {}
    configuration = found.get("deploymentConfiguration", {})
    controller = found.get("deploymentController", {}).get("type", "ECS")
    strategy = configuration.get("strategy", "ROLLING")
    update = f"  aws ecs update-service --cluster {spec.cluster} --service {spec.service}"
    said, fixes = [], []
    if controller != "ECS":
        said.append(f"has the deployment controller {controller}, not ECS")
        fixes.append(f"{update} --deployment-controller type=ECS")
    if strategy != "ROLLING":
        said.append(f"has the deployment strategy {strategy}, not ROLLING")
        fixes.append(f"{update} --deployment-configuration strategy=ROLLING")
    if configuration.get("earlySuccessCriteria", {}).get("enable"):
        said.append("lets ECS call a rollout done before all tasks are healthy")
        fixes.append(
            f'{update} --deployment-configuration \'{{"earlySuccessCriteria":'
            ' {"enable": false}}\''
        )
    if said:
        text = f"service {spec.service} {', '.join(said)}: its rollouts can't be judged"
        yield Check("service", FAILED, text, ("Change that, or deploy it otherwise:", *fixes))
    elif found:
        yield Check("service", OK, f"{spec.service} rolls out by ECS")


# The way out -------------------------------------------------------------------------------------


def way_out(
    spec: ServiceSpec,
    subnets: Mapping[str, Description],
    tables: Sequence[Description],
    endpoints: Sequence[Description],
) -> Iterator[Check]:
    """Whether the tasks can reach ECR, without which no image is pulled, from each subnet.

    A way may lead through a gateway of any kind, or to the VPC's own endpoints of ECR.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-networking.html

    Args:
        subnets: by id.
        tables: the route tables of the subnets' VPCs.
        endpoints: those VPCs' endpoints.
    """
    name = "way to ECR"
    ways = []
    for subnet in spec.network.subnets:
        vpc = subnets.get(subnet, {}).get("VpcId")
        table = _table(subnet, vpc, tables)
        if table is None:
            yield Check(name, WARNING, f"the route table of {subnet} is not to be seen")
            continue
        leads = [route for route in table.get("Routes", ()) if _leads_out(route)]
        gateways = {_gateway(route) for route in leads if route.get("State") != "blackhole"}
        inner = {
            str(endpoint.get("ServiceName", "")).split(".", 3)[-1]
            for endpoint in endpoints
            if endpoint.get("VpcId") == vpc and endpoint.get("State", "").lower() not in _GONE
        }
        if inner >= {"ecr.api", "ecr.dkr"}:
            ways.append(f"{subnet} by endpoints")
        elif not gateways:
            lost = any(route.get("State") == "blackhole" for route in leads)
            said = "leads to a gateway that is gone" if lost else "has no route out of the VPC"
            yield Check(
                name,
                FAILED,
                f"route table {table['RouteTableId']} of {subnet} {said}, and the VPC has no"
                " endpoints of ECR",
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
                "Tasks there can pull no image, read no secret and write no log.",
            )
        elif all(gateway.startswith("igw-") for gateway in gateways) and not spec.network.public_ip:
            yield Check(
                name,
                FAILED,
                f"{subnet} leads out by an internet gateway only, and the tasks have no public IP",
                (
                    "Set network.publicIp in the service spec, or name subnets that lead to a NAT"
                    " gateway (PrivateTasks):",
                    "  make deploy MODE=infrastructure",
                ),
                "An internet gateway passes on only what comes from a public IP.",
            )
        else:
            ways.append(f"{subnet} by {', '.join(sorted(gateways))}")
    if ways:
        yield Check(name, OK, "; ".join(ways))


def _table(subnet: str, vpc: str | None, tables: Sequence[Description]) -> Description | None:
    """A subnet's route table: its own, or else the VPC's main one."""
    own = [t for t in tables for a in t.get("Associations", ()) if a.get("SubnetId") == subnet]
    main = [
        table
        for table in tables
        if table.get("VpcId") == vpc and any(a.get("Main") for a in table.get("Associations", ()))
    ]
    return next(iter([*own, *main]), None)


def _leads_out(route: Description) -> bool:
    """Whether a route leads out of the VPC; one to a gateway endpoint (S3, DynamoDB) does not."""
    gateway = _gateway(route)
    return gateway not in ("", "local") and not gateway.startswith("vpce-")


def _gateway(route: Description) -> str:
    targets = (
        *("GatewayId", "NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId"),
        *("VpcPeeringConnectionId", "LocalGatewayId", "CarrierGatewayId", "CoreNetworkArn"),
    )
    return next((str(route[name]) for name in targets if route.get(name)), "")


# Who may speak to whom ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sources:
    """Whom a security group's rules let in, or out, on a port."""

    cidrs: frozenset[str]
    lists: frozenset[str]
    groups: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.cidrs or self.lists or self.groups)


def _sources(groups: Sequence[Description], port: int, direction: str = "") -> _Sources:
    """Args: direction: `Egress` for the rules about what goes out."""
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


def public_port(spec: ServiceSpec, groups: Sequence[Description]) -> Iterator[Check]:
    """Whether people reach the tasks at their own addresses.

    Args:
        groups: the tasks' security groups.
    """
    if spec.load_balancer or not spec.network.public_ip:
        return
    name, port = "security group", spec.container.port
    ids = ", ".join(spec.network.security_groups)
    allowed = _sources(groups, port)
    if ANYWHERE in allowed.cidrs:
        yield Check(name, OK, f"{ids} lets anyone in on port {port}")
    elif allowed.cidrs or allowed.lists:
        some = ", ".join(sorted(allowed.cidrs | allowed.lists))
        said = f"{ids} lets only {some} in on port {port}"
        why = "The deployer, which asks from the internet, cannot verify a release there."
        yield Check(name, WARNING if spec.verify else OK, said, why=why if spec.verify else "")
    else:
        yield Check(
            name,
            FAILED if spec.verify else WARNING,
            f"{ids} lets nobody from outside in on port {port}",
            (
                "Let everyone in, or only the addresses of your people:",
                _open(spec.network.security_groups[0], port, f"--cidr {ANYWHERE}"),
            ),
            "Nobody can reach the service, and no release of it can be verified.",
            repair=_opening(spec.network.security_groups[0], port, cidr=ANYWHERE),
        )


def way_to_port(port: int, groups: Sequence[Description]) -> Iterator[Check]:
    """Whether the tasks may call AWS, over HTTPS. `groups`: the tasks' security groups."""
    if any("IpPermissionsEgress" in group for group in groups) and not _sources(
        groups, port, "Egress"
    ):
        group = groups[0]["GroupId"]
        yield Check(
            "security group",
            FAILED,
            f"{group} lets nothing out on port {port}",
            (
                "Let the tasks out:",
                f"  aws ec2 authorize-security-group-egress --group-id {group}"
                f" --protocol tcp --port {port} --cidr {ANYWHERE}",
            ),
            "Tasks can pull no image, read no secret and write no log.",
        )


def _open(group: str, port: int, source: str) -> str:
    return (
        f"  aws ec2 authorize-security-group-ingress --group-id {group}"
        f" --protocol tcp --port {port} {source}"
    )


def _opening(group: str, port: int, **source: str) -> Repair:
    who = source.get("cidr") or source["from_group"]
    shown = "anyone" if who == ANYWHERE else who
    return Repair(
        f"let {shown} into {group} on port {port}",
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
    """Whether what has some security groups may speak to what has others.

    Args:
        what: both in words, such as `the load balancer` and `the tasks`.
        cidrs: where the sending side's addresses lie.
    """
    if not sending or not receiving:
        return
    ids = {group["GroupId"] for group in sending}
    allowed = _sources(receiving, port)
    to, source = receiving[0]["GroupId"], sending[0]["GroupId"]
    if not (allowed.groups & ids or allowed.lists or _meet(allowed.cidrs, cidrs)):
        yield Check(
            name,
            FAILED,
            f"{to} of {what[1]} does not let {what[0]} ({', '.join(sorted(ids))}) in on port"
            f" {port}",
            (f"Let {what[0]} in:", _open(to, port, f"--source-group {source}")),
            why,
            repair=_opening(to, port, from_group=source),
        )
    elif any("IpPermissionsEgress" in g for g in sending) and not _sources(sending, port, "Egress"):
        yield Check(
            name,
            FAILED,
            f"{source} of {what[0]} lets nothing out on port {port}",
            (
                f"Let it out to {what[1]}:",
                f"  aws ec2 authorize-security-group-egress --group-id {source} --ip-permissions"
                f" IpProtocol=tcp,FromPort={port},ToPort={port},"
                f"UserIdGroupPairs='[{{GroupId={to}}}]'",
            ),
            why,
        )
    else:
        yield Check(name, OK, f"{what[0]} may speak to {what[1]} on port {port}")


def _meet(rules: frozenset[str], cidrs: Sequence[str]) -> bool:
    """Whether a rule's range holds any of the addresses; yes, if those are not known."""
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
    """A secret, or an SSM parameter, that the spec names.

    Attributes:
        arn: without a JSON key or version.
        there: whether it exists; None if that is unknown.
        denied: whether AWS denied the caller the permission to describe it.
        elsewhere: whether it belongs to another account or Region, so that it cannot be described.
        going: whether it is scheduled for deletion.
        access: the execution role's, as SimulatePrincipalPolicy decides: allowed, explicitDeny,
            implicitDeny; None if it could not be asked.
        otherwise: whether something else may decide otherwise: the secret's own policy, a
            condition, or the end of its ARN where the spec leaves that out.
    """

    arn: str
    there: bool | None = None
    denied: bool = False
    elsewhere: bool = False
    going: bool = False
    access: str | None = None
    otherwise: bool = False


def secret_arns(spec: ServiceSpec) -> list[str]:
    """The secrets that a task reads when it starts, each once, without their JSON keys.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
    """
    listed = [entry for sidecar in spec.sidecars for entry in sidecar.get("secrets") or ()]
    named = [*spec.container.secrets.values(), *(str(entry.get("valueFrom")) for entry in listed)]
    whole = [
        ":".join(arn.split(":")[:7]) if ":secretsmanager:" in arn else arn
        for arn in named
        if arn.startswith("arn:")
    ]
    return list(dict.fromkeys(whole))


def secrets(spec: ServiceSpec, found: Sequence[Secret]) -> Iterator[Check]:
    """Check that the secrets exist and that the execution role can read them."""
    name, why, good = "secrets", "No task starts without it.", 0
    for secret in found:
        short = secret.arn.rpartition(":")[2]
        if secret.there is False:
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
                ("Correct the ARN in the service spec, or create it. List them:", f"  {listing}"),
                why,
            )
        elif secret.going:
            fix = ("Get it back:", f"  aws secretsmanager restore-secret --secret-id {secret.arn}")
            yield Check(name, FAILED, f"secret {short} is scheduled for deletion", fix, why)
        elif secret.denied:
            yield denied(name, f"no permission to describe {secret.arn}")
        elif secret.access in ("explicitDeny", "implicitDeny"):
            certain = secret.access == "explicitDeny" or not secret.otherwise
            role = spec.execution_role.rpartition("/")[2]
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
            said = f"{secret.arn} belongs to another account or Region, so it was not checked"
            yield Check(name, WARNING, said)
        elif secret.there is None:
            yield Check(name, WARNING, f"AWS could not describe {short}")
        elif secret.access is None:
            said = f"{short} exists; whether the execution role can read it is unknown"
            yield Check(name, WARNING, said)
        else:
            good += 1
    if good:
        yield Check(name, OK, f"{good} exist, and the execution role can read them")


def reads(arn: str) -> str:
    """The action by which ECS reads a secret or parameter."""
    return "secretsmanager:GetSecretValue" if ":secretsmanager:" in arn else "ssm:GetParameters"


def _policy(arn: str) -> str:
    statement = f'{{"Effect":"Allow","Action":"{reads(arn)}","Resource":"{arn}"}}'
    return f'{{"Version":"2012-10-17","Statement":[{statement}]}}'


def log_group(spec: ServiceSpec, exists: bool) -> Iterator[Check]:
    """Whether the log group is there; ECS does not make it."""
    name = "log group"
    if exists:
        yield Check(name, OK, spec.log_group)
    else:
        yield Check(
            name,
            FAILED,
            f"there is no log group {spec.log_group}",
            ("Create it:", f"  aws logs create-log-group --log-group-name {spec.log_group}"),
            "No task starts without it.",
            repair=Repair(
                f"create the log group {spec.log_group}",
                "create-log-group",
                {"name": spec.log_group},
            ),
        )


# The target group --------------------------------------------------------------------------------


def target_group(
    spec: ServiceSpec,
    found: Description | None,
    vpcs: set[str],
    healthy: bool,
) -> Iterator[Check]:
    """Whether tasks can join the target group and pass its health checks.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/alb.html

    Args:
        found: the target group; None if there is none.
        vpcs: the subnets' VPCs.
        healthy: whether some target is healthy now, which proves the health check's path and port.
    """
    assert spec.load_balancer
    name, arn = "target group", spec.load_balancer.target_group
    if found is None:
        fix = (
            "Correct loadBalancer.targetGroup in the service spec; what there is:",
            "  aws elbv2 describe-target-groups --query 'TargetGroups[].TargetGroupArn'",
        )
        yield Check(name, FAILED, f"there is no target group {arn}", fix)
        return
    wrong = []
    if found.get("TargetType", "ip") != "ip":
        wrong.append(f"its targets are of type {found['TargetType']}, and Fargate's are of type ip")
    if not found.get("LoadBalancerArns"):
        wrong.append("no listener of a load balancer sends anything to it")
    for said in wrong:
        fix = (
            "Name a target group of type ip in the tasks' VPC that a listener forwards to, or let"
            " one be made: leave TargetGroupArn empty and",
            "  make deploy MODE=infrastructure",
        )
        yield Check(name, FAILED, said, fix, "ECS refuses a service with it.")
    if vpcs and found.get("VpcId") and found["VpcId"] not in vpcs:
        said = f"it is of {found['VpcId']}, and the tasks are in {', '.join(sorted(vpcs))}"
        yield Check(
            name, WARNING, said, ("Unless the VPCs are connected, name one of the tasks' VPC.",)
        )
    modify = f"  aws elbv2 modify-target-group --target-group-arn {arn}"
    port = str(found.get("HealthCheckPort", "traffic-port"))
    if port not in ("traffic-port", *_ports(spec)) and not healthy:
        yield Check(
            name,
            FAILED,
            f"its health checks go to port {port}, and the container listens on"
            f" {spec.container.port}",
            ("Ask the tasks' own port:", f"{modify} --health-check-port traffic-port"),
            "No task passes the load balancer's health checks, so none stays.",
        )
        return
    path = found.get("HealthCheckPath")
    if spec.verify and path and path != spec.verify.path and not healthy:
        yield Check(
            name,
            WARNING,
            f"its health checks ask {path}, and a release is verified on {spec.verify.path}",
            ("Ask the same path:", f"{modify} --health-check-path {spec.verify.path}"),
            "Where the application does not answer on that path, no task stays.",
        )
    elif not wrong:
        yield Check(name, OK, f"health checks of {path or port}")


def _ports(spec: ServiceSpec) -> list[str]:
    """Every port that the spec declares."""
    mappings = [m for sidecar in spec.sidecars for m in sidecar.get("portMappings") or ()]
    return [str(spec.container.port), *(str(m.get("containerPort")) for m in mappings)]


# The database ------------------------------------------------------------------------------------


def database(name: str, found: Description | None) -> Iterator[Check]:
    """Whether the database's instance is there and can answer. `found`: None if there is none."""
    if found is None:
        listing = (
            "Correct database.instance in the service spec; what there is:",
            "  aws rds describe-db-instances --query 'DBInstances[].DBInstanceIdentifier'",
        )
        yield Check("database", FAILED, f"there is no RDS instance {name}", listing)
        return
    status = str(found.get("DBInstanceStatus"))
    if status not in _NO_DATABASE:
        yield Check("database", OK, f"{name} is {status}")
        return
    fix: tuple[str, ...] = (f"See {name} and its events in RDS.",)
    if status in ("stopped", "stopping"):
        fix = ("Start it:", f"  aws rds start-db-instance --db-instance-identifier {name}")
    elif status == "storage-full":
        more = int(found.get("AllocatedStorage", 20)) * 3 // 2  # RDS takes a tenth more at least
        fix = (
            "Give it more storage, in GiB:",
            f"  aws rds modify-db-instance --db-instance-identifier {name} --apply-immediately"
            f" --allocated-storage {more}",
        )
    why = "No release starts without its database."
    yield Check("database", FAILED, f"{name} is {status}", fix, why)


def database_port(found: Description) -> int:
    """The port at which an instance answers."""
    return int((found.get("Endpoint") or {}).get("Port") or found.get("DbInstancePort") or 5432)

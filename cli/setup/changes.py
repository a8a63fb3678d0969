"""What a change set and the events of a stack mean. No AWS call is made here."""

import enum
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli import quotas
from cli.screen import Step, printable

STATEFUL = frozenset(
    {
        "AWS::DynamoDB::GlobalTable",
        "AWS::DynamoDB::Table",
        "AWS::ECR::Repository",
        "AWS::EFS::FileSystem",
        "AWS::KMS::Key",
        "AWS::RDS::DBCluster",
        "AWS::RDS::DBInstance",
        "AWS::S3::Bucket",
        "AWS::SecretsManager::Secret",
    }
)
"""Types whose resources hold what cannot be made again."""


# Change sets -------------------------------------------------------------------------------------


class Action(enum.StrEnum):
    ADD = "add"
    IMPORT = "import"
    MODIFY = "modify"
    MAY_REPLACE = "may replace"  # CloudFormation decides when it sees the values
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True)
class Change:
    """A change of one resource; `causes` names the properties that bring it about."""

    action: Action
    resource: str
    type: str
    physical: str = ""
    causes: tuple[str, ...] = ()
    kept: bool = False  # the old resource stays in the account, outside of the stack

    @property
    def stateful(self) -> bool:
        return self.type in STATEFUL


def change(resource_change: Mapping[str, Any]) -> Change:
    """A change as DescribeChangeSet tells it
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChange.html)."""
    action = {
        "Add": Action.ADD,
        "Import": Action.IMPORT,
        "Remove": Action.REMOVE,
        "Dynamic": Action.MAY_REPLACE,
    }.get(resource_change["Action"], Action.MODIFY)
    if action is Action.MODIFY:
        action = {"True": Action.REPLACE, "Conditional": Action.MAY_REPLACE}.get(
            resource_change.get("Replacement", ""), Action.MODIFY
        )
    details = resource_change.get("Details", [])
    recreating = _targets(d for d in details if _recreates(d))
    replacing = action in (Action.REPLACE, Action.MAY_REPLACE)
    return Change(
        action,
        resource_change["LogicalResourceId"],
        resource_change["ResourceType"],
        resource_change.get("PhysicalResourceId", ""),
        recreating if replacing and recreating else _targets(details),
        resource_change.get("PolicyAction", "").endswith("Retain"),
    )


def _recreates(detail: Mapping[str, Any]) -> bool:
    return str(detail.get("Target", {}).get("RequiresRecreation", "Never")) != "Never"


def _targets(details: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    names = (
        d.get("Target", {}).get("Name") or d.get("Target", {}).get("Attribute") for d in details
    )
    return tuple(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True)
class Verdict:
    """What a change set needs before it may be executed.

    refused      would lose what a stateful resource holds; only --allow-data-loss lets it pass.
    destructive  replaces or removes something; must be agreed to by itself.
    """

    refused: tuple[Change, ...]
    destructive: tuple[Change, ...]


def judge(changes: Sequence[Change], allowed_losses: Collection[str] = ()) -> Verdict:
    """What may not be done, and what must be asked.

    A stateful resource that only may be replaced is asked about: the stack's policy stops the
    replacement if it comes to that.

    Args:
        allowed_losses: logical ids whose data may be lost.
    """
    destroying = (Action.REPLACE, Action.REMOVE)
    refused = [
        c
        for c in changes
        if c.stateful and c.action in destroying and c.resource not in allowed_losses
    ]
    destructive = [c for c in changes if c.action in (*destroying, Action.MAY_REPLACE)]
    return Verdict(tuple(refused), tuple(c for c in destructive if c not in refused))


def stack_policy(
    stateful: Collection[str],
    allowed_losses: Collection[str] = (),
    current: str | None = None,
) -> str | None:
    """A policy under which no stateful resource of a stack is replaced or deleted by an update
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html).

    Args:
        stateful: the logical ids of the stack's stateful resources.
        allowed_losses: those of them that this update may replace or delete.
        current: the stack's policy as it is. What it denies altogether stays denied, unless it is
            among the allowed losses: a restoration of the database keeps its secret so.
    Returns:
        The policy as JSON; None if there is nothing to protect.
    """
    if not stateful:
        return None
    allow: dict[str, Any] = {
        "Effect": "Allow",
        "Action": "Update:*",
        "Principal": "*",
        "Resource": "*",
    }
    protected = sorted(set(stateful) - set(allowed_losses))
    deny = {
        "Effect": "Deny",
        "Action": ["Update:Replace", "Update:Delete"],
        "Principal": "*",
        "Resource": [f"LogicalResourceId/{name}" for name in protected],
    }
    kept_denials = [
        statement
        for statement in json.loads(current or "{}").get("Statement", [])
        if (statement["Effect"], statement.get("Action")) == ("Deny", "Update:*")
        and str(statement.get("Resource")).rpartition("/")[2] not in allowed_losses
    ]
    return json.dumps({"Statement": [allow, *([deny] if protected else []), *kept_denials]})


# The state of a stack ----------------------------------------------------------------------------


class Standing(enum.Enum):
    """What can be done with a stack in a status
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html)."""

    ABSENT = enum.auto()  # create it
    LEFTOVER = enum.auto()  # of a creation that failed: delete it, then create
    BUSY = enum.auto()  # an operation runs: wait for it
    STUCK = enum.auto()  # a rollback failed: a person must decide
    THERE = enum.auto()  # update it


def standing(status: str | None) -> Standing:
    """What a stack's status allows; None is a stack that does not exist."""
    if status in (None, "DELETE_COMPLETE", "REVIEW_IN_PROGRESS"):  # the last has no resources yet
        return Standing.ABSENT
    if status in (
        "CREATE_FAILED",
        "ROLLBACK_COMPLETE",
        "ROLLBACK_FAILED",
        "DELETE_FAILED",
    ):
        return Standing.LEFTOVER
    if status.endswith("_IN_PROGRESS"):
        return Standing.BUSY
    if status in ("UPDATE_ROLLBACK_FAILED", "UPDATE_FAILED", "IMPORT_ROLLBACK_FAILED"):
        return Standing.STUCK
    return Standing.THERE


def unstick(name: str, status: str, failed: Sequence[str]) -> list[str]:
    """What to do about a stack whose rollback failed. `failed`: the resources it failed on."""
    if status == "UPDATE_FAILED":
        return [
            "Its last update failed and was not rolled back. Put it back with:",
            f"  aws cloudformation rollback-stack --stack-name {name}",
        ]
    skip = f" --resources-to-skip {' '.join(failed)}" if failed else ""
    advice = [
        "Its last rollback failed. Put right what the reason names, then go on with it:",
        f"  aws cloudformation continue-update-rollback --stack-name {name}",
    ]
    if skip:
        advice += [
            "or, if that cannot be put right, leave these resources as they are:",
            f"  aws cloudformation continue-update-rollback --stack-name {name}{skip}",
        ]
    return [*advice, "and run this command again."]


# Events ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """An event of a stack; `nested` is the stack's ARN if the resource is a stack itself."""

    id: str
    at: datetime
    resource: str
    type: str
    status: str
    reason: str = ""
    token: str = ""
    nested: str = ""


_CANCELLED = re.compile(r"^Resource (creation|update|deletion) cancelled", re.IGNORECASE)


def first_failure(events: Sequence[Event]) -> Event | None:
    """The failure that the others follow from. `events`: of one operation, oldest first.

    Resources that CloudFormation gave up because another failed are no cause, nor is the stack.
    """
    failures = [e for e in events if e.status.endswith("_FAILED")]
    own = [e for e in failures if e.type != "AWS::CloudFormation::Stack" or e.nested]
    return next((e for e in own if not _CANCELLED.match(e.reason)), None) or next(
        iter(failures), None
    )


# Messages of CloudFormation and of the services behind it, the special before the general: several
# of the special ones are reported under the code AccessDenied. A group of a pattern can be named in
# its advice.
_ADVICE: Sequence[tuple[str, Sequence[str]]] = (
    (
        r"account must be verified before you can add new CloudFront",
        (
            "AWS has not verified this account for CloudFront yet, which only AWS Support can do."
            " Send them this whole message, as a case of Account and billing (free on every plan):"
            " https://console.aws.amazon.com/support/home#/case/create",
            "Everything but the docs site is there. Once they answer, run this command again; or"
            " go on without a docs site: `DocsUrl: none` in the settings.",
        ),
    ),
    (
        r"assume the service linked role|service linked role exists",
        (
            "The role is missing, or it was created less than a minute ago. Create it; if it has"
            " been taken, it is there:",
            "  aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com",
            "Then run this command again.",
        ),
    ),
    (
        r"Access Denied for bucket|check S3bucket permission",
        (
            "The load balancer may not write its access logs into that bucket: its policy must let"
            " logdelivery.elasticloadbalancing.amazonaws.com put objects there. To go on without"
            " access logs: `AccessLogDays: 0` in the settings.",
        ),
    ),
    (
        r"cannot be assumed by (?:Lambda|principal)|role defined for the function",
        (
            "The role was created moments ago, and IAM has not spread it yet: run this command"
            " again. If it fails again, the conditions in the role's trust policy are wrong.",
        ),
    ),
    (
        r"Unrecognized DeletionPolicy|Condition layout is incorrect|AWS::LanguageExtensions",
        (
            "The transform AWS::LanguageExtensions does not know what the template uses: remove it"
            " from the template's Transform.",
        ),
    ),
    (
        r"FreeTierRestriction|free tier customers|upgrade your account plan",
        (
            "The account is on AWS's free plan, which does not allow this. Upgrade it; what is left"
            " of its credits stays:",
            "  aws freetier upgrade-account-plan --account-plan-type PAID --region us-east-1",
        ),
    ),
    (
        r"OptInRequired|needs a subscription|PendingVerification|is being v(?:alidat|erifi)ed"
        r"|currently being verified",
        (
            "AWS is still activating the account in this Region, which takes minutes, at most a"
            " day; a mail says when it is done. A payment method must be on file:"
            " https://console.aws.amazon.com/billing/home#/paymentmethods",
        ),
    ),
    (
        r"AccountLimitExceeded|builds in queue",
        (
            "CodeBuild may run no build in this account yet. See what it may, and ask for more in"
            " the console, under Service Quotas, AWS CodeBuild:",
            "  aws service-quotas list-service-quotas --service-code codebuild"
            " --query 'Quotas[].[QuotaName,QuotaCode,Value]' --output text",
        ),
    ),
    (
        r"[Ee]vent pattern is not valid|[Cc]onsecutive wildcard|Rule is too complex"
        r"|wildcard character",
        (
            "EventBridge refuses a pattern with `**`, or with many asterisks. Write one asterisk at"
            " a time in ServicePattern and RepositoryPattern, such as `team-*`.",
        ),
    ),
    (
        r"maximum number of VPCs|VpcLimitExceeded",
        ("All VPCs that the account may have are used.", *quotas.VPCS.increase(10)),
    ),
    (
        r"maximum number of addresses|AddressLimitExceeded",
        ("All elastic IP addresses are used.", *quotas.ADDRESSES.increase(10)),
    ),
    (
        r"TooManyLoadBalancers",
        ("All load balancers are used.", *quotas.LOAD_BALANCERS.increase(100)),
    ),
    (
        r"InstanceQuotaExceeded|DBInstanceQuota",
        ("All RDS instances are used.", *quotas.DATABASES.increase(60)),
    ),
    (
        r"Cannot find version|does not support creating a DB instance"
        r"|InsufficientDBInstanceCapacity|InvalidParameterCombination.*RDS",
        (
            "This Region or its zones do not have this DatabaseClass now. Those that it has:",
            "  aws rds describe-orderable-db-instance-options --engine postgres --query"
            " 'OrderableDBInstanceOptions[].DBInstanceClass' --output text",
        ),
    ),
    (
        r"Export (\S+) cannot be (?:deleted|updated)",
        (
            "Another stack uses this value. Which, and so what must be deleted or changed first:",
            "  aws cloudformation list-imports --export-name {0}",
        ),
    ),
    (
        r"DependencyViolation|has dependencies and cannot be deleted|has a dependent object",
        (
            "Something that this stack does not know is in its network, such as a task, a load"
            " balancer or a function. Each has an interface there:",
            "  aws ec2 describe-network-interfaces --query"
            " 'NetworkInterfaces[].[NetworkInterfaceId,VpcId,Description]' --output text",
        ),
    ),
    (
        r"stack policy|denied by stack policy",
        (
            "The stack's policy protects this resource's data; --allow-data-loss lets it pass. Of a"
            " database's Url after a restoration, set DatabaseHost to the restored instance first"
            " (docs/infrastructure.md).",
        ),
    ),
    (
        r"BucketAlreadyExists|requested bucket name is not available",
        (
            "Names of buckets are global, and somebody else has this one: give the service another"
            " name (ServiceName).",
        ),
    ),
    (
        r"already exists",
        (
            "Something of that name is there, outside of this stack. Remove it, or name it in the"
            " settings, where a parameter takes it (ClusterName, RepositoryName).",
        ),
    ),
    (
        r"ExpiredToken|security token included in the request is expired|token has expired",
        ("Your AWS session is over. Log in again, then run this command again.",),
    ),
    (
        r"not authorized|AccessDenied|Access Denied|UnauthorizedOperation|explicit deny",
        ("Your credentials lack this permission; a deployment of the infrastructure needs it.",),
    ),
    (
        r"LimitExceeded|limit exceeded|quota|maximum number of",
        ("A quota is used up: ask for more under Service Quotas, or remove what is unused.",),
    ),
    (
        r"No export named",
        ("The stack that exports it is missing; this deploys it first:", "  make deploy"),
    ),
    (
        r"certificate",
        (
            "See the certificate in the ACM console: it must be ISSUED, in this Region, and cover"
            " the domain and its wildcard.",
        ),
    ),
    (
        r"hosted zone|HostedZone",
        (
            "HostedZoneId must be the public zone of DomainName or of a domain above it:",
            "  aws route53 list-hosted-zones --query 'HostedZones[].[Id,Name]' --output text",
        ),
    ),
    (
        r"scheduled for deletion",
        (
            "A secret of that name waits for its deletion. The secrets, with those:",
            "  aws secretsmanager list-secrets --include-planned-deletion"
            " --query 'SecretList[].[ARN,DeletedDate]' --output text",
            "Restore it in the console, or delete it at once with --force-delete-without-recovery.",
        ),
    ),
    (
        r"Rate exceeded|Throttling",
        ("AWS throttled the calls; run the command again.",),
    ),
    (
        r"deletion protection|DeletionProtection",
        ("The resource is protected against deletion; see the runbook in docs/deploy.md.",),
    ),
)


def advice(reason: str) -> list[str]:
    """What to do about a failure, from its reason: lines; none if there is nothing to say."""
    for pattern, lines in _ADVICE:
        if match := re.search(pattern, reason):
            return [line.format(*match.groups()) if match.groups() else line for line in lines]
    return []


# What is left ------------------------------------------------------------------------------------


def deletion(type_: str, physical: str, *, snapshot: bool = False) -> str:
    """The command that deletes a resource outside of a stack.

    snapshot: its last snapshot is meant, not itself.
    """
    if snapshot:
        return (
            'aws rds delete-db-snapshot --db-snapshot-identifier "$(aws rds describe-db-snapshots'
            " --query 'sort_by(DBSnapshots,&SnapshotCreateTime)[-1].DBSnapshotIdentifier'"
            f' --output text --db-instance-identifier {physical})"'
        )
    return {
        "AWS::DynamoDB::Table": f"aws dynamodb delete-table --table-name {physical}",
        "AWS::ECR::Repository": f"aws ecr delete-repository --force --repository-name {physical}",
        "AWS::ECS::Cluster": f"aws ecs delete-cluster --cluster {physical}",
        "AWS::IAM::Role": f"aws iam delete-role --role-name {physical}   # its policies first",
        "AWS::KMS::Key": f"aws kms schedule-key-deletion --key-id {physical}",
        "AWS::Logs::LogGroup": f"aws logs delete-log-group --log-group-name {physical}",
        "AWS::RDS::DBInstance": f"aws rds delete-db-instance --db-instance-identifier {physical}"
        f" --final-db-snapshot-identifier {physical}-last",
        "AWS::S3::Bucket": f"aws s3 rb --force s3://{physical}   # old versions in the console",
        "AWS::SSM::Parameter": f"aws ssm delete-parameter --name {physical}",
        "AWS::SecretsManager::Secret": "aws secretsmanager delete-secret"
        f" --force-delete-without-recovery --secret-id {physical}",
    }.get(type_, f"# {type_} {physical}: in the console")


def resources(events: Sequence[Event], began: datetime) -> list[Step]:
    """What a stack's operation does to its resources, in the order in which it began with each."""
    steps: dict[str, Step] = {}
    for event in events:
        if event.type == "AWS::CloudFormation::Stack" and not event.nested:
            continue  # the stack itself
        at = max((event.at - began).total_seconds(), 0.0)
        running = event.status.endswith("_IN_PROGRESS")
        failed = event.status.endswith("_FAILED")
        status = event.status.lower().replace("_", " ")
        reason = f": {event.reason}" if event.reason and failed else ""
        note = printable(f"{event.type}, {status}{reason}")
        previous = steps.get(event.resource)
        steps[event.resource] = Step(
            previous.at if previous else at, None if running else at, event.resource, note, failed
        )
    return list(steps.values())

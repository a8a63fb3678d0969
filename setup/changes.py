"""Interpret change sets, stacks' states and events. Nothing here calls AWS."""

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
"""Types of resources that hold data, or cannot be recreated."""

REVISED = frozenset({"AWS::ECS::TaskDefinition"})
"""Types that are never changed, but replaced by a new revision, which breaks nothing that runs."""


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
    """A change of one resource; `causes` names the properties that cause it."""

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
    """Return a change from a ResourceChange of DescribeChangeSet
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

    Attributes:
        refused: changes that would lose data; only --allow-data-loss allows them.
        destructive: changes that replace or remove something, which must be confirmed.
    """

    refused: tuple[Change, ...]
    destructive: tuple[Change, ...]


def judge(changes: Sequence[Change], allowed_losses: Collection[str] = ()) -> Verdict:
    """Return which changes are refused, and which must be confirmed.

    A stateful resource that may be replaced must be confirmed only: if it comes to a replacement,
    the stack's policy stops it.

    Args:
        allowed_losses: logical ids whose data may be lost.
    """
    destroying = (Action.REPLACE, Action.REMOVE)
    refused = [
        c
        for c in changes
        if c.stateful and c.action in destroying and c.resource not in allowed_losses
    ]
    destructive = [
        c
        for c in changes
        if c.action in (*destroying, Action.MAY_REPLACE)
        and not (c.type in REVISED and c.action is not Action.REMOVE)
    ]
    return Verdict(tuple(refused), tuple(c for c in destructive if c not in refused))


def stack_policy(
    stateful: Collection[str],
    allowed_losses: Collection[str] = (),
    current: str | None = None,
) -> str | None:
    """Return a policy that keeps updates from replacing or deleting stateful resources
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html).

    Args:
        stateful: the logical ids of the stack's stateful resources.
        allowed_losses: those of them that this update may replace or delete.
        current: the stack's current policy. What it denies altogether stays denied, unless it is
            an allowed loss: a restoration of the database protects its secret so.
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
    LEFTOVER = enum.auto()  # its creation failed: delete it, then create
    BUSY = enum.auto()  # an operation runs: wait for it
    STUCK = enum.auto()  # a rollback failed: it needs manual attention
    THERE = enum.auto()  # update it


def standing(status: str | None) -> Standing:
    """Return what a stack's status allows; None is a stack that does not exist."""
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
    """Return how to repair a stack whose rollback failed.

    Args:
        failed: the resources that failed.
    """
    if status == "UPDATE_FAILED":
        return [
            "Its last update failed and was not rolled back. Roll it back with:",
            f"  aws cloudformation rollback-stack --stack-name {name}",
        ]
    skip = f" --resources-to-skip {' '.join(failed)}" if failed else ""
    advice = [
        "Its last rollback failed. Correct what the reason names, then continue it:",
        f"  aws cloudformation continue-update-rollback --stack-name {name}",
    ]
    if skip:
        advice += [
            "or, if that is not possible, leave these resources as they are:",
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
    """Return the failure that caused the others.

    Resources that CloudFormation cancelled because another failed are not the cause, nor is the
    stack itself.

    Args:
        events: of one operation, oldest first.
    """
    failures = [e for e in events if e.status.endswith("_FAILED")]
    own = [e for e in failures if e.type != "AWS::CloudFormation::Stack" or e.nested]
    return next((e for e in own if not _CANCELLED.match(e.reason)), None) or next(
        iter(failures), None
    )


# Messages of CloudFormation and of the services behind it, specific before general: several of the
# specific ones have the code AccessDenied. The advice can use the groups of its pattern.
_ADVICE: Sequence[tuple[str, Sequence[str]]] = (
    (
        r"account must be verified before you can add new CloudFront",
        (
            "AWS has not verified this account for CloudFront yet, which only AWS Support can do."
            " Send them this whole message, as a case of Account and billing (free on every plan):"
            " https://console.aws.amazon.com/support/home#/case/create",
            "Everything but the docs site exists. Once they answer, run this command again; or"
            " deploy without a docs site: `DocsUrl: none` in the settings.",
        ),
    ),
    (
        r"assume the service linked role|service linked role exists",
        (
            "The role is missing, or it was created less than a minute ago. Create it; the answer"
            " `has been taken` means that it exists:",
            "  aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com",
            "Then run this command again.",
        ),
    ),
    (
        r"Access Denied for bucket|check S3bucket permission",
        (
            "The load balancer has no permission to write its access logs to that bucket: its"
            " policy must let logdelivery.elasticloadbalancing.amazonaws.com put objects there. To"
            " deploy without access logs: `AccessLogDays: 0` in the settings.",
        ),
    ),
    (
        r"cannot be assumed by (?:Lambda|principal)|role defined for the function",
        (
            "The role was created moments ago, and is not yet visible everywhere: run this command"
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
            "CodeBuild cannot run builds in this account yet. See its quotas, and request more in"
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
        ("The account's quota of VPCs is used up.", *quotas.VPCS.increase(10)),
    ),
    (
        r"maximum number of addresses|AddressLimitExceeded",
        ("The quota of elastic IP addresses is used up.", *quotas.ADDRESSES.increase(10)),
    ),
    (
        r"TooManyLoadBalancers",
        ("The quota of load balancers is used up.", *quotas.LOAD_BALANCERS.increase(100)),
    ),
    (
        r"InstanceQuotaExceeded|DBInstanceQuota",
        ("The quota of RDS instances is used up.", *quotas.DATABASES.increase(60)),
    ),
    (
        r"Cannot find version|does not support creating a DB instance"
        r"|InsufficientDBInstanceCapacity|InvalidParameterCombination.*RDS",
        (
            "This DatabaseClass is not available in the Region or its zones now. Available ones:",
            "  aws rds describe-orderable-db-instance-options --engine postgres --query"
            " 'OrderableDBInstanceOptions[].DBInstanceClass' --output text",
        ),
    ),
    (
        r"Export (\S+) cannot be (?:deleted|updated)",
        (
            "Another stack uses this value, and must be deleted or changed first. To see which:",
            "  aws cloudformation list-imports --export-name {0}",
        ),
    ),
    (
        r"DependencyViolation|has dependencies and cannot be deleted|has a dependent object",
        (
            "Something outside of this stack uses its network, such as a task, a load balancer or a"
            " function. Each has a network interface:",
            "  aws ec2 describe-network-interfaces --query"
            " 'NetworkInterfaces[].[NetworkInterfaceId,VpcId,Description]' --output text",
        ),
    ),
    (
        r"stack policy|denied by stack policy",
        (
            "The stack's policy protects this resource's data; --allow-data-loss allows the change."
            " For a database's Url after a restoration, set DatabaseHost to the restored instance"
            " first (docs/infrastructure.md).",
        ),
    ),
    (
        r"BucketAlreadyExists|requested bucket name is not available",
        (
            "Bucket names are global, and somebody else has this one: give the service another name"
            " (ServiceName).",
        ),
    ),
    (
        r"already exists",
        (
            "A resource of that name exists outside of this stack. Delete it, or name it in the"
            " settings if there is a parameter for it (ClusterName, RepositoryName).",
        ),
    ),
    (
        r"ExpiredToken|security token included in the request is expired|token has expired",
        ("Your AWS session has expired. Log in again, then run this command again.",),
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
            "A secret of that name is scheduled for deletion. All secrets, including those:",
            "  aws secretsmanager list-secrets --include-planned-deletion"
            " --query 'SecretList[].[ARN,DeletedDate]' --output text",
            "Restore it in the console, or delete it now with --force-delete-without-recovery.",
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
    """Return lines of advice for a failure's reason; [] if the reason is unknown."""
    for pattern, lines in _ADVICE:
        if match := re.search(pattern, reason):
            return [line.format(*match.groups()) if match.groups() else line for line in lines]
    return []


# Resources outside of stacks, and progress --------------------------------------------------------


def deletion(type_: str, physical: str, *, snapshot: bool = False) -> str:
    """Return the command that deletes a resource outside of a stack.

    Args:
        snapshot: delete its last snapshot instead.
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
        "AWS::IAM::OIDCProvider": "aws iam delete-open-id-connect-provider"
        f" --open-id-connect-provider-arn {physical}",
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
    """Return the progress of a stack's operation, a step for each resource, in order of start."""
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

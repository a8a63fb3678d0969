"""What a change set and the events of a stack mean."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.screen import Step
from deployer.deploy import database
from setup.changes import (
    Action,
    Change,
    Event,
    Standing,
    Verdict,
    advice,
    change,
    deletion,
    first_failure,
    judge,
    resources,
    stack_policy,
    standing,
    unstick,
)

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def told(action: str, replacement: str | None = None, **more: Any) -> dict[str, Any]:
    base = {"Action": action, "LogicalResourceId": "Table", "ResourceType": "AWS::DynamoDB::Table"}
    return base | ({"Replacement": replacement} if replacement else {}) | more


def detail(name: str, recreation: str = "Never") -> dict[str, Any]:
    return {
        "Target": {"Attribute": "Properties", "Name": name, "RequiresRecreation": recreation},
        "Evaluation": "Static",
    }


@pytest.mark.parametrize(
    ("given", "action", "causes"),
    [
        (told("Add"), Action.ADD, ()),
        (told("Remove"), Action.REMOVE, ()),
        (told("Import"), Action.IMPORT, ()),
        (told("Dynamic"), Action.MAY_REPLACE, ()),
        (told("Modify", "False", Details=[detail("Tags")]), Action.MODIFY, ("Tags",)),
        (
            told("Modify", "True", Details=[detail("Tags"), detail("TableName", "Always")]),
            Action.REPLACE,
            ("TableName",),
        ),
        (
            told("Modify", "Conditional", Details=[detail("KeySchema", "Conditionally")]),
            Action.MAY_REPLACE,
            ("KeySchema",),
        ),
        (
            told("Modify", "False", Details=[{"Target": {"Attribute": "Tags"}}]),
            Action.MODIFY,
            ("Tags",),
        ),
    ],
)
def test_a_change_is_what_cloudformation_says(
    given: dict[str, Any], action: Action, causes: tuple[str, ...]
) -> None:
    result = change(given)
    assert (result.action, result.causes, result.stateful) == (action, causes, True)


def test_what_holds_data_may_not_go_unless_it_is_named() -> None:
    table = Change(Action.REPLACE, "Table", "AWS::DynamoDB::Table")
    bucket = Change(Action.REMOVE, "Bucket", "AWS::S3::Bucket")
    perhaps = Change(Action.MAY_REPLACE, "Database", "AWS::RDS::DBInstance")
    queue = Change(Action.REPLACE, "Queue", "AWS::SQS::Queue")
    added = Change(Action.ADD, "New", "AWS::S3::Bucket")
    verdict = judge([table, bucket, perhaps, queue, added])
    assert verdict.refused == (table, bucket)
    assert verdict.destructive == (perhaps, queue)
    named = judge([table, bucket, perhaps, queue, added], ["Table", "Bucket"])
    assert named.refused == ()
    assert named.destructive == (table, bucket, perhaps, queue)
    assert judge([added]).destructive == ()


@pytest.mark.parametrize("action", [Action.REPLACE, Action.MAY_REPLACE])
def test_a_new_revision_of_a_task_definition_need_not_be_confirmed(action: Action) -> None:
    blueprint = Change(action, "TaskDefinition", "AWS::ECS::TaskDefinition")
    assert judge([blueprint]) == Verdict((), ())
    gone = Change(Action.REMOVE, "TaskDefinition", "AWS::ECS::TaskDefinition")
    assert judge([gone]).destructive == (gone,)


def test_a_stack_policy_denies_what_would_lose_data() -> None:
    assert stack_policy([]) is None
    statements = json.loads(str(stack_policy(["Database", "Secret"])))["Statement"]
    assert statements[1] == {
        "Effect": "Deny",
        "Action": ["Update:Replace", "Update:Delete"],
        "Principal": "*",
        "Resource": ["LogicalResourceId/Database", "LogicalResourceId/Secret"],
    }
    allowed = json.loads(str(stack_policy(["Database", "Secret"], ["Secret"])))["Statement"]
    assert allowed[1]["Resource"] == ["LogicalResourceId/Database"]
    assert len(json.loads(str(stack_policy(["Secret"], ["Secret"])))["Statement"]) == 1


def test_what_a_restoration_protects_stays_protected() -> None:
    """The URL of a restored database, until somebody allows its change by name."""
    restored = database.keeping(stack_policy(["Url"]), "Url")
    kept = json.loads(str(stack_policy(["Url"], current=restored)))["Statement"]
    assert kept[-1] == json.loads(restored)["Statement"][-1]
    assert stack_policy(["Url"], current=json.dumps({"Statement": kept})) == json.dumps(
        {"Statement": kept}
    )
    assert len(json.loads(str(stack_policy(["Url"], ["Url"], restored)))["Statement"]) == 1


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (None, Standing.ABSENT),
        ("DELETE_COMPLETE", Standing.ABSENT),
        ("REVIEW_IN_PROGRESS", Standing.ABSENT),
        ("ROLLBACK_COMPLETE", Standing.LEFTOVER),
        ("CREATE_FAILED", Standing.LEFTOVER),
        ("ROLLBACK_FAILED", Standing.LEFTOVER),
        ("DELETE_FAILED", Standing.LEFTOVER),
        ("CREATE_IN_PROGRESS", Standing.BUSY),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", Standing.BUSY),
        ("UPDATE_ROLLBACK_FAILED", Standing.STUCK),
        ("UPDATE_FAILED", Standing.STUCK),
        ("CREATE_COMPLETE", Standing.THERE),
        ("UPDATE_ROLLBACK_COMPLETE", Standing.THERE),
    ],
)
def test_a_status_says_what_can_be_done(status: str | None, means: Standing) -> None:
    assert standing(status) is means


def test_a_stuck_stack_is_explained() -> None:
    lines = unstick("coder-service", "UPDATE_ROLLBACK_FAILED", ["Logs"])
    assert (
        "  aws cloudformation continue-update-rollback --stack-name coder-service"
        " --resources-to-skip Logs" in lines
    )
    assert "  aws cloudformation rollback-stack --stack-name x" in unstick("x", "UPDATE_FAILED", [])


def event(at: int, resource: str, status: str, reason: str = "", **more: str) -> Event:
    kind = more.get("type", "AWS::SQS::Queue")
    nested = more.get("nested", "")
    moment = BEGUN + timedelta(seconds=at)
    return Event(f"{at}-{resource}", moment, resource, kind, status, reason, "", nested)


STACK = "AWS::CloudFormation::Stack"
FAILED = [
    event(0, "coder-network", "CREATE_IN_PROGRESS", type=STACK),
    event(1, "Queue", "CREATE_IN_PROGRESS"),
    event(1, "Topic", "CREATE_IN_PROGRESS"),
    event(2, "Topic", "CREATE_FAILED", "Resource creation cancelled"),
    event(2, "Queue", "CREATE_FAILED", "Queue already exists"),
    event(3, "coder-network", "ROLLBACK_IN_PROGRESS", "failed: [Topic, Queue]", type=STACK),
]


def test_the_first_real_failure_is_the_cause() -> None:
    result = first_failure(FAILED)
    assert result and (result.resource, result.reason) == ("Queue", "Queue already exists")
    assert first_failure(FAILED[:3]) is None
    cancelled = first_failure(FAILED[:4])  # better than nothing
    assert cancelled and cancelled.resource == "Topic"
    nested = event(4, "Inner", "CREATE_FAILED", "Embedded stack failed", type=STACK, nested="arn:x")
    assert first_failure([FAILED[0], nested]) is nested


# Messages as AWS's documents and public reports have them, each with what its advice must hold.
REASONS = [
    (
        'Resource handler returned message: "Access denied for operation'
        " 'AWS::CloudFront::Distribution: Your account must be verified before you can add new"
        " CloudFront resources. To verify your account, please contact AWS Support"
        " (https://console.aws.amazon.com/support/home#/) and include this error message.'.\""
        " (RequestToken: 1, HandlerErrorCode: AccessDenied)",
        "console.aws.amazon.com/support",
    ),
    (
        'Resource handler returned message: "Invalid request provided: CreateCluster Invalid'
        " Request: Unable to assume the service linked role. Please verify that the ECS service"
        " linked role exists. (Service: AmazonECS; Status Code: 400; Error Code:"
        ' InvalidParameterException)"',
        "iam create-service-linked-role --aws-service-name ecs.amazonaws.com",
    ),
    (
        "Access Denied for bucket: coder-logs. Please check S3bucket permission (Service:"
        " ElasticLoadBalancingV2, Status Code: 400, Request ID: 1)",
        "AccessLogDays: 0",
    ),
    (
        'Resource handler returned message: "The role defined for the function cannot be assumed'
        ' by Lambda. (Service: Lambda, Status Code: 400)" (HandlerErrorCode: InvalidRequest)',
        "is not yet visible everywhere",
    ),
    ("Template format error: Unrecognized DeletionPolicy RetainExceptOnCreate", "Transform"),
    ("Template error: Condition layout is incorrect", "Transform"),
    (
        "The specified backup retention period exceeds the maximum available to free tier"
        " customers. To remove all limitations, upgrade your account plan. (Service: Rds, Status"
        " Code: 400) (HandlerErrorCode: GeneralServiceException) FreeTierRestrictionError",
        "upgrade-account-plan --account-plan-type PAID",
    ),
    (
        "Your request for accessing resources in this region is being validated, and you will not"
        " be able to launch additional resources in this region until the validation is complete.",
        "still activating the account",
    ),
    (
        "Cannot have more than 0 builds in queue for the account (Service: AWSCodeBuild; Error"
        " Code: AccountLimitExceededException)",
        "list-service-quotas --service-code codebuild",
    ),
    (
        'Resource handler returned message: "Event pattern is not valid. Reason: wildcard match:'
        ' Consecutive wildcard characters at pos 5" (HandlerErrorCode: InvalidRequest)',
        "one asterisk at a time",
    ),
    ("The maximum number of VPCs has been reached. (VpcLimitExceeded)", "--quota-code L-F678F1CE"),
    ("The maximum number of addresses has been reached.", "--quota-code L-0263D0A3"),
    ("Cannot find version 16.99 for postgres", "describe-orderable-db-instance-options"),
    (
        "Export coder-network-VpcId cannot be deleted as it is in use by coder-service",
        "list-imports --export-name coder-network-VpcId",
    ),
    ("The vpc 'vpc-1' has dependencies and cannot be deleted.", "describe-network-interfaces"),
    ("coder already exists in stack x", "ClusterName, RepositoryName"),
    ("The requested bucket name is not available. (BucketAlreadyExists)", "ServiceName"),
    ("User: x is not authorized to perform: iam:CreateRole", "lack this permission"),
    ("API: s3:CreateBucket Access Denied", "lack this permission"),
    ("No export named coder-network-VpcId found", "make deploy"),
    ("a secret with this name is already scheduled for deletion", "--include-planned-deletion"),
    ("Action denied by stack policy", "--allow-data-loss"),
    ("something odd", ""),
]


@pytest.mark.parametrize(("reason", "message"), REASONS)
def test_a_reason_has_its_advice(reason: str, message: str) -> None:
    told = "\n".join(advice(reason))
    assert message in told
    assert bool(message) == bool(told)


def test_progress_is_each_resource_once() -> None:
    assert resources(FAILED, BEGUN) == [
        Step(1.0, 2.0, "Queue", "AWS::SQS::Queue, create failed: Queue already exists", True),
        Step(
            1.0, 2.0, "Topic", "AWS::SQS::Queue, create failed: Resource creation cancelled", True
        ),
    ]
    going = resources(FAILED[:3], BEGUN)
    assert [(step.name, step.left) for step in going] == [("Queue", None), ("Topic", None)]


def test_what_stays_is_told_with_the_command_that_deletes_it() -> None:
    assert deletion("AWS::ECR::Repository", "coder").startswith("aws ecr delete-repository")
    assert "delete-db-snapshot" in deletion("AWS::RDS::DBInstance", "coder-db", snapshot=True)
    assert "in the console" in deletion("AWS::EFS::FileSystem", "fs-1")

"""What roles may do though no workflow test does it, and what is denied on purpose: why."""

from tests.permissions.record import Permission

_CODEBUILD = (
    "of the permissions that CodeBuild's user guide calls the least that a service role needs "
    "(Allow CodeBuild to interact with other AWS services); the local CodeBuild does not ask for it"
)
_OF_A_STACK = (
    "only a secret of a database stack has a stack to protect; the workflow tests make their "
    "databases without one, and a test of the local CloudFormation shows what the policy does"
)
_ITS_CACHE = "before the first build there is no cache, and who may not list is told no more"

_OF_ANOTHER_SITE = "a test's build tries what belongs to another site, and what it only writes"
_MANY = "only a service of more than 200 releases needs it to see those that matter; unit tests do"
_READ_HISTORY = (
    "CheckPreflight",
    "IdentifyDocs",
    "IdentifyRelease",
    "IdentifySource",
    "PressButton",
    "PublishDocs",
    "Reconcile",
    "RecordBuild",
    "RecordDocs",
    "RecordFailure",
    "RecordSuccess",
    "ShowWidget",
    "AcquireLock",
    "SendNotification",
)

_SAMS = (
    "of AWSLambdaVPCAccessExecutionRole, which SAM attaches to a function with a VpcConfig, also "
    "where a condition leaves it out; Lambda itself uses it where VerifySubnetIds is set"
)
_SCHEDULED = (
    "EventBridge Scheduler uses it when a schedule fires; the local one runs no tasks of ECS"
)
_UNDO = "only where a release that restored a database fails; unit tests and the simulation show it"

UNUSED = {
    **{
        Permission("deployer.RollBackRole", action, resource): _UNDO
        for action, resource in (
            ("cloudwatch:DescribeAlarms", "*"),
            ("cloudwatch:PutMetricAlarm", "alarm:test*-monitoring-*"),
            ("dynamodb:PutItem", "table/{Releases}"),
            ("secretsmanager:GetSecretValue", "secret:test*/*"),
            ("secretsmanager:PutSecretValue", "secret:test*/*"),
        )
    },
    Permission(
        "deployer.CheckPreflightRole", "secretsmanager:GetResourcePolicy", "secret:elsewhere/*"
    ): "only where the role's own policies do not say whether it may read the secret",
    **{
        Permission("deployer.VerifyReleaseRole", action, "*"): _SAMS
        for action in ("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets")
    },
    Permission("deployer.PublishDocsRole", "s3:ListBucket", "{Sources}"): (
        "without it, S3 says forbidden of an archive that a build did not leave; unit tests do"
    ),
    Permission("deployer.RunTaskRole", "ecs:StopTask", "task/test/*"): (
        "only a task whose time is over, half a minute at least; unit tests and the simulation do"
    ),
    Permission("deployer.StopTaskRole", "ecs:ListTasks", "*"): (
        "only where the execution ended between running a task and recording its ARN; unit tests "
        "and the simulation do"
    ),
    Permission("deployer.ReconcileRole", "states:DescribeExecution", "execution:{Build}:*"): (
        "only a build's record that its own execution left open; unit tests and the simulation do"
    ),
    **{
        Permission(
            f"deployer.{name}Role", "dynamodb:Query", "table/{Releases}/index/Standing"
        ): _MANY
        for name in _READ_HISTORY
    },
    Permission("docs.BuildRole", "s3:GetBucketAcl", "{Sources}"): _CODEBUILD,
    Permission("docs.BuildRole", "s3:GetBucketLocation", "{Sources}"): _CODEBUILD,
    Permission(
        "docs.BuildRole", "s3:GetObjectVersion", "{Sources}/checked/{ServiceName}/*"
    ): _CODEBUILD,
    Permission("deployer.ImageBuildRole", "s3:GetBucketAcl", "{Sources}"): _CODEBUILD,
    Permission("deployer.ImageBuildRole", "s3:GetBucketLocation", "{Sources}"): _CODEBUILD,
    Permission("deployer.ImageBuildRole", "s3:PutObject", "{Sources}/cache/*"): (
        "only a build that leaves packages in its cache; the demo's need none, and the docs site's "
        "builds do it by their own role"
    ),
    Permission("deployer.ImageBuildRole", "s3:GetObjectVersion", "{Sources}/tools/*"): _CODEBUILD,
    Permission(
        "deployer.RestoreDatabaseRole", "cloudformation:GetStackPolicy", "stack/test*-database/*"
    ): _OF_A_STACK,
    Permission(
        "deployer.RestoreDatabaseRole", "cloudformation:SetStackPolicy", "stack/test*-database/*"
    ): _OF_A_STACK,
    Permission(
        "deployer.RestoreDatabaseRole", "iam:PassRole", "role/rds-monitoring-role"
    ): "RDS asks for it where the old instance has enhanced monitoring; the local one has none",
    **{
        Permission(
            "deployer.SendNotificationRole", f"sqs:{action}", "deployer-Notifications"
        ): "Lambda takes the messages in the function's role; the local one takes them as itself"
        for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage")
    },
    Permission(
        "deployer.SendAnnouncementRole", "sqs:SendMessage", "{UndeliveredAnnouncements}"
    ): "Lambda puts there what it could not run three times, which takes minutes",
    Permission(
        "deployer.RestoreDatabaseRole", "rds:RestoreDBInstanceFromDBSnapshot", "og:*"
    ): "RDS asks for it whether or not the request names an option group (Service Authorization "
    "Reference); the local AWS does not",
    **{
        Permission("service.ScheduleRole", action, resource): _SCHEDULED
        for action, resource in (
            ("ecs:RunTask", "task-definition/{Repository}-releases:*"),
            ("iam:PassRole", "role/{ExecutionRole}"),
            ("iam:PassRole", "role/{TaskRole}"),
        )
    },
    Permission(
        "service.ExecutionRole", "ecr:BatchCheckLayerAvailability", "repository/{Repository}"
    ): "ECS's documentation of the execution role wants it for each pull; the local agent does not",
}

DENIED = {
    Permission(
        "deployer.RecordFailureRole", "ecs:DescribeServices", "service/nowhere/*"
    ): "a spec names a cluster that is not the deployer's: what serves there is not recorded",
    Permission(
        "deployer.CheckPreflightRole", "ecs:DescribeClusters", "cluster/nowhere"
    ): "a spec names a cluster that is not the deployer's, and the preflight says so",
    Permission(
        "deployer.CheckPreflightRole", "ecs:DescribeServices", "service/nowhere/*"
    ): "as above: the service that would be adopted is looked for there",
    Permission("docs.BuildRole", "s3:ListBucket", "{Sources}"): _ITS_CACHE,
    **{
        Permission("docs.BuildRole", action, resource): _OF_ANOTHER_SITE
        for action, resource in (
            ("s3:GetObject", "{Sources}/*/x.txt"),
            ("s3:PutObject", "{Sources}/*/x.txt"),
            ("secretsmanager:GetSecretValue", "secret:docs/*/npm-??????"),
        )
    },
    Permission("deployer.ImageBuildRole", "s3:ListBucket", "{Sources}"): _ITS_CACHE,
    Permission(
        "deployer.CheckPreflightRole",
        "secretsmanager:DescribeSecret",
        "secret:nowhere/url-??????",
    ): "a spec names a secret that the deployer's parameters do not, and the preflight says so",
    Permission(
        "deployer.RecordSuccessRole", "events:PutEvents", "event-bus/default"
    ): "a test takes the permission away: an announcement that fails changes no outcome",
}

"""The resource types and the safeguards that the local CloudFormation adds to MiniStack's."""

import json
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws.aws import LocalAws

Template = dict[str, Any]
_DONE = ("COMPLETE", "FAILED")


class Stack:
    """A stack by its name; every method waits until its operation is over."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.aws = aws
        self.name = name
        self.api = aws.client("cloudformation")

    def create(self, resources: Template, **more: Any) -> str:
        self.api.create_stack(**self._request(resources, more))
        return self.status()

    def update(self, resources: Template, **more: Any) -> str:
        self.api.update_stack(**self._request(resources, more))
        return self.status()

    def delete(self) -> str:
        identifier = self._described()["StackId"]
        self.api.delete_stack(StackName=self.name)
        return self.status(identifier)

    def preview(self, resources: Template, kind: str = "UPDATE", **more: Any) -> dict[str, Any]:
        """The change set's resource changes by logical id."""
        self.api.create_change_set(
            ChangeSetName="preview", ChangeSetType=kind, **self._request(resources, more)
        )
        response = self.api.describe_change_set(ChangeSetName="preview", StackName=self.name)
        self.api.delete_change_set(ChangeSetName="preview", StackName=self.name)
        return {
            change["ResourceChange"]["LogicalResourceId"]: change["ResourceChange"]
            for change in response["Changes"]
        }

    def status(self, identifier: str | None = None) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            status: str = self._described(identifier)["StackStatus"]
            if status.endswith(_DONE) and not status.endswith("CLEANUP_IN_PROGRESS"):
                return status
            time.sleep(0.02)
        raise TimeoutError(status)

    def outputs(self) -> dict[str, str]:
        return {o["OutputKey"]: o["OutputValue"] for o in self._described()["Outputs"]}

    def physical(self, logical_id: str) -> str:
        response = self.api.describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical_id
        )
        identifier: str = response["StackResourceDetail"]["PhysicalResourceId"]
        return identifier

    def reasons(self) -> str:
        events = self.api.describe_stack_events(StackName=self.name)["StackEvents"]
        return "\n".join(event.get("ResourceStatusReason", "") for event in events)

    def _described(self, identifier: str | None = None) -> dict[str, Any]:
        response: dict[str, Any] = self.api.describe_stacks(StackName=identifier or self.name)
        return response["Stacks"][0]  # type: ignore[no-any-return]

    def _request(self, template: Template, more: dict[str, Any]) -> dict[str, Any]:
        body = template if "Resources" in template else {"Resources": template}
        return {"StackName": self.name, "TemplateBody": json.dumps(body)} | more


@pytest.fixture
def stack(aws: LocalAws, name: str) -> Stack:
    return Stack(aws, name)


def _get(resource: str, attribute: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [resource, attribute]}


def _outputs(**values: Any) -> dict[str, Any]:
    return {name: {"Value": value} for name, value in values.items()}


NETWORK: Template = {
    "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/16"}},
    "Subnet": {
        "Type": "AWS::EC2::Subnet",
        "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.9.0.0/24"},
    },
}


def test_the_attributes_of_a_vpc(stack: Stack) -> None:
    outputs = _outputs(Range=_get("Vpc", "CidrBlock"))
    assert stack.create({"Resources": NETWORK, "Outputs": outputs}) == "CREATE_COMPLETE"
    assert stack.outputs() == {"Range": "10.9.0.0/16"}
    assert stack.delete() == "DELETE_COMPLETE"


def test_security_group_rules(stack: Stack) -> None:
    def template(port: str, description: str) -> Template:
        group = {"GroupDescription": "test", "VpcId": {"Ref": "Vpc"}}
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "Description": description}
        source = {"SourceSecurityGroupId": {"Ref": "Balancer"}}
        return NETWORK | {
            "Balancer": {"Type": "AWS::EC2::SecurityGroup", "Properties": group},
            "Service": {"Type": "AWS::EC2::SecurityGroup", "Properties": group},
            "In": {
                "Type": "AWS::EC2::SecurityGroupIngress",
                "Properties": rule | source | {"GroupId": {"Ref": "Service"}},
            },
            "Out": {
                "Type": "AWS::EC2::SecurityGroupEgress",
                "Properties": rule | {"CidrIp": "10.0.0.0/8", "GroupId": {"Ref": "Balancer"}},
            },
        }

    ec2 = stack.aws.client("ec2")

    def rules(group: str, field: str) -> list[Any]:
        response = ec2.describe_security_groups(GroupIds=[stack.physical(group)])["SecurityGroups"]
        return [rule for rule in response[0][field] if rule["IpProtocol"] == "tcp"]

    assert stack.create(template("3000", "app")) == "CREATE_COMPLETE"
    (ingress,), (egress,) = (
        rules("Service", "IpPermissions"),
        rules("Balancer", "IpPermissionsEgress"),
    )
    pair = {"GroupId": stack.physical("Balancer"), "Description": "app"}
    assert pair.items() <= ingress["UserIdGroupPairs"][0].items()
    assert (ingress["FromPort"], egress["IpRanges"][0]["CidrIp"]) == (3000, "10.0.0.0/8")

    assert stack.update(template("4000", "the app")) == "UPDATE_COMPLETE"
    (ingress,), (egress,) = (
        rules("Service", "IpPermissions"),
        rules("Balancer", "IpPermissionsEgress"),
    )
    assert (ingress["FromPort"], egress["FromPort"]) == (4000, 4000)
    assert stack.delete() == "DELETE_COMPLETE"


def test_what_is_only_recorded(stack: Stack) -> None:
    nat = {"SubnetId": {"Ref": "Subnet"}, "AllocationId": _get("Address", "AllocationId")}
    route = {
        "RouteTableId": {"Ref": "Table"},
        "DestinationCidrBlock": "0.0.0.0/0",
        "NatGatewayId": {"Ref": "Nat"},
    }
    logging = {"ResourceArn": "arn:aws:wafv2:us-east-1:0:regional/webacl/a/1"}
    template = {
        "Resources": NETWORK
        | {
            "Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}},
            "Nat": {"Type": "AWS::EC2::NatGateway", "Properties": nat},
            "Table": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": {"Ref": "Vpc"}}},
            "Route": {"Type": "AWS::EC2::Route", "Properties": route},
            "Flow": {
                "Type": "AWS::EC2::FlowLog",
                "Properties": {"ResourceId": {"Ref": "Vpc"}, "ResourceType": "VPC"},
            },
            "Logging": {"Type": "AWS::WAFv2::LoggingConfiguration", "Properties": logging},
        },
        "Outputs": _outputs(Nat=_get("Nat", "NatGatewayId")),
    }
    assert stack.create(template) == "CREATE_COMPLETE"
    assert stack.outputs()["Nat"] == stack.physical("Nat")
    assert stack.delete() == "DELETE_COMPLETE"


def test_alarms_on_metric_math(stack: Stack) -> None:
    def template(threshold: float) -> Template:
        metric = {"Namespace": "AWS/ApplicationELB", "MetricName": "HTTPCode_Target_5XX_Count"}
        stat = {"Metric": metric, "Period": "60", "Stat": "Sum"}
        math = {
            "ComparisonOperator": "GreaterThanThreshold",
            "EvaluationPeriods": 1,
            "Threshold": threshold,
            "Metrics": [
                {"Id": "errors", "MetricStat": stat, "ReturnData": False},
                {"Id": "share", "Expression": "errors / 100"},
            ],
        }
        return {"Errors": {"Type": "AWS::CloudWatch::Alarm", "Properties": math}}

    cloudwatch = stack.aws.client("cloudwatch")

    def alarm() -> dict[str, Any]:
        response = cloudwatch.describe_alarms(AlarmNames=[stack.physical("Errors")])
        return response["MetricAlarms"][0]  # type: ignore[no-any-return]

    assert stack.create(template(1)) == "CREATE_COMPLETE"
    shown = alarm()
    assert [query["Id"] for query in shown["Metrics"]] == ["errors", "share"]
    assert "MetricName" not in shown
    cloudwatch.set_alarm_state(
        AlarmName=stack.physical("Errors"), StateValue="ALARM", StateReason="test"
    )
    assert alarm()["StateValue"] == "ALARM"

    assert stack.update(template(2)) == "UPDATE_COMPLETE"
    assert alarm()["Threshold"] == 2
    name = stack.physical("Errors")
    assert stack.delete() == "DELETE_COMPLETE"
    assert not cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]


# Safeguards


def _database(**more: Any) -> Template:
    properties = {
        "Engine": "postgres",
        "DBInstanceClass": "db.t4g.micro",
        "AllocatedStorage": "20",
        "MasterUsername": "owner",
        "MasterUserPassword": "not-a-secret",
    }
    return {"Type": "AWS::RDS::DBInstance", "Properties": properties | more}


def test_a_protected_database_is_not_deleted(stack: Stack) -> None:
    rds = stack.aws.client("rds")
    assert stack.create({"Db": _database(DeletionProtection=True)}) == "CREATE_COMPLETE"
    identifier = stack.physical("Db")
    assert stack.delete() == "DELETE_FAILED"
    assert "Cannot delete protected DB Instance" in stack.reasons()
    assert rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
    snapshots = rds.describe_db_snapshots(DBInstanceIdentifier=identifier)["DBSnapshots"]
    assert not snapshots

    rds.modify_db_instance(DBInstanceIdentifier=identifier, DeletionProtection=False)
    assert stack.delete() == "DELETE_COMPLETE"
    snapshots = rds.describe_db_snapshots(DBInstanceIdentifier=identifier)["DBSnapshots"]
    assert len(snapshots) == 1  # the default DeletionPolicy of a DB instance is Snapshot


def test_a_change_set_says_what_would_be_replaced(stack: Stack) -> None:
    def template(**changes: Any) -> Template:
        group = {"GroupDescription": changes.get("description", "test"), "VpcId": {"Ref": "Vpc"}}
        network = NETWORK | {
            "Vpc": {
                "Type": "AWS::EC2::VPC",
                "Properties": {
                    "CidrBlock": "10.9.0.0/16",
                    "EnableDnsSupport": changes.get("dns", "true"),
                },
            }
        }
        database = {
            "AllocatedStorage": changes.get("storage", "20"),
            "StorageEncrypted": changes.get("encrypted", "false"),
            "BackupRetentionPeriod": changes.get("retention", "1"),
        }
        return network | {
            "Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": group},
            "Db": _database(**database),
        }

    assert stack.create(template()) == "CREATE_COMPLETE"
    expected = [
        ({"description": "other"}, "Group", "True"),
        ({"dns": "false"}, "Vpc", "False"),
        ({"storage": "30"}, "Db", "False"),
        ({"encrypted": "true"}, "Db", "True"),
        ({"retention": "7"}, "Db", "Conditional"),
    ]
    for change, resource, replacement in expected:
        changes = stack.preview(template(**change))
        assert changes[resource]["Replacement"] == replacement, change
    removed = template()
    del removed["Db"]
    assert stack.preview(removed)["Db"]["Action"] == "Remove"
    assert stack.delete() == "DELETE_COMPLETE"


def test_a_condition_that_turns_adds_or_removes_a_resource(stack: Stack) -> None:
    def template() -> Template:
        return {
            "Parameters": {"Extra": {"Type": "String", "Default": "false"}},
            "Conditions": {"HasExtra": {"Fn::Equals": [{"Ref": "Extra"}, "true"]}},
            "Resources": {"Topic": _topic(), "Extra": _topic(Condition="HasExtra")},
            "Outputs": _outputs(Only="one"),
        }

    extra: dict[str, Any] = {"Parameters": [{"ParameterKey": "Extra", "ParameterValue": "true"}]}
    assert stack.create(template()) == "CREATE_COMPLETE"
    (change,) = stack.preview(template(), **extra).values()
    assert (change["Action"], change["LogicalResourceId"]) == ("Add", "Extra")
    assert stack.update(template(), **extra) == "UPDATE_COMPLETE"
    (change,) = stack.preview(template()).values()
    assert (change["Action"], change["LogicalResourceId"]) == ("Remove", "Extra")

    # Nothing at all is a failed change set.
    names = {"StackName": stack.name, "ChangeSetName": "nothing"}
    stack.api.create_change_set(TemplateBody=json.dumps(template()), **names, **extra)
    result = stack.api.describe_change_set(**names)
    assert (result["Status"], result["Changes"]) == ("FAILED", [])
    assert "didn't contain changes" in result["StatusReason"]
    assert stack.delete() == "DELETE_COMPLETE"


def test_a_condition_knows_where_the_stack_is(stack: Stack) -> None:
    here = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000"}
    conditions = {f"Is{n}": {"Fn::Equals": [{"Ref": r}, here[r]]} for n, r in enumerate(here)}
    conditions["IsElsewhere"] = {"Fn::Equals": [{"Ref": "AWS::Partition"}, "aws-cn"]}
    topics = {f"Topic{name}": _topic(Condition=name) for name in conditions}
    assert stack.create({"Conditions": conditions, "Resources": topics}) == "CREATE_COMPLETE"
    result = stack.api.list_stack_resources(StackName=stack.name)["StackResourceSummaries"]
    assert {resource["LogicalResourceId"] for resource in result} == topics.keys() - {
        "TopicIsElsewhere"
    }


def test_a_stack_puts_no_old_host_back_into_a_secret_that_a_restoration_changed(
    stack: Stack,
) -> None:
    def template(description: str) -> Template:
        properties = {"Description": description, "SecretString": "postgresql://a:b@old:5432/app"}
        return {"Url": {"Type": "AWS::SecretsManager::Secret", "Properties": properties}}

    secrets = stack.aws.client("secretsmanager")
    assert stack.create(template("one")) == "CREATE_COMPLETE"
    secret = stack.physical("Url")
    tags = {tag["Key"]: tag["Value"] for tag in secrets.describe_secret(SecretId=secret)["Tags"]}
    assert tags["aws:cloudformation:logical-id"] == "Url"
    everything = {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}
    resource = f"LogicalResourceId/{tags['aws:cloudformation:logical-id']}"
    keep = {**everything, "Effect": "Deny", "Resource": resource}
    policy = json.dumps({"Statement": [everything, keep]})
    stack.api.set_stack_policy(
        StackName=tags["aws:cloudformation:stack-id"], StackPolicyBody=policy
    )
    restored = "postgresql://a:b@restored:5432/app"
    secrets.put_secret_value(SecretId=secret, SecretString=restored)
    assert stack.update(template("two")) == "UPDATE_ROLLBACK_COMPLETE"
    assert "does not allow [Update:Modify] for resource [Url]" in stack.reasons()
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == restored
    assert stack.delete() == "DELETE_COMPLETE"


def test_a_stack_policy_keeps_a_resource(stack: Stack) -> None:
    def template(delay: str, name: str) -> Template:
        return {
            "Kept": {
                "Type": "AWS::SQS::Queue",
                "Properties": {"DelaySeconds": delay, "QueueName": name},
            },
            "Free": {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": delay}},
        }

    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"},
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "Update:Replace",
            "Resource": "*",
            "Condition": {"StringEquals": {"ResourceType": ["AWS::SQS::Queue"]}},
        },
    ]
    first = f"{stack.name}-one"
    assert stack.create(template("1", first)) == "CREATE_COMPLETE"
    kept = stack.physical("Kept")
    stack.api.set_stack_policy(
        StackName=stack.name, StackPolicyBody=json.dumps({"Statement": statements})
    )
    assert stack.update(template("2", first)) == "UPDATE_COMPLETE"

    assert stack.update(template("2", f"{stack.name}-two")) == "UPDATE_ROLLBACK_COMPLETE"
    assert "does not allow [Update:Replace] for resource [Kept]" in stack.reasons()
    stack.aws.client("sqs").get_queue_attributes(QueueUrl=kept, AttributeNames=["All"])

    only = [statements[0] | {"Resource": "LogicalResourceId/Kept"}]
    stack.api.set_stack_policy(
        StackName=stack.name, StackPolicyBody=json.dumps({"Statement": only})
    )
    assert stack.update(template("3", first)) == "UPDATE_ROLLBACK_COMPLETE"
    assert "[Update:Modify] for resource [Free]" in stack.reasons()
    assert stack.delete() == "DELETE_COMPLETE"


# What the templates and the deploy command rely on, and MiniStack has


def _topic(**more: Any) -> Template:
    topic: Template = {"Type": "AWS::SNS::Topic"}
    return topic | more


def test_rules_and_patterns_are_checked_before_anything_is_made(stack: Stack) -> None:
    contradiction = {"Fn::Not": [{"Fn::Equals": [{"Ref": "Domain"}, "none"]}]}
    template = {
        "Parameters": {
            "Domain": {
                "Type": "String",
                "AllowedPattern": "[a-z]+",
                "ConstraintDescription": "lower case letters, such as example",
            }
        },
        "Rules": {
            "HasDomain": {
                "Assertions": [{"Assert": contradiction, "AssertDescription": "give a domain"}]
            }
        },
        "Resources": {"Topic": _topic()},
    }

    def refused(value: str) -> str:
        parameters = [{"ParameterKey": "Domain", "ParameterValue": value}]
        with pytest.raises(stack.api.exceptions.ClientError) as refusal:
            stack.create(template, Parameters=parameters)
        return str(refusal.value)

    assert "such as example" in refused("UPPER")
    assert "give a domain" in refused("none")
    with pytest.raises(stack.api.exceptions.ClientError, match="does not exist"):
        stack.api.describe_stacks(StackName=stack.name)


def test_an_export_in_use_is_not_deleted(aws: LocalAws, name: str) -> None:
    result, used = Stack(aws, f"{name}-network"), Stack(aws, f"{name}-service")

    def exporting(value: str) -> Template:
        output = {"Value": value, "Export": {"Name": {"Fn::Sub": "${AWS::StackName}-VpcId"}}}
        return {"Resources": {"Topic": _topic()}, "Outputs": {"VpcId": output}}

    imported = {"Fn::ImportValue": {"Fn::Sub": f"{name}-network-VpcId"}}
    consumer = {
        "Resources": {"Topic": _topic(Properties={"DisplayName": imported})},
        "Outputs": _outputs(Vpc=imported),
    }
    own = {"Fn::If": ["Own", "vpc-0", imported]}
    choosing = consumer | {
        "Conditions": {"Own": {"Fn::Equals": ["a", "a"]}},
        "Resources": {"Topic": _topic(Properties={"DisplayName": own})},
        "Outputs": {},
    }
    assert used.create(consumer) == "ROLLBACK_COMPLETE"
    assert f"{name}-network-VpcId" in used.reasons()
    assert used.delete() == "DELETE_COMPLETE"

    assert result.create(exporting("vpc-1")) == "CREATE_COMPLETE"
    assert used.create(consumer) == "CREATE_COMPLETE"
    assert used.outputs() == {"Vpc": "vpc-1"}
    with pytest.raises(result.api.exceptions.ClientError, match="is imported by stack"):
        result.delete()
    assert used.update(choosing) == "UPDATE_COMPLETE"  # which does not import it
    assert result.delete() == "DELETE_COMPLETE"
    assert used.delete() == "DELETE_COMPLETE"


def test_a_failed_create_is_rolled_back(stack: Stack) -> None:
    kept = _topic(DeletionPolicy="RetainExceptOnCreate", Properties={"TopicName": stack.name})
    rule = {"GroupId": "sg-0", "IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"}
    broken = {
        "Kept": kept,
        "Broken": {
            "Type": "AWS::EC2::SecurityGroupIngress",
            "Properties": rule,
            "DependsOn": "Kept",
        },
    }
    assert stack.create(broken) == "ROLLBACK_COMPLETE"
    assert "sg-0 not found" in stack.reasons()
    topics = [t["TopicArn"] for t in stack.aws.client("sns").list_topics()["Topics"]]
    assert not [arn for arn in topics if arn.endswith(stack.name)]
    assert stack.delete() == "DELETE_COMPLETE"
    assert stack.create({"Kept": kept}) == "CREATE_COMPLETE"
    arn = stack.physical("Kept")
    assert stack.delete() == "DELETE_COMPLETE"
    stack.aws.client("sns").get_topic_attributes(TopicArn=arn)


def test_a_change_set_for_a_new_stack_waits_for_review(stack: Stack) -> None:
    changes = stack.preview({"Topic": _topic()}, "CREATE")
    assert changes["Topic"]["Action"] == "Add"
    described = stack.api.describe_stacks(StackName=stack.name)["Stacks"][0]
    assert described["StackStatus"] == "REVIEW_IN_PROGRESS"
    stack.api.delete_stack(StackName=stack.name)


def test_a_protected_stack_is_not_deleted(stack: Stack) -> None:
    stack.create({"Topic": _topic()}, EnableTerminationProtection=True)
    with pytest.raises(stack.api.exceptions.ClientError, match="TerminationProtection"):
        stack.delete()
    stack.api.update_termination_protection(StackName=stack.name, EnableTerminationProtection=False)
    assert stack.delete() == "DELETE_COMPLETE"


def test_a_dynamic_reference_is_resolved_and_not_shown(stack: Stack) -> None:
    password = {"GenerateSecretString": {"PasswordLength": 20, "ExcludePunctuation": True}}
    reference = {"Fn::Sub": "postgresql://owner:{{resolve:secretsmanager:${Password}}}@db/app"}
    template = {
        "Password": {"Type": "AWS::SecretsManager::Secret", "Properties": password},
        "Url": {"Type": "AWS::SecretsManager::Secret", "Properties": {"SecretString": reference}},
    }
    secrets = stack.aws.client("secretsmanager")
    assert stack.create(template) == "CREATE_COMPLETE"
    described = secrets.describe_secret(SecretId=stack.physical("Password"))
    assert stack.physical("Password") == described["ARN"]
    value = secrets.get_secret_value(SecretId=stack.physical("Password"))["SecretString"]
    url = secrets.get_secret_value(SecretId=stack.physical("Url"))["SecretString"]
    assert url == f"postgresql://owner:{value}@db/app"
    assert value not in str(stack.api.get_template(StackName=stack.name))
    assert value not in stack.reasons()
    assert stack.delete() == "DELETE_COMPLETE"


def test_a_permissions_boundary_limits_a_role_that_it_knows_by_its_path(stack: Stack) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html"""
    root = {"AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}}
    path = {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/known/*"}
    most = {"Effect": "Allow", "NotAction": "sqs:*", "Resource": "*"}
    boundary = {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {
            "PolicyDocument": _policy(most | {"Condition": {"ArnLike": {"aws:PrincipalArn": path}}})
        },
    }

    def role(path: str, **limit: Any) -> Template:
        allow = {"Effect": "Allow", "Action": ["sqs:ListQueues", "sns:ListTopics"], "Resource": "*"}
        trust = _policy({"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole"})
        own = {"PolicyName": "Own", "PolicyDocument": _policy(allow)}
        result = {"Path": path, "AssumeRolePolicyDocument": trust, "Policies": [own]}
        return {"Type": "AWS::IAM::Role", "Properties": result | limit}

    def may(logical_id: str) -> tuple[bool, bool]:
        """List queues, and list topics."""
        session = stack.aws.client("sts").assume_role(
            RoleArn=stack.outputs()[logical_id], RoleSessionName="test"
        )["Credentials"]
        caller: Any = boto3.Session(
            session["AccessKeyId"],
            session["SecretAccessKey"],
            session["SessionToken"],
            region_name="us-east-1",
        )
        matches = []
        for service, call in (("sqs", "list_queues"), ("sns", "list_topics")):
            try:
                getattr(caller.client(service, endpoint_url=stack.aws.endpoint), call)()
                matches.append(True)
            except ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
                matches.append(False)
        return matches[0], matches[1]

    limit = {"PermissionsBoundary": {"Ref": "Boundary"}}
    roles = {
        "Limited": role("/known/", **limit),
        "Free": role("/known/"),
        "Unknown": role("/", **limit),
    }
    outputs = _outputs(**{name: _get(name, "Arn") for name in roles})
    template = {"Resources": {"Boundary": boundary, **roles}, "Outputs": outputs}
    capabilities = ["CAPABILITY_IAM"]
    assert stack.create(template, Capabilities=capabilities) == "CREATE_COMPLETE"
    assert may("Limited") == (False, True)
    assert may("Free") == (True, True)
    assert may("Unknown") == (False, False)
    template["Resources"]["Limited"] = role("/known/")
    assert stack.update(template, Capabilities=capabilities) == "UPDATE_COMPLETE"
    assert may("Limited") == (True, True)
    assert stack.delete() == "DELETE_COMPLETE"


def _policy(statement: Template) -> Template:
    return {"Version": "2012-10-17", "Statement": [statement]}

"""A small project of its own for each test, and one local AWS for all that need one."""

import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from cli.aws import Account
from cli.screen import Screen
from demo import ROOT
from local_aws.aws import LocalAws
from setup.infrastructure import Answers, Infrastructure
from setup.settings import Project, Stack

NAME = """
  ServiceName:
    Type: String
    Description: The service's name.
    AllowedPattern: "[a-z][a-z0-9-]*"
    ConstraintDescription: must be lower-case letters, digits and hyphens, such as coder
"""

NETWORK = f"""
Parameters: {NAME}
  Label:
    Type: String
    Default: plain
    Description: What the topic is called.
  QueueSuffix:
    Type: String
    Default: one
    Description: The end of the queue's name; a queue of another name is another queue.
  WaitSeconds:
    Type: Number
    Default: 0
    MinValue: 0
    MaxValue: 60
    Description: For how long the stack waits for a signal that does not come; then it fails.
Conditions:
  Waits: !Not [!Equals [!Ref WaitSeconds, 0]]
Resources:
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      DisplayName: !Ref Label
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub "${{ServiceName}}-${{QueueSuffix}}"
  Handle:
    Type: AWS::CloudFormation::WaitConditionHandle
    Condition: Waits
  Wait:
    Type: AWS::CloudFormation::WaitCondition
    Condition: Waits
    Properties:
      Handle: !Ref Handle
      Timeout: !Ref WaitSeconds
Outputs:
  QueueName:
    Value: !GetAtt Queue.QueueName
    Export:
      Name: !Sub "${{AWS::StackName}}-QueueName"
"""

SERVICE = f"""
Parameters: {NAME}
  TableSuffix:
    Type: String
    Default: one
    Description: The end of the table's name.
  DomainName:
    Type: String
    Default: ""
    Description: The service's host name, or empty.
    AllowedPattern: "([a-z0-9-]+([.][a-z0-9-]+)+)?"
    ConstraintDescription: must be a host name, such as coder.example.com, or empty
  SpecPath: {{ Type: String, Default: /deployer/services, Description: Where the specs are. }}
  HostedZoneId: {{ Type: String, Default: "", Description: The zone of DomainName. }}
  VpcId: {{ Type: String, Default: "", Description: A VPC that is there. }}
  SubnetIds: {{ Type: String, Default: "", Description: Its subnets for the tasks. }}
  DatabaseUrlSecretArn:
    Type: String
    Default: ""
    Description: The secret with the URL of a database that is there.
Resources:
  Records:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: RetainExceptOnCreate
    UpdateReplacePolicy: Retain
    Properties:
      TableName: !Sub "${{ServiceName}}-${{TableSuffix}}"
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{{ AttributeName: id, AttributeType: S }}]
      KeySchema: [{{ AttributeName: id, KeyType: HASH }}]
  Imported:
    Type: AWS::SSM::Parameter
    Properties:
      Type: String
      Value:
        Fn::ImportValue: !Sub "${{ServiceName}}-network-QueueName"
  Site:
    Type: AWS::SSM::Parameter
    Properties:
      Name: !Sub "/deployer/docs/${{ServiceName}}"
      Type: String
      Value: !Sub >-
        {{"site": "${{ServiceName}}", "url": "https://docs.example.com", "bucket": "docs-bucket",
        "distribution": "E1", "store": "arn:aws:cloudfront::000000000000:key-value-store/1",
        "build": {{"directory": "", "script": "", "output": "", "secrets": ""}}}}
  Spec:
    Type: AWS::SSM::Parameter
    Properties:
      Name: !Sub "${{SpecPath}}/${{ServiceName}}"
      Type: String
      Value: !Sub >-
        {{"service": "${{ServiceName}}", "cluster": "${{ServiceName}}",
        "repository": "${{ServiceName}}", "tags": ".+"}}
Outputs:
  Table:
    Value: !Ref Records
"""

DEPLOYER = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  SpecPath: { Type: String, Default: /deployer/services }
  SitePath: { Type: String, Default: /deployer/docs }
Resources:
  Releases:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - { AttributeName: service, AttributeType: S }
        - { AttributeName: id, AttributeType: S }
      KeySchema:
        - { AttributeName: service, KeyType: HASH }
        - { AttributeName: id, KeyType: RANGE }
  Sources:
    Type: AWS::S3::Bucket
    Properties:
      NotificationConfiguration:
        EventBridgeConfiguration: { EventBridgeEnabled: true }
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: { Service: [states.amazonaws.com, events.amazonaws.com] }
            Action: sts:AssumeRole
      Policies:
        - PolicyName: Start
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - { Effect: Allow, Action: ["states:*", "dynamodb:*"], Resource: "*" }
  Deploy:
    Type: AWS::Serverless::StateMachine
    Properties:
      Role: !GetAtt Role.Arn
      Definition:
        QueryLanguage: JSONata
        StartAt: Is it there?
        States:
          Is it there?:
            Type: Choice
            Choices:
              - { Condition: "{% $states.input.image = 'missing' %}", Next: Missing }
            Default: Record success
          Missing: { Type: Fail, Error: ImageMissing, Cause: there is no such image }
          Record success:
            Type: Task
            Resource: arn:aws:states:::dynamodb:putItem
            Arguments:
              TableName: !Ref Releases
              Item:
                service: { S: "{% $states.input.service %}" }
                id: { S: "20260101T000000Z-1" }
                outcome: { S: SUCCEEDED }
                version: { S: "{% $states.input.image %}" }
                digest: { S: "sha256:" }
                url: { S: "http://example.com" }
                execution: { S: "{% $states.context.Execution.Id %}" }
            Output: "{% $states.input %}"
            Next: Record whose it is
          Record whose it is:
            Type: Task
            Resource: arn:aws:states:::dynamodb:putItem
            Arguments:
              TableName: !Ref Releases
              Item:
                service: { S: "{% 'execution:' & $states.context.Execution.Id %}" }
                id: { S: release }
                of: { S: "{% $states.input.service %}" }
                release: { S: "20260101T000000Z-1" }
            End: true
  Docs:
    Type: AWS::Serverless::StateMachine
    Properties:
      Role: !GetAtt Role.Arn
      Definition:
        QueryLanguage: JSONata
        StartAt: Record docs
        States:
          Record docs:
            Type: Task
            Resource: arn:aws:states:::dynamodb:putItem
            Arguments:
              TableName: !Ref Releases
              Item:
                service: { S: "{% 'docs:' & $split($states.input.detail.object.key, '/')[1] %}" }
                id: { S: "20260101T000000Z-1" }
                outcome: { S: SUCCEEDED }
                version: { S: sources }
                url: { S: "http://docs.example.com" }
                execution: { S: "{% $states.context.Execution.Id %}" }
            Output: "{% $states.input %}"
            Next: Record whose it is
          Record whose it is:
            Type: Task
            Resource: arn:aws:states:::dynamodb:putItem
            Arguments:
              TableName: !Ref Releases
              Item:
                service: { S: "{% 'execution:' & $states.context.Execution.Id %}" }
                id: { S: release }
                of: { S: "{% 'docs:' & $split($states.input.detail.object.key, '/')[1] %}" }
                release: { S: "20260101T000000Z-1" }
            End: true
  Upload:
    Type: AWS::Events::Rule
    Properties:
      EventPattern:
        source: [aws.s3]
        detail-type: [Object Created]
        detail: { bucket: { name: [!Ref Sources] }, object: { key: [prefix: docs/] } }
      Targets:
        - { Id: Docs, Arn: !Ref Docs, RoleArn: !GetAtt Role.Arn }
Outputs:
  StateMachine: { Value: !Ref Deploy }
  DocsStateMachine: { Value: !Ref Docs }
  ReleasesTable: { Value: !Ref Releases }
  SourceBucket: { Value: !Ref Sources }
"""


@dataclass
class Checkout:
    """A checkout with three small stacks, as the command finds it in its working directory."""

    root: Path
    name: str
    aws: LocalAws | None = None

    def write(self, **settings: str) -> None:
        """The settings of the default environment."""
        directory = self.root / "environments"
        directory.mkdir(exist_ok=True)
        settings = {"DeployerStack": f"{self.name}-deployer", **settings}
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in settings.items()]
        (directory / "default.yaml").write_text("# kept\n" + "".join(lines))

    @property
    def environment(self) -> dict[str, str]:
        aws = self.aws.env if self.aws else {**os.environ, "AWS_EC2_METADATA_DISABLED": "true"}
        own = {name: value for name, value in aws.items() if name not in ("COLUMNS", "LINES")}
        path = os.pathsep.join([str(ROOT), str(ROOT / "layers/deployer")])
        return {**own, "PYTHONPATH": path, "TERM": "xterm"}

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "setup", *options]

    def run(self, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """The command without a terminal."""
        return subprocess.run(
            self.command(*options),
            cwd=self.root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def output(self, *options: str) -> dict[str, Any]:
        """What the command tells a program; it must end well."""
        done = self.run("--json", *options)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


def checkout(root: Path, aws: LocalAws | None = None) -> Checkout:
    name = f"svc-{uuid.uuid4().hex[:6]}"
    (root / "infrastructure").mkdir()
    (root / "samconfig.toml").write_text((ROOT / "samconfig.toml").read_text())
    files = {"infrastructure/network": NETWORK, "infrastructure/service": SERVICE}
    for file, content in (files | {"template": DEPLOYER}).items():
        (root / f"{file}.yaml").write_text(content)
    return Checkout(root, name, aws)


def infrastructure(account: Account, *kinds: str, **given: str) -> Infrastructure:
    """The stacks of these kinds, as the command makes them; what it says goes into a text."""
    stacks = [
        Stack(kind, f"{given.get('ServiceName', 'coder')}-{kind}", Path(kind), False, {}, {})
        for kind in kinds
    ]
    screen, answers = Screen(io.StringIO()), Answers(yes=True)
    # nothing is built here, so that no checkout is needed
    return Infrastructure(account, cast(Project, None), given, stacks, screen, answers, False)


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """A checkout without an AWS."""
    return checkout(tmp_path)


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws.start() as running:
        yield running


@pytest.fixture
def deployable(tmp_path: Path, aws: LocalAws) -> Checkout:
    """A checkout whose command speaks to a local AWS."""
    result = checkout(tmp_path, aws)
    result.write(ServiceName=result.name)
    return result

"""What several tests of `local/` need: functions, state machines, and a queue's events."""

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_aws import server
from local_aws.aws import LocalAws

SOURCES = Path(server.__file__).parent.parent
"""From where a child process imports the local AWS."""

Json = dict[str, Any]


def packed(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name.replace('__', '/')}.py", text)
    return content.getvalue()


class Function:
    def __init__(self, aws: LocalAws, name: str, code: bytes, **settings: Any) -> None:
        self.aws, self.name, self.client = aws, name, aws.client("lambda")
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
        document = {"Version": "2012-10-17", "Statement": [trust | {"Action": "sts:AssumeRole"}]}
        role = aws.client("iam").create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps(document)
        )["Role"]["Arn"]
        aws.client("iam").attach_role_policy(
            RoleName=name,
            PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
        )
        self.client.create_function(
            **{
                "FunctionName": name,
                "Role": role,
                "Runtime": "python3.13",
                "Handler": "app.handler",
                "Code": {"ZipFile": code},
                "Timeout": 10,
                **settings,
            }
        )

    def __call__(self, do: str, **event: Any) -> Any:
        """Its result, or its failure as {"failed": …}."""
        answer = self.client.invoke(
            FunctionName=self.name, Payload=json.dumps({"do": do, **event}).encode()
        )
        content = json.loads(answer["Payload"].read())
        assert answer["StatusCode"] == 200
        assert answer.get("FunctionError") in (None, "Unhandled")
        return {"failed": content} if "FunctionError" in answer else content


WORKER = """
import time, boto3
class DeployError(Exception): pass
class ImageMissing(DeployError): pass

def handler(event, context):
    sfn = boto3.client("stepfunctions")
    match event.get("do"):
        case "raise": raise ImageMissing("no image")
        case "sleep": time.sleep(event["seconds"])
        case "answer": sfn.send_task_success(taskToken=event["token"], output='{"early": true}')
        case "park": sfn.start_execution(stateMachineArn=event["park"], input=event["token"])
    return event
"""


def task(resource: str = "${Worker}", **fields: Any) -> Json:
    return {"Type": "Task", "Resource": resource, **fields}


def callback(payload: Json, **fields: Any) -> Json:
    arguments = {"FunctionName": "${Worker}", "Payload": payload}
    token = {"token": "{% $states.context.Task.Token %}"}
    arguments["Payload"] = payload | token
    return task("arn:aws:states:::lambda:invoke.waitForTaskToken", Arguments=arguments, **fields)


def succeed(**fields: Any) -> Json:
    return {"Type": "Succeed", **fields}


class Machines:
    """Makes state machines, all in one role that may invoke one function."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws, self.sfn = aws, aws.client("stepfunctions")
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.function = self._function()
        self.role = self.make_role("states.amazonaws.com", "lambda:InvokeFunction", self.function)

    def make_role(self, service: str, action: str, resource: str, **trusted: Json) -> str:
        """trusted: conditions of the trust policy."""
        name, iam = f"test-{uuid.uuid4().hex[:8]}", self.aws.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        trust |= {"Condition": trusted} if trusted else {}
        arn = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )["Role"]["Arn"]
        allow = {"Effect": "Allow", "Action": action, "Resource": resource}
        iam.put_role_policy(
            RoleName=name,
            PolicyName="one",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
        )
        return str(arn)

    def _function(self) -> str:
        role = self.make_role("lambda.amazonaws.com", "states:*", "*")
        return str(
            self.aws.client("lambda").create_function(
                FunctionName=self.name,
                Role=role,
                Runtime="python3.13",
                Handler="app.handler",
                Code={"ZipFile": packed(app=WORKER)},
                Timeout=30,
            )["FunctionArn"]
        )

    def make(self, states: Json, role: str | None = None, **top: Any) -> str:
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
        return str(
            self.sfn.create_state_machine(
                name=f"test-{uuid.uuid4().hex[:8]}",
                roleArn=role or self.role,
                definition=json.dumps(definition | top).replace("${Worker}", self.function),
            )["stateMachineArn"]
        )

    def start(self, states: Json, given: Any = None, role: str | None = None, **top: Any) -> str:
        machine = self.make(states, role, **top)
        return str(
            self.sfn.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))[
                "executionArn"
            ]
        )

    def until[T](self, look: Callable[[], T], within: float = 120, so: Any = None) -> T:
        """What `look` sees, once it is true; asked again and again."""
        deadline = time.monotonic() + within
        while not (seen := look()):
            assert time.monotonic() < deadline, so() if so else "this did not happen in time"
            time.sleep(0.02)
        return seen

    def ended(self, execution: str) -> Json:
        """The description of the execution once it has ended."""

        def look() -> Json | None:
            response: Json = self.sfn.describe_execution(executionArn=execution)
            return response if response["status"] != "RUNNING" else None

        return self.until(look, so=lambda: self.history(execution)) or {}

    def run(self, states: Json, given: Any = None, role: str | None = None, **top: Any) -> Any:
        """The output of an execution that succeeds."""
        execution = self.start(states, given, role, **top)
        result = self.ended(execution)
        assert result["status"] == "SUCCEEDED", (result, self.history(execution))
        return json.loads(result["output"])

    def fails(self, states: Json, given: Any = None, role: str | None = None, **top: Any) -> Json:
        result = self.ended(self.start(states, given, role, **top))
        assert result["status"] == "FAILED", result
        return result

    def history(self, execution: str) -> list[Json]:
        return list(
            self.sfn.get_execution_history(executionArn=execution, maxResults=1000)["events"]
        )

    def types(self, execution: str) -> list[str]:
        return [event["type"] for event in self.history(execution)]

    def tokens(self, execution: str) -> list[str]:
        """The tokens that callback tasks of the execution were given."""
        return [
            json.loads(event["taskScheduledEventDetails"]["parameters"])["Payload"]["token"]
            for event in self.history(execution)
            if event["type"] == "TaskScheduled"
        ]

    def token(self, execution: str) -> str:
        """The token of its first callback task, once that runs."""
        return self.until(lambda: self.tokens(execution))[0]

    def entered(self, execution: str, state: str) -> None:
        """Wait until it has entered the state."""
        self.until(
            lambda: any(
                event.get("stateEnteredEventDetails", {}).get("name") == state
                for event in self.history(execution)
            )
        )


def received(aws: LocalAws, url: str, count: int) -> list[Json]:
    sqs = aws.client("sqs")
    matches: list[Json] = []
    deadline = time.monotonic() + 60
    while len(matches) < count and time.monotonic() < deadline:
        answer = sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        for message in answer.get("Messages", []):
            attributes = message.get("MessageAttributes", {})
            values = {key: value["StringValue"] for key, value in attributes.items()}
            matches.append(json.loads(message["Body"]) | ({"attributes": values} if values else {}))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert len(matches) == count, matches
    return matches

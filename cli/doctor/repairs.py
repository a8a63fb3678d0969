"""The repairs of `deployer doctor --fix`: each is safe, idempotent, and interrupts nothing."""

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import code_of
from cli.target import Target
from deployer.check import Repair

_AT_ONCE = 10  # messages; SQS's maximum
_HIDDEN = 60  # seconds in which nobody else receives our messages


def carry_out(repair: Repair, target: Target) -> str:
    """Carry a repair out.

    Returns:
        A message that says what was done.
    Raises:
        AWS_ERRORS: AWS failed.
    """
    return _ACTIONS[repair.action](target, repair.about)


def _open_port(target: Target, about: Mapping[str, Any]) -> str:
    if "cidr" in about:
        source: dict[str, Any] = {"IpRanges": [{"CidrIp": about["cidr"]}]}
    else:
        source = {"UserIdGroupPairs": [{"GroupId": about["from_group"]}]}
    rule = {"IpProtocol": "tcp", "FromPort": about["port"], "ToPort": about["port"], **source}
    try:
        target.account.client("ec2").authorize_security_group_ingress(
            GroupId=about["group"], IpPermissions=[rule]
        )
    except ClientError as error:
        if code_of(error) != "InvalidPermission.Duplicate":
            raise
    return f"{about['group']} is open on port {about['port']}"


def _create_log_group(target: Target, about: Mapping[str, Any]) -> str:
    try:
        target.account.client("logs").create_log_group(logGroupName=about["name"])
    except ClientError as error:
        if code_of(error) != "ResourceAlreadyExistsException":
            raise
    return f"{about['name']} is there"


def _reconcile(target: Target, about: Mapping[str, Any]) -> str:
    """Run Reconcile, as the schedule does every five minutes."""
    name = target.output("ReconcileFunctionName", "let Reconcile look")
    response = target.account.client("lambda").invoke(
        FunctionName=name, Payload=json.dumps({"detail-type": "Scheduled Event"})
    )
    result = json.loads(response["Payload"].read() or "{}")
    if "FunctionError" in response:
        return f"Reconcile failed: {result.get('errorMessage', result)}"
    settled, started = result.get("settled", []), result.get("started", [])
    return f"Reconcile settled {len(settled)} releases and started {len(started)} missed pushes"


def _redrive(target: Target, about: Mapping[str, Any]) -> str:
    """Start an execution for each event that could not start one, and delete it from the queue.

    EventBridge adds the event's target to each message:
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    sqs, sfn = target.account.client("sqs"), target.account.client("stepfunctions")
    machines = {
        target.outputs.get(name)
        for name in ("StateMachine", "BuildStateMachine", "DocsStateMachine")
    }
    started = skipped = 0
    while messages := sqs.receive_message(
        QueueUrl=about["queue"],
        MaxNumberOfMessages=_AT_ONCE,
        MessageAttributeNames=["All"],
        VisibilityTimeout=_HIDDEN,
        WaitTimeSeconds=1,  # asks all of SQS's servers, not some
    ).get("Messages"):
        for message in messages:
            attributes = message.get("MessageAttributes", {})
            machine = attributes.get("TARGET_ARN", {}).get("StringValue")
            if machine not in machines:
                skipped += 1
                continue
            # an earlier attempt may have started it, and not have deleted the message
            with contextlib.suppress(sfn.exceptions.ExecutionAlreadyExists):
                sfn.start_execution(
                    stateMachineArn=machine,
                    name=f"redrive-{message['MessageId']}",
                    input=message["Body"],
                )
            sqs.delete_message(QueueUrl=about["queue"], ReceiptHandle=message["ReceiptHandle"])
            started += 1
    note = f"; {skipped} are for no machine of this deployer and were left" if skipped else ""
    return f"{started} executions were started{note}"


_ACTIONS: Mapping[str, Callable[[Target, Mapping[str, Any]], str]] = {
    "open-port": _open_port,
    "create-log-group": _create_log_group,
    "reconcile": _reconcile,
    "redrive": _redrive,
}

"""What production does to a deployment: functions killed, images deleted, pushes in a burst."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from demo.stage import Stage
from local_aws.aws import processes


def kill_worker(stage: Stage, function: str, seconds: float = 60) -> bool:
    """Kill a process that runs a function of the deployer, as soon as there is one."""
    name = f"{stage.stack}-{function}"[-15:]  # as much as the kernel keeps of it
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for pid in processes(stage.aws.directory):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    os.kill(pid, signal.SIGKILL)
                    return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("function", ["UpdateService", "RegisterTaskDefinition", "PollHealth"])
def test_a_function_that_is_killed_runs_again_and_does_nothing_twice(
    live: Stage, function: str
) -> None:
    ecs = live.aws.client("ecs")
    arn = live.started_by(live.release("1.1.0", fault="slow-start", seconds=1.0))
    assert kill_worker(live, function)
    done = live.ended(arn)
    assert done.status == "SUCCEEDED", (done.error, done.cause)
    revisions = ecs.list_task_definitions(familyPrefix=f"{live.service}-releases")[
        "taskDefinitionArns"
    ]
    assert len(revisions) == 2
    assert [record["outcome"] for record in live.records()] == ["SUCCEEDED", "SUCCEEDED"]


def test_three_pushes_within_a_second_end_with_one_of_them_live(live: Stage) -> None:
    digests = [live.release(version) for version in ("1.1.0", "1.2.0", "1.3.0")]
    ends = [live.ended(live.started_by(digest)) for digest in digests]
    assert {end.status for end in ends} == {"SUCCEEDED"}
    records = [live.record(digest) for digest in digests]
    assert {record["outcome"] for record in records} <= {"SUCCEEDED", "SUPERSEDED"}
    newest = [r for r in records if r["pushedAt"] == max(r["pushedAt"] for r in records)]
    served = [r for r in newest if r.get("taskDefinition") == live.described()["taskDefinition"]]
    assert [record["outcome"] for record in served] == ["SUCCEEDED"]


def test_an_image_deleted_midway_fails_by_name_and_the_good_release_is_back(live: Stage) -> None:
    """It is deleted after it was identified and before ECS pulls it."""
    (good,) = live.records()
    digest = live.release("1.1.0")
    arn = live.started_by(digest)
    for now in live.follow(arn):
        if "Acquire lock" in now.path:
            break
    live.aws.client("ecr").batch_delete_image(
        repositoryName=live.service, imageIds=[{"imageDigest": digest}]
    )
    done = live.ended(arn)
    record = live.record(digest)
    if done.status == "SUCCEEDED":  # ECS was faster
        assert record["outcome"] == "SUCCEEDED"
        return
    assert (done.error, record["outcome"]) == ("RolloutFailed", "FAILED_ROLLED_BACK")
    assert record["diagnosis"]["kind"] == "image"
    assert live.described()["taskDefinition"] == good["taskDefinition"]


def messages(stage: Stage, queue: str, seconds: float = 60) -> list[dict[str, Any]]:
    """What a queue gets within a time, until nothing more comes for a second."""
    sqs, response = stage.aws.client("sqs"), []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in got.get("Messages", []):
            response.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        if response and not got.get("Messages"):
            break
    return response


@pytest.mark.walk
def test_everyone_who_subscribed_hears_of_start_and_end(live: Stage) -> None:
    sqs, sns = live.aws.client("sqs"), live.aws.client("sns")
    topic = live.outputs["AnnouncementsTopic"]
    queue = sqs.create_queue(QueueName=f"{live.service}-news")["QueueUrl"]
    request = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    arn = request["Attributes"]["QueueArn"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    live.deployed("1.1.0")
    heard = [message["Message"] for message in messages(live, queue)]
    mine = [text for text in heard if text.startswith(live.service)]
    assert any("STARTED" in text and "1.1.0" in text for text in mine), heard
    assert any("SUCCEEDED" in text and "1.1.0" in text for text in mine), heard

    reason = 'exit code 1: "no such host"\n' + "\n".join(
        f'{{"line": "{n}"}}\t\\' for n in range(300)
    )
    detail = {"service": live.service, "version": "1.1.1", "state": "FAILED", "reason": reason}
    entry = {"Source": "deployer", "DetailType": "Release State Change"}
    live.aws.client("events").put_events(Entries=[entry | {"Detail": json.dumps(detail)}])
    (message,) = messages(live, queue)
    assert message["Subject"] == f"{live.service} 1.1.1 failed"
    assert f"\n\n{reason}\n\n" in message["Message"]


def test_a_notification_that_fails_changes_no_outcome(live: Stage) -> None:
    iam = live.aws.client("iam")
    role = next(
        r["RoleName"]
        for r in iam.list_roles()["Roles"]
        if r["RoleName"].startswith(f"{live.stack}-RecordSuccessRole")
    )
    iam.put_role_policy(
        RoleName=role,
        PolicyName="deny-events",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Deny", "Action": "events:*", "Resource": "*"}],
            }
        ),
    )
    try:
        assert live.deployed("1.1.0").status == "SUCCEEDED"
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="deny-events")
    assert live.records()[-1]["outcome"] == "SUCCEEDED"

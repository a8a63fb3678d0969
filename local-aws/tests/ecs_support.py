"""A cluster of its own for a test, with the roles, images and network that a service needs."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import images
from local_aws.aws import LocalAws

SERVER = b"""#!/usr/bin/env python3
import http.server, json, os, pathlib, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        healthy = not pathlib.Path("sick").exists()
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(200 if healthy or self.path != "/healthz" else 500)
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        if self.path == "/exit":
            os._exit(7)
        pathlib.Path("sick").touch()
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
print("listening", flush=True)
http.server.ThreadingHTTPServer((os.environ["HOST"], 3000), Handler).serve_forever()
"""
PROBE = (
    "CMD-SHELL",
    "python3 -S -c \"import urllib.request as r; r.urlopen('http://localhost:3000/healthz')\"",
)
# Fails its check until a minute has passed, which no test waits for.
NEVER = ("CMD", "false")

Service = dict[str, Any]


def until[T](look: Callable[[], T], right: Callable[[T], Any], within: float = 120.0) -> T:
    """What `look` returns once it is right. Raises TimeoutError with the last look."""
    deadline = time.monotonic() + within
    while not right(seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {within} s still {seen}")
        time.sleep(0.02)
    return seen


class World:
    """One cluster, one service, and what it needs."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.aws = aws
        self.name = name
        self.ecs = aws.client("ecs")
        self.ec2 = aws.client("ec2")
        self.iam = aws.client("iam")
        self.logs = aws.client("logs")
        self.subnet: str = self.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        self.ecs.create_cluster(clusterName=name)
        self.logs.create_log_group(logGroupName=name)
        aws.client("ecr").create_repository(repositoryName=name)
        self.execution_role = self.role(
            f"{name}-execution", "service-role/AmazonECSTaskExecutionRolePolicy"
        )
        self._queue: str | None = None
        self._heard: list[dict[str, Any]] = []
        self.server = self.push({"/app/server": SERVER}, "/app/server")

    def close(self) -> None:
        for arn in self.ecs.list_services(cluster=self.name)["serviceArns"]:
            self.ecs.delete_service(cluster=self.name, service=arn, force=True)
        for arn in self.tasks():
            self.ecs.stop_task(cluster=self.name, task=arn)

    # Making things

    def role(self, name: str, *managed: str, trusts: str = "ecs-tasks.amazonaws.com") -> str:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": trusts},
            "Action": "sts:AssumeRole",
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        arn: str = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"][
            "Arn"
        ]
        for policy in managed:
            self.iam.attach_role_policy(
                RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}"
            )
        return arn

    def allow(self, role: str, *actions: str) -> None:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        self.iam.put_role_policy(
            RoleName=PurePosixPath(role).name,
            PolicyName="more",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )

    def push(self, files: dict[str, bytes], *entrypoint: str) -> str:
        """The image's URI, by digest."""
        run: dict[str, Any] = {"Env": ["HOST=0.0.0.0"], "WorkingDir": "/app"}
        digest = images.push(self.aws.client("ecr"), self.name, files, entrypoint, **run)
        return f"{self.registry}/{self.name}@{digest}"

    @property
    def registry(self) -> str:
        return f"{self.aws.account}.dkr.ecr.{self.aws.region}.amazonaws.com"

    def script(self, text: str) -> str:
        """An image that runs a shell script."""
        return self.push({"/app/run": f"#!/bin/sh\n{text}\n".encode()}, "/app/run")

    def define(self, uri: str | None = None, *others: dict[str, Any], **container: Any) -> str:
        """Register a revision whose container `app` runs the image; its ARN."""
        task_role = container.pop("taskRoleArn", None)
        execution_role = container.pop("executionRoleArn", self.execution_role)
        log = {
            "awslogs-group": self.name,
            "awslogs-region": self.aws.region,
            "awslogs-stream-prefix": "app",
        }
        app = {
            "name": "app",
            "image": uri or self.server,
            "essential": True,
            "stopTimeout": 5,
            "logConfiguration": {"logDriver": "awslogs", "options": log},
        }
        registered = self.ecs.register_task_definition(
            family=self.name,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            executionRoleArn=execution_role,
            containerDefinitions=[app | container, *others],
            **({"taskRoleArn": task_role} if task_role else {}),
        )
        arn: str = registered["taskDefinition"]["taskDefinitionArn"]
        return arn

    @property
    def network(self) -> dict[str, Any]:
        return {"awsvpcConfiguration": {"subnets": [self.subnet], "assignPublicIp": "ENABLED"}}

    def create(self, definition: str | None = None, count: int = 1, **more: Any) -> Service:
        more = {"networkConfiguration": self.network} | more
        created: Service = self.ecs.create_service(
            cluster=self.name,
            serviceName=self.name,
            taskDefinition=definition or self.define(),
            desiredCount=count,
            launchType="FARGATE",
            **more,
        )["service"]
        return created

    def update(self, definition: str | None = None, **more: Any) -> Service:
        if definition:
            more["taskDefinition"] = definition
        updated: Service = self.ecs.update_service(cluster=self.name, service=self.name, **more)[
            "service"
        ]
        return updated

    def run(self, definition: str, **more: Any) -> str:
        """Run a task by itself; its ARN."""
        task: str = self.ecs.run_task(
            cluster=self.name,
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration=self.network,
            **more,
        )["tasks"][0]["taskArn"]
        return task

    # Looking

    def service(self) -> Service:
        response: Service = self.ecs.describe_services(cluster=self.name, services=[self.name])[
            "services"
        ][0]
        return response

    def until(self, right: Callable[[Service], Any], within: float = 120.0) -> Service:
        return until(self.service, right, within)

    def steady(self, within: float = 120.0) -> Service:
        """Wait until the one rollout is COMPLETED."""
        return self.until(lambda s: len(s["deployments"]) == 1 and completed(s), within)

    def tasks(self, status: str = "RUNNING") -> list[str]:
        response: list[str] = self.ecs.list_tasks(cluster=self.name, desiredStatus=status)[
            "taskArns"
        ]
        return response

    def task(self, arn: str) -> dict[str, Any]:
        response: dict[str, Any] = self.ecs.describe_tasks(cluster=self.name, tasks=[arn])["tasks"][
            0
        ]
        return response

    def stopped(self, count: int = 1, within: float = 120.0) -> list[dict[str, Any]]:
        """The service's stopped tasks, oldest first, once there are that many."""

        def look() -> list[dict[str, Any]]:
            arns = self.ecs.list_tasks(
                cluster=self.name, serviceName=self.name, desiredStatus="STOPPED"
            )["taskArns"]
            result = [self.task(arn) for arn in arns]
            return [task for task in result if task["lastStatus"] == "STOPPED"]

        result = until(look, lambda seen: len(seen) >= count, within)
        return sorted(result, key=lambda task: task["createdAt"])

    def ended(self, arn: str, within: float = 120.0) -> dict[str, Any]:
        return until(lambda: self.task(arn), lambda t: t["lastStatus"] == "STOPPED", within)

    def address(self, arn: str) -> str:
        """The task's public address, found the way an operator finds it, once it runs."""
        running = until(lambda: self.task(arn), lambda task: task["lastStatus"] == "RUNNING")
        attached = running["attachments"][0]["details"]
        interface = next(d["value"] for d in attached if d["name"] == "networkInterfaceId")
        response = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])
        address: str = response["NetworkInterfaces"][0]["Association"]["PublicIp"]
        return address

    def get(self, arn: str, path: str = "/") -> dict[str, str]:
        """What the server in the task answers: its environment. Waits until it listens."""
        url = f"http://{self.address(arn)}:3000{path}"

        def look() -> dict[str, str] | None:
            try:
                with _direct.open(url, timeout=5) as response:
                    answer: dict[str, str] = json.load(response)
                    return answer
            except OSError:
                return None

        result = until(look, lambda answer: answer is not None)
        assert result is not None
        return result

    def post(self, arn: str, path: str) -> None:
        """Tell the server in the task to get sick, or to exit. Waits until it listens."""
        self.get(arn)
        request = urllib.request.Request(f"http://{self.address(arn)}:3000{path}", method="POST")
        try:
            _direct.open(request, timeout=5).close()
        except OSError:  # it was asked to die
            assert path == "/exit"

    def log(self, arn: str) -> list[str]:
        """What the container `app` of a task wrote."""
        stream = f"app/app/{arn.rsplit('/', 1)[-1]}"
        events = self.logs.get_log_events(logGroupName=self.name, logStreamName=stream)["events"]
        return [event["message"] for event in events]

    def listen(self) -> None:
        """Collect every ECS event of this cluster from now on."""
        queue = self.aws.client("sqs").create_queue(QueueName=self.name)["QueueUrl"]
        arn = f"arn:aws:sqs:{self.aws.region}:{self.aws.account}:{self.name}"
        events = self.aws.client("events")
        events.put_rule(Name=self.name, EventPattern=json.dumps({"source": ["aws.ecs"]}))
        events.put_targets(Rule=self.name, Targets=[{"Id": "queue", "Arn": arn}])
        self._queue = queue

    def events(self, kind: str, within: float = 120.0) -> Iterator[dict[str, Any]]:
        """The events of a detail type, as they come; those of others wait for another call.

        Raises TimeoutError when the time is over.
        """
        deadline = time.monotonic() + within
        while True:
            while matches := [event for event in self._heard if event["detail-type"] == kind]:
                self._heard.remove(matches[0])
                yield matches[0]
            if time.monotonic() > deadline:
                raise TimeoutError(f"no more {kind} within {within} s")
            self._hear()

    def _hear(self) -> None:
        sqs = self.aws.client("sqs")
        received = sqs.receive_message(
            QueueUrl=self._queue,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            AttributeNames=["SentTimestamp"],
        )
        for message in received.get("Messages", []):
            sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
            event = json.loads(message["Body"])
            if self.name in event["resources"][0]:
                sent = int(message["Attributes"]["SentTimestamp"]) / 1000
                self._heard.append(event | {"sent": sent})


def primary(service: Service) -> dict[str, Any]:
    result: dict[str, Any] = next(d for d in service["deployments"] if d["status"] == "PRIMARY")
    return result


def completed(service: Service) -> bool:
    return bool(primary(service)["rolloutState"] == "COMPLETED")


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

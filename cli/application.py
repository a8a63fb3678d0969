"""MODE=application and MODE=docs: start the deployer's state machines and follow them."""

import contextlib
import getpass
import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cli import releases, sources
from cli.aws import Account
from cli.errors import FAILED, INTERRUPTED, UNREADY, CommandFailed
from cli.executions import Execution, look
from cli.follow import conclude, follow
from cli.screen import Screen, message, printable, standing

LOOK_SECONDS = 2.0
START_SECONDS = 120.0  # an upload or push starts its execution within seconds
LIMIT_SECONDS = 4 * 3600.0  # longer than any of the state machines may run


@dataclass
class Deployer:
    """The deployer of a service: its stack's outputs, and its state machines."""

    account: Account
    stack: str
    outputs: Mapping[str, str]
    service: str
    cluster: str
    repository: str
    screen: Screen
    pause: float = LOOK_SECONDS

    def _output(self, name: str, what: str) -> str:
        if name not in self.outputs:
            raise CommandFailed(
                UNREADY,
                f"the deployer's stack {self.stack} has no output {name}, so it cannot {what}",
                ["Bring it up to date:", "  make deploy MODE=infrastructure"],
            )
        return self.outputs[name]

    # The application ------------------------------------------------------------------------------

    def deploy_image(self, image: str) -> dict[str, Any]:
        """Order the deployment of what is in the repository, by tag or digest, and follow it."""
        machine = self._output("StateMachine", "deploy")
        order = {
            "action": "deploy",
            "service": self.service,
            "image": image,
            "by": getpass.getuser(),
        }
        self.screen.title(f"Deploying {self.service} {image}")
        started = self.account.client("stepfunctions").start_execution(
            stateMachineArn=machine, input=json.dumps(order)
        )
        return self._released(started["executionArn"])

    def newest_image(self) -> str | None:
        """The tag of the image that was pushed last; None if there is none."""
        ecr = self.account.client("ecr")
        pages = ecr.get_paginator("describe_images").paginate(
            repositoryName=self.repository, filter={"tagStatus": "TAGGED"}
        )
        images = [found for page in pages for found in page["imageDetails"]]
        # a signature or attestation is tagged with the digest of what it is about
        tagged = [
            (found["imagePushedAt"], tag)
            for found in images
            for tag in found["imageTags"]
            if not tag.startswith("sha256-")
        ]
        return max(tagged)[1] if tagged else None

    def push_lines(self) -> list[str]:
        """What to type to build an image and push it."""
        account = self.account.client("sts").get_caller_identity()["Account"]
        registry = f"{account}.dkr.ecr.{self.account.region}.amazonaws.com"
        image = f"{registry}/{self.repository}:1.0.0"
        return [
            "  aws ecr get-login-password |"
            f" docker login --username AWS --password-stdin {registry}",
            f"  docker build --platform linux/amd64 --tag {image} .",
            f"  docker push {image}",
        ]

    def deploy_sources(self, given: Path) -> dict[str, Any]:
        """Upload sources, follow their build, then the deployment of the image that it pushed."""
        deploys = self._output("StateMachine", "deploy")
        known = self._executions(deploys)
        built = self._built("BuildStateMachine", "image", "build an image", given)
        self.screen.title(f"Deploying {self.service}")
        digests = re.findall(r"sha256:[0-9a-f]{64}", json.dumps(built.output))
        marks = digests or [f'"{self.repository}"']
        return self._released(self._started(deploys, known, marks, "the push of the image"))

    def _released(self, arn: str) -> dict[str, Any]:
        ended = self._follow(arn)
        record = self._record(arn)
        conclude(record, ended, self.screen)
        if ended.status != "SUCCEEDED":
            why = record.get("reason") or ended.cause
            raise self._failed(f"{self.service} was not deployed", ended, why)
        told = ("outcome", "version", "url", "reason")
        return {"execution": arn} | {name: record.get(name) for name in told}

    def deploy_docs(self, given: Path) -> dict[str, Any]:
        """Upload the sources of the docs site and follow their way to the site's URL."""
        ended = self._built("DocsStateMachine", "docs", "build docs", given)
        record = self._record(ended.arn)
        output = ended.output if isinstance(ended.output, dict) else {}
        url = record.get("url") or output.get("url")
        self.screen.say(f"Live: {url}" if url else "Done.", "green")
        return {"execution": ended.arn, "outcome": record.get("outcome", "SUCCEEDED"), "url": url}

    # What both do ---------------------------------------------------------------------------------

    def _built(self, output: str, kind: str, what: str, given: Path) -> Execution:
        """Upload sources and follow the execution that this starts, which must end well.

        Args:
            output: of the deployer's stack, which names the state machine.
            kind: the first part of the key, image or docs.
            what: what the machine does, for a person.
        """
        machine = self._output(output, what)
        bucket = self._output("SourceBucket", what)
        known = self._executions(machine)
        with contextlib.ExitStack() as ending:
            with self.screen.working(f"packing {given}"):
                packed = ending.enter_context(sources.archive(given))
            label = re.sub(r"[^A-Za-z0-9._-]", "-", packed.label).removesuffix(packed.suffix)
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            key = f"{kind}/{self.service}/{label}-{stamp}{packed.suffix}"
            self.screen.say(f"Uploading {packed.size / 1e6:.1f} MB to s3://{bucket}/{key}")
            with self.screen.transfer(packed.size) as advance:
                self.account.client("s3").upload_file(
                    str(packed.path), bucket, key, Callback=advance
                )
        self.screen.title(f"Building {packed.label}")
        ended = self._follow(self._started(machine, known, [key], "the upload"))
        if ended.status != "SUCCEEDED":
            raise self._failed(f"could not {what}", ended, ended.cause)
        return ended

    def _executions(self, machine: str) -> list[str]:
        """The ARNs of the newest executions of a state machine, newest first."""
        found = self.account.client("stepfunctions").list_executions(
            stateMachineArn=machine, maxResults=50
        )
        return [str(execution["executionArn"]) for execution in found["executions"]]

    def _started(self, machine: str, known: Collection[str], marks: Sequence[str], by: str) -> str:
        """The execution that an event started: the one whose input holds one of the marks."""
        sfn = self.account.client("stepfunctions")
        deadline = time.monotonic() + START_SECONDS
        seen = set(known)
        with self.screen.working("waiting for the execution that it starts"):
            while time.monotonic() < deadline:
                for arn in self._executions(machine):
                    if arn in seen:
                        continue
                    seen.add(arn)
                    told = sfn.describe_execution(executionArn=arn)["input"]
                    if any(mark in told for mark in marks):
                        return arn
                time.sleep(self.pause)
        raise CommandFailed(
            FAILED,
            f"{by} started no execution of {machine.rpartition(':')[2]}"
            f" within {START_SECONDS:.0f} s",
            ["See its rule in EventBridge, and the queue UndeliveredPushesQueue."],
        )

    def _follow(self, arn: str) -> Execution:
        """Show an execution to its end. Raises CommandFailed on Ctrl-C, which ends the showing."""
        sfn, ecs = self.account.client("stepfunctions"), self.account.client("ecs")

        def rollout() -> str:
            with contextlib.suppress(ClientError):  # not there yet, or not ours to see
                found = ecs.describe_services(cluster=self.cluster, services=[self.service])
                return standing(found["services"][0]) if found["services"] else ""
            return ""

        try:
            return follow(lambda: look(sfn, arn), self.screen, LIMIT_SECONDS, rollout, self.pause)
        except TimeoutError as error:
            raise CommandFailed(FAILED, str(error), [self._link(arn)]) from error
        except KeyboardInterrupt:
            raise CommandFailed(
                INTERRUPTED,
                "stopped following; the execution goes on",
                [f"It is here: {self._link(arn)}"],
            ) from None

    def _failed(self, what: str, ended: Execution, why: str) -> CommandFailed:
        error = ended.error or ended.status
        return CommandFailed(
            FAILED,
            f"{what}: {error}: {printable(message(why))}",
            [f"The execution: {self._link(ended.arn)}"],
        )

    def _link(self, arn: str) -> str:
        region = self.account.region
        return f"https://{region}.console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{arn}"

    def _record(self, arn: str) -> dict[str, Any]:
        table = self._output("ReleasesTable", "tell the outcome")
        return releases.of_execution(self.account.client("dynamodb"), table, self.service, arn)

"""Stacks in CloudFormation: change sets made by the real `sam`, followed and explained."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import Account, code_of
from cli.errors import BUSY, FAILED, CommandFailed
from cli.setup.changes import (
    STATEFUL,
    Change,
    Event,
    Standing,
    advice,
    change,
    first_failure,
    stack_policy,
    standing,
)
from cli.setup.settings import Project, Stack, overrides, parse_template

POLL_SECONDS = float(os.environ.get("SAM_CLI_POLL_DELAY", "2"))
"""Between two looks at a stack; the variable is the one that paces `sam` too."""

_CHANGE_SET_PREFIX = "samcli-deploy"  # how `sam` begins the names of its change sets


@dataclass(frozen=True)
class State:
    """A stack as it stands. `status` is None if there is none."""

    name: str
    id: str = ""
    status: str | None = None
    reason: str = ""
    protected: bool = False
    outputs: Mapping[str, str] | None = None
    since: datetime | None = None

    @property
    def standing(self) -> Standing:
        return standing(self.status)


class Sam:
    """The real `sam`, with the defaults of samconfig.toml and the settings of the project."""

    def __init__(self, account: Account, project: Project) -> None:
        self._account, self._project = account, project

    def build(self, stack: Stack) -> None:
        """`sam build`; what has not changed is taken from the cache. Raises CommandFailed."""
        self._run(
            *("build", "--config-file", str(self._config)),
            *("--template-file", str(stack.template), "--cached"),
        )

    def change_set(self, stack: Stack, settings: Mapping[str, str]) -> str | None:
        """The ARN of a new change set; None if there is nothing to change.

        Raises CommandFailed, with what CloudFormation had against it.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as parameters:
            json.dump(overrides(settings, stack), parameters)  # JSON is YAML
            parameters.flush()
            template = ".aws-sam/build/template.yaml" if stack.built else stack.template
            output = self._run(
                *("deploy", "--config-file", str(self._config)),
                *("--stack-name", stack.name, "--template-file", str(template)),
                *("--parameter-overrides", f"file://{parameters.name}"),
                *("--no-execute-changeset", "--no-confirm-changeset"),
                *("--no-fail-on-empty-changeset", "--output", "json"),
                *("--tags", f"environment={self._project.environment}"),
                stack=stack.name,
            )
        for line in reversed(output):
            if line.get("status") == "changeset_created":
                return str(line["changeset_id"])
            if line.get("status") == "no_changes":
                return None
        raise CommandFailed(FAILED, f"{stack.name}: `sam deploy` told of no change set")

    @property
    def _config(self) -> Path:
        return self._project.root / "samconfig.toml"

    def _run(self, *arguments: str, stack: str = "") -> list[dict[str, Any]]:
        """What it wrote that is JSON, line by line."""
        profile = ("--profile", self._account.profile) if self._account.profile else ()
        environment = self._account.environment
        command = [shutil.which("sam", path=environment["PATH"]) or "sam", *arguments]
        if arguments[0] == "deploy":
            command += ["--region", self._account.region, *profile]
        process = subprocess.run(
            command,
            env=environment,
            cwd=self._project.root,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = list(_documents(process.stdout))
        if process.returncode:
            failed = next((line["error"] for line in lines if line.get("error")), None)
            reason = (
                str(failed["message"]) if failed else _last_error(process.stdout + process.stderr)
            )
            prefix = f"{stack}: " if stack else ""
            message = f"{prefix}`sam {arguments[0]}` failed: {reason}"
            raise CommandFailed(FAILED, message, advice(reason))
        return lines


def _documents(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(document := json.loads(line), dict):
                yield document


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = next((lines[i:] for i, line in enumerate(lines) if "Error:" in line), lines[-3:])
    return " ".join(errors[:8])


class Stacks:
    """The stacks of an account and Region."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._cfn = account.client("cloudformation")

    def state(self, name: str) -> State:
        """A stack as it stands, by name or ARN."""
        try:
            description = self._cfn.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return State(name)
            raise
        return State(
            description["StackName"],
            description["StackId"],
            description["StackStatus"],
            description.get("StackStatusReason", ""),
            description.get("EnableTerminationProtection", False),
            {o["OutputKey"]: o["OutputValue"] for o in description.get("Outputs", [])},
            description.get("LastUpdatedTime") or description.get("CreationTime"),
        )

    def changes(self, change_set: str) -> list[Change]:
        """What a change set would do, all pages of it."""
        changes: list[Change] = []
        token: dict[str, str] = {}
        while True:
            page = self._cfn.describe_change_set(ChangeSetName=change_set, **token)
            changes += [
                change(entry["ResourceChange"])
                for entry in page.get("Changes", [])
                if entry.get("Type") == "Resource"
            ]
            if not page.get("NextToken"):
                return changes
            token = {"NextToken": page["NextToken"]}

    def discard(self, change_set: str) -> None:
        """Delete a change set that is not to be executed."""
        self._cfn.delete_change_set(ChangeSetName=change_set)

    def tidy(self, name: str) -> list[str]:
        """Remove what change sets that came to nothing leave: themselves, and an empty stack.

        Returns what CloudFormation's validation had against them, a line each.
        """
        state, reasons = self.state(name), []
        if state.status in (None, "DELETE_COMPLETE"):
            return []
        remaining = []
        pages = self._cfn.get_paginator("list_change_sets").paginate(StackName=name)
        for change_set in (summary for page in pages for summary in page["Summaries"]):
            if (
                change_set["ChangeSetName"].startswith(_CHANGE_SET_PREFIX)
                and change_set.get("Status") == "FAILED"
            ):
                reasons += self._validation(change_set)
                self.discard(change_set["ChangeSetId"])
            else:
                remaining.append(change_set)
        if state.status == "REVIEW_IN_PROGRESS" and not remaining:
            self._cfn.delete_stack(StackName=state.id)
        return reasons

    def _validation(self, change_set: Mapping[str, Any]) -> list[str]:
        """What the early validation of a change set found
        (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html)."""
        if "EarlyValidation" not in change_set.get("StatusReason", ""):
            return []
        response = self._cfn.describe_events(ChangeSetName=change_set["ChangeSetId"])
        return [
            f"{event.get('LogicalResourceId', '')}: {event.get('ValidationStatusReason', '')}"
            for event in response.get("OperationEvents", [])
            if event.get("ValidationStatus") == "FAILED"
        ]

    def resources(self, name: str) -> list[dict[str, Any]]:
        """The resources of a stack, by ListStackResources."""
        pages = self._cfn.get_paginator("list_stack_resources").paginate(StackName=name)
        return [dict(summary) for page in pages for summary in page["StackResourceSummaries"]]

    def template(self, name: str) -> Mapping[str, Any]:
        """The resources of a stack's template as CloudFormation holds it, by logical id."""
        body = self._cfn.get_template(StackName=name, TemplateStage="Processed")["TemplateBody"]
        template = body if isinstance(body, dict) else parse_template(body)
        return dict(template.get("Resources", {}))

    def stateful(self, name: str) -> list[str]:
        """The logical ids of what holds data in a stack."""
        return [
            resource["LogicalResourceId"]
            for resource in self.resources(name)
            if resource["ResourceType"] in STATEFUL
            and resource["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def guard(self, name: str, allowed_losses: Collection[str] = ()) -> None:
        """Let no update replace or delete what holds data, and nobody delete the stack."""
        stateful = self.stateful(name)
        current = self._cfn.get_stack_policy(StackName=name).get("StackPolicyBody")
        policy = stack_policy(stateful, allowed_losses, current)
        if policy is None:
            return
        self._cfn.set_stack_policy(StackName=name, StackPolicyBody=policy)
        self._cfn.update_termination_protection(StackName=name, EnableTerminationProtection=True)

    def execute(self, change_set: str, *, new: bool) -> str:
        """Start a change set. Returns the token that its events carry. Raises CommandFailed.

        new: the stack is created by it; what it makes is then deleted if it fails, also what
            the template retains, so that the next try finds nothing in its way.
        """
        token = f"deploy-{uuid.uuid4()}"
        try:
            self._cfn.execute_change_set(
                ChangeSetName=change_set,
                ClientRequestToken=token,
                **({"RetainExceptOnCreate": True} if new else {}),
            )
        except ClientError as error:
            if code_of(error) in ("InvalidChangeSetStatus", "ChangeSetNotFound"):
                raise CommandFailed(
                    BUSY,
                    "the stack was changed by somebody else meanwhile, so this change set is void",
                    ["Run the command again: it shows what is still to be changed."],
                ) from error
            raise
        return token

    def delete(self, name: str) -> State:
        """Start the deletion of a stack; the stack as it was, whose ARN still names it then."""
        state = self.state(name)
        if state.protected:
            self._cfn.update_termination_protection(
                StackName=name, EnableTerminationProtection=False
            )
        self._cfn.delete_stack(StackName=name)
        return state

    def marker(self, name: str) -> str:
        """The id of a stack's newest event; what comes after it is of the next operation."""
        if self.state(name).status is None:
            return ""
        newest = self._cfn.describe_stack_events(StackName=name)["StackEvents"]
        return str(newest[0]["EventId"]) if newest else ""

    def events(self, name: str, after: str = "", token: str = "") -> list[Event]:
        """The events after a marker, oldest first; only those that carry the token, if any."""
        events: list[Event] = []
        for page in self._cfn.get_paginator("describe_stack_events").paginate(StackName=name):
            for event in map(_event, page["StackEvents"]):
                if event.id == after:
                    return events[::-1]
                if event.token == token or not token:
                    events.append(event)
        return events[::-1]

    def follow(self, name: str, after: str, token: str = "") -> Iterator[list[Event]]:
        """All events so far at each look, until the stack is at rest. `name`: or an ARN."""
        while True:
            busy = self.state(name).standing is Standing.BUSY
            yield self.events(name, after, token)
            if not busy:
                return
            time.sleep(POLL_SECONDS)

    def cause(self, name: str, after: str, token: str = "") -> Event | None:
        """The failure that an operation failed of, looked for in nested stacks too."""
        events = self.events(name, after, token)
        failure = first_failure(events)
        while failure and failure.nested:
            # a nested stack has its own events, of earlier operations too
            inner_events = [e for e in self.events(failure.nested) if e.at >= events[0].at]
            inner_failure = first_failure(inner_events)
            if inner_failure is None:
                break
            failure = inner_failure
        return failure


def _event(raw: Mapping[str, Any]) -> Event:
    physical, type_ = raw.get("PhysicalResourceId", ""), raw.get("ResourceType", "")
    nested = type_ == "AWS::CloudFormation::Stack" and physical not in ("", raw["StackId"])
    return Event(
        raw["EventId"],
        raw["Timestamp"].astimezone(UTC),
        raw["LogicalResourceId"],
        type_,
        raw.get("ResourceStatus", ""),
        raw.get("ResourceStatusReason", ""),
        raw.get("ClientRequestToken", ""),
        physical if nested else "",
    )

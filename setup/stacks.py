"""Stacks in CloudFormation: create change sets with the real `sam`, execute and follow them."""

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
from setup.changes import (
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
from setup.settings import Project, Stack, overrides, parse_template

POLL_SECONDS = float(os.environ.get("SAM_CLI_POLL_DELAY", "2"))
"""Between two polls of a stack; `sam` reads the same variable."""

_CHANGE_SET_PREFIX = "samcli-deploy"  # of the change sets that `sam` creates


@dataclass(frozen=True)
class State:
    """The state of a stack. `status` is None if it does not exist."""

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
        """Run `sam build`, with its cache.

        Raises:
            CommandFailed: it failed.
        """
        self._run(
            *("build", "--config-file", str(self._config)),
            *("--template-file", str(stack.template), "--cached"),
        )

    def change_set(self, stack: Stack, settings: Mapping[str, str]) -> str | None:
        """Create a change set.

        Returns:
            Its ARN; None if there is nothing to change.
        Raises:
            CommandFailed: CloudFormation refused it, with the reason.
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
        raise CommandFailed(FAILED, f"{stack.name}: `sam deploy` reported no change set")

    @property
    def _config(self) -> Path:
        return self._project.root / "samconfig.toml"

    def _run(self, *arguments: str, stack: str = "") -> list[dict[str, Any]]:
        """Run `sam`, and return its output's lines that are JSON."""
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
        """Return the state of a stack, by name or ARN."""
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
        """Return all changes of a change set."""
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
        """Delete a change set that will not be executed."""
        self._cfn.delete_change_set(ChangeSetName=change_set)

    def tidy(self, name: str) -> list[str]:
        """Delete failed change sets, and the empty stack that they leave.

        Returns:
            The reasons of CloudFormation's validation, a line each.
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
        """Return the failures of a change set's early validation
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
        """Return the resources of a stack, from ListStackResources."""
        pages = self._cfn.get_paginator("list_stack_resources").paginate(StackName=name)
        return [dict(summary) for page in pages for summary in page["StackResourceSummaries"]]

    def template(self, name: str) -> Mapping[str, Any]:
        """Return the resources of a stack's processed template, by logical id."""
        body = self._cfn.get_template(StackName=name, TemplateStage="Processed")["TemplateBody"]
        template = body if isinstance(body, dict) else parse_template(body)
        return dict(template.get("Resources", {}))

    def stateful(self, name: str) -> list[str]:
        """Return the logical ids of a stack's resources that hold data."""
        return [
            resource["LogicalResourceId"]
            for resource in self.resources(name)
            if resource["ResourceType"] in STATEFUL
            and resource["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def guard(self, name: str, allowed_losses: Collection[str] = ()) -> None:
        """Protect the stack from deletion, and its data from updates that replace or delete it."""
        stateful = self.stateful(name)
        current = self._cfn.get_stack_policy(StackName=name).get("StackPolicyBody")
        policy = stack_policy(stateful, allowed_losses, current)
        if policy is None:
            return
        self._cfn.set_stack_policy(StackName=name, StackPolicyBody=policy)
        self._cfn.update_termination_protection(StackName=name, EnableTerminationProtection=True)

    def execute(self, change_set: str, *, new: bool) -> str:
        """Execute a change set.

        Args:
            new: it creates the stack. If it fails, its resources are deleted, even those that the
                template retains, so that they do not block the next attempt.
        Returns:
            The token of its events.
        Raises:
            CommandFailed: somebody else changed the stack meanwhile.
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
                    "somebody else changed the stack meanwhile, so this change set is outdated",
                    ["Run the command again: it shows the remaining changes."],
                ) from error
            raise
        return token

    def delete(self, name: str) -> State:
        """Start the deletion of a stack.

        Returns:
            Its previous state; the ARN in it stays valid.
        """
        state = self.state(name)
        if state.protected:
            self._cfn.update_termination_protection(
                StackName=name, EnableTerminationProtection=False
            )
        self._cfn.delete_stack(StackName=name)
        return state

    def marker(self, name: str) -> str:
        """Return the id of a stack's newest event; later events belong to the next operation."""
        if self.state(name).status is None:
            return ""
        newest = self._cfn.describe_stack_events(StackName=name)["StackEvents"]
        return str(newest[0]["EventId"]) if newest else ""

    def events(self, name: str, after: str = "", token: str = "") -> list[Event]:
        """Return the events after a marker, oldest first, and with the token if one is given."""
        events: list[Event] = []
        for page in self._cfn.get_paginator("describe_stack_events").paginate(StackName=name):
            for event in map(_event, page["StackEvents"]):
                if event.id == after:
                    return events[::-1]
                if event.token == token or not token:
                    events.append(event)
        return events[::-1]

    def follow(self, name: str, after: str, token: str = "") -> Iterator[list[Event]]:
        """Yield all events so far at each poll, until no operation runs.

        Args:
            name: or ARN of the stack.
        """
        while True:
            busy = self.state(name).standing is Standing.BUSY
            yield self.events(name, after, token)
            if not busy:
                return
            time.sleep(POLL_SECONDS)

    def cause(self, name: str, after: str, token: str = "") -> Event | None:
        """Return the failure that made an operation fail, in nested stacks too."""
        events = self.events(name, after, token)
        failure = first_failure(events)
        while failure and failure.nested:
            # a nested stack has its own events, including those of earlier operations
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

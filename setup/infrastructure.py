"""Deploy the stacks in order, each by a change set that is shown before it is executed, and remove
them (MODE=infrastructure)."""

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import DENIED, Account, code_of
from cli.errors import FAILED, INTERRUPTED, REFUSED, UNREADY, CommandFailed
from cli.screen import Screen, printable
from deployer.check import OK, WARNING, Check
from deployer.deploy import schedules
from setup import cost
from setup.changes import (
    STATEFUL,
    Action,
    Change,
    Standing,
    Verdict,
    advice,
    deletion,
    judge,
    resources,
    unstick,
)
from setup.checks import SERVICE_ROLES
from setup.settings import OF_DEPLOYER, Project, Stack
from setup.stacks import Sam, Stacks, State

_SUCCEEDED = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "DELETE_COMPLETE")
_STANDINGS = {
    Standing.ABSENT: "new",
    Standing.LEFTOVER: "failed; new again",
    Standing.BUSY: "being changed",
    Standing.STUCK: "stuck",
    Standing.THERE: "there",
}
_CONTENTS = {
    "network": "VPC, subnets, security groups",
    "database": "PostgreSQL and its secrets",
    "load-balancer": "load balancer, firewall",
    "service": "cluster, repository, roles, spec",
    "deployer": "state machines, functions",
    "monitoring": "alarms, dashboard",
    "notifications": "GitHub, Slack, webhook, CI's role",
    "docs": "docs site on CloudFront",
}
_MINUTES = {
    **{"network": 4, "database": 12, "load-balancer": 6, "service": 2, "deployer": 5},
    **{"monitoring": 2, "notifications": 2, "docs": 7},
}
"""About how long a creation takes; checking an existing stack takes less than one minute."""

_MARKS = {
    Action.ADD: "+",
    Action.IMPORT: "<",
    Action.MODIFY: "~",
    Action.MAY_REPLACE: "?",
    Action.REPLACE: "!",
    Action.REMOVE: "-",
}


@dataclass(frozen=True)
class Answers:
    """The confirmations given on the command line."""

    yes: bool = False
    replace: bool = False
    losses: Collection[str] = field(default_factory=tuple)


@dataclass
class Infrastructure:
    """Deploys the stacks that a service's settings need, or removes all.

    `done` has the outcome of each stack so far, even if a later one fails.
    """

    account: Account
    project: Project
    settings: Mapping[str, str]
    needed: Sequence[Stack]
    screen: Screen
    answers: Answers
    interactive: bool
    values: Mapping[str, str] = field(default_factory=dict)  # with the templates' defaults
    checked: Sequence[Check] = ()  # beforehand
    done: list[dict[str, Any]] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stacks = Stacks(self.account)
        self.sam = Sam(self.account, self.project)

    # Deploying ------------------------------------------------------------------------------------

    def deploy(self) -> None:
        """Create or update the stacks.

        Raises:
            CommandFailed: a stack failed, or a change was not confirmed.
        """
        states = {stack.kind: self.stacks.state(stack.name) for stack in self.needed}
        self._show_plan(states)
        new = [s for s in self.needed if states[s.kind].standing is not Standing.THERE]
        if new and not self.answers.yes:
            count = f"{len(new)} stack{'s' if len(new) > 1 else ''}"
            where = f"account {self.account_id()}, {self.account.region}"
            self._agree(f"Create {count} in {where}?", "--yes")
        created = {stack.kind for stack in new}
        self.create_service_roles(created)
        linked = self._docs_url()
        for number, stack in enumerate(self.needed, 1):
            self.screen.title(f"{number} of {len(self.needed)}: {stack.name}")
            self.done.append(self._deploy(stack, agreed=stack.kind in created))
        self._link_docs(linked)

    def _docs_url(self) -> str:
        """Return the new docs site's URL; "" if the settings name one, or none exists yet."""
        docs = next((stack for stack in self.needed if stack.kind == "docs"), None)
        outputs = self.stacks.state(docs.name).outputs if docs else None
        return (outputs or {}).get("Url", "")

    def _link_docs(self, linked: str) -> None:
        """Link the service to the docs site if its URL is new: it was created after the service.

        Args:
            linked: the URL that the service has already.
        """
        service = next((stack for stack in self.needed if stack.kind == "service"), None)
        if service and "DocsUrl" in service.parameters and self._docs_url() != linked:
            self.screen.title(f"{service.name}: links to the docs site")
            self._deploy(service, agreed=True, linking=True)

    def _show_plan(self, states: Mapping[str, State]) -> None:
        """Show the stacks, their cost and duration, and the results of the checks."""
        kinds = [stack.kind for stack in self.needed]
        costs = cost.monthly(kinds, self.values)
        minutes = {
            kind: _MINUTES.get(kind, 1)
            for kind, state in states.items()
            if state.standing is not Standing.THERE
        }
        self.plan |= {
            "stacks": [
                {
                    "stack": stack.name,
                    "now": _STANDINGS[states[stack.kind].standing],
                    "has": _CONTENTS.get(stack.kind, ""),
                    "minutes": minutes.get(stack.kind, 1),
                    "dollars": costs.get(stack.kind, 0.0),
                }
                for stack in self.needed
            ],
            "minutes": sum(minutes.get(kind, 1) for kind in kinds),
            "dollars": round(sum(costs.values()), 2),
        }
        self.screen.title("Stacks")
        self.screen.table(
            ["stack", "now", "what it has", "minutes", "$ a month"],
            [
                [s["stack"], s["now"], s["has"], f"{s['minutes']}", f"{s['dollars']:.2f}"]
                for s in self.plan["stacks"]
            ],
        )
        excluded = cost.unknown(kinds, self.values)
        self.screen.say()
        self.screen.say(
            f"Together: about {self.plan['minutes']} minutes, and"
            f" ${self.plan['dollars']:.2f} a month before any use"
            f"{', ' if excluded else ''}{excluded}; list prices of us-east-1, see docs/cost.md."
            " Tasks cost from the first image on."
        )
        if self.values.get("Exposure") == "none":
            self.screen.say(
                "A worker accepts no connections: no port is open, and the address in a release's"
                " record does not respond."
            )
        self._show_checks()

    def _show_checks(self) -> None:
        names = {
            state: ", ".join(dict.fromkeys(c.name for c in self.checked if c.state == state))
            for state in (OK, WARNING)
        }
        if names[OK]:
            self.screen.say(f"Checked: {names[OK]}.")
        if names[WARNING]:
            self.screen.say(f"Warnings, see above: {names[WARNING]}.", "yellow")

    def create_service_roles(self, kinds: Collection[str]) -> None:
        """Create the service-linked roles that new stacks need and that are missing.

        Raises:
            CommandFailed: no permission to create them; its advice is for an administrator.
        """
        iam = self.account.client("iam")
        for role in (role for kind, role in SERVICE_ROLES.items() if kind in kinds):
            try:
                if role.exists(self.account):
                    continue
            except ClientError as error:
                if code_of(error) not in DENIED:
                    raise
            try:
                iam.create_service_linked_role(AWSServiceName=role.service)
            except iam.exceptions.InvalidInputException:
                continue  # created meanwhile: "has been taken in this account"
            except ClientError as error:
                if code_of(error) not in DENIED:
                    raise
                raise CommandFailed(
                    UNREADY,
                    f"no permission to create the service-linked role {role.name};"
                    " no stack was created",
                    [
                        "Once an administrator has run this, run the command again:",
                        f"  aws iam create-service-linked-role --aws-service-name {role.service}",
                    ],
                ) from error
            self.screen.say(f"Created the service-linked role {role.name}.", "green")

    def account_id(self) -> str:
        return str(self.account.client("sts").get_caller_identity()["Account"])

    def _deploy(self, stack: Stack, *, agreed: bool, linking: bool = False) -> dict[str, Any]:
        """Create or update a stack, and return the outcome.

        Args:
            agreed: whether its creation was confirmed.
            linking: whether only the URL of the docs site changes, which was confirmed with that.
        """
        began = time.monotonic()
        state = self._ready(stack.name)
        new = state.standing is Standing.ABSENT
        change_set = self._change_set(stack)
        outcome: dict[str, Any] = {"stack": stack.name, "action": "unchanged", "changes": []}
        if change_set is None:
            self.screen.say("Nothing to change.", "green")
        else:
            changes = self.stacks.changes(change_set)
            self._show(changes)
            verdict = judge(changes, self.answers.losses)
            with self._discard_on_failure(change_set, stack.name):
                self._consent(stack.name, verdict, agreed=agreed and (new or linking))
            marker = self.stacks.marker(stack.name)
            if not new:
                self.stacks.guard(stack.name, self.answers.losses)
            token = self.stacks.execute(change_set, new=new)
            state = self._await_end(stack.name, marker, token)
            outcome["action"] = "created" if new else "updated"
            outcome["changes"] = [
                {"action": str(c.action), "resource": c.resource, "type": c.type} for c in changes
            ]
        self.stacks.guard(stack.name)
        outputs = dict(self.stacks.state(stack.name).outputs or {})
        if change_set is not None and outputs:
            self.screen.facts(sorted(outputs.items()))
        return {**outcome, "outputs": outputs, "seconds": round(time.monotonic() - began, 1)}

    def _ready(self, name: str) -> State:
        """Return the stack once a change set can be created for it.

        Raises:
            CommandFailed: the stack needs manual attention first.
        """
        state = self.stacks.state(name)
        if state.standing is Standing.BUSY:
            self.screen.say(
                f"{state.status} since {state.since:%H:%M:%S} UTC, begun by somebody else or by an"
                " earlier run: waiting for its end."
            )
            self._follow(name, self.stacks.marker(name))
            state = self.stacks.state(name)
        if state.standing is Standing.STUCK:
            failed = [
                resource["LogicalResourceId"]
                for resource in self.stacks.resources(name)
                if resource["ResourceStatus"].endswith("_FAILED")
            ]
            message = f"{name} is in {state.status}: {state.reason or 'no reason is given'}"
            raise CommandFailed(FAILED, message, unstick(name, str(state.status), failed))
        if state.standing is Standing.LEFTOVER:
            self._clear(state)
            state = self.stacks.state(name)
        elif state.status == "REVIEW_IN_PROGRESS":
            self.stacks.tidy(name)
        return state

    def _clear(self, state: State) -> None:
        """Delete the remains of a failed creation.

        Raises:
            CommandFailed: they may hold data.
        """
        stateful = [
            resource
            for resource in self.stacks.resources(state.name)
            if resource["ResourceType"] in STATEFUL
            and not resource["ResourceStatus"].startswith("DELETE_")
            and resource["ResourceStatus"] != "CREATE_FAILED"
        ]
        if stateful:
            names = ", ".join(
                f"{resource['LogicalResourceId']} ({resource.get('PhysicalResourceId', '?')})"
                for resource in stateful
            )
            raise CommandFailed(
                FAILED,
                f"{state.name} is in {state.status}, and may hold data in {names}",
                [
                    "If that data is not needed, delete the stack, then run this again:",
                    *(
                        "  aws rds modify-db-instance --no-deletion-protection --apply-immediately"
                        f" --db-instance-identifier {resource['PhysicalResourceId']}"
                        for resource in stateful
                        if resource["ResourceType"] == "AWS::RDS::DBInstance"
                    ),
                    f"  aws cloudformation delete-stack --stack-name {state.name}",
                ],
            )
        self.screen.say(f"{state.status} is left of an attempt that failed: deleting it.")
        self._delete(state.name)

    def _change_set(self, stack: Stack) -> str | None:
        if stack.built:
            with self.screen.working("sam build"):
                self.sam.build(stack)
        try:
            with self.screen.working("sam deploy: creating the change set"):
                change_set = self.sam.change_set(stack, self.settings_of(stack))
        except CommandFailed as failure:
            reasons = self.stacks.tidy(stack.name)
            hints = next((lines for line in reasons if (lines := advice(line))), [])
            failure.advice = [f"- {line}" for line in reasons] + failure.advice + hints
            raise
        if change_set is None:
            self.stacks.tidy(stack.name)
        return change_set

    def settings_of(self, stack: Stack) -> dict[str, str]:
        """Return the settings of a stack, completed from other stacks.

        The service gets the docs site's URL, and the alarms get the restored database instance.
        """
        settings = dict(self.settings)
        if stack.kind == "service" and (url := self._docs_url()):
            settings["DocsUrl"] = url
        if stack.kind == "monitoring" and (instance := self._restored_instance()):
            settings["DatabaseInstance"] = instance
        return settings

    def _restored_instance(self) -> str | None:
        """Return the instance that a restoration put in place of the one in the settings."""
        if self.values.get("Database") == "none":
            return None
        deployer = next((stack for stack in self.needed if stack.kind == "deployer"), None)
        outputs = self.stacks.state(deployer.name).outputs if deployer else None
        if not (table := (outputs or {}).get("ReleasesTable")):
            return None
        service = self.settings["ServiceName"]
        key = {"service": {"S": service}, "id": {"S": "#database"}}
        item = self.account.client("dynamodb").get_item(TableName=table, Key=key).get("Item")
        original = self.values.get("DatabaseInstance") or f"{service}-db"
        if not item or item["replaces"]["S"] != original:
            return None
        return str(item["instance"]["S"])

    def _show(self, changes: Sequence[Change]) -> None:
        rows = [
            [
                f"{_MARKS[c.action]} {c.action}",
                c.resource,
                c.type.removeprefix("AWS::"),
                "" if c.action in (Action.ADD, Action.REMOVE) else ", ".join(c.causes),
            ]
            for c in changes
        ]
        self.screen.table(["change", "resource", "type", "because of"], rows)

    def _consent(self, name: str, verdict: Verdict, *, agreed: bool) -> None:
        """Ask to confirm a change set.

        Raises:
            CommandFailed: it is refused, or not confirmed.
        """
        if verdict.refused:
            raise CommandFailed(
                REFUSED,
                f"{name}: refused, because data would be lost: "
                + "; ".join(_loss(c) for c in verdict.refused),
                [
                    "Undo the setting that causes it. If the loss is intended, take a backup and"
                    " name each resource:",
                    "  python -m setup --mode infrastructure "
                    + " ".join(f"--allow-data-loss {c.resource}" for c in verdict.refused),
                ],
            )
        if verdict.destructive and not (self.answers.yes and self.answers.replace):
            self.screen.say("This replaces or removes:", "yellow")
            for change in verdict.destructive:
                self.screen.say(f"  {_loss(change)}")
            self._agree(f"Do it to {name}?", "--yes --allow-replace")
        elif not agreed and not self.answers.yes:
            self._agree(f"Change {name}?", "--yes")

    def _agree(self, question: str, option: str) -> None:
        """Ask to confirm.

        Raises:
            CommandFailed: the answer is not yes, or there is no terminal.
        """
        if not self.interactive:
            raise CommandFailed(
                REFUSED,
                f"not done, because there is no terminal to ask: {question}",
                [f"Run it at a terminal, or confirm with {option}."],
            )
        try:
            agreed = self.screen.agreed(question)
        except EOFError:
            agreed = False
        if not agreed:
            raise CommandFailed(REFUSED, "not confirmed; this change was not made")

    @contextlib.contextmanager
    def _discard_on_failure(self, change_set: str, name: str) -> Iterator[None]:
        """Delete the change set if it is not confirmed, and the empty stack that it created."""
        try:
            yield
        except (CommandFailed, KeyboardInterrupt):
            self.stacks.discard(change_set)
            self.stacks.tidy(name)
            raise

    # Following ------------------------------------------------------------------------------------

    def _follow(self, name: str, marker: str, token: str = "") -> None:
        began, first_event = time.monotonic(), None
        try:
            with self.screen.progress() as progress:
                for events in self.stacks.follow(name, marker, token):
                    first_event = first_event or (events[0].at if events else None)
                    steps = resources(events, first_event or datetime.now(UTC))
                    progress.show(steps, time.monotonic() - began, running=True)
                progress.show(steps, time.monotonic() - began, running=False)
        except KeyboardInterrupt:
            raise CommandFailed(
                INTERRUPTED,
                f"stopped following; {name} goes on in CloudFormation",
                [
                    "Run the command again to continue, or see the events:",
                    f"  aws cloudformation describe-stack-events --stack-name {name}"
                    " --max-items 20",
                ],
            ) from None

    def _await_end(self, name: str, marker: str, token: str) -> State:
        """Follow a stack's operation to its end, and return the stack.

        Raises:
            CommandFailed: the operation failed, with the reason.
        """
        began = time.monotonic()
        self._follow(name, marker, token)
        state = self.stacks.state(name)
        duration = f"{time.monotonic() - began:.0f} s"
        if state.status in _SUCCEEDED:
            self.screen.say(f"{state.status} after {duration}.", "green")
            return state
        raise self._failure(state, marker, token)

    def _failure(self, state: State, marker: str, token: str) -> CommandFailed:
        cause = self.stacks.cause(state.id, marker, token)
        resource = f"{cause.resource} ({cause.type})" if cause else "the stack"
        reason = printable((cause and cause.reason) or state.reason or "no reason is given")
        rollback_note = {
            "ROLLBACK_COMPLETE": "Its resources were removed; the next run starts from scratch.",
            "UPDATE_ROLLBACK_COMPLETE": "The stack is as it was before.",
        }.get(str(state.status))
        hints = [*advice(reason), *([rollback_note] if rollback_note else [])]
        if state.standing is Standing.STUCK:
            failed = [cause.resource] if cause else []
            hints += unstick(state.name, str(state.status), failed)
        hints += [
            "All events:",
            f"  aws cloudformation describe-stack-events --stack-name {state.name}",
        ]
        return CommandFailed(
            FAILED, f"{state.name}: {resource} failed: {reason} [{state.status}]", hints
        )

    # Removing -------------------------------------------------------------------------------------

    def _delete(self, name: str) -> None:
        marker = self.stacks.marker(name)
        deleted = self.stacks.delete(name)
        self._follow(deleted.id, marker)
        state = self.stacks.state(deleted.id)
        if state.standing is not Standing.ABSENT:
            raise self._failure(state, marker, "")

    def remove(self) -> None:
        """Delete the stacks in reverse order, after asking.

        Raises:
            CommandFailed: a deletion failed, was refused, or was not confirmed.
        """
        others = self._other_services()
        if others:
            self.screen.say(f"The deployer stays: it serves {', '.join(others)} too.")
        existing = [
            (stack, state)
            for stack in reversed(self.needed)
            if not (others and stack.kind in OF_DEPLOYER)
            and (state := self.stacks.state(stack.name)).status not in (None, "DELETE_COMPLETE")
        ]
        if not existing:
            self.screen.say("There is nothing to remove.", "green")
            return
        self._check_clusters(stack.name for stack, _ in existing)
        retained = {stack.name: self._retained(stack.name) for stack, _ in existing}
        self.screen.title("Stacks to remove")
        self.screen.table(
            ["stack", "status"], [[s.name, str(state.status)] for s, state in existing]
        )
        self._show_retained(retained)
        if not self.answers.yes:
            where = f"account {self.account_id()}, {self.account.region}"
            self._agree(f"Remove {len(existing)} stacks from {where}?", "--yes")
        self._delete_service()
        for stack, _ in existing:
            self.screen.title(stack.name)
            self._unprotect(stack.name)
            began = time.monotonic()
            self._delete(stack.name)
            self.screen.say("Deleted.", "green")
            kept = [physical for _, _, physical in retained[stack.name]]
            seconds = round(time.monotonic() - began, 1)
            self.done.append(
                {"stack": stack.name, "action": "removed", "kept": kept, "seconds": seconds}
            )
        self._show_retained(retained)

    def _check_clusters(self, names: Iterable[str]) -> None:
        """Check that nothing else runs in the clusters that these stacks would delete.

        Raises:
            CommandFailed: something does, each named.
        """
        for name in names:
            for resource in self.stacks.resources(name):
                cluster = resource.get("PhysicalResourceId", "")
                if resource["ResourceType"] != "AWS::ECS::Cluster" or not cluster:
                    continue
                services, tasks = self._others_in(cluster)
                if not services and not tasks:
                    continue
                users = [f"service {service}" for service in services]
                users += [f"task {task} ({group})" for task, group in tasks.items()]
                raise CommandFailed(
                    UNREADY,
                    f"nothing was deleted: in the cluster {cluster} runs more than"
                    f" {self.settings['ServiceName']}: {', '.join(users)}",
                    [
                        "Move it to another cluster, or stop it, then run this again:",
                        *(
                            f"  aws ecs delete-service --force --cluster {cluster}"
                            f" --service {service}"
                            for service in services
                        ),
                        *(
                            f"  aws ecs stop-task --cluster {cluster} --task {task}"
                            for task in tasks
                        ),
                    ],
                )

    def _others_in(self, cluster: str) -> tuple[list[str], dict[str, str]]:
        """Return the other services in a cluster, and the groups of tasks outside of services."""
        ecs, service_name = self.account.client("ecs"), self.settings["ServiceName"]
        pages = ecs.get_paginator("list_services").paginate(cluster=cluster)
        services = [arn.rpartition("/")[2] for page in pages for arn in page["serviceArns"]]
        groups: dict[str, str] = {}
        for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster):
            if page["taskArns"]:
                descriptions = ecs.describe_tasks(cluster=cluster, tasks=page["taskArns"])["tasks"]
                groups |= {
                    t["taskArn"].rpartition("/")[2]: t.get("group", "") for t in descriptions
                }
        standalone = {t: group for t, group in groups.items() if not group.startswith("service:")}
        return sorted(name for name in services if name != service_name), standalone

    def _other_services(self) -> list[str]:
        """Return the other services with a spec, which need the deployer."""
        path = self.settings.get("SpecPath", "/deployer/services")
        pages = (
            self.account.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
        )
        names = [p["Name"].rpartition("/")[2] for page in pages for p in page["Parameters"]]
        return [name for name in names if name != self.settings["ServiceName"]]

    def _retained(self, name: str) -> list[tuple[str, str, str]]:
        """Return the stateful resources that outlive a stack: policy, type, physical id."""
        template = self.stacks.template(name)
        retained = []
        for resource in self.stacks.resources(name):
            definition = template.get(resource["LogicalResourceId"], {})
            policy = str(definition.get("DeletionPolicy", "Delete"))
            if resource["ResourceType"] == "AWS::RDS::DBInstance" and policy == "Delete":
                policy = "Snapshot"  # CloudFormation's default for an instance
            if policy != "Delete" and resource.get("PhysicalResourceId"):
                retained.append((policy, resource["ResourceType"], resource["PhysicalResourceId"]))
        return retained

    def _show_retained(self, retained: Mapping[str, Sequence[tuple[str, str, str]]]) -> None:
        kept = [entry for entries in retained.values() for entry in entries]
        if not kept:
            return
        self.screen.title("What stays, costs a little, and how to delete it")
        for policy, type_, physical in kept:
            kind = type_.removeprefix("AWS::")
            snapshot = policy == "Snapshot"
            self.screen.say(f"{'a last snapshot of ' if snapshot else ''}{kind} {physical}")
            self.screen.command(deletion(type_, physical, snapshot=snapshot))

    def _unprotect(self, name: str) -> None:
        """Disable deletion protection of a stack's database; CloudFormation takes its snapshot."""
        for resource in self.stacks.resources(name):
            if resource["ResourceType"] == "AWS::RDS::DBInstance":
                rds = self.account.client("rds")
                with contextlib.suppress(rds.exceptions.DBInstanceNotFoundFault):
                    rds.modify_db_instance(
                        DBInstanceIdentifier=resource["PhysicalResourceId"],
                        DeletionProtection=False,
                        ApplyImmediately=True,
                    )

    def _delete_service(self) -> None:
        """Delete the ECS service and its schedules, which the deployer created outside of the
        stacks: its tasks use the network and the cluster."""
        service = self.settings["ServiceName"]
        scheduler = self.account.client("scheduler")
        with contextlib.suppress(scheduler.exceptions.ResourceNotFoundException):
            scheduler.delete_schedule_group(Name=schedules.group(service))
        cluster = self.settings.get("ClusterName") or service
        ecs = self.account.client("ecs")
        with contextlib.suppress(ecs.exceptions.ClusterNotFoundException):
            services = ecs.describe_services(cluster=cluster, services=[service])["services"]
            if not [s for s in services if s["status"] != "INACTIVE"]:
                return
            self.screen.title(f"The service {service}")
            with self.screen.working("stopping its tasks"):
                ecs.delete_service(cluster=cluster, service=service, force=True)
                ecs.get_waiter("services_inactive").wait(cluster=cluster, services=[service])


def _loss(change: Change) -> str:
    """Describe what a replacement or removal does."""
    effect = {
        Action.REMOVE: "is removed",
        Action.REPLACE: "is replaced by a new one",
        Action.MAY_REPLACE: "may be replaced by a new one",
    }[change.action]
    retained = "; the old one stays, outside of the stack" if change.kept else ""
    data_loss = ""
    if change.stateful and not change.kept:
        sure = change.action is not Action.MAY_REPLACE
        data_loss = ", with the data in it" if sure else ", which the stack's policy would stop"
    causes = f" (because of {', '.join(change.causes)})" if change.causes else ""
    physical = f" {change.physical}" if change.physical else ""
    kind = change.type.removeprefix("AWS::")
    return f"{change.resource} ({kind}{physical}) {effect}{data_loss}{retained}{causes}"

"""Predict what a request would change, with the state machine's own decisions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from cli import checks
from cli.errors import REJECTED, UNREADY, WRONG, CommandFailed
from cli.nextstep import Given
from cli.screen import Screen, printable
from cli.target import Target
from deployer import requests
from deployer.aws import ecr, ecs, scheduler
from deployer.aws import refused as refused_by_aws
from deployer.check import WARNING, Check
from deployer.deploy import (
    database,
    history,
    one_off,
    preflight,
    rollout,
    schedules,
    service,
    serving,
    task_definitions,
)
from deployer.deploy.history import History
from deployer.deploy.image import Schema
from deployer.deploy.release import Previous, Recorded, Release
from deployer.deploy.rollout import Service
from deployer.deploy.spec import OneOff, ServiceSpec
from deployer.errors import DeployError, ImageMissing, PreflightFailed
from deployer.redaction import redact_all
from deployer.store import locks
from deployer.usecases import check_prerequisites, read_documents, resolve_request

_EXECUTION = "dry-run"  # in place of an execution's ARN


# The release of a request -------------------------------------------------------------------------


def to_deploy(
    target: Target, image: str, promoted_from: Mapping[str, str] | None = None
) -> Release:
    """Return the release that a request to deploy would create.

    Args:
        promoted_from: the release of another service that it promotes, as the request has it.
    Raises:
        ImageMissing, RequestRejected: the image does not exist, or cannot run as the service.
    """
    origin = {"promotedFrom": promoted_from} if promoted_from else {}
    request = requests.parse({"action": "deploy", "image": image, **origin})
    assert isinstance(request, requests.Deploy)
    return resolve_request.to_deploy(request, target.spec, _EXECUTION, datetime.now(UTC))


def to_go_back(target: Target, records: History, to: str, *, restore_database: bool) -> Release:
    """Return the release that a request to roll back would create; see `history.target` for `to`.

    Raises:
        ImageMissing, RequestRejected: a rollback to it is not possible.
    """
    request = requests.parse({"action": "rollback", "to": to, "restoreDatabase": restore_database})
    assert isinstance(request, requests.Rollback)
    return resolve_request.to_roll_back(
        request, target.spec, records, _EXECUTION, datetime.now(UTC)
    )


@dataclass(frozen=True)
class Candidate:
    """A release that was live. `refusal` is why a rollback to it is refused; "" if allowed."""

    record: Recorded
    refusal: str


def candidates(
    target: Target, records: History, current: Service | None, count: int = 10
) -> list[Candidate]:
    """Return the releases that were live, without the one that serves, newest first, each once."""
    listed: list[Candidate] = []
    for record in serving.earlier(records, current)[:count]:
        try:
            to_go_back(target, records, record["id"], restore_database=False)
            listed.append(Candidate(record, ""))
        except DeployError as refused:
            listed.append(Candidate(record, f"{refused}"))
    return listed


def refused(
    target: Target, image: str, error: DeployError, advice: Sequence[str] = ()
) -> CommandFailed:
    """Return the failure of a command whose image is missing or cannot run."""
    exists = isinstance(error, ImageMissing) and ecr.find(target.spec.repository, image)
    return CommandFailed(REJECTED if exists else WRONG, f"{error}", advice)


@dataclass(frozen=True)
class Change:
    """What a request would change of one service.

    Attributes:
        current: the service now; None if it does not exist.
        runs: the running task definition.
        becomes: the existing task definition that would run; None if a new one is registered.
        checks: of the service itself.
    """

    spec: ServiceSpec
    records: History
    current: Service | None
    previous: Previous | None
    runs: str | None
    becomes: str | None
    changes: list[task_definitions.Change]
    service_changes: list[task_definitions.Change]
    rolls_back: bool
    checks: list[Check]

    def document(self) -> dict[str, Any]:
        """Return the part of the JSON document that tells of this service."""
        return {
            "taskDefinition": {
                "runs": self.runs,
                "becomes": self.becomes,
                "registers": self.becomes is None,
                "changes": [asdict(change) for change in self.changes],
            },
            "service": {"changes": [asdict(change) for change in self.service_changes]},
            "strategy": self.spec.strategy,
        }


@dataclass(frozen=True)
class Plan:
    """What a request would change.

    Attributes:
        leading, further: what would change of each service.
        before, after: the tasks before and after the rollout; None if it has none.
        schedules: what becomes of each scheduled task, by its name; None if they can't be seen.
        problem: why the preflight would fail; "" if no reason is known.
        warnings: the checks that a preflight would only warn of.
    """

    release: Release
    live: Recorded | None
    leading: Change
    further: list[Change]
    work: database.Work
    applied: Schema | None
    before: OneOff | None
    after: OneOff | None
    schedules: Mapping[str, str] | None
    line: locks.Queue
    holds: bool
    problem: str
    warnings: list[Check]

    def document(self, given: Given) -> dict[str, Any]:
        """Return the JSON document for scripts.

        Args:
            given: the options that its commands must repeat.
        """
        fields = ("version", "tag", "digest", "schema", "to")
        holder = self.line.holder
        return {
            "dryRun": True,
            "release": {name: self.release.get(name) for name in fields},
            "live": self.live and {name: self.live.get(name) for name in ("id", *fields)},
            **self.leading.document(),
            "further": [
                {"name": one.spec.service, "wave": one.spec.wave, **one.document()}
                for one in self.further
            ],
            "database": self.work,
            "restore": self.release.get("restore"),
            "schema": {"applied": self.applied, "brings": self.release["schema"]},
            "automaticRollback": self.leading.rolls_back,
            "before": _one_off_document(self.before),
            "after": _one_off_document(self.after),
            "schedules": self.schedules,
            "lock": holder and {name: holder[name] for name in ("release", "execution")},
            "waiting": [lock_request["release"] for lock_request in self.line.waiting],
            "hold": self.line.hold and {n: self.line.hold[n] for n in ("by", "at", "reason")},
            "holdAfter": self.holds,
            "problem": self.problem or None,
            "warnings": [checks.document(check, given) for check in self.warnings],
        }


def of(target: Target, records: History, release: Release, *, holds: bool) -> Plan:
    """Return what a release would change.

    Args:
        holds: whether it would hold the service's later pushes.
    """
    spec = target.spec
    results = check_prerequisites.guarded(
        "preflight", lambda: check_prerequisites.before(release, spec)
    )
    exact = {**release.get("taskDefinitions", {}), spec.service: release.get("taskDefinition")}
    leading, *further = [
        _change(target, part, records, release, exact.get(part.service)) for part in spec.parts
    ]
    for one in (leading, *further):
        results += one.checks
    due = one_off.due(spec, release)
    return Plan(
        release=release,
        live=history.live(records),
        leading=leading,
        further=further,
        work=database.work(spec, release, leading.previous),
        applied=history.applied_schema(records),
        before=spec.before if due["before"] else None,
        after=spec.after if due["after"] else None,
        schedules=_schedules(spec, records),
        line=locks.queue(spec.service),
        holds=holds,
        problem=_problem([leading, *further], records, release, results),
        warnings=[check for check in results if check.state == WARNING],
    )


def _change(
    target: Target, spec: ServiceSpec, records: History, release: Release, exact: str | None
) -> Change:
    """Return what a release would change of one service.

    Args:
        exact: the task definition that it runs again, on a rollback; None for a new one.
    """
    own = history.of_service(records, spec)
    current = ecs.service(spec.cluster, spec.service)
    previous = history.previous_release(rollout.steady_task_definition(current), None, own)
    runs = rollout.task_definition(current)
    becomes = exact
    definition: Mapping[str, Any]
    if becomes:
        definition = _described(target, becomes)
    else:
        definition, becomes = _definition(spec, release, previous, current)
    results = list(check_prerequisites.service(spec, current, definition)) if definition else []
    rolls_back = service.may_roll_back(spec, release, previous, current)
    return Change(
        spec=spec,
        records=own,
        current=current,
        previous=previous,
        runs=runs,
        becomes=becomes,
        changes=task_definitions.changes(_described(target, runs) if runs else {}, definition)
        if definition
        else [],
        service_changes=service.differences(
            current, service.update(spec, current, "", rolls_back, definition)
        )
        if current and definition
        else [],
        rolls_back=rolls_back,
        checks=check_prerequisites.of_part(spec, results),
    )


def _schedules(spec: ServiceSpec, records: History) -> dict[str, str] | None:
    """Return what becomes of each scheduled task; None without permission to see them."""
    if not schedules.may_exist(spec, records):
        return {}
    try:
        exist = scheduler.schedules(schedules.group(spec.service))
    except ClientError as error:
        if not refused_by_aws(error):
            raise
        return None
    return schedules.outlook(spec, exist)


def _definition(
    spec: ServiceSpec, release: Release, previous: Previous | None, current: Service | None
) -> tuple[Mapping[str, Any], str | None]:
    """Return a release's task definition ({} if none can be made), and its ARN if it exists."""
    try:
        base = read_documents.base(spec, current)
        definition = task_definitions.render(spec, base, release["image"])
    except PreflightFailed:
        return {}, None  # the checks say why
    if base.adopted and definition == base.definition:
        return definition, base.arn
    revisions = [previous["taskDefinition"]] if previous else []
    content = task_definitions.content_hash(definition)
    return definition, ecs.of_content([*revisions, definition["family"]], content)


def _described(target: Target, name: str) -> dict[str, Any]:
    """Return a task definition, whether it is ACTIVE or not."""
    ecs_client = target.account.client("ecs")
    return dict(ecs_client.describe_task_definition(taskDefinition=name)["taskDefinition"])


def differences(target: Target, before: str, then: str) -> list[task_definitions.Change]:
    """Return the differences between two registered task definitions, by their ARNs."""
    if before == then:
        return []
    return task_definitions.changes(_described(target, before), _described(target, then))


def _problem(
    changes: Sequence[Change], records: History, release: Release, results: Sequence[Check]
) -> str:
    """Return why the state machine's preflight would refuse the request; "" if no reason is known.

    Checks that were denied are ignored: the preflight has its own permissions.
    """
    try:
        preflight.check([check for check in results if not check.denied])
        preflight.check_schema(release, records)
        for one in changes:
            preflight.desired_count(one.spec, one.current, one.records, datetime.now(UTC))
    except DeployError as error:
        return f"{error}"
    return ""


# Output -------------------------------------------------------------------------------------------


def show(plan: Plan, screen: Screen) -> None:
    """Show what would change.

    Raises:
        CommandFailed: the request would fail.
    """
    release, live = plan.release, plan.live
    screen.facts(
        [
            ("release", f"{release['version']}  {release['digest']}"),
            ("live now", f"{live['version']}  {live['digest']}" if live else "nothing"),
            ("revision", _revision(plan.leading)),
            ("strategy", _strategy(plan.leading)),
            ("database", _database(plan)),
            *_tasks(plan),
            *_schedule_rows(plan),
            *_further(plan),
            ("rollback", _rollback(plan)),
            ("lock", _lock(plan)),
            ("hold", _hold(plan)),
        ]
    )
    for one in (plan.leading, *plan.further):
        of = f" of {one.spec.service}" if plan.further else ""
        if one.changes:
            screen.title(f"The task definition{of}")
            screen.table(["", "runs", "would run"], rows(one.changes))
        if one.service_changes:
            screen.title(f"The service{of and f' {one.spec.service}'}")
            screen.table(["", "is", "would be"], rows(one.service_changes))
    screen.say()
    checks.show(screen, plan.warnings)
    if plan.problem:
        raise CommandFailed(
            UNREADY,
            f"it would fail before it changes anything: {plan.problem}",
            ["  deployer doctor"],
        )
    screen.say("Dry run: nothing was changed.", "green")


def rows(changes: Sequence[task_definitions.Change]) -> list[list[str]]:
    """Return a table's rows: what differs, its value now, and its value then."""
    return [
        ["-" if text is None else printable(text) for text in (c.what, c.before, c.after)]
        for c in changes
    ]


def _revision(change: Change) -> str:
    if change.becomes is None:
        return "a new one would be registered"
    name = change.becomes.rpartition("/")[2]
    same = change.becomes == change.runs
    return f"{name}, unchanged: it runs now" if same else f"{name}, which is registered already"


def _strategy(change: Change) -> str:
    if change.spec.strategy == "recreate":
        return "recreate: the running tasks stop before the new ones start"
    if change.spec.strategy is None:
        return "the service's own: its deployment configuration stays"
    return "rolling: the running tasks stay until the new ones are healthy"


def _database(plan: Plan) -> str:
    brings, applied = plan.release["schema"], plan.applied
    schema = f"schema {_schema_number(applied)} → {_schema_number(brings)}"
    if plan.work == "RESTORE":
        return f"snapshot {plan.release['restore']} would be restored; {schema}"
    if plan.work == "BACK_UP":
        why = "the image's schema is unknown" if brings is None else "the schema changes"
        return f"a snapshot first, because {why}; {schema}"
    return f"no snapshot; {schema}" if brings or applied else "no snapshot"


def _one_off_document(one: OneOff | None) -> dict[str, Any] | None:
    return redact_all(asdict(one), by_name=False) if one else None


def _tasks(plan: Plan) -> Iterator[tuple[str, str]]:
    for name, one in (("before", plan.before), ("after", plan.after)):
        if one:
            where = f" in container {one.container}" if one.container else ""
            text = f"{' '.join(one.command)}{where}, {one.timeout} s at most"
            yield name, f"a task would run: {printable(text)}"


def _schedule_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.schedules is None:
        yield "schedules", "unknown: no permission to see them"
    for number, (name, text) in enumerate((plan.schedules or {}).items()):
        yield "" if number else "schedules", printable(f"{name}: {text}")


def _schema_number(schema: Schema | None) -> str:
    return str(schema["number"]) if schema else "unknown"


def _further(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what would become of the further services, in the order of their waves."""
    waves = [wave for wave in plan.leading.spec.waves if len(plan.leading.spec.waves) > 1]
    for number, wave in enumerate(waves, 1):
        yield f"wave {number}", ", ".join(part.service for part in wave)
    for one in plan.further:
        yield one.spec.service, f"{_revision(one)}; {_strategy(one)}"


def _rollback(plan: Plan) -> str:
    if plan.leading.rolls_back:
        return "automatic: if it fails, the running revision is restored"
    if plan.live is None:
        return "none: no release was ever live"
    return "not automatic: ECS can't safely return to the running revision"


def _lock(plan: Plan) -> str:
    if holder := plan.line.holder:
        return f"{holder['release']} holds it; this would wait"
    return "free"


def _hold(plan: Plan) -> str:
    held = plan.line.hold
    by = f"held by {held['by']} ({held['reason']})" if held else "none"
    if plan.holds:
        return f"{by}; this would hold later pushes"
    return f"{by}; this would end it" if held else by

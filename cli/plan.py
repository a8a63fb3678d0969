"""What a request would change, by the decisions that the state machine itself takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli import checks
from cli.errors import REJECTED, UNREADY, WRONG, CommandFailed
from cli.nextstep import Given
from cli.screen import Screen, printable
from cli.target import Target
from deployer import requests
from deployer.aws import ecr, ecs
from deployer.check import WARNING, Check
from deployer.deploy import (
    database,
    history,
    preflight,
    rollout,
    service,
    serving,
    task_definitions,
)
from deployer.deploy import prerequisites as around
from deployer.deploy.history import History
from deployer.deploy.image import Schema
from deployer.deploy.release import Recorded, Release
from deployer.deploy.rollout import Service
from deployer.errors import DeployError, ImageMissing, RequestRejected
from deployer.store import locks
from deployer.usecases import check_prerequisites, resolve_request

_NOBODY = "dry-run"  # stands for the execution that there is none of


# What a request comes to --------------------------------------------------------------------------


def to_deploy(target: Target, image: str) -> Release:
    """The release that a request to deploy would be.

    Raises:
        ImageMissing, RequestRejected: there is no such image, or it cannot run as the service.
    """
    request = requests.parse({"action": "deploy", "image": image})
    assert isinstance(request, requests.Deploy)
    return resolve_request.to_deploy(request, target.spec, _NOBODY, datetime.now(UTC))


def to_go_back(target: Target, past: History, to: str, *, restore_database: bool) -> Release:
    """Return the release that a request to roll back would be; see `history.target` for `to`.

    Raises:
        ImageMissing, RequestRejected: a rollback to it is not possible.
    """
    request = requests.parse({"action": "rollback", "to": to, "restoreDatabase": restore_database})
    assert isinstance(request, requests.Rollback)
    return resolve_request.to_roll_back(request, target.spec, past, _NOBODY, datetime.now(UTC))


def refuse_what_serves(past: History, now: Service | None, record: Recorded) -> None:
    """Raises RequestRejected if the release serves already, by what ECS says now."""
    if serving.serves_already(past, now, record):
        raise RequestRejected(f"{record['version']} ({record['id']}) serves already")


@dataclass(frozen=True)
class Candidate:
    """A release that was live. `refusal` is why a rollback to it is refused; "" if it is not."""

    record: Recorded
    refusal: str


def candidates(
    target: Target, past: History, now: Service | None, count: int = 10
) -> list[Candidate]:
    """Return the releases that were live, but the one that serves, the newest first, each once."""
    found: list[Candidate] = []
    known = set()
    for record in history.good(past):
        if _kind(record) in known or len(found) == count:
            continue
        known.add(_kind(record))
        if serving.serves_already(past, now, record):
            continue
        try:
            to_go_back(target, past, record["id"], restore_database=False)
            found.append(Candidate(record, ""))
        except DeployError as refused:
            found.append(Candidate(record, f"{refused}"))
    return found


def _kind(record: Recorded) -> tuple[str, str | None]:
    return record["digest"], record.get("taskDefinition")


def refused(
    target: Target, image: str, error: DeployError, advice: Sequence[str] = ()
) -> CommandFailed:
    """Return the end of a command to deploy an image that is missing, or that cannot run."""
    there = isinstance(error, ImageMissing) and ecr.find(target.spec.repository, image)
    return CommandFailed(REJECTED if there else WRONG, f"{error}", advice)


@dataclass(frozen=True)
class Plan:
    """What a request would change. `registers` is whether it makes a new task definition,
    `problem` why it would fail before it changes anything ("" if nothing is known to be wrong), and
    `warnings` what a preflight would only note."""

    release: Release
    live: Recorded | None
    runs: str | None
    becomes: str | None
    changes: list[task_definitions.Change]
    strategy: str
    work: database.Work
    applied: Schema | None
    rolls_back: bool
    line: locks.Queue
    holds: bool
    problem: str
    warnings: list[Check]

    @property
    def registers(self) -> bool:
        return self.becomes is None

    def document(self, given: Given) -> dict[str, Any]:
        """For scripts. `given`: what its commands must repeat."""
        named = ("version", "tag", "digest", "schema", "to")
        holder = self.line.holder
        return {
            "dryRun": True,
            "release": {name: self.release.get(name) for name in named},
            "live": self.live and {name: self.live.get(name) for name in ("id", *named)},
            "taskDefinition": {
                "runs": self.runs,
                "becomes": self.becomes,
                "registers": self.registers,
                "changes": [change.__dict__ for change in self.changes],
            },
            "strategy": self.strategy,
            "database": self.work,
            "restore": self.release.get("restore"),
            "schema": {"applied": self.applied, "brings": self.release["schema"]},
            "automaticRollback": self.rolls_back,
            "lock": holder and {name: holder[name] for name in ("release", "execution")},
            "waiting": [lock_request["release"] for lock_request in self.line.waiting],
            "hold": self.line.hold and {n: self.line.hold[n] for n in ("by", "at", "reason")},
            "holdAfter": self.holds,
            "problem": self.problem or None,
            "warnings": [checks.document(check, given) for check in self.warnings],
        }


def of(target: Target, past: History, release: Release, *, holds: bool) -> Plan:
    """What carrying out a release would change.

    Args:
        holds: whether the service's pushes are held from then on.
    """
    spec = target.spec
    now = ecs.service(spec.cluster, spec.service)
    previous = history.previous_release(rollout.steady_task_definition(now), None, past)
    runs = rollout.task_definition(now)
    becomes = release.get("taskDefinition") or None
    looked = check_prerequisites.guarded(
        "preflight", lambda: check_prerequisites.before(release, spec)
    )
    looked += around.service(spec, now)
    definition = task_definitions.render(spec, release["image"], target.account.region)
    if becomes:
        definition = _described(target, becomes)
    else:
        known = [previous["taskDefinition"]] if previous else []
        becomes = ecs.of_content([*known, spec.family], task_definitions.content_hash(definition))
    return Plan(
        release=release,
        live=history.live(past),
        runs=runs,
        becomes=becomes,
        changes=task_definitions.changes(_described(target, runs) if runs else {}, definition),
        strategy=spec.strategy,
        work=database.work(spec, release, previous),
        applied=history.applied_schema(past),
        rolls_back=service.may_roll_back(release, previous, now),
        line=locks.queue(spec.service),
        holds=holds,
        problem=_problem(target, now, past, release, looked),
        warnings=[check for check in looked if check.state == WARNING],
    )


def _described(target: Target, name: str) -> dict[str, Any]:
    """A task definition, whether it is ACTIVE or not."""
    ecs_client = target.account.client("ecs")
    return dict(ecs_client.describe_task_definition(taskDefinition=name)["taskDefinition"])


def _problem(
    target: Target, now: Any, past: History, release: Release, looked: Sequence[Check]
) -> str:
    """Return why the state machine's preflight would refuse the request; "" if nothing is known.

    A check that this person has no permission for says nothing about the preflight, which has its
    own permissions.
    """
    try:
        preflight.check([check for check in looked if not check.denied])
        preflight.check_schema(release, past)
        preflight.desired_count(target.spec, now, past, datetime.now(UTC))
    except DeployError as refused:
        return f"{refused}"
    return ""


# Shown -------------------------------------------------------------------------------------------


def show(plan: Plan, screen: Screen) -> None:
    """Show what would change. Raises CommandFailed if the request would fail."""
    release, live = plan.release, plan.live
    screen.facts(
        [
            ("release", f"{release['version']}  {release['digest']}"),
            ("live now", f"{live['version']}  {live['digest']}" if live else "nothing"),
            ("revision", _revision(plan)),
            ("strategy", _strategy(plan)),
            ("database", _database(plan)),
            ("rollback", _rollback(plan)),
            ("lock", _lock(plan)),
            ("hold", _hold(plan)),
        ]
    )
    if plan.changes:
        screen.title("The task definition")
        screen.table(["", "runs", "would run"], rows(plan.changes))
    screen.say()
    checks.show(screen, plan.warnings)
    if plan.problem:
        raise CommandFailed(
            UNREADY, f"it would fail, and change nothing: {plan.problem}", ["  deployer doctor"]
        )
    screen.say("A dry run: nothing was changed.", "green")


def rows(changes: Sequence[task_definitions.Change]) -> list[list[str]]:
    """What differs, what it is and what it would be, for a table."""
    return [
        ["-" if text is None else printable(text) for text in (c.what, c.before, c.after)]
        for c in changes
    ]


def _revision(plan: Plan) -> str:
    if plan.becomes is None:
        return "a new one would be registered"
    name = plan.becomes.rpartition("/")[2]
    same = plan.becomes == plan.runs
    return f"{name}, which runs now; nothing would be registered" if same else f"{name}, as it is"


def _strategy(plan: Plan) -> str:
    if plan.strategy == "recreate":
        return "recreate: the running tasks stop before the new ones start"
    return "rolling: the running tasks stay until the new ones are healthy"


def _database(plan: Plan) -> str:
    brings, applied = plan.release["schema"], plan.applied
    schema = f"schema {_schema(applied)} → {_schema(brings)}"
    if plan.work == "RESTORE":
        return f"snapshot {plan.release['restore']} would be restored; {schema}"
    if plan.work == "BACK_UP":
        why = "its schema is not known" if brings is None else "its schema is another"
        return f"a snapshot first, since {why}; {schema}"
    return f"no snapshot; {schema}" if brings or applied else "no snapshot"


def _schema(schema: Schema | None) -> str:
    return str(schema["number"]) if schema else "unknown"


def _rollback(plan: Plan) -> str:
    if plan.rolls_back:
        return "if it fails, what runs now is put back"
    if plan.live is None:
        return "if it fails, nothing is put back: no release was ever live"
    return "if it fails, nothing is put back by itself: what runs now can't run on its schema"


def _lock(plan: Plan) -> str:
    if holder := plan.line.holder:
        return f"{holder['release']} has it; this would wait"
    return "free"


def _hold(plan: Plan) -> str:
    held = plan.line.hold
    by = f"held by {held['by']} ({held['reason']})" if held else "none"
    if plan.holds:
        return f"{by}; pushes would be held from then on"
    return f"{by}; this would end it" if held else by

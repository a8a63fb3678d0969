"""What an order would change, by the decisions that the state machine itself takes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.errors import UNREADY, WRONG, CommandFailed
from cli.screen import Screen, printable
from cli.target import Target
from deployer import (
    database,
    history,
    identification,
    preflight,
    request,
    rollout,
    service,
    taskdef,
)
from deployer.aws import ecr, ecs, turns
from deployer.diagnosis import redact
from deployer.errors import DeployError, ImageMissing, RequestRejected
from deployer.history import History
from deployer.image import Schema
from deployer.release import Recorded, Release

_NOBODY = "dry-run"  # stands for the execution that there is none of
_SECRET = re.compile(r"(?i)pass|secret|token|credential|api_?key|private_?key")
# What ECS fills in where a definition does not say it; hostPort is the container's.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
_FILLED_IN = {"essential": True, "interval": 30, "timeout": 5, "retries": 3}
_ITS_OWN = (
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
)

_WORDS = {"containerDefinitions": "container", "secrets": "secret"}

type Path = tuple[str, ...]
"""Where a value is in a task definition: keys, and the names of containers, variables, secrets."""


# The difference between two task definitions -----------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A difference between two task definitions; None where there is, or was, none such."""

    what: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs, in words.

    The value of a variable that is named like a secret is not told, only that it changed.

    Args:
        before: as DescribeTaskDefinition gives it, with what ECS fills in.
        after: as RegisterTaskDefinition takes it, or DescribeTaskDefinition gives it.
    """
    old, new = dict(_values(before, ())), dict(_values(after, ()))
    return [
        Change(" ".join(path), _text(path, old.get(path)), _text(path, new.get(path)))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
        and not (path not in new and _filled_in(path[-1], old[path]))
    ]


def _values(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """What is said, with where; what says nothing (empty, zero, false) is as if it were not."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if path or key not in _ITS_OWN:
                yield from _values(entry, (*path, _WORDS.get(key) or str(key)))
    elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        for index, entry in enumerate(value):
            name = str(entry.get("name", entry.get("containerPort", index + 1)))
            rest = {key: found for key, found in entry.items() if key != "name"}
            if rest.keys() in ({"value"}, {"valueFrom"}):
                yield (*path, name), next(iter(rest.values()))
            else:
                yield from _values(rest, (*path, name))
    elif value:
        yield path, value


def _filled_in(name: str, value: Any) -> bool:
    return name == "hostPort" or _FILLED_IN.get(name) == value


def _text(path: Path, value: Any) -> str | None:
    if value is None:
        return None
    if "environment" in path and _SECRET.search(path[-1]):
        return "(not shown)"
    words = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    said = " ".join(map(str, words))
    return printable(redact(said) if "environment" in path else said)


# What an order comes to --------------------------------------------------------------------------


def to_deploy(target: Target, image: str) -> Release:
    """The release that an order to deploy would be.

    Raises:
        ImageMissing, RequestRejected: there is no such image, or it cannot run as the service.
    """
    spec = target.spec
    order = request.parse({"action": "deploy", "image": image, "service": spec.service})
    assert isinstance(order, request.Deploy)
    identified = ecr.find(spec.repository, image)
    if identified is None:
        raise ImageMissing(f"{image} is not in repository {spec.repository}")
    digest = identification.runnable(identified, spec.platform)
    config = ecr.config(spec.repository, digest) if digest else None
    if reason := identification.unfit(identified, config, spec):
        raise ImageMissing(f"{image} of {spec.repository} can't be deployed: {reason}")
    return identification.ordered(order, spec, identified, config, _NOBODY, datetime.now(UTC))


def to_go_back(target: Target, past: History, to: str, *, restore_database: bool) -> Release:
    """The release that an order to go back would be; see `history.target` for `to`.

    Raises:
        ImageMissing, RequestRejected: it can't be gone back to.
    """
    spec, earlier = target.spec, history.target(past, to)
    restore = database.restoration(spec, past, earlier, asked=restore_database)
    if ecr.find(spec.repository, earlier["digest"]) is None:
        raise ImageMissing(f"the image of {earlier['version']} is gone from {spec.repository}")
    exact = spec.rollback == "exact"
    if exact and ecs.revision(earlier.get("taskDefinition") or "") is None:
        raise RequestRejected(f"{earlier.get('taskDefinition')} is not ACTIVE any more")
    now = datetime.now(UTC)
    release = identification.again(earlier, "rollback", None, exact, _NOBODY, now)
    return {**release, "restore": restore}


@dataclass(frozen=True)
class Candidate:
    """A release that was live. `refusal` is why it can't be gone back to; "" if it can."""

    record: Recorded
    refusal: str


def candidates(target: Target, past: History, count: int = 10) -> list[Candidate]:
    """The releases that were live before the one that is, the newest first, one of each kind."""
    live = history.live(past)
    found: list[Candidate] = []
    known = {_kind(live)} if live else set()
    for record in history.good(past):
        if _kind(record) in known or len(found) == count:
            continue
        known.add(_kind(record))
        try:
            to_go_back(target, past, record["id"], restore_database=False)
            found.append(Candidate(record, ""))
        except DeployError as refused:
            found.append(Candidate(record, f"{refused}"))
    return found


def _kind(record: Recorded) -> tuple[str, str | None]:
    return record["digest"], record.get("taskDefinition")


def wrong(error: DeployError, advice: Sequence[str] = ()) -> CommandFailed:
    """The end of a command whose order would be refused."""
    return CommandFailed(WRONG, f"{error}", advice)


@dataclass(frozen=True)
class Plan:
    """What an order would change. `registers` is whether it makes a new task definition, and
    `problem` why it would fail before it changes anything; "" if nothing is known to be wrong."""

    release: Release
    live: Recorded | None
    runs: str | None
    becomes: str | None
    changes: list[Change]
    strategy: str
    work: database.Work
    applied: Schema | None
    goes_back: bool
    line: turns.Line
    holds: bool
    problem: str

    @property
    def registers(self) -> bool:
        return self.becomes is None

    @property
    def document(self) -> dict[str, Any]:
        """For scripts."""
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
            "automaticRollback": self.goes_back,
            "turn": holder and {name: holder[name] for name in ("release", "execution")},
            "waiting": [claim["release"] for claim in self.line.waiting],
            "hold": self.line.hold and {n: self.line.hold[n] for n in ("by", "at", "reason")},
            "holdAfter": self.holds,
            "problem": self.problem or None,
        }


def of(target: Target, past: History, release: Release, *, holds: bool) -> Plan:
    """What carrying out a release would change.

    Args:
        holds: whether the service's pushes are held from then on.
    """
    spec = target.spec
    now = ecs.service(spec.cluster, spec.service)
    previous = history.way_back(rollout.steady_task_definition(now), None, past)
    current = rollout.primary(now) if now else None
    runs = str(current["taskDefinition"]) if current else None
    becomes = release.get("taskDefinition") or None
    definition = taskdef.render(spec, release["image"], target.account.region)
    if becomes:
        definition = _described(target, becomes)
    else:
        known = [previous["taskDefinition"]] if previous else []
        becomes = ecs.of_content([*known, spec.family], taskdef.content_hash(definition))
    return Plan(
        release=release,
        live=history.live(past),
        runs=runs,
        becomes=becomes,
        changes=changes(_described(target, runs) if runs else {}, definition),
        strategy=spec.strategy,
        work=database.work(spec, release, previous),
        applied=history.applied_schema(past),
        goes_back=service.may_go_back(release, previous),
        line=turns.line(spec.service),
        holds=holds,
        problem=_problem(target, now, past, release),
    )


def _described(target: Target, name: str) -> dict[str, Any]:
    """A task definition, whether it is ACTIVE or not."""
    ecs_client = target.account.client("ecs")
    return dict(ecs_client.describe_task_definition(taskDefinition=name)["taskDefinition"])


def _problem(target: Target, now: Any, past: History, release: Release) -> str:
    """Why the order would fail before it changes anything, as far as it can be told from here."""
    try:
        preflight.check_schema(release, past)
        preflight.desired_count(target.spec, now, past, datetime.now(UTC))
    except DeployError as refused:
        return f"{refused}"
    return ""


# Shown -------------------------------------------------------------------------------------------


def show(plan: Plan, screen: Screen) -> None:
    """Show what would change. Raises CommandFailed if the order would fail."""
    release, live = plan.release, plan.live
    screen.facts(
        [
            ("release", f"{release['version']}  {release['digest']}"),
            ("live now", f"{live['version']}  {live['digest']}" if live else "nothing"),
            ("revision", _revision(plan)),
            ("strategy", _strategy(plan)),
            ("database", _database(plan)),
            ("rollback", _rollback(plan)),
            ("turn", _turn(plan)),
            ("hold", _hold(plan)),
        ]
    )
    if plan.changes:
        screen.title("The task definition")
        rows = [[c.what, c.before or "-", c.after or "-"] for c in plan.changes]
        screen.table(["", "runs", "would run"], rows)
    screen.say()
    if plan.problem:
        raise CommandFailed(
            UNREADY, f"it would fail, and change nothing: {plan.problem}", ["  deployer doctor"]
        )
    screen.say("A dry run: nothing was changed.", "green")


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
    if plan.goes_back:
        return "if it fails, what runs now is put back"
    return "if it fails, nothing is put back by itself: what runs now can't run on its schema"


def _turn(plan: Plan) -> str:
    if holder := plan.line.holder:
        return f"{holder['release']} has it; this would wait"
    return "free"


def _hold(plan: Plan) -> str:
    held = plan.line.hold
    by = f"held by {held['by']} ({held['reason']})" if held else "none"
    if plan.holds:
        return f"{by}; pushes would be held from then on"
    return f"{by}; this would end it" if held else by

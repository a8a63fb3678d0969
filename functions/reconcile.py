"""Reconcile: close what executions left open, and start what was missed: pushes and uploads.

Called with the status change of an execution that did not end well, and by the clock.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecr, events, s3, sfn, ssm
from deployer.aws.log import Logger
from deployer.build import image_build
from deployer.deploy import reconciliation, release, spec
from deployer.deploy.reconciliation import MissedPush
from deployer.deploy.release import Recorded
from deployer.deploy.spec import ServiceSpec
from deployer.docs import site
from deployer.errors import DeployError
from deployer.store import locks, releases

logger = Logger()

_RESERVE = 30  # seconds: longer than one service takes whose calls are answered late


class Reconciled(TypedDict):
    """What was done: the releases recovered or closed, and the missed pushes started."""

    settled: list[str]
    started: list[str]


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> Reconciled:
    if event["detail-type"] == "Step Functions Execution Status Change":
        done: Reconciled = {"settled": _ended(event["detail"]), "started": []}
    else:
        left = lambda: context.get_remaining_time_in_millis() / 1000  # noqa: E731
        done = _round(spec.services(ssm.service_specs()), site.named(ssm.site_specs()), left)
    logger.info("reconciled", done=done)
    return done


def _round(services: list[ServiceSpec], sites: list[str], left: Callable[[], float]) -> Reconciled:
    """Look after every service, its builds and every site.

    What fails for one must not keep the others waiting, nor must what takes long: each may take an
    even share of the time that is left, and goes on in the next round. The next round begins with
    the first one that this round did not come to.

    Args:
        left: how many seconds of this call are left.
    """
    done: Reconciled = {"settled": [], "started": []}
    failed = []
    pushed = {service.service: service for service in services}
    names = [*pushed, *map(image_build.partition, pushed), *map(site.owner, sites)]
    names = reconciliation.from_where(names, releases.left_off())
    for number, name in enumerate(names):
        if left() < _RESERVE:
            releases.leave_off(name)
            logger.error("no time for all; the next round goes on here", of=name)
            break
        until = left() - (left() - _RESERVE) / (len(names) - number)
        try:
            history = releases.history(name)
            _within(until, left, _abandoned(name, history), done["settled"])
            _within(until, left, _missed(name, pushed, history), done["started"])
        except Exception:
            logger.exception("could not reconcile", of=name)
            failed.append(name)
    if failed:
        raise DeployError(f"could not reconcile {', '.join(failed)}; did {done}; see the log")
    return done


def _within(until: float, left: Callable[[], float], looks: Iterator[str], done: list[str]) -> None:
    """Look for as long as there is time, at least once; what was done is noted."""
    for found in looks:
        if found:
            done.append(found)
        if left() < until:
            break


def _ended(detail: Mapping[str, Any]) -> list[str]:
    """Settle what one execution left."""
    execution = detail["executionArn"]
    record = releases.of_execution(execution)
    if record:
        others = "recoveredBy" in record or record["execution"] != execution
        # if that other execution is over too, the clock's round finds out
        return [] if others and "outcome" not in record else _settle(record, execution)
    if reconciliation.is_event(detail.get("input")):
        return []  # nothing was recorded of it, so the clock's round starts it as a missed one
    unidentified = release.unidentified
    if detail["stateMachineArn"] == os.environ["BUILD"]:
        unidentified = image_build.unidentified
    left = unidentified(
        reconciliation.document(detail.get("input")), execution, reconciliation.began(detail)
    )
    ended = {"endedAt": _now(), "reason": f"its execution was {detail['status']}"}
    return [left["id"]] if releases.close_release(left, "FAILED", ended) else []


def _abandoned(service: str, history: list[Recorded]) -> Iterator[str]:
    """Settle every open release, and a closed one's turn, whose execution is over.

    Yields:
        What was settled; nothing of what needs it not.
    """
    for record in history:
        execution, since = release.carried_out_by(record)
        if "outcome" not in record:
            yield from [""] if sfn.running(execution, since) else _settle(record, execution)
    line = locks.queue(service)
    for (
        lock_request
    ) in line.waiting:  # a Acquire lock that ran twice may have put it back at the end
        if not sfn.running(lock_request["execution"], lock_request["since"]):
            locks.dequeue(service, lock_request["release"], lock_request["execution"])
    holder = line.holder
    if holder and not sfn.running(holder["execution"], holder["since"]):
        left = releases.of_execution(holder["execution"])
        if left and "outcome" in left:
            yield from _settle(left, holder["execution"])


def _settle(record: Recorded, execution: str) -> list[str]:
    """Settle one release whose execution is over: by a recovery if it may have touched the
    service, else by closing its record here."""
    holder = locks.queue(record["service"]).holder
    had_lock = "lockedAt" in record or (holder and holder["release"] == record["id"])
    builds = image_build.is_build(record["service"])
    if "outcome" not in record and had_lock and not builds:
        machine = os.environ["DOCS" if site.is_site(record["service"]) else "DEPLOY"]
        name = reconciliation.recovery_name(record["id"], execution)
        return [record["id"]] if sfn.start(machine, name, reconciliation.recovery(record)) else []
    locks.dequeue(record["service"], record["id"])
    what = site.kind(record["service"])
    reason = f"its execution ended before the release held the lock; the {what} was not changed"
    if builds:
        reason = "its execution ended before the build did; upload the archive again"
    closed = releases.close_release(record, "FAILED", {"endedAt": _now(), "reason": reason})
    if closed:
        events.announce(record, "FAILED", reason)
    locks.release(record["service"], execution)
    return [record["id"]] if closed else []


def _missed(
    name: str, services: Mapping[str, ServiceSpec], history: list[Recorded]
) -> Iterator[str]:
    """Start the pushes or uploads of which there is no record."""
    if name in services:
        return _missed_pushes(services[name], history)
    return _missed_uploads(name, history)


def _missed_uploads(owner: str, history: list[Recorded]) -> Iterator[str]:
    bucket, of_site = os.environ["SOURCES"], site.is_site(owner)
    folder = (
        f"docs/{site.of_owner(owner)}/" if of_site else f"image/{image_build.of_partition(owner)}/"
    )
    machine, archive = ("DOCS", site.is_archive) if of_site else ("BUILD", image_build.is_archive)
    known = {_upload(record) for record in history}
    for stored in s3.stored_since(bucket, folder, releases.missed_since()):
        event = reconciliation.missed_upload(bucket, stored, datetime.now(UTC))
        if event and archive(stored) and (stored["key"], stored["at"]) not in known:
            started = reconciliation.upload_name(stored)
            yield started if sfn.start(os.environ[machine], started, event, once=True) else ""


def _upload(record: Mapping[str, Any]) -> tuple[str, str]:
    """Which upload a record is of: its key, and when S3 stored it."""
    source = record.get("source")
    key = source["key"] if isinstance(source, Mapping) else str(source).partition("/")[2]
    return key, record["pushedAt"]


def _missed_pushes(service: ServiceSpec, history: list[Recorded]) -> Iterator[str]:
    now = datetime.now(UTC)
    pushes = reconciliation.missed(
        service,
        ecr.tagged(service.repository),
        history,
        releases.undecided(service.repository),
        releases.missed_since(),
        now,
    )
    for push in pushes:
        # the history may be older than a record, and has no pushes that deployed nothing
        name = f"push-{push.id}"
        known = releases.knows_tag(service.service, push.digest, push.tag, push.at)
        if known or (push.may_be_recent(now) and not _noticed(service.service, push, now)):
            yield ""
        else:
            yield name if sfn.start(os.environ["DEPLOY"], name, push.event) else ""


def _noticed(service: str, push: MissedPush, now: datetime) -> bool:
    """Return whether an earlier round noticed the push, so that its event had time to arrive."""
    before = releases.notice_tag(service, push.id, now)
    return before is not None and now - before >= reconciliation.GRACE


def _now() -> str:
    return datetime.now(UTC).isoformat()

"""Reconcile: close releases that executions left open, and start missed pushes and uploads.

Runs on a schedule, and when an execution fails, times out or is aborted.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecr, events, s3, sfn, ssm
from deployer.build import image_build
from deployer.deploy import reconciliation, release, spec
from deployer.deploy.history import History
from deployer.deploy.release import Record
from deployer.deploy.spec import ServiceSpec
from deployer.docs import site
from deployer.errors import DeployError
from deployer.log import Logger
from deployer.store import builds, locks, publications, releases
from deployer.usecases import find_spec

logger = Logger()

_RESERVE = 30  # seconds: longer than one service takes with slow responses


class Reconciled(TypedDict):
    """The releases recovered or closed, and the missed pushes and uploads started."""

    settled: list[str]
    started: list[str]


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> Reconciled:
    if event["detail-type"] == "Step Functions Execution Status Change":
        done: Reconciled = {"settled": _settle_execution(event["detail"]), "started": []}
    else:
        remaining = lambda: context.get_remaining_time_in_millis() / 1000  # noqa: E731
        done = _reconcile_all(
            spec.services(find_spec.all_specs()), site.named(ssm.site_specs()), remaining
        )
    logger.info("reconciled", done=done)
    return done


def _reconcile_all(
    services: list[ServiceSpec], sites: list[str], remaining: Callable[[], float]
) -> Reconciled:
    """Reconcile every service, its builds and every site.

    A failing or slow one must not block the others: each gets an even share of the remaining time,
    and continues in the next round. The next round starts with the first one this round skipped.

    Args:
        remaining: returns the remaining seconds of this call.
    """
    done: Reconciled = {"settled": [], "started": []}
    failed, since = [], cache(releases.missed_since)
    pushed = {service.service: service for service in services}
    names = [*pushed, *map(image_build.partition, pushed), *map(site.owner, sites)]
    names = reconciliation.from_where(names, releases.left_off())
    for number, name in enumerate(names):
        if remaining() < _RESERVE:
            releases.leave_off(name)
            logger.error("out of time; the next round starts here", of=name)
            break
        until = remaining() - (remaining() - _RESERVE) / (len(names) - number)
        try:
            records, missed = _records(name, pushed, since)
            _run_until(until, remaining, _abandoned(name, records), done["settled"])
            _run_until(until, remaining, missed, done["started"])
        except Exception:
            logger.exception("could not reconcile", of=name)
            failed.append(name)
    if failed:
        raise DeployError(f"could not reconcile {', '.join(failed)}; did {done}; see the log")
    return done


def _run_until(
    until: float, remaining: Callable[[], float], steps: Iterator[str], done: list[str]
) -> None:
    """Run the steps until the time is up, at least one; append what they did to `done`."""
    for name in steps:
        if name:
            done.append(name)
        if remaining() < until:
            break


def _settle_execution(detail: Mapping[str, Any]) -> list[str]:
    """Settle the release of one execution."""
    execution = detail["executionArn"]
    record = releases.of_any_kind.of_execution(execution)
    if record:
        others = "recoveredBy" in record or record["execution"] != execution
        # if that execution has ended too, the scheduled round settles the release
        return [] if others and "outcome" not in record else _settle(record, execution)
    if reconciliation.is_event(detail.get("input")):
        return []  # nothing was recorded, so the scheduled round starts it as missed
    unidentified = release.unidentified
    if detail["stateMachineArn"] == os.environ["BUILD"]:
        unidentified = image_build.unidentified
    unrecorded = unidentified(
        reconciliation.document(detail.get("input")), execution, reconciliation.began(detail)
    )
    details = {"endedAt": _now(), "reason": f"its execution was {detail['status']}"}
    return [unrecorded["id"]] if releases.close_release(unrecorded, "FAILED", details) else []


def _abandoned(service: str, history: Sequence[Record]) -> Iterator[str]:
    """Settle every open release whose execution has ended, and release such an execution's lock.

    Yields:
        The id of a settled release; "" if there was nothing to settle.
    """
    for record in history:
        execution, since = release.carried_out_by(record)
        if "outcome" not in record:
            yield from [""] if sfn.running(execution, since) else _settle(record, execution)
    queue = locks.queue(service)
    for lock_request in queue.waiting:  # a second run of Acquire lock may have queued it again
        if not sfn.running(lock_request["execution"], lock_request["since"]):
            locks.dequeue(service, lock_request["release"], lock_request["execution"])
    holder = queue.holder
    if holder and not sfn.running(holder["execution"], holder["since"]):
        holder_record = releases.of_any_kind.of_execution(holder["execution"])
        if holder_record and "outcome" in holder_record:
            yield from _settle(holder_record, holder["execution"])


def _settle(record: Record, execution: str) -> list[str]:
    """Settle a release whose execution has ended: start a recovery if it may have changed the
    service, otherwise close its record."""
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


def _records(
    name: str, services: Mapping[str, ServiceSpec], since: Callable[[], datetime]
) -> tuple[Sequence[Record], Iterator[str]]:
    """Return the records of a service, its builds or a site, and what starts the pushes or uploads
    that have none."""
    if name in services:
        pushes = releases.history(name)
        return pushes, _missed_pushes(services[name], pushes, since)
    if site.is_site(name):
        uploads, folder = publications.history(name), f"docs/{site.of_owner(name)}/"
        keys = {(upload["source"].partition("/")[2], upload["pushedAt"]) for upload in uploads}
        return uploads, _missed_uploads("DOCS", folder, site.is_archive, keys, since)
    archives, folder = builds.history(name), f"image/{image_build.of_partition(name)}/"
    keys = {(build["source"]["key"], build["pushedAt"]) for build in archives}
    return archives, _missed_uploads("BUILD", folder, image_build.is_archive, keys, since)


def _missed_uploads(
    machine: str,
    folder: str,
    is_archive: Callable[[Mapping[str, Any]], bool],
    recorded: Collection[tuple[str, str]],
    since: Callable[[], datetime],
) -> Iterator[str]:
    """Start the uploads without a record.

    Args:
        machine: the environment variable that holds the state machine's ARN.
        recorded: the key of each recorded upload, and when S3 stored it.
    """
    bucket = os.environ["SOURCES"]
    for stored in s3.stored_since(bucket, folder, since()):
        event = reconciliation.missed_upload(bucket, stored, datetime.now(UTC))
        if event and is_archive(stored) and (stored["key"], stored["at"]) not in recorded:
            started = reconciliation.upload_name(stored)
            yield started if sfn.start(os.environ[machine], started, event, once=True) else ""


def _missed_pushes(
    service: ServiceSpec, history: History, since: Callable[[], datetime]
) -> Iterator[str]:
    pushes = reconciliation.missed(
        service,
        ecr.tagged(service.repository),
        history,
        releases.undecided(service.repository),
        since(),
        datetime.now(UTC),
    )
    for push in pushes:
        # the history may lag behind a new record, and lacks ignored pushes
        name = f"push-{push.id}"
        recorded = releases.knows_tag(service.service, push.digest, push.tag, push.at)
        yield name if not recorded and sfn.start(os.environ["DEPLOY"], name, push.event) else ""


def _now() -> str:
    return datetime.now(UTC).isoformat()

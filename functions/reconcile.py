"""Reconcile: close what executions left open, and start the pushes of which no event told.

Called with the status change of an execution that did not end well, and by the clock.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import reconciliation, release, site, spec
from deployer.aws import ecr, events, releases, sfn, ssm, turns
from deployer.aws.log import Logger
from deployer.errors import DeployError
from deployer.release import Recorded
from deployer.spec import ServiceSpec

logger = Logger()


class Reconciled(TypedDict):
    """What was done: the releases recovered or closed, and the missed pushes started."""

    settled: list[str]
    started: list[str]


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> Reconciled:
    if event["detail-type"] == "Step Functions Execution Status Change":
        done: Reconciled = {"settled": _ended(event["detail"]), "started": []}
    else:
        done = _round(spec.services(ssm.service_specs()), site.named(ssm.site_specs()))
    logger.info("reconciled", done=done)
    return done


def _round(services: list[ServiceSpec], sites: list[str]) -> Reconciled:
    """Look after every service and site; what fails for one must not keep the others waiting."""
    done: Reconciled = {"settled": [], "started": []}
    failed = []
    pushed = {service.service: service for service in services}
    for name in (*pushed, *map(site.owner, sites)):
        try:
            history = releases.history(name)
            done["settled"] += _abandoned(name, history)
            if name in pushed:
                done["started"] += _missed(pushed[name], history)
        except Exception:
            logger.exception("could not reconcile", of=name)
            failed.append(name)
    if failed:
        raise DeployError(f"could not reconcile {', '.join(failed)}; did {done}; see the log")
    return done


def _ended(detail: Mapping[str, Any]) -> list[str]:
    """Settle what one execution left."""
    execution = detail["executionArn"]
    record = releases.of_execution(execution)
    if record:
        others = "recoveredBy" in record or record["execution"] != execution
        # if that other execution is over too, the clock's round finds out
        return [] if others and "outcome" not in record else _settle(record, execution)
    if reconciliation.is_push(detail.get("input")):
        return []  # nothing was recorded of it, so the clock's round starts it as a missed push
    left = release.unidentified(
        reconciliation.document(detail.get("input")), execution, reconciliation.began(detail)
    )
    ended = {"endedAt": _now(), "reason": f"its execution was {detail['status']}"}
    return [left["id"]] if releases.close_release(left, "FAILED", ended) else []


def _abandoned(service: str, history: list[Recorded]) -> list[str]:
    """Settle every open release, and a closed one's turn, whose execution is over."""
    settled = []
    for record in history:
        execution, since = release.carried_out_by(record)
        if "outcome" not in record and not sfn.running(execution, since):
            settled += _settle(record, execution)
    line = turns.line(service)
    for claim in line.waiting:  # a Take turn that ran twice may have put it back at the end
        if not sfn.running(claim["execution"], claim["since"]):
            turns.leave(service, claim["release"], claim["execution"])
    holder = line.holder
    if holder and not sfn.running(holder["execution"], holder["since"]):
        left = releases.of_execution(holder["execution"])
        if left and "outcome" in left:
            settled += _settle(left, holder["execution"])
    return settled


def _settle(record: Recorded, execution: str) -> list[str]:
    """Settle one release whose execution is over: by a recovery if it may have touched the
    service, else by closing its record here."""
    holder = turns.line(record["service"]).holder
    had_turn = "turnAt" in record or (holder and holder["release"] == record["id"])
    if "outcome" not in record and had_turn:
        machine = os.environ["DOCS" if site.is_site(record["service"]) else "DEPLOY"]
        name = reconciliation.recovery_name(record["id"], execution)
        return [record["id"]] if sfn.start(machine, name, reconciliation.recovery(record)) else []
    turns.leave(record["service"], record["id"])
    what = site.kind(record["service"])
    reason = f"its execution ended before the release had its turn; the {what} was not changed"
    closed = releases.close_release(record, "FAILED", {"endedAt": _now(), "reason": reason})
    if closed:
        events.announce(record, "FAILED", reason)
    turns.pass_on(record["service"], execution)
    return [record["id"]] if closed else []


def _missed(service: ServiceSpec, history: list[Recorded]) -> list[str]:
    """Start the pushes of which there is no record."""
    pushes = reconciliation.missed(
        service,
        ecr.tagged(service.repository),
        history,
        releases.undecided(service.repository),
        releases.missed_since(),
        datetime.now(UTC),
    )
    started = []
    for push in pushes:
        # the history may be older than a record, and has no pushes that deployed nothing
        if not releases.knows_tag(service.service, push.digest, push.tag, push.at):
            name = f"push-{push.id}"
            if sfn.start(os.environ["DEPLOY"], name, push.event):
                started.append(name)
    return started


def _now() -> str:
    return datetime.now(UTC).isoformat()

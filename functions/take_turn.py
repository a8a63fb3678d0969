"""Take the turn: one deployment of a service at a time, and the newest push wins.

The claim with its task token is written down before looking, so that whoever gives the turn up
after the look finds it; see `poll_health` for the same order.
"""

import time
from datetime import UTC, datetime
from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import turns
from deployer.aws import events, releases, sfn
from deployer.aws import turns as line
from deployer.aws.log import Logger
from deployer.errors import TurnTimedOut
from deployer.history import History
from deployer.release import Entry
from deployer.turns import Claim, Decision

logger = Logger()

# Each try but the last is answered by somebody else's change; then the slow poll tries again.
_TRIES = 20
_NAP = 20.0  # seconds, of the 50 that the function has


class Request(TypedDict):
    release: Entry
    token: str
    startedAt: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Decision:
    release = event["release"]
    mine = turns.claim(release, event["execution"], event["startedAt"], event["token"])
    line.wait(release["service"], mine)
    decision, seconds = _decide(release, mine)
    logger.info("turn decided", decision=decision, seconds=seconds)
    if decision["action"] == "WAIT":
        _check_patience(release, mine, decision)
        if seconds > 0:
            time.sleep(min(seconds, _NAP))
            sfn.wake(event["token"], decision)
        return decision
    if decision["action"] == "TAKE":
        events.announce(release, "STARTED", decision["reason"])
    else:
        line.leave(release["service"], release["id"])
    if decision["action"] == "SUPERSEDED":
        decision = _superseded(release, mine, decision)
    told = sfn.wake(event["token"], decision)
    if told and decision["action"] != "TAKE" and mine["trigger"] != "push":
        # whoever waited for it to go first; if one of them has woken it meanwhile, it looks again
        line.pass_on(release["service"], event["execution"])
    return decision


def _decide(release: Entry, mine: Claim) -> tuple[Decision, float]:
    """Decide, and take the turn if it is ours; again for as long as others change the line.

    Returns:
        The decision, and after how many seconds to look again although nobody wakes us: a function
        of an execution that is over may change something still.
    """
    for _ in range(_TRIES):
        found = line.line(release["service"])
        over = found.holder if found.holder and not _lives(found.holder) else None
        seconds = over.get("changesUntil", 0) / 1e6 - time.time() if over else 0
        if seconds > 0:
            over = None
        holder = None if over else found.holder
        past = _past(release)
        decision = turns.decide(mine, holder, found.waiting, found.hold, past)
        if mine["trigger"] == "push":
            _let_older_stand_aside(mine, found.waiting)
        if holder and holder["execution"] == mine["execution"] and decision["action"] != "TAKE":
            # a try of this that overlapped has taken it
            line.leave(release["service"], release["id"])
            line.pass_on(release["service"], mine["execution"])
        if decision["action"] == "TAKE":
            if holder:  # by an earlier try; a hold that came since does not take it away
                line.leave(release["service"], release["id"])
            elif not line.take(release["service"], mine, over["execution"] if over else ""):
                continue
            # of a recovered release, which changed something, when that was stays
            if mine["trigger"] == "recover" or releases.note_turn(release, _now()):
                return decision, 0
        elif decision["action"] == "HELD":
            recorded = releases.close_held(release, _ended(decision))
            if recorded is not None:  # else the hold has ended meanwhile: decide again
                _announce(release, decision, recorded)
                return decision, 0
        elif decision["action"] != "WAIT" or holder:
            return decision, seconds
        else:
            first = next(c for c in found.waiting if c["release"] == decision["by"])
            if line.wake(first) or _lives(first):
                return decision, 0
            line.leave(release["service"], first["release"])
    return {"action": "WAIT", "by": "", "reason": "the line changes all the time"}, 0


def _superseded(release: Entry, mine: Claim, decision: Decision) -> Decision:
    """Close a release that stands aside, unless a try of this that overlapped took its turn."""
    if mine["trigger"] == "recover":
        recorded: bool | None = releases.close_release(release, "SUPERSEDED", _ended(decision))
    else:
        recorded = releases.close_superseded(release, _ended(decision))
    if recorded is None:
        return {"action": "TAKE", "by": "", "reason": "the turn is ours already"}
    _announce(release, decision, recorded)
    return decision


def _lives(claim: Claim) -> bool:
    return sfn.running(claim["execution"], claim["since"])


def _past(release: Entry) -> History:
    """The service's records, with that of the release itself, however many came after it."""
    past = releases.history(release["service"])
    if any(entry["id"] == release["id"] for entry in past):
        return past
    own = releases.find(release["service"], release["id"])
    return [*past, own] if own else past


def _ended(decision: Decision) -> dict[str, str]:
    return {"endedAt": _now(), "reason": decision["reason"], "by": decision["by"]}


def _announce(release: Entry, decision: Decision, recorded: bool) -> None:
    if recorded and decision["action"] in ("HELD", "SUPERSEDED"):
        events.announce(release, decision["action"], decision["reason"])


def _let_older_stand_aside(mine: Claim, waiting: list[Claim]) -> None:
    for other in waiting:
        if other["trigger"] == "push" and other["pushedAt"] < mine["pushedAt"]:
            line.wake(other)


def _check_patience(release: Entry, mine: Claim, decision: Decision) -> None:
    waited = datetime.now(UTC) - datetime.fromisoformat(mine["since"])
    if waited > turns.PATIENCE:
        line.leave(release["service"], release["id"])
        raise TurnTimedOut(f"no turn after {turns.PATIENCE}: {decision['reason']}")


def _now() -> str:
    return datetime.now(UTC).isoformat()

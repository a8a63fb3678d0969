"""Decide what is wrong with a deployer, its service and their application, and the fix.

`deployer.deploy.prerequisites` has the checks that a preflight makes too; this module has the rest
of `deployer doctor`. Nothing here calls AWS: functions turn AWS's descriptions into checks.
"""

import json
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from deployer import pattern as patterns
from deployer.build.image_build import RecordedBuild
from deployer.check import FAILED, OK, WARNING, Check, Repair, State
from deployer.deploy import (
    diagnosis,
    history,
    identification,
    log_patterns,
    task_definitions,
    verification,
)
from deployer.deploy.diagnosis import Failure
from deployer.deploy.history import History
from deployer.deploy.image import Document, Image
from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Service, primary
from deployer.deploy.spec import ServiceSpec, Verification
from deployer.deploy.stop_reasons import Task
from deployer.deploy.verification import Answer, Probes
from deployer.lock import HoldNote
from deployer.presets import Preset
from deployer.redaction import redact

_EVIDENCE = 5  # lines
_IN_TAGS = string.digits + string.ascii_letters + "._-"
_LATELY = timedelta(minutes=2)


# What runs ---------------------------------------------------------------------------------------


def serves(serving_state: Mapping[str, Any]) -> Check:
    """Check that the last verified release serves.

    Args:
        serving_state: from `serving.summary`.
    """
    if serving_state["alarm"] is None:
        last = serving_state["verified"]
        text = f"{last['version']}, the last verified release" if last else "nothing yet"
        return Check("serves", OK, text)
    state: State = WARNING if serving_state["mend"] is None else FAILED
    fix = ("To make it serve again:", serving_state["mend"]) if serving_state["mend"] else ()
    return Check("serves", state, serving_state["alarm"], fix)


def service(spec: ServiceSpec, described: Service | None, records: History) -> Iterator[Check]:
    """Check that the service runs as many tasks as it should.

    Args:
        described: the service; None if it does not exist.
    """
    name, live = "service", history.live(records)
    if described is None:
        if live is None:
            yield Check(name, OK, f"{spec.service} does not exist yet; the first push creates it")
            return
        yield Check(
            name,
            FAILED,
            f"somebody deleted {spec.service}, of which {live['version']} was live",
            ("Create it again:", f"  deployer deploy {live['digest']}"),
            "Nothing serves.",
        )
        return
    desired, running = described.get("desiredCount", 0), described.get("runningCount", 0)
    if desired == 0:
        fix = (
            "Scale it up, or, if no release was ever live, push one that works:",
            f"  aws ecs update-service --cluster {spec.cluster} --service {spec.service}"
            f" --desired-count {spec.desired_count}",
        )
        why = "Nothing serves, and no release can be judged."
        yield Check(name, WARNING, f"{spec.service} is scaled to zero", fix, why)
        return
    current = primary(described) or {}
    text = f"{running} of {desired} tasks run"
    if running >= desired:
        yield Check(name, OK, text)
    elif current.get("rolloutState") == "IN_PROGRESS" and any("outcome" not in e for e in records):
        yield Check(name, WARNING, f"{text}; a release is on its way")
    else:
        events = [entry["message"] for entry in described.get("events", ())[:1]]
        fix = (
            "See what the tasks' own check says, here below, and the service's events:",
            f"  aws ecs describe-services --cluster {spec.cluster} --services {spec.service}"
            " --query 'services[].events[:5].message'",
        )
        yield Check(name, FAILED, f"{text}; {'; '.join(events)}".removesuffix("; "), fix)


def tasks(
    described: Service,
    failed: Sequence[Task],
    lines: Sequence[str],
    now: datetime,
    preset: Preset,
) -> Iterator[Check]:
    """Check for tasks that failed within the last hour, with the diagnosis of a failed release.

    Args:
        failed: tasks of the current deployment, oldest first; ECS forgets them after an hour.
        lines: the log lines of the last one.
    """
    if not failed:
        yield Check("tasks", OK, "none failed within the last hour")
        return
    events = [entry["message"] for entry in described.get("events", ())[:3]]
    failure: Failure = {"Error": "RolloutFailed", "Cause": f"{len(failed)} tasks failed"}
    result = diagnosis.diagnose(failure, failed, events, lines, preset.symptoms)
    complete = described.get("runningCount", 0) >= described.get("desiredCount", 0)
    # a running task may be the next to fail
    all_run = complete and now - failed[-1].get("stoppedAt", now) > _LATELY
    yield Check(
        "tasks",
        WARNING if all_run else FAILED,
        f"{result['kind']}: {'; '.join(result['stops'][-2:])}",
        (result["advice"],),
        "It runs now, but tasks failed within the last hour."
        if all_run
        else "Tasks keep stopping.",
        tuple(result["log"][-_EVIDENCE:]),
    )


def log(lines: Sequence[str], preset: Preset) -> Iterator[Check]:
    """Check the log lines of the running tasks for known problems."""
    symptoms = log_patterns.matching(lines, preset.symptoms)
    for symptom in symptoms:
        state: State = FAILED if symptom.kind in preset.wrong else WARNING
        text = f"{symptom.kind}: {symptom.why}"
        yield Check("log", state, text, (symptom.advice,), evidence=(redact(symptom.line)[:500],))
    if not symptoms:
        yield Check("log", OK, f"no known problem in {len(lines)} lines")


def answers(
    verify: Verification,
    version: str,
    before: Probes,
    responses: Mapping[str, Answer | None],
    preset: Preset,
) -> Iterator[Check]:
    """Check that the service answers with the live version, on the data it had when verified.

    Args:
        before: the results of the probes then.
        responses: the responses by path; None if there was none.
    """
    name = "answers"
    health = verification.healthy(verify, responses.get(verify.path))
    if health["verdict"] != "VERIFIED":
        fix = (
            "See the checks of the tasks, the security group and the target group; the log:",
            "  deployer logs",
        )
        yield Check(name, FAILED, health["reason"], fix, "Users cannot reach the application.")
        return
    if verify.version:
        result = verification.right_version(
            verify.version, responses.get(verify.version.path), version
        )
        if result["verdict"] != "VERIFIED":
            fix = ("Deploy the release again:", f"  deployer deploy {version}")
            yield Check(name, FAILED, result["reason"], fix, "What serves is not what is recorded.")
            return
    values = {
        verification.probe_name(probe): value
        for probe in verify.unchanged
        if (value := verification.probe_value(probe, responses.get(probe.path))) is not None
    }
    remembered = verification.remembered(before)
    changed = verification.unchanged(remembered, {**remembered, **values})
    if changed["verdict"] == "REFUTED":
        fix = (
            "See which database the service uses (its secret, and the log), before anybody writes"
            " to it:",
            "  deployer logs",
        )
        yield Check(name, FAILED, changed["reason"], fix, "The service runs on other data.")
    yield from preset.answers(before, values)
    if changed["verdict"] == "VERIFIED":
        yield Check(name, OK, health["reason"])


def targets(descriptions: Sequence[Mapping[str, Any]], modify: str) -> Iterator[Check]:
    """Check the health of the load balancer's targets.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html

    Args:
        descriptions: the target health descriptions.
        modify: the beginning of a command that changes the target group.
    """
    states = [entry["TargetHealth"].get("State") for entry in descriptions]
    unhealthy = [
        e for e in descriptions if e["TargetHealth"].get("State") in ("unhealthy", "unavailable")
    ]
    if not unhealthy:
        yield Check("targets", OK, f"{states.count('healthy')} healthy")
        return
    health = unhealthy[-1]["TargetHealth"]
    reason = health.get("Reason", "")
    fix: tuple[str, ...] = ("See the log: does the application still start?", "  deployer logs")
    if reason == "Target.ResponseCodeMismatch":
        fix = ("Use a path that responds with 200:", f"{modify} --health-check-path /healthz")
    elif reason == "Target.Timeout":
        fix = ("Let the load balancer into the tasks' security group: its check says how.",)
    elif reason == "Target.FailedHealthChecks":
        fix = (
            "Nothing listens there. Check the tasks' own port, on every address (0.0.0.0):",
            f"{modify} --health-check-port traffic-port",
        )
    count = f"{len(unhealthy)} of {len(descriptions)} unhealthy"
    text = f"{count}: {reason} {health.get('Description', '')}"
    state: State = WARNING if "healthy" in states else FAILED
    yield Check("targets", state, text.strip(), fix, "The load balancer sends it no requests.")


# Records ------------------------------------------------------------------------------------------


def last_release(records: History) -> Iterator[Check]:
    """Check the outcome of the last release, and whether the last push was ignored.

    Args:
        records: the newest records, including pushes that deployed nothing.
    """
    # children of an index and attestations have no tag, and deploy nothing by themselves
    newest = next((e for e in records if e["tag"] or e.get("outcome") != "IGNORED"), None)
    if newest and newest.get("outcome") == "IGNORED" and newest["trigger"] == "push":
        yield Check(
            "last push",
            WARNING,
            f"{newest['version']} deployed nothing: {newest.get('reason', '')}",
            ("Push it under a tag that the service deploys, with `-` for the `+` of a version.",),
        )
    record = next(
        (e for e in records if e.get("outcome") in ("SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK")),
        None,
    )
    if record is None:
        yield Check("last release", OK, "none yet")
        return
    outcome = str(record.get("outcome"))
    if outcome == "SUCCEEDED":
        yield Check("last release", OK, f"{record['version']} {outcome}")
        return
    failure: Mapping[str, Any] = record.get("diagnosis") or {}
    advice = str(failure.get("advice") or "See its record.")
    yield Check(
        "last release",
        FAILED,
        f"{record['version']} {outcome}: {failure.get('kind', '')}: "
        f"{failure.get('cause') or record.get('reason', '')}",
        (advice, f"  deployer history {record['id']}"),
        "The newest release is not what serves.",
        tuple(failure.get("log", ())[-_EVIDENCE:]),
    )


def last_build(records: Sequence[RecordedBuild]) -> Iterator[Check]:
    """Check the outcome of the last build of the image."""
    record = next((e for e in records if e.get("outcome") in ("SUCCEEDED", "FAILED")), None)
    if record is None or record.get("outcome") == "SUCCEEDED":
        if record:
            yield Check("last build", OK, str(record["version"]))
        return
    failure: Mapping[str, Any] = record.get("diagnosis") or {}
    lines = [str(line) for line in failure.get("lines", ())]
    symptom = log_patterns.of_build([*lines, str(failure.get("cause", ""))])
    advice = "Correct the sources and build again; the build's log says what it did."
    if failure.get("error") == "BuildTimedOut":
        advice = (
            "Give it longer (BuildTimeoutMinutes of the deployer's stack), or a bigger machine"
            " (BuildComputeType): the first build of all takes longest."
        )
    elif symptom:
        advice = f"{symptom.why} {symptom.advice}"
    yield Check(
        "last build",
        FAILED,
        f"{record['version']}: {failure.get('error', 'failed')}: {failure.get('cause', '')}",
        (advice, "  deployer build"),
        "The build produced no image.",
        tuple(lines[-_EVIDENCE:]),
    )


def image(
    version: str,
    digest: str,
    stored: Image | None,
    config: Document | None,
    platform: str | None,
) -> Check:
    """Check that the live release's image can still be pulled and run.

    Args:
        stored: None if it is missing.
        config: of the image that a task would run; None if there is none.
        platform: of the service's tasks; None if unknown.
    """
    why = "New tasks cannot pull it, so none can start."
    name = "image"
    if stored is None:
        return Check(
            name,
            FAILED,
            f"{version} ({digest[:19]}…) is gone from the repository",
            ("Push it again from where it was built, or deploy another one:",
             "  deployer deploy"),
            why,
        )  # fmt: skip
    if reason := identification.unfit(stored, config, platform):
        fix = (
            f"Build it for {platform}, or change runtimePlatform of the task definition"
            " (Platform).",
        )
        return Check(name, FAILED, f"{version}: {reason}", fix, why)
    return Check(name, OK, f"{version} is in the repository, for {platform or 'any platform'}")


def drift(
    running: Mapping[str, Any],
    content: str | None,
    rendered: Mapping[str, Any],
    rendered_content: str,
    expected: str | None,
    digest: str,
    record: Recorded | None = None,
    repair: str | None = None,
) -> Iterator[Check]:
    """Check that the service's task definition matches the live release and the spec.

    Args:
        running: the service's task definition.
        content: the hash of its content, from its tag; None if the deployer did not register it.
        rendered: the task definition of the live release, rendered from the spec now.
        rendered_content: the hash of its content.
        expected: the ARN of the live release's task definition; None if nothing is live.
        digest: of the live release's image.
        record: the newest record of the service's task definition; None without one.
        repair: the command that makes the live release serve again, if it does not serve.
    """
    redeploy = f"  deployer deploy {digest}"
    name, short = "drift", str(running.get("taskDefinitionArn", "")).rpartition("/")[2]
    differing = [change.what for change in task_definitions.changes(running, rendered)]
    if expected and running.get("taskDefinitionArn") != expected:
        yield Check(
            name,
            FAILED,
            f"the service is on {short}, and the live release on {expected.rpartition('/')[2]}"
            + (f"; not as the spec says: {', '.join(differing)}" if differing else ""),
            ("Roll back to the last verified release:", repair or redeploy),
            _unverified(record, registered=content is not None),
        )
    elif content == rendered_content or (content is None and not differing):
        yield Check(name, OK, f"{short} is as the spec says")
    else:
        yield Check(
            name,
            WARNING,
            f"{short} is not as the spec says now: {', '.join(differing) or 'a field'}",
            ("The next release corrects it; to do it now:", redeploy),
        )


def schedules(differences: Sequence[str], names: Sequence[str]) -> Iterator[Check]:
    """Check that the schedules are those of the release that serves, as the spec has them."""
    repair = ("A restart sets them, as the next release does:", "  deployer restart")
    for difference in differences:
        yield Check("schedules", WARNING, difference, repair)
    if names and not differences:
        yield Check("schedules", OK, f"{', '.join(names)}: as the spec says")


def _unverified(record: Recorded | None, *, registered: bool) -> str:
    """Return why the running task definition is not verified, by the records."""
    if record and history.was_live(record):
        return f"{record['version']} runs; it was verified earlier, and another release since."
    if record:
        outcome = record.get("outcome", "in flight")
        return f"The deployer put {record['version']} in place ({outcome}) and never verified it."
    if registered:
        return "The deployer registered what runs; no record says that it was verified."
    return "Something other than the deployer put it in place, so it was never verified."


def overlaps(
    spec: ServiceSpec, others: Sequence[ServiceSpec], tags: Sequence[str]
) -> Iterator[Check]:
    """Check that no tag deploys two services: such a push deploys neither of them.

    Args:
        others: the specs of all services.
        tags: the tags of the repository's images, as examples.
    """
    for other in others:
        if other.repository != spec.repository or other.service == spec.service:
            continue
        shared = [tag for tag in tags if spec.deploys(tag) and other.deploys(tag)]
        own, others_pattern = (patterns.compile(pattern) for pattern in (spec.tags, other.tags))
        example = next(iter(shared), None) or patterns.common(own, others_pattern, _IN_TAGS)
        if example:
            yield Check(
                "tags",
                FAILED,
                f"the tags of {spec.service} and {other.service} overlap, such as in {example}",
                (f"Make tags {spec.tags!r} and {other.tags!r} of the service specs disjoint.",),
                "A push of such a tag deploys neither of them.",
            )


def unrecorded(failed: Sequence[tuple[str, str]]) -> Iterator[Check]:
    """Check that every failed execution has a record.

    Args:
        failed: ARNs and reasons, newest first.
    """
    for arn, why in failed:
        yield Check(
            "executions",
            WARNING,
            f"{arn.rpartition(':')[2]} failed and has no record of a service: {why}",
            (
                "See its input:",
                f"  aws stepfunctions describe-execution --execution-arn {arn}",
            ),
        )


# Configuration ------------------------------------------------------------------------------------


def connection_url(value: str, host: str | None, arn: str, *, whole: bool) -> Check:
    """Check that a secret is a connection URL, without showing its value.

    Args:
        host: the host name of the RDS instance; None if unknown.
        arn: the secret's ARN.
        whole: whether the container gets the whole secret, not one JSON key of it.
    """
    name = "database URL"
    fix = url_fix(arn)
    why = "The application cannot connect with it."

    def failure(message: str, state: State = FAILED) -> Check:
        return Check(name, state, message, fix, why if state == FAILED else "")

    if whole and _is_object(value):
        return failure("the secret is a JSON object, and the container gets all of it")
    if not whole:
        return Check(name, OK, "a key of a JSON secret")
    if value != value.strip():
        return failure("the secret has a space or line end around the URL")
    if re.match(r"postgres(ql)?://", value) and (problem := url_problem(value)):
        return failure(problem)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return failure(
            "the port in the URL is no number; RDS's endpoint may have been given with its"
        )
    if not parts.scheme:
        return failure("the secret is no URL")
    if not parts.scheme.startswith("postgres"):
        return Check(name, OK, f"a URL of {parts.scheme}")
    if "sslmode=disable" in parts.query:
        return failure(
            "the URL says sslmode=disable, which RDS from PostgreSQL 15 on refuses", WARNING
        )
    if host and parts.hostname and parts.hostname != host.lower():
        return failure(f"the URL's host is not the instance's, {host}", WARNING)
    return Check(name, OK, f"a URL of {parts.scheme}, port {port or 5432}")


_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def url_problem(value: str) -> str | None:
    """Return why a connection URL is invalid (RFC 3986), without showing it; None if valid."""
    if _is_object(value):
        return "the secret is a JSON object; no container can use it"
    if not re.match(r"postgres(ql)?://", value):
        return "the secret does not begin with postgresql://"
    if value != value.strip():
        return "the secret has a space or line end around the URL"
    rest = value.partition("://")[2]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    login, at, _ = (authority if "@" in authority else rest).rpartition("@")
    user, _, password = login.partition(":")
    if not at or not user:
        return "the URL has no user before the host; it must be user:password@host"
    location = rest[len(login) + 1 :]
    invalid = set(re.findall(r"[^A-Za-z0-9._~!$&'()*+,;=%-]", user + password.replace(":", "")))
    if "@" in location.partition("?")[0]:
        invalid.add("@")
    if invalid:
        return (
            "the user or password has characters that break a URL; percent-encode them, such as"
            " @ as %40, / as %2F, # as %23, ? as %3F, a space as %20"
        )
    if _PERCENT.search(user + password):
        return "the user or password has a % that begins no code; write it as %25"
    hosts, _, name = location.partition("?")[0].partition("/")
    try:
        parts = [urlsplit(f"postgresql://{host}") for host in hosts.split(",")]
        valid = all(part.hostname and part.port != 0 for part in parts)
    except ValueError:
        valid = False
    if not valid:
        return "the URL's host or port is not one; it must be host:5432 after the @"
    if not name:
        return "the URL names no database; it must end with /name"
    return None


def url_fix(arn: str) -> tuple[str, ...]:
    """Return how to write a connection URL to a secret."""
    return (
        "It must be the URL alone, as plain text:",
        "  postgresql://user:password@host:5432/name?sslmode=require",
        "This asks for a password, and prints it as it must be in the URL:",
        "  python3 -c 'from getpass import getpass; from urllib.parse import quote;"
        ' print(quote(getpass(), safe=""))\'',
        "Write it into a file, url.txt, so that it is in no shell's history, and from there:",
        f"  aws secretsmanager put-secret-value --secret-id {arn} --secret-string file://url.txt",
    )


def _is_object(value: str) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except ValueError:
        return False


# Domain, lock and events --------------------------------------------------------------------------


def domain(
    host: str, balancer: str, resolved: set[str], expected: set[str], record: str | None
) -> Check:
    """Check that a name resolves to the load balancer.

    Args:
        balancer: the load balancer's DNS name.
        resolved: the addresses of the name, resolved here.
        expected: the addresses of the load balancer's name.
        record: the target of the name's record in the account's zones; None if there is none.
    """
    name, record_text = "domain", f"an alias or CNAME of {host} to {balancer}"
    if resolved & expected:
        return Check(name, OK, f"{host} leads to the load balancer")
    correct = record is not None and _same_name(record, balancer)
    if correct and not resolved:
        return Check(
            name,
            WARNING,
            f"{host} leads to the load balancer by Route 53, and cannot be resolved from here",
            ("See that the domain's registrar names the zone's servers, and wait for caches:",
             f"  dig +trace {host}"),
        )  # fmt: skip
    if not resolved:
        fix = (f"Make {record_text}, or give HostedZoneId and let it be made:",
               "  make deploy MODE=infrastructure")  # fmt: skip
        return Check(
            name, FAILED, f"{host} does not resolve", fix, "Users cannot reach the service."
        )
    if correct:
        text = f"{host} still leads to {_some(resolved)}"
        return Check(name, WARNING, text, ("Wait for caches; the record is right.",))
    return Check(
        name,
        FAILED,
        f"{host} leads to {_some(resolved)}, which is not the load balancer's",
        (f"Change it to {record_text}.",),
        "Users reach something other than the service.",
    )


def _same_name(first: str, second: str) -> bool:
    def plain(name: str) -> str:
        return name.rstrip(".").lower().removeprefix("dualstack.")

    return plain(first) == plain(second)


def _some(addresses: set[str]) -> str:
    return ", ".join(sorted(addresses)[:3])


def lock(dead: Sequence[str]) -> Check:
    """Check that no ended execution left a lock or a release open.

    Args:
        dead: a description of each.
    """
    if not dead:
        return Check("lock", OK, "no ended execution left anything open")
    return Check(
        "lock",
        FAILED,
        "; ".join(dead),
        ("Wait five minutes for Reconcile, or run it now:", "  deployer doctor --fix"),
        "Releases wait for an execution that has ended.",
        repair=Repair("run Reconcile now, to settle what executions left open", "reconcile"),
    )


def hold(note: HoldNote | None) -> Iterator[Check]:
    """Warn if pushes are held."""
    if note:
        yield Check(
            "hold",
            WARNING,
            f"pushes are held by {note['by']} since {note['at']}: {note['reason']}",
            ("To end the hold:", "  deployer resume"),
        )


def undelivered(count: int, queue: str) -> Check:
    """Check that all events started an execution.

    Args:
        queue: the dead-letter queue's URL.
    """
    name = "dead letters"
    if count == 0:
        return Check(name, OK, "none")
    return Check(
        name,
        FAILED,
        f"{count} events could not start an execution",
        ("Start them again; nothing is deployed twice:",
         "  deployer doctor --fix"),
        "Each is a push or an upload that started nothing, unless Reconcile has found it since.",
        repair=Repair(f"start {count} executions from {queue}", "redrive", {"queue": queue}),
    )  # fmt: skip

"""Manual requests to a deployer's state machines: started, followed to their end, and reported.

The operator's commands and `make deploy MODE=application|docs` share them.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from cli import sources
from cli.aws import AWS_ERRORS, Account, code_of, explained
from cli.errors import BUSY, FAILED, INTERRUPTED, WRONG, CommandFailed
from cli.executions import Execution, look
from cli.follow import Watch, conclude, deployed_nothing, follow
from cli.patience import patiently
from cli.screen import Screen, brief, message, printable
from cli.target import NAME_A_SERVICE, Target
from deployer.aws import ssm
from deployer.build import image_build
from deployer.deploy import history
from deployer.deploy.reconciliation import recovery, recovery_name
from deployer.deploy.release import Recorded
from deployer.docs import site
from deployer.store import releases

LOOK_SECONDS = 2.0
START_SECONDS = 120.0  # an upload or push starts its execution within seconds
LIMIT_SECONDS = 4 * 3600.0  # longer than any of the state machines may run
_CONSOLES = {"cn-": "amazonaws.cn", "us-gov-": "amazonaws-us-gov.com"}


@dataclass
class Requests:
    """The requests that a deployer takes; each is followed to its end, unless `follows` is False.

    `result` is filled with what a script would read, as it becomes known. Every
    method raises CommandFailed where it does not end well.
    """

    target: Target
    screen: Screen
    result: dict[str, Any] = field(default_factory=dict)
    follows: bool = True
    pause: float = LOOK_SECONDS

    @property
    def account(self) -> Account:
        return self.target.account

    @cached_property
    def by(self) -> str:
        """Who gives the requests, by the name that AWS knows."""
        return caller(self.account.client("sts").get_caller_identity()["Arn"])

    # The service ----------------------------------------------------------------------------------

    def deploy(self, image: str, version: str | None = None) -> None:
        """Deploy what is in the repository under a tag or digest.

        version: that it is known to have, for a person.
        """
        named = f"{version} ({image})" if version and version != image else image
        self.screen.title(f"Deploying {self.target.service} {named}")
        self._released(self._give({"action": "deploy", "image": image}))

    def roll_back(
        self, to: Recorded, *, hold: bool, reason: str | None, restore_database: bool
    ) -> None:
        """Roll back to a release that was live."""
        self.screen.title(f"Rolling {self.target.service} back to {to['version']} ({to['id']})")
        request = {"action": "rollback", "to": to["id"], "hold": hold}
        request |= {"reason": reason} if reason else {}
        request |= {"restoreDatabase": True} if restore_database else {}
        self._released(self._give(request))
        if hold and self.follows:
            self.screen.say("Pushes are held until somebody resumes:")
            self.screen.command("deployer resume")

    def hold(self, reason: str | None) -> None:
        """Keep pushes from deploying."""
        request = {"action": "hold"} | ({"reason": reason} if reason else {})
        if self._noted(self._give(request)):
            self.screen.say("Held: pushes are recorded and wait.", "green")
            self.screen.command("deployer resume")

    def resume(self) -> None:
        """End a hold, and deploy the newest push that it kept back."""
        self.screen.title(f"Resuming {self.target.service}")
        arn = self._give({"action": "resume"})
        if not self.follows:
            return
        ended, record = self._follow(arn, "the deployment"), self._record(arn)
        if record.get("trigger") == "resume" or ended.status != "SUCCEEDED":
            self._told(ended, record, self.target.service)
        else:
            self.result |= {"outcome": record.get("outcome"), "reason": record.get("reason")}
            self.screen.say("Resumed; no push was held back.", "green")

    def recover(self, record: Recorded, ended: str) -> dict[str, Any]:
        """Put right at once what an ended execution left of a release, as the reconciler would.

        Args:
            ended: the ARN of the execution that ended.
        Returns:
            The release's record, with its outcome.
        """
        of_site = site.is_site(record["service"])
        machine = self.target.output(*(_DOCS if of_site else _DEPLOYS))
        sfn = self.account.client("stepfunctions")
        name = recovery_name(record["id"], ended)
        with contextlib.suppress(sfn.exceptions.ExecutionAlreadyExists):  # by the reconciler
            sfn.start_execution(
                stateMachineArn=machine, name=name, input=json.dumps(recovery(record))
            )
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        self._link(arn)
        self._follow(arn, "" if of_site else "the way back")
        return self._record(arn)

    def stop(self, execution: str) -> str:
        """Stop an execution; the status that it has then, which tells whether it had ended."""
        sfn = self.account.client("stepfunctions")
        sfn.stop_execution(executionArn=execution, error="Cancelled", cause=f"by {self.by}")
        return str(sfn.describe_execution(executionArn=execution)["status"])

    # Builds ---------------------------------------------------------------------------------------

    def build(self, given: Path) -> None:
        """Upload sources, follow their build, then the deployment of the image that it pushed."""
        known = self._executions(self.target.output(*_DEPLOYS))
        started = self._uploaded(_BUILDS, f"image/{self.target.service}", given)
        self._built(started, known)

    def fetch(self, commit: str) -> None:
        """Have a commit of the connected repository built, and follow it as an upload."""
        known = self._executions(self.target.output(*_DEPLOYS))
        builds = self._executions(self.target.output(*_BUILDS))
        self.screen.title(f"Fetching {commit}")
        request = {"action": "build", "service": self.target.service, "commit": commit}
        fetched = self._start(_BUILDS, request)
        if not self.follows:
            return self._detached()
        ended = self._follow(fetched)
        if ended.status != "SUCCEEDED":
            raise self._failed(f"{commit} could not be fetched", ended, message(ended.cause))
        mark = f"image/{self.target.service}/{commit}"
        self._built(self._started(_BUILDS, [fetched, *builds], [mark], "the upload"), known)

    def _built(self, arn: str, known: Collection[str]) -> None:
        """Follow a build, and what its push starts.

        known: the executions that there were before.
        """
        if not self.follows:
            return self._detached()
        ended = self._follow(arn)
        record, service = self._record(arn), self.target.service
        told = ("outcome", "version", "tag", "digest", "commit", "reason")
        self.result["build"] = {"execution": arn} | {name: record.get(name) for name in told}
        if ended.status != "SUCCEEDED":
            for line in (record.get("diagnosis") or {}).get("lines", []):
                self.screen.say(f"  {printable(line)}", "dim")
            raise self._failed(f"{service} was not built", ended, record.get("reason") or "")
        if record.get("outcome") == "SUPERSEDED":
            raise CommandFailed(BUSY, f"not built: {record['reason']}", _SEE)
        if record.get("outcome") != "SUCCEEDED" or record.get("skipped"):
            return self._nothing_pushed(record)
        self.screen.say(printable(record["reason"]), "green")
        self.screen.title(f"Deploying {service} {record['version']}")
        marks = [record["digest"]]
        self._released(self._started(_DEPLOYS, known, marks, "the push of the image"))

    def _nothing_pushed(self, record: Mapping[str, Any]) -> None:
        """Tell what became of a build that pushed nothing, since its content is there already."""
        same = next(
            (
                entry
                for entry in releases.history(image_build.partition(self.target.service))
                if entry.get("outcome") == "SUCCEEDED"
                and entry.get("content") == record.get("content")
            ),
            record,
        )
        live, digest = history.live(self.target.history), same.get("digest")
        self.screen.say(f"Nothing was pushed: {printable(record.get('reason', ''))}", "yellow")
        if live and live["digest"] == digest:
            self.result |= {name: live.get(name) for name in ("outcome", "version", "url")}
            self.result |= {"deployed": False, "reason": record.get("reason")}
            self.screen.say(f"{live['version']} is live already.", "green")
        elif str(digest).startswith("sha256:"):
            self.screen.say("Deploy what was pushed then:")
            self.screen.command(f"deployer deploy {same.get('tag') or digest}")

    # The documentation site -----------------------------------------------------------------------

    @cached_property
    def site(self) -> str:
        """The documentation site: the one named as the service, or the only one."""
        named = site.named(ssm.site_specs())
        if self.target.asked in named:
            return str(self.target.asked)
        if len(named) == 1:
            return named[0]
        known = f"there are: {', '.join(sorted(named))}" if named else "there is none yet"
        raise CommandFailed(
            WRONG,
            f"no documentation site is named {self.target.asked or '(none given)'}; {known}",
            NAME_A_SERVICE,
        )

    def publish(self, given: Path | None) -> None:
        """Upload the sources of the docs site and follow their way to its URL; without any, build
        those that were uploaded last again."""
        if given:
            self._published(self._uploaded(_DOCS, f"docs/{self.site}", given))
        else:
            self.screen.title(f"Publishing {self.site} again")
            self._published(self._start(_DOCS, self._of_site({"action": "publish"})))

    def roll_docs_back(self, to: str) -> None:
        """Switch the docs site back to a release that is kept."""
        self.screen.title(f"Going back with {self.site} to {to}")
        self._published(self._start(_DOCS, self._of_site({"action": "rollback", "to": to})))

    def hold_docs(self, action: str) -> None:
        """Hold the docs site's uploads back, or resume and publish the newest of them.

        action: hold or resume.
        """
        self.screen.title(f"{'Holding' if action == 'hold' else 'Resuming'} {self.site}")
        arn = self._start(_DOCS, self._of_site({"action": action}))
        if action == "hold":
            if self._noted(arn):
                self.screen.say("Held: uploads are recorded and wait.", "green")
                self.screen.command("deployer docs resume")
        else:
            self._published(arn)

    def _of_site(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {**request, "site": self.site, "by": self.by}

    def _published(self, arn: str) -> None:
        if not self.follows:
            return self._detached()
        ended = self._follow(arn)
        record = self._record(arn)
        if record.get("trigger") == "hold":  # a resumption that found nothing held back
            self.result |= {"outcome": record.get("outcome"), "reason": record.get("reason")}
            self.screen.say(f"Done: {printable(record.get('reason', ''))}.", "green")
        else:
            self._told(ended, record, self.site, "published")

    # What they have in common ---------------------------------------------------------------------

    def _give(self, request: Mapping[str, Any]) -> str:
        """Give a request about the service; its execution."""
        return self._start(_DEPLOYS, {**request, "service": self.target.service, "by": self.by})

    def _start(self, machine: tuple[str, str], request: Mapping[str, Any]) -> str:
        started = self.account.client("stepfunctions").start_execution(
            stateMachineArn=self.target.output(*machine), input=json.dumps(request)
        )
        arn = str(started["executionArn"])
        self._link(arn)
        return arn

    def _uploaded(self, machine: tuple[str, str], folder: str, given: Path) -> str:
        """Upload sources; the execution that this starts."""
        arn = self.target.output(*machine)
        bucket = self.target.output("SourceBucket", machine[1])
        known = self._executions(arn)
        with contextlib.ExitStack() as ending:
            with self.screen.working(f"packing {given}"):
                packed = ending.enter_context(sources.archive(given))
            label = re.sub(r"[^A-Za-z0-9._-]", "-", packed.label).removesuffix(packed.suffix)
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            key = f"{folder}/{label}-{stamp}{packed.suffix}"
            self.screen.say(f"Uploading {packed.size / 1e6:.1f} MB to s3://{bucket}/{key}")
            with self.screen.transfer(packed.size) as advance:
                self.account.client("s3").upload_file(
                    str(packed.path), bucket, key, Callback=advance
                )
        self.screen.title(f"Building {packed.label}")
        return self._started(machine, known, [key], "the upload")

    def _executions(self, machine: str) -> list[str]:
        """The ARNs of the newest executions of a state machine, newest first."""
        found = self.account.client("stepfunctions").list_executions(
            stateMachineArn=machine, maxResults=50
        )
        return [str(execution["executionArn"]) for execution in found["executions"]]

    def _started(
        self, machine: tuple[str, str], known: Collection[str], marks: Sequence[str], by: str
    ) -> str:
        """The execution that an event started: the one whose input holds one of the marks."""
        arn = self.target.output(*machine)
        try:
            with self.screen.working("waiting for the execution that it starts"):
                found = self._awaited(arn, set(known), marks)
        except KeyboardInterrupt:
            raise CommandFailed(
                INTERRUPTED, f"stopped following; {by} is done, and what it starts goes on", _SEE
            ) from None
        if found is None:
            raise CommandFailed(
                FAILED,
                f"{by} started no execution of {arn.rpartition(':')[2]}"
                f" within {START_SECONDS:.0f} s",
                ["See its rule in EventBridge, and the queue UndeliveredPushesQueue."],
            )
        self._link(found)
        return found

    def _awaited(self, machine: str, seen: set[str], marks: Sequence[str]) -> str | None:
        sfn, deadline = self.account.client("stepfunctions"), time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for arn in self._patiently(lambda: self._executions(machine)):
                if arn not in seen:
                    told = self._patiently(partial(sfn.describe_execution, executionArn=arn))
                    seen.add(arn)
                    if any(mark in told["input"] for mark in marks):
                        return arn
            time.sleep(self.pause)
        return None

    def _released(self, arn: str) -> None:
        """Follow an execution that deploys, and tell what became of the release."""
        if not self.follows:
            return self._detached()
        ended, record = self._follow(arn, "the deployment"), self._record(arn)
        if "outcome" not in record and record.get("execution") not in (None, arn):
            self.screen.say("Another execution deploys the same push.")
            arn = record["execution"]
            ended, record = self._follow(arn, "the deployment"), self._record(arn)
        self._told(ended, record, self.target.service)

    def _told(
        self, ended: Execution, record: Mapping[str, Any], what: str, done: str = "deployed"
    ) -> None:
        """Tell how a release of something ended, unless it is not `done`: then CommandFailed."""
        told = ("id", "outcome", "version", "digest", "url", "reason", "diagnosis", "rollback")
        self.result |= {"execution": ended.arn} | {name: record.get(name) for name in told}
        nothing = deployed_nothing(record, ended)
        self.result["deployed"] = record.get("outcome") == "SUCCEEDED" and nothing is None
        if nothing is not None:
            self.result["reason"] = nothing
        conclude(record, ended, self.screen)
        if ended.status != "SUCCEEDED":
            raise self._failed(f"{what} was not {done}", ended, brief(record), record.get("id"))
        outcome = record.get("outcome")
        if outcome == "HELD":
            raise CommandFailed(
                BUSY,
                f"{what} was not {done}: {printable(record['reason'])}",
                ["It waits until somebody resumes:", "  deployer resume"],
            )
        if outcome == "SUPERSEDED":
            raise CommandFailed(BUSY, f"{what} was not {done}: {printable(record['reason'])}", _SEE)

    def _noted(self, arn: str) -> bool:
        """Follow a request that deploys nothing; False if it is not followed."""
        if not self.follows:
            self._detached()
            return False
        ended = self._follow(arn)
        record = self._record(arn)
        self.result |= {"outcome": record.get("outcome"), "reason": record.get("reason")}
        if ended.status != "SUCCEEDED":
            raise self._failed("the request was refused", ended, brief(record))
        return True

    def _detached(self) -> None:
        self.screen.say("Started. See how it goes on:")
        self.screen.command("deployer status --watch")

    def _follow(self, arn: str, rollout: str = "") -> Execution:
        """Show an execution to its end. Raises CommandFailed on Ctrl-C, which ends the showing.

        rollout: what it is, if it rolls something out, which is shown then.
        """
        sfn, on = self.account.client("stepfunctions"), rollout or "the execution"
        where = [f"It is here: {link(arn)}", *_SEE]
        try:
            seen: dict[str, Any] = {}
            if rollout:
                begun = self._patiently(lambda: sfn.describe_execution(executionArn=arn))
                watch = Watch(self.target, begun["startDate"])
                seen = {"rollout": watch.standing, "lock": watch.lock, "news": watch.news}
            return follow(
                lambda: self._patiently(lambda: look(sfn, arn)),
                self.screen,
                LIMIT_SECONDS,
                pause=self.pause,
                **seen,
            )
        except TimeoutError as error:
            raise CommandFailed(FAILED, str(error), where) from error
        except KeyboardInterrupt:
            said = f"stopped following; {on} goes on"
            raise CommandFailed(INTERRUPTED, said, where) from None
        except AWS_ERRORS as error:
            why, fix = explained(error, self.account)
            said = f"can't follow any more, {on} goes on: {why or code_of(error)}"
            raise CommandFailed(FAILED, said, [*fix, *where]) from error

    def _failed(
        self, what: str, ended: Execution, why: str, release: str | None = None
    ) -> CommandFailed:
        stopped = ended.status in ("ABORTED", "TIMED_OUT")
        error = ended.error if ended.error and not stopped else ended.status
        said = printable(why or message(ended.cause))
        more = [f"The execution: {link(ended.arn)}"]
        if stopped:
            more += ["What it left is put right by another, within minutes:", *_SEE[1:]]
        elif release:
            more += ["In full:", f"  deployer history {release}"]
        return CommandFailed(FAILED, f"{what}: {error}: {said}", more)

    def _link(self, arn: str) -> None:
        self.result |= {"execution": arn, "link": link(arn)}
        self.screen.command(link(arn))

    def _record(self, arn: str) -> dict[str, Any]:
        """What was recorded of the release that an execution carried out; {} if nothing was."""
        self.target.output("ReleasesTable", "tell the outcome")
        return dict(self._patiently(lambda: releases.found_by(arn)) or {})

    def _patiently[T](self, look: Callable[[], T]) -> T:
        return patiently(look, self.screen)


# A state machine: the output that names it, and what it does.
_DEPLOYS = ("StateMachine", "deploy")
_BUILDS = ("BuildStateMachine", "build an image")
_DOCS = ("DocsStateMachine", "build docs")
_SEE = ["See how it goes on, or stop it:", "  deployer status --watch", "  deployer cancel"]


def caller(arn: str) -> str:
    """The name of who calls AWS, from the ARN: a user's, or role and session of a role's.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    """
    kind, _, name = arn.rpartition(":")[2].partition("/")
    return (name if kind == "assumed-role" else name.rpartition("/")[2]) or kind


def link(arn: str) -> str:
    """Where the console shows an execution."""
    region = arn.split(":")[3]
    ends = (end for start, end in _CONSOLES.items() if region.startswith(start))
    domain = next(ends, "aws.amazon.com")
    host = f"{region}.console" if domain == "aws.amazon.com" else "console"
    return f"https://{host}.{domain}/states/home?region={region}#/v2/executions/details/{arn}"

"""Start manual requests to a deployer's state machines, follow them, and report their outcome.

The operator's commands and `make deploy MODE=application|docs` share them.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from cli import docs_sources, images, sources
from cli.aws import AWS_ERRORS, Account, code_of, explained
from cli.errors import BUSY, FAILED, INTERRUPTED, REJECTED, UNREADY, WRONG, CommandFailed
from cli.executions import Execution, look
from cli.follow import BuildWatch, Watch, conclude, deployed_nothing, follow
from cli.patience import patiently
from cli.releases import in_flight, of_push
from cli.screen import Screen, brief, message, printable, reachable
from cli.sources import Archive
from cli.target import NAME_A_SERVICE, Target
from deployer import requests
from deployer.aws import ecr, sfn, ssm
from deployer.build import image_build
from deployer.deploy import history
from deployer.deploy.reconciliation import recovery, recovery_name
from deployer.deploy.release import Record, Recorded, carried_out_by
from deployer.docs import site
from deployer.store import builds, releases
from deployer.wording import link as link

LOOK_SECONDS = 2.0
START_SECONDS = 120.0  # an upload or push starts its execution within seconds
LIMIT_SECONDS = 4 * 3600.0  # longer than the timeout of every state machine


@dataclass
class Requests:
    """The requests that a deployer accepts; each is followed to its end, unless `follows` is False.

    Every method adds to `result`, the JSON document for scripts, as it goes, and raises
    CommandFailed if the request fails.
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
        """Return the name of the requester, as AWS reports it."""
        return caller(self.account.client("sts").get_caller_identity()["Arn"])

    # The service ----------------------------------------------------------------------------------

    def deploy(
        self,
        image: str,
        version: str | None = None,
        promoted_from: Mapping[str, str] | None = None,
    ) -> None:
        """Deploy an image of the service's repository.

        Args:
            image: its tag or digest.
            version: its version, to show.
            promoted_from: the release of another service that it promotes.
        """
        name = f"{version} ({image})" if version and version != image else image
        self.screen.title(f"Deploying {self.target.service} {name}")
        origin = {"promotedFrom": promoted_from} if promoted_from else {}
        self._follow_release(self._send({"action": "deploy", "image": image, **origin}))

    def roll_back(
        self, to: Recorded, *, hold: bool, reason: str | None, restore_database: bool
    ) -> None:
        """Roll back to a release that was live."""
        self.screen.title(f"Rolling {self.target.service} back to {to['version']} ({to['id']})")
        request = requests.to_roll_back(
            to["id"], hold=hold, reason=reason, restore_database=restore_database
        )
        self._follow_release(self._send(request))
        if hold and self.follows:
            self.screen.say("Pushes are held until somebody resumes:")
            self.screen.command("deployer resume")

    def restart(self) -> None:
        """Run the live release in new tasks."""
        self.screen.title(f"Restarting {self.target.service}")
        self._follow_release(self._send({"action": "restart"}))

    def hold(self, reason: str | None) -> None:
        """Hold the service's pushes."""
        if self._accepted(self._send(requests.to_hold(reason))):
            self.screen.say("Held: pushes are recorded, and wait for:", "green")
            self.screen.command("deployer resume")

    def resume(self) -> None:
        """End a hold, and deploy the newest held push."""
        self.screen.title(f"Resuming {self.target.service}")
        arn = self._send(requests.to_resume())
        if not self.follows:
            return
        execution, record = self._follow(arn, "the deployment"), self._record(arn)
        if record.get("trigger") == "resume" or execution.status != "SUCCEEDED":
            self._report(execution, record, self.target.service)
        else:
            self.result |= {"outcome": record.get("outcome"), "reason": record.get("reason")}
            self.screen.say("Resumed; no push was held.", "green")

    # Pushes ---------------------------------------------------------------------------------------

    def wait(self, image: str, seconds: float) -> None:
        """Wait for what the push of an image becomes, and report it.

        Args:
            image: its tag or digest.
            seconds: after which to stop waiting.
        Raises:
            CommandFailed: it did not go live, or not in time.
        """
        deadline, service = time.monotonic() + seconds, self.target.service
        pushed = ecr.find(self.target.spec.repository, image)
        if pushed is None:
            tags = ", ".join(images.tags(self.target)[:10]) or "none"
            raise CommandFailed(
                UNREADY,
                f"{image} is not in repository {self.target.spec.repository}",
                [f"Push it first. Tags in the repository, newest first: {tags}"],
            )
        self.screen.title(f"Waiting for {service} {image}")
        record = self._find_push(pushed.digest, None if image == pushed.digest else image, deadline)
        while True:
            arn, _ = carried_out_by(record)
            self._link(arn)
            execution = self._follow(arn, "the deployment", deadline - time.monotonic())
            record = releases.find(service, record["id"]) or record
            superseding = releases.find(service, record.get("by", "")) if "by" in record else None
            if record.get("outcome") != "SUPERSEDED" or not superseding:
                break
            if superseding["digest"] != record["digest"]:
                break
            record = superseding  # the same image under another tag
        if record.get("outcome") == "IGNORED":
            self.result |= {"outcome": "IGNORED", "deployed": False, "reason": record["reason"]}
            raise CommandFailed(REJECTED, f"{image} deploys nothing: {printable(record['reason'])}")
        self._report(execution, record, service)

    def _find_push(self, digest: str, tag: str | None, deadline: float) -> Recorded:
        """Return the record of a push, as soon as there is one."""
        service, explained = self.target.service, False
        with self.screen.working("waiting until the push is recorded"):
            while True:
                record = self._patiently(lambda: of_push(service, digest, tag))
                if record:
                    return record
                if time.monotonic() > deadline:
                    raise CommandFailed(
                        FAILED,
                        f"the push of {tag or digest} is not recorded yet",
                        [
                            "ECR's event may have been lost; the deployer finds such pushes within"
                            " five minutes. See what is wrong:",
                            "  deployer doctor",
                        ],
                    )
                undecided = self._patiently(lambda: releases.undecided(self.target.spec.repository))
                failed = [push for push in undecided if push.get("digest") == digest]
                if failed and not explained:
                    explained = True
                    reason = message(str(failed[0].get("reason", "")))
                    self.screen.say(f"It could not be read yet: {printable(reason)}", "yellow")
                time.sleep(self.pause)

    def follow_next(self) -> None:
        """Follow the release in flight; if there is none, the next one."""
        service = self.target.service
        flights = in_flight(service)
        if not flights:
            self.screen.say(
                f"Nothing of {service} is in flight. Waiting for the next; Ctrl-C ends."
            )
        try:
            while not flights:
                time.sleep(self.pause)
                flights = self._patiently(lambda: in_flight(service))
        except KeyboardInterrupt:
            raise CommandFailed(INTERRUPTED, "stopped waiting; nothing was in flight") from None
        flight = flights[0]
        self.screen.title(f"Following {service} {flight.record['version']}")
        self._link(flight.execution)
        self._follow_release(flight.execution)

    def recover(self, record: Record, ended: str) -> dict[str, Any]:
        """Recover a release from an execution that ended, without waiting for the reconciler.
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
        self._follow(arn, "" if of_site else "the rollback")
        return self._record(arn)

    def stop(self, execution: str) -> str:
        """Stop an execution.

        Returns:
            Its status afterwards: ABORTED, unless it had ended already.
        """
        return sfn.stop(execution, self.by)

    # Builds ---------------------------------------------------------------------------------------

    def build(self, source: Path) -> None:
        """Upload sources, follow their build, then the deployment of the image that it pushes."""
        previous = self._executions(self.target.output(*_DEPLOYS))
        execution = self._upload_sources(_BUILDS, f"image/{self.target.service}", source)
        self._follow_build(execution, previous)

    def fetch(self, commit: str) -> None:
        """Build a commit of the connected repository; follow the build and its deployment."""
        deployments = self._executions(self.target.output(*_DEPLOYS))
        builds = self._executions(self.target.output(*_BUILDS))
        self.screen.title(f"Fetching {commit}")
        request = {"action": "build", "service": self.target.service, "commit": commit}
        execution = self._start(_BUILDS, request)
        if not self.follows:
            return self._detached()
        result = self._follow(execution)
        if result.status != "SUCCEEDED":
            raise self._failed(f"{commit} could not be fetched", result, message(result.cause))
        mark = f"image/{self.target.service}/{commit}"
        self._follow_build(
            self._started_execution(_BUILDS, [execution, *builds], [mark], "the upload"),
            deployments,
        )

    def _follow_build(self, arn: str, previous: Collection[str]) -> None:
        """Follow a build, then the deployment that its push starts.

        Args:
            previous: the deployments' executions from before the build.
        """
        if not self.follows:
            return self._detached()
        execution = self._follow(arn)
        record, service = self._record(arn), self.target.service
        fields = ("outcome", "version", "tag", "digest", "commit", "reason")
        self.result["build"] = {"execution": arn} | {name: record.get(name) for name in fields}
        if execution.status != "SUCCEEDED":
            for line in (record.get("diagnosis") or {}).get("lines", []):
                self.screen.say(f"  {printable(line)}", "dim")
            raise self._failed(f"{service} was not built", execution, record.get("reason") or "")
        if record.get("outcome") == "SUPERSEDED":
            raise CommandFailed(BUSY, f"not built: {record['reason']}", _SEE)
        if record.get("outcome") != "SUCCEEDED" or record.get("skipped"):
            return self._report_no_push(record)
        self.screen.say(printable(record["reason"]), "green")
        self.screen.title(f"Deploying {service} {record['version']}")
        marks = [record["digest"]]
        self._follow_release(
            self._started_execution(_DEPLOYS, previous, marks, "the push of the image")
        )

    def _report_no_push(self, record: Mapping[str, Any]) -> None:
        """Report a build that pushed nothing, because an earlier build pushed the same content."""
        build = next(
            (
                entry
                for entry in builds.history(image_build.partition(self.target.service))
                if entry.get("outcome") == "SUCCEEDED"
                and entry.get("content") == record.get("content")
            ),
            record,
        )
        live, digest = history.live(self.target.history), build.get("digest")
        self.screen.say(f"Nothing was pushed: {printable(record.get('reason', ''))}", "yellow")
        if live and live["digest"] == digest:
            self.result |= {name: live.get(name) for name in ("outcome", "version", "url")}
            self.result |= {"deployed": False, "reason": record.get("reason")}
            self.screen.say(f"{live['version']} is live already.", "green")
        elif str(digest).startswith("sha256:"):
            self.screen.say("Deploy the image that was pushed then:")
            self.screen.command(f"deployer deploy {build.get('tag') or digest}")

    # The documentation site -----------------------------------------------------------------------

    @cached_property
    def site(self) -> str:
        """Return the documentation site's name: the service's own, or the only one.

        Raises:
            CommandFailed: neither exists.
        """
        sites = site.named(ssm.site_specs())
        if self.target.requested in sites:
            return str(self.target.requested)
        if len(sites) == 1:
            return sites[0]
        existing = f"existing: {', '.join(sorted(sites))}" if sites else "none exists yet"
        raise CommandFailed(
            WRONG,
            f"no documentation site is named {self.target.requested or '(none given)'}; {existing}",
            NAME_A_SERVICE,
        )

    def publish(self, source: Path | None, folder: str = "", *, dry_run: bool = False) -> None:
        """Publish the docs site, and follow that to its URL.

        Args:
            source: the sources to upload; None builds the last upload again.
            folder: the site's folder in the sources, instead of the site spec's.
            dry_run: only show what would be sent and built.
        """
        if source is None:
            self.screen.title(f"Publishing {self.site} again")
            request = self._docs_request({"action": "publish"})
            return self._follow_publication(self._start(_DOCS, request))
        spec, _ = site.from_parameters(ssm.site_specs(), self.site)
        build = replace(spec.build, directory=folder) if folder else spec.build
        with self.screen.working(f"reading {source}"):
            examined = docs_sources.examine(source, build)
        self.screen.say(f"Found {printable(examined.plan.summary)}.")
        for warning in examined.warnings:
            self.screen.say(f"Note: {printable(warning)}", "yellow")
        with contextlib.ExitStack() as stack:
            with self.screen.working(f"packing {source}"):
                package = stack.enter_context(examined.packed())
            described = docs_sources.described(examined, package.size, reachable(spec.url))
            self.result |= described
            if dry_run:
                return self._show_dry_run(described, str(package.label))
            metadata = {site.FOLDER: folder} if folder else {}
            arn = self._upload(_DOCS, f"docs/{self.site}", package, metadata)
        self._follow_publication(arn)

    def _show_dry_run(self, described: Mapping[str, Any], label: str) -> None:
        """Show what would be sent and built."""
        sent = (
            f"{described['files']} files, {docs_sources.words(described['bytes'])},"
            f" packed {docs_sources.words(described['packed'])}"
        )
        history = [("", "the last commit of each file, for the dates of pages")]
        commands = docs_sources.readable(described["commands"])
        commands = commands or ["nothing: the files are the site"]
        built = [("" if index else "run", line) for index, line in enumerate(commands)]
        outputs = described["outputs"]
        first = f"{outputs[0]}, or else the first usual folder" if outputs[1:] else outputs[0]
        self.screen.facts(
            [
                ("send", sent),
                *(history if described["history"] else []),
                *built,
                *([("publish", first)] if described["commands"] else []),
                ("to", str(described["url"])),
            ]
        )
        self.screen.say(f"Dry run: nothing of {label} was uploaded.", "green")

    def roll_docs_back(self, to: str) -> None:
        """Roll the docs site back to a release that is kept."""
        self.screen.title(f"Rolling {self.site} back to {to}")
        self._follow_publication(
            self._start(_DOCS, self._docs_request({"action": "rollback", "to": to}))
        )

    def hold_docs(self, action: str) -> None:
        """Hold the docs site's uploads, or resume and publish the newest of them.

        Args:
            action: hold or resume.
        """
        self.screen.title(f"{'Holding' if action == 'hold' else 'Resuming'} {self.site}")
        arn = self._start(_DOCS, self._docs_request({"action": action}))
        if action == "hold":
            if self._accepted(arn):
                self.screen.say("Held: uploads are recorded, and wait for:", "green")
                self.screen.command("deployer docs resume")
        else:
            self._follow_publication(arn)

    def _docs_request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {**request, "site": self.site, "by": self.by}

    def _follow_publication(self, arn: str) -> None:
        if not self.follows:
            return self._detached()
        execution = self._follow(arn)
        record = self._record(arn)
        if record.get("trigger") == "hold":  # resumed, and no upload was held
            self.result |= {"outcome": record.get("outcome"), "reason": record.get("reason")}
            self.screen.say(f"Done: {printable(record.get('reason', ''))}.", "green")
        else:
            self._report(execution, record, self.site, "published")
            self.result["warnings"] = warnings = record.get("warnings", [])
            for warning in warnings:
                self.screen.say(f"Warning: {printable(warning)}", "yellow")

    # Executions -----------------------------------------------------------------------------------

    def _send(self, request: Mapping[str, Any]) -> str:
        """Send a request about the service, and return its execution's ARN."""
        return self._start(_DEPLOYS, {**request, "service": self.target.service, "by": self.by})

    def _start(self, machine: tuple[str, str], request: Mapping[str, Any]) -> str:
        response = self.account.client("stepfunctions").start_execution(
            stateMachineArn=self.target.output(*machine), input=json.dumps(request)
        )
        arn = str(response["executionArn"])
        self._link(arn)
        return arn

    def _upload_sources(self, machine: tuple[str, str], folder: str, source: Path) -> str:
        """Pack and upload sources, and return the ARN of the execution that this starts."""
        with contextlib.ExitStack() as stack:
            with self.screen.working(f"packing {source}"):
                package = stack.enter_context(sources.archive(source))
            return self._upload(machine, folder, package)

    def _upload(
        self,
        machine: tuple[str, str],
        folder: str,
        package: Archive,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Upload an archive of sources, and return the ARN of the execution that this starts."""
        arn = self.target.output(*machine)
        bucket = self.target.output("SourceBucket", machine[1])
        previous = self._executions(arn)
        label = re.sub(r"[^A-Za-z0-9._-]", "-", package.label).removesuffix(package.suffix)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        key = f"{folder}/{label}-{stamp}{package.suffix}"
        self.screen.say(f"Uploading {package.size / 1e6:.1f} MB to s3://{bucket}/{key}")
        with self.screen.transfer(package.size) as advance:
            self.account.client("s3").upload_file(
                str(package.path),
                bucket,
                key,
                ExtraArgs={"Metadata": dict(metadata or {})},
                Callback=advance,
            )
        self.screen.title(f"Building {package.label}")
        return self._started_execution(machine, previous, [key], "the upload")

    def _executions(self, machine: str) -> list[str]:
        """Return the ARNs of the newest executions of a state machine, newest first."""
        response = self.account.client("stepfunctions").list_executions(
            stateMachineArn=machine, maxResults=50
        )
        return [str(execution["executionArn"]) for execution in response["executions"]]

    def _started_execution(
        self,
        machine: tuple[str, str],
        previous: Collection[str],
        marks: Sequence[str],
        trigger: str,
    ) -> str:
        """Return the ARN of the execution that an event started.

        Args:
            previous: the executions from before the event.
            marks: the input of the execution contains one of them.
            trigger: what started it, for messages.
        """
        arn = self.target.output(*machine)
        try:
            with self.screen.working("waiting for its execution to start"):
                execution = self._find_started(arn, set(previous), marks)
        except KeyboardInterrupt:
            raise CommandFailed(
                INTERRUPTED,
                f"stopped following; {trigger} is done, and what it starts goes on",
                _SEE,
            ) from None
        if execution is None:
            raise CommandFailed(
                FAILED,
                f"{trigger} started no execution of {arn.rpartition(':')[2]}"
                f" within {START_SECONDS:.0f} s",
                ["See its rule in EventBridge, and the queue UndeliveredPushesQueue."],
            )
        self._link(execution)
        return execution

    def _find_started(self, machine: str, seen: set[str], marks: Sequence[str]) -> str | None:
        sfn, deadline = self.account.client("stepfunctions"), time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for arn in self._patiently(lambda: self._executions(machine)):
                if arn not in seen:
                    description = self._patiently(partial(sfn.describe_execution, executionArn=arn))
                    seen.add(arn)
                    if any(mark in description["input"] for mark in marks):
                        return arn
            time.sleep(self.pause)
        return None

    def _follow_release(self, arn: str) -> None:
        """Follow an execution that deploys, and report its release."""
        if not self.follows:
            return self._detached()
        execution, record = self._follow(arn, "the deployment"), self._record(arn)
        if "outcome" not in record and record.get("execution") not in (None, arn):
            self.screen.say("Another execution deploys the same push.")
            arn = record["execution"]
            execution, record = self._follow(arn, "the deployment"), self._record(arn)
        self._report(execution, record, self.target.service)

    def _report(
        self,
        execution: Execution,
        record: Mapping[str, Any],
        what: str,
        participle: str = "deployed",
    ) -> None:
        """Report how a release ended.

        Args:
            what: the name of the service or site.
            participle: what should have happened to it, for messages.
        Raises:
            CommandFailed: the release failed, is held, or was superseded.
        """
        fields = ("id", "outcome", "version", "digest", "url", "reason", "diagnosis", "rollback")
        self.result |= {"execution": execution.arn} | {name: record.get(name) for name in fields}
        if record.get("url"):
            self.result["url"] = reachable(str(record["url"]))
        no_deployment = deployed_nothing(record, execution)
        self.result["deployed"] = record.get("outcome") == "SUCCEEDED" and no_deployment is None
        if no_deployment is not None:
            self.result["reason"] = no_deployment
        conclude(record, execution, self.screen)
        if execution.status != "SUCCEEDED":
            raise self._failed(
                f"{what} was not {participle}", execution, brief(record), record.get("id")
            )
        outcome = record.get("outcome")
        if outcome == "HELD":
            raise CommandFailed(
                BUSY,
                f"{what} was not {participle}: {printable(record['reason'])}",
                [
                    "It waits for:",
                    "  deployer docs resume" if participle == "published" else "  deployer resume",
                ],
            )
        if outcome == "SUPERSEDED":
            raise CommandFailed(
                BUSY, f"{what} was not {participle}: {printable(record['reason'])}", _SEE
            )

    def _accepted(self, arn: str) -> bool:
        """Follow a request that deploys nothing.

        Returns:
            Whether it succeeded; False if it is not followed.
        Raises:
            CommandFailed: it was refused.
        """
        if not self.follows:
            self._detached()
            return False
        execution = self._follow(arn)
        record = self._record(arn)
        self.result |= {"outcome": record.get("outcome"), "reason": record.get("reason")}
        if execution.status != "SUCCEEDED":
            raise self._failed("the request was refused", execution, brief(record))
        return True

    def _detached(self) -> None:
        self.screen.say("Started. Follow it:")
        self.screen.command("deployer status --watch")

    def _follow(self, arn: str, rollout: str = "", limit: float = LIMIT_SECONDS) -> Execution:
        """Show an execution's progress until it ends.

        Args:
            rollout: what to call it, if it rolls out a service; the rollout is shown too.
            limit: seconds after which to stop following.
        Raises:
            CommandFailed: it could not be followed to its end, or Ctrl-C stopped that.
        """
        sfn, subject = self.account.client("stepfunctions"), rollout or "the execution"
        advice = [f"The execution: {link(arn)}", *_SEE]
        try:
            views: dict[str, Any] = {"build": BuildWatch(self.account)}
            if rollout:
                description = self._patiently(lambda: sfn.describe_execution(executionArn=arn))
                watch = Watch(self.target, description["startDate"])
                views |= {"rollout": watch.standing, "lock": watch.lock, "news": watch.news}
            return follow(
                lambda: self._patiently(lambda: look(sfn, arn)),
                self.screen,
                limit,
                pause=self.pause,
                **views,
            )
        except TimeoutError as error:
            raise CommandFailed(FAILED, str(error), advice) from error
        except KeyboardInterrupt:
            text = f"stopped following; {subject} goes on"
            raise CommandFailed(INTERRUPTED, text, advice) from None
        except AWS_ERRORS as error:
            why, fix = explained(error, self.account)
            text = f"stopped following: {why or code_of(error)}; {subject} goes on"
            raise CommandFailed(FAILED, text, [*fix, *advice]) from error

    def _failed(
        self, what: str, execution: Execution, why: str, release: str | None = None
    ) -> CommandFailed:
        stopped = execution.status in ("ABORTED", "TIMED_OUT")
        error = execution.error if execution.error and not stopped else execution.status
        reason = printable(why or message(execution.cause))
        advice = [f"The execution: {link(execution.arn)}"]
        if stopped:
            advice += ["The deployer recovers the release within minutes:", *_SEE[1:]]
        elif release:
            advice += ["In full:", f"  deployer history {release}"]
        return CommandFailed(FAILED, f"{what}: {error}: {reason}", advice)

    def _link(self, arn: str) -> None:
        self.result |= {"execution": arn, "link": link(arn)}
        self.screen.command(link(arn))

    def _record(self, arn: str) -> dict[str, Any]:
        """Return the record of the release that an execution carried out; {} if there is none."""
        self.target.output("ReleasesTable", "tell the outcome")
        return dict(self._patiently(lambda: releases.of_any_kind.handled_by(arn)) or {})

    def _patiently[T](self, look: Callable[[], T]) -> T:
        return patiently(look, self.screen)


# A state machine: the stack output with its ARN, and what it does.
_DEPLOYS = ("StateMachine", "deploy")
_BUILDS = ("BuildStateMachine", "build an image")
_DOCS = ("DocsStateMachine", "build docs")
_RESUME = {"deployed": "resume", "published": "docs resume"}
_SEE = ["Follow it, or stop it:", "  deployer status --watch", "  deployer cancel"]


def caller(arn: str) -> str:
    """Return the caller's name from its ARN: the user's, or the role and session.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    """
    kind, _, name = arn.rpartition(":")[2].partition("/")
    return (name if kind == "assumed-role" else name.rpartition("/")[2]) or kind

"""Run the checks of `deployer doctor`, in parallel: read from AWS, decide in `findings`."""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from cli import quotas
from cli.aws import AWS_ERRORS, DENIED, code_of
from cli.checks import certificate
from cli.doctor import findings
from cli.errors import WRONG, CommandFailed
from cli.target import Target
from deployer import http, presets
from deployer.aws import client, ec2, ecr, ecs, elb, logs, rds, scheduler, sfn, ssm
from deployer.build import image_build
from deployer.check import FAILED, OK, WARNING, Check
from deployer.deploy import (
    addresses,
    documents,
    history,
    prerequisites,
    rollout,
    schedules,
    service,
    serving,
    spec,
    stop_reasons,
    task_definitions,
    verification,
)
from deployer.deploy.history import History
from deployer.deploy.release import Recorded, carried_out_by
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec
from deployer.deploy.stop_reasons import Task
from deployer.errors import AwsUnavailable, PreflightFailed, SchedulesFailed
from deployer.presets import Preset
from deployer.store import builds, locks, releases
from deployer.usecases import (
    check_prerequisites,
    plan_schedules,
    read_documents,
    resolve_request,
)

_LINES = 100
_SOON, _WEEK = timedelta(days=14), timedelta(days=7)
_AT_ONCE = 8
_EXECUTIONS = 20
_NEWEST = 20  # records
_ADAPTER_SERVICES = (
    *("dynamodb", "ec2", "ecr", "ecs", "elbv2", "iam", "logs", "rds", "scheduler"),
    *("secretsmanager", "ssm"),
)
_ACCOUNT_SERVICES = (
    *("acm", "cloudwatch", "ecr", "ecs", "elbv2", "iam", "route53", "secretsmanager"),
    *("service-quotas", "sqs", "stepfunctions"),
)
_UNREADABLE = (AwsUnavailable, *AWS_ERRORS)


def known_names(preset: Preset, checkout: str) -> frozenset[str]:
    """Return the variables that a checkout of the application's sources names.

    Raises:
        CommandFailed: it is not a checkout of an application that the preset knows.
    """
    files = [Path(checkout) / name for name in preset.sources]
    text = "\n".join(file.read_text(errors="replace") for file in files if file.is_file())
    names = preset.names_in(text)
    if not names:
        raise CommandFailed(
            WRONG,
            f"{checkout} has no sources that the service's preset knows",
            ["Name the application's preset in the service spec, or leave --checkout out."],
        )
    return names


def examine(target: Target, checkout: str | None) -> list[Check]:
    """Check everything. A check without permission is a warning.

    Args:
        checkout: a folder with the application's sources; None for none.
    Raises:
        CommandFailed: see `known_names`.
    """
    preset = presets.named(target.spec.preset)
    names = known_names(preset, checkout) if checkout else frozenset()
    for name in (*_ADAPTER_SERVICES, "stepfunctions"):
        client(name)  # created here, because that is not thread-safe
    for name in _ACCOUNT_SERVICES:
        target.account.client(name)
    examination = _Examination(target, names)
    named_checks = [*examination.looks()]
    for part in target.spec.further:
        named_checks += _Examination(target, names, part).looks_at_part()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        results = pool.map(lambda named: check_prerequisites.guarded(*named), named_checks)
        return [check for checks in results for check in checks]


def drift(target: Target) -> list[Check]:
    """Check only that the service runs the live release as its spec says.

    Returns:
        Nothing while a deployment is in flight, or without permission.
    """
    checks = list[Check]()
    for part in target.spec.parts:
        examination = _Examination(target, part=part)
        of_part = check_prerequisites.guarded("drift", examination.drift)
        checks += check_prerequisites.of_part(part, of_part)
    return [check for check in checks if check.name == "drift" and not check.denied]


@dataclass
class _Examination:
    """The checks of a service, and the data that several of them need, read once."""

    target: Target
    known: frozenset[str] = field(default_factory=frozenset)
    part: ServiceSpec | None = None  # a further service of the release

    @property
    def _spec(self) -> ServiceSpec:
        return self.part or self.target.spec

    @property
    def _preset(self) -> Preset:
        return presets.named(self._spec.preset)

    @property
    def _container(self) -> documents.Document:
        """The container of the next release that runs its image; {} if unknown."""
        return documents.of_release(
            self.place.definition, self._spec.container, self._spec.repository
        )

    def __post_init__(self) -> None:
        self._notes = list[Check]()
        nothing: History = ()
        self.records = self._request(
            "records", lambda: history.of_service(self.target.history, self._spec), nothing
        )
        self.service: Service | None = self._request(
            "service", lambda: ecs.service(self._spec.cluster, self._spec.service), None
        )
        self.place = self._request(
            "network",
            lambda: check_prerequisites.place(self._spec),
            check_prerequisites.Place(self._spec, {}, {}, self.service, (), {}, {}),
        )

    def _request[T](self, name: str, request: Callable[[], T], default: T) -> T:
        try:
            return request()
        except _UNREADABLE as error:
            self._notes.append(check_prerequisites.unseen(name, error))
            return default

    @property
    def _unseen(self) -> set[str]:
        return {note.name for note in self._notes}

    @cached_property
    def live(self) -> Recorded | None:
        return history.live(self.records)

    @cached_property
    def _serving(self) -> Mapping[str, Any]:
        state = serving.of(self.records, serving.running(self.service))
        in_flight = any("outcome" not in entry for entry in self.records)
        return serving.summary(self._spec, self.service, state, in_flight)

    @cached_property
    def running(self) -> list[Task]:
        """The running tasks of the current deployment."""
        deployment = rollout.primary(self.service) if self.service else None
        if not deployment:
            return []
        return ecs.running_tasks(self._spec.cluster, self._spec.service, deployment["id"])

    def looks(self) -> Sequence[tuple[str, check_prerequisites.Look]]:
        """Return the checks by name, in the order of the report."""
        checks: dict[str, check_prerequisites.Look] = {"records": lambda: self._notes}
        if "records" not in self._unseen:
            checks |= {
                "last release": self._last_release,
                "last build": self._build,
            }
        if "service" not in self._unseen:
            checks |= self._running_checks()
            checks["schedules"] = self._scheduled
        checks |= {
            "image": self._image,
            "variables": self._variables,
            "database URL": self._database_url,
        }
        return [
            *checks.items(),
            *self._prerequisites().items(),  # also one of the same name
            ("target groups", self._shared_groups),
            ("certificate", self._certificate),
            ("domain", self._domain),
            ("lock", self._lock),
            ("tags", self._tags),
            ("executions", self._executions),
            ("hold", lambda: findings.hold(locks.queue(self._spec.service).hold)),
            ("dead letters", self._undelivered),
            ("CodeBuild quota", self._builds),
        ]

    def looks_at_part(self) -> Sequence[tuple[str, check_prerequisites.Look]]:
        """Return the checks of a further service, whose findings name it."""
        notes: check_prerequisites.Look = lambda: self._notes  # noqa: E731
        checks = {} if "service" in self._unseen else self._running_checks()
        looks = [("records", notes), *checks.items(), *self._prerequisites().items()]
        return [(name, partial(self._of_part, look)) for name, look in looks]

    def _of_part(self, look: check_prerequisites.Look) -> Iterable[Check]:
        return check_prerequisites.of_part(self._spec, look())

    def _running_checks(self) -> dict[str, check_prerequisites.Look]:
        return {
            "serves": lambda: [findings.serves(self._serving)],
            "service": lambda: findings.service(self._spec, self.service, self.records),
            "tasks": self._tasks,
            "log": self._log,
            "answers": self._answers,
            "drift": self.drift,
            "targets": self._targets,
        }

    def _prerequisites(self) -> Mapping[str, check_prerequisites.Look]:
        checks = check_prerequisites.all_checks(self.place)
        if "network" in self._unseen:
            return {name: checks[name] for name in ("cluster", "roles")}
        return checks

    def _shared_groups(self) -> Iterable[Check]:
        """Check that no two services of the release have the same target group."""
        further = {part.service: part for part in self._spec.further}
        services = {
            name: service.effective(part, ecs.service(part.cluster, name))
            for name, part in further.items()
        }
        own = {self._spec.service: service.effective(self._spec, self.service)}
        return prerequisites.shared_groups({**own, **services}) if services else ()

    # What runs

    def _tasks(self) -> Iterator[Check]:
        current = rollout.primary(self.service) if self.service else None
        if not self.service or not current:
            return
        ended = ecs.stopped_tasks(self._spec.cluster, self._spec.service, current["id"])
        failed = [task for task in ended if stop_reasons.failed(task)]
        lines = self._lines(failed[-1]) if failed else []
        yield from findings.tasks(self.service, failed, lines, datetime.now(UTC), self._preset)

    def _lines(self, task: Task) -> list[str]:
        """Return a task's first and last log lines: the start is logged at the beginning."""
        described = ecs.task_definition(task["taskDefinitionArn"])
        if described is None:
            return []
        container = documents.of_release(described[0], self._spec.container, self._spec.repository)
        log = documents.log(container)
        if log is None:
            return []
        stream = f"{log.prefix}{task['taskArn'].rsplit('/', 1)[-1]}"
        first = logs.first_lines(log.group, stream, _LINES)
        last = logs.last_lines(log.group, stream, _LINES)
        return first + [line for line in last if line not in first]

    def _log(self) -> Iterator[Check]:
        if self.running:
            lines = [line for task in self.running[:3] for line in self._lines(task)]
            yield from findings.log(lines, self._preset)

    def _answers(self) -> Iterator[Check]:
        verify = self._spec.verify
        if not verify or not self.live or not self.running:
            return
        if ec2.verification_network()[0]:
            return  # it responds in its VPC, and perhaps not here
        public = ec2.public_addresses(addresses.interfaces(self.running))
        paths = {verify.path, *(probe.path for probe in verify.unchanged)}
        paths |= {verify.version.path} if verify.version else set()
        served = self.place.served
        port = self.live.get("rollout", {}).get("port") or (served and served[1])
        hosts = addresses.of(self._spec, self.running, public, port)
        for url in addresses.to_ask(self._spec, hosts):
            responses = {path: http.get(url + path) for path in sorted(paths)}
            probes = self.live.get("probes", {})
            before = verification.of_service(probes, self._spec.lead and self._spec.service)
            checks = findings.answers(verify, self.live["version"], before, responses, self._preset)
            for check in checks:
                yield replace(check, finding=f"{url}: {check.finding}")

    def drift(self) -> Iterator[Check]:
        """Check the running task definition, and the variables in it."""
        current = rollout.primary(self.service) if self.service else None
        if not current or not self.live or any("outcome" not in entry for entry in self.records):
            return
        response = self.target.account.client("ecs").describe_task_definition(
            taskDefinition=current["taskDefinition"], include=["TAGS"]
        )
        tags = {tag["key"]: tag["value"] for tag in response.get("tags", ())}
        try:
            base = read_documents.base(self._spec, self.service)
            rendered = task_definitions.render(self._spec, base, self.live["image"])
        except PreflightFailed:
            return  # the check of the definitions says why
        yield from findings.drift(
            response["taskDefinition"],
            tags.get(task_definitions.CONTENT_TAG),
            rendered,
            task_definitions.content_hash(rendered),
            self.live.get("taskDefinition"),
            self.live["digest"],
            next(
                (e for e in self.records if e.get("taskDefinition") == current["taskDefinition"]),
                None,
            ),
            self._serving["mend"],
        )
        container = documents.of_release(
            response["taskDefinition"], self._spec.container, self._spec.repository
        )
        names = _variables(container)
        if names != self._names:
            for check in self._preset.variables(names, self.known):
                yield replace(check, name="variables that run")

    def _scheduled(self) -> Iterator[Check]:
        """Check that the schedules are those of the release that serves."""
        current = rollout.primary(self.service) if self.service else None
        in_flight = any("outcome" not in entry for entry in self.records)
        if not current or in_flight or not schedules.may_exist(self._spec, self.records):
            return
        exist = scheduler.schedules(schedules.group(self._spec.service))
        try:
            wanted = plan_schedules.planned(self._spec, current["taskDefinition"], exist)
        except SchedulesFailed as error:
            yield Check("schedules", FAILED, f"{error}")
            return
        yield from findings.schedules([*schedules.drift(exist, wanted)], [*wanted])

    @property
    def _names(self) -> set[str]:
        return _variables(self._container)

    def _targets(self) -> Iterator[Check]:
        for arn in documents.target_groups(self.service or {}):
            modify = f"  aws elbv2 modify-target-group --target-group-arn {arn}"
            yield from findings.targets(elb.health(arn), modify)

    # Records

    def _last_release(self) -> Iterator[Check]:
        yield from findings.last_release(releases.newest(self._spec.service, _NEWEST))

    def _build(self) -> Iterator[Check]:
        yield from findings.last_build(builds.history(image_build.partition(self._spec.service)))

    def _image(self) -> Iterator[Check]:
        if not self.live:
            return
        image = ecr.find(self._spec.repository, self.live["digest"])
        platform = documents.platform(self.place.definition)
        config = resolve_request.config(image, self._spec, platform)
        yield findings.image(self.live["version"], self.live["digest"], image, config, platform)

    def _lock(self) -> Iterator[Check]:
        owners = (self._spec.service, image_build.partition(self._spec.service))
        dead = []
        for owner in owners:
            holder = locks.queue(owner).holder
            if holder and not sfn.running(holder["execution"], holder["since"]):
                dead.append(f"{holder['release']} holds the lock of {owner}, and is over")
        for record in self.records:
            if "outcome" not in record and not sfn.running(*carried_out_by(record)):
                dead.append(f"{record['version']} ({record['id']}) is open, and is over")
        yield findings.lock(dead)

    def _tags(self) -> Iterator[Check]:
        pages = (
            self.target.account.client("ecr")
            .get_paginator("describe_images")
            .paginate(repositoryName=self._spec.repository, filter={"tagStatus": "TAGGED"})
        )
        tags = [
            tag for page in pages for image in page["imageDetails"] for tag in image["imageTags"]
        ]
        yield from findings.overlaps(self._spec, spec.services(ssm.service_specs()), tags)

    def _executions(self) -> Iterator[Check]:
        """Check for recent failed executions without a record of a service."""
        machine = self.target.outputs.get("StateMachine")
        if not machine:
            return
        client_ = self.target.account.client("stepfunctions")
        response = client_.list_executions(
            stateMachineArn=machine, statusFilter="FAILED", maxResults=_EXECUTIONS
        )
        failed = []
        for entry in response["executions"]:
            arn = entry["executionArn"]
            if datetime.now(UTC) - entry["startDate"] > _WEEK:
                break
            if releases.handled_by(arn) is None and not self._recorded(arn):
                description = client_.describe_execution(executionArn=arn)
                failed.append(
                    (arn, str(description.get("cause") or description.get("error", ""))[:300])
                )
        yield from findings.unrecorded(failed)

    def _recorded(self, execution: str) -> bool:
        return any(
            execution in (entry["execution"], entry.get("recoveredBy")) for entry in self.records
        )

    def _undelivered(self) -> Iterator[Check]:
        queue = self.target.outputs.get("UndeliveredPushesQueue")
        if queue:
            response = self.target.account.client("sqs").get_queue_attributes(
                QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
            )
            count = int(response["Attributes"]["ApproximateNumberOfMessages"])
            yield findings.undelivered(count, queue)

    # Configuration

    def _variables(self) -> Iterable[Check]:
        return self._preset.variables(self._names, self.known) if self._container else ()

    def _database_url(self) -> Iterator[Check]:
        secrets = documents.secrets(self._container)
        names = (name for name in self._preset.database_urls if name in secrets)
        source = secrets.get(next(names, ""))
        if not source or ":secretsmanager:" not in source:
            return
        arn, key = ":".join(source.split(":")[:7]), ":".join(source.split(":")[7:8])
        host = None
        if self._spec.database:
            name = releases.database_instance(self._spec.service, self._spec.database.instance)
            host = ((rds.instance(name) or {}).get("Endpoint") or {}).get("Address")
        try:
            response = self.target.account.client("secretsmanager").get_secret_value(SecretId=arn)
        except ClientError as error:
            if code_of(error) in ("ResourceNotFoundException", "InvalidRequestException"):
                return  # missing or scheduled for deletion, which another check reports
            if code_of(error) not in DENIED:
                raise
            # as it should be: users need not know the password, and the log shows an invalid URL
            yield Check("database URL", OK, "not validated: no permission to read the secret")
            return
        yield findings.connection_url(response.get("SecretString", ""), host, arn, whole=not key)

    # Load balancer and domain

    @cached_property
    def _host(self) -> str | None:
        """The service's own host name; None if it uses its load balancer's."""
        if not self._spec.url or not self._balancer:
            return None
        netloc = urlsplit(self._spec.url).netloc
        return None if netloc == self._balancer.get("DNSName") else netloc.partition(":")[0]

    @cached_property
    def _balancer(self) -> Mapping[str, Any]:
        """The load balancer; {} if there is none."""
        for arn in documents.target_groups(self.place.service):
            group = elb.target_group(arn) or {}
            for balancer in elb.load_balancers(group.get("LoadBalancerArns", ())):
                return balancer
        return {}

    def _certificate(self) -> Iterator[Check]:
        if not self._host or not (self._spec.url or "").startswith("https:"):
            return
        elbv2, acm = (self.target.account.client(name) for name in ("elbv2", "acm"))
        arn = self._balancer["LoadBalancerArn"]
        listeners = elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"]
        used = [c["CertificateArn"] for entry in listeners for c in entry.get("Certificates", ())]
        wildcard = self._preset.wildcard
        checks = []
        for arn_used in used:
            description = acm.describe_certificate(CertificateArn=arn_used)["Certificate"]
            checks.append(
                _lasting(certificate(description, self._host, wildcard=wildcard), description)
            )
        if not checks:
            problem = f"no listener of {self._balancer['DNSName']} has a certificate"
            fix = ("Create the listener:", "  make deploy MODE=infrastructure")
            yield Check("certificate", FAILED, problem, fix, "Nobody can open the URL.")
        valid = [check for check in checks if check.state != FAILED]
        for check in valid or checks:
            yield replace(check, name="certificate")
        waiting = acm.list_certificates(CertificateStatuses=["PENDING_VALIDATION"])
        for summary in waiting["CertificateSummaryList"]:
            if summary["DomainName"] == self._host and summary["CertificateArn"] not in used:
                description = acm.describe_certificate(CertificateArn=summary["CertificateArn"])
                check = certificate(description["Certificate"], self._host, wildcard=wildcard)
                yield replace(check, name="certificate", state=WARNING if valid else FAILED)

    def _domain(self) -> Iterator[Check]:
        if self._host and (name := self._balancer.get("DNSName")):
            record = _record(self.target.account.client("route53"), self._host)
            resolved, expected = _addresses(self._host), _addresses(name)
            yield findings.domain(self._host, name, resolved, expected, record)

    def _builds(self) -> Iterator[Check]:
        """Check that CodeBuild may run the builds of images."""
        size = self.target.parameters.get("BuildComputeType")
        if size and "BuildStateMachine" in self.target.outputs:
            account_quotas = quotas.Quotas(self.target.account)
            yield quotas.concurrency(account_quotas.look(quotas.builds(size)))


def _lasting(check: Check, description: Mapping[str, Any]) -> Check:
    """Return a certificate's check, or a warning or failure if it expires soon."""
    expiry = description.get("NotAfter")
    if check.state == FAILED or expiry is None or expiry > datetime.now(UTC) + _SOON:
        return check
    expired = expiry <= datetime.now(UTC)
    fix = ("See why ACM did not renew it; the validation records must still be there.",)
    return replace(
        check,
        state=FAILED if expired else WARNING,
        finding=f"it ends at {expiry.isoformat()}",
        fix=fix,
    )


def _variables(container: documents.Document) -> set[str]:
    """Return the names of a container's variables and secrets."""
    return {*documents.variables(container), *documents.secrets(container)}


def _addresses(name: str) -> set[str]:
    """Return the addresses of a name, resolved here; none if it does not resolve."""
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(name.partition(":")[0], None)}
    except OSError:
        return set()


def _record(route53: Any, host: str) -> str | None:
    """Return the target of a name's record in the account's public zones; None without one."""
    pages = route53.get_paginator("list_hosted_zones").paginate()
    zones = [zone for page in pages for zone in page["HostedZones"]]
    for zone in sorted(zones, key=lambda zone: -len(zone["Name"])):
        matches = f".{host}.".endswith(f".{zone['Name']}")
        if not matches or zone.get("Config", {}).get("PrivateZone"):
            continue
        response = route53.list_resource_record_sets(
            HostedZoneId=zone["Id"], StartRecordName=host, MaxItems="10"
        )
        for record in response["ResourceRecordSets"]:
            if record["Name"].rstrip(".") != host or record["Type"] not in ("A", "CNAME"):
                continue
            if "AliasTarget" in record:
                return str(record["AliasTarget"]["DNSName"])
            return str(record["ResourceRecords"][0]["Value"])
    return None

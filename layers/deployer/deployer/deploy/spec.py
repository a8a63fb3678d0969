"""Parse and validate the service spec: a JSON document that says what the deployer adds to ECS.

What the service is, ECS's own documents say: a task definition and a service definition, in the
spec or in ECS. SSM Parameter Store has one parameter per service. Imports decisions only.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from deployer import pattern as patterns
from deployer import presets
from deployer.deploy import documents, schedule_expressions
from deployer.deploy.documents import Document
from deployer.errors import PreflightFailed, RequestRejected, ServiceUnknown, SpecInvalid

Strategy = Literal["rolling", "recreate"]
Rollback = Literal["exact", "render"]
VersionMatch = Literal["exact", "build"]
BuildMode = Literal["nix", "plain", "docker"]

# Commands of a tree with a Dockerfile; a preset has its application's.
_BUILD_COMMANDS = (
    "git describe --tags --always",
    "",
    'docker build --platform "linux/$ARCHITECTURE" --build-arg VERSION --tag "$IMAGE" .',
)

LOCK_PATIENCE = 7200  # seconds; `deployer.lock` imports what imports this
_MOST_SERVICES = 10  # one function updates, polls or restores all of a wave

_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}"
_SCHEDULE_NAME = r"[0-9a-zA-Z._-]{1,64}"
_SCHEDULES = 20  # of a service: what they were stands in a release's record
_SERVICE_LIMIT = 54  # characters of a service with schedules: its role and their group name it
_ARN = r"arn:aws[a-z-]*:{service}:.*"
_BLUEPRINT = rf"(arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]{{12}}:task-definition/)?{_NAME}(:[0-9]+)?"
_PATH = r"/[!\"$-~]*"  # printable ASCII but "#", as HTTP takes it
# Plain environment variables are in the task definition, readable by all who may describe it.
_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|SECRET|SECRET_KEY|API_KEY|PRIVATE_KEY|ACCESS_KEY|AUTH_TOKEN|API_TOKEN"
    r"|PG_CONNECTION_URL)$",
    re.IGNORECASE,
)
_CREDENTIALS_IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
# Fields of CreateService that the spec has by other names
_OWN = {
    "serviceName": "name it in `service`",
    "cluster": "name it in `cluster`",
    "taskDefinition": "name it in `taskDefinition` of the spec",
    "clientToken": "leave it out",
}

_NO_SECRETS = (
    "looks like a secret, and environment is readable in the task definition: store it in Secrets"
    " Manager and name its ARN under secrets"
)


@dataclass(frozen=True)
class VersionProbe:
    """Where a running release reports its version: a response header, or a field of a JSON body."""

    path: str
    header: str | None
    field: str | None
    match: VersionMatch


@dataclass(frozen=True)
class Probe:
    """A response that no deployment may change: its status, or a JSON field if one is named."""

    path: str
    field: str | None


@dataclass(frozen=True)
class Verification:
    """How to verify over HTTP that a release is serving."""

    path: str
    version: VersionProbe | None
    unchanged: tuple[Probe, ...]


@dataclass(frozen=True)
class Database:
    """The RDS instance that a release may migrate; `secret` holds its connection URL."""

    instance: str
    secret: str | None
    snapshots: int


@dataclass(frozen=True)
class OneOff:
    """A command that each release runs in a task of its own; `container` None for its own."""

    command: tuple[str, ...]
    container: str | None
    timeout: int


@dataclass(frozen=True)
class Schedule:
    """A command that runs in a task of its own at certain times, by EventBridge Scheduler.

    Attributes:
        expression: a cron or rate expression.
        container: None for the release's own.
    """

    expression: str
    timezone: str
    command: tuple[str, ...]
    container: str | None


@dataclass(frozen=True)
class Build:
    """How the service's image is built from its sources: the commands and the base image."""

    mode: BuildMode
    platform: str | None
    version: str
    compile: str
    image: str
    base_image: str | None
    migrations: str


@dataclass(frozen=True)
class ServiceSpec:
    """What the deployer adds to an ECS service, and which pushes deploy it. Times in seconds.

    Attributes:
        task_definition: as RegisterTaskDefinition takes it; or the name of one in ECS, from which
            releases are made; None for that of the running service.
        override: fields of a container definition for the release's container, in ECS's shape.
        service_definition: as CreateService takes it; None for a service that is only adopted.
        container: the name of the container that runs the pushed image; None to find it.
        url: the base URL behind a load balancer.
        before, after: the tasks before and after the rollout.
        schedules: the scheduled tasks, by name.
        strategy: None leaves the service's own percentages.
        preset: the application's name in `deployer.presets`.
        wave: the services of a wave are updated together, once those of the one before are steady.
        further: the other services of the application, which a release rolls out to as well. Each
            is a spec of its own, with what all share.
        lead: of a further service, the one under which releases are recorded.
    """

    service: str
    cluster: str
    repository: str
    tags: str
    container: str | None
    task_definition: Document | str | None
    override: Document
    service_definition: Document | None
    url: str | None
    strategy: Strategy | None
    timeout: int
    failure_threshold: int
    rollback: Rollback
    keep_releases: int
    bake: int | None
    alarms: tuple[str, ...]
    database: Database | None
    before: OneOff | None
    after: OneOff | None
    schedules: Mapping[str, Schedule]
    verify: Verification | None
    build: Build
    preset: str | None
    wave: int = 1
    further: tuple["ServiceSpec", ...] = ()
    lead: str | None = None

    @property
    def parts(self) -> tuple["ServiceSpec", ...]:
        """The services that a release rolls out to; the one that it is recorded under first."""
        return (self, *self.further)

    @property
    def waves(self) -> list[list["ServiceSpec"]]:
        """These services by their waves."""
        numbers = sorted({part.wave for part in self.parts})
        return [[part for part in self.parts if part.wave == number] for number in numbers]

    @property
    def desired_count(self) -> int:
        """The desired count of a new service."""
        return int((self.service_definition or {}).get("desiredCount", 1))

    def deploys(self, tag: str) -> bool:
        """Return whether a push of this tag deploys."""
        return patterns.compile(self.tags).fullmatch(tag)


def ambiguous(repository: str, tag: str | None, services: Sequence[str]) -> str:
    """Return why a push whose tag fits several services deploys none of them."""
    return (
        f"tag {tag} of {repository} fits {', '.join(sorted(services))}: make the tag patterns of"
        " their service specs disjoint, or name the services in one spec, and push again"
    )


@dataclass(frozen=True)
class Unread:
    """A service with an invalid spec, which a push may be for, and the reason."""

    service: str
    why: str


def for_push(
    parameters: Mapping[str, str], repository: str, tag: str | None
) -> tuple[list[tuple[ServiceSpec, Document]], list[Unread]]:
    """Return the services that a push to a repository is for, with valid and with invalid specs.

    At least one of both lists has an entry. If the tag fits no service, that is the repository's
    first valid spec.

    Raises:
        ServiceUnknown: no spec names the repository.
    """
    documents = _documents_with(parameters, "repository", repository)
    if not documents:
        raise ServiceUnknown(_no_spec_message(parameters, "repository", repository))
    specs, unread = list[tuple[ServiceSpec, Document]](), list[tuple[Unread, Document]]()
    for source, document in documents.items():
        try:
            specs.append((_sole(document, source, parameters), document))
        except SpecInvalid as error:
            service = document.get("service")
            valid_name = isinstance(service, str) and re.fullmatch(_NAME, service)
            name = str(service if valid_name else source.rpartition("/")[2])
            unread.append((Unread(name, f"{error}"), document))
    matches = [entry for entry in specs if tag and entry[0].deploys(tag)]
    candidates = [
        invalid
        for invalid, document in unread
        if not specs or _may_deploy(document.get("tags"), tag)
    ]
    return matches or ([] if candidates else specs[:1]), candidates


def _may_deploy(pattern: object, tag: str | None) -> bool:
    """Return whether an invalid spec's tag pattern fits; an invalid pattern counts as fitting."""
    if tag is None:
        return False
    try:
        return not isinstance(pattern, str) or patterns.compile(pattern).fullmatch(tag)
    except (patterns.Unsupported, re.error, OverflowError, RecursionError):
        return True


def for_service(parameters: Mapping[str, str], service: str | None) -> tuple[ServiceSpec, Document]:
    """Return the spec of a service, parsed and as a document; the only one's if none is named.

    Raises:
        ServiceUnknown, SpecInvalid, RequestRejected: no spec, an invalid one, or several services.
    """
    documents = (
        _documents_with(parameters, "service", service) if service else _documents(parameters)
    )
    if not documents:
        lead = next((d for d in _documents(parameters).values() if service in _names(d)), None)
        if service and lead:
            raise ServiceUnknown(f"{service} is released with {lead['service']}: name that service")
        raise ServiceUnknown(_no_spec_message(parameters, "service", service or "<any>"))
    if len(documents) != 1:
        raise RequestRejected(
            f"name the service; {len(documents)} have a spec: {', '.join(sorted(parameters))}"
        )
    source, document = next(iter(documents.items()))
    return _sole(document, source, parameters), document


def index(parameters: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return by what each spec is looked up, valid or not: its service and its repository.

    `further` has the names of its further services, with spaces between them.
    """
    return {
        name: {
            **{field: str(document.get(field)) for field in ("service", "repository")},
            "further": " ".join(sorted(_names(document)[1:])),
        }
        for name, document in _documents(parameters).items()
    }


def _names(document: Document) -> list[str]:
    """Return the names of a spec's services, valid or not; the leading one's first."""
    listed = document.get("services")
    further = (
        [one.get("service") for one in listed if isinstance(one, dict)]
        if isinstance(listed, list)
        else []
    )
    return [str(document.get("service")), *map(str, further)]


def _sole(document: Document, source: str, parameters: Mapping[str, str]) -> ServiceSpec:
    """Return a spec, if no other one names any of its services.

    Raises:
        SpecInvalid: it has wrong fields, or shares a service.
    """
    spec = from_document(document, source)
    if problems := shared(document, source, parameters):
        raise SpecInvalid(f"{source}: {'; '.join(problems)}")
    return spec


def shared(document: Document, source: str, parameters: Mapping[str, str]) -> list[str]:
    """Return which services of a spec another one names too, and where.

    Two specs of the same leading service are not among them: see `for_service`.

    Args:
        source: the spec's own parameter.
    """
    lead, *further = _names(document)
    problems = list[str]()
    for name, other in _documents(parameters).items():
        if name != source:
            its_lead, *its_further = _names(other)
            twice = {*further} & {its_lead, *its_further} | {lead} & {*its_further}
            problems += [
                f"service {service} is in {name} too: it belongs to one spec"
                for service in sorted(twice)
            ]
    return problems


def services(parameters: Mapping[str, str]) -> list[ServiceSpec]:
    """Return every valid spec; invalid specs are skipped."""
    specs = []
    for source, document in _documents(parameters).items():
        with contextlib.suppress(SpecInvalid):
            specs.append(_sole(document, source, parameters))
    return specs


def _documents(parameters: Mapping[str, str]) -> dict[str, Document]:
    documents: dict[str, Document] = {}
    for source, text in parameters.items():
        try:
            document = json.loads(text)
        except ValueError:
            continue  # an invalid spec must not affect other services
        if isinstance(document, dict):
            documents[source] = document
    return documents


def _documents_with(parameters: Mapping[str, str], field: str, value: str) -> dict[str, Document]:
    documents = _documents(parameters)
    return {name: document for name, document in documents.items() if document.get(field) == value}


def _no_spec_message(parameters: Mapping[str, str], field: str, value: str) -> str:
    unread = sorted(parameters.keys() - _documents(parameters).keys())
    broken = f"; not readable as JSON objects: {', '.join(unread)}" if unread else ""
    names = ", ".join(sorted(parameters)) or "none"
    return f"no service spec names {field} {value!r}; available: {names}{broken}"


def with_services(document: Document, names: Iterable[str]) -> Document:
    """Return a spec that has further services of these names, too, to clean up after a release."""
    missing = [{"service": name} for name in names if name not in _names(document)]
    listed = document.get("services") or []
    return {**document, "services": [*listed, *missing]} if missing else document


def from_document(document: object, source: str) -> ServiceSpec:
    """Read a spec from its JSON document.

    Args:
        source: the parameter's name, for messages.
    Raises:
        SpecInvalid: the message has each invalid field's path, its value and what is expected.
    """
    problems: list[str] = []
    if not isinstance(document, dict):
        raise SpecInvalid(f"{source} must be a JSON object, not {type(document).__name__}")
    spec = read(Fields(document, "", problems))
    if problems:
        raise SpecInvalid(f"{source} has {len(problems)} wrong field(s): " + "; ".join(problems))
    return spec


def read(at: "Fields") -> ServiceSpec:
    """Read the fields of a spec; those that are wrong are noted, and read as stand-ins."""
    at.given("$schema")  # for editors
    preset = at.optional_choice("preset", tuple(presets.NAMES))
    at = at.over(presets.named(preset).fields)
    spec = ServiceSpec(
        **_of_a_service(at),
        cluster=at.text("cluster", pattern=_NAME),
        repository=at.text("repository", pattern=r"[a-z0-9]+([._/-]+[a-z0-9]+)*"),
        tags=at.regex("tags"),
        rollback=at.choice("rollback", ("exact", "render"), "exact"),
        keep_releases=at.integer("keepReleases", 10, low=2, high=100),
        database=at.optional_object("database", _database),
        before=at.optional_object("before", _one_off),
        after=at.optional_object("after", _one_off),
        schedules=at.objects_by_name("schedules", _schedule, pattern=_SCHEDULE_NAME),
        build=at.optional_object("build", _build) or _build(Fields({}, "build.", [])),
        preset=preset,
    )
    others = at.children("services")
    spec = replace(spec, further=tuple(_further(child, spec) for child in others))
    _check_lock_time(spec, at)
    _check_schedules(spec, at)
    _check_service(spec, at)
    _check_together(spec, (at, *others))
    at.close()
    return spec


def _of_a_service(at: "Fields") -> dict[str, Any]:
    """Read the fields that each service of an application has of its own."""
    return {
        "service": at.text("service", pattern=_NAME),
        "wave": at.integer("wave", 1, low=1, high=_MOST_SERVICES),
        "container": at.optional_text("container", pattern=_NAME),
        "task_definition": at.mapping_or_text("taskDefinition", pattern=_BLUEPRINT),
        "override": at.optional_object("override", _override) or {},
        "service_definition": at.optional_mapping("serviceDefinition"),
        "url": at.optional_url("url"),
        "strategy": at.optional_choice("strategy", ("rolling", "recreate")),
        "timeout": at.integer("timeout", 600, low=30, high=3600),
        "failure_threshold": at.integer("failureThreshold", 3, low=1, high=200),
        "bake": at.optional_integer("bake", low=0, high=3600),
        "alarms": at.texts("alarms", least=0, default=[]),
        "verify": at.optional_object("verify", _verification),
    }


def _further(at: "Fields", leading: ServiceSpec) -> ServiceSpec:
    """Read a further service of the application: what all share is the leading service's."""
    spec = replace(
        leading,
        **_of_a_service(at),
        lead=leading.service,
        # of the application, not of each of its services
        before=None,
        after=None,
        schedules={},
        preset=None,
    )
    _check_service(spec, at)
    at.close()
    return spec


def _check_service(spec: ServiceSpec, at: "Fields") -> None:
    """Check the documents of one service."""
    definition = spec.service_definition or {}
    count = definition.get("desiredCount", 1)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        at.wrong("serviceDefinition.desiredCount", "must be a whole number from 1")
    for name in sorted(definition.keys() & _OWN):
        at.wrong(f"serviceDefinition.{name}", f"is set by the deployer: {_OWN[name]}")
    for field, why in presets.named(spec.preset).problems(spec.override, spec.url):
        at.wrong(f"override.{field}", why)
    if isinstance(spec.task_definition, Mapping):
        _check_definition(spec, spec.task_definition, at)


def _check_together(spec: ServiceSpec, fields: Sequence["Fields"]) -> None:
    """Check that the services of one release differ, and that no wave is empty.

    Args:
        fields: those of each service, in the order of `spec.parts`.
    """
    if len(spec.parts) > _MOST_SERVICES:
        most = _MOST_SERVICES - 1
        fields[0].wrong("services", f"has {len(spec.further)}; a release has {most} at most")
    services, groups = set[str](), dict[str, str]()
    waves = {part.wave for part in spec.parts}
    for part, at in zip(spec.parts, fields, strict=True):
        if part.service in services:
            at.wrong("service", f"{part.service} is named twice")
        if part.wave - 1 not in {0, *waves}:
            at.wrong("wave", f"{part.wave}, but no service has wave {part.wave - 1}")
        for group in documents.target_groups(part.service_definition or {}):
            if group in groups:
                path = "serviceDefinition.loadBalancers"
                at.wrong(path, f"{groups[group]} has the same target group: {group}")
            groups.setdefault(group, part.service)
        services.add(part.service)


def _check_lock_time(spec: ServiceSpec, at: "Fields") -> None:
    """Check that a release holds the lock no longer than a push waits for it."""
    waves, longest = spec.waves, max(part.timeout for part in spec.parts)
    parts = {
        "bake": sum(max(part.bake or 0 for part in wave) for wave in waves),
        "before.timeout": spec.before.timeout if spec.before else 0,
        "after.timeout": spec.after.timeout if spec.after else 0,
        "services": sum(max(part.timeout for part in wave) for wave in waves) - longest,
    }
    named = [name for name, seconds in parts.items() if seconds]
    held = 2 * longest + sum(parts.values())  # a rollback may take as long as the rollout
    if named and held > LOCK_PATIENCE:
        at.wrong(
            named[0],
            f"a release may hold the lock for {held} s (twice timeout, and {', '.join(named)}),"
            f" and a push waits {LOCK_PATIENCE} s for it: lower {', '.join(named)} or timeout",
        )


def _check_schedules(spec: ServiceSpec, at: "Fields") -> None:
    if len(spec.schedules) > _SCHEDULES:
        at.wrong("schedules", f"has {len(spec.schedules)} of them; {_SCHEDULES} at most")
    if spec.schedules and len(spec.service) > _SERVICE_LIMIT:
        at.wrong("schedules", f"needs a service's name of {_SERVICE_LIMIT} characters at most")


def _check_definition(spec: ServiceSpec, definition: Document, at: "Fields") -> None:
    """Check a task definition in the spec; ECS's model checks the rest in the preflight."""
    if spec.override:
        at.wrong("override", "is for a task definition in ECS: write it in taskDefinition instead")
    try:
        name = documents.release_container(spec, definition)
    except PreflightFailed as error:
        field = "container" if spec.container else "taskDefinition.containerDefinitions"
        at.wrong(field, f"{error}")
        name = None
    for path, container_name in containers_named(spec):
        if missing := documents.no_container(container_name, definition):
            at.wrong(path, missing)
    for index, container in documents.indexed(definition):
        path = f"taskDefinition.containerDefinitions[{index}]"
        for number, variable in enumerate(documents.listed(container, "environment")):
            if is_secret(str(variable.get("name", "")), str(variable.get("value", ""))):
                label = f"{path}.environment[{number}]"
                at.wrong(label, f"{variable.get('name')} {_NO_SECRETS}")
        if container.get("name") == name:
            for field, why in presets.named(spec.preset).problems(container, spec.url):
                at.wrong(f"{path}.{field}", why)
            _check_patience(container, spec.service_definition or {}, path, at)


def containers_named(spec: ServiceSpec) -> Iterator[tuple[str, str | None]]:
    """Yield the container of each task beside the service's, under its field's path."""
    for which, one in (("before", spec.before), ("after", spec.after)):
        if one:
            yield f"{which}.container", one.container
    for name, schedule in spec.schedules.items():
        yield f"schedules.{name}.container", schedule.container


def _check_patience(container: Document, service: Document, path: str, at: "Fields") -> None:
    """Check that the container's health check waits as long as the load balancer's."""
    check, grace = container.get("healthCheck"), service.get("healthCheckGracePeriodSeconds", 0)
    if not isinstance(check, Mapping) or not service.get("loadBalancers"):
        return
    start, interval, retries = (
        check.get(name, default)
        for name, default in (("startPeriod", 0), ("interval", 30), ("retries", 3))
    )
    if not all(isinstance(number, int) for number in (start, interval, retries, grace)):
        return
    if start + interval * retries < grace:
        at.wrong(
            f"{path}.healthCheck",
            f"kills a task after {start + interval * retries} s (startPeriod + interval * retries),"
            f" while healthCheckGracePeriodSeconds gives it {grace} s to start: leave it out",
        )


def is_secret(name: str, value: str) -> bool:
    """Return whether a variable looks like a secret, by its name or by credentials in a URL."""
    return bool(_SECRET_NAME.search(name) or _CREDENTIALS_IN_URL.search(value))


def _override(at: "Fields") -> Document:
    """Read the fields of a container definition; its variables may be objects by name."""
    environment = at.texts_by_name("environment")
    secrets = at.texts_by_name("secrets", pattern=r"arn:aws[a-z-]*:(secretsmanager|ssm):.*")
    for name, value in environment.items():
        if is_secret(name, value):
            at.wrong(f"environment.{name}", _NO_SECRETS)
        if name in secrets:
            at.wrong(f"environment.{name}", "is under secrets too; ECS refuses the name twice")
    for name in ("name", "image"):
        if at.given(name) is not None:
            at.wrong(name, "is set by the deployer")
    variables = {
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
        "secrets": [{"name": name, "valueFrom": arn} for name, arn in secrets.items()],
    }
    return at.rest() | {name: entries for name, entries in variables.items() if entries}


def _database(at: "Fields") -> Database:
    database = Database(
        instance=at.text("instance", pattern=r"[a-zA-Z](-?[a-zA-Z0-9])*"),
        secret=at.optional_text("secret", pattern=_ARN.format(service="secretsmanager")),
        snapshots=at.integer("snapshots", 5, low=1, high=50),
    )
    at.close()
    return database


def _one_off(at: "Fields") -> OneOff:
    one = OneOff(
        command=at.texts("command"),
        container=at.optional_text("container", pattern=_NAME),
        timeout=at.integer("timeout", 600, low=30, high=3600),
    )
    at.close()
    return one


def _schedule(at: "Fields") -> Schedule:
    schedule = Schedule(
        expression=at.text("schedule"),
        timezone=at.text("timezone", "UTC"),
        command=at.texts("command"),
        container=at.optional_text("container", pattern=_NAME),
    )
    if schedule.expression and (why := schedule_expressions.problem(schedule.expression)):
        at.wrong("schedule", f"{_shown(schedule.expression)} {why}")
    if why := schedule_expressions.timezone_problem(schedule.timezone):
        at.wrong("timezone", f"{_shown(schedule.timezone)} {why}")
    at.close()
    return schedule


def _build(at: "Fields") -> Build:
    modes: tuple[BuildMode, ...] = ("docker", "nix", "plain")
    version, compile_, image = _BUILD_COMMANDS
    build = Build(
        mode=at.choice("mode", modes, "docker"),
        platform=at.optional_choice("platform", tuple(documents.PLATFORMS)),
        version=at.text("version", version),
        compile=at.text("compile", compile_, pattern=r"(?s).*"),
        image=at.text("image", image),
        base_image=at.optional_text("baseImage", pattern=r"\S+@sha256:[0-9a-f]{64}"),
        migrations=at.text("migrations", "", pattern=r"(?s).*"),
    )
    at.close()
    return build


def _verification(at: "Fields") -> Verification:
    verification = Verification(
        path=at.text("path", "/", pattern=_PATH),
        version=at.optional_object("version", _version_probe),
        unchanged=tuple(_probe(item) for item in at.children("unchanged")),
    )
    at.close()
    return verification


def _version_probe(at: "Fields") -> VersionProbe:
    probe = VersionProbe(
        path=at.text("path", "/", pattern=_PATH),
        header=at.optional_text("header", pattern=r"[A-Za-z0-9-]+"),
        field=at.optional_text("field"),
        match=at.choice("match", ("exact", "build"), "exact"),
    )
    if (probe.header is None) == (probe.field is None):
        at.wrong("header", "name either a response header or a JSON field, and not both")
    at.close()
    return probe


def _probe(at: "Fields") -> Probe:
    probe = Probe(path=at.text("path", pattern=_PATH), field=at.optional_text("field"))
    at.close()
    return probe


class Fields:
    """Read typed fields of a JSON object, and collect the problems with their paths.

    After an invalid field, parsing continues with a stand-in value, to find all problems at once;
    the caller raises if `problems` is not empty. Libraries are slower: jsonschema costs 104 ms of
    every cold start, pydantic 226 ms, this 2 ms.
    """

    def __init__(self, document: Mapping[str, object], path: str, problems: list[str]) -> None:
        self._document = document
        self._path = path
        self._problems = problems
        self._known: set[str] = set()

    def wrong(self, name: str, why: str) -> None:
        self._problems.append(f"{self._path}{name}: {why}")

    def given(self, name: str) -> object:
        """Return the value of a field, valid or not."""
        self._known.add(name)
        return self._document.get(name)

    def over(self, defaults: Mapping[str, Any]) -> "Fields":
        """Return the fields laid over defaults, also within an object; null leaves one out."""
        merged = dict(self._document)
        for name, default in defaults.items():
            value: Any = merged.get(name, default)
            both = isinstance(value, Mapping) and isinstance(default, Mapping)
            merged[name] = {**default, **value} if both else value
        fields = Fields(merged, self._path, self._problems)
        fields._known = self._known
        return fields

    def rest(self) -> dict[str, Any]:
        """Return the fields that nobody has read, but null."""
        unread = self._document.keys() - self._known
        return {name: self._document[name] for name in unread if self._document[name] is not None}

    def close(self) -> None:
        for name in sorted(self._document.keys() - self._known):
            known_fields = ", ".join(sorted(self._known))
            self.wrong(name, f"unknown field; expected one of: {known_fields}")

    def _read[T](
        self, name: str, kind: type[T], expected: str, stand_in: T, default: T | None = None
    ) -> T:
        self._known.add(name)
        value = self._document.get(name)
        if value is None:
            if default is not None:
                return default
            self.wrong(name, f"is missing; it must be {expected}")
            return stand_in
        # in Python a bool is an int, in a spec it is not
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            # a text in place of an object may be an environment with secrets
            prefix = "" if kind is dict else f"{_shown(value)} "
            self.wrong(name, f"{prefix}must be {expected}")
            return stand_in
        return value

    def text(self, name: str, default: str | None = None, *, pattern: str = r"(?s).+") -> str:
        value = self._read(name, str, "a text", "", default)
        if value and value != default and not re.fullmatch(pattern, value):
            self.wrong(name, f"{_shown(value)} must match {pattern}")
        elif value == "" and self._document.get(name) == "":
            self.wrong(name, "must not be empty")
        return value

    def optional_text(self, name: str, *, pattern: str = r"(?s).+") -> str | None:
        self._known.add(name)
        return None if self._document.get(name) is None else self.text(name, pattern=pattern)

    def possibly(self, name: str, pattern: str) -> str:
        """Return a text that may be empty, as a template's unset parameter is."""
        self._known.add(name)
        return self.text(name, pattern=pattern) if self._document.get(name, "") != "" else ""

    def regex(self, name: str) -> str:
        value = self.text(name)
        try:
            patterns.compile(value)
        except patterns.Unsupported as error:
            self.wrong(name, f"{_shown(value)} cannot be matched in bounded time: {error}")
        except (re.error, OverflowError, RecursionError) as error:
            self.wrong(name, f"{_shown(value)} is not a regular expression: {error}")
        return value

    def integer(self, name: str, default: int | None = None, *, low: int, high: int) -> int:
        value = self._read(name, int, f"a whole number from {low} to {high}", low, default)
        if not low <= value <= high:
            self.wrong(name, f"{value} must be from {low} to {high}")
            return low
        return value

    def optional_integer(self, name: str, *, low: int, high: int) -> int | None:
        self._known.add(name)
        if self._document.get(name) is None:
            return None
        return self.integer(name, low=low, high=high)

    def choice[T: str | int](self, name: str, choices: tuple[T, ...], default: T) -> T:
        self._known.add(name)
        value = cast(T, self._document.get(name, default))
        # in Python 1.0 and true are in (1, 2), in a spec they are not
        if value not in choices or type(value) is not type(choices[0]):
            offered = ", ".join(str(choice) for choice in choices)
            self.wrong(name, f"{_shown(value)} must be one of {offered}")
            return default
        return value

    def optional_choice[T: str](self, name: str, choices: tuple[T, ...]) -> T | None:
        self._known.add(name)
        if self._document.get(name) is None:
            return None
        return self.choice(name, choices, choices[0])

    def optional_url(self, name: str) -> str | None:
        """Return a base URL without the slash at its end."""
        url = self.optional_text(name, pattern=r"https?://[^\s/]+/?")
        return url.rstrip("/") if url else None

    def _items(self, name: str, default: list[object] | None = None) -> list[object]:
        return self._read(name, list, "a list", [], default)

    def texts(
        self,
        name: str,
        *,
        pattern: str = r"(?s).+",
        least: int = 1,
        default: list[object] | None = None,
    ) -> tuple[str, ...]:
        items = self._items(name, default)
        if isinstance(self._document.get(name), list) and len(items) < least:
            self.wrong(name, f"needs at least {least} element(s)")
        for index, item in enumerate(items):
            if not isinstance(item, str) or not re.fullmatch(pattern, item):
                self.wrong(f"{name}[{index}]", f"{_shown(item)} must be a text matching {pattern}")
        return tuple(item for item in items if isinstance(item, str))

    def texts_by_name(self, name: str, *, pattern: str = r"(?s).*") -> Mapping[str, str]:
        """Return texts by name, from an object or a list of objects without common names."""
        # never show a value: if the field is mistaken, it may be a secret
        listed = isinstance(self._document.get(name), list)
        values: dict[str, Any] = {}
        for index, entry in enumerate(self._items(name) if listed else [self.mapping(name)]):
            ecs = isinstance(entry, dict) and entry.keys() in (
                {"name", "value"},
                {"name", "valueFrom"},
            )
            if ecs or not isinstance(entry, dict):
                self.wrong(f"{name}[{index}]", 'must be an object such as {"LOG_LEVEL": "info"}')
                continue
            for key in sorted(entry.keys() & values.keys()):
                self.wrong(f"{name}.{key}", "is given twice")
            values |= entry
        for key, value in values.items():
            if not isinstance(value, str):
                self.wrong(f"{name}.{key}", "must be a text (quote numbers)")
            elif not re.fullmatch(pattern, value):
                self.wrong(f"{name}.{key}", f"must match {pattern}")
        return {key: value for key, value in values.items() if isinstance(value, str)}

    def mapping(self, name: str) -> Mapping[str, Any]:
        return self._read(name, dict, "an object", {}, {})

    def optional_mapping(self, name: str) -> Mapping[str, Any] | None:
        self._known.add(name)
        return None if self._document.get(name) is None else self.mapping(name)

    def mapping_or_text(self, name: str, *, pattern: str) -> Mapping[str, Any] | str | None:
        if isinstance(self._document.get(name), str):
            return self.text(name, pattern=pattern)
        return self.optional_mapping(name)

    def object(self, name: str) -> "Fields":
        value = self._read(name, dict, "an object", {})
        return Fields(value, f"{self._path}{name}.", self._problems)

    def optional_object[T](self, name: str, read: "Callable[[Fields], T]") -> T | None:
        self._known.add(name)
        return None if self._document.get(name) is None else read(self.object(name))

    def objects_by_name[T](
        self, name: str, read: "Callable[[Fields], T]", *, pattern: str
    ) -> Mapping[str, T]:
        """Return what is read of each object of an object, by its name."""
        self._known.add(name)
        named = Fields(self.optional_mapping(name) or {}, f"{self._path}{name}.", self._problems)
        for key in named.rest():
            if not re.fullmatch(pattern, key):
                named.wrong(key, f"the name must match {pattern}")
        return {key: read(named.object(key)) for key in sorted(named.rest())}

    def objects(self, name: str) -> tuple[Mapping[str, Any], ...]:
        items = self._items(name, [])
        for index, item in enumerate(items):
            if not isinstance(item, dict):
                self.wrong(f"{name}[{index}]", f"{_shown(item)} must be an object")
        return tuple(item for item in items if isinstance(item, dict))

    def children(self, name: str) -> "tuple[Fields, ...]":
        return tuple(
            Fields(item, f"{self._path}{name}[{index}].", self._problems)
            for index, item in enumerate(self.objects(name))
        )


def _shown(value: object) -> str:
    # never show the content: it may be an environment in the wrong place or shape
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"

"""Parse and validate the service spec: a JSON document that describes the desired service.

SSM Parameter Store has one parameter per service. Field names follow the ECS API where a field
means the same there. Imports the names of failures and patterns only.
"""

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from deployer import pattern as patterns
from deployer.errors import RequestRejected, ServiceUnknown, SpecInvalid

Strategy = Literal["rolling", "recreate"]
Rollback = Literal["exact", "render"]
VersionMatch = Literal["exact", "build"]
BuildMode = Literal["nix", "plain", "docker"]
type Document = Mapping[str, Any]

# Fargate's valid sizes, CPU units → MiB:
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
FARGATE_MEMORY: Mapping[int, range | tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
PLATFORMS: Mapping[str, str] = {"linux/amd64": "X86_64", "linux/arm64": "ARM64"}
# How to build Coder, with or without `nix-shell`: one fat binary, half the work of build-fat.
_OF_CODER = (
    "./scripts/version.sh",
    "make build/coder_linux_$ARCHITECTURE",
    './scripts/build_docker.sh --arch "$ARCHITECTURE" --version "$VERSION" --target "$IMAGE"'
    ' "build/coder_${VERSION}_linux_$ARCHITECTURE"',
)
_COMMANDS: Mapping[BuildMode, tuple[str, str, str]] = {
    "nix": _OF_CODER,
    "plain": _OF_CODER,
    "docker": (
        "git describe --tags --always",
        "",
        'docker build --platform "linux/$ARCHITECTURE" --build-arg VERSION --tag "$IMAGE" .',
    ),
}

_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}"
_ARN = r"arn:aws[a-z-]*:{service}:.*"
_PATH = r"/[!\"$-~]*"  # printable ASCII but "#", as HTTP takes it
# Plain environment variables are in the task definition, readable by all who may describe it.
_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|SECRET|SECRET_KEY|API_KEY|PRIVATE_KEY|ACCESS_KEY|AUTH_TOKEN|API_TOKEN"
    r"|PG_CONNECTION_URL)$",
    re.IGNORECASE,
)
_CREDENTIALS_IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
# Coder ignores an unknown variable and uses the default: a database inside the task, whose data is
# lost when the task stops.
MISNAMED_FOR_CODER: Mapping[str, str] = {
    "CODER_POSTGRES_URL": "CODER_PG_CONNECTION_URL",
    "CODER_DATABASE_URL": "CODER_PG_CONNECTION_URL",
    "CODER_DB_URL": "CODER_PG_CONNECTION_URL",
    "CODER_PG_URL": "CODER_PG_CONNECTION_URL",
    "POSTGRES_URL": "CODER_PG_CONNECTION_URL",
    "DATABASE_URL": "CODER_PG_CONNECTION_URL",
    "CODER_ADDRESS": "CODER_HTTP_ADDRESS",
    "CODER_URL": "CODER_ACCESS_URL",
    "CODER_LOG_LEVEL": "CODER_LOG_FILTER",
}

_NO_SECRETS = (
    "looks like a secret, and environment is readable in the task definition: store it in Secrets"
    " Manager and name its ARN under secrets"
)


@dataclass(frozen=True)
class HealthCheck:
    """The container health check, as ECS takes it; times in seconds."""

    command: tuple[str, ...]
    interval: int
    timeout: int
    retries: int
    start_period: int


@dataclass(frozen=True)
class Container:
    """The container that runs the pushed image."""

    name: str
    port: int
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    health_check: HealthCheck | None
    stop_timeout: int | None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """The tasks' network; `public_ip` gives each task a public IP address."""

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    public_ip: bool


@dataclass(frozen=True)
class LoadBalancer:
    """The target group that the tasks join, and the URL that it serves."""

    target_group: str
    url: str
    grace_period: int


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
class Build:
    """How the service's image is built from its sources: the commands and the base image."""

    mode: BuildMode
    version: str
    compile: str
    image: str
    base_image: str | None
    migrations: str


@dataclass(frozen=True)
class ServiceSpec:
    """The desired state of an ECS service, and which pushes deploy it. Times in seconds."""

    service: str
    cluster: str
    repository: str
    tags: str
    family: str
    platform: str
    cpu: int
    memory: int
    execution_role: str
    task_role: str | None
    container: Container
    sidecars: tuple[Mapping[str, Any], ...]
    log_group: str
    network: Network
    load_balancer: LoadBalancer | None
    desired_count: int
    strategy: Strategy
    timeout: int
    failure_threshold: int
    rollback: Rollback
    keep_releases: int
    bake: int | None
    alarms: tuple[str, ...]
    database: Database | None
    verify: Verification | None
    build: Build

    def deploys(self, tag: str) -> bool:
        """Return whether a push of this tag deploys."""
        return patterns.compile(self.tags).fullmatch(tag)


def ambiguous(repository: str, tag: str | None, services: Sequence[str]) -> str:
    """Return why a push whose tag fits several services deploys none of them."""
    return (
        f"tag {tag} of {repository} fits {', '.join(sorted(services))}: make the tag patterns of"
        " their service specs disjoint, and push again"
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
            specs.append((from_document(document, source), document))
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
        raise ServiceUnknown(_no_spec_message(parameters, "service", service or "<any>"))
    if len(documents) != 1:
        raise RequestRejected(
            f"name the service; {len(documents)} have a spec: {', '.join(sorted(parameters))}"
        )
    source, document = next(iter(documents.items()))
    return from_document(document, source), document


def services(parameters: Mapping[str, str]) -> list[ServiceSpec]:
    """Return every valid spec; invalid specs are skipped."""
    specs = []
    for source, document in _documents(parameters).items():
        with contextlib.suppress(SpecInvalid):
            specs.append(from_document(document, source))
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
    spec = _service(Fields(document, "", problems))
    if problems:
        raise SpecInvalid(f"{source} has {len(problems)} wrong field(s): " + "; ".join(problems))
    return spec


def _service(at: "Fields") -> ServiceSpec:
    service = at.text("service", pattern=_NAME)
    container = _container(at.object("container"), default_name=service)
    network = _network(at.object("network"))
    balancer = at.optional_object("loadBalancer", _load_balancer)
    cpu = at.choice("cpu", tuple(FARGATE_MEMORY), 256)
    memory = at.integer("memory", 512, low=512, high=122880)
    if memory not in FARGATE_MEMORY[cpu]:
        fits = ", ".join(str(size) for size in FARGATE_MEMORY[cpu])
        at.wrong("memory", f"{memory} MiB does not go with cpu {cpu} on Fargate; valid: {fits}")
    verify = at.optional_object("verify", _verification)
    if balancer:
        _check_behind(balancer, container, at)
    if verify and not balancer and not network.public_ip:
        at.wrong("verify", "needs an address: network.publicIp or a loadBalancer")
    spec = ServiceSpec(
        service=service,
        cluster=at.text("cluster", pattern=_NAME),
        repository=at.text("repository", pattern=r"[a-z0-9]+([._/-]+[a-z0-9]+)*"),
        tags=at.regex("tags"),
        family=at.text("family", service, pattern=_NAME),
        platform=at.choice("platform", tuple(PLATFORMS), "linux/amd64"),
        cpu=cpu,
        memory=memory,
        execution_role=at.text("executionRole", pattern=_ARN.format(service="iam")),
        task_role=at.optional_text("taskRole", pattern=_ARN.format(service="iam")),
        container=container,
        sidecars=at.objects("sidecars"),
        log_group=at.text("logGroup", pattern=r"[\w./#-]{1,512}"),
        network=network,
        load_balancer=balancer,
        desired_count=at.integer("desiredCount", 1, low=1, high=5000),
        strategy=at.choice("strategy", ("rolling", "recreate"), "rolling"),
        timeout=at.integer("timeout", 600, low=30, high=3600),
        failure_threshold=at.integer("failureThreshold", 3, low=1, high=200),
        rollback=at.choice("rollback", ("exact", "render"), "exact"),
        keep_releases=at.integer("keepReleases", 10, low=2, high=100),
        bake=at.optional_integer("bake", low=0, high=3600),
        alarms=at.texts("alarms", least=0, default=[]),
        database=at.optional_object("database", _database),
        verify=verify,
        build=at.optional_object("build", _build) or _build(Fields({}, "build.", [])),
    )
    for index, sidecar in enumerate(spec.sidecars):
        if sidecar.get("name") in (None, container.name):
            at.wrong(f"sidecars[{index}].name", f"needs a name other than {container.name!r}")
        for entry in sidecar.get("environment") or ():
            pair = entry if isinstance(entry, dict) else {}
            if _is_secret(str(pair.get("name", "")), str(pair.get("value", ""))):
                at.wrong(f"sidecars[{index}].environment.{pair['name']}", _NO_SECRETS)
    at.close()
    return spec


def _check_behind(balancer: LoadBalancer, container: Container, at: "Fields") -> None:
    """Check what can go wrong only behind a load balancer."""
    check = container.health_check
    patience = check.start_period + check.interval * check.retries if check else None
    if patience is not None and patience < balancer.grace_period:
        at.wrong(
            "container.healthCheck",
            f"kills a task after {patience} s (startPeriod + interval * retries), while"
            f" loadBalancer.gracePeriod gives it {balancer.grace_period} s to start: leave it out",
        )
    redirects = container.environment.get("CODER_REDIRECT_TO_ACCESS_URL", "false")
    if balancer.url.startswith("https:") and redirects.lower() not in ("false", "0", ""):
        at.wrong(
            "container.environment.CODER_REDIRECT_TO_ACCESS_URL",
            "must be false: HTTPS ends at the load balancer, so Coder would redirect for ever",
        )


def _check_coder(container: Container, at: "Fields") -> None:
    """Check for variables that Coder does not know, and an address with another port."""
    for kind, names in (("environment", container.environment), ("secrets", container.secrets)):
        for name in sorted(names.keys() & MISNAMED_FOR_CODER.keys()):
            at.wrong(f"{kind}.{name}", f"is unknown to Coder: {MISNAMED_FOR_CODER[name]}")
    address = container.environment.get("CODER_HTTP_ADDRESS")
    port_is_valid = at.given("port") == container.port
    if address is not None and port_is_valid and address != f"0.0.0.0:{container.port}":
        at.wrong(
            "environment.CODER_HTTP_ADDRESS",
            f"must be 0.0.0.0:{container.port}, the container's port on every address",
        )


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _CREDENTIALS_IN_URL.search(value))


def _container(at: "Fields", default_name: str) -> Container:
    environment = at.texts_by_name("environment")
    secrets = at.texts_by_name("secrets", pattern=r"arn:aws[a-z-]*:(secretsmanager|ssm):.*")
    for name, value in environment.items():
        if _is_secret(name, value):
            at.wrong(f"environment.{name}", _NO_SECRETS)
        if name in secrets:
            at.wrong(f"environment.{name}", "is under secrets too; ECS refuses the name twice")
    extra = at.mapping("extra")
    for owned in ("name", "image", "environment", "secrets", "portMappings", "logConfiguration"):
        if owned in extra:
            at.wrong(f"extra.{owned}", "is set from the spec's own fields")
    container = Container(
        name=at.text("name", default_name, pattern=_NAME),
        port=at.integer("port", low=1, high=65535),
        environment=environment,
        secrets=secrets,
        health_check=at.optional_object("healthCheck", _health_check),
        stop_timeout=at.optional_integer("stopTimeout", low=1, high=120),
        extra=extra,
    )
    if any(name.startswith("CODER_") for name in (*environment, *secrets)):
        _check_coder(container, at)
    at.close()
    return container


def _health_check(at: "Fields") -> HealthCheck:
    check = HealthCheck(
        command=at.texts("command", least=2),
        interval=at.integer("interval", 30, low=5, high=300),
        timeout=at.integer("timeout", 5, low=2, high=60),
        retries=at.integer("retries", 3, low=1, high=10),
        start_period=at.integer("startPeriod", 0, low=0, high=300),
    )
    if check.command and check.command[0] not in ("CMD", "CMD-SHELL"):
        at.wrong("command[0]", f"{check.command[0]!r} must be CMD or CMD-SHELL")
    at.close()
    return check


def _network(at: "Fields") -> Network:
    network = Network(
        subnets=at.texts("subnets", pattern=r"subnet-[0-9a-f]{8,17}"),
        security_groups=at.texts("securityGroups", pattern=r"sg-[0-9a-f]{8,17}"),
        public_ip=at.boolean("publicIp", False),
    )
    at.close()
    return network


def _load_balancer(at: "Fields") -> LoadBalancer:
    balancer = LoadBalancer(
        target_group=at.text("targetGroup", pattern=_ARN.format(service="elasticloadbalancing")),
        url=at.text("url", pattern=r"https?://[^\s/]+/?").rstrip("/"),
        grace_period=at.integer("gracePeriod", 60, low=0, high=2147483647),
    )
    at.close()
    return balancer


def _database(at: "Fields") -> Database:
    database = Database(
        instance=at.text("instance", pattern=r"[a-zA-Z](-?[a-zA-Z0-9])*"),
        secret=at.optional_text("secret", pattern=_ARN.format(service="secretsmanager")),
        snapshots=at.integer("snapshots", 5, low=1, high=50),
    )
    at.close()
    return database


def _build(at: "Fields") -> Build:
    modes: tuple[BuildMode, ...] = ("nix", "plain", "docker")
    mode = at.choice("mode", modes, "nix")
    version, compile_, image = _COMMANDS[mode]
    build = Build(
        mode=mode,
        version=at.text("version", version),
        compile=at.text("compile", compile_, pattern=r"(?s).*"),
        image=at.text("image", image),
        base_image=at.optional_text("baseImage", pattern=r"\S+@sha256:[0-9a-f]{64}"),
        migrations=at.text("migrations", "coderd/database/migrations/*.up.sql"),
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
        return self._document.get(name)

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

    def boolean(self, name: str, default: bool) -> bool:
        return self._read(name, bool, "true or false", default, default)

    def choice[T: str | int](self, name: str, choices: tuple[T, ...], default: T) -> T:
        self._known.add(name)
        value = cast(T, self._document.get(name, default))
        # in Python 1.0 and true are in (1, 2), in a spec they are not
        if value not in choices or type(value) is not type(choices[0]):
            offered = ", ".join(str(choice) for choice in choices)
            self.wrong(name, f"{_shown(value)} must be one of {offered}")
            return default
        return value

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
        if name in self._document and len(items) < least:
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

    def object(self, name: str) -> "Fields":
        value = self._read(name, dict, "an object", {})
        return Fields(value, f"{self._path}{name}.", self._problems)

    def optional_object[T](self, name: str, read: "Callable[[Fields], T]") -> T | None:
        self._known.add(name)
        return None if self._document.get(name) is None else read(self.object(name))

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

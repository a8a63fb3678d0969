"""Read a service of a compose file as a container of ECS, with those that run the same image.

What ECS has no word for is a problem, with what to write instead; what ECS does in another way is
a note. https://docs.docker.com/reference/compose-file/services/
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cli.origins import dockerfile
from cli.origins.application import Application, as_name, looks_secret, seconds
from cli.origins.interpolation import Variables, variables
from deployer.deploy.documents import PLATFORMS

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_ECR = re.compile(r"[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/([^:@]+)")
_PORT = re.compile(
    r"(?:(?:\[[0-9a-f:]+\]|[0-9.]+):)?(?:(?P<host>[0-9-]*):)?(?P<port>[0-9]+(?:-[0-9]+)?)"
    r"(?:/(?P<kind>tcp|udp))?"
)
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_VARIABLES = re.compile(r"\$\{?(\w+)")
_CAPABILITIES = {"SYS_PTRACE"}  # all that Fargate lets a container have more

_FILES = "Fargate has no files of this machine: COPY them into the image"
_KEEP = "ECS keeps no named volume: name an EFS volume under volumes in taskDefinition"
_NETWORK = "each task on Fargate has a network of its own: listen on a port of the task"
# What ECS has no word for, and what to write instead.
_REFUSED = {
    "cap_drop": "name what to drop in linuxParameters.capabilities.drop of the task definition",
    "cgroup": "Fargate shares no cgroup with its host: leave it out",
    "cgroup_parent": "Fargate shares no cgroup with its host: leave it out",
    "configs": "put the file into the image, or its values into environment",
    "device_cgroup_rules": "Fargate has no devices: leave it out, or run it on ECS on EC2",
    "devices": "Fargate has no devices: leave it out, or run it on ECS on EC2",
    "dns": "a task uses the VPC's resolver: set it in the VPC's DHCP options",
    "dns_opt": "a task uses the VPC's resolver: set it in the VPC's DHCP options",
    "dns_search": "a task uses the VPC's resolver: set it in the VPC's DHCP options",
    "extends": "write the file out: docker compose config > compose.whole.yaml",
    "external_links": "use the other service's address in the VPC: put it into environment",
    "extra_hosts": "a task on Fargate has no hosts of its own: use names of Route 53",
    "gpus": "Fargate has no GPU: run it on ECS on EC2",
    "group_add": "name the group in user: uid:gid",
    "ipc": "Fargate shares no memory between tasks: leave it out",
    "isolation": "Fargate isolates each task: leave it out",
    "links": "use the other service's address in the VPC: put it into environment",
    "mac_address": "a task's address is ECS's: leave it out",
    "oom_score_adj": "leave it out: ECS stops a task that uses more than its memory",
    "pid": "leave it out, or set pidMode: task in taskDefinition",
    "post_start": "do it in the image's entrypoint",
    "pre_stop": "do it in the application, when it gets SIGTERM",
    "privileged": "Fargate runs nothing privileged: leave it out, or run it on ECS on EC2",
    "provider": "it is not a container: set its values in environment",
    "runtime": "Fargate has one runtime: leave it out",
    "security_opt": "Fargate has its own: leave it out",
    "shm_size": "/dev/shm has 64 MB on Fargate: use another directory",
    "storage_opt": "set ephemeralStorage in taskDefinition",
    "tmpfs": "write to a directory of the container, which has 20 GiB",
    "use_api_socket": "a task has no Docker: leave it out",
    "userns_mode": "Fargate isolates each task: leave it out",
    "uts": "Fargate isolates each task: leave it out",
    "volumes_from": "name the volume under volumes and mountPoints in taskDefinition",
}
# What ECS does in another way, or only compose needs.
_OTHERWISE = {
    "annotations": "",
    "attach": "",
    "blkio_config": "Fargate shares no disk",
    "container_name": "",
    "cpu_count": "",
    "cpu_percent": "",
    "cpu_period": "",
    "cpu_quota": "",
    "cpu_rt_period": "",
    "cpu_rt_runtime": "",
    "cpu_shares": "",
    "cpuset": "",
    "credential_spec": "",
    "develop": "",
    "domainname": "",
    "hostname": "ECS names a task's host",
    "label_file": "",
    "logging": "the log goes to CloudWatch Logs",
    "mem_reservation": "",
    "mem_swappiness": "",
    "memswap_limit": "",
    "networks": "the tasks' subnets and security groups say who reaches whom",
    "oom_kill_disable": "",
    "profiles": "",
    "pull_policy": "each release is pulled by its digest",
    "restart": "ECS replaces each task that stops",
}
_DEPLOY_OTHERWISE = (
    *("endpoint_mode", "labels", "placement", "restart_policy", "rollback_config"),
    *("update_config", "mode"),
)


class NotCompose(ValueError):
    """The file is not a compose file, or does not say which of its services it is about."""


def services(file: Path, environment: Mapping[str, str]) -> tuple[dict[str, Any], Variables]:
    """Return the services of a compose file with their variables filled in.

    Args:
        environment: variables, which go before those of `.env` beside the file.
    Raises:
        NotCompose: it cannot be read as one.
    """
    try:
        document = yaml.safe_load(file.read_text())
    except OSError as error:
        raise NotCompose(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NotCompose(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or not services:
        raise NotCompose(f"{file} has no services, so it is not a compose file")
    if wrong := [name for name, service in services.items() if not isinstance(service, dict)]:
        raise NotCompose(f"{file}: services.{wrong[0]} must be an object")
    if "include" in document:
        raise NotCompose(f"{file} includes others: docker compose config > compose.whole.yaml")
    beside = file.parent / ".env"
    values = variables(beside.read_text()) if beside.is_file() else {}
    return services, Variables({**values, **environment})


def choose(found: Mapping[str, Any], asked: str | None) -> list[str]:
    """Return the services that may be meant: one, or all that could be."""
    if asked:
        return [asked] if asked in found else []
    built = [name for name, service in found.items() if "build" in service]
    ours = [name for name, s in found.items() if _ECR.match(str(s.get("image", "")))]
    return next((names for names in (built, ours) if names), list(found))


def of_same_image(name: str, services: Mapping[str, Any]) -> list[str]:
    """Return the other services that are built in the same way, or name the same image."""
    images = _images(services[name])
    return [other for other in services if other != name and images & _images(services[other])]


def _images(service: Mapping[str, Any]) -> set[str]:
    """Return what says which image a service runs: how it is built, and its name."""
    build, name = service.get("build"), service.get("image")
    given = build if isinstance(build, Mapping) else {"context": build}
    fields = {"dockerfile": "Dockerfile", **given, "context": str(given.get("context") or ".")}
    fields["context"] = Path(fields["context"]).as_posix()  # ./ is .
    built = json.dumps(fields, sort_keys=True, default=str)
    return {*([built] if build else ()), *([str(name)] if name else ())}


def read(
    file: Path,
    name: str,
    services: Mapping[str, Any],
    values: Variables,
    also: Sequence[str] = (),
) -> Application:
    """Return a service of a compose file as a container of ECS.

    A task of the same image that it waits for to complete becomes the task before each rollout.

    Args:
        also: services that each release rolls out to, too; those of another image are left out.
    """
    same = of_same_image(name, services)
    before = next((other for other in _completes(services[name]) if other in same), None)
    application = _application(file, name, services[name], values, before)
    for other in also:
        if other in same and other != before:
            part = _application(file, other, services[other], values, before)
            _leave_out_anothers(part, services[other])
            application.take(part, other)
            application.further[other] = part
    if before:
        _take_before(application, _application(file, before, services[before], values), before)
    application.problems += values.problems
    if unset := sorted(values.unset):
        application.problems.append(
            f"not set, and without a default: {', '.join(unset)}: set it, or write"
            f" ${{{unset[0]}:-default}}"
        )
    left = [other for other in services if other not in (name, before, *application.further)]
    if could := [other for other in left if other in same]:
        application.notes.append(
            f"not in the spec, but of the same image: {', '.join(could)}; to release them together:"
            f" --with {','.join([*application.further, *could])}"
        )
    if others := [other for other in left if other not in same]:
        application.notes.append(
            f"not in the spec: {', '.join(others)}; each is a service of its own, at its own"
            " address"
        )
    return application


def _completes(service: Mapping[str, Any]) -> list[str]:
    """Return the services that a service waits for to complete before it starts."""
    awaited = service.get("depends_on")
    return [
        name
        for name, how in (awaited.items() if isinstance(awaited, Mapping) else ())
        if isinstance(how, Mapping) and how.get("condition") == "service_completed_successfully"
    ]


def _application(
    file: Path, name: str, fields: Mapping[str, Any], values: Variables, before: str | None = None
) -> Application:
    """Return one service as a container of ECS.

    Args:
        before: the service that is the task before each rollout, so that it is waited for.
    """
    application = Application(as_name(name), f"{file.name}, service {name}")
    environment = fields.get("environment") or {}
    service = values.fill({**fields, "environment": None})
    if before and isinstance(awaited := service.get("depends_on"), Mapping):
        service["depends_on"] = {n: how for n, how in awaited.items() if n != before} or None
    reader = _Service(application, service, file.parent)
    reader.read()
    application.environment(reader.variables(environment, values))
    return application


def _leave_out_anothers(application: Application, fields: Mapping[str, Any]) -> None:
    """Leave out what the image says of its own command, if a service runs another one.

    Docker shows such a worker as unhealthy; ECS would stop it.
    """
    if not {"command", "entrypoint"} & fields.keys():
        return
    if not {"ports", "expose"} & fields.keys():
        application.ports = []
    if "healthcheck" not in fields and application.container.pop("healthCheck", None):
        application.notes.append(
            "healthcheck: the image's is left out, since another command runs; name its own"
        )


def _take_before(application: Application, task: Application, name: str) -> None:
    """Take the command of a service as the task before each rollout, if ECS can run it so."""
    command = task.container.get("command")
    if not command or task.container.get("entryPoint") != application.container.get("entryPoint"):
        application.notes.append(
            f"not in the spec: {name}; a task before each rollout runs with the image's entrypoint:"
            " write its words as command"
        )
        return
    application.take(task, name)
    application.before = command
    if missing := sorted(task.variables - application.variables):
        application.notes.append(
            f"{name}: runs before each rollout with the variables of {application.name}, which"
            f" lacks {', '.join(missing)}: add them there"
        )


class _Service:
    """One service of a compose file, field by field."""

    def __init__(self, application: Application, service: Mapping[str, Any], at: Path) -> None:
        self._into, self._fields, self._at = application, service, at

    def read(self) -> None:
        readers: Mapping[str, Callable[[Any], None]] = {
            "build": self._build,
            "cap_add": self._capabilities,
            "command": lambda value: self._words("command", value),
            "cpus": self._cpus,
            "depends_on": self._depends_on,
            "deploy": self._deploy,
            "entrypoint": lambda value: self._words("entryPoint", value),
            "env_file": lambda value: None,  # with environment
            "environment": lambda value: None,
            "expose": self._expose,
            "healthcheck": self._health_check,
            "image": self._image,
            "init": self._init,
            "labels": self._labels,
            "mem_limit": self._memory,
            "network_mode": self._network_mode,
            "platform": self._platform,
            "ports": self._ports,
            "read_only": lambda value: self._put("readonlyRootFilesystem", value, bool),
            "scale": self._count,
            "secrets": self._secrets,
            "stdin_open": lambda value: self._put("interactive", value, bool),
            "stop_grace_period": self._stop,
            "stop_signal": self._stop_signal,
            "sysctls": self._sysctls,
            "tty": lambda value: self._put("pseudoTerminal", value, bool),
            "ulimits": self._ulimits,
            "user": lambda value: self._put("user", str(value), str),
            "volumes": self._volumes,
            "working_dir": lambda value: self._put("workingDirectory", value, str),
        }
        for name in sorted(self._fields, key=lambda field: field != "build"):  # what it has counts
            value = self._fields[name]
            if name.startswith("x-") or value is None:
                continue
            if name in readers:
                try:
                    readers[name](value)
                except (ValueError, TypeError, AttributeError, KeyError) as error:
                    self._wrong(name, f"cannot be read: {error}")
            elif name in _REFUSED:
                self._wrong(name, _REFUSED[name])
            elif name in _OTHERWISE:
                self._note(name, _OTHERWISE[name] or "ECS does not use it")
            else:
                self._wrong(name, "unknown field of compose")

    def _wrong(self, name: str, why: str) -> None:
        self._into.problems.append(f"{name}: {why}")

    def _note(self, name: str, why: str) -> None:
        self._into.notes.append(f"{name}: {why}")

    def _put(self, name: str, value: Any, kind: type) -> None:
        if not isinstance(value, kind):
            raise ValueError(f"not a {kind.__name__}")
        self._into.container[name] = value

    def _build(self, value: Any) -> None:
        build = {"context": value} if isinstance(value, str) else dict(value)
        context = self._at / str(build.get("context", "."))
        file = context / str(build.get("dockerfile", "Dockerfile"))
        if build.get("target"):
            self._note("build", f"build the image with --target {build['target']}")
        elif file.is_file():
            made = dockerfile.read(file, file.read_text(errors="replace"))
            self._into.ports += made.ports if "ports" not in self._fields else []
            self._into.platform = made.platform
            self._into.notes += made.notes
            self._into.problems += made.problems
            if "healthCheck" in made.container:
                self._into.container["healthCheck"] = made.container["healthCheck"]
        if args := build.get("args"):
            names = args if isinstance(args, Mapping) else [str(arg).split("=")[0] for arg in args]
            self._note("build", "build the image with --build-arg " + ", ".join(names))

    def _image(self, value: Any) -> None:
        if match := _ECR.match(str(value)):
            self._into.repository = match[1]
        elif "build" not in self._fields:
            self._note("image", f"push {value} to the repository in ECR: a push there deploys")

    def _words(self, name: str, value: Any) -> None:
        words = shlex.split(value) if isinstance(value, str) else [str(word) for word in value]
        if looks_secret("WORDS", " ".join(words)):
            self._wrong(name, "has a credential in it: read it from a variable, as a secret")
        elif words:
            self._into.container[name] = words

    def variables(self, given: Any, known: Variables) -> dict[str, str]:
        """Return the variables of `env_file` and `environment`, filled in."""
        values: dict[str, str] = {}
        for path, required in self._env_files():
            if path.is_file():
                values |= variables(path.read_text(errors="replace"))
            elif required:
                self._wrong("env_file", f"{path} is missing")
        if isinstance(given, list):
            pairs = (str(entry).partition("=") for entry in given)
            given = {name: value if equals else None for name, equals, value in pairs}
        if not isinstance(given, Mapping):
            self._wrong("environment", "must be an object, or a list of NAME=value")
            return values
        for name, value in given.items():
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            # a secret is not written, so its variables need no value either
            secret = any(map(looks_secret, (str(name), *_VARIABLES.findall(shown))))
            if secret:
                values.pop(str(name), None)
                self._into.secrets.append(str(name))
            elif value is None:
                self._wrong(f"environment.{name}", "has no value: give it one")
            else:
                values[str(name)] = known.fill(shown, f"environment.{name}")
        return values

    def _env_files(self) -> Sequence[tuple[Path, bool]]:
        given = self._fields.get("env_file") or []
        entries = given if isinstance(given, list) else [given]
        return [
            (self._at / str(entry.get("path")), entry.get("required", True) is not False)
            if isinstance(entry, Mapping)
            else (self._at / str(entry), True)
            for entry in entries
        ]

    def _ports(self, value: Sequence[Any]) -> None:
        for entry in value:
            if isinstance(entry, Mapping):
                host, port = str(entry.get("published", "")), str(entry["target"])
                kind = str(entry.get("protocol", "tcp"))
            elif match := _PORT.fullmatch(str(entry)):
                host, port, kind = match["host"] or "", match["port"], match["kind"] or "tcp"
            else:
                self._wrong("ports", f"{entry} is not a port such as 8080:80")
                continue
            if kind == "udp":
                self._note("ports", f"{entry}: UDP; add it to portMappings if it is needed")
                continue
            self._listen(port)
            if host and host != port:
                self._note("ports", f"{host}:{port}: a task is reached at its own port, {port}")

    def _expose(self, value: Sequence[Any]) -> None:
        for entry in value:
            self._listen(str(entry).removesuffix("/tcp"))

    def _listen(self, port: str) -> None:
        first, _, last = port.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if len(numbers) > 100 or not 0 < numbers[0] <= numbers[-1] < 65536:
            raise ValueError(f"{port} is not a port, or too many")
        self._into.ports += [number for number in numbers if number not in self._into.ports]

    def _health_check(self, value: Mapping[str, Any]) -> None:
        test = value.get("test")
        words = ["CMD-SHELL", test] if isinstance(test, str) else [str(w) for w in test or ()]
        if value.get("disable") or words[:1] == ["NONE"]:
            self._into.container.pop("healthCheck", None)
            return
        if not words:
            words = self._into.container.get("healthCheck", {}).get("command", [])
        if words[:1] not in (["CMD"], ["CMD-SHELL"]):
            raise ValueError("test must begin with CMD, CMD-SHELL or NONE")
        names = {"interval": "interval", "timeout": "timeout", "start_period": "startPeriod"}
        values = {ours: seconds(value[name]) for name, ours in names.items() if name in value}
        if "retries" in value:
            values["retries"] = int(value["retries"])
        if "start_interval" in value:
            self._note("healthcheck.start_interval", "ECS does not use it")
        self._into.check(words, values)

    def _deploy(self, value: Mapping[str, Any]) -> None:
        for name, given in value.items():
            if name == "replicas":
                self._count(given)
            elif name == "resources":
                limits = given.get("limits") or {}
                if "cpus" in limits:
                    self._cpus(limits["cpus"])
                if "memory" in limits:
                    self._memory(limits["memory"])
                if (given.get("reservations") or {}).get("devices"):
                    self._wrong("deploy.resources.reservations.devices", _REFUSED["gpus"])
            elif name == "mode" and str(given).startswith("global"):
                self._wrong("deploy.mode", "Fargate has no hosts to run one on each: name replicas")
            elif name in _DEPLOY_OTHERWISE:
                self._note(f"deploy.{name}", "the deployer's strategy, timeout and rollback count")
            else:
                self._wrong(f"deploy.{name}", "unknown field of compose")

    def _count(self, value: Any) -> None:
        self._into.count = int(value)
        if self._into.count < 1:
            raise ValueError("ECS starts at least one task")

    def _cpus(self, value: Any) -> None:
        self._into.cpu = round(float(value) * 1024)

    def _memory(self, value: Any) -> None:
        match = _BYTES.fullmatch(str(value))
        if not match:
            raise ValueError(f"{value} is not a size such as 512m")
        size = float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")
        self._into.memory = round(size / 2**20)

    def _depends_on(self, value: Any) -> None:
        names = ", ".join(value)
        self._note(
            "depends_on",
            f"{names}: ECS does not wait for another service; try again in the application, and"
            " name its address in environment",
        )

    def _init(self, value: Any) -> None:
        self._into.container["linuxParameters"] = {"initProcessEnabled": bool(value)}

    def _labels(self, value: Any) -> None:
        pairs = (
            value.items()
            if isinstance(value, Mapping)
            else (str(entry).partition("=")[::2] for entry in value)
        )
        self._into.container["dockerLabels"] = {str(name): str(text) for name, text in pairs}

    def _network_mode(self, value: Any) -> None:
        if str(value) in ("bridge", "default"):
            self._note("network_mode", "each task has an address of its own")
        else:
            self._wrong("network_mode", f"{value}: {_NETWORK}")

    def _platform(self, value: Any) -> None:
        if value not in PLATFORMS:
            raise ValueError(f"Fargate runs {' or '.join(PLATFORMS)}, not {value}")
        self._into.platform = str(value)

    def _capabilities(self, value: Sequence[str]) -> None:
        wrong = [name for name in value if name not in _CAPABILITIES]
        if wrong:
            self._wrong(
                "cap_add", f"{', '.join(wrong)}: Fargate adds only SYS_PTRACE: leave it out"
            )

    def _secrets(self, value: Sequence[Any]) -> None:
        for entry in value:
            name = str(entry["source"] if isinstance(entry, Mapping) else entry)
            variable = re.sub(r"\W", "_", name).upper()
            self._wrong(
                f"secrets.{name}",
                f"ECS hands over a secret as a variable, not as /run/secrets/{name}: read"
                f" {variable} in the application, and name it under environment",
            )

    def _stop(self, value: Any) -> None:
        most = 120  # seconds, on Fargate
        self._into.container["stopTimeout"] = int(min(max(seconds(value), 2), most))
        if seconds(value) > most:
            self._note("stop_grace_period", f"{value} becomes {most} s, the most of Fargate")

    def _stop_signal(self, value: Any) -> None:
        if value != "SIGTERM":
            self._wrong("stop_signal", f"set it in the image: STOPSIGNAL {value} in the Dockerfile")

    def _sysctls(self, value: Any) -> None:
        pairs = (
            value.items()
            if isinstance(value, Mapping)
            else (str(entry).partition("=")[::2] for entry in value)
        )
        self._into.container["systemControls"] = [
            {"namespace": str(name), "value": str(text)} for name, text in pairs
        ]

    def _ulimits(self, value: Mapping[str, Any]) -> None:
        for name, limit in value.items():
            if name != "nofile":
                self._wrong(f"ulimits.{name}", "Fargate lets set nofile only: leave it out")
                continue
            soft, hard = (
                (limit["soft"], limit["hard"]) if isinstance(limit, Mapping) else (limit, limit)
            )
            self._into.container["ulimits"] = [
                {"name": name, "softLimit": int(soft), "hardLimit": int(hard)}
            ]

    def _volumes(self, value: Sequence[Any]) -> None:
        for entry in value:
            if isinstance(entry, Mapping):
                source, target = str(entry.get("source", "")), str(entry.get("target", ""))
                kind = str(entry.get("type", "volume"))
                shown = f"{source}:{target}".lstrip(":")
            else:
                shown = str(entry)
                source, colon, target = shown.partition(":")
                source, target = (source, target) if colon else ("", source)
                kind = "bind" if source.startswith((".", "/", "~")) else "volume"
            if kind == "volume" and not source:
                self._note("volumes", f"{target}: what is written there is lost with the task")
                continue
            why = {"bind": _FILES, "tmpfs": _REFUSED["tmpfs"]}.get(kind, _KEEP)
            self._wrong("volumes", f"{shown}: {why}")

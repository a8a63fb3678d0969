"""What a file or a person says of an application, in the words of ECS. Asks nothing of AWS."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.deploy.spec import is_secret
from deployer.redaction import redact_all

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
_SIZES: Sequence[tuple[int, Sequence[int]]] = (
    (256, (512, 1024, 2048)),
    (512, range(1024, 4096 + 1, 1024)),
    (1024, range(2048, 8192 + 1, 1024)),
    (2048, range(4096, 16384 + 1, 1024)),
    (4096, range(8192, 30720 + 1, 1024)),
    (8192, range(16384, 61440 + 1, 4096)),
    (16384, range(32768, 122880 + 1, 8192)),
)
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
_CHECK_LIMITS = {
    "interval": (5, 300),
    "timeout": (2, 60),
    "retries": (1, 10),
    "startPeriod": (0, 300),
}
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_OWN_URL = r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::(\d+|\$[{\w][^/\s]*))?(/[!#-&(-;=?-~]*)?"


@dataclass
class Application:
    """A container, as a container definition of ECS without name, image and log.

    Attributes:
        ports: those on which it listens, over TCP.
        cpu, memory: what it may use at most, in CPU units and MiB; 0 if nothing says so.
        secrets: the variables that look like secrets; their values are not kept.
        repository: the ECR repository of its image, if the file names one.
        before: the command of a task before each rollout; empty without one.
        further: the other services of the application, which run the same image, by name.
        notes: what ECS does otherwise than the file says.
        problems: what ECS has no word for, and what to write instead.
    """

    name: str
    origin: str
    container: dict[str, Any] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    cpu: int = 0
    memory: int = 0
    count: int = 1
    platform: str = "linux/amd64"
    secrets: list[str] = field(default_factory=list)
    repository: str | None = None
    before: Sequence[str] = ()
    further: dict[str, "Application"] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take(self, other: "Application", name: str) -> None:
        """Take the notes and problems of another service of the application, by its name."""
        self.notes += [f"{name}: {note}" for note in other.notes]
        self.problems += [f"{name}: {problem}" for problem in other.problems]

    @property
    def variables(self) -> set[str]:
        """The names of its variables and secrets."""
        plain = {entry["name"] for entry in self.container.get("environment", ())}
        return plain | {*self.secrets}

    def environment(self, values: Mapping[str, str]) -> None:
        """Take variables; one that looks like a secret only by its name."""
        for name, value in values.items():
            if looks_secret(name, value):
                self.secrets.append(name)
            else:
                self.container.setdefault("environment", []).append({"name": name, "value": value})

    def check(self, command: Sequence[str], values: Mapping[str, float]) -> None:
        """Take a health check, within the limits that ECS sets.

        Args:
            values: interval, timeout and startPeriod in seconds, and retries.
        """
        check: dict[str, Any] = {"command": list(command)}
        for name, value in values.items():
            low, high = _CHECK_LIMITS[name]
            check[name] = int(min(max(value, low), high))
            if check[name] != value:
                self.notes.append(f"health check: {name} {value:g} becomes {check[name]} (ECS)")
        self.container["healthCheck"] = check

    def asked_path(self, port: int) -> str | None:
        """Return the path that the health check requests at a port; None if it requests none."""
        command = " ".join(self.container.get("healthCheck", {}).get("command", ()))
        for at, path in re.findall(_OWN_URL, command):
            if at.startswith("$") or int(at or 80) == port:
                return path or "/"
        return None


def looks_secret(name: str, value: str = "some-value") -> bool:
    """Return whether a variable looks like a secret, by its name or by its value."""
    return is_secret(name, value) or redact_all({name: value})[name] != value


def seconds(duration: object) -> float:
    """Return the seconds of a duration such as `1m30s`.

    Raises:
        ValueError: it is not a duration.
    """
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        return float(duration)
    parts = _DURATION.findall(str(duration))
    if not parts or "".join(number + unit for number, unit in parts) != str(duration):
        raise ValueError(f"{duration!r} is not a duration such as 30s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def size(cpu: int, memory: int) -> tuple[int, int] | None:
    """Return the smallest size of Fargate with so many CPU units and MiB; None if none is."""
    fits = ((c, m) for c, sizes in _SIZES for m in sizes if c >= cpu and m >= memory)
    return next(fits, None)


def as_name(text: str) -> str:
    """Return a text as the name of a service, such as that of a directory; "" if nothing fits."""
    return (
        re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-").lstrip("0123456789-")[:25].rstrip("-")
    )

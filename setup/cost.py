"""Estimate what the idle stacks cost a month, from the settings.

Uses the list prices of us-east-1 in dollars, as docs/cost.md explains; other Regions differ by some
percent. Nothing here calls AWS.
"""

from collections.abc import Callable, Collection, Mapping

HOURS = 730
# https://aws.amazon.com/rds/postgresql/pricing/: an hour, in one zone
CLASSES = {
    "db.t4g.micro": 0.016,
    "db.t4g.small": 0.032,
    "db.t4g.medium": 0.065,
    "db.t4g.large": 0.129,
    "db.m7g.large": 0.1685,
}
_FARGATE = {"linux/amd64": (0.04048, 0.004445), "linux/arm64": (0.03238, 0.00356)}
_INSIGHTS = {"disabled": 0.0, "enabled": 7.5, "enhanced": 10.5}
_ADDRESS, _GATEWAY, _BALANCER = 0.005, 0.045, 0.0225

type Values = Mapping[str, str]


def monthly(kinds: Collection[str], values: Values) -> dict[str, float]:
    """Return the dollars a month of each stack.

    Args:
        kinds: the kinds of the stacks.
        values: effective settings.
    """
    return {kind: round(_OF[kind](values), 2) for kind in kinds if kind in _OF}


def unknown(kinds: Collection[str], values: Values) -> str:
    """Return what the sums do not include, in words; "" if they include everything."""
    instance = values.get("DatabaseClass", "")
    missing = "database" in kinds and instance not in CLASSES
    return f"without {instance}, whose price is unknown here" if missing else ""


def _public_tasks(values: Values) -> bool:
    return values.get("PrivateTasks") != "true"


def _tasks(values: Values) -> int:
    return int(values.get("DesiredCount") or 1)


def _network(values: Values) -> float:
    if _public_tasks(values) or values.get("VpcId"):
        return 0
    return HOURS * (_GATEWAY + _ADDRESS) * int(values.get("NatGateways") or 1)


def _database(values: Values) -> float:
    zones = 2 if values.get("DatabaseMultiAz") == "true" else 1
    storage = int(values.get("DatabaseStorageGiB") or 20) * 0.115
    secrets = 2 * 0.40
    price = CLASSES.get(values.get("DatabaseClass", ""), 0)
    return zones * (HOURS * price + storage) + secrets


def _load_balancer(values: Values) -> float:
    firewall = 0 if values.get("Firewall") == "false" else 5 + 4
    return HOURS * (_BALANCER + 2 * _ADDRESS) + firewall


def task(cpu: int, memory: int, platform: str = "linux/amd64") -> float:
    """Return the dollars a month of a Fargate task."""
    vcpu, gigabyte = _FARGATE.get(platform, _FARGATE["linux/amd64"])
    return HOURS * (cpu / 1024 * vcpu + memory / 1024 * gigabyte)


def _service(values: Values) -> float:
    size = int(values.get("Cpu") or 1024), int(values.get("Memory") or 2048)
    price = task(*size, values.get("Platform", "linux/amd64"))
    price += HOURS * _ADDRESS if _public_tasks(values) else 0
    images = 0.50 if int(values.get("KeepImages") or 50) <= 50 else 1.00
    insights = _INSIGHTS.get(values.get("ContainerInsights", "enabled"), 0)
    log_lines = 0.50 if _public_tasks(values) else 1.00
    return _tasks(values) * price + insights + log_lines + images


def _monitoring(values: Values) -> float:
    key = 0 if values.get("AlarmTopicArn") else 1.00
    return 12 * 0.10 + key


def _deployer(values: Values) -> float:
    return 0.20


def _notifications(values: Values) -> float:
    """Alarms, secrets, and Lambda's polling of the queue: 650,000 empty requests."""
    queued = [values.get(name) == "true" for name in ("Slack", "Webhook")]
    github = 2 * 0.10 + 0.40 if values.get("GitHubRepositories") else 0
    return github + sum(queued) * 0.40 + (2 * 0.10 + 0.26 if any(queued) else 0)


def _docs(values: Values) -> float:
    return 0  # by use: a few cents for storage and requests


_OF: Mapping[str, Callable[[Values], float]] = {
    "network": _network,
    "database": _database,
    "load-balancer": _load_balancer,
    "service": _service,
    "deployer": _deployer,
    "monitoring": _monitoring,
    "notifications": _notifications,
    "docs": _docs,
}

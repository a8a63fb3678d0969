"""What a compose file says of a service, and what ECS has no word for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.origins import compose
from cli.origins.application import Application


def read(
    tmp_path: Path,
    service: Any,
    name: str = "api",
    also: Sequence[str] = (),
    **environment: str,
) -> Application:
    file = tmp_path / "compose.yaml"
    document = service if "services" in service else {"services": {name: service}}
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    services, variables = compose.services(file, environment)
    return compose.read(file, name, services, variables, also)


def test_what_ecs_has_words_for_is_taken(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM --platform=linux/arm64 x\nEXPOSE 1\nUSER app")
    found = read(
        tmp_path,
        {
            "build": ".",
            "command": "serve --port 8080",
            "entrypoint": ["/bin/app"],
            "environment": ["MODE=web", "DEBUG=false"],
            "ports": ["127.0.0.1:80:8080", {"target": 9090, "published": "9090"}, "53:53/udp"],
            "healthcheck": {
                "test": ["CMD", "curl", "-f", "http://localhost:8080/up"],
                "interval": "10s",
                "start_period": "1m",
                "retries": 4,
            },
            "deploy": {"replicas": 3, "resources": {"limits": {"cpus": "0.5", "memory": "1.5G"}}},
            "stop_grace_period": "3m",
            "read_only": True,
            "init": True,
            "user": 1000,
            "working_dir": "/srv",
            "ulimits": {"nofile": {"soft": 1024, "hard": 4096}},
            "labels": ["team=web"],
            "x-anything": 1,
        },
    )
    assert not found.problems
    assert (found.ports, found.count) == ([8080, 9090], 3)
    assert (found.cpu, found.memory, found.platform) == (512, 1536, "linux/arm64")
    assert found.asked_path(8080) == "/up"
    assert found.container == {
        "command": ["serve", "--port", "8080"],
        "entryPoint": ["/bin/app"],
        "environment": [{"name": "MODE", "value": "web"}, {"name": "DEBUG", "value": "false"}],
        "healthCheck": {
            "command": ["CMD", "curl", "-f", "http://localhost:8080/up"],
            "interval": 10,
            "startPeriod": 60,
            "retries": 4,
        },
        "stopTimeout": 120,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"initProcessEnabled": True},
        "user": "1000",
        "workingDirectory": "/srv",
        "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}],
        "dockerLabels": {"team": "web"},
    }
    assert any("80:8080" in note for note in found.notes)
    assert any("UDP" in note for note in found.notes)


def test_all_that_ecs_has_no_word_for_is_refused_at_once(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "image": "x",
            "volumes": ["./src:/app", "data:/var/lib/data", {"type": "tmpfs", "target": "/tmp"}],
            "network_mode": "host",
            "privileged": True,
            "devices": ["/dev/kvm"],
            "cap_add": ["NET_ADMIN"],
            "secrets": ["db_password"],
            "extends": {"service": "base"},
            "ports": ["web"],
            "healthcheck": {"test": ["curl"]},
            "deploy": {"mode": "global", "surprise": 1},
            "surprise": 1,
            "mem_limit": "lots",
        },
    )
    for part in (
        *("./src:/app", "data:/var/lib/data", "/tmp", "network_mode: host", "privileged"),
        *("devices", "NET_ADMIN", "DB_PASSWORD", "extends", "ports: web", "healthcheck"),
        *("deploy.mode", "deploy.surprise", "surprise: unknown", "mem_limit"),
    ):
        assert any(part in line for line in found.problems), part
    assert all(": " in line for line in found.problems)


def test_what_only_compose_needs_is_a_note(tmp_path: Path) -> None:
    services = {
        "api": {
            "build": {"context": ".", "target": "final"},
            "depends_on": {"db": {"condition": "service_healthy"}},
            "restart": "always",
            "networks": ["back"],
        },
        "db": {"image": "postgres:16"},
    }
    found = read(tmp_path, {"services": services})
    assert not found.problems
    for part in (
        "db: ECS does not wait",
        "--target final",
        "restart",
        "networks",
        "not in the spec",
    ):
        assert any(part in note for note in found.notes), part


@pytest.mark.parametrize(
    ("service", "other", "same"),
    [
        ({"build": "."}, {"build": {"context": "./"}}, True),
        ({"build": "."}, {"build": {"context": ".", "dockerfile": "Dockerfile"}}, True),
        ({"build": ".", "image": "shop"}, {"image": "shop"}, True),
        ({"build": "."}, {"build": {"target": "worker"}}, False),
        ({"build": "./web"}, {"build": "./worker"}, False),
        ({"build": "."}, {"image": "postgres"}, False),
        ({}, {}, False),
        ({"build": ["."]}, {"build": None}, False),
    ],
)
def test_services_of_the_same_image_are_known(service: Any, other: Any, same: bool) -> None:
    services = {"web": service, "worker": other}
    assert compose.of_same_image("web", services) == (["worker"] if same else [])


def test_services_of_the_same_image_follow_the_same_releases(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM x\nEXPOSE 8080\nHEALTHCHECK CMD curl http://localhost:8080/\n"
    )
    services = {
        "web": {
            "build": ".",
            "depends_on": {
                "migrate": {"condition": "service_completed_successfully"},
                "db": {"condition": "service_healthy"},
            },
        },
        "worker": {
            "build": ".",
            "command": "work --all",
            "cpus": 2,
            "environment": {"QUEUE": "${QUEUE}", "API_TOKEN": "x"},
            "depends_on": {"migrate": {"condition": "service_completed_successfully"}},
            "tmpfs": "/cache",
        },
        "migrate": {"build": ".", "command": ["migrate", "up"], "environment": {"STEPS": "9"}},
        "shell": {"build": ".", "command": "sh"},
        "db": {"image": "postgres:16"},
    }
    application = read(tmp_path, {"services": services}, "web", ("worker", "db", "migrate", "no"))
    assert application.before == ["migrate", "up"]
    assert application.ports == [8080] and "healthCheck" in application.container
    (worker,) = application.further.values()
    assert (worker.name, worker.cpu, worker.secrets) == ("worker", 2048, ["API_TOKEN"])
    # the image's port and check are those of its own command
    assert worker.container["command"] == ["work", "--all"]
    assert not worker.ports and "healthCheck" not in worker.container
    assert any(problem.startswith("worker: tmpfs: ") for problem in application.problems)
    assert any("QUEUE" in problem for problem in application.problems)
    waits = [note for note in application.notes if "does not wait" in note]
    assert len(waits) == 1 and "db" in waits[0] and "migrate" not in waits[0]
    for part in ("worker: healthcheck", "STEPS", "--with worker,shell", "not in the spec: db"):
        assert any(part in note for note in application.notes), part


def test_a_task_that_needs_an_entrypoint_of_its_own_is_told_and_not_taken(tmp_path: Path) -> None:
    completed = {"migrate": {"condition": "service_completed_successfully"}}
    services = {
        "web": {"build": ".", "depends_on": completed},
        "migrate": {"build": ".", "entrypoint": ["migrate"], "command": ["up"]},
    }
    application = read(tmp_path, {"services": services}, "web")
    assert application.before == ()
    assert any("migrate" in note and "entrypoint" in note for note in application.notes)
    services["migrate"] = {"image": "other", "command": ["up"]}
    application = read(tmp_path, {"services": services}, "web")
    assert application.before == ()
    assert any("migrate: ECS does not wait" in note for note in application.notes)


SECRETS = {
    "DATABASE_URL": "postgres://app:${PW}@db/app",
    "API_TOKEN": "${API_TOKEN:?needed}",
    "GITHUB_TOKEN": None,
    "SESSION": "${SESSION_SECRET}",
    "PLAIN": "${PLAIN:-yes}",
    "HOOK": "https://ann:hunter2hunter2@example.com",
}


def test_secrets_are_named_and_their_values_kept_nowhere(tmp_path: Path) -> None:
    (tmp_path / "more.env").write_text("MAIL_PASSWORD='hunter2hunter2'\nexport LEVEL=info # x\n")
    service = {"image": "x", "environment": SECRETS, "env_file": "more.env"}
    found = read(tmp_path, service, PW="hunter2hunter2")
    assert set(found.secrets) == SECRETS.keys() - {"PLAIN"} | {"MAIL_PASSWORD"}
    assert not found.problems
    plain = {entry["name"]: entry["value"] for entry in found.container["environment"]}
    assert plain == {"PLAIN": "yes", "LEVEL": "info"}
    assert "hunter2" not in repr(found)


def test_a_credential_in_a_command_is_refused(tmp_path: Path) -> None:
    found = read(tmp_path, {"image": "x", "command": "run --db postgres://a:hunter2hunter2@db/a"})
    assert "command" in found.problems[0] and "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("$A-$$A", "1-$A"),
        ("${E:-x}/${E-x}", "x/"),
        ("${U-${A}}", "1"),
        ("${U:-{}}", "{}"),
        ("${A:+y}${U+z}", "y"),
    ],
)
def test_variables_are_filled_as_compose_does(tmp_path: Path, text: str, value: str) -> None:
    found = read(tmp_path, {"image": "x", "working_dir": text}, A="1", E="")
    assert (found.container["workingDirectory"], found.problems) == (value, [])


def test_a_variable_without_a_value_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KNOWN=1\n")
    service = {
        "image": "x",
        "working_dir": "${KNOWN}$MISSING",
        "user": "${NEEDED:?say who}",
        "labels": {"a": "50$"},
    }
    problems = read(tmp_path, service).problems
    assert any("MISSING" in line for line in problems)
    assert any("user" in line and "say who" in line for line in problems)
    assert any("labels.a" in line and "$$" in line for line in problems)


def test_the_service_is_the_one_that_is_built() -> None:
    services = {"web": {"build": "."}, "db": {"image": "postgres"}}
    assert compose.choose(services, None) == ["web"]
    assert compose.choose(services, "db") == ["db"]
    assert compose.choose(services, "nobody") == []
    ours = {
        "a": {"image": "1" * 12 + ".dkr.ecr.us-east-1.amazonaws.com/shop:1"},
        "b": {"image": "x"},
    }
    assert compose.choose(ours, None) == ["a"]
    assert compose.choose({"a": {"image": "x"}, "b": {"image": "y"}}, None) == ["a", "b"]


@pytest.mark.parametrize(
    "text", ["- a", "services: {}", "services: {a: 1}", "a: [", "include: x\nservices: {a: {}}"]
)
def test_what_is_not_a_compose_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(text)
    with pytest.raises(compose.NotCompose):
        compose.services(file, {})

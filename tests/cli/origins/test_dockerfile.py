"""What a Dockerfile says of a service."""

from pathlib import Path

import pytest

from cli.origins import dockerfile
from cli.origins.application import Application


def read(text: str) -> Application:
    return dockerfile.read(Path("/src/my-shop/Dockerfile"), text)


def test_the_last_stage_says_where_it_listens_and_how_its_health_is_checked() -> None:
    found = read(
        """\
# syntax=docker/dockerfile:1
ARG BASE=python:3.13
FROM --platform=$BUILDPLATFORM ${BASE} AS build
EXPOSE 9999
RUN <<END
EXPOSE 1111
END
FROM python:3.13
ENV PORT=8080 MODE="a b"
# between
EXPOSE $PORT/tcp \\
  # within
  9090
HEALTHCHECK --interval=1m30s --timeout=1s --start-period=10s --retries=5 \\
  CMD curl -fs http://localhost:${PORT}/healthz || exit 1
VOLUME /data
CMD ["python", "app.py"]
"""
    )
    assert (found.name, found.ports) == ("my-shop", [8080, 9090])
    check = found.container["healthCheck"]
    assert check == {
        "command": ["CMD-SHELL", "curl -fs http://localhost:${PORT}/healthz || exit 1"],
        "interval": 90,
        "timeout": 2,  # ECS's least
        "startPeriod": 10,
        "retries": 5,
    }
    assert found.asked_path(8080) == "/healthz"
    assert any("timeout 1 becomes 2" in note for note in found.notes)
    assert any("/data" in note for note in found.notes)
    assert not found.problems


def test_a_stage_has_what_the_stage_before_it_has() -> None:
    found = read("FROM x AS base\nEXPOSE 80\nHEALTHCHECK CMD true\nFROM base\nHEALTHCHECK NONE\n")
    assert (found.ports, found.container) == ([80], {})


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ('HEALTHCHECK CMD ["/app/alive", "-q"]', ["CMD", "/app/alive", "-q"]),
        ("healthcheck cmd /app/alive -q", ["CMD-SHELL", "/app/alive -q"]),
    ],
)
def test_a_health_check_keeps_its_form(line: str, command: list[str]) -> None:
    assert read(f"FROM x\n{line}").container["healthCheck"]["command"] == command


def test_the_platform_is_the_last_stages() -> None:
    assert read("FROM --platform=linux/arm64 x").platform == "linux/arm64"
    assert read("FROM --platform=linux/arm64 x AS a\nFROM y").platform == "linux/amd64"


def test_all_that_is_wrong_is_reported() -> None:
    problems = read("EXPOSE http\nHEALTHCHECK --interval=soon CMD true\n").problems
    assert len(problems) == 3
    assert any("EXPOSE http" in line for line in problems)
    assert any("soon" in line for line in problems)
    assert any("no FROM" in line for line in problems)


def test_udp_ports_and_long_ranges_are_not_served() -> None:
    found = read("FROM x\nEXPOSE 53/udp 8000-8002 1-6000")
    assert found.ports == [8000, 8001, 8002]
    assert "53/udp" in found.notes[0] and "1-6000" in found.problems[0]

"""However a run is started: the tests find the same, and so do the programs that they start."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import start

LOOK = """
import json, locale, os, signal, sys, time
umask = os.umask(0)
print(json.dumps({
    "environment": dict(os.environ),
    "ignored": sorted(n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN),
    "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "umask": umask,
    "encoding": locale.getencoding().lower(),
    "zone": time.tzname[0],
}))
"""


def seen(**popen: Any) -> dict[str, Any]:
    """What a program that is started from a run of the tests finds."""
    run = "import sys; sys.path.insert(0, sys.argv[1]); from tests import start; start.alike()\n"
    run += "import subprocess; subprocess.run([sys.executable, '-c', sys.argv[2]], check=True)"
    root = str(Path(start.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", run, root, LOOK],
        capture_output=True,
        text=True,
        check=True,
        **popen,
    )
    return dict(json.loads(done.stdout))


def hostile() -> None:
    """As a script's background job leaves it to a run, and worse."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGALRM])
    os.umask(0o077)
    os.setsid()  # no terminal
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    os.close(0)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is found where everything was set against it."""
    home = tmp_path_factory.mktemp("a home")
    (home / ".npmrc").write_text("registry=https://npm.example.com/")
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C",
        "TZ": "Asia/Kathmandu",
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL": "https://production.example.com",
        "AWS_ACCESS_KEY_ID": "AKIAPRODUCTION",
        "https_proxy": "http://proxy.example.com:3128",
        "HTTP_PROXY": "http://proxy.example.com:3128",
        "ALL_PROXY": "socks5://proxy.example.com",
        "GIT_DIR": "/elsewhere",
        "MAKEFLAGS": "n",
        "PYTHONWARNINGS": "error",
        "PERSIST_STATE": "1",
        "SFN_WAIT_SCALE": "7",
        "NO_COLOR": "1",
        "COLUMNS": "9",
        "PIP_REQUIRE_VIRTUALENV": "1",
    }
    return seen(env=given, preexec_fn=hostile)


def test_no_variable_of_who_started_it_is_left(started: dict[str, Any]) -> None:
    result = started["environment"]
    assert {name for name in result if name.startswith("AWS_")} == {
        "AWS_CONFIG_FILE",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_SHARED_CREDENTIALS_FILE",
    }
    assert not {name for name in result if name.upper().endswith("_PROXY")} - {
        "NO_PROXY",
        "PIP_PROXY",
    }
    ours = {"GIT_DIR", "MAKEFLAGS", "PYTHONWARNINGS", "PERSIST_STATE", "SFN_WAIT_SCALE"}
    assert not result.keys() & (ours | {"NO_COLOR", "COLUMNS", "PIP_REQUIRE_VIRTUALENV"})


def test_the_home_is_its_own_and_leads_to_the_same_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".npmrc").write_text("registry=https://npm.example.com/")
    for changed in ("PYTEST_OWN_HOME", "PIP_PROXY"):
        monkeypatch.setenv(changed, "")
    monkeypatch.setattr("atexit.register", lambda *_, **__: None)
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    own = start._own_home({"HOME": str(tmp_path), "https_proxy": "http://proxy.example.com:3128"})
    assert own == str(tmp_path / "own")
    settings = (tmp_path / "own" / ".npmrc").read_text().split()
    assert settings == [
        "registry=https://npm.example.com/",
        "https-proxy=http://proxy.example.com:3128",
    ]


def test_nothing_is_ignored_blocked_or_masked(started: dict[str, Any]) -> None:
    pythons_own = sorted([signal.SIGPIPE, signal.SIGXFSZ])
    assert (started["ignored"], started["blocked"]) == (pythons_own, [])
    assert started["umask"] == 0o022


def test_text_and_time_are_the_same_everywhere(started: dict[str, Any]) -> None:
    assert started["encoding"] == "utf-8"
    assert started["zone"] == "UTC"

"""Makes every run of the tests start alike, however it was started.

`nohup`, a script's background job, a git hook, CI, another user or another user's settings each
leave something behind in a process: ignored signals, a umask, a locale, variables that lead to an
AWS account. `alike` puts all of it aside, for pytest and so for all that the tests start.
"""

import atexit
import contextlib
import locale
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

_KEPT = ("PATH", "TMPDIR", "USER", "LOGNAME", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
_KEPT_PREFIXES = ("PYTEST_", "HYPOTHESIS_", "UV_", "NODE_", "NPM_CONFIG_", "PIP_")
_NOT_KEPT = ("PIP_REQUIRE_VIRTUALENV", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTEST_ADDOPTS")
_PROXIES = {"https_proxy": "https-proxy", "http_proxy": "proxy"}  # as npm calls them
_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)  # which it ignores, and restores for programs
_HOME = "PYTEST_OWN_HOME"
_OPEN_FILES = 4096


def alike() -> None:
    """Put aside all that this process was given, but where programs and registries are."""
    _environment()
    _signals()
    os.umask(0o022)
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    time.tzset()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _environment() -> None:
    given = dict(os.environ)
    kept = {
        name: value
        for name, value in given.items()
        if name in _KEPT or (name.upper().startswith(_KEPT_PREFIXES) and name not in _NOT_KEPT)
    }
    tools = Path(sys.executable).parent
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(
        {
            "PATH": os.pathsep.join([str(tools), given.get("PATH", os.defpath)]),
            "HOME": _own_home(given),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "xterm",
            "NO_PROXY": "*",  # macOS would otherwise ask its settings
            "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",  # a fifth of the time of its tests
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }
    )


def _own_home(given: dict[str, str]) -> str:
    """A home with nothing in it but how npm and pip find their registries.

    That is where builds on the local AWS look, too. A proxy as a variable would catch requests to
    the addresses of the local AWS.
    """
    if known := given.get(_HOME):  # a worker of pytest-xdist, or pytest within a test
        return known
    theirs = Path(given.get("HOME") or "/nowhere")
    ours = Path(tempfile.mkdtemp(prefix="home-of-tests-"))
    atexit.register(shutil.rmtree, ours, ignore_errors=True)
    for name in (".npmrc", ".config/pip/pip.conf"):
        with contextlib.suppress(OSError):  # there is none, or it is another user's
            content = (theirs / name).read_bytes()
            (ours / name).parent.mkdir(parents=True, exist_ok=True)
            (ours / name).write_bytes(content)
    proxies = {name: given.get(name) or given.get(name.upper()) for name in _PROXIES}
    settings = [f"{_PROXIES[name]}={proxy}\n" for name, proxy in proxies.items() if proxy]
    if os.access(theirs / ".npm", os.W_OK):
        settings.append(f"cache={theirs / '.npm'}\n")
    with (ours / ".npmrc").open("a") as file:
        file.writelines(["\n", *settings])
    if proxy := proxies["https_proxy"]:
        os.environ["PIP_PROXY"] = proxy
    os.environ[_HOME] = str(ours)
    return str(ours)


def _signals() -> None:
    """What was ignored or blocked would be so in every program that a test starts.

    A function as handler does not outlive exec, so programs start with the default, while a hangup
    that `nohup` lets us ignore stays ignored here.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {*_PYTHONS_OWN}:
        if signal.getsignal(number) == signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else _nothing
            signal.signal(number, handler)


def _nothing(number: int, frame: object) -> None:
    pass

"""One command installs it: the wheel in an environment of its own, without the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo import ROOT

pytestmark = pytest.mark.slow

COMMANDS = sorted(path.stem for path in (ROOT / "cli" / "commands").glob("[a-z]*.py"))


def run(command: list[str], cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        command,
        cwd=cwd,
        env={**env, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `uv tool install <checkout>` has put the command."""
    home = tmp_path_factory.mktemp("home")
    uv = str(Path(sys.executable).with_name("uv"))
    places = {"UV_TOOL_DIR": str(home / "tools"), "UV_TOOL_BIN_DIR": str(home / "bin")}
    command = [uv, "tool", "install", "--no-config", "--python", sys.executable, str(ROOT)]
    done = run(command, home, **places)
    assert done.returncode == 0, done.stderr
    return home


def deployer(home: Path, *words: str, **environment: str) -> str:
    done = run([str(home / "bin" / "deployer"), *words], home, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_and_version(home: Path) -> None:
    assert "Usage: deployer" in deployer(home, "--help")
    assert deployer(home, "--version").strip()[0].isdigit()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_what_it_imports(home: Path, name: str) -> None:
    assert f"Usage: deployer {name}" in deployer(home, name, "--help")


def test_the_page_comes_with_it(home: Path) -> None:
    [python] = (home / "tools").glob("*/bin/python")
    look = "from importlib.resources import files; print(*files('cli.ui').iterdir())"
    files = [Path(file).name for file in run([str(python), "-c", look], home).stdout.split()]
    assert {"page.css", "page.html", "page.js"} <= {*files}


def test_nothing_of_the_checkout_is_used(home: Path) -> None:
    [python] = (home / "tools").glob("*/bin/python")
    look = "import cli, deployer; print(cli.__file__, deployer.__file__)"
    result = run([str(python), "-c", look], home).stdout.split()
    assert len(result) == 2
    assert all(Path(path).is_relative_to(home) for path in result)
    setup = run([str(python), "-c", "import setup"], home)
    assert setup.returncode != 0, "what works on a checkout is not installed"


def test_bash_completes_commands_and_options(home: Path) -> None:
    typed = """
        eval "$(_DEPLOYER_COMPLETE=bash_source deployer)"
        COMP_WORDS=(deployer st) COMP_CWORD=1
        _deployer_completion deployer && echo "${COMPREPLY[@]}"
        COMPREPLY=() COMP_WORDS=(deployer logs --fol) COMP_CWORD=2
        _deployer_completion deployer && echo "${COMPREPLY[@]}"
    """
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    done = run(["bash", "-c", typed], home, PATH=path)
    assert done.stdout.split() == ["status", "--follow"], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_complete_too(home: Path, shell: str) -> None:
    assert "deployer" in deployer(home, _DEPLOYER_COMPLETE=f"{shell}_source")

"""What is no fault of the command's: one clear line, what to do, and never a traceback."""

import json
import socket
import subprocess

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.terminal import terminal
from tests.person import Person

READING = ("status", "history", "logs")


@pytest.fixture(scope="session")
def nobody(deployer: Stage) -> Operator:
    """Somebody with an access key that nothing is allowed to."""
    key = Person(deployer.aws).key
    environment = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    return Operator(deployer, environment)


@pytest.fixture(scope="session")
def somebody(deployer: Stage) -> Operator:
    return Operator(deployer)


def one_line(
    done: "subprocess.CompletedProcess[str]", code: int, message: str, advice: str
) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.lower().startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert message in errors[0]
    assert advice in done.stderr


@pytest.mark.parametrize(
    ("words", "message", "advice"),
    [
        (("statsu",), "Unknown command 'statsu'", "Did you mean status?"),
        (("status", "--wach"), "No such option: --wach", "--watch"),
        (("history", "--limit", "many"), "'many' is not a valid integer", "--help"),
        (("history", "1.0.0", "2.0.0"), "unexpected extra argument", "--help"),
        (("logs", "--lines", "-1"), "-1 is not in the range", "--help"),
        (("status", "--service", "nope"), "nope", "--service"),
    ],
)
def test_wrong_usage(somebody: Operator, words: tuple[str, ...], message: str, advice: str) -> None:
    one_line(somebody.run(*words), 2, message, advice)


@pytest.mark.parametrize("command", READING)
def test_nothing_is_allowed(nobody: Operator, command: str) -> None:
    done = nobody.run(command)
    one_line(done, 1, "cloudformation:DescribeStacks", "Ask for this permission")
    if command != "logs":
        output = json.loads(nobody.run(command, "--json").stdout)
        assert (output["ok"], output["error"]["code"]) == (False, 1)


@pytest.mark.parametrize(
    ("environment", "code", "message", "advice"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, 1, "no AWS cred", "AWS_PROFILE"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, 3, "no Region", "export AWS_REGION"),
        ({"AWS_PROFILE": "gone"}, 3, "(gone) could not be found", "aws configure list-profiles"),
        ({"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}, 1, "does not know these", "mfa-login"),
        ({"DEPLOYER_STACK": "gone", "STACK": "1"}, 3, "no stack gone in us-east-1", "--stack"),
    ],
)
def test_the_account(
    somebody: Operator, environment: dict[str, str], code: int, message: str, advice: str
) -> None:
    words = ("--service", somebody.stage.service) if "STACK" in environment else ()
    if words:
        done = subprocess.run(
            [*somebody.command("status")[:4], *words],
            env={**somebody.env, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    else:
        done = somebody.run("status", **environment)
    one_line(done, code, message, advice)


def test_a_stack_that_is_no_deployer(somebody: Operator) -> None:
    done = somebody.run("status", "--stack", f"{somebody.stage.service}-service")
    one_line(done, 3, "no deployer that can be used", "make deploy MODE=infrastructure")


def test_the_network_is_gone(somebody: Operator) -> None:
    done = somebody.run("status", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    one_line(done, 1, "AWS does not answer", "AWS_ENDPOINT_URL is http://127.0.0.1:9: is it up?")


@pytest.mark.parametrize(
    "words",
    [("status",), ("history",), ("history", "--json"), ("logs", "--since", "1h"), ("--help",)],
)
def test_whoever_reads_stops_reading(rolled_back: Operator, words: tuple[str, ...]) -> None:
    command = rolled_back.command(*(words if words != ("--help",) else ("status",)))
    command = command[:3] if words == ("--help",) else command
    with subprocess.Popen(
        [*command, *(words if words == ("--help",) else ())],
        env={**rolled_back.env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        message = process.stderr.read()  # the table of --json, and no complaint
        assert not any(word in message for word in ("Traceback", "rror", "Exception", "pipe"))
        assert process.wait(60) == (1 if words == ("--help",) else 141)


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_knows_few_characters(
    rolled_back: Operator, command: str, encoding: str
) -> None:
    for words in ((command,), (command, "--json"), (command, "--service", "n\u00f6pe")):
        done = subprocess.run(
            rolled_back.command(*words),
            env={**rolled_back.env, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
            capture_output=True,
            encoding=encoding,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == (2 if "--service" in words else 0), done.stderr


@pytest.mark.parametrize("command", READING)
def test_at_a_narrow_terminal(rolled_back: Operator, nobody: Operator, command: str) -> None:
    with terminal(rolled_back.command(command), rolled_back.env, columns=40) as shown:
        assert shown.ended() == 0
        # of the log the last lines: how the release began may be long ago
        assert ("/healthz" if command == "logs" else "1.0.0") in shown.screen
    with terminal(nobody.command(command), nobody.env, columns=40) as shown:
        shown.expect("error: you may not do this")
        assert shown.ended() == 1
        assert "Traceback" not in shown.screen


def test_ctrl_c_at_any_time(somebody: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes a question, answers never
        environment = {
            **somebody.env,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        with terminal(somebody.command("status"), environment) as shown:
            with silent.accept()[0]:
                shown.interrupt()
                assert shown.ended() == 130, shown.screen
            assert "Traceback" not in shown.screen

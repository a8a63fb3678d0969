"""The commands of docs/first-account.md name what is there."""

import re

from click import Context, Group

from cli.main import deployer
from tests.template.conftest import ROOT
from tests.template.test_parameters import template

TEXT = (ROOT / "docs" / "first-account.md").read_text()


def stack(name: str) -> str:
    return name.removeprefix("coder-")


def test_each_output_is_one_of_its_stack() -> None:
    named = re.findall(r"\$\(output ([a-z-]+) (\w+)\)", TEXT)
    assert len(named) > 5
    for name, output in named:
        assert output in template(stack(name))["Outputs"], (name, output)


def test_each_state_machine_is_an_output_of_the_deployer() -> None:
    for output in re.findall(r"`?executions (\w+)`", TEXT):
        assert output in template("deployer")["Outputs"]


def test_each_resource_is_one_of_its_stack() -> None:
    named = re.findall(r"--stack-name (\S+) --logical-resource-id (\w+)", TEXT)
    assert {"AccessLogs", "DeploymentsFail"} <= {resource for _, resource in named}
    for name, resource in named:
        assert resource in template(stack(name))["Resources"], (name, resource)


def test_each_command_is_one_of_the_deployers_with_these_options() -> None:
    assert isinstance(deployer, Group)
    commands = re.findall(r"(?:^    |`|; )deployer (\w+)([^`\n&;]*)", TEXT, re.MULTILINE)
    assert {"status", "history", "doctor", "cancel", "rollback", "build"} <= {
        c for c, _ in commands
    }
    context = Context(deployer)
    for name, rest in commands:
        command = deployer.get_command(context, name)
        assert command, name
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, name


def test_each_log_line_is_one_that_a_function_writes() -> None:
    functions = "\n".join(path.read_text() for path in (ROOT / "functions").glob("*.py"))
    for line in re.findall(r"--filter-pattern '\"([a-z ]+)\"'", TEXT):
        assert f'"{line}"' in functions, line

"""Every command that is printed for people can be pasted: written whole, understood by its program,
and about the same account and service as the command that printed it."""

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache

import botocore.session
import click
import pytest
from botocore import xform_name
from botocore.model import StructureShape

from cli.main import COMMANDS, deployer
from cli.nextstep import Given, unless_set
from demo import ROOT
from setup import __main__ as setup

PLACES = ("cli", "setup", "layers/deployer/deployer", "demo", "local-aws/src", "functions")
SHOWN = ("command",)  # functions whose argument is a command
PROGRAMS = ("aws", "deployer", "make", "python", "docker", "sam", "pip", "export", "unset", "eval")
SAMPLE = "SAMPLE"  # what stands for a value that is known only then


# What the sources print --------------------------------------------------------------------------


def text(node: ast.expr) -> str | None:
    """A text as it is printed, with SAMPLE for what is filled in; None if it is none."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=parts):
            return "".join(text(part) or SAMPLE for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = text(left), text(right)
            return None if first is None else first + (second or "")
        case ast.IfExp(body=body):
            return text(body)
    return None


def printed(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The commands in a module: texts that begin with two spaces and a program, and what is shown
    as a command. Parts of a text are not texts of their own."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SHOWN:
            for argument in node.args:
                if (whole := text(argument)) and whole.split(" ")[0] in PROGRAMS:
                    yield argument.lineno, whole
        if isinstance(node, ast.expr) and (whole := text(node)) is not None:
            words = whole.split()
            marked = whole.startswith("  ") or isinstance(tree, ast.Dict | ast.Return)
            if marked and len(words) > 1 and words[0] in PROGRAMS:
                yield node.lineno, whole.strip()
            elif quoted := re.findall(r"`((?:make|deployer) [^`]+)`", whole):
                yield from ((node.lineno, command) for command in quoted)
            continue
        yield from printed(node)


def commands() -> list[tuple[str, str]]:
    matches = []
    for place in PLACES:
        for file in sorted((ROOT / place).rglob("*.py")):
            if "shims" in file.parts or "demo_app" in file.parts:
                continue
            for line, command in printed(ast.parse(file.read_text())):
                matches.append((f"{file.relative_to(ROOT)}:{line}", command))
    return matches


COMMANDS_PRINTED = commands()


@pytest.mark.parametrize("command", [pytest.param(c, id=where) for where, c in COMMANDS_PRINTED])
def test_each_printed_command_is_whole_and_understood(command: str) -> None:
    assert "…" not in command and "..." not in command, "a placeholder"
    assert not re.search(r"<[A-Za-z ]+>", command), "a placeholder"
    for part in re.split(r" (?:\|\|?|&&) ", command.partition("   # ")[0]):
        understood(shlex.split(part, comments=True))


def test_the_scan_finds_them() -> None:
    matches = {command.split()[0] for _, command in COMMANDS_PRINTED}
    assert matches >= {"aws", "deployer", "make", "docker", "export"}
    assert len(COMMANDS_PRINTED) > 80


def understood(words: list[str]) -> None:
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    match words:
        case ["aws", *rest]:
            aws(rest)
        case ["deployer", *rest]:
            operator(rest)
        case ["make", *rest]:
            make(rest)
        case ["python", "-m", "setup", *rest]:
            setup.setup.make_parser(click.Context(setup.setup)).parse_args(rest)
        case [program, *_]:
            assert program in (*PROGRAMS, "python3", SAMPLE)


def operator(words: list[str]) -> None:
    if words[0] == SAMPLE:
        return
    assert words[0] in COMMANDS, words
    command = deployer.get_command(click.Context(deployer), words[0])
    assert command
    command.make_parser(click.Context(command)).parse_args(words[1:])


@cache
def makefile() -> str:
    return (ROOT / "Makefile").read_text()


def make(words: list[str]) -> None:
    target, *variables = words
    assert re.search(rf"^{target}:", makefile(), re.M), target
    for variable in variables:
        assert f"$({variable.partition('=')[0]}" in makefile(), variable


# What the AWS command line has beside the members of an operation's request.
GLOBAL = {"query", "output", "region", "profile", "max-items"}
ITS_OWN = {
    ("ec2", "authorize-security-group-ingress"): {"protocol", "port", "cidr", "source-group"},
    ("ec2", "authorize-security-group-egress"): {"protocol", "port", "cidr", "source-group"},
}


@cache
def requests(service: str) -> Mapping[str, StructureShape | None]:
    """The requests of a service's operations, as the AWS command line names these."""
    model = botocore.session.get_session().get_service_model(service)
    return {
        xform_name(name, "-"): model.operation_model(name).input_shape
        for name in model.operation_names
    }


def aws(words: list[str]) -> None:
    service, *rest = words
    if service in ("configure", "sso", "s3") or rest[0] == "get-login-password":
        return  # the command line's own, and no service's
    operation, *options = rest
    assert operation in requests(service), f"{service} {operation}"
    shape = requests(service)[operation]
    members = (
        {xform_name(name, "-"): member for name, member in shape.members.items()} if shape else {}
    )
    flags = {f"no-{name}" for name, member in members.items() if member.type_name == "boolean"}
    known = set(members) | flags | GLOBAL | ITS_OWN.get((service, operation), set())
    given = {word[2:] for word in options if word.startswith("--")}
    assert given <= known, sorted(given - known)
    needed = {xform_name(name, "-") for name in (shape.required_members if shape else ())}
    assert needed <= given, f"{sorted(needed - given)} must be given"


# What is added -----------------------------------------------------------------------------------

EVERYTHING = Given("team a", "eu-west-1", "deployer-production", "shop", "production")
OPTIONS = "--profile 'team a' --region eu-west-1"


@pytest.mark.parametrize(
    ("written", "full"),
    [
        (
            "deployer status --watch",
            f"deployer status {OPTIONS} --stack deployer-production --service shop --watch",
        ),
        (
            "deployer status --stack deployer --region us-east-1",
            "deployer status --profile 'team a' --service shop --stack deployer --region us-east-1",
        ),
        ("aws ecs list-clusters", f"aws {OPTIONS} ecs list-clusters"),
        (
            "aws ecr get-login-password | docker login --username AWS --password-stdin r",
            f"aws {OPTIONS} ecr get-login-password"
            " | docker login --username AWS --password-stdin r",
        ),
        ("aws sso login --profile team", "aws sso login --profile team"),
        ("aws configure list-profiles", "aws configure list-profiles"),
        (
            "make deploy MODE=infrastructure",
            "AWS_PROFILE='team a' AWS_REGION=eu-west-1"
            " make deploy ENVIRONMENT=production MODE=infrastructure",
        ),
        ("make setup", "make setup"),
        (
            "python -m setup --yes",
            f"python -m setup {OPTIONS} --environment production --yes",
        ),
        ("export AWS_REGION=us-east-1", "export AWS_REGION=us-east-1"),
        ("docker push deployer", "docker push deployer"),
    ],
)
def test_a_command_is_about_what_the_caller_named(written: str, full: str) -> None:
    assert EVERYTHING.command(written) == full
    assert EVERYTHING.lines([f"  {written}", written]) == [f"  {full}", written]
    assert Given().command(written) == written


def test_in_a_checkout_its_own_programs_are_named() -> None:
    given = Given(programs=".venv/bin/")
    assert given.command("deployer status") == ".venv/bin/deployer status"
    assert given.command("python -m setup") == ".venv/bin/python -m setup"
    assert given.command("make deploy") == "make deploy"


def test_what_the_shell_says_anyway_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert unless_set("eu-west-1", "AWS_REGION") is None
    assert unless_set("us-east-1", "AWS_REGION") == "us-east-1"
    assert unless_set("deployer", "DEPLOYER_STACK", default="deployer") is None
    monkeypatch.setenv("DEPLOYER_STACK", "other")
    assert unless_set("deployer", "DEPLOYER_STACK", default="deployer") == "deployer"

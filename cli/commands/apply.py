"""`deployer apply`."""

import difflib
import json
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import ClientError

from cli import specfile
from cli.aws import DENIED, code_of
from cli.command import Call, command
from cli.errors import UNREADY, WRONG, CommandFailed
from cli.screen import printable
from deployer.aws import ssm
from deployer.deploy.spec import shared


@command(
    epilog="""\b
Examples:
  deployer apply                   deployer.yaml in this directory, after asking
  deployer apply shop.json --yes
  deployer apply --dry-run         what would change
"""
)
@click.argument("file", type=click.Path(path_type=Path), default=Path(specfile.NAME))
@click.option("--dry-run", is_flag=True, help="Show what would change; store nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def apply(call: Call, file: Path, dry_run: bool, yes: bool) -> None:
    """Check the service spec in FILE, YAML or JSON, and store it for the deployer: what changes is
    shown first. It takes effect with the next release."""
    call.account.as_default()
    document = specfile.read(file)
    service = document["service"]
    if call.service not in (None, service):
        raise CommandFailed(WRONG, f"{file} is the spec of {service}, not of {call.service}")
    name = f"{call.target.parameters['SpecPath']}/{service}"
    _refuse_shared(call, name, document)
    before = _stored(call, name)
    changes = _difference(before, document)
    call.result |= {"service": service, "parameter": name, "changed": bool(changes)}
    call.result |= {"difference": changes, "stored": False}
    if not changes:
        call.screen.say(f"{name} holds this spec already.", "green")
        return
    call.screen.title(f"{'Creates' if before is None else 'Changes'} {name}")
    for line in changes:
        style = {"+": "green", "-": "red"}.get(line[0])
        call.screen.say(f"  {printable(line)}", style)
    if owner := _owner(call, name):
        call.screen.say(
            f"The stack {owner} wrote this parameter, and writes its own again when it is updated:"
            " change its parameters too.",
            "yellow",
        )
    if dry_run:
        return
    if not yes:
        call.confirm("Store it?", "nothing was stored")
    call.account.client("ssm").put_parameter(
        Name=name,
        Value=specfile.as_stored(document),
        Type="String",
        Tier="Intelligent-Tiering",
        Overwrite=True,
    )
    call.result["stored"] = True
    call.screen.say(
        "Stored. It takes effect with the next push; or deploy the newest image:", "green"
    )
    call.screen.command(f"deployer deploy --service {service} --dry-run")
    call.screen.command(f"deployer deploy --service {service}")


def _refuse_shared(call: Call, name: str, document: dict[str, Any]) -> None:
    """Refuse a spec if another one names one of its services; without permission, nobody knows."""
    try:
        others = ssm.service_specs()
    except ClientError as error:
        if code_of(error) not in DENIED:
            raise
        return
    if problems := shared(document, name, others):
        advice = [f"- {problem}" for problem in problems]
        raise CommandFailed(UNREADY, "another service spec names a service of this one", advice)


def _stored(call: Call, name: str) -> str | None:
    """Return the text of the parameter; None if there is none."""
    ssm = call.account.client("ssm")
    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None


def _difference(before: str | None, document: dict[str, Any]) -> list[str]:
    """Return the lines of the spec that change, each with + or -, and some around them."""
    try:
        earlier = json.loads(before) if before else {}
    except ValueError:  # the parameter holds no JSON: each of its lines is replaced
        old = (before or "").splitlines()
    else:
        if earlier == document:
            return []
        old = _lines(earlier) if before else []
    return list(difflib.unified_diff(old, _lines(document), n=2, lineterm=""))[2:]


def _lines(document: Any) -> list[str]:
    return json.dumps(document, indent=2, sort_keys=True, default=str).splitlines()


def _owner(call: Call, name: str) -> str | None:
    """Return the stack that made the parameter; None if none did, or nobody may tell."""
    try:
        tags = call.account.client("ssm").list_tags_for_resource(
            ResourceType="Parameter", ResourceId=name
        )["TagList"]
    except ClientError as error:
        if code_of(error) not in (*DENIED, "InvalidResourceId"):
            raise
        return None
    return next((t["Value"] for t in tags if t["Key"] == "aws:cloudformation:stack-name"), None)

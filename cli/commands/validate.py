"""`deployer validate`."""

import os
from pathlib import Path

import boto3
import click

from cli import specfile
from cli.command import Call, command


@command(
    epilog="""\b
Examples:
  deployer validate                deployer.yaml in this directory
  deployer validate shop.json --json
"""
)
@click.argument("file", type=click.Path(path_type=Path), default=Path(specfile.NAME))
def validate(call: Call, file: Path) -> None:
    """Check a service spec in FILE, YAML or JSON, without asking AWS: all wrong fields at once."""
    os.environ.pop("AWS_PROFILE", None)  # nothing is asked of the account
    boto3.setup_default_session(region_name="us-east-1")  # ECS's model is the same everywhere
    document = specfile.read(file)
    call.result |= {"file": str(file), "service": document["service"]}
    call.screen.say(f"{file} is a valid spec of {document['service']}.", "green")
    call.screen.say("Store it for the deployer:")
    call.screen.command(f"deployer apply {file}")

"""Read a service spec from a file, YAML or JSON, and check it without asking AWS."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cli.errors import UNREADY, WRONG, CommandFailed
from deployer.deploy import spec as specs
from deployer.deploy import task_definitions
from deployer.deploy.spec import Fields
from deployer.errors import PreflightFailed
from deployer.usecases import check_prerequisites

NAME = "deployer.yaml"
LIMIT = (
    8192  # bytes: https://docs.aws.amazon.com/general/latest/gr/ssm.html, of an advanced parameter
)


def read(file: Path) -> dict[str, Any]:
    """Return the service spec in a file.

    Raises:
        CommandFailed: there is no file, or it holds no object, or some fields are wrong; the
            advice names all of them.
    """
    try:
        document = yaml.safe_load(file.read_text())
    except OSError as error:
        raise CommandFailed(WRONG, f"{file} cannot be read: {error.strerror}", _WRITE) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise CommandFailed(UNREADY, f"{file} is neither YAML nor JSON: {where}") from error
    if not isinstance(document, dict):
        raise CommandFailed(UNREADY, f"{file} must hold an object, the service spec", _WRITE)
    if problems := wrong_fields(document):
        raise CommandFailed(
            UNREADY,
            f"{file} has {len(problems)} wrong field(s)",
            [f"- {problem}" for problem in problems],
        )
    return document


_WRITE = ["docs/service-spec.md says what it holds; the smallest has four lines."]


def wrong_fields(document: Mapping[str, Any]) -> list[str]:
    """Return each wrong field of a spec, and why, as far as that is known without asking AWS."""
    problems: list[str] = []
    made = specs.read(Fields(document, "", problems))
    problems += [f"{path}: {why}" for path, why in check_prerequisites.invalid_fields(made)]
    paths = ["", *(f"services[{index}]." for index in range(len(made.further)))]
    for path, part in zip(paths, () if problems else made.parts, strict=False):
        if isinstance(part.task_definition, Mapping):
            try:
                task_definitions.render(part, task_definitions.in_spec(part, part.task_definition))
            except PreflightFailed as error:
                problems.append(f"{path}taskDefinition: {error}")
    if (size := len(as_stored(document).encode())) > LIMIT:
        problems.append(
            f"it has {size} bytes, and a parameter holds {LIMIT}: register the task definition in"
            " ECS, and name its family in taskDefinition"
        )
    return problems


def as_stored(document: Mapping[str, Any]) -> str:
    """Return a spec as its parameter holds it."""
    return json.dumps(document, indent=2, default=str)

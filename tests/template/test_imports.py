"""Who may know whom: decisions know no AWS, use cases no client, a function no other function."""

import ast
import sys
from pathlib import Path

import pytest

from tests.template.conftest import FUNCTIONS, MODULES, PACKAGE, ROOT, parsed

ADAPTERS = ("deployer.aws", "deployer.store")
LIBRARIES = {"aws_lambda_powertools", "boto3", "botocore", "deployer", "content_types"}


def imports(module: Path) -> set[str]:
    """The modules that a module imports when it runs; those for type checkers alone are left out.
    `from deployer import x` is `deployer.x`."""
    matches: set[str] = set()
    typing_only = {
        inner
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in map(ast.unparse, node.body)
    }
    for node in ast.walk(parsed(module)):
        if ast.unparse(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            matches |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            matches |= {f"{node.module}.{alias.name}" for alias in node.names}
    return matches


def roots(module: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_only_the_adapters_know_aws(module: Path) -> None:
    package = module.relative_to(PACKAGE).parts[0]
    known = imports(module)
    if package == "usecases":
        assert not {name for name in known if name.startswith(("boto3", "botocore.session"))}
    elif package not in ("aws", "store"):
        assert not roots(module) & {"boto3", "botocore"}
        assert not {name for name in known if name.startswith((*ADAPTERS, "deployer.usecases"))}


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda m: m.stem)
def test_a_function_knows_no_other_function_and_no_client(module: Path) -> None:
    assert not roots(module) & {other.stem for other in FUNCTIONS}
    assert not roots(module) & {"boto3", "botocore"}


@pytest.mark.parametrize("module", [*FUNCTIONS, *MODULES], ids=lambda m: m.stem)
def test_nothing_is_imported_that_costs_a_cold_start(module: Path) -> None:
    """Pydantic costs 226 ms, jsonschema 104 ms, requests 60 ms."""
    foreign = roots(module) - set(sys.stdlib_module_names) - LIBRARIES
    if module.stem != "media":  # only the publication needs it, and has a whole CPU
        assert "content_types" not in roots(module)
    assert not foreign


def test_the_layer_installs_what_is_imported_at_the_version_that_is_tested() -> None:
    wanted = (PACKAGE.parent / "requirements.txt").read_text()
    pinned = dict(line.split("==") for line in wanted.split() if "==" in line)
    assert "aws-lambda-powertools" in pinned
    assert (
        f'"aws-lambda-powertools=={pinned["aws-lambda-powertools"]}"'
        in (ROOT / "pyproject.toml").read_text()
    )

"""The deployer as `sam build` and `sam package` make it, kept between runs under its content.

`sam` takes longer than all else in setting up a deployer: it imports for seconds, twice, and packs
each function. What it makes of the same sources is the same, so it is asked once for each content;
later runs upload what it made and let CloudFormation create the stack. `make demo` and
`tests/cli/setup` go the whole way each time.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from demo import ROOT
from local_aws.aws import LocalAws

_SOURCES = ("template.yaml", "functions", "layers", "statemachine", "buildspecs")
_KEPT = ROOT / ".aws-sam" / "packages"
_BUCKET = "deployer-package"
_TEMPLATE = "template.yaml"
_NEWEST = 5  # as many contents as are kept
_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]


def deploy(aws: LocalAws, stack: str, parameters: Mapping[str, str]) -> None:
    """Create the deployer's stack."""
    s3, kept = aws.client("s3"), _KEPT / content()
    s3.create_bucket(Bucket=_BUCKET)
    if not kept.exists():
        _make(aws, kept)
    kept.touch()
    for file in kept.iterdir():
        s3.put_object(Bucket=_BUCKET, Key=file.name, Body=file.read_bytes())
    create(
        aws,
        stack,
        parameters,
        TemplateURL=f"{aws.endpoint}/{_BUCKET}/{_TEMPLATE}",
        Capabilities=_CAPABILITIES,
    )


def create(
    aws: LocalAws, stack: str, parameters: Mapping[str, str], **template: str | list[str]
) -> None:
    """Create a stack without `sam`, and wait for it."""
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=stack,
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        **template,
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600}
    )


@functools.cache
def content() -> str:
    """A digest of all that `sam` makes the package of, and of what makes it."""
    digest = hashlib.sha256(version("aws-sam-cli").encode())
    for path in sorted(path for name in _SOURCES for path in files(ROOT / name)):
        mode = path.stat().st_mode & 0o111
        digest.update(f"{path.relative_to(ROOT)} {mode:o}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def files(place: Path) -> Iterator[Path]:
    """The files of a place, which may be one itself, without what Python compiled."""
    if place.is_file():
        yield place
    for path in place.rglob("*") if place.is_dir() else ():
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _make(aws: LocalAws, kept: Path) -> None:
    """Let `sam` build and package, and keep the template and all that it uploaded."""
    built = aws.build(ROOT / _TEMPLATE, aws.directory / "build")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        partial = Path(scratch) / "made"
        partial.mkdir()
        aws.package(built, _BUCKET, partial / _TEMPLATE)
        s3 = aws.client("s3")
        for stored in s3.list_objects_v2(Bucket=_BUCKET).get("Contents", []):
            body = s3.get_object(Bucket=_BUCKET, Key=stored["Key"])["Body"].read()
            (partial / stored["Key"]).write_bytes(body)
        with contextlib.suppress(OSError):  # another run was faster
            partial.rename(kept)
    for older in sorted(kept.parent.iterdir(), key=os.path.getmtime)[:-_NEWEST]:
        shutil.rmtree(older, ignore_errors=True)

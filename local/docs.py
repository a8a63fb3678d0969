"""A documentation site on the local AWS: its stack, uploads, and what a visitor gets."""

import hashlib
import http.client
import io
import tarfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.executions import Execution
from local.aws import ROOT
from local.stage import Stage, StageError


@dataclass(frozen=True)
class Page:
    """What a visitor gets; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def release(self) -> str:
        """The release whose file it is."""
        return self.headers.get("x-amz-meta-release", "")

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class DocsSite:
    """A documentation site and the deployer that publishes it. Made by `set_up`."""

    stage: Stage
    site: str

    @classmethod
    def set_up(cls, deployer: Stage, site: str, **parameters: str) -> "DocsSite":
        """Deploy infrastructure/docs.yaml for a site."""
        values = {"ServiceName": site, **parameters}
        cloudformation = deployer.aws.client("cloudformation")
        cloudformation.create_stack(
            StackName=f"{site}-docs",
            TemplateBody=(ROOT / "infrastructure/docs.yaml").read_text(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=f"{site}-docs", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
        )
        stage = Stage(deployer.aws, f"docs:{site}", deployer.cluster, deployer.stack)
        return cls(stage, site)

    @property
    def outputs(self) -> Mapping[str, str]:
        """The outputs of the site's stack."""
        return self.stage.aws.outputs(f"{self.site}-docs")

    @property
    def url(self) -> str:
        """Where a browser finds the site; the local AWS speaks no TLS."""
        return self.outputs["Url"].replace("https://", "http://")

    def upload(self, archive: bytes, name: str) -> str:
        """Upload an archive of sources as `docs/<site>/<name>`; the release's digest."""
        bucket, key = self.stage.outputs["SourceBucket"], f"docs/{self.site}/{name}"
        stored = self.stage.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=archive)
        told = f"{bucket}/{key}@{stored['VersionId']}"
        return f"source:{hashlib.sha256(told.encode()).hexdigest()}"

    def started_by(self, digest: str, seconds: float = 30) -> str:
        """The ARN of the execution that an upload started, as soon as it is recorded."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for record in self.stage.records():
                if record.get("digest") == digest and record["trigger"] == "push":
                    return str(record["execution"])
            time.sleep(0.1)
        raise StageError(f"no execution was started by the upload of {digest} within {seconds} s")

    def published(self, archive: bytes, name: str) -> Execution:
        """Upload an archive and wait for the execution that it starts to end."""
        return self.stage.ended(self.started_by(self.upload(archive, name)), 300)

    def ordered(self, **order: object) -> Execution:
        """Give an order and wait for its execution to end."""
        return self.stage.ended(
            self.stage.start({**order, "site": self.site}, "DocsStateMachine"), 300
        )

    def get(self, path: str, **headers: str) -> Page:
        """What a visitor gets at a path, without following redirects.

        headers  with underscores for hyphens.
        """
        host = self.url.removeprefix("http://")
        connection = http.client.HTTPConnection("127.0.0.1", self.stage.aws.port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request("GET", path, headers={"Host": host, **sent})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Page(answer.status, found, answer.read())
        finally:
            connection.close()


def tar_gz(files: Mapping[str, bytes | str]) -> bytes:
    """An archive of files as `tar czf` makes it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """An archive of files as `zip` makes it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return packed.getvalue()


def tree(directory: Path) -> dict[str, bytes]:
    """The files below a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }

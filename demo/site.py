"""A documentation site on the local AWS: its stack, uploads, and what a visitor gets.

The handbook is a site to try it with: a static export of Next.js shaped like Coder's, with `docs/`
beside `offlinedocs/`.
"""

import hashlib
import http.client
import io
import json
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.executions import Execution
from demo import ROOT
from demo.stage import Stage, StageError


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
        values = {"ServiceName": site, "DeployerStack": deployer.stack, **parameters}
        cloudformation = deployer.aws.client("cloudformation")
        cloudformation.create_stack(
            StackName=f"{site}-docs",
            TemplateBody=(ROOT / "infrastructure/docs.yaml").read_text(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
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
        version = f"{bucket}/{key}@{stored['VersionId']}"
        return f"source:{hashlib.sha256(version.encode()).hexdigest()}"

    def started_by(self, digest: str, seconds: float = 120) -> str:
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
        return self.stage.ended(self.started_by(self.upload(archive, name)), 900)

    def requested(self, **request: object) -> Execution:
        """Give a request and wait for its execution to end."""
        return self.stage.ended(
            self.stage.start({**request, "site": self.site}, "DocsStateMachine"), 300
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
            by_name = {name.lower(): value for name, value in answer.getheaders()}
            return Page(answer.status, by_name, answer.read())
        finally:
            connection.close()


HANDBOOK = Path(__file__).parent / "handbook"
_CHAPTERS = (
    *("Install", "Configure", "Networking", "Storage", "Identity", "Templates"),
    *("Workspaces", "Monitoring", "Security", "Upgrades", "Reference", "Troubleshooting"),
)


def handbook(
    changes: Mapping[str, bytes | str | None] | None = None, pages: int = 120
) -> dict[str, bytes | str]:
    """The sources of the handbook: its generator as it lies in `demo/handbook`, and its text.

    changes  files with other content; None leaves one out.
    pages    how many in all, the front page among them; each chapter has a picture.
    """
    chapters = {name: f"{name.lower()}/index.md" for name in _CHAPTERS}
    sections: dict[str, list[str]] = {name: [] for name in _CHAPTERS}
    for number in range(pages - 1 - len(chapters)):
        name = _CHAPTERS[number % len(chapters)]
        sections[name].append(f"{name.lower()}/part-{len(sections[name]) + 1:02}.md")
    routes: list[dict[str, object]] = [{"path": "./index.md", "title": "Handbook"}]
    routes += [
        {
            "path": f"./{index}",
            "title": name,
            "children": [
                {"path": f"./{path}", "title": f"{name}, part {number}"}
                for number, path in enumerate(sections[name], 1)
            ],
        }
        for name, index in chapters.items()
    ]
    links = "\n".join(f"- [{name}]({index})" for name, index in chapters.items())
    files: dict[str, bytes | str | None] = {
        **tree(HANDBOOK),
        "docs/manifest.json": json.dumps({"routes": routes}),
        "docs/index.md": f"# Handbook\n\nEverything in its place.\n\n{links}\n",
    }
    for place, (name, index) in enumerate(chapters.items()):
        files[f"docs/images/{name.lower()}.png"] = _picture(place)
        files[f"docs/{index}"] = _page(name, name, [f"./{Path(p).name}" for p in sections[name]])
        for number, path in enumerate(sections[name], 1):
            files[f"docs/{path}"] = _page(f"{name}, part {number}", name, ["./index.md"])
    files |= changes or {}
    return {path: content for path, content in files.items() if content is not None}


def _page(title: str, chapter: str, links: Sequence[str]) -> str:
    """A page of the handbook with what pages have: headings, a table, code, a picture, links."""
    rows = "\n".join(
        f"| `{chapter.upper()}_OPTION_{n}` | {n * 7 % 11} | For {title.lower()}, case {n} |"
        for n in range(1, 13)
    )
    steps = "\n".join(
        f"{n}. Look at `{chapter.lower()}` on host {n}, and note what it answers."
        for n in range(1, 9)
    )
    return (
        f"# {title}\n\nThis page is about {title.lower()}.\n\n"
        f"![{chapter}](../images/{chapter.lower()}.png)\n\n"
        f"## Settings\n\n| name | default | meaning |\n|---|---|---|\n{rows}\n\n"
        f"## Step by step\n\n{steps}\n\n```sh\nhandbook {chapter.lower()} --show\n```\n\n"
        "## See also\n\n" + "\n".join(f"- [{Path(link).stem}]({link})" for link in links) + "\n"
    )


def _picture(number: int, side: int = 192) -> bytes:
    """A PNG that no other number has: https://www.w3.org/TR/png/."""
    rows = b"".join(
        b"\0" + bytes((x * (number + 2) ^ y * y + z) & 255 for x in range(side) for z in range(3))
        for y in range(side)
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


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

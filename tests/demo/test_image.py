"""Images of the demo application, and the command that pushes them."""

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from demo import image as command
from demo.image import DEMO_APP, DEMO_FAULTS, demo_release
from demo.oci import ImageError, ecr_login
from local_aws.aws import LocalAws
from tests.demo.conftest import members

# The demo application


def test_a_release_is_labelled_with_its_version_and_schema() -> None:
    labels = demo_release("2.0.0-devel+e0f93fb88", schema=2).config["config"]["Labels"]

    migrations = sorted((DEMO_APP / "migrations").iterdir())[:2]
    content = b"".join(file.name.encode() + file.read_bytes() for file in migrations)
    assert labels["org.opencontainers.image.version"] == "2.0.0-devel+e0f93fb88"
    assert labels["deployer.schema.number"] == "2"
    assert labels["deployer.schema.hash"] == hashlib.sha256(content).hexdigest()


def test_a_release_has_the_migrations_up_to_its_schema() -> None:
    result = members(demo_release("1.0.0", schema=2))

    names = [name.rpartition("/")[2] for name in result if name.endswith(".sql")]
    assert names == ["000001_initial.up.sql", "000002_workspaces.up.sql"]
    assert result["opt/app/server.py"].mode == 0o755


def test_releases_differ_in_their_last_layer_alone() -> None:
    first, second = demo_release("1.0.0"), demo_release("1.1.0")

    assert first.layers[0] == second.layers[0]
    assert first.layers[1] != second.layers[1]


def test_every_fault_gives_another_image() -> None:
    digests = {demo_release("1.0.0", fault=fault).digest for fault in (None, *DEMO_FAULTS)}

    assert len(digests) == 1 + len(DEMO_FAULTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fault": "explodes"}, "no fault 'explodes'; there are: exit-at-start, "),
        ({"schema": 0}, "has no schema 0; it has: 1, 2, 3"),
        ({"schema": 99}, "has no schema 99; it has: 1, 2, 3"),
    ],
)
def test_a_release_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        demo_release("1.0.0", **options)


# The command


@dataclass(frozen=True)
class Repository:
    aws: LocalAws
    name: str

    def get(self, path: str) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self.aws.endpoint}/v2/{self.name}/{path}"
            return session.get(url, auth=ecr_login(self.aws.client("ecr")), timeout=60).json()


@pytest.fixture
def repository(aws: LocalAws) -> Repository:
    name = f"test-{uuid.uuid4().hex[:8]}"
    aws.client("ecr").create_repository(repositoryName=name)
    return Repository(aws, name)


def test_the_command_pushes_a_release(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LocalAws, "attach", lambda: repository.aws)
    words = ["--tag", "2.0.0-devel+e0f93fb88", "--schema", "2", "--fault", "exit-late"]

    code = command.main(["push", "--repository", repository.name, *words, "--seconds", "3"])

    expected = demo_release("2.0.0-devel+e0f93fb88", 2, "exit-late", seconds=3)
    printed = capsys.readouterr()
    assert code == 0
    assert printed.out == f"{repository.name}:2.0.0-devel-e0f93fb88@{expected.digest}\n"
    assert len(printed.err.splitlines()) == 4
    assert repository.get("manifests/2.0.0-devel-e0f93fb88") == expected.manifest


def test_the_command_pushes_a_directory_to_the_endpoint_of_the_environment(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.py").write_text("print('hello')\n")
    words = ["--directory", str(tmp_path), "--entrypoint", "python3 server.py 'a b'"]
    words += ["--command", "serve"]
    words += ["--env", "MODE=demo=1", "--label", "team=web", "--platform", "linux/arm64"]

    monkeypatch.setenv("AWS_ENDPOINT_URL", repository.aws.endpoint)
    monkeypatch.chdir(tmp_path)  # the application's, not that of the local AWS
    code = command.main(["push", "--repository", repository.name, "--tag", "1.0.0", *words])

    assert code == 0
    config = repository.get("manifests/1.0.0")["config"]["digest"]
    pulled = repository.get(f"blobs/{config}")
    assert pulled["architecture"] == "arm64"
    assert pulled["config"] == {
        "Cmd": ["serve"],
        "Entrypoint": ["python3", "server.py", "a b"],
        "Env": ["MODE=demo=1"],
        "Labels": {"org.opencontainers.image.version": "1.0.0", "team": "web"},
        "WorkingDir": "/app",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--directory", "."], "--directory needs --entrypoint or --command"),
        (["--command", "run"], "--command and --env belong to --directory"),
        (["--directory", ".", "--entrypoint", "x", "--schema", "1"], "--schema belongs to"),
        (["--fault", "explodes"], "invalid choice: 'explodes'"),
        (["--label", "team"], "'team' is not NAME=VALUE"),
    ],
)
def test_a_contradictory_command_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["push", "--repository", "demo", "--tag", "1.0.0", *words])

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--schema", "99"], "has no schema 99"),
        (["--directory", "/nowhere", "--entrypoint", "x"], "No such file or directory"),
        (["--endpoint", "http://127.0.0.1:1"], "Could not connect to the endpoint URL"),
    ],
)
def test_a_failing_command_says_why(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["push", "--repository", "demo", "--tag", "1.0.0", *words]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_without_a_local_aws_the_command_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attach = LocalAws.attach
    monkeypatch.setattr(LocalAws, "attach", lambda: attach(tmp_path))

    assert command.main(["push", "--repository", "demo", "--tag", "1.0.0"]) == 1
    assert "make local" in capsys.readouterr().err

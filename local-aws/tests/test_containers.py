"""Images are fetched, verified, unpacked and run as processes, safely."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

import images as made
from ecs_support import World, until
from local_aws.aws import LocalAws
from local_aws.shims import containers
from support import SOURCES

REPOSITORY = "000000000000.dkr.ecr.us-east-1.amazonaws.com/app"


@pytest.fixture
def world(aws: LocalAws, name: str) -> Iterator[World]:
    result = World(aws, name)
    yield result
    result.close()


class Memory:
    """A registry in memory."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.asked: list[str] = []

    def add(self, content: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.content[digest] = content
        return {"digest": digest, "size": len(content)}

    def put(self, *layers: bytes, architecture: str = "amd64", **run: Any) -> str:
        """An image with these layers; its digest."""
        config = {"architecture": architecture, "os": "linux", "config": run}
        manifest = {
            "schemaVersion": 2,
            "mediaType": made.MANIFEST,
            "config": self.add(json.dumps(config).encode()),
            "layers": [self.add(layer) for layer in layers],
        }
        digest: str = self.add(json.dumps(manifest).encode())["digest"]
        return digest

    def manifest(self, reference: containers.Reference) -> bytes:
        assert reference.digest
        return self.blob(reference, reference.digest).read()

    def blob(self, reference: containers.Reference, digest: str) -> io.BytesIO:
        self.asked.append(digest)
        return io.BytesIO(self.content[digest])


def apply(content: bytes, root: Path) -> None:
    containers.apply(io.BytesIO(content), root)


def layer(*entries: tuple[str, bytes | str | None], kind: bytes = tarfile.SYMTYPE) -> bytes:
    """A compressed layer of files (bytes), links (str) and directories (None)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = kind, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return gzip.compress(packed.getvalue())


@pytest.fixture
def registry() -> Memory:
    return Memory()


@pytest.fixture
def images(tmp_path: Path) -> containers.Images:
    return containers.Images(tmp_path)


class Run:
    """A container that was started, its output and its exit code."""

    def __init__(self, unpacked: containers.Image, **given: Any) -> None:
        self.lines: list[str] = []
        self._codes: queue.SimpleQueue[int] = queue.SimpleQueue()
        settings: dict[str, Any] = {
            "address": "127.9.250.250",
            "entrypoint": None,
            "command": None,
            "working_directory": None,
            "environment": {},
            "write": self.lines.append,
            "ended": self._codes.put,
        }
        self.container = containers.Container(unpacked, **settings | given)

    def code(self) -> int:
        return self._codes.get(timeout=10)


def run(images: containers.Images, registry: Memory, digest: str, **given: Any) -> Run:
    unpacked = images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry)
    return Run(unpacked, **given)


# References and manifests


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (f"{REPOSITORY}:1.2", ("000000000000", "us-east-1", "app", "1.2", None)),
        (REPOSITORY, ("000000000000", "us-east-1", "app", "latest", None)),
        ("localhost:4566/team/app:x", (None, None, "team/app", "x", None)),
        (
            f"{REPOSITORY}:1@sha256:{'a' * 64}",
            ("000000000000", "us-east-1", "app", "1", f"sha256:{'a' * 64}"),
        ),
    ],
)
def test_references_of_ecr_are_understood(text: str, reference: tuple[str | None, ...]) -> None:
    assert containers.Reference.parse(text) == containers.Reference(*reference)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["nginx", "docker.io/library/nginx:1", f"{REPOSITORY}@sha256:12"])
def test_nothing_is_fetched_from_elsewhere(text: str) -> None:
    with pytest.raises(containers.PullError, match="not found"):
        containers.Reference.parse(text)


def test_an_index_gives_the_child_of_the_platform(
    images: containers.Images, registry: Memory
) -> None:
    children = {
        name: registry.put(layer(("which", name.encode())), architecture=name)
        for name in ("amd64", "arm64")
    }
    attestation = {
        "digest": registry.put(),
        "platform": {"os": "unknown", "architecture": "unknown"},
    }
    index = {
        "mediaType": made.INDEX,
        "manifests": [
            attestation,
            *(
                {"digest": digest, "platform": {"os": "linux", "architecture": name}}
                for name, digest in children.items()
            ),
        ],
    }
    digest = registry.add(json.dumps(index).encode())["digest"]
    for request, name in (("X86_64", "amd64"), ("ARM64", "arm64")):
        unpacked = images.pull(f"{REPOSITORY}@{digest}", request, registry)
        assert (unpacked.root / "which").read_text() == name
        assert unpacked.digest == digest
    del index["manifests"][2]  # type: ignore[attr-defined]
    digest = registry.add(json.dumps(index).encode())["digest"]
    with pytest.raises(containers.PullError, match="descriptor matching platform 'linux/arm64'"):
        images.pull(f"{REPOSITORY}@{digest}", "ARM64", registry)


def test_layers_are_unpacked_once_and_the_manifest_is_always_asked_for(
    images: containers.Images, registry: Memory
) -> None:
    digest = registry.put(layer(("a", b"1")))
    first = images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry)
    registry.asked.clear()
    assert images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry) is first
    assert registry.asked == [digest]


@pytest.mark.parametrize("what", ["manifest", "layer"])
def test_content_that_is_not_what_its_digest_says_is_refused(
    images: containers.Images, registry: Memory, what: str
) -> None:
    digest = registry.put(layer(("a", b"1")))
    document = digest if what == "manifest" else json.loads(registry.content[digest])["layers"][0]
    key = document if isinstance(document, str) else document["digest"]
    registry.content[key] += b" "
    with pytest.raises(containers.PullError, match="unexpected"):
        images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry)


# Unpacking: OCI image-spec, layer.md


def test_later_layers_change_and_remove_what_earlier_ones_made(tmp_path: Path) -> None:
    apply(
        layer(("a/one", b"1"), ("a/two", b"2"), ("b/three", b"3"), ("c", b"4"), ("d/x", b"5")),
        tmp_path,
    )
    apply(
        layer(
            ("a/one", b"changed"),
            ("a/.wh.two", b""),
            ("b/.wh..wh..opq", b""),
            ("b/new", b"6"),
            (".wh.d", b""),
            ("c", None),
            ("c/inside", b"7"),
        ),
        tmp_path,
    )
    matches = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert matches == {"a/one": b"changed", "b/new": b"6", "c/inside": b"7"}


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/../out"])
def test_no_entry_climbs_out(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(containers.UnsafeLayer):
        apply(layer((name, b"evil")), root)
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize("target", ["/", "..", "../..", "/out"])
def test_links_lead_nowhere_outside(tmp_path: Path, target: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    outside.mkdir()
    apply(layer(("link", target), ("link/written", b"inside")), root)
    assert [path.name for path in outside.iterdir()] == []
    assert [path.name for path in tmp_path.iterdir() if path not in (root, outside)] == []
    assert len(list(root.rglob("written"))) == 1


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "absent"])
def test_hard_links_to_outside_are_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(containers.UnsafeLayer):
        apply(layer(("stolen", target), kind=tarfile.LNKTYPE), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_does_not_write_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    root = tmp_path / "root"
    root.mkdir()
    apply(layer(("link", str(victim))), root)
    apply(layer(("link", b"theirs")), root)
    assert victim.read_text() == "mine"
    assert (root / "link").read_text() == "theirs"


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    with pytest.raises(containers.UnsafeLayer, match="symbolic links"):
        apply(layer(("a", "b"), ("b", "a"), ("a/file", b"")), tmp_path)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_a_layer_is_unpacked_however_it_is_compressed_and_ends(
    compress: Callable[[bytes], bytes], padded: bool, images: containers.Images, registry: Memory
) -> None:
    content = gzip.decompress(layer(("first", b"1" * 600), ("last", b"2" * 600)))
    if not padded:
        content = content.rstrip(b"\0")
    digest = registry.put(compress(content))
    root = images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry).root
    assert (root / "first").read_bytes() + (root / "last").read_bytes() == b"1" * 600 + b"2" * 600


def test_an_image_of_docker_is_pulled(images: containers.Images, registry: Memory) -> None:
    docker = "application/vnd.docker.distribution.manifest"
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app"]}}
    child = {
        "schemaVersion": 2,
        "mediaType": f"{docker}.v2+json",
        "config": registry.add(json.dumps(config).encode()),
        "layers": [registry.add(layer(("app", b"#!/bin/sh\n")))],
    }
    entry = registry.add(json.dumps(child).encode())
    entry |= {"platform": {"os": "linux", "architecture": "amd64"}}
    index = {"schemaVersion": 2, "mediaType": f"{docker}.list.v2+json", "manifests": [entry]}
    digest = registry.add(json.dumps(index).encode())["digest"]
    pulled = images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry)
    assert (pulled.digest, pulled.command) == (digest, ("/app",))
    assert (pulled.root / "app").read_bytes() == b"#!/bin/sh\n"


@pytest.mark.parametrize("broken", [b"no tar", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd" + b"\xff" * 20])
def test_a_broken_layer_is_a_pull_error(
    broken: bytes, images: containers.Images, registry: Memory
) -> None:
    digest = registry.put(broken)
    with pytest.raises(containers.PullError):
        images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry)
    assert list(images.directory.iterdir()) == []


# Running


def test_a_container_gets_its_image_and_its_task_and_nothing_of_the_server(
    images: containers.Images, registry: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_SERVER", "secret")
    script = b'#!/bin/sh\npwd -P\necho "$A $B $HOST $HOSTNAME [$OF_THE_SERVER]"\ncat "$1" "$2"\n'
    digest = registry.put(
        layer(("srv/run", script), ("srv/data", b"data of the image\n")),
        Entrypoint=["/srv/run"],
        Cmd=["data", "/srv/data"],
        Env=["A=image", "B=image", "HOST=0.0.0.0:3000"],
        WorkingDir="/srv",
    )
    started = run(images, registry, digest, environment={"B": "task"})
    assert started.code() == 0
    where, message, *data = started.lines
    assert where.startswith(str(images.directory)) and where.endswith("/srv")
    assert message == "image task 127.9.250.250:3000 ip-127-9-250-250 []"
    assert data == ["data of the image"] * 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "image command"),
        ({"command": ["task"]}, "image task"),
        ({"entrypoint": ["/bin/echo", "own"]}, "own"),  # and the image's command is dropped
        ({"entrypoint": ["/bin/echo"], "command": ["both"]}, "both"),
    ],
)
def test_the_task_definition_overrides_as_docker_does(
    images: containers.Images, registry: Memory, given: dict[str, Any], message: str
) -> None:
    digest = registry.put(Entrypoint=["/bin/echo", "image"], Cmd=["command"])
    started = run(images, registry, digest, **given)
    assert started.code() == 0
    assert started.lines == [message]


def test_what_the_image_brings_comes_before_what_the_host_has(
    images: containers.Images, registry: Memory
) -> None:
    tool = b"#!/opt/interpreter\n"
    digest = registry.put(
        layer(
            ("opt/interpreter", b'#!/bin/sh\necho "interpreted by the image"\n'),
            ("usr/bin/env", b'#!/bin/sh\necho "not this one"\n'),
            ("opt/bin/tool", tool),
            ("opt/absolute", "/opt/bin/tool"),
        ),
        Env=["PATH=/opt/bin:/usr/bin"],
    )
    for program in ("tool", "/opt/bin/tool", "/opt/absolute"):
        started = run(images, registry, digest, entrypoint=[program])
        assert started.code() == 0
        assert started.lines == ["interpreted by the image"]


def system(*programs: str) -> bytes:
    """A layer of programs of this machine with the libraries that they need, as /bin/<name>."""
    files = {f"bin/{Path(program).name}": Path(program) for program in programs}
    for program in programs:
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        for library in re.findall(r"(/\S+) \(0x", linked.stdout):
            files[library.lstrip("/")] = Path(library)
    return layer(*((name, file.read_bytes()) for name, file in files.items()))


def test_an_image_with_a_system_of_its_own_sees_nothing_of_the_host(
    images: containers.Images, registry: Memory
) -> None:
    script = b"""#!/bin/sh
pwd; id -u; echo /*; cat /etc/hosts; cat /proc/self/comm; test -e "$1" || echo "no $1"
echo x > written; echo "[$PATH] $HOST"; echo to nobody > /dev/null
"""
    digest = registry.put(
        system("/bin/sh", "/bin/cat", "/usr/bin/id"),
        layer(("srv/run", script)),
        Entrypoint=["./run"],
        Cmd=[str(images.directory)],
        Env=["HOST=0.0.0.0:3000"],
        WorkingDir="/srv",
    )
    started = run(images, registry, digest)
    assert started.code() == 0, started.lines
    hosts = "127.9.250.250 localhost ip-127-9-250-250"
    where, user, top, names, itself, missing, variables = started.lines
    assert (where, user, names, itself) == ("/srv", "0", hosts, "cat")
    assert missing == f"no {images.directory}"
    assert {"/bin", "/srv", "/proc", "/dev", "/etc"} <= set(top.split())
    assert not {"/home", "/root", "/work"} & set(top.split())
    assert variables == (
        "[/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin] 127.9.250.250:3000"
    )


def test_a_health_check_sees_the_system_of_its_image(
    images: containers.Images, registry: Memory
) -> None:
    digest = registry.put(
        system("/bin/sh", "/bin/sleep"), layer(("app/here", b"")), Cmd=["sleep", "60"]
    )
    container = run(images, registry, digest).container
    assert container.run(["CMD-SHELL", "test -e /app/here && ! test -e /home"], 5) == 0
    assert container.run(["CMD", "cat", "/app/here"], 5) == 126  # not in the image
    container.stop(5)


@pytest.mark.parametrize(
    ("entrypoint", "why"),
    [
        (["cat"], r"executable file not found in \$PATH"),
        (["/usr/bin/env"], "no such file or directory"),
        (["/data"], "permission denied"),
    ],
)
def test_what_an_image_with_a_system_lacks_is_not_taken_from_the_host(
    images: containers.Images, registry: Memory, entrypoint: list[str], why: str
) -> None:
    digest = registry.put(system("/bin/sh"), layer(("data", b"")), Entrypoint=entrypoint)
    unpacked = images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry)
    (unpacked.root / "data").chmod(0o600)
    with pytest.raises(containers.StartError, match=why):
        run(images, registry, digest)


def test_every_container_writes_to_files_of_its_own(
    images: containers.Images, registry: Memory
) -> None:
    script = b'#!/bin/sh\necho x >> "$(dirname "$0")/seen"\nwc -l < "$(dirname "$0")/seen"\n'
    digest = registry.put(layer(("run", script), ("seen", b"")), Entrypoint=["/run"])
    for _ in range(2):
        started = run(images, registry, digest)
        started.code()
        assert [line.strip() for line in started.lines] == ["1"]
    assert [path.name[:6] for path in images.directory.iterdir()] == ["image-"]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_exit_codes_are_dockers(
    images: containers.Images, registry: Memory, script: str, code: int
) -> None:
    digest = registry.put(Entrypoint=["/bin/sh", "-c", script])
    assert run(images, registry, digest).code() == code


def ready(started: Run) -> None:
    until(lambda: started.lines, len)


def test_stop_asks_first(images: containers.Images, registry: Memory) -> None:
    script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    started = run(images, registry, registry.put(Entrypoint=["/bin/sh", "-c", script]))
    ready(started)
    started.container.stop(10)
    assert started.code() == 4
    assert started.lines == ["ready", "bye"]
    started.container.stop(10)  # a second time does nothing


def test_stop_kills_what_does_not_listen(images: containers.Images, registry: Memory) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    started = run(images, registry, registry.put(Entrypoint=["/bin/sh", "-c", script]))
    ready(started)
    started.container.stop(0.2)
    assert started.code() == 137


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


DETACHED = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(60)"


def test_what_the_main_process_leaves_behind_dies_with_it(
    images: containers.Images, registry: Memory
) -> None:
    script = f'"{sys.executable}" -S -c "{DETACHED}" & read -r line < release; exit 0'
    digest = registry.put(
        layer(("work", None)),
        Entrypoint=["/bin/sh", "-c", f"mkfifo release; {script}"],
        WorkingDir="/work",
    )
    started = run(images, registry, digest)
    ready(started)
    detached = int(started.lines[0])
    assert alive(detached)
    (fifo,) = images.directory.glob("container-*/work/release")
    fifo.write_text("\n")
    assert started.code() == 0
    assert not alive(detached)


def test_containers_die_with_the_server_however_it_dies(tmp_path: Path) -> None:
    program = f"""
import pathlib, sys, time
from local_aws.shims import containers
root = pathlib.Path({str(tmp_path)!r})
(root / "image").mkdir()
image = containers.Image("", root / "image", ("{sys.executable}", "-S", "-c", {DETACHED!r}), (),
                         {{}}, "/")
containers.Container(image, address="127.9.250.251", entrypoint=None, command=None,
                     working_directory=None, environment={{}}, ended=print,
                     write=lambda line: print(line, flush=True))
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=SOURCES, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        detached = int(server.stdout.readline())
        assert alive(detached)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: alive(detached), lambda yes: not yes)


@pytest.mark.parametrize(
    ("entrypoint", "why"),
    [
        (["nowhere"], r"executable file not found in \$PATH"),
        (["/app/nowhere"], "no such file or directory"),
        (["/data"], "permission denied"),
        ([], "no command specified"),
    ],
)
def test_what_cannot_be_run_is_said(
    images: containers.Images, registry: Memory, entrypoint: list[str], why: str
) -> None:
    digest = registry.put(layer(("data", b"")), Entrypoint=entrypoint)
    unpacked = images.pull(f"{REPOSITORY}@{digest}", "X86_64", registry)
    (unpacked.root / "data").chmod(0o600)
    with pytest.raises(containers.StartError, match=why):
        run(images, registry, digest)
    assert [path.name[:6] for path in images.directory.iterdir()] == ["image-"]


def test_a_program_without_an_interpreter_fails_when_it_runs(
    images: containers.Images, registry: Memory
) -> None:
    digest = registry.put(layer(("run", b"neither script nor binary")), Entrypoint=["/run"])
    started = run(images, registry, digest)
    assert started.code() == 1
    assert started.lines[0].endswith("/run: exec format error")


def test_a_health_check_runs_in_the_container(images: containers.Images, registry: Memory) -> None:
    digest = registry.put(
        layer(("app/here", b"")), Entrypoint=["/bin/sleep", "60"], WorkingDir="/app"
    )
    container = run(images, registry, digest, environment={"COLOUR": "blue"}).container
    assert container.run(["CMD-SHELL", 'test "$COLOUR" = blue && test -e here'], 5) == 0
    assert container.run(["CMD", "test", "-e", "/app/here"], 5) == 0
    assert container.run(["CMD", "test", "127.9.250.250", "=", "localhost"], 5) == 0
    assert container.run(["CMD-SHELL", "exit 6"], 5) == 6
    assert container.run(["CMD", "nowhere"], 5) == 126
    assert container.run(["CMD", "sleep", "60"], 0.2) == 137
    container.stop(5)


def test_a_container_starts_however_many_files_the_server_has_open(tmp_path: Path) -> None:
    open_files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        process, lifeline = containers.spawn(["/bin/sh", "-c", "exit 3"], os.environ, tmp_path)
        with process:
            assert process.wait() == 3
        os.close(lifeline)
    finally:
        for number in open_files:
            os.close(number)


def test_many_containers_start_and_stop_at_once(
    images: containers.Images, registry: Memory
) -> None:
    digest = registry.put(Entrypoint=["/bin/sh", "-c", "echo ready; exec sleep 60"])
    started = [run(images, registry, digest) for _ in range(8)]
    for one in started:
        ready(one)
    stops = [threading.Thread(target=one.container.stop, args=(10,)) for one in started]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join(10)
    assert [one.code() for one in started] == [143] * 8


# In the local AWS


def test_a_pushed_image_runs_by_digest_by_tag_and_by_port(world: World) -> None:
    ecr, child = world.aws.client("ecr"), world.server.partition("@")[2]
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {"mediaType": made.MANIFEST, "digest": child, "size": 1, "platform": platform}
    index = {"schemaVersion": 2, "mediaType": made.INDEX, "manifests": [entry]}
    digest = made.put(ecr, world.name, index, "v1")
    by_digest = f"{world.registry}/{world.name}@{digest}"
    by_tag = f"{world.registry}/{world.name}:v1"
    by_port = f"{world.aws.registry}/{world.name}@{digest}"
    for uri in (by_digest, by_tag, by_port):
        arn = world.run(world.define(uri))
        assert world.get(arn)["HOST"].startswith("127.9.")
        assert world.task(arn)["containers"][0]["imageDigest"] == digest
        assert world.log(arn) == ["listening"]


def test_an_image_that_was_deleted_cannot_be_started_again(world: World) -> None:
    definition = world.define()
    world.get(world.run(definition))
    repository, _, digest = world.server.rpartition("/")[2].partition("@")
    world.aws.client("ecr").batch_delete_image(
        repositoryName=repository, imageIds=[{"imageDigest": digest}]
    )
    task = world.ended(world.run(definition))
    assert task["stoppedReason"].startswith("CannotPullContainerError: ")
    assert task["stoppedReason"].endswith(f"{world.server}: not found")


def test_a_command_that_is_not_there_fails_the_start(world: World) -> None:
    task = world.ended(world.run(world.define(entryPoint=["nowhere"])))
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotStartContainerError: ")
    assert 'exec: "nowhere": executable file not found in $PATH' in task["stoppedReason"]

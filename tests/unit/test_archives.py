"""Archives that are odd, in builds and docs alike: dropped, taken, or refused with a reason."""

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from buildspecs import image
from buildspecs.image import Failed
from deployer.docs import sources
from deployer.docs.site import Build
from deployer.errors import SourcesRejected

FILES = {
    "package.json": b'{"scripts": {"build": "x"}}',
    "pnpm-lock.yaml": b"",
    "db/1_a.up.sql": b"create table a",
}
OF_MACOS = {
    "__MACOSX/._package.json": b"\0\5\26\7",
    "__MACOSX/db/._1_a.up.sql": b"\0\5\26\7",
    "._db": b"\0\5\26\7",
    "db/._1_a.up.sql": b"\0\5\26\7",
    ".DS_Store": b"\0\0\0\1Bud1",
    "db/.DS_Store": b"\0\0\0\1Bud1",
}


def tarred(files: dict[str, bytes], *members: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, errors="surrogateescape") as tar:  # type: ignore[call-overload]
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return packed.getvalue()


def zipped(*entries: tuple[str, int, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, mode, content in entries:
            info = zipfile.ZipInfo(path)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return packed.getvalue()


def plain(files: dict[str, bytes]) -> bytes:
    return zipped(*((path, 0o100644, content) for path, content in files.items()))


def patched(archive: bytes, local: int, central: int, value: int) -> bytes:
    """A zip with a 16-bit field changed in its first entry's two headers."""
    changed = bytearray(archive)
    struct.pack_into("<H", changed, local, value)
    struct.pack_into("<H", changed, archive.index(b"PK\1\2") + central, value)
    return bytes(changed)


def member(path: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    result = tarfile.TarInfo(path)
    result.type, result.linkname = kind, link
    return result


def built(archive: bytes, name: str, here: Path) -> dict[str, bytes]:
    """What a build unpacks; nothing is ever written beside the tree."""
    (here / "archive").write_bytes(archive)
    tree = here / "below/tree"
    tree.mkdir(parents=True)
    try:
        image.unpack(here / "archive", tree, name)
    except image.UNREADABLE as error:
        raise Failed("SourcesRejected", f"{name}: {error}") from None
    finally:
        assert {path.name for path in here.iterdir()} == {"archive", "below"}
        assert {path.name for path in (here / "below").iterdir()} == {"tree"}
    return {
        str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()
    }


def published(archive: bytes, name: str, _: Path) -> dict[str, bytes]:
    """What goes on to a build of docs."""
    into = io.BytesIO()
    sources.repack(io.BytesIO(archive), name, into, Build("", "", ""))
    with zipfile.ZipFile(into) as packed:
        return {path: packed.read(path) for path in packed.namelist()}


BOTH = pytest.mark.parametrize("unpacked", [built, published])
type Unpacked = Callable[[bytes, str, Path], dict[str, bytes]]


@BOTH
@pytest.mark.parametrize(
    ("archive", "name"),
    [
        (tarred({**OF_MACOS, **FILES}), "a.tar.gz"),
        (plain({**OF_MACOS, **FILES}), "a.zip"),
    ],
)
def test_what_macos_adds_is_left_out(
    unpacked: Unpacked, archive: bytes, name: str, tmp_path: Path
) -> None:
    assert unpacked(archive, name, tmp_path) == FILES


def test_what_macos_adds_changes_neither_the_top_folder_nor_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIGRATIONS", "db/*.up.sql")

    def schema(files: dict[str, bytes], name: str) -> dict[str, str]:
        class S3:
            def get_object(self, **_: str) -> dict[str, io.BytesIO]:
                return {"Body": io.BytesIO(plain(files))}

        for variable, value in {"KEY": name, "BUCKET": "b", "VERSION": ""}.items():
            monkeypatch.setenv(f"SOURCE_{variable}", value)
        monkeypatch.setattr(image, "client", lambda _: S3())
        image.fetch()
        return image.schema()

    below = {f"coder-1.2/{path}": content for path, content in FILES.items()}
    of_macos = {f"coder-1.2/{path}": content for path, content in OF_MACOS.items()}
    clean = schema(below, "a.zip")
    assert clean
    assert schema({**of_macos, **below, "__MACOSX/._coder-1.2": b"\0"}, "b.zip") == clean


REFUSED = {
    "deflate64": (patched(plain(FILES), 8, 10, 9), "a.zip", "deflate64"),
    "encrypted": (patched(plain(FILES), 6, 8, 1), "a.zip", "encrypted"),
    "unknown method": (patched(plain(FILES), 8, 10, 77), "a.zip", "method 77"),
    "truncated zip": (plain(FILES)[:-40], "a.zip", ""),
    "truncated tar.gz": (tarred(FILES)[:60], "a.tar.gz", ""),
    "other content than its checksum": (patched(plain(FILES), 14, 16, 1), "a.zip", ""),
    "no archive": (b"hello", "a.tar.gz", ""),
    "nothing": (b"", "a.tar.gz", ""),
    "absolute": (plain({**FILES, "/etc/passwd": b"x"}), "a.zip", "climbs out"),
    "drive": (plain({**FILES, "C:/x": b"x"}), "a.zip", "climbs out"),
    "dots": (plain({**FILES, "a/../../x": b"x"}), "a.zip", "climbs out"),
    "backslash dots": (plain({**FILES, "..\\x": b"x"}), "a.zip", "climbs out"),
    "tar dots": (tarred({**FILES, "../x": b"x"}), "a.tar.gz", "climbs out"),
    "twice in a tar": (tarred({**FILES, "./package.json": b"x"}), "a.tar.gz", "twice"),
    "twice in a zip": (plain({**FILES, "./package.json": b"x"}), "a.zip", "twice"),
    "link outside": (zipped(("a", 0o120777, b"../../etc")), "a.zip", "link"),
    "absolute link": (zipped(("a", 0o120777, b"/etc")), "a.zip", "link"),
    "link over a link": (
        zipped(("d", 0o120777, b"."), ("d/up", 0o120777, b".."), ("d/up/x", 0o100644, b"x")),
        "a.zip",
        "link",
    ),
    "device in a tar": (tarred(FILES, member("a", tarfile.CHRTYPE)), "a.tar.gz", "neither"),
    "pipe in a tar": (tarred(FILES, member("a", tarfile.FIFOTYPE)), "a.tar.gz", "neither"),
    "device in a zip": (zipped(("a", 0o020644, b"")), "a.zip", "neither"),
    "hard link outside": (tarred(FILES, member("a", tarfile.LNKTYPE, "../x")), "a.tar.gz", ""),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("odd", REFUSED)
def test_an_odd_archive_is_refused_with_a_reason(
    unpacked: Unpacked, odd: str, tmp_path: Path
) -> None:
    archive, name, why = REFUSED[odd]
    if unpacked is built and odd == "nothing":
        archive = b"\0"
    with pytest.raises((Failed, SourcesRejected)) as refused:
        unpacked(archive, name, tmp_path)
    assert why in str(refused.value)


@BOTH
def test_a_name_that_macos_wrote_in_utf8_is_that_name(unpacked: Unpacked, tmp_path: Path) -> None:
    stored = "grün.md".encode().decode("cp437")
    archive = plain({**FILES, stored: b"x"})
    # zipfile marks what it writes itself as UTF-8, and macOS does not
    raw = archive.replace(stored.encode(), "grün.md".encode().ljust(len(stored.encode()), b"_"))
    flagged = bytearray(raw)
    for at in (raw.rindex(b"PK\3\4") + 6, raw.rindex(b"PK\1\2") + 8):
        struct.pack_into("<H", flagged, at, 0)
    assert any(path.startswith("grün.md") for path in unpacked(bytes(flagged), "a.zip", tmp_path))


def test_a_name_in_latin_1_is_built_and_hashed_but_no_page_of_a_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tarred({**FILES, os.fsdecode(b"db/2_gr\xfcn.up.sql"): b"x"})
    assert os.fsdecode(b"db/2_gr\xfcn.up.sql") in built(archive, "a.tar.gz", tmp_path)
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setenv("MIGRATIONS", "db/*.up.sql")
    assert image.source()[1].startswith("sha256:")
    assert image.schema()
    with pytest.raises(SourcesRejected, match="not UTF-8"):
        published(archive, "a.tar.gz", tmp_path)


def test_other_content_is_never_taken_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name, a content, and where one ends and the other begins each make another source."""
    monkeypatch.chdir(tmp_path)
    matches = set()
    trees: list[dict[str, bytes]] = [
        {"a": b"x"}, {"b": b"x"}, {"a": b"y"}, {"a": b"x", "b": b""}, {"d/a": b"x"},
        {"a": b"xb"}, {"a": b"", "b": b"x"}, {"ab": b"x"}, {"a": b"x", "b": b"x"},
    ]  # fmt: skip
    for number, files in enumerate(trees):
        folder = tmp_path / str(number)
        for path, content in files.items():
            (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "tree" / path).write_bytes(content)
        monkeypatch.chdir(folder)
        matches.add(image.source()[1])
    assert len(matches) == len(trees)

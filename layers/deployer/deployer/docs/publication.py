"""What is published of a built site: which files, how they are served, and which are new.

A release is a folder of the site's bucket; its manifest says what is in it. A file whose content
the release before has too is copied from there within S3, so only what changed is uploaded.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple, TypedDict
from urllib.parse import quote

from deployer.deploy.verification import Answer, Finding, pending, verified
from deployer.errors import SiteRejected

MAX_FILES = 50_000
MAX_BYTES = 4 * 1024**3
FRONT_PAGE = "index.html"
ERROR_PAGE = "404.html"
_SAMPLE = 5
_SAMPLE_BYTES = 1024 * 1024

_TYPES = {
    "avif": "image/avif",
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "eot": "application/vnd.ms-fontobject",
    "gif": "image/gif",
    "htm": "text/html; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "md": "text/markdown; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "otf": "font/otf",
    "pagefind": "application/octet-stream",
    "pdf": "application/pdf",
    "pf_fragment": "application/octet-stream",
    "pf_index": "application/octet-stream",
    "pf_meta": "application/octet-stream",
    "png": "image/png",
    "rss": "application/rss+xml; charset=utf-8",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "gz": "application/gzip",
    "ttf": "font/ttf",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xml": "application/xml; charset=utf-8",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
}
# Next.js, Astro and Nuxt put nothing else into these folders; others write the hash into the name.
# Next.js has a folder with the build's id too, which tells a build only if Next.js itself chose it.
_HASHED_FOLDER = re.compile(r"(^|/)(_next/static/(chunks|css|media|[\w-]{21})|_astro|_nuxt)/", re.A)
_HASHED_NAME = re.compile(r"[.-](?=[\w-]*[0-9A-Z])[\w-]{8,}\.\w+$", re.ASCII)

# The browser asks again whether a page is the same (an ETag answers in a few bytes); CloudFront,
# whose cache knows each release by its folder, need not.
PAGE_CACHE = "public, max-age=0, s-maxage=31536000, must-revalidate"
HASHED_CACHE = "public, max-age=31536000, immutable"
ERROR_CACHE = "public, max-age=0, s-maxage=60, must-revalidate"


class File(NamedTuple):
    """A file of a release: the SHA-256 of its content, its size in bytes, and the newest release
    whose build made it; an asset that is only carried on for open tabs has an earlier one there."""

    digest: str
    size: int
    since: str


type Files = Mapping[str, File]


class Change(NamedTuple):
    """How a file gets into a release: `copied` is its key in the bucket; None to upload it."""

    path: str
    file: File
    copied: str | None


class Manifest(TypedDict):
    """What is in a release, as it is kept beside it."""

    release: str
    files: dict[str, tuple[str, int, str]]


def manifest(release: str, files: Files) -> Manifest:
    """The manifest of a release."""
    entries = {path: (file.digest, file.size, file.since) for path, file in files.items()}
    return {"release": release, "files": entries}


def files_of(kept: Manifest | None) -> dict[str, File]:
    """The files of a release by its manifest; none without one."""
    return {path: File(*entry) for path, entry in kept["files"].items()} if kept else {}


def made_by(release: str, files: Files) -> dict[str, File]:
    """The files that the release's own build made."""
    return {path: file for path, file in files.items() if file.since == release}


def manifest_key(folder: str) -> str:
    """Where the manifest of a release is kept."""
    return f"manifests/{folder}.json"


def key(folder: str, path: str) -> str:
    """Where a file of a release is kept."""
    return f"releases/{folder}/{path}"


def content_type(path: str) -> str | None:
    """The content type of a file by its name; None for an ending that is not known."""
    name = PurePosixPath(path).name
    ending = name.rpartition(".")[2].lower() if "." in name[1:] else ""
    return _TYPES.get(ending) if ending else "text/plain; charset=utf-8"


def is_page(path: str) -> bool:
    """Whether a file is a page."""
    return path.endswith((".html", ".htm"))


def cache_control(path: str, file: File, before: Files) -> str:
    """How long a file may be kept by who has it: for good only if its name tells its content.

    A name that had another content in the release before does not, whatever it looks like.
    """
    if is_page(path) or not _looks_hashed(path):
        return PAGE_CACHE
    known = before.get(path)
    return HASHED_CACHE if known is None or known.digest == file.digest else PAGE_CACHE


def _looks_hashed(path: str) -> bool:
    return bool(_HASHED_FOLDER.search(path) or _HASHED_NAME.search(path))


def check(files: Files, live: Files, may_shrink_to: int) -> None:
    """Refuse what a build must not replace a site with.

    Args:
        files: what the build made.
        live: what the live release's build made; none if there is no live release.
        may_shrink_to: the least number of files, in percent of the live release's.
    Raises:
        SiteRejected: naming what is wrong, and with which file.
    """
    if not files:
        raise SiteRejected("the build made no file")
    if FRONT_PAGE not in files:
        pages = ", ".join(sorted(filter(is_page, files))[:5]) or "no page at all"
        raise SiteRejected(f"the build made no {FRONT_PAGE}; it made {pages}")
    if files[FRONT_PAGE].size == 0:
        raise SiteRejected(f"the build made an empty {FRONT_PAGE}")
    size = sum(file.size for file in files.values())
    if len(files) > MAX_FILES or size > MAX_BYTES:
        raise SiteRejected(
            f"the site is too large: {len(files)} files, {size} bytes; {MAX_FILES} files and"
            f" {MAX_BYTES} bytes are the most"
        )
    unknown = sorted(path for path in files if content_type(path) is None)
    if unknown:
        raise SiteRejected(
            f"{len(unknown)} file(s) have a type that is not known, such as {unknown[0]!r}; leave"
            " them out of the site or give them an ending that is"
        )
    if len(files) * 100 < len(live) * may_shrink_to:
        raise SiteRejected(
            f"the site shrank from {len(live)} files to {len(files)}, below {may_shrink_to} %; if"
            " that is meant, lower DocsMayShrinkTo for this release"
        )


def aliases(files: Files) -> dict[str, str]:
    """What is served besides, and whose content it has: `x/index.html` for a page `x.html`.

    Every page then has an address with a slash at its end, whichever way the site is built.
    """
    names = {
        f"{path.removesuffix('.html')}/{FRONT_PAGE}": path
        for path in files
        if path.endswith(".html") and PurePosixPath(path).name not in (FRONT_PAGE, ERROR_PAGE)
    }
    return {name: path for name, path in names.items() if name not in files}


def made_as(path: str, names: Collection[str]) -> str | None:
    """Under which of its names the build made what a release has at a path; None if it did not."""
    page = f"{path.removesuffix('/' + FRONT_PAGE)}.html"
    return next((name for name in (path, page) if name in names), None)


def carried(files: Files, live: Files, kept: Collection[str]) -> dict[str, File]:
    """The hashed assets of earlier releases that the new one goes on offering to open tabs, for as
    long as the release that made them is kept."""
    return {
        path: file
        for path, file in live.items()
        if path not in files and file.since in kept and _looks_hashed(path) and not is_page(path)
    }


def changes(files: Files, live: Files, live_folder: str | None) -> list[Change]:
    """How each file of a release gets there, sorted by path."""
    there = {file.digest: path for path, file in live.items()}
    planned = []
    for path, file in sorted(files.items()):
        same = path in live and live[path].digest == file.digest
        found = path if same else there.get(file.digest)
        copied = key(live_folder, found) if live_folder and found is not None else None
        planned.append(Change(path, file, copied))
    return planned


def address(path: str) -> str:
    """The path of a page's URL."""
    folder = path.removesuffix(FRONT_PAGE)
    return "/" + quote(folder if PurePosixPath(path).name == FRONT_PAGE else path)


class Sample(TypedDict):
    """A page to ask for, and the SHA-256 that its content must have."""

    path: str
    digest: str


def sample(files: Files, live: Files) -> list[Sample]:
    """The front page, and some pages that changed, to see that the site answers with them."""
    changed = [
        path
        for path, file in sorted(files.items())
        if is_page(path)
        and path not in (FRONT_PAGE, ERROR_PAGE)
        and 0 < file.size <= _SAMPLE_BYTES
        and (path not in live or live[path].digest != file.digest)
    ]
    spread = changed[:: max(1, len(changed) // _SAMPLE)][:_SAMPLE]
    return [{"path": address(p), "digest": files[p].digest} for p in (FRONT_PAGE, *spread)]


def answers(sampled: Sample, folder: str, answer: Answer | None) -> Finding:
    """Judge an answer of the site. The switch takes seconds to reach every place, so what is not
    yet right is pending."""
    path = sampled["path"]
    if answer is None:
        return pending(f"no answer on {path}")
    if answer.status != 200:
        return pending(f"{path} answered {answer.status}")
    served = answer.headers.get("x-amz-meta-release", "")
    if served != folder:
        return pending(f"{path} is of release {served or '<none>'}, not {folder}")
    if hashlib.sha256(answer.body).hexdigest() != sampled["digest"]:
        return pending(f"{path} has not the content that was published")
    return verified(f"{path} has the content that was published")


def misses(path: str, answer: Answer | None) -> Finding:
    """Judge the answer on a path where nothing is."""
    if answer is None or answer.status != 404:
        return pending(f"{path}, which does not exist, answered {answer and answer.status}")
    return verified(f"{path}, which does not exist, answered 404")

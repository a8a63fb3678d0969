"""Decide which files of a built site are published, how they are served, and which are new.

A release is a folder of the site's bucket; its manifest lists the files. A file with the same
content in the previous release is copied within S3, so only changes are uploaded. Imports decisions
only, no AWS.
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
# Next.js, Astro and Nuxt put only hashed files here; other generators put the hash into the name.
# The folder with Next.js's build id is unique only if Next.js itself chose the id.
_HASHED_FOLDER = re.compile(r"(^|/)(_next/static/(chunks|css|media|[\w-]{21})|_astro|_nuxt)/", re.A)
_HASHED_NAME = re.compile(r"[.-](?=[\w-]*[0-9A-Z])[\w-]{8,}\.\w+$", re.ASCII)

# Browsers revalidate a page each time, by its ETag, which costs a few bytes. CloudFront need not:
# its cache keys contain the release's folder.
PAGE_CACHE = "public, max-age=0, s-maxage=31536000, must-revalidate"
HASHED_CACHE = "public, max-age=31536000, immutable"
ERROR_CACHE = "public, max-age=0, s-maxage=60, must-revalidate"


class File(NamedTuple):
    """A file of a release: the SHA-256 of its content, its size in bytes, and `since`.

    `since` is the newest release whose build made it, an earlier one for an asset that is only kept
    for open tabs.
    """

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
    """The files of a release, as stored beside it."""

    release: str
    files: dict[str, tuple[str, int, str]]


def manifest(release: str, files: Files) -> Manifest:
    """Return the manifest of a release."""
    entries = {path: (file.digest, file.size, file.since) for path, file in files.items()}
    return {"release": release, "files": entries}


def files_of(kept: Manifest | None) -> dict[str, File]:
    """Return the files in a manifest; none without a manifest."""
    return {path: File(*entry) for path, entry in kept["files"].items()} if kept else {}


def made_by(release: str, files: Files) -> dict[str, File]:
    """Return the files that the release's own build made."""
    return {path: file for path, file in files.items() if file.since == release}


def manifest_key(folder: str) -> str:
    """Return the key of a release's manifest."""
    return f"manifests/{folder}.json"


def key(folder: str, path: str) -> str:
    """Return the key of a release's file."""
    return f"releases/{folder}/{path}"


def content_type(path: str) -> str | None:
    """Return the content type of a file by its name; None for an unknown extension."""
    name = PurePosixPath(path).name
    ending = name.rpartition(".")[2].lower() if "." in name[1:] else ""
    return _TYPES.get(ending) if ending else "text/plain; charset=utf-8"


def is_page(path: str) -> bool:
    """Return whether a file is a page."""
    return path.endswith((".html", ".htm"))


def cache_control(path: str, file: File, before: Files) -> str:
    """Return a file's Cache-Control: immutable only if its name contains a hash.

    A name with another content in the previous release does not, whatever it looks like.
    """
    if is_page(path) or not _looks_hashed(path):
        return PAGE_CACHE
    previous = before.get(path)
    return HASHED_CACHE if previous is None or previous.digest == file.digest else PAGE_CACHE


def _looks_hashed(path: str) -> bool:
    return bool(_HASHED_FOLDER.search(path) or _HASHED_NAME.search(path))


def check(files: Files, live: Files, may_shrink_to: int) -> None:
    """Check that a build's output can safely replace the live site.

    Args:
        files: the build's files.
        live: the files of the live release's build; none without a live release.
        may_shrink_to: the least number of files, in percent of the live release's.
    Raises:
        SiteRejected: the message names the problem and the file.
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
    """Return additional paths with the path of their content: `x/index.html` for `x.html`.

    So every page has an address that ends with a slash, however the site is built.
    """
    names = {
        f"{path.removesuffix('.html')}/{FRONT_PAGE}": path
        for path in files
        if path.endswith(".html") and PurePosixPath(path).name not in (FRONT_PAGE, ERROR_PAGE)
    }
    return {name: path for name, path in names.items() if name not in files}


def made_as(path: str, names: Collection[str]) -> str | None:
    """Return the build output's path of a release's file; None if the build did not make it."""
    page = f"{path.removesuffix('/' + FRONT_PAGE)}.html"
    return next((name for name in (path, page) if name in names), None)


def carried(files: Files, live: Files, kept: Collection[str]) -> dict[str, File]:
    """Return the hashed assets of earlier releases that open tabs may still load.

    They stay as long as the release that made them is kept.
    """
    return {
        path: file
        for path, file in live.items()
        if path not in files and file.since in kept and _looks_hashed(path) and not is_page(path)
    }


def changes(files: Files, live: Files, live_folder: str | None) -> list[Change]:
    """Return the copies and uploads that make a release, sorted by path."""
    live_paths = {file.digest: path for path, file in live.items()}
    changes = []
    for path, file in sorted(files.items()):
        same = path in live and live[path].digest == file.digest
        live_path = path if same else live_paths.get(file.digest)
        copied = key(live_folder, live_path) if live_folder and live_path is not None else None
        changes.append(Change(path, file, copied))
    return changes


def address(path: str) -> str:
    """Return the path of a page's URL."""
    folder = path.removesuffix(FRONT_PAGE)
    return "/" + quote(folder if PurePosixPath(path).name == FRONT_PAGE else path)


class Sample(TypedDict):
    """A page to request, and the SHA-256 that its content must have."""

    path: str
    digest: str


def sample(files: Files, live: Files) -> list[Sample]:
    """Return the front page and some changed pages, to verify that the site serves them."""
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
    """Judge a response of the site.

    The switch takes seconds to reach every edge location, so an old response is pending.
    """
    path = sampled["path"]
    if answer is None:
        return pending(f"no answer on {path}")
    if answer.status != 200:
        return pending(f"{path} answered {answer.status}")
    served = answer.headers.get("x-amz-meta-release", "")
    if served != folder:
        return pending(f"{path} is of release {served or '<none>'}, not {folder}")
    if hashlib.sha256(answer.body).hexdigest() != sampled["digest"]:
        return pending(f"{path} does not have the published content")
    return verified(f"{path} has the published content")


def misses(path: str, answer: Answer | None) -> Finding:
    """Judge the response on a path that does not exist."""
    if answer is None or answer.status != 404:
        return pending(f"{path}, which does not exist, answered {answer and answer.status}")
    return verified(f"{path}, which does not exist, answered 404")

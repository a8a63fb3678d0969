"""Publish the docs: upload the release's changed files beside the live release's.

No visitor sees the files before the switch, so publishing may take several calls, and be repeated.
Each call continues where the previous one stopped.
"""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import s3
from deployer.docs import addresses, caching, media, publication, site
from deployer.docs.addresses import FRONT_PAGE, HEADERS, REDIRECTS, Links, Pair, Served
from deployer.docs.caching import Content
from deployer.docs.publication import Change, Contents, File, Files, Manifest, Sample
from deployer.docs.site import DocsRelease, SiteSpec
from deployer.errors import SiteRejected
from deployer.log import Logger
from deployer.store import locks, publications

logger = Logger()

# milliseconds: the longest that one file can take, with every request timing out. With less time
# left, no upload starts; the next call continues
_RESERVE = 150_000
_AT_ONCE = 32  # the client's connections
_BATCH = 256
_CHUNK = 1024 * 1024


class Progress(TypedDict):
    """The progress: how many files are in place, and what was uploaded and copied."""

    files: int
    uploaded: int
    copied: int
    bytes: int


class Request(TypedDict):
    """`built` is the ARN of the build's zip; None for a rollback to a kept release."""

    spec: Mapping[str, Any]
    release: DocsRelease
    built: str | None
    progress: Progress
    execution: str


class Published(TypedDict):
    """`switch` makes this release live. `back` is the current switch, empty if there is none.

    `stale`: whether the error page, which all releases share, differs from the live one.
    """

    done: bool
    progress: Progress
    switch: list[Pair]
    back: list[Pair]
    stale: bool
    sample: list[Sample]
    warnings: list[str]


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Published:
    with locks.lease(event["release"]["service"], event["execution"]) as extend_lease:
        published = _publish_release(event, context.get_remaining_time_in_millis, extend_lease)
    logger.info("docs published", done=published["done"], progress=published["progress"])
    return published


def _publish_release(
    event: Request, remaining: Callable[[], int], extend_lease: Callable[[], None]
) -> Published:
    spec, release = site.from_document(event["spec"]), event["release"]
    records, folder = publications.history(release["service"]), release["folder"]
    live = next(iter(site.kept(records, 1)), None)
    kept = site.kept(records, spec.keep_releases, live=folder)
    before = publication.contents_of(_manifest(spec, live) if live else None)
    progress = event["progress"]
    if event["built"] is None:
        contents = publication.contents_of(_manifest(spec, folder))
        progress = {**progress, "files": len(contents.files)}
    else:
        archive = _download(event["built"], folder)
        with zipfile.ZipFile(archive) as built:
            contents = _list_files(spec, folder, live, before.files, built, kept, extend_lease)
            changes = publication.changes(contents.files, folder, before.files, live)
            progress = _publish(spec, folder, built, changes, progress, remaining, extend_lease)
    return {
        "done": progress["files"] == len(contents.files),
        "progress": progress,
        "switch": site.switch(kept, contents.pairs, contents.slash),
        "back": site.switch(site.kept(records, spec.keep_releases), before.pairs, before.slash),
        "stale": _error_page(contents.files) != _error_page(before.files),
        "sample": publication.sample(contents.files, before.files),
        "warnings": contents.warnings,
    }


def _manifest(spec: SiteSpec, folder: str) -> Manifest:
    manifest: Manifest | None = s3.document(spec.bucket, publication.manifest_key(folder))
    if manifest is None:
        raise SiteRejected(f"the files of release {folder} are not in bucket {spec.bucket}")
    return manifest


def _download(arn: str, folder: str) -> Path:
    """Download the build's zip, unless an earlier call has left it in this environment."""
    bucket, _, key = arn.rpartition(":::")[2].partition("/")
    archive = Path(gettempdir(), f"{folder}.zip")
    if not archive.exists():
        for other in archive.parent.glob("*.zip"):
            other.unlink()
        partial = archive.with_suffix(".coming")
        with partial.open("wb") as file:
            if not s3.download(bucket, key, file):
                raise SiteRejected(f"the build left no site at s3://{bucket}/{key}")
        partial.rename(archive)
    return archive


def _list_files(
    spec: SiteSpec,
    folder: str,
    live: str | None,
    live_files: Files,
    built: zipfile.ZipFile,
    kept: Sequence[str],
    extend_lease: Callable[[], None],
) -> Contents:
    """Return the release's files: built files, and those that are carried over from live."""
    manifest = s3.document(spec.bucket, publication.manifest_key(folder))
    if manifest:
        return publication.contents_of(manifest)
    sizes = {entry.filename: entry.file_size for entry in built.infolist() if not entry.is_dir()}
    links, texts, unknown = Links.among(sizes), dict[str, str](), list[str]()
    patterns = caching.patterns(_head(built, FRONT_PAGE) if FRONT_PAGE in sizes else b"")
    files: dict[str, File] = {}
    for path, size in sizes.items():
        head, content = _read(built, path)
        kind, known = media.media(path, head)
        served: Served = {"kind": kind}
        if publication.is_immutable(path, content.names(), patterns):
            served["immutable"] = True
        files[path] = File(content.digest, size, folder, served)
        if path in (HEADERS, REDIRECTS):
            texts[path] = head.decode(errors="replace").removeprefix("\ufeff")
        elif not known:
            unknown.append(path)
        if addresses.is_page(path):
            links.count(path, head.decode(errors="replace"))
    publication.check(files, publication.made_by(live or "", live_files), spec.may_shrink_to)
    slash = links.slash if spec.trailing_slash == "" else spec.trailing_slash
    contents = publication.contents(folder, files, live_files, kept, texts, slash)
    if unknown:
        contents.warnings.append(media.unknown_endings(unknown))
    extend_lease()  # unpacking a large site takes long
    document = publication.manifest(folder, contents)
    s3.keep_document(spec.bucket, publication.manifest_key(folder), document)
    return contents


def _read(built: zipfile.ZipFile, path: str) -> tuple[bytes, Content]:
    """Return the beginning of a file and what its content is."""
    content, head = Content(path), b""
    with built.open(path) as file:
        while chunk := file.read(_CHUNK):
            head = head or chunk
            content.update(chunk)
    return head, content


def _head(built: zipfile.ZipFile, path: str) -> bytes:
    with built.open(path) as file:
        return file.read(_CHUNK)


def _publish(
    spec: SiteSpec,
    folder: str,
    built: zipfile.ZipFile,
    changes: Sequence[Change],
    progress: Progress,
    remaining: Callable[[], int],
    extend_lease: Callable[[], None],
) -> Progress:
    published, names = progress["files"], set(built.namelist())

    def put(change: Change) -> bool:
        if remaining() < _RESERVE:
            return False
        key, served = publication.key(folder, change.path), _served(change.file, folder)
        path = change.file.served.get("of", change.path)
        if change.copied:
            s3.copy(spec.bucket, change.copied, key, served)
        elif change.file.size == 0:
            s3.publish(spec.bucket, key, b"", served)
        elif path not in names:
            s3.publish(spec.bucket, key, publication.NO_ERROR_PAGE, served)
        else:
            with built.open(path) as content:
                s3.publish(spec.bucket, key, content, served)
        return True

    first = sum(not change.again for change in changes)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # what is copied from the release itself waits for all the rest
        while batch := changes[published : first if published < first else None][:_BATCH]:
            extend_lease()
            results = list(pool.map(put, batch))
            # count up to the first skipped file; files published after it are published again
            published += len(list(takewhile(bool, results)))
            if not all(results):
                break
    done = changes[progress["files"] : published]
    uploaded = [change for change in done if change.copied is None]
    return {
        "files": published,
        "uploaded": progress["uploaded"] + len(uploaded),
        "copied": progress["copied"] + len(done) - len(uploaded),
        "bytes": progress["bytes"] + sum(change.file.size for change in uploaded),
    }


def _served(file: File, folder: str) -> s3.Served:
    """Return how S3 serves a file; the edge does what its metadata says."""
    served = file.served
    more = {
        "status": str(served["status"]) if "status" in served else "",
        "location": served.get("location", ""),
        "headers": json.dumps(served["headers"]) if "headers" in served else "",
    }
    metadata = {"release": folder, **{name: value for name, value in more.items() if value}}
    return s3.Served(served.get("kind", media.BINARY), publication.cache_control(file), metadata)


def _error_page(files: Files) -> str | None:
    page = files.get(addresses.ERROR_PAGE)
    return page.digest if page else None

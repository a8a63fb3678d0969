"""Publish the docs: upload the release's changed files beside the live release's.

No visitor sees the files before the switch, so publishing may take several calls, and be repeated.
Each call continues where the previous one stopped.
"""

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import s3
from deployer.aws.log import Logger
from deployer.aws.s3 import Served
from deployer.docs import publication, site
from deployer.docs.publication import Change, File, Files, Manifest, Sample
from deployer.docs.site import DocsRelease, SiteSpec
from deployer.errors import SiteRejected
from deployer.store import locks, publications

logger = Logger()

# milliseconds: the longest that one file can take, with every request timing out. With less time
# left, no upload starts; the next call continues
_RESERVE = 150_000
_AT_ONCE = 32  # the client's connections
_BATCH = 256
_CHUNK = 1024 * 1024
_NO_ERROR_PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Not found</title></head>
<body><h1>Not found</h1><p><a href="/">To the front page</a></p></body></html>
"""


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
    """`switch` makes this release live. `back` is the current switch value, empty if there is none.

    `stale`: whether the error page, which all releases share, differs from the live one.
    """

    done: bool
    progress: Progress
    switch: str
    back: str
    stale: bool
    sample: list[Sample]


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
    live_files: Files = publication.files_of(_manifest(spec, live)) if live else {}
    progress = event["progress"]
    if event["built"] is None:
        files: Files = publication.files_of(_manifest(spec, folder))
        progress = {**progress, "files": len(files)}
    else:
        archive = _download(event["built"], folder)
        with zipfile.ZipFile(archive) as built:
            files = _list_files(spec, folder, live, live_files, built, kept, extend_lease)
            changes = publication.changes(files, live_files, live)
            progress = _publish(
                spec, folder, built, changes, live_files, progress, remaining, extend_lease
            )
    return {
        "done": progress["files"] == len(files),
        "progress": progress,
        "switch": site.switch(kept),
        "back": site.switch(site.kept(records, spec.keep_releases)),
        "stale": _error_page(files) != _error_page(live_files),
        "sample": publication.sample(files, live_files),
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
) -> Files:
    """Return the release's files: built files, aliases, and files carried over from live."""
    manifest = s3.document(spec.bucket, publication.manifest_key(folder))
    if manifest:
        return publication.files_of(manifest)
    built_files = {
        entry.filename: File(_digest(built, entry.filename), entry.file_size, folder)
        for entry in built.infolist()
        if not entry.is_dir()
    }
    publication.check(built_files, publication.made_by(live or "", live_files), spec.may_shrink_to)
    if publication.ERROR_PAGE not in built_files:
        digest = hashlib.sha256(_NO_ERROR_PAGE).hexdigest()
        built_files[publication.ERROR_PAGE] = File(digest, len(_NO_ERROR_PAGE), folder)
    built_files |= {
        name: built_files[path] for name, path in publication.aliases(built_files).items()
    }
    files = built_files | publication.carried(built_files, live_files, kept)
    extend_lease()  # unpacking a large site takes long
    s3.keep_document(
        spec.bucket, publication.manifest_key(folder), publication.manifest(folder, files)
    )
    return files


def _digest(built: zipfile.ZipFile, path: str) -> str:
    digest = hashlib.sha256()
    with built.open(path) as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _publish(
    spec: SiteSpec,
    folder: str,
    built: zipfile.ZipFile,
    changes: Sequence[Change],
    live_files: Files,
    progress: Progress,
    remaining: Callable[[], int],
    extend_lease: Callable[[], None],
) -> Progress:
    published, names = progress["files"], set(built.namelist())

    def put(change: Change) -> bool:
        if remaining() < _RESERVE:
            return False
        cache = publication.cache_control(change.path, change.file, live_files)
        kind = publication.content_type(change.path) or ""
        key, served = publication.key(folder, change.path), Served(kind, cache, folder)
        if change.copied:
            s3.copy(spec.bucket, change.copied, key, served)
        elif (path := publication.made_as(change.path, names)) is None:
            s3.publish(spec.bucket, key, _NO_ERROR_PAGE, served)
        else:
            with built.open(path) as content:
                s3.publish(spec.bucket, key, content, served)
        return True

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := changes[published : published + _BATCH]:
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


def _error_page(files: Files) -> str | None:
    page = files.get(publication.ERROR_PAGE)
    return page.digest if page else None

"""Publish the docs: put the release's files beside the live release's, what changed and no more.

Nobody sees them before the switch, so it may be done in parts and again: each call goes on where
the one before came to.
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
from deployer.store import locks, releases

logger = Logger()

# milliseconds: as long as a file takes whose every try is unanswered. Nothing is begun when no more
# is left of the call; the next one goes on there
_RESERVE = 150_000
_AT_ONCE = 32  # as many as the client has connections
_BATCH = 256
_CHUNK = 1024 * 1024
_NO_ERROR_PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Not found</title></head>
<body><h1>Not found</h1><p><a href="/">To the front page</a></p></body></html>
"""


class Progress(TypedDict):
    """How far the publication is: how many of the files are there, and what that took."""

    files: int
    uploaded: int
    copied: int
    bytes: int


class Request(TypedDict):
    """`built` is the ARN of the zip that the build made; None for a release that is kept."""

    spec: Mapping[str, Any]
    release: DocsRelease
    built: str | None
    progress: Progress
    execution: str


class Published(TypedDict):
    """`switch` makes the release live and `back` the one that is now, empty if none is.

    `stale` says whether the error page, which all releases share, is another than the live one's.
    """

    done: bool
    progress: Progress
    switch: str
    back: str
    stale: bool
    sample: list[Sample]


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Published:
    with locks.lease(event["release"]["service"], event["execution"]) as go_on:
        published = _published(event, context.get_remaining_time_in_millis, go_on)
    logger.info("docs published", done=published["done"], progress=published["progress"])
    return published


def _published(event: Request, left: Callable[[], int], go_on: Callable[[], None]) -> Published:
    spec, release = site.from_document(event["spec"]), event["release"]
    past, folder = releases.history(release["service"]), release["folder"]
    live = next(iter(site.kept(past, 1)), None)
    kept = site.kept(past, spec.keep_releases, live=folder)
    before: Files = publication.files_of(_manifest(spec, live)) if live else {}
    progress = event["progress"]
    if event["built"] is None:
        files: Files = publication.files_of(_manifest(spec, folder))
        progress = {**progress, "files": len(files)}
    else:
        archive = _download(event["built"], folder)
        with zipfile.ZipFile(archive) as built:
            files = _files(spec, folder, live, before, built, kept, go_on)
            changes = publication.changes(files, before, live)
            progress = _publish(spec, folder, built, changes, before, progress, left, go_on)
    return {
        "done": progress["files"] == len(files),
        "progress": progress,
        "switch": site.switch(kept),
        "back": site.switch(site.kept(past, spec.keep_releases)),
        "stale": _error_page(files) != _error_page(before),
        "sample": publication.sample(files, before),
    }


def _manifest(spec: SiteSpec, folder: str) -> Manifest:
    found: Manifest | None = s3.document(spec.bucket, publication.manifest_key(folder))
    if found is None:
        raise SiteRejected(f"the files of release {folder} are not in bucket {spec.bucket}")
    return found


def _download(arn: str, folder: str) -> Path:
    """The zip that the build made, which an earlier call may have left here."""
    bucket, _, key = arn.rpartition(":::")[2].partition("/")
    archive = Path(gettempdir(), f"{folder}.zip")
    if not archive.exists():
        for other in archive.parent.glob("*.zip"):
            other.unlink()
        coming = archive.with_suffix(".coming")
        with coming.open("wb") as into:
            if not s3.download(bucket, key, into):
                raise SiteRejected(f"the build left no site at s3://{bucket}/{key}")
        coming.rename(archive)
    return archive


def _files(
    spec: SiteSpec,
    folder: str,
    live: str | None,
    before: Files,
    built: zipfile.ZipFile,
    kept: Sequence[str],
    go_on: Callable[[], None],
) -> Files:
    """What the release consists of: what was built, aliases, and what is carried on."""
    known = s3.document(spec.bucket, publication.manifest_key(folder))
    if known:
        return publication.files_of(known)
    made = {
        entry.filename: File(_digest(built, entry.filename), entry.file_size, folder)
        for entry in built.infolist()
        if not entry.is_dir()
    }
    publication.check(made, publication.made_by(live or "", before), spec.may_shrink_to)
    if publication.ERROR_PAGE not in made:
        digest = hashlib.sha256(_NO_ERROR_PAGE).hexdigest()
        made[publication.ERROR_PAGE] = File(digest, len(_NO_ERROR_PAGE), folder)
    made |= {name: made[path] for name, path in publication.aliases(made).items()}
    files = made | publication.carried(made, before, kept)
    go_on()  # to unpack a large site takes long
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
    before: Files,
    progress: Progress,
    left: Callable[[], int],
    go_on: Callable[[], None],
) -> Progress:
    there, names = progress["files"], set(built.namelist())

    def put(change: Change) -> bool:
        if left() < _RESERVE:
            return False
        cache = publication.cache_control(change.path, change.file, before)
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
        while batch := changes[there : there + _BATCH]:
            go_on()
            begun = list(pool.map(put, batch))
            # up to the first that was left: should a later one be there, it is put there again
            there += len(list(takewhile(bool, begun)))
            if not all(begun):
                break
    done = changes[progress["files"] : there]
    uploaded = [change for change in done if change.copied is None]
    return {
        "files": there,
        "uploaded": progress["uploaded"] + len(uploaded),
        "copied": progress["copied"] + len(done) - len(uploaded),
        "bytes": progress["bytes"] + sum(change.file.size for change in uploaded),
    }


def _error_page(files: Files) -> str | None:
    page = files.get(publication.ERROR_PAGE)
    return page.digest if page else None

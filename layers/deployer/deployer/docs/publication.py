"""Decide which files of a built site are published, how they are served, and which are new.

A release is a folder of the site's bucket; its manifest lists the files. A file with the same
content in the previous release is copied within S3, so only changes are uploaded. Imports decisions
only, no AWS.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, NotRequired, TypedDict

from deployer.deploy.verification import Answer, Finding, pending, verified
from deployer.docs import addresses, caching
from deployer.docs.addresses import (
    ERROR_PAGE,
    FRONT_PAGE,
    HEADERS,
    REDIRECTS,
    Missing,
    Pair,
    Served,
    Slash,
    address,
    is_page,
)
from deployer.errors import SiteRejected

MAX_FILES = 50_000
MAX_BYTES = 4 * 1024**3
HTML = "text/html; charset=utf-8"
NO_ERROR_PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Not found</title></head>
<body><h1>Not found</h1><p><a href="/">To the front page</a></p></body></html>
"""
_SAMPLE = 5
_SAMPLE_BYTES = 1024 * 1024

# Browsers revalidate a page each time, by its ETag, which costs a few bytes. CloudFront need not:
# its cache keys contain the release's folder.
PAGE_CACHE = "public, max-age=0, s-maxage=31536000, must-revalidate"
HASHED_CACHE = "public, max-age=31536000, immutable"
ERROR_CACHE = "public, max-age=0, s-maxage=60, must-revalidate"


class File(NamedTuple):
    """A file of a release: the SHA-256 of its content, its size in bytes, and `since`.

    `since` is the newest release whose build made it, an earlier one for an asset that is only kept
    for open tabs. `served` says how it is served.
    """

    digest: str
    size: int
    since: str
    served: Served = Served()


type Files = Mapping[str, File]


class Change(NamedTuple):
    """How a file gets into a release: `copied` is its key in the bucket; None to upload it.

    `again`: the key to copy from is in the release itself, so it has to be there first.
    """

    path: str
    file: File
    copied: str | None
    again: bool = False


class Manifest(TypedDict):
    """The files of a release, as stored beside it; `missing`: see `addresses.Missing`."""

    release: str
    files: Mapping[str, tuple[str, int, str] | tuple[str, int, str, Served]]
    missing: NotRequired[tuple[Sequence[tuple[str, str, int]], Sequence[str], bool]]
    warnings: NotRequired[list[str]]


class Contents(NamedTuple):
    """A release: its files, what the edge does with other addresses, and what to warn of."""

    files: Files
    missing: Missing | None
    warnings: list[str]

    @property
    def pairs(self) -> list[Pair] | None:
        """What the key value store holds for it, besides the name of the release.

        None for a release of an older deployer.
        """
        return self.missing.pairs(self.files) if self.missing else None

    @property
    def slash(self) -> bool:
        """Whether the edge adds a slash to names without an ending."""
        return self.missing is not None and self.missing.slash


def manifest(release: str, contents: Contents) -> Manifest:
    """Return the manifest of a release."""
    files, missing, warnings = contents
    entries = {path: file if file.served else file[:3] for path, file in files.items()}
    decided: Manifest = {"release": release, "files": entries, "warnings": warnings}
    if missing is None:
        return decided
    return {**decided, "missing": (missing.redirects, missing.errors, missing.slash)}


def contents_of(kept: Manifest | None) -> Contents:
    """Return the release that a manifest describes; an empty one without a manifest."""
    if kept is None:
        return Contents({}, Missing(), [])
    files = {path: File(*entry) for path, entry in kept["files"].items()}
    missing = None
    if "missing" in kept:
        redirects, errors, slash = kept["missing"]
        rules = [(source, to, status) for source, to, status in redirects]
        missing = Missing(rules, errors, slash)
    return Contents(files, missing, kept.get("warnings", []))


def made_by(release: str, files: Files) -> dict[str, File]:
    """Return the files that the release's own build made, each once."""
    return {
        path: file
        for path, file in files.items()
        if file.since == release and not file.served.keys() & {"of", "location"}
    }


def manifest_key(folder: str) -> str:
    """Return the key of a release's manifest."""
    return f"manifests/{folder}.json"


def key(folder: str, path: str) -> str:
    """Return the key of a release's file."""
    return f"releases/{folder}/{path}"


def cache_control(file: File) -> str:
    """Return a file's Cache-Control."""
    if "cache" in file.served:
        return file.served["cache"]
    return HASHED_CACHE if file.served.get("immutable") else PAGE_CACHE


def is_immutable(path: str, names_content: bool, patterns: Iterable[re.Pattern[str]]) -> bool:
    """Return whether browsers may keep a file for good; see `caching`.

    Args:
        names_content: whether the name holds a hash of the content.
        patterns: the paths of what the generator is known to hash.
    """
    hashed = names_content or any(pattern.search(path) for pattern in patterns)
    return hashed and not is_page(path)


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
    if len(files) * 100 < len(live) * may_shrink_to:
        raise SiteRejected(
            f"the site shrank from {len(live)} files to {len(files)}, below {may_shrink_to} %; if"
            " that is meant, lower DocsMayShrinkTo for this release"
        )


def contents(
    release: str,
    built: Files,
    live: Files,
    kept: Collection[str],
    texts: Mapping[str, str],
    slash: Slash | None,
) -> Contents:
    """Return what a release serves, and how.

    Args:
        built: the build's files.
        live: the live release's files.
        kept: the releases that are kept.
        texts: `_redirects` and `_headers`, as far as the build made them.
        slash: see `addresses.of_pages`; None if the edge is that of an older deployer.
    """
    rules, unsupported = addresses.redirects(texts.get(REDIRECTS, ""))
    headers, not_set = addresses.header_rules(texts.get(HEADERS, ""))
    made = {path: file for path, file in built.items() if path not in (REDIRECTS, HEADERS)}
    if ERROR_PAGE not in made:
        digest = hashlib.sha256(NO_ERROR_PAGE).hexdigest()
        made[ERROR_PAGE] = File(digest, len(NO_ERROR_PAGE), release, {"kind": HTML})
    known = addresses.of_pages(made, "always" if slash is None else slash) | addresses.error_pages(
        made
    )
    redirected, lost = addresses.of_redirects(rules, known, made)
    files = {
        **carried(made, live, kept),
        **made,
        **{key: _object(key, served, made, release) for key, served in known.items()},
        **{key: _object(key, served, made, release) for key, served in redirected.items()},
    }
    by_edge = set[str]()
    if slash is not None and not any(rule.prefix for rule in rules):
        by_edge = addresses.by_the_edge({key: file.served for key, file in files.items()})
    files = {key: file for key, file in files.items() if key not in by_edge}
    missing: Missing | None
    missing, too_many = addresses.missing(rules, files)
    missing = replace(missing, slash=bool(by_edge))
    warnings = [*unsupported, *lost, *not_set, *too_many]
    if slash is None:
        missing = None
        warnings.append(
            "the site's stack is older than the deployer: update it to infrastructure/docs.yaml for"
            f" addresses without a slash, {REDIRECTS}, {HEADERS} and a {ERROR_PAGE} per folder"
        )
    if headers:
        for key, file in files.items():
            served, problem = addresses.with_headers(key, file.served, headers)
            files[key] = file._replace(served=served)
            warnings += [problem] if problem else []
    replaced = [
        path
        for path, file in sorted(files.items())
        if path in live and live[path].served.get("immutable") and live[path].digest != file.digest
    ]
    if replaced:
        warnings.append(
            f"{len(replaced)} file(s) have other content under a name that browsers keep for a"
            f" year, such as {replaced[0]!r}: rename them"
        )
    return Contents(files, missing, warnings)


def _object(key: str, served: Served, made: Files, release: str) -> File:
    if "location" in served:
        return File(hashlib.sha256().hexdigest(), 0, release, {"kind": HTML, **served})
    file = made[served.get("of", key)]
    return file._replace(served={**file.served, **served})


def carried(files: Files, live: Files, kept: Collection[str]) -> dict[str, File]:
    """Return the hashed assets of earlier releases that open tabs may still load.

    They stay as long as the release that made them is kept.
    """
    return {
        path: file
        for path, file in live.items()
        if path not in files
        and file.since in kept
        and (file.served.get("immutable") or caching.is_asset(path))
        and not is_page(path)
    }


def changes(files: Files, folder: str, live: Files, live_folder: str | None) -> list[Change]:
    """Return the copies and uploads that make a release, those from itself last.

    Content that the live release has is copied from there, whatever its name was; what is new is
    uploaded once.
    """
    live_paths = {file.digest: path for path, file in live.items()}
    new_paths: dict[str, str] = {}
    first, again = [], []
    for path, file in sorted(files.items()):
        same = path in live and live[path].digest == file.digest
        live_path = path if same else live_paths.get(file.digest)
        if live_folder and live_path is not None:
            first.append(Change(path, file, key(live_folder, live_path)))
        elif file.digest in new_paths:
            again.append(Change(path, file, key(folder, new_paths[file.digest]), again=True))
        else:
            new_paths[file.digest] = path
            first.append(Change(path, file, None))
    return [*first, *again]


class Sample(TypedDict):
    """A page to request, and the SHA-256 that its content must have."""

    path: str
    digest: str


def sample(files: Files, live: Files) -> list[Sample]:
    """Return the front page and some changed pages, to verify that the site serves them."""
    changed = [
        path
        for path, file in sorted(files.items())
        if (is_page(path) or is_page(file.served.get("of", "")))
        and path != FRONT_PAGE
        and not file.served.keys() & {"location", "status"}
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

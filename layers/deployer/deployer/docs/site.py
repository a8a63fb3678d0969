"""Read the spec of a documentation site, the requests for it, and describe its releases.

The releases table keeps a site's records and lock as it does a service's, under `docs:<site>`.
Imports decisions only, no AWS.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NotRequired, cast, final

from deployer import requests
from deployer.deploy import history
from deployer.deploy.identification import OPERATOR
from deployer.deploy.release import Entry, Record, Trigger, release_id
from deployer.deploy.spec import Fields
from deployer.docs.addresses import Pair, Slash
from deployer.errors import RequestRejected, SiteUnknown, SpecInvalid
from deployer.requests import Hold, Publish, Recover, Resume, Rollback

FOLDER = "folder"  # in an upload's metadata: the site's folder, instead of the spec's
SWITCH = "releases"
"""The key of the key value store that names the live release."""

_OWNER = "docs:"
_NAME = "[a-z][a-z0-9-]{0,44}"
_PATH = r"\.?[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"
_SOURCE = re.compile(rf"docs/({_NAME})/([^/]+)\.(tar\.gz|tgz|zip)")
_VARIABLE = r"([A-Za-z_][A-Za-z0-9_]*)=(docs/{site}/[A-Za-z0-9/_+.@-]+(?::[A-Za-z0-9_.-]+)?)"
_ROLE = "arn:aws[a-z-]*:iam::[0-9]{12}:role/{site}-docs-build"
_ENDINGS = re.compile(r"\.(tar\.gz|tgz|zip)$")


@dataclass(frozen=True)
class Build:
    """How a site is built; empty fields are detected from the sources.

    `secrets` has the build's variables with secrets' values: what Secrets Manager calls each, and
    after a colon the key in its JSON. `role` is the ARN of the role that the site's builds run in;
    empty if the site's stack is of an older deployer.
    """

    directory: str
    script: str
    output: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    role: str = ""


@dataclass(frozen=True)
class SiteSpec:
    """Where a site is published and how.

    `store` is the ARN of the key value store whose key `releases` names the live release. The
    deployer refuses a release with fewer files than `may_shrink_to` percent of the live one's. A
    release fails if the site does not serve it `timeout` seconds after the switch. `trailing_slash`
    is empty to find it out: see `addresses.of_pages`. It is None if the site's stack is of an older
    deployer: its edge knows pages with a slash only.
    """

    site: str
    url: str
    bucket: str
    distribution: str
    store: str
    build: Build
    keep_releases: int
    may_shrink_to: int
    timeout: int
    trailing_slash: Slash | None


@dataclass(frozen=True)
class Upload:
    """An archive of sources that arrived in the source bucket.

    `version` is None if it comes from a listing of the bucket rather than an event.
    """

    site: str
    bucket: str
    key: str
    version: str | None
    time: datetime


class DocsRelease(Entry):
    """A release of a site. `source` is the archive's `bucket/key` and `sourceVersion` its version.

    `folder` holds its files; a rollback uses the earlier release's.
    """

    source: str
    sourceVersion: str
    folder: str
    url: NotRequired[str]


@final
class RecordedDocs(DocsRelease, Record):
    """The record of a site's release."""

    rollback: NotRequired[Mapping[str, Any] | None]


def owner(site: str) -> str:
    """Return the name of a site in the releases table."""
    return _OWNER + site


def is_site(service: str) -> bool:
    """Return whether a name in the releases table is a site's."""
    return service.startswith(_OWNER)


def kind(service: str) -> str:
    """Return `site` or `service`, by a name in the releases table."""
    return "site" if is_site(service) else "service"


def of_owner(service: str) -> str:
    """Return the site of a name in the releases table."""
    return service.removeprefix(_OWNER)


def is_folder(path: str) -> bool:
    """Return whether a path can be the folder of a site in its sources."""
    return path == "." or bool(re.fullmatch(_PATH, path))


def named(parameters: Mapping[str, str]) -> list[str]:
    """Return the names of the sites that have a spec."""
    return [name.rsplit("/", 1)[-1] for name in parameters]


def url(parameters: Mapping[str, str], name: str) -> str | None:
    """Return a site's URL by its spec; None without a spec that can be read."""
    with contextlib.suppress(SiteUnknown, SpecInvalid, RequestRejected):
        return from_parameters(parameters, name)[0].url
    return None


def from_parameters(
    parameters: Mapping[str, str], site: str | None
) -> tuple[SiteSpec, Mapping[str, Any]]:
    """Return the spec of a site, parsed and as a document; the only one's if none is named.

    Raises:
        SiteUnknown, SpecInvalid, RequestRejected: no spec, an invalid one, or several sites.
    """
    matches = {
        name: text
        for name, text in parameters.items()
        if site is None or name.rsplit("/", 1)[-1] == site
    }
    if not matches:
        names = ", ".join(sorted(parameters)) or "none"
        raise SiteUnknown(f"no site spec is named {site or '<any>'}; available: {names}")
    if len(matches) != 1:
        names = ", ".join(sorted(parameters))
        raise RequestRejected(f"name the site; {len(matches)} have a spec: {names}")
    source, text = next(iter(matches.items()))
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SpecInvalid(f"{source} is not valid JSON: {error}") from None
    return from_document(document, source), document


def from_document(document: object, source: str = "the site spec") -> SiteSpec:
    """Read a spec from its JSON document.

    Raises:
        SpecInvalid: the message names every invalid field.
    """
    problems: list[str] = []
    if not isinstance(document, dict):
        raise SpecInvalid(f"{source} must be a JSON object, not {type(document).__name__}")
    at = Fields(document, "", problems)
    build, name = at.object("build"), at.text("site", pattern=_NAME)
    # a site's secrets and role are not another's
    variable, role = (each.replace("{site}", re.escape(name)) for each in (_VARIABLE, _ROLE))
    spec = SiteSpec(
        site=name,
        url=at.text("url", pattern=r"https?://[^/]+"),
        bucket=at.text("bucket", pattern="[a-z0-9.-]{3,63}"),
        distribution=at.text("distribution", pattern="[A-Z0-9]+"),
        store=at.text("store", pattern="arn:aws[a-z-]*:cloudfront::[0-9]{12}:key-value-store/.+"),
        build=Build(
            directory=build.possibly("directory", _PATH),
            script=build.possibly("script", "[A-Za-z0-9_][A-Za-z0-9_:.-]*"),
            output=build.possibly("output", _PATH),
            secrets=dict(
                re.findall(variable, build.possibly("secrets", rf"{variable}(,{variable})*"))
            ),
            role=build.possibly("role", role),
        ),
        keep_releases=at.integer("keepReleases", 5, low=2, high=20),
        may_shrink_to=at.integer("mayShrinkTo", 50, low=0, high=100),
        # a change of a key value store takes seconds everywhere; the rest is for slow
        # days: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/kvs-with-functions.html
        timeout=at.integer("timeout", 180, low=1, high=900),
        trailing_slash=cast(Slash, at.possibly("trailingSlash", "always|never"))
        if "trailingSlash" in document
        else None,
    )
    build.close()
    at.close()
    if problems:
        raise SpecInvalid(f"{source} has {len(problems)} wrong field(s): " + "; ".join(problems))
    return spec


def build_role(spec: SiteSpec) -> str:
    """Return the ARN of the role that a site's builds run in.

    Raises:
        SpecInvalid: there is none.
    """
    if not spec.build.role:
        raise SpecInvalid(
            f"site {spec.site} has no role for its builds: its stack is older than the deployer."
            " Update it to infrastructure/docs.yaml, and publish again"
        )
    return spec.build.role


def parse(document: object) -> Upload | Publish | Rollback | Hold | Resume | Recover:
    """Read the input of an execution.

    Args:
        document: the `Object Created` event of the source bucket as EventBridge delivers it
            (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html), or a request,
            an object with `action`.
    Raises:
        RequestRejected: the message names the problem and has a valid example.
    """
    if isinstance(document, dict) and "action" in document:
        requested = requests.manual(document, requests.SITE_EXAMPLES, "site")
        # these are not among the examples
        assert not isinstance(requested, requests.Deploy | requests.Restart)
        if isinstance(requested, Rollback) and requested.restore_database:
            raise RequestRejected("restoreDatabase is for services: a site has no database")
        return requested
    if not isinstance(document, dict) or document.get("source") != "aws.s3":
        raise RequestRejected(
            "the input is neither an upload's event nor a request; a request looks like"
            f" {requests.SITE_EXAMPLES['publish']}"
        )
    detail = document.get("detail")
    if document.get("detail-type") != "Object Created" or not isinstance(detail, dict):
        raise RequestRejected("S3 events other than Object Created publish nothing")
    bucket, stored = detail.get("bucket"), detail.get("object")
    if not isinstance(bucket, dict) or not isinstance(stored, dict):
        raise RequestRejected("the S3 event's detail has no bucket or no object")
    key = requests.text(stored, "key", "S3 event's object")
    return Upload(
        site=site_of(key),
        bucket=requests.text(bucket, "name", "S3 event's bucket"),
        key=key,
        version=requests.text(stored, "version-id", "S3 event's object")
        if "version-id" in stored
        else None,
        time=requests.time_of(document, "S3 event"),
    )


def is_archive(stored: Mapping[str, Any]) -> bool:
    """Return whether an object that S3 lists is an archive of a site's sources."""
    return bool(_SOURCE.fullmatch(stored["key"]))


def site_of(key: str) -> str:
    """Return the site that an archive is for.

    Raises:
        RequestRejected: the key is not that of a site's archive.
    """
    match = _SOURCE.fullmatch(key)
    if not match:
        raise RequestRejected(
            f"{key[:200]!r} is not an archive of a site's sources; upload it as"
            " docs/<site>/<any name>.tar.gz or .zip"
        )
    return match[1]


def uploaded(upload: Upload, execution: str, now: datetime) -> DocsRelease:
    """Return the release for an upload: the same one for each of its events."""
    name = release_id(upload.time, _fingerprint(upload))
    return _release(upload, name, "push", "upload", execution, now)


def requested(upload: Upload, by: str | None, execution: str, now: datetime) -> DocsRelease:
    """Return the release for a request to publish: a new one for each request."""
    name = release_id(now, _fingerprint(upload), execution)
    return _release(upload, name, "deploy", by or OPERATOR, execution, now)


def _fingerprint(upload: Upload) -> str:
    """Return a hash that identifies this version of this archive."""
    identity = f"{upload.bucket}/{upload.key}@{upload.version}"
    return hashlib.sha256(identity.encode()).hexdigest()


def _release(
    upload: Upload, name: str, trigger: Trigger, by: str, execution: str, now: datetime
) -> DocsRelease:
    return {
        "service": owner(upload.site),
        "id": name,
        "digest": f"source:{_fingerprint(upload)}",
        "tag": None,
        "version": _ENDINGS.sub("", upload.key.rsplit("/", 1)[-1]),
        "source": f"{upload.bucket}/{upload.key}",
        "sourceVersion": upload.version or "",
        "folder": name,
        "pushedAt": upload.time.astimezone(UTC).isoformat(),
        "trigger": trigger,
        "startedBy": by,
        "startedAt": now.isoformat(),
        "execution": execution,
    }


def again(
    before: DocsRelease, trigger: Trigger, by: str | None, execution: str, now: datetime
) -> DocsRelease:
    """Return the release that publishes an earlier one again: a rollback, or a resumption."""
    name = release_id(now, before["digest"].rpartition(":")[2], execution)
    return {
        "service": before["service"],
        "id": name,
        "digest": before["digest"],
        "tag": None,
        "version": before["version"],
        "source": before["source"],
        "sourceVersion": before["sourceVersion"],
        # a held release was never published, so it gets its own folder
        "folder": before["folder"] if trigger == "rollback" else name,
        "pushedAt": before["pushedAt"],
        "trigger": trigger,
        "startedBy": by or OPERATOR,
        "startedAt": now.isoformat(),
        "execution": execution,
        "to": before["id"],
    }


def no_op(
    spec: SiteSpec, trigger: Trigger, by: str | None, execution: str, now: datetime
) -> DocsRelease:
    """Return the record of a request that publishes nothing, such as a hold."""
    name = release_id(now, trigger, execution)
    return {
        "service": owner(spec.site),
        "id": name,
        "digest": "",
        "tag": None,
        "version": "",
        "source": "",
        "sourceVersion": "",
        "folder": "",
        "pushedAt": now.isoformat(),
        "trigger": trigger,
        "startedBy": by or OPERATOR,
        "startedAt": now.isoformat(),
        "execution": execution,
    }


def kept(records: Sequence[RecordedDocs], keep: int, live: str | None = None) -> list[str]:
    """Return the folders to keep, the live one first.

    Args:
        keep: how many.
        live: the folder that becomes live; None for the live release's.
    """
    folders = [entry["folder"] for entry in history.good(records)]
    return list(dict.fromkeys([live, *folders] if live else folders))[:keep]


def switch(
    folders: Sequence[str], pairs: Sequence[Pair] | None = (), slash: bool = False
) -> list[Pair]:
    """Return what makes a release live in the key value store; nothing without a release.

    Args:
        folders: the live release, then the others that are kept.
        pairs: what the store holds for the live release besides; see `addresses.Missing`. None for
            a release of an older deployer, whose addresses all end with a slash.
        slash: whether the edge adds a slash to names without an ending.
    """
    if not folders:
        return []
    how = "" if pairs is None else f";{max(0, len(pairs) - 1)}{';/' if slash else ''}"
    return [{"Key": SWITCH, "Value": ",".join(folders) + how}, *(pairs or ())]


def switched(pairs: Sequence[Pair]) -> list[str]:
    """Return the folders that a switch names, the live release's first."""
    value = next(pair["Value"] for pair in pairs if pair["Key"] == SWITCH)
    return value.partition(";")[0].split(",")

"""Decide what a site serves at which address: pages, redirects, headers and error pages.

A key of a release's folder is the path of an address, with `index.html` after a slash. Everything
that has an address has an object, so the edge needs no rules: a page without its ending is the page
again under that name, a redirect is an empty object whose metadata says where to.

Only what is decided for addresses without an object needs more: redirects with a `*` and the error
pages of folders. For these the edge gets a filter of the keys that exist. Imports no AWS.
"""

import base64
import hashlib
import json
import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypedDict
from urllib.parse import quote, unquote, urlsplit

FRONT_PAGE = "index.html"
ERROR_PAGE = "404.html"
REDIRECTS = "_redirects"
HEADERS = "_headers"

type Slash = Literal["", "always", "never"]


class Served(TypedDict, total=False):
    """How an object is served, where that is not by its name alone.

    Attributes:
        of: the built file whose content it has, if that has another path.
        kind: its content type.
        cache: its Cache-Control, from `_headers`.
        immutable: whether browsers keep it for good.
        status: the status instead of 200.
        location: where it redirects to.
        headers: more headers.
    """

    of: str
    kind: str
    cache: str
    immutable: bool
    status: int
    location: str
    headers: Mapping[str, str]


# Pages
# -------------------------------------------------------------------------------------------------


def is_page(path: str) -> bool:
    """Return whether a file is a page."""
    return path.endswith((".html", ".htm"))


def of_pages(built: Collection[str], slash: Slash) -> dict[str, Served]:
    """Return the objects besides the built files that give each page its addresses.

    `a.html` is served as `/a`, and `/a/` redirects there; `a/index.html` is served as `/a/`, and
    `/a` redirects there. So relative links lead where the generator meant them to.

    Args:
        slash: `always`: `/a` redirects to `/a/` for both; `never`: `/a/` redirects to `/a`.
    Returns:
        By key; a built file of the same path comes first, except that `never` redirects from it.
    """
    objects: dict[str, Served] = {}
    for path in sorted(built):
        folder, _, name = path.rpartition("/")
        if not path.endswith(".html") or name == ERROR_PAGE or path == FRONT_PAGE:
            continue
        is_index = name == FRONT_PAGE
        bare = folder if is_index else path.removesuffix(".html")
        within = f"{bare}/{FRONT_PAGE}"
        if bare in built:
            continue  # a file has the address
        if f"{bare}.html" in built and within in built:
            objects[bare] = {"of": f"{bare}.html"}  # and a/index.html is /a/
        elif slash == "always" or (is_index and slash != "never"):
            objects |= {within: {"of": path}} if within != path else {}
            objects[bare] = {"location": f"/{quote(bare)}/", "status": 302}
        else:
            objects[bare] = {"of": path}
            objects[within] = {"location": f"/{quote(bare)}", "status": 302}
    return objects


# what the function at the edge takes for the ending of a file
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}$", re.ASCII)


def by_the_edge(objects: Mapping[str, Served]) -> set[str]:
    """Return the redirects from `/a` to `/a/` that the edge can make itself, without objects.

    It can where that holds for all names without an ending; none if the site has other such names.
    """
    bare = {key for key in objects if not _ENDING.search(key)}
    to_slash = {key for key in bare if objects[key].get("location") == f"/{quote(key)}/"}
    return to_slash if to_slash == bare else set()


def error_pages(built: Collection[str]) -> dict[str, Served]:
    """Return the error pages, which are served with their status."""
    return {p: {"status": 404} for p in built if p == ERROR_PAGE or p.endswith(f"/{ERROR_PAGE}")}


def address(key: str) -> str:
    """Return the path of a key's URL."""
    folder, _, name = key.rpartition("/")
    return "/" + quote((f"{folder}/" if folder else "") if name == FRONT_PAGE else key)


_LINK = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.ASCII)
_MOST_PAGES = 500
_CANONICAL = re.compile(r"""<link\b[^>]*\brel\s*=\s*["']?canonical\b[^>]*>""", re.ASCII)


@dataclass
class Links:
    """How a site's pages refer to pages in folders: with or without a slash at the end.

    That tells what the generator meant: the same files can be served in both ways.
    """

    with_slash: int = 0
    without: int = 0
    _pages: int = 0
    _folders: Collection[str] = field(default_factory=frozenset)

    @classmethod
    def among(cls, built: Collection[str]) -> "Links":
        """Return the links to the folders of these files, to be counted."""
        end = f"/{FRONT_PAGE}"
        names = {p.removesuffix(end) for p in built if p.endswith(end)}
        return cls(_folders={name for name in names if f"{name}.html" not in built})

    def count(self, page: str, text: str) -> None:
        """Count the links of a page, of the first few hundred."""
        self._pages += 1
        if self._pages > _MOST_PAGES:
            return
        canonical = "".join(_CANONICAL.findall(text))
        for match in _LINK.finditer(text):
            self._count(page, match[1] or match[2] or match[3] or "", canonical)

    def _count(self, page: str, link: str, canonical: str) -> None:
        try:
            parts = urlsplit(link)
        except ValueError:
            return
        if not parts.path or ((parts.scheme or parts.netloc) and link not in canonical):
            return
        base = f"/{page.removesuffix(FRONT_PAGE)}"
        path = unquote(posixpath.join(base, parts.path))
        folder = posixpath.normpath(path).strip("/")
        if folder in self._folders:
            self.with_slash += path.endswith("/")
            self.without += not path.endswith("/")

    @property
    def slash(self) -> Slash:
        """`never` if nearly all links have none."""
        return "never" if self.without > 4 * self.with_slash else ""


# Redirects
# -------------------------------------------------------------------------------------------------

_STATUSES = (301, 302, 303, 307, 308)
_REWRITES = (200, 404)
_SPLAT = re.compile(r"(https?://[^/:]+(:\d+)?)?/([^:]*/)?:splat")


class Redirect(NamedTuple):
    """A rule of `_redirects`. `prefix`: the source ends with `*`, which `:splat` stands for."""

    source: str
    target: str
    status: int
    forced: bool
    prefix: bool


def redirects(text: str) -> tuple[list[Redirect], list[str]]:
    """Read a `_redirects` file, in the part of Netlify's syntax that is supported.

    Returns:
        The rules, and for each other line what is not supported in it.
    """
    rules, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = re.split(r"\s+", re.sub(r"(^|\s)#.*", "", line).strip())
        if words == [""]:
            continue
        rule = _redirect(words)
        if isinstance(rule, Redirect):
            rules.append(rule)
        else:
            problems.append(f"{REDIRECTS}, line {number} ({line.strip()[:80]!r}): {rule}")
    return rules, problems


def _redirect(words: Sequence[str]) -> Redirect | str:
    source, rest = words[0], words[1:]
    if not rest:
        return "no target"
    if not source.startswith("/"):
        return "a source must be a path"
    target, conditions = rest[0], list(rest[1:])
    if "=" in target and not target.startswith(("/", "http://", "https://")):
        return "query parameters are not supported"
    if not (target.startswith("/") and not target.startswith("//")) and not re.match(
        r"https?://[^/\s]+", target
    ):
        return "a target must be a path or a URL"
    status, forced = 301, False
    if conditions and re.fullmatch(r"\d{3}!?", conditions[0]):
        word = conditions.pop(0)
        status, forced = int(word[:3]), word.endswith("!")
    if conditions:
        return "conditions are not supported"
    if status not in (*_STATUSES, *_REWRITES):
        return f"status {status} is not supported"
    prefix = source.endswith("/*")
    bare = source.removesuffix("/*") if prefix else source
    if "*" in bare or "/:" in bare:
        return "placeholders, and * except at the end after a slash, are not supported"
    if prefix and status in _REWRITES:
        return f"status {status} is not supported with *"
    if ":splat" in target and not (prefix and _SPLAT.fullmatch(target)):
        return ":splat needs a source that ends with /*, and a target that ends with /:splat"
    if status in _REWRITES and not target.startswith("/"):
        return f"status {status} needs a page of the site"
    return Redirect(unquote(bare).strip("/"), target, status, forced, prefix)


def of_redirects(
    rules: Sequence[Redirect], known: Mapping[str, Served], built: Collection[str]
) -> tuple[dict[str, Served], list[str]]:
    """Return the objects for the redirects without a `*`; the first rule for a path counts.

    Args:
        known: the objects of pages, which come before a rule that is not forced.
    Returns:
        The objects by key, and the rules that lead to a page that does not exist.
    """
    objects: dict[str, Served] = {}
    problems = []
    for rule in rules:
        if rule.prefix:
            continue
        served: Served = {"location": _ascii(rule.target), "status": rule.status}
        if rule.status in _REWRITES:
            page = _page(rule.target, known, built)
            if page is None:
                problems.append(f"{REDIRECTS}: /{rule.source} leads to {rule.target}, not a page")
                continue
            served = {"of": page} if rule.status == 200 else {"of": page, "status": 404}
        keys = _keys(rule.source)
        if rule.forced or not any(key in known or key in built for key in keys):
            objects.update({key: served for key in keys if key not in objects})
    return objects, problems


def _keys(source: str) -> tuple[str, ...]:
    """Return the keys of a path, with a slash at its end and without, as Netlify matches both."""
    if source.endswith(FRONT_PAGE):
        return (source,)
    return (source, f"{source}/{FRONT_PAGE}") if source else (FRONT_PAGE,)


def _page(target: str, known: Mapping[str, Served], built: Collection[str]) -> str | None:
    path = unquote(urlsplit(target).path)
    keys = _keys(path.strip("/"))
    for key in reversed(keys) if path.endswith("/") else keys:
        if key in built:
            return key
        if key in known and "of" in known[key]:
            return known[key]["of"]
    return None


def _ascii(target: str) -> str:
    """Return a target as a header may hold it."""
    return quote(target, safe="/:?#[]@!$&'()*+,;=%~")


# Headers
# -------------------------------------------------------------------------------------------------

# What CloudFront or S3 sets, or what no function at the edge may:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/edge-function-restrictions-all.html
_NOT_SETTABLE = {
    *("accept-ranges", "age", "connection", "content-encoding", "content-length"),
    *("content-range", "date", "etag", "expect", "keep-alive", "last-modified", "location"),
    *("proxy-authenticate", "proxy-authorization", "proxy-connection", "server", "set-cookie"),
    *("trailer", "transfer-encoding", "upgrade", "vary", "via", "warning", "www-authenticate"),
    *("basic-auth", "x-cache"),
}
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)")
# bytes; an object's own metadata has 2 KB: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
_METADATA = 1500


class HeaderRule(NamedTuple):
    """A rule of `_headers`: what its paths look like, and its headers in lower case."""

    pattern: re.Pattern[str]
    headers: Mapping[str, str]


def header_rules(text: str) -> tuple[list[HeaderRule], list[str]]:
    """Read a `_headers` file, in the part of Netlify's syntax that is supported.

    Returns:
        The rules, and for each other line what is not supported in it.
    """
    rules: list[HeaderRule] = []
    problems: list[str] = []
    headers: dict[str, str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        where = f"{HEADERS}, line {number} ({stripped[:80]!r}): "
        if stripped.startswith("/"):
            headers = {}
            rules.append(HeaderRule(_pattern(stripped), headers))
            continue
        match = _HEADER.fullmatch(stripped)
        name, value = (match[1].lower(), match[2].strip()) if match else ("", "")
        if match is None or headers is None:
            problems.append(f"{where}neither a path nor a header below one")
        elif name in _NOT_SETTABLE or name.startswith(("x-amz", "x-edge-")):
            problems.append(f"{where}this header can't be set")
        elif not value.isascii() or not value.isprintable():
            problems.append(f"{where}a header must be ASCII")
        else:  # Netlify joins the values of one header
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return rules, problems


def _pattern(path: str) -> re.Pattern[str]:
    bare = path if path == "/" else path.rstrip("/")
    parts = re.split(r"(\*|(?<=/):\w+)", bare)
    expressions = [
        ".*" if part == "*" else "[^/]+" if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    ]
    return re.compile("".join(expressions) + "/?")


def with_headers(
    key: str, served: Served, rules: Sequence[HeaderRule]
) -> tuple[Served, str | None]:
    """Return how an object is served with the headers that `_headers` gives its address.

    Returns:
        That, and why it has fewer headers than the rules say, or None.
    """
    addresses = {unquote(address(key)), f"/{key}"}
    headers: dict[str, str] = {}
    for rule in rules:
        if any(map(rule.pattern.fullmatch, addresses)):
            for name, value in rule.headers.items():
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if not headers:
        return served, None
    changed = served.copy()
    if cache := headers.pop("cache-control", None):
        changed["cache"] = cache
    if kind := headers.pop("content-type", None):
        changed["kind"] = kind
    if len(json.dumps(headers)) > _METADATA:
        return changed, f"{HEADERS}: the headers of /{key} are longer than {_METADATA} bytes"
    return (changed | {"headers": headers} if headers else changed), None


# What the edge needs for addresses without an object
# -------------------------------------------------------------------------------------------------

# A value of the store has 1 KB at most, and one request changes 50 keys at most:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html
_VALUE = 1000
_MOST_SHARDS = 48
_MARK = 3  # characters of base64; one missing address in thousands looks as if it existed
_PER_SHARD = _VALUE // _MARK
_USUAL = _PER_SHARD * 7 // 10  # so that none is too full, since they differ
RULES = "rules"


class Pair(TypedDict):
    """A key of the store, and its value."""

    Key: str
    Value: str


@dataclass(frozen=True)
class Missing:
    """What the edge does with an address that has no object.

    Attributes:
        redirects: prefixes, each with its target and status.
        errors: the folders that have an error page of their own.
        slash: whether a name without an ending redirects to the same with a slash.
    """

    redirects: Sequence[tuple[str, str, int]] = ()
    errors: Sequence[str] = ()
    slash: bool = False

    def pairs(self, keys: Collection[str]) -> list[Pair]:
        """Return what the store holds for it: the rules, and a filter of the keys that exist.

        None if there are no rules.
        """
        if not self.redirects and not self.errors:
            return []
        count = max(1, -(-len(keys) // _USUAL))
        shards = [""] * count
        for key in sorted(keys):
            number, mark = _place(key, count)
            shards[number] += mark
        rules = json.dumps([self.redirects, self.errors], separators=(",", ":"))
        values = [(RULES, rules), *((str(n), shard or "-") for n, shard in enumerate(shards))]
        return [{"Key": key, "Value": value} for key, value in values]


def missing(rules: Sequence[Redirect], keys: Collection[str]) -> tuple[Missing, list[str]]:
    """Return what the edge does with addresses that have no object, and what does not fit."""
    prefixes = [(rule.source, _ascii(rule.target), rule.status) for rule in rules if rule.prefix]
    end = f"/{ERROR_PAGE}"
    errors = sorted((k.removesuffix(end) for k in keys if k.endswith(end)), key=_deepest_first)
    if not prefixes and not errors:
        return Missing(), []
    decided = Missing(prefixes, errors)
    pairs = decided.pairs(keys)
    largest = max(len(pair["Value"].encode()) for pair in pairs)
    if len(pairs) > _MOST_SHARDS + 1 or largest > _VALUE:
        what = (
            f"{len(keys)} addresses, {len(prefixes)} redirects with * and {len(errors)} {end[1:]}"
        )
        return Missing(), [
            f"{what} in folders are more than the edge can hold: redirects with * do not work, and"
            f" every missing page gets the {end[1:]} at the top"
        ]
    return decided, []


def _deepest_first(folder: str) -> tuple[int, str]:
    return -folder.count("/"), folder


def _place(key: str, count: int) -> tuple[int, str]:
    """Return the shard that a key belongs to, and what stands for it there."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[-4:]) % count, base64.b64encode(digest).decode()[:_MARK]

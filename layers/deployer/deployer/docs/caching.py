"""Decide which files browsers may keep for good: only those whose name changes with their content.

The decision is final: a browser that keeps a file under a name never asks for it again. So a name
that merely looks like a hash does not count. It counts if a generator is known to hash what it puts
there, or if the name holds a hash of the content.
"""

import base64
import hashlib
import re

_ALGORITHMS = ("md5", "sha1", "sha256", "sha384", "sha512")
_SHORTEST = 8  # characters of a hash in a name

# What has such a part may hold a hash of its content, so its hashes are worth computing
_CANDIDATE = re.compile(r"(?=[\w-]*[0-9A-Z])[\w-]{8,}", re.ASCII)

_HEX = r"(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{8,}"
# Rollup's: 8 characters of base64url, and no words such as release1 or MyGuide2
_NO_WORDS = r"(?!(?:[-_]?[A-Z]?[a-z]++)++[-_]?[0-9]*\.)"
_ROLLUP = rf"{_NO_WORDS}(?=[\w-]*[0-9]|[\w-]+[A-Z])[\w-]{{8}}"
# after a hyphen, of which file names have others too
_ROLLUP_STRICT = rf"{_NO_WORDS}(?=[\w-]*[0-9])(?=[\w-]+[A-Z])[\w-]{{8}}"
_TURBOPACK = r"[0-9][0-9a-z_-]{12}"

# In folders that are a generator's alone
_OWN_FOLDER = re.compile(
    rf"""(?:^|/)(?:
        # Next.js, with webpack or Turbopack; not what lies in the folder of its build id
        _next/static/(?:chunks|css|media)/(?:.*[./-])?(?:{_HEX}(?:-s)?(?:\.p)?|{_TURBOPACK})\.\w+
        # Astro and Nuxt
        | (?:_astro|_nuxt)/(?!builds/)(?:.*[._/-])?{_ROLLUP}(?:_\w+)?\.\w+
        # SvelteKit: all of it, as the name says
        | _app/immutable/.+
    )$""",
    re.ASCII | re.VERBOSE,
)
# In assets, where others put files under names of their own; by what the front page says of its
# generator
_IN_ASSETS = {
    rb"<meta name=\"?generator\"? content=\"?VitePress": rf"""^assets/(?:
        (?:chunks/)?[^/]*\.{_ROLLUP}(?:\.lean)?\.(?:js|css)
        | inter-(?:roman|italic)-[a-z-]+\.[\w-]{{8}}\.woff2 # its own font
    )$""",
    rb"<meta name=\"?generator\"? content=\"?Docusaurus": rf"""(?:^|/)assets/(?:
        (?:js|css)/[^/]*\.{_HEX}\.(?:js|css)
        | (?:images|files|fonts|medias)/[^/]*-[0-9a-f]{{32}}\.\w+
    )$""",
    rb"<meta name=\"?generator\"? content=\"?[^\">]*\bmkdocs-material-": rf"""(?:^|/)assets/
        (?:javascripts|stylesheets)/(?:\w+/)*[\w-]+\.{_HEX}\.min\.(?:js|css)$""",
    # Vite
    rb"<script type=\"module\" crossorigin src=\"[^\"]*\bassets/": rf"""^assets/
        (?:chunks/)?[^/]*[.-]{_ROLLUP_STRICT}\.(?:js|css)$""",
}

# Where generators put what their pages load
_ASSETS = re.compile(r"(^|/)(_next/static|_astro|_nuxt|_app/immutable|assets)/", re.ASCII)


class Content:
    """The content of a file, read in chunks: its SHA-256, and what its name may hold of it."""

    def __init__(self, path: str) -> None:
        name = path.rpartition("/")[2]
        self._name = name
        algorithms = _ALGORITHMS if _CANDIDATE.search(name) else ("sha256",)
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}

    def update(self, chunk: bytes) -> None:
        """Take the next chunk."""
        for each in self._hashes.values():
            each.update(chunk)

    @property
    def digest(self) -> str:
        """The SHA-256, in hex."""
        return self._hashes["sha256"].hexdigest()

    def names(self) -> bool:
        """Return whether the file's name holds a hash of the content."""
        if len(self._hashes) == 1:
            return False
        return any(
            _holds(self._name, text)
            for each in self._hashes.values()
            for text in _written(each.digest())
        )


def _written(digest: bytes) -> tuple[str, ...]:
    """Return a hash in the ways in which names hold it."""
    base32 = base64.b32encode(digest).decode()
    return (
        digest.hex(),
        digest.hex().upper(),
        base32,
        base32.lower(),
        base64.urlsafe_b64encode(digest).decode(),
    )


def _holds(name: str, text: str) -> bool:
    """Return whether a part of a name is the beginning of a hash."""
    start = name.find(text[:_SHORTEST])
    while start >= 0:
        length = next(
            (n for n, (a, b) in enumerate(zip(name[start:], text, strict=False)) if a != b),
            min(len(name) - start, len(text)),
        )
        before, after = name[:start][-1:], name[start + length :][:1]
        if not before.isalnum() and not after.isalnum():
            return True
        start = name.find(text[:_SHORTEST], start + 1)
    return False


def patterns(front_page: bytes) -> tuple[re.Pattern[str], ...]:
    """Return the paths of what a site's generator is known to hash.

    Args:
        front_page: its beginning, which may name the generator; empty if there is none.
    """
    named = [path for mark, path in _IN_ASSETS.items() if re.search(mark, front_page)]
    return (_OWN_FOLDER, *(re.compile(path, re.ASCII | re.VERBOSE) for path in named))


def is_asset(path: str) -> bool:
    """Return whether a page that is still open may load a file by a name that looks hashed."""
    return bool(_ASSETS.search(path) and _CANDIDATE.search(path.rpartition("/")[2]))

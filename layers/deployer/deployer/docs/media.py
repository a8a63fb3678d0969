"""Decide the content type of a site's file: by the ending of its name, or else by its content.

A module of its own: only the publication needs the tables, and they cost time at a cold start.
"""

import codecs
import mimetypes
from pathlib import PurePosixPath
from typing import NamedTuple

from content_types import EXTENSION_TO_CONTENT_TYPE

BINARY = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
_XML = "application/xml; charset=utf-8"
# The endings of files that generators make for their own use: no list has them
_OF_GENERATORS = {"buildinfo", "inv", "pagefind", "pf_fragment", "pf_index", "pf_meta"}
# Python's own table, not that of the machine
_STANDARD = {ending[1:]: kind for ending, kind in mimetypes.MimeTypes().types_map[True].items()}


class Media(NamedTuple):
    """A content type; `known`: whether it comes from the name."""

    kind: str
    known: bool


def media(path: str, head: bytes) -> Media:
    """Return the content type of a file.

    Args:
        head: the beginning of its content.
    """
    ending = _ending(path)
    kind = EXTENSION_TO_CONTENT_TYPE.get(ending) or _STANDARD.get(ending)
    if kind is None:
        return Media(_by_content(head), not ending or ending in _OF_GENERATORS)
    is_text = kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml")
    return Media(f"{kind}; charset=utf-8" if is_text and ending != "svg" else kind, True)


def _ending(path: str) -> str:
    """Return the ending of a name in lower case, or "" without one."""
    return PurePosixPath(path).suffix[1:].lower()


def _by_content(head: bytes) -> str:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return BINARY
    if any(ord(letter) < 32 and letter not in "\t\n\r\f\x1b" for letter in text):
        return BINARY
    return _XML if text.lstrip("\ufeff").startswith("<?xml") else TEXT


def unknown_endings(paths: list[str]) -> str:
    """Return files whose ending no list has, in words for the record."""
    endings = sorted({f".{_ending(path)}" for path in paths})
    shown = ", ".join(endings[:10]) + (" …" if len(endings) > 10 else "")
    return (
        f"{len(paths)} file(s) have an ending without a known content type ({shown}), such as"
        f" {sorted(paths)[0]!r}: served as text or application/octet-stream, by content; set"
        " another Content-Type in _headers"
    )

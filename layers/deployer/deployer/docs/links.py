"""Resolve the symbolic links of a site's sources: those that stay inside become files."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

_MOST = 40  # links that one path may follow, as Linux has it
_NAMED = 20  # links in a message


@dataclass(frozen=True)
class Links:
    """What links lead to.

    Attributes:
        copies: the paths that appear through links, each with its file.
        outside: the links that lead out of the sources, each with its target.
        missing: the links that lead to no file of the sources, each with its target.
    """

    copies: Mapping[str, str] = field(default_factory=dict)
    outside: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


class TooMany(Exception):
    """More files appear through links than sources may have: each link to a folder multiplies."""


class _Outside(Exception):
    """A path leads out of the sources."""


def words(linked: Mapping[str, str]) -> str:
    """Return links with their targets, for a message."""
    shown = [f"{path} -> {target[:200]}" for path, target in sorted(linked.items())]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    count = f"{len(shown)} links" if len(shown) > 1 else "the link"
    return f"{count} {', '.join(shown[:_NAMED])}{more}"


def resolve(linked: Mapping[str, str], files: Collection[str], most: int) -> Links:
    """Find out what each link leads to: a file, a folder with what is in it, or nothing.

    Args:
        linked: the target of each link as it is written, by the link's path.
        most: how many files and links may appear through links.
    Raises:
        TooMany: more appear.
    """
    tree, copies = _Tree(linked, files, most), dict[str, str]()
    outside: dict[str, str] = {}
    missing: dict[str, str] = {}
    for path, target in linked.items():
        try:
            real = tree.real(path)
        except _Outside:
            outside[path] = target
            continue
        if real is not None and real in files:
            copies[path] = real
        elif real is None or not (inside := dict(tree.inside(real, path))):
            missing[path] = target
        else:
            copies |= inside
    return Links(copies, outside, missing)


class _Tree:
    """The names of files and links, and how many more may appear through links."""

    def __init__(self, linked: Mapping[str, str], files: Collection[str], most: int) -> None:
        self._linked, self._files, self._left = linked, files, most
        self._names = sorted([*files, *linked])

    def real(self, path: str) -> str | None:
        """Return the path without links; None if they lead in a circle.

        Raises:
            _Outside: it leads out of the sources.
        """
        parts, done, followed = path.split("/")[::-1], list[str](), 0
        while parts:
            part = parts.pop()
            if part == "..":
                if not done:
                    raise _Outside
                done.pop()
                continue
            if part in ("", "."):
                continue
            here = "/".join([*done, part])
            if here not in self._linked:
                done.append(part)
                continue
            followed += 1
            if followed > _MOST:
                return None
            target = self._linked[here].replace("\\", "/")
            if target.startswith("/") or ":" in target.split("/")[0]:
                raise _Outside
            parts += target.split("/")[::-1]
        return "/".join(done)

    def inside(self, folder: str, shown: str, depth: int = 0) -> Iterator[tuple[str, str]]:
        """Yield the files of a folder as they appear through a link; none if it leads in a circle.

        Raises:
            TooMany: more than may appear.
        """
        top = f"{folder}/" if folder else ""
        if f"{shown}/".startswith(top) or depth > _MOST:
            return
        for index in range(bisect_left(self._names, top), len(self._names)):
            path = self._names[index]
            if not path.startswith(top):
                break
            self._left -= 1
            if self._left < 0:
                raise TooMany
            appears = f"{shown}/{path.removeprefix(top)}"
            if path not in self._linked:
                yield appears, path
                continue
            with suppress(_Outside):  # which is named by itself
                real = self.real(path)
                if real is not None and real in self._files:
                    yield appears, real
                elif real and not _lies_in(shown, real) and not _lies_in(folder, real):
                    yield from self.inside(real, appears, depth + 1)


def _lies_in(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")

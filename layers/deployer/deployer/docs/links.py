"""Resolve the symbolic links of a site's sources: those that stay inside become files."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
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


class _Outside(Exception):
    """A path leads out of the sources."""


def words(linked: Mapping[str, str]) -> str:
    """Return links with their targets, for a message."""
    shown = [f"{path} -> {target[:200]}" for path, target in sorted(linked.items())]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    count = f"{len(shown)} links" if len(shown) > 1 else "the link"
    return f"{count} {', '.join(shown[:_NAMED])}{more}"


def resolve(linked: Mapping[str, str], files: Collection[str]) -> Links:
    """Find out what each link leads to: a file, a folder with what is in it, or nothing.

    Args:
        linked: the target of each link as it is written, by the link's path.
    """
    ordered, copies = sorted(files), {}
    outside: dict[str, str] = {}
    missing: dict[str, str] = {}
    for path, target in linked.items():
        try:
            real = _real(path, linked)
        except _Outside:
            outside[path] = target
            continue
        if real is not None and real in files:
            copies[path] = real
        elif real is None or not (inside := dict(_inside(real, path, ordered, linked))):
            missing[path] = target
        else:
            copies |= inside
    return Links(copies, outside, missing)


def _real(path: str, linked: Mapping[str, str]) -> str | None:
    """Return the path without links; None if they lead in a circle."""
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
        if here not in linked:
            done.append(part)
            continue
        followed += 1
        if followed > _MOST:
            return None
        target = linked[here].replace("\\", "/")
        if target.startswith("/") or ":" in target.split("/")[0]:
            raise _Outside
        parts += target.split("/")[::-1]
    return "/".join(done)


def _inside(
    folder: str, shown: str, ordered: Sequence[str], linked: Mapping[str, str], depth: int = 0
) -> Iterator[tuple[str, str]]:
    """Yield the files of a folder as they appear through a link; none if it leads in a circle."""
    top = f"{folder}/" if folder else ""
    if f"{shown}/".startswith(top) or depth > _MOST:
        return
    for path in ordered[bisect_left(ordered, top) :]:
        if not path.startswith(top):
            break
        yield f"{shown}/{path.removeprefix(top)}", path
    for link in linked:
        if link.startswith(top):
            real = _real(link, linked)
            if real is not None:
                appears = f"{shown}/{link.removeprefix(top)}"
                if real in ordered[bisect_left(ordered, real) :][:1]:
                    yield appears, real
                elif not f"{shown}/".startswith(f"{real}/") and not folder.startswith(real):
                    yield from _inside(real, appears, ordered, linked, depth + 1)

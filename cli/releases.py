"""The release that a person names."""

import difflib

from cli.errors import WRONG, CommandFailed
from deployer.deploy import history
from deployer.deploy.history import History
from deployer.deploy.release import Recorded


def named(past: History, name: str) -> Recorded:
    """The one release that a person names.

    Args:
        past: the records, newest first.
        name: `last` (the newest), `live`, or an id, version, tag, digest, or the beginning of an
            id or digest.
    Raises:
        CommandFailed: there is none, or there are several; with those that come near.
    """
    if name == "last" and past:
        return past[0]
    if name == "live" and (live := history.live(past)):
        return live
    if name in ("last", "live"):
        raise CommandFailed(WRONG, f"there is no {name} release", ["  deployer history"])
    exact = [r for r in past if name in (r["id"], r["version"], r["tag"], r["digest"])]
    digits = name.removeprefix("sha256:")
    begin = [
        r
        for r in past
        if len(digits) >= 6
        and (r["id"].startswith(name) or r["digest"].removeprefix("sha256:").startswith(digits))
    ]
    found = exact or begin
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandFailed(
            WRONG,
            f"{name!r} names {len(found)} releases; choose one by its id",
            [f"  {_shown(record)}" for record in found[:10]],
        )
    names = {text: r for r in past for text in (r["id"], r["version"], r["tag"]) if text}
    close = [text for text in names if text.startswith(name)]
    close += difflib.get_close_matches(name, names, 5, cutoff=0.5)
    near = {names[text]["id"]: names[text] for text in close} or {r["id"]: r for r in past}
    advice = [f"  {_shown(record)}" for record in list(near.values())[:5]]
    raise CommandFailed(
        WRONG,
        f"there is no release {name!r}",
        ["These come near:" if close else "The newest are:", *advice] if past else [],
    )


def _shown(record: Recorded) -> str:
    return f"{record['id']}  {record['version']}  {record.get('outcome', 'in flight')}"

"""Find the release that the user names."""

import difflib

from cli.errors import WRONG, CommandFailed
from deployer.deploy import history
from deployer.deploy.history import History
from deployer.deploy.release import Recorded


def named(records: History, name: str) -> Recorded:
    """Return the release that the user names.

    Args:
        records: newest first.
        name: `last` (the newest), `live`, or an id, version, tag, digest, or the beginning of an
            id or digest.
    Raises:
        CommandFailed: no release matches, or several; its advice lists similar ones.
    """
    if name == "last" and records:
        return records[0]
    if name == "live" and (live := history.live(records)):
        return live
    if name in ("last", "live"):
        raise CommandFailed(WRONG, f"there is no {name} release", ["  deployer history"])
    exact = [r for r in records if name in (r["id"], r["version"], r["tag"], r["digest"])]
    digits = name.removeprefix("sha256:")
    prefixed = [
        r
        for r in records
        if len(digits) >= 6
        and (r["id"].startswith(name) or r["digest"].removeprefix("sha256:").startswith(digits))
    ]
    matches = exact or prefixed
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise CommandFailed(
            WRONG,
            f"{name!r} names {len(matches)} releases; choose one by its id",
            [f"  {_shown(record)}" for record in matches[:10]],
        )
    names = {text: r for r in records for text in (r["id"], r["version"], r["tag"]) if text}
    close = [text for text in names if text.startswith(name)]
    close += difflib.get_close_matches(name, names, 5, cutoff=0.5)
    similar = {names[text]["id"]: names[text] for text in close} or {r["id"]: r for r in records}
    advice = [f"  {_shown(record)}" for record in list(similar.values())[:5]]
    raise CommandFailed(
        WRONG,
        f"there is no release {name!r}",
        ["Similar ones:" if close else "The newest are:", *advice] if records else [],
    )


def _shown(record: Recorded) -> str:
    return f"{record['id']}  {record['version']}  {record.get('outcome', 'in flight')}"

"""Source archives of the demo application, shaped like Coder's, as a developer would upload them.

content = archive("v1.2.0")                                the tree under a tag
content = archive("v1.2.0", {"server.py": broken})         with a file changed and committed
"""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from demo.image import DEMO_APP
from deployer.presets import named

BUILD: Mapping[str, str] = named("coder").fields["build"]
"""The commands of a tree shaped like Coder's, for the service spec."""
TREE = Path(__file__).parent / "source_tree"
MIGRATIONS = "coderd/database/migrations"

# The same tree is the same commit.
_COMMITTER = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "demo",
    "GIT_AUTHOR_EMAIL": "demo@example.com",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "demo",
    "GIT_COMMITTER_EMAIL": "demo@example.com",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


def archive(
    tag: str | None,
    changes: Mapping[str, str | None] | None = None,
    *,
    kind: Literal["tar.gz", "zip"] = "tar.gz",
    history: bool = True,
    uncommitted: Mapping[str, str] | None = None,
) -> bytes:
    """An archive of the demo's tree.

    tag          of its commit; None for a commit that no tag names.
    changes      files with other content than the demo's; None leaves one out.
    history      with its .git.
    uncommitted  files that are changed after the commit.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "coder"
        write(tree, changes or {})
        if history:
            _commit(tree, tag)
        for name, text in (uncommitted or {}).items():
            (tree / name).write_text(text)
        return _packed(tree, kind)


def repository(where: Path, tag: str) -> str:
    """Make a git repository of the demo's tree under a tag; its commit."""
    write(where, {})
    _commit(where, tag)
    result = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=where, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def write(tree: Path, changes: Mapping[str, str | None]) -> None:
    """The demo's tree, as a new directory."""
    shutil.copytree(TREE, tree)
    shutil.copy(DEMO_APP / "server.py", tree)
    shutil.copytree(DEMO_APP / "migrations", tree / MIGRATIONS)
    for name, text in changes.items():
        if text is None:
            (tree / name).unlink()
        else:
            (tree / name).write_text(text)


def _commit(tree: Path, tag: str | None) -> None:
    commands = [["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "demo"]]
    for command in [*commands, *([["tag", tag]] if tag else [])]:
        subprocess.run(["git", *command], cwd=tree, env={**os.environ, **_COMMITTER}, check=True)


def _packed(tree: Path, kind: str) -> bytes:
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path in sorted(tree.rglob("*")):
                zipped.write(path, path.relative_to(tree.parent))
    else:
        with tarfile.open(fileobj=content, mode="w:gz") as tar:
            tar.add(tree, tree.name)
    return content.getvalue()

"""`make pictures`: the pictures of the README, in docs/pictures.

demo.svg is `make demo` as a terminal shows it, without the steps between; how.svg is the way of a
push. Both can be read on a light page and on a dark one.
"""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from html import escape
from io import StringIO

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from demo import ROOT

PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 92
SHOWN = ("2. ", "4. ")  # how the steps begin that the recording shows


def record(command: Sequence[str]) -> str:
    """All that a command writes to a terminal. Raises CalledProcessError if it fails."""
    mine, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": "40"}
    process = subprocess.Popen(command, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    content = b"".join(iter(lambda: _read(mine), b""))
    os.close(mine)
    if code := process.wait():
        raise subprocess.CalledProcessError(code, list(command), content)
    return content.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def settled(written: str) -> str:
    """What stays on the screen: without lines that were redrawn, as rich redraws them."""
    lines, row = [""], 0
    for part in re.split(r"(\r|\n|\x1b\[\d*[AK]|\x1b\[\?25[lh])", written):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part.endswith("A") and part.startswith("\x1b["):
            row -= int(part[2:-1] or 1)
        elif part.endswith("K") and part.startswith("\x1b["):
            lines[row] = ""
        elif part != "\r" and not part.startswith("\x1b[?"):
            lines[row] += part
    return "\n".join(lines)


def excerpt(lines: Sequence[Text]) -> Iterator[Text]:
    """The steps that are shown, and where others were left out."""
    shown = begun = False
    for line in lines:
        if line.plain[:1].isdecimal() and line.plain[1:3] == ". ":
            if line.plain.startswith(SHOWN):
                if begun and not shown:
                    yield Text("…\n", style="dim")
                begun = True
            shown = line.plain.startswith(SHOWN)
        if line.plain.startswith("What was recorded"):
            shown = False
        if shown:
            yield line


def recording(written: str) -> str:
    """The recording as SVG."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print("[bold green]$[/] make demo\n", highlight=False)
    lines = list(Text.from_ansi(settled(written)).split("\n"))
    for line in excerpt(lines):
        line.rstrip()
        console.print(line)
    return console.export_svg(title="make demo", theme=MONOKAI, unique_id="demo")


# The way of a push -------------------------------------------------------------------------------

STYLE = """
text { font: 14px ui-sans-serif, system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
.small { font-size: 12px; fill: #59636e }
rect { fill: #f6f8fa; stroke: #8c959f; rx: 6px }
.machine { fill: none; stroke: #8c959f; stroke-dasharray: 5 4 }
.good { fill: #dafbe1; stroke: #1a7f37 } .bad { fill: #ffebe9; stroke: #cf222e }
path { fill: none; stroke: #59636e; stroke-width: 1.5; marker-end: url(#tip) }
.tip { fill: #59636e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 }
  rect { fill: #151b23; stroke: #656c76 } .machine { stroke: #656c76 }
  .good { fill: #12261e; stroke: #3fb950 } .bad { fill: #25171c; stroke: #f85149 }
  path { stroke: #9198a1 } .tip { fill: #9198a1 }
}"""

WIDTH, HEIGHT, GAP = 122, 44, 22  # of a box, and between two
LEFT, TOP = 20, 20


def _box(column: float, row: int, name: str, note: str = "", kind: str = "") -> str:
    x, y = LEFT + column * (WIDTH + GAP), TOP + row * 86
    middle = x + WIDTH / 2
    text = f'<text x="{middle}" y="{y + (20 if note else 27)}">{escape(name)}</text>'
    if note:
        text += f'<text class="small" x="{middle}" y="{y + 36}">{escape(note)}</text>'
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}"/>{text}'


def _right(column: float, row: int) -> str:
    """An arrow from a box to the next."""
    x, y = LEFT + column * (WIDTH + GAP) + WIDTH, TOP + row * 86 + HEIGHT / 2
    return f'<path d="M{x} {y}h{GAP - 5}"/>'


def diagram() -> str:
    """The diagram as SVG."""
    step, row = WIDTH + GAP, 86
    first = [("docker push", ""), ("Amazon ECR", "event"), ("EventBridge", "rule")]
    steps = [("Identify", "tag, digest"), ("Wait for lock", "newest wins"), ("Preflight", "checks")]
    steps += [("Update service", "new revision"), ("Poll health", "ECS events")]
    steps += [("Verify", "over HTTP")]
    parts = [_box(column, 0, *box) for column, box in enumerate(first)]
    parts += [_right(0, 0), _right(1, 0)]
    parts += [_box(3, 0, "deployer", "deploy, rollback")]
    parts += [_box(column, 1, *box) for column, box in enumerate(steps)]
    parts += [_right(column, 1) for column in range(5)]
    parts += [_box(5, 0, "Live", "at its URL", "good")]
    parts += [_box(4, 2, "Diagnose", "reason, log", "bad"), _box(3, 2, "Roll back", "", "bad")]
    parts += [_box(2, 2, "Previous release", "serves again", "good")]
    middle, bottom = LEFT + WIDTH / 2, TOP + row + HEIGHT
    under = TOP + HEIGHT
    # from EventBridge and the command into the machine, whose first state is on the left
    parts += [f'<path d="M{middle + 2 * step} {under}v16H{middle}v21"/>']
    parts += [f'<path d="M{middle + 3 * step} {under}v16H{middle}v21"/>']
    parts += [f'<path d="M{middle + 5 * step} {TOP + row}v-37"/>']
    parts += [f'<path d="M{middle + 4 * step} {bottom}v37"/>']
    parts += [f'<path d="M{middle + 5 * step} {bottom}v16H{middle + 4 * step}v21"/>']
    for column in (4, 3):
        x, y = LEFT + column * step, TOP + 2 * row + HEIGHT / 2
        parts += [f'<path d="M{x} {y}h{5 - GAP}"/>']
    note = f'<text class="small" x="{middle + 0.5 * step}" y="{TOP + 2 * row + 27}">'
    parts += [f"{note}Step Functions, in your account</text>"]
    width, height = 2 * LEFT + 6 * WIDTH + 5 * GAP, TOP + 2 * row + HEIGHT + 22
    frame = f'<rect class="machine" x="6" y="{TOP + row - 14}" width="{width - 12}"'
    tip = '<marker id="tip" markerWidth="8" markerHeight="8" refX="5" refY="4" orient="auto">'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>A push becomes a URL, or is rolled back</title>\n<style>{STYLE}\n</style>\n"
        f'<defs>{tip}<path class="tip" style="marker-end: none; stroke: none" '
        f'd="M0 0L8 4L0 8z"/></marker></defs>\n'
        f'{frame} height="{row + HEIGHT + 28}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "how.svg").write_text(diagram())
    if sys.argv[1:] != ["how"]:
        (PICTURES / "demo.svg").write_text(recording(record([sys.executable, "-m", "demo.deploy"])))


if __name__ == "__main__":
    main()

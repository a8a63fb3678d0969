"""A command in a pseudo-terminal, as a person has it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
WITHIN = 120.0


class Terminal:
    """A command in a pseudo-terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", side: int) -> None:
        self.process, self._side = process, side
        self.raw = ""
        self._read_to = 0

    @property
    def screen(self) -> str:
        """All that was written, without what steers the terminal."""
        return ESCAPES.sub("", self.raw)

    def expect(self, text: str) -> None:
        """Wait until it writes this, after what was expected before."""
        deadline = time.monotonic() + WITHIN
        while text not in self.screen[self._read_to :]:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.screen}"
            assert self._more(), f"ended without {text!r}:\n{self.screen}"
        self._read_to = self.screen.index(text, self._read_to) + len(text)

    def type(self, line: str) -> None:
        os.write(self._side, f"{line}\n".encode())

    def answer(self, question: str, line: str) -> None:
        self.expect(question)
        self.type(line)

    def interrupt(self) -> None:
        """Ctrl-C, as the terminal sends it to the command and all that it runs."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        while self._more():
            pass
        return self.process.wait(WITHIN)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._side], [], [], WITHIN)
        assert ready, f"nothing was written for {WITHIN} s:\n{self.screen}"
        with contextlib.suppress(OSError):  # how Linux tells that the other side is closed
            if content := os.read(self._side, 65536):
                self.raw += content.decode(errors="replace")
                return True
        return False


@contextlib.contextmanager
def terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    directory: Path | None = None,
    columns: int = 100,
) -> Iterator[Terminal]:
    """Run a command in a pseudo-terminal of so many columns; it ends with the block."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, mine)
    finally:
        process.kill()
        process.wait()
        os.close(mine)

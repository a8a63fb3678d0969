"""The failure of a command, and the exit codes."""

from collections.abc import Sequence

FAILED = 1  # AWS could not do it; the message names the resource and the reason
WRONG = 2  # invalid arguments or settings; nothing was created
UNREADY = 3  # a check found something to correct first; nothing was created
REFUSED = 4  # not confirmed: answered with no, or not a terminal
BUSY = 5  # another operation is running
REJECTED = 6  # the request is valid, but not possible now
TIMED_OUT = 124  # a program that a command runs took too long: as timeout(1) says it
NOT_RUN = 125  # the command failed, not the program that it runs: as docker and podman say it
INTERRUPTED = 130  # Ctrl-C
CUT_OFF = 141  # the reader closed the output, as `head` does


class CommandFailed(Exception):
    """The failure of a command.

    Attributes:
        message: one sentence: what is wrong, and where.
        advice: what to do next; a line that begins with two spaces is a command to copy.
    """

    def __init__(self, code: int, message: str, advice: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.advice = code, message, list(advice)


class ProgramFailed(CommandFailed):
    """The failure of a program that a command runs, whose exit code becomes the command's."""

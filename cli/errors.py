"""How a command ends when it does not end well: one class, and the exit codes."""

from collections.abc import Sequence

FAILED = 1  # AWS could not do it; the message names the resource and the reason
WRONG = 2  # arguments or settings are wrong; nothing was made
UNREADY = 3  # a check found something that must be put right first; nothing was made
REFUSED = 4  # not agreed to: answered with no, or nobody there to answer
BUSY = 5  # another operation is at work on the same stack
REJECTED = 6  # the request is well-formed, and cannot be carried out as things stand
INTERRUPTED = 130  # Ctrl-C
CUT_OFF = 141  # whoever read the output has closed it, as `head` does


class CommandFailed(Exception):
    """What a command ends with, other than success.

    message  one sentence: what is wrong, and where.
    advice   what to do, a line each; a line that begins with two spaces is a command to copy.
    """

    def __init__(self, code: int, message: str, advice: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.advice = code, message, list(advice)

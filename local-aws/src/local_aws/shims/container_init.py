"""Process 1 of a container: `python -I -S container_init.py LIFELINE COMMAND...`.

Runs COMMAND, passes SIGTERM and its kind on to it, and ends with its exit code as Docker reports it
(128 + n for signal n). Whatever COMMAND leaves behind dies with it, as in a container. LIFELINE is
the read end of a pipe whose other end the server holds: when the server closes it, or dies,
everything here is killed. (A parent-death signal would not do: it follows the server's thread.)

Run as a script, so that a container costs 20 ms and not the import of the package.
"""

import ctypes
import os
import select
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36
_FORWARDED = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1]
_FORWARDED += [signal.SIGUSR2, signal.SIGWINCH]


def main(lifeline: int, command: list[str]) -> int:
    # Processes that detach themselves stay ours instead of becoming the host's.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, *_FORWARDED):
        signal.signal(number, lambda *_: None)

    defaults = [signal.SIGCHLD, *_FORWARDED, signal.SIGPIPE]
    try:
        child = os.posix_spawn(command[0], command, os.environ, setsigdef=defaults)
    except OSError as error:
        print(f"exec {command[0]}: {(error.strerror or '').lower()}", file=sys.stderr)
        return 1
    code: int | None = None
    while code is None:
        ready, _, _ = select.select([woken, lifeline], [], [])
        if lifeline in ready:
            code = 128 + int(signal.SIGKILL)
        elif woken in ready:
            for received in os.read(woken, 64):
                if received != signal.SIGCHLD:
                    os.kill(child, received)
            code = reap(child)
    end_all()
    return code


def reap(child: int) -> int | None:
    """Collect what has died; the exit code of `child` if it has."""
    code = None
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                ended = os.waitstatus_to_exitcode(status)
                code = 128 - ended if ended < 0 else ended
    except ChildProcessError:
        pass
    return code


def end_all() -> None:
    """Kill every process below this one. Killed parents leave their children to us."""
    me = os.getpid()
    while True:
        children = os.open(f"/proc/{me}/task/{me}/children", os.O_RDONLY)
        found = [int(pid) for pid in os.read(children, 1 << 16).split()]
        os.close(children)
        if not found:
            return
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        for pid in found:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))

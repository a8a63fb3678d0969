"""Process 1 of a container: `python -I -S container_init.py LIFELINE ADDRESS ROOT COMMAND...`.

Runs COMMAND, passes SIGTERM and its kind on to it, and ends with its exit code as Docker reports it
(128 + n for signal n). Whatever COMMAND leaves behind dies with it, as in a container. LIFELINE is
the read end of a pipe whose other end the server holds: when the server closes it, or dies,
everything here is killed. (A parent-death signal would not do: it follows the server's thread.)

With an ADDRESS, not "", a program that listens on 0.0.0.0 or :: listens on that address instead,
as seccomp_unotify(2) and proc_pid_mem(5) allow without root: each bind(2) waits until its argument
is changed here. Where the kernel refuses that, the program runs as it is.

With a ROOT, not "", COMMAND has that folder as its `/`, with the kernel's file systems in its dev,
proc and sys, and finds nothing else of the host: it gets a mount namespace, and unless it is root
a user namespace, where it is.

Run as a script, so that a container costs 20 ms and not the import of the package.
"""

import _socket  # socket itself would take as long again as all else here
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import struct
import sys

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NEW_MOUNTS, _NEW_USERS = 0x20000, 0x10000000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
# By machine: AUDIT_ARCH, and the numbers of seccomp(2) and bind(2).
_SYSCALLS = {"x86_64": (0xC000003E, 317, 49), "aarch64": (0xC00000B7, 277, 200)}
_FORWARDED = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1]
_FORWARDED += [signal.SIGUSR2, signal.SIGWINCH]


def main(lifeline: int, address: str, root: str, command: list[str]) -> int:
    # Processes that detach themselves stay ours instead of becoming the host's.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, *_FORWARDED):
        signal.signal(number, lambda *_: None)

    ours, theirs = _socket.socketpair()
    if (child := os.fork()) == 0:
        start(command, theirs if address else None, root)
    theirs.close()
    _, passed, _, _ = ours.recvmsg(1, _socket.CMSG_SPACE(4))
    binds = [struct.unpack("i", content)[0] for _, _, content in passed]  # none, if refused
    poller = select.poll()  # select cannot watch what has a number above 1,023
    for watched in (woken, lifeline, *binds):
        poller.register(watched, select.POLLIN)
    code: int | None = None
    while code is None:
        ready = [number for number, _ in poller.poll()]
        if lifeline in ready:
            code = 128 + int(signal.SIGKILL)
        elif woken in ready:
            for received in os.read(woken, 64):
                if received != signal.SIGCHLD:
                    os.kill(child, received)
            code = reap(child)
        elif ready:
            with contextlib.suppress(OSError):  # it died meanwhile
                answer_bind(binds[0], address)
    end_all()
    return code


def start(command: list[str], watcher: _socket.socket | None, root: str) -> None:
    """Become the command, after its binds were given to the watcher. Does not return."""
    doing = f"exec {command[0]}"
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *_FORWARDED, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if root:
            doing = "the kernel gives the image no file system of its own (user_namespaces(7))"
            enter(root)
            doing = f"exec {command[0]}"
        if watcher and (listener := notify_binds()) >= 0:
            rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", listener))
            watcher.sendmsg([b"."], [rights])
            os.close(listener)
        if watcher:
            watcher.close()
        os.execv(command[0], command)
    except OSError as error:
        print(f"{doing}: {(error.strerror or '').lower()}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def enter(root: str) -> None:
    """Make `root` this process's `/`, in the same working directory below it. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)

    def done(code: int) -> None:
        if code:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    maps = {"uid_map": f"0 {os.getuid()} 1", "setgroups": "deny", "gid_map": f"0 {os.getgid()} 1"}
    unprivileged = os.getuid() != 0
    done(libc.unshare(_NEW_MOUNTS | (_NEW_USERS if unprivileged else 0)))
    for name, content in maps.items() if unprivileged else ():
        file = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(file, content.encode())
        os.close(file)
    done(libc.mount(None, b"/", None, _PRIVATE | _RECURSIVE, None))
    for name in ("dev", "proc", "sys"):
        target = f"{root}/{name}".encode()
        done(libc.mount(f"/{name}".encode(), target, None, _BIND | _RECURSIVE, None))
    here = os.open(".", os.O_RDONLY)
    os.chroot(root)
    os.fchdir(here)  # by what is open, as its path is another one now
    os.close(here)


def notify_binds() -> int:
    """Let each bind(2) of this process and its children wait for an answer; where to give it, or
    -1."""
    machine = os.uname().machine
    if machine not in _SYSCALLS:
        return -1
    libc = ctypes.CDLL(None)
    architecture, seccomp, bind = _SYSCALLS[machine]
    rules = (
        (0x20, 0, 0, 4),  # load the architecture
        (0x15, 0, 2, architecture),
        (0x20, 0, 0, 0),  # load the system call's number
        (0x15, 1, 0, bind),
        (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
        (0x06, 0, 0, 0x7FC00000),  # SECCOMP_RET_USER_NOTIF
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    filters = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(program))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return int(libc.syscall(seccomp, _SET_MODE_FILTER, _NEW_LISTENER, filters))


def answer_bind(listener: int, address: str) -> None:
    """Let a bind go on, to the address if it is to all of them at a port."""
    request = bytearray(80)  # struct seccomp_notif
    fcntl.ioctl(listener, _RECEIVE, request)
    identifier, process, at, size = struct.unpack_from("=QI4x16x8xQQ", request)
    with contextlib.suppress(OSError):
        redirect(f"/proc/{process}/mem", at, min(size, 28), _socket.inet_aton(address))
    fcntl.ioctl(listener, _SEND, struct.pack("QqiI", identifier, 0, 0, _CONTINUE))


def redirect(memory: str, at: int, size: int, own: bytes) -> None:
    """Put our address in the place of 0.0.0.0 or :: into a struct sockaddr that has a port."""
    file = os.open(memory, os.O_RDWR)
    try:
        family, port, name = struct.unpack("=HH24s", os.pread(file, size, at).ljust(28))
        if family == _socket.AF_INET and port and name[:4] == bytes(4):
            os.pwrite(file, own, at + 4)
        elif family == _socket.AF_INET6 and port and name[4:20] == bytes(16):
            os.pwrite(file, bytes(10) + b"\xff\xff" + own, at + 8)
    finally:
        os.close(file)


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
        pids = [int(pid) for pid in os.read(children, 1 << 16).split()]
        os.close(children)
        if not pids:
            return
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))

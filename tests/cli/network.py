"""A network between a command and AWS, which can go and come back."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Network:
    """Passes on what is sent to `url`, while it is up."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to, self._lock = to, threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._accept(self._listener)

    def goes(self) -> None:
        """Connections end, and new ones are refused."""
        with self._lock:
            for end in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._open.clear()

    def comes_back(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._to)
                with self._lock:
                    self._open += near, far
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            to.sendall(content)
        to.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def network(to: tuple[str, int]) -> Iterator[Network]:
    result = Network(to)
    try:
        yield result
    finally:
        result.goes()

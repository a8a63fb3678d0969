"""Send HTTP requests to a service. Imports decisions only, no AWS."""

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from deployer.deploy import verification
from deployer.deploy.spec import Probe
from deployer.deploy.verification import Answer

# An endless response must not fill the memory; the front page of a site may be large.
_BODY_LIMIT = 64 * 1024 * 1024
_CHUNK = 64 * 1024


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Return redirects as responses: their targets may be another service."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Connected(urllib.request.AbstractHTTPHandler):
    """Hand each connection's socket to its exchange, which can then close it."""

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._kept(http.client.HTTPConnection, request), request)

    def https_open(self, request: urllib.request.Request) -> Any:
        connected = self._kept(http.client.HTTPSConnection, request, context=_tls())
        return self.do_open(connected, request)

    http_request = urllib.request.AbstractHTTPHandler.do_request_
    https_request = urllib.request.AbstractHTTPHandler.do_request_

    @staticmethod
    def _kept(kind: Any, request: Any, **options: Any) -> Any:
        class Connection(kind):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                request.exchange.connected(self.sock)

        return lambda host, **arguments: Connection(host, **options, **arguments)


@cache
def _tls() -> ssl.SSLContext:
    """Return the TLS settings. Loading the authorities takes longer than the rest of a start."""
    return ssl.create_default_context()


_opener = urllib.request.OpenerDirector()
for _handler in (
    *(urllib.request.ProxyHandler(), _Connected(), _NoRedirects()),
    *(urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor()),
):
    _opener.add_handler(_handler)


class _Exchange(threading.Thread):
    """One request and its response, in its own thread to limit the time of DNS and headers too.

    Once the headers are complete, the response is what has arrived within the time.
    """

    def __init__(self, url: str, timeout: float, body: bytes | None = None, **headers: str) -> None:
        super().__init__(name=f"GET {url}" if body is None else "POST", daemon=True)
        headers = {"User-Agent": "deployer", **headers}
        self.request = urllib.request.Request(url, data=body, headers=headers)
        self.request.exchange = self  # type: ignore[attr-defined]
        self.timeout = timeout
        self.over = threading.Event()
        self.failed = False
        self.head: tuple[int, dict[str, str]] | None = None
        self.body: list[bytes] = []
        self.socket: socket.socket | None = None

    def run(self) -> None:
        try:
            with _opener.open(self.request, timeout=self.timeout) as response:
                self._read(response, response.status)
        except urllib.error.HTTPError as error:
            with error:
                self._read(error, error.code)
        except (OSError, http.client.HTTPException, ValueError):
            self.failed = True

    def _read(self, response: Any, status: int) -> None:
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.head, most = (status, headers), _BODY_LIMIT
        try:
            while most and not self.over.is_set():
                chunk = response.read1(min(_CHUNK, most))
                if not chunk:
                    break
                self.body.append(chunk)
                most -= len(chunk)
        except (OSError, http.client.HTTPException, ValueError):
            self.failed = True

    def connected(self, connection: socket.socket) -> None:
        """Keep the socket; close it if the time is already up."""
        self.socket = connection
        if self.over.is_set():
            self.cut_off()

    def cut_off(self) -> None:
        """End the exchange: the thread, which may wait for the socket, ends too."""
        self.over.set()
        if self.socket:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def answer(self) -> Answer | None:
        """Return the response that arrived within the time; None if none did."""
        self.start()
        self.join(self.timeout)
        head, failed, body = self.head, self.failed, b"".join(self.body)
        if self.is_alive():
            self.cut_off()
        if head is None or failed:
            return None
        return Answer(status=head[0], headers=head[1], body=body)


def addresses(host: str, timeout: float = 3.0) -> list[str]:
    """Return the IP addresses of a host; none if its name is not resolved within the time."""
    resolved = set[str]()

    def resolve() -> None:
        with contextlib.suppress(OSError):
            resolved.update(str(entry[4][0]) for entry in socket.getaddrinfo(host, None))

    resolver = threading.Thread(target=resolve, name=f"resolve {host}", daemon=True)
    resolver.start()
    resolver.join(timeout)
    return sorted(resolved)


def get(url: str, timeout: float = 3.0) -> Answer | None:
    """GET a URL without following redirects.

    Args:
        timeout: seconds for the whole exchange: DNS, connection, TLS, headers and body.
    Returns:
        The response, with as much of the body as arrived; None without complete headers.
    """
    if url.startswith("https:"):
        _tls()  # not in the time of the exchange
    return _Exchange(url, timeout).answer()


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float = 10.0) -> Answer | None:
    """POST to a URL without following redirects; else as `get`. The URL is not logged."""
    if url.startswith("https:"):
        _tls()
    return _Exchange(url, timeout, body, **headers).answer()


def probe(url: str, probes: Iterable[Probe]) -> dict[str, str]:
    """Return the values of the probes that responded, by name."""
    values = ((entry, verification.probe_value(entry, get(url + entry.path))) for entry in probes)
    return {verification.probe_name(entry): value for entry, value in values if value is not None}

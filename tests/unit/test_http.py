"""Asking a service over HTTP: against a real server on this machine."""

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from deployer import http
from deployer.deploy.spec import Probe
from tests.unit.conftest import Web


def test_an_answer_has_status_headers_and_body(web: Web) -> None:
    web.answer("/x?y=1", "hello", X_Coder_Build_Version="2.1.0")
    result = http.get(f"{web.url}/x?y=1")
    assert result and (result.status, result.body) == (200, b"hello")
    assert result.headers["x-coder-build-version"] == "2.1.0"


@pytest.mark.parametrize("status", [204, 400, 404, 500, 503])
def test_any_status_is_an_answer(web: Web, status: int) -> None:
    web.answer("/", status=status)
    result = http.get(f"{web.url}/")
    assert result and result.status == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(web: Web, status: int) -> None:
    web.answer("/", status=status, Location=f"{web.url}/elsewhere")
    result = http.get(f"{web.url}/")
    assert result and result.status == status
    assert web.paths == ["/"]


def test_a_port_that_nobody_listens_on_gives_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert http.get(f"http://127.0.0.1:{port}/") is None


def test_a_port_that_opens_and_says_nothing_gives_no_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        assert http.get(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.1) is None
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "no HTTP", "no status", "bad chunks", "giant header"],
)
def test_what_is_not_http_gives_no_answer(web: Web, raw: bytes) -> None:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(raw)
        handler.close_connection = True

    web.answers["/"] = write
    assert http.get(f"{web.url}/") is None


def test_a_body_is_read_to_a_limit(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BODY_LIMIT", 1000)
    web.answer("/", b"x" * 3 * 1024 * 1024)
    result = http.get(f"{web.url}/")
    assert result and len(result.body) == 1000


def test_a_page_of_several_megabytes_arrives_whole(web: Web) -> None:
    web.answer("/", b"x" * 3 * 1024 * 1024)
    result = http.get(f"{web.url}/")
    assert result and len(result.body) == 3 * 1024 * 1024


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "drips", "status"),
    [
        (HEAD, b"x", 200),
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n", None),
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x", None),
        (b"", b"H", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", None),
    ],
    ids=["body", "headers", "a header", "status", "chunks", "more status lines"],
)
def test_what_drips_does_not_hold_us(at_once: bytes, drips: bytes, status: int | None) -> None:
    """Each byte comes in time for the socket; all of them never would. It ends with our end."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1024)
                connection.sendall(at_once)
                connection.settimeout(0.02)
                while True:
                    connection.sendall(drips)
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(1024):
                            break
            ended.set()

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        result = http.get(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.3)
        seconds = time.monotonic() - began
        assert ended.wait(10), "the connection was left open"
    assert (result and result.status) == status
    assert seconds < 3


def test_a_name_that_is_resolved_too_late_gives_no_answer(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, late, tried = socket.getaddrinfo, threading.Event(), threading.Event()

    def resolved(*request: Any, **options: Any) -> Any:
        tried.set()
        late.wait(10)
        return resolve(*request, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    web.answer("/")
    began = time.monotonic()
    assert http.get(f"{web.url}/", timeout=0.1) is None
    assert time.monotonic() - began < 3
    assert tried.is_set()
    late.set()


def test_probes_that_answer_are_told_by_name(web: Web) -> None:
    web.answer("/info", '{"id": "a"}')
    web.answer("/first", status=404)
    web.answer("/ill", status=500)
    probes = [Probe("/info", "id"), Probe("/info", "none"), Probe("/first", None)]
    result: dict[str, Any] = http.probe(web.url, [*probes, Probe("/ill", None)])
    assert result == {"/info#id": "a", "/first": "404"}


def test_a_post_has_its_body_and_headers_and_is_not_redirected(web: Web) -> None:
    arrived: list[Any] = []

    def take(handler: Any) -> None:
        arrived.append((handler.command, handler.body, handler.headers["X-One"]))
        handler.send_response(307)
        handler.send_header("Location", f"{web.url}/elsewhere")
        handler.end_headers()

    web.answers["/hook"] = take
    result = http.post(f"{web.url}/hook", b"hello", {"X-One": "1"})
    assert result and result.status == 307
    assert arrived == [("POST", b"hello", "1")]
    assert web.paths == ["/hook"]

"""An HTTP/1.1 reverse proxy as an Application Load Balancer is one, on asyncio.

What is to happen with a request is decided elsewhere (`Decide`); here are the connections. Each
request has one of its own to its target, so whatever follows its head is passed on as bytes: bodies
of any length and framing, WebSockets. Follows elasticloadbalancing/latest/application:
application-load-balancers.html (connection idle timeout), load-balancer-troubleshooting.html (400,
502, 504), load-balancer-target-groups.html (WebSockets). Not modelled: HTTP/2, keep-alive.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

_CHUNK = 65536
_CONNECT_SECONDS = 10.0
_LARGEST_HEAD = 61440
_END = b"\r\n\r\n"
# Of one connection only (RFC 9110, 7.6.1); Upgrade and its Connection are passed on.
_OF_THE_CONNECTION = (b"connection", b"keep-alive", b"proxy-connection")

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Request:
    """A request's head. `target` is the path with its query, as it was sent."""

    method: str
    target: str
    headers: Headers
    client: str

    def header(self, name: str) -> str | None:
        """A header's first value."""
        wanted = name.lower().encode()
        return next((v.decode("latin-1") for n, v in self.headers if n.lower() == wanted), None)


@dataclass(frozen=True)
class Reply:
    """An answer that the proxy gives itself."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Forward:
    """Where a request goes, with these headers. `opened` gets the connection to the target, if it
    comes about; `released` is called when the request is over."""

    address: str
    port: int
    headers: Headers
    opened: Callable[[asyncio.StreamWriter], None]
    released: Callable[[], None]


Decide = Callable[[Request], Awaitable[Reply | Forward]]


def failure(status: int) -> Reply:
    """An error as the load balancer says it."""
    what = f"{status} {HTTPStatus(status).phrase}"
    page = f"<html>\r\n<head><title>{what}</title></head>\r\n<body>\r\n"
    page += f"<center><h1>{what}</h1></center>\r\n</body>\r\n</html>\r\n"
    return Reply(status, (("Content-Type", "text/html"),), page.encode())


async def serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    decide: Decide,
    idle: Callable[[], float],
) -> None:
    """Serve the request of a client's connection, which ends when it is idle for `idle()`
    seconds."""
    with contextlib.suppress(OSError, EOFError), contextlib.closing(writer):
        async with asyncio.timeout(idle()):
            try:
                start, headers = _head(await reader.readuntil(_END))
                method, target, _ = start.decode("latin-1").split(" ")
            except (ValueError, asyncio.LimitOverrunError):
                await _reply(reader, writer, failure(400))
                return
        client = writer.get_extra_info("peername")[0]
        request = Request(method, target, headers, client)
        decided = await decide(request)
        if isinstance(decided, Forward):
            try:
                failed = await _forward(reader, writer, request, decided, idle())
            finally:
                decided.released()
            if failed is None:
                return
            decided = failed
        await _reply(reader, writer, decided)


async def _forward(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: Request,
    forward: Forward,
    idle: float,
) -> Reply | None:
    """None once the target's answer was passed on; the answer to give in its place otherwise."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            back, out = await asyncio.open_connection(
                forward.address, forward.port, limit=_LARGEST_HEAD
            )
    except TimeoutError:
        return failure(504)
    except OSError:
        return failure(502)
    forward.opened(out)
    answering = False
    with contextlib.closing(out):
        try:
            async with asyncio.timeout(idle) as limit:

                def touch() -> None:
                    limit.reschedule(asyncio.get_running_loop().time() + idle)

                upgrade = request.header("Upgrade") is not None
                start = f"{request.method} {request.target} HTTP/1.1".encode("latin-1")
                out.write(_text(start, forward.headers, upgrade))
                upload = asyncio.create_task(_pump(reader, out, touch))
                try:
                    status = 100
                    while 100 <= status < 200 and status != HTTPStatus.SWITCHING_PROTOCOLS:
                        start, headers = _head(await back.readuntil(_END))
                        status = int(start.split(b" ")[1])
                        answering = True
                        writer.write(_text(start, headers, status < 200))
                    download = asyncio.create_task(_pump(back, writer, touch))
                    switched = status == HTTPStatus.SWITCHING_PROTOCOLS
                    ends = [download, upload] if switched else [download]
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    download.cancel()
                finally:
                    upload.cancel()
            return None
        except (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError) as error:
            if answering:
                writer.transport.abort()  # there is no way to take back what was sent
                return None
            return failure(504 if isinstance(error, TimeoutError) else 502)


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, touch: Callable[[], None]
) -> None:
    with contextlib.suppress(OSError):
        while received := await source.read(_CHUNK):
            touch()
            sink.write(received)
            await sink.drain()


async def _reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply) -> None:
    own = [("Server", "awselb/2.0"), ("Content-Length", str(len(reply.body)))]
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in [*reply.headers, *own]]
    start = f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}".encode()
    writer.write(_text(start, headers, False) + reply.body)
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    with contextlib.suppress(TimeoutError):  # what it still sends is not wanted
        async with asyncio.timeout(1):
            while await reader.read(_CHUNK):
                pass


def _head(content: bytes) -> tuple[bytes, Headers]:
    """A message's first line and its headers. Raises ValueError."""
    start, *lines = content.removesuffix(_END).split(b"\r\n")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.strip() != name:
            raise ValueError("not a header")
        headers.append((name, value.strip()))
    return start, headers


def _text(start: bytes, headers: Headers, upgrade: bool) -> bytes:
    """A head to send: of a connection that ends with the answer, or that goes on as another."""
    if not upgrade:
        headers = [(n, v) for n, v in headers if n.lower() not in _OF_THE_CONNECTION]
        headers.append((b"Connection", b"close"))
    return b"\r\n".join([start, *(name + b": " + value for name, value in headers)]) + _END

"""An HTTP/1.1 reverse proxy as an Application Load Balancer is one, on asyncio.

What is to happen with a request is decided elsewhere (`Decide`); here are the connections. Follows
elasticloadbalancing/latest/application: application-load-balancers.html (connection idle timeout),
load-balancer-troubleshooting.html (400, 502, 504), load-balancer-target-groups.html (WebSockets).
Not modelled: HTTP/2, and connections to targets that outlive a request.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

import h11

_CHUNK = 65536
_CONNECT_SECONDS = 10.0
_LARGEST_HEAD = 61440
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
    lines = (
        "<html>",
        f"<head><title>{what}</title></head>",
        "<body>",
        f"<center><h1>{what}</h1></center>",
        "</body>",
        "</html>",
        "",
    )
    return Reply(status, (("Content-Type", "text/html"),), "\r\n".join(lines).encode())


async def serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    decide: Decide,
    idle: Callable[[], float],
) -> None:
    """Serve a client's connection until it ends, or is idle for `idle()` seconds."""
    client = _End(h11.SERVER, reader, writer)
    address = writer.get_extra_info("peername")[0]
    try:
        while await _exchange(client, address, decide, idle):
            client.http.start_next_cycle()
    except h11.RemoteProtocolError as error:
        if client.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with contextlib.suppress(OSError):
                await client.reply(failure(error.error_status_hint))
    except (OSError, TimeoutError, h11.LocalProtocolError):
        pass  # it is gone, idle, or was answered in part: there is nothing to say
    finally:
        writer.close()


async def _exchange(
    client: "_End", address: str, decide: Decide, idle: Callable[[], float]
) -> bool:
    """One request and its answer; whether the connection is good for another."""
    async with asyncio.timeout(idle()):
        asked = await client.receive()
    if not isinstance(asked, h11.Request):
        return False
    request = Request(
        asked.method.decode(), asked.target.decode("latin-1"), asked.headers.raw_items(), address
    )
    decided = await decide(request)
    if isinstance(decided, Forward):
        try:
            failed = await _forward(client, request, decided, idle())
        finally:
            decided.released()
        if failed is None:
            return client.reusable
        decided = failed
    await client.reply(decided)
    async with asyncio.timeout(idle()):  # what it still sends is not wanted
        while client.http.their_state is h11.SEND_BODY:
            await client.receive()
    return client.reusable


async def _forward(client: "_End", request: Request, forward: Forward, idle: float) -> Reply | None:
    """None once the target's answer was passed on; the answer to give in its place otherwise."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(forward.address, forward.port)
    except TimeoutError:
        return failure(504)
    except OSError:
        return failure(502)
    target = _End(h11.CLIENT, reader, writer)
    forward.opened(writer)
    with contextlib.closing(writer):
        try:
            await _relay(client, target, request, forward.headers, idle)
            return None
        except (OSError, h11.ProtocolError, TimeoutError) as error:
            if client.http.our_state is not h11.SEND_RESPONSE:
                raise OSError("cut off") from error  # there is no way to take back what was sent
            return failure(504 if isinstance(error, TimeoutError) else 502)


async def _relay(
    client: "_End", target: "_End", request: Request, headers: Headers, idle: float
) -> None:
    if request.header("Upgrade") is None:
        headers = _end_to_end(headers)
    await target.send(h11.Request(method=request.method, target=request.target, headers=headers))
    async with asyncio.timeout(idle) as limit:

        def touch() -> None:
            limit.reschedule(asyncio.get_running_loop().time() + idle)

        upload = asyncio.create_task(_upload(client, target, touch))
        try:
            while not await _pass_on(client, target):
                touch()
            if target.http.their_state is h11.SWITCHED_PROTOCOL:
                await upload
                await _tunnel(client, target, touch)
        finally:
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, h11.ProtocolError):
                await upload


async def _upload(client: "_End", target: "_End", touch: Callable[[], None]) -> None:
    """Send the request's body on."""
    while True:
        event = await client.receive()
        touch()
        if isinstance(event, h11.Data | h11.EndOfMessage):
            await target.send(event)
        if not isinstance(event, h11.Data):
            return


async def _pass_on(client: "_End", target: "_End") -> bool:
    """Send on what the target says next; whether that was the end of its answer."""
    event = await target.receive()
    if isinstance(event, h11.InformationalResponse):
        await client.send(event)
        return event.status_code == HTTPStatus.SWITCHING_PROTOCOLS
    if isinstance(event, h11.Response):
        kept = _end_to_end(event.headers.raw_items())
        await client.send(
            h11.Response(status_code=event.status_code, headers=kept, reason=event.reason)
        )
        return False
    if isinstance(event, h11.Data | h11.EndOfMessage):
        await client.send(event)
        return isinstance(event, h11.EndOfMessage)
    raise ConnectionResetError("the target ended in the middle of its answer")


async def _tunnel(client: "_End", target: "_End", touch: Callable[[], None]) -> None:
    """After 101: bytes both ways until one end closes."""

    async def copy(source: "_End", sink: "_End") -> None:
        received = source.http.trailing_data[0]
        while received or (received := await source.reader.read(_CHUNK)):
            touch()
            sink.writer.write(received)
            await sink.writer.drain()
            received = b""

    copies = [asyncio.create_task(copy(*way)) for way in ((client, target), (target, client))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in copies:
            each.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


class _End:
    """One end of a connection: bytes to h11's events and back."""

    def __init__(
        self,
        role: type[h11.CLIENT] | type[h11.SERVER],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=_LARGEST_HEAD)
        self.reader = reader
        self.writer = writer

    @property
    def reusable(self) -> bool:
        return self.http.our_state is h11.DONE and self.http.their_state is h11.DONE

    async def receive(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(_CHUNK))
        return event  # type: ignore[return-value]

    async def send(self, event: h11.Event) -> None:
        if encoded := self.http.send(event):
            self.writer.write(encoded)
            await self.writer.drain()

    async def reply(self, reply: Reply) -> None:
        own = (("Server", "awselb/2.0"), ("Content-Length", str(len(reply.body))))
        headers = _encoded([*reply.headers, *own])
        await self.send(h11.Response(status_code=reply.status, headers=headers))
        await self.send(h11.Data(data=reply.body))
        await self.send(h11.EndOfMessage())


def _end_to_end(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in _OF_THE_CONNECTION]


def _encoded(headers: Iterable[tuple[str, str]]) -> Headers:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]

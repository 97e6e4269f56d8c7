"""HTTP/1.1 on a listening socket: bytes to requests, responses to bytes (parsed by h11), with a limit on everything.

It knows sizes, times and how many connections there may be. It does not know what is asked for or who may ask.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import h11
import trio

MAX_HEAD_BYTES = 16 << 10
MAX_BODY_BYTES = 8 << 10
MAX_CONNECTIONS = 64
REQUEST_SECONDS = 10.0  # for a whole request to arrive, and for a kept connection to ask again
DRAIN_SECONDS = 1.0  # for the rest of a refused request to arrive
SEND_SECONDS = 20.0  # for the other side to take one piece of an answer
READ_BYTES = 4 << 10  # also by how much a head may pass its limit
CHUNK_BYTES = 64 << 10


@dataclass(frozen=True)
class Request:
    """What was asked, whole. Header names are in lower case. address: of the other end of the connection."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    address: str = ""


@dataclass(frozen=True)
class Response:
    """What is answered: bytes, or a stream of pieces that goes on until the other side leaves."""

    status: int
    content_type: str
    body: bytes | AsyncGenerator[bytes, None]
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


def text(status: int, message: str) -> Response:
    """An answer of one sentence."""
    return Response(status, "text/plain; charset=utf-8", message.encode() + b"\n")


async def serve(listener: trio.SocketListener, handler: Handler, failed: Callable[[str], None]) -> None:
    """Answer requests until cancelled. A connection that breaks a limit is closed; nothing in one ends the server.

    failed: told of a fault in the handler, in words.
    """
    slots = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def connected(stream: trio.SocketStream) -> None:
        try:
            slots.acquire_nowait()
        except trio.WouldBlock:
            await stream.aclose()
            return
        try:
            await _Connection(stream, handler, _address(stream)).serve()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return  # the other side left, or was too slow
        except Exception as error:  # a fault in one answer costs that answer
            failed(f"{type(error).__name__}: {error}")
        finally:
            slots.release()
            await trio.aclose_forcefully(stream)

    await trio.serve_listeners(connected, [listener])


class _Connection:
    """One connection and the requests that come over it, one after the other."""

    def __init__(self, stream: trio.SocketStream, handler: Handler, address: str) -> None:
        self._stream = stream
        self._address = address
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)

    async def serve(self) -> None:
        while True:
            try:
                with trio.fail_after(REQUEST_SECONDS):
                    request = await self._request()
            except h11.RemoteProtocolError as error:
                await self._answer(text(error.error_status_hint, "this is no request this server takes"), "GET")
                await self._drain()
                return
            if request is None:
                return
            response = text(413, "too large") if len(request.body) > MAX_BODY_BYTES else await self._handler(request)
            await self._answer(response, request.method)
            if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is not h11.DONE:
                await self._drain()
                return
            self._http.start_next_cycle()

    async def _drain(self) -> None:
        """Read what is still arriving: closing before that would reset the connection, and the answer would be lost."""
        await self._stream.send_eof()
        with trio.move_on_after(DRAIN_SECONDS):
            while await self._stream.receive_some(CHUNK_BYTES):
                pass

    async def _request(self) -> Request | None:
        """The next request; None when the other side has left. A body is read to one byte beyond its limit, which
        shows that it is too large."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(READ_BYTES))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
                if len(body) > MAX_BODY_BYTES and head is not None:
                    return _read(head, body, self._address)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _read(head, body, self._address)
            else:
                return None

    async def _answer(self, response: Response, method: str) -> None:
        body = response.body
        headers = {"Content-Type": response.content_type, **response.headers}
        if isinstance(body, bytes):
            headers["Content-Length"] = str(len(body))
        else:
            headers["Connection"] = "close"  # a stream ends with its connection
        await self._send(h11.Response(status_code=response.status, headers=list(headers.items())))
        if isinstance(body, bytes):
            for start in range(0, len(body) if method != "HEAD" else 0, CHUNK_BYTES):
                await self._send(h11.Data(data=body[start : start + CHUNK_BYTES]))
        else:
            await self._stream_out(body)
        await self._send(h11.EndOfMessage())

    async def _stream_out(self, pieces: AsyncGenerator[bytes, None]) -> None:
        async with aclosing(pieces) as open_pieces:
            async for piece in open_pieces:
                await self._send(h11.Data(data=piece))

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            with trio.fail_after(SEND_SECONDS):
                await self._stream.send_all(data)


def _address(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:  # it has left already
        return ""


def _read(head: h11.Request, body: bytes, address: str) -> Request:
    parts = urlsplit(head.target.decode("latin-1"))
    query = {name: values[-1] for name, values in parse_qs(parts.query, max_num_fields=10).items()}
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode(), parts.path, query, headers, body, address)

"""The way out of an agent's sandbox: the node answers on the sandbox's own loopback and asks the one service itself.

An agent speaks plain HTTP to it; the node adds the key, speaks TLS to the service that the settings name, and passes
the answer back as it comes. The agent holds no key and reaches nothing else. Requests, bytes, tokens and money are
counted and capped. Nothing of what is asked or answered is logged or kept.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import h11
import httpx2
import trio

from node.platform.log import Log
from node.proposers.agent_service import (
    Reach,
    Usage,
    answered_headers,
    most_answer_tokens,
    passed_headers,
    refusal,
    url_to_ask,
)
from node.proposers.service_client import client_for, why_no_client
from node.proposers.spending import Amount, Prices, Reservation, Spending

PORT = 8080  # of the sandbox's own loopback, in which there is nothing else
MAX_HEAD_BYTES = 32 << 10
MAX_QUESTION_BYTES = 16 << 20  # agents send all that they have read, again and again
MAX_ANSWER_BYTES = 16 << 20
MAX_SESSION_BYTES = 512 << 20  # up and down together
KEPT_BYTES = 1 << 20  # of an answer that is one JSON text, for its usage
MAX_CONNECTIONS = 16
QUESTION_SECONDS = 60.0  # for a whole request to arrive, once it has begun
CONNECT_SECONDS, SILENCE_SECONDS = 20.0, 300.0  # models think for minutes before the first word
SEND_SECONDS = 60.0
UNSAID_ANSWER_TOKENS = 32_000  # of a question that names no limit of its own
REFUSALS_LOGGED = 5
OK, REDIRECTS = 200, range(300, 400)
_FREE = ("/count_tokens", ":countTokens")


@dataclass(frozen=True)
class Account:
    """What is paid for: the account of the home, and the prices."""

    spending: Spending
    prices: Prices


@dataclass
class Counted:
    """What one session of an agent has taken."""

    requests: int = 0
    refused: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    used: Amount = field(default_factory=Amount)


class _RefusedError(Exception):
    """A request that is not passed on, or an answer that is not; the text says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class AgentProxy:
    """Answers one agent, in one session. most_requests: the questions it may ask."""

    def __init__(self, reach: Reach, proxy: str, account: Account, most_requests: int, log: Log) -> None:
        self._reach = reach
        self._proxy = proxy
        self._account = account
        self._most_requests = most_requests
        self._log = log
        self.counted = Counted()

    async def serve(self, listener: trio.SocketListener) -> None:
        """Answer until cancelled. No fault of one connection ends it."""
        try:
            timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
            client = client_for(self._reach.base_url, self._proxy, timeout)
        except (ValueError, OSError) as error:
            self._log("agent refused", level="warning", why=why_no_client(error))
            await listener.aclose()
            return
        slots = trio.CapacityLimiter(MAX_CONNECTIONS)

        async def connected(stream: trio.SocketStream) -> None:
            async with slots:
                try:
                    await _Connection(stream, self, client).serve()
                except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.ProtocolError):
                    return  # the agent left, was too slow, or speaks no HTTP
                finally:
                    await trio.aclose_forcefully(stream)

        async with client:
            await trio.serve_listeners(connected, [listener])

    def reserve(self, method: str, path: str, body: bytes) -> Reservation | None:
        """Count a question before it is asked. Raises _RefusedError where a cap forbids it."""
        counted = self.counted
        if counted.requests >= self._most_requests:
            raise _RefusedError(
                403, f"after {self._most_requests} requests no more are passed on; see turns in [agent]"
            )
        if counted.bytes_up + counted.bytes_down > MAX_SESSION_BYTES:
            raise _RefusedError(403, f"after {MAX_SESSION_BYTES >> 20} MiB no more requests are passed on")
        counted.requests += 1
        counted.bytes_up += len(body)
        if method != "POST" or path.endswith(_FREE):
            return None
        # No tokenizer makes more tokens of a text than it has bytes.
        worst = self._account.prices.of(len(body), most_answer_tokens(body, UNSAID_ANSWER_TOKENS))
        reservation = self._account.spending.reserve(worst)
        if isinstance(reservation, str):
            raise _RefusedError(403, f"the node does not ask for you: {reservation}")
        return reservation

    def settle(self, reservation: Reservation | None, status: int, usage: Usage) -> None:
        """Count a question at what its answer says. Where it says nothing, the most that it can have cost stays."""
        if reservation is None:
            return
        used = Amount() if status != OK else reservation.worst
        if status == OK and usage.question is not None and usage.answer is not None:
            used = self._account.prices.of(usage.question, usage.answer)
        self._account.spending.settle(reservation, used)
        self.counted.used += used

    def judge(self, request: h11.Request) -> None:
        """Raises _RefusedError for what is not passed on."""
        why = refusal(
            self._reach, PORT, request.method.decode("latin-1"), request.target.decode("latin-1"), _texts(request)
        )
        if why is not None:
            raise _RefusedError(403, why)

    def refused(self, error: _RefusedError) -> None:
        self.counted.refused += 1
        if self.counted.refused <= REFUSALS_LOGGED:
            self._log("agent refused", level="warning", why=str(error))

    def to_ask(self, client: httpx2.AsyncClient, request: h11.Request, body: bytes) -> httpx2.Request:
        return client.build_request(
            request.method.decode("ascii"),
            url_to_ask(self._reach, request.target.decode("ascii")),
            headers=passed_headers(self._reach, _texts(request)),
            content=body or None,
        )


class _Connection:
    """One connection of the agent, and the requests that come over it."""

    def __init__(self, stream: trio.SocketStream, proxy: AgentProxy, client: httpx2.AsyncClient) -> None:
        self._stream = stream
        self._proxy = proxy
        self._client = client
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)

    async def serve(self) -> None:
        while True:
            try:
                request = await self._head()
                if request is None:
                    return
                self._proxy.judge(request)
                with trio.fail_after(QUESTION_SECONDS):
                    body = await self._body()
                await self._pass_on(request, body)
            except h11.RemoteProtocolError:
                await self._refuse(_RefusedError(400, "this is no request of HTTP/1.1"))
            except _RefusedError as error:
                await self._refuse(error)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _next(self) -> Any:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._stream.receive_some(64 << 10))

    async def _head(self) -> h11.Request | None:
        event = await self._next()
        return event if isinstance(event, h11.Request) else None

    async def _body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > MAX_QUESTION_BYTES:
                raise _RefusedError(413, f"a question of more than {MAX_QUESTION_BYTES >> 20} MiB is not passed on")
        return bytes(body)

    async def _pass_on(self, request: h11.Request, body: bytes) -> None:
        path = request.target.decode("ascii").partition("?")[0]
        reservation = self._proxy.reserve(request.method.decode("ascii"), path, body)
        usage = Usage()
        try:
            response = await self._client.send(self._proxy.to_ask(self._client, request, body), stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            self._proxy.settle(reservation, 0, usage)  # nothing was asked
            raise _RefusedError(502, "the service does not answer") from None
        except httpx2.HTTPError:
            raise _RefusedError(502, "the connection to the service broke") from None
        try:
            if response.status_code in REDIRECTS:
                self._proxy.settle(reservation, response.status_code, usage)
                raise _RefusedError(502, "the service wants to send you elsewhere, where the node does not go")
            await self._answer(response, usage)
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()
        self._proxy.settle(reservation, response.status_code, usage)

    async def _answer(self, response: httpx2.Response, usage: Usage) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _RefusedError(502, "the answer came compressed, so that its size is unknown")
        headers = answered_headers((name.lower(), value) for name, value in response.headers.items())
        await self._send(h11.Response(status_code=response.status_code, headers=headers))
        kept = b""
        async for piece in self._pieces(response):
            usage.feed(piece)
            kept = kept + piece if len(kept) + len(piece) <= KEPT_BYTES else b""
            await self._send(h11.Data(data=piece))
        usage.end(kept)
        await self._send(h11.EndOfMessage())

    async def _pieces(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """The answer as it comes. One that is too long, or breaks off, ends the agent's connection before its end."""
        size = 0
        try:
            async for piece in response.aiter_raw():
                size += len(piece)
                self._proxy.counted.bytes_down += len(piece)
                if size > MAX_ANSWER_BYTES:
                    raise trio.BrokenResourceError("the answer is too large")
                yield piece
        except httpx2.HTTPError:
            raise trio.BrokenResourceError("the connection to the service broke") from None

    async def _refuse(self, error: _RefusedError) -> None:
        """Say why, in the form in which services say it, and end the connection."""
        self._proxy.refused(error)
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise trio.BrokenResourceError
        said = json.dumps({"type": "error", "error": {"type": "refused_by_the_node", "message": str(error)}}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(said))), ("Connection", "close")]
        await self._send(h11.Response(status_code=error.status, headers=headers))
        await self._send(h11.Data(data=said))
        await self._send(h11.EndOfMessage())
        await self._stream.send_eof()
        with trio.move_on_after(1):  # closing with something unread would reset the connection, and the answer be lost
            while await self._stream.receive_some(64 << 10):
                pass

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            with trio.fail_after(SEND_SECONDS):
                await self._stream.send_all(data)


def _texts(request: h11.Request) -> list[tuple[str, str]]:
    """Names, in lower case, and values of a request's headers."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]

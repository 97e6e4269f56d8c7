"""Visits: connections to servers of the DHT that last as long as a lookup, and are no connections of the swarm.

A server of the DHT may research something else, or be of a swarm that wants no more connections. So whoever is dialled
here is hung up on at the end, except where it turns out to be a peer that this node's swarm wants. A server that is
connected already is asked over that connection.

It knows how to dial, and whose word an address is (node/network/groups.py, dial_limits.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from node.network.discovery.dial_limits import DialLimits
from node.network.discovery.kad.messages import KadMessage
from node.network.discovery.kad.stream import KadStream
from node.network.frames import StreamEndedError, close
from node.network.host import Address, Host
from node.network.parameters import DHT_VISIT_SECONDS
from protocol.codec import MalformedError

T = TypeVar("T")
TROUBLES = (MalformedError, StreamEndedError, trio.TooSlowError)


class Visits:
    """The visits of one node. `keep`: whether a visited peer is to stay connected, and if so, it is taken over."""

    def __init__(
        self, host: Host, unwelcome: Callable[[str], bool], keep: Callable[[str], bool], ended: Callable[[], None]
    ) -> None:
        self._host = host
        self._unwelcome = unwelcome
        self._keep = keep
        self._ended = ended
        self._limits = DialLimits()
        self._under_way: set[str] = set()
        self._asked: set[str] = set()  # peers connected otherwise, until the block is over in which they are asked
        self._over = trio.Event()

    def is_one(self, peer: str) -> bool:
        """Whether the connection to this peer is a visit."""
        return peer in self._under_way

    @asynccontextmanager
    async def together(self) -> AsyncIterator[set[str]]:
        """A block at whose end the visits that were added to the set are over."""
        mine: set[str] = set()
        try:
            yield mine
        finally:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    for peer in mine:
                        if not self._keep(peer):
                            nursery.start_soon(self._host.disconnect, peer)
                        else:
                            self._under_way.discard(peer)
            self._under_way -= mine
            self._asked.clear()
            self._over.set()
            self._over = trio.Event()
            self._ended()

    async def released(self, peer: str) -> None:
        """Return when a connected peer is not being asked anything."""
        while peer in self._asked:
            await self._over.wait()

    async def reach(self, peer: str, transports: Sequence[str], trusted: bool, mine: set[str]) -> str | None:
        """The transport at which the peer answers, or "" where it was connected before; None where it does not.

        trusted: a person named these, or this node has reached the peer there.
        """
        if self._unwelcome(peer) or peer == self._host.peer_id:
            return None
        await self._host.dial_under_way(peer)
        if self._host.connected(peer):
            self._asked.add(peer)
            return ""
        for transport in transports:
            if not trusted and not self._limits.take(transport, trio.current_time()):
                continue
            mine.add(peer)
            self._under_way.add(peer)
            connected = False
            try:
                with trio.move_on_after(DHT_VISIT_SECONDS):
                    connected = await self._host.dial(Address(peer, transport))
            finally:
                if not trusted:
                    self._limits.ended(transport, connected)
            if connected:
                return transport
        mine.discard(peer)
        self._under_way.discard(peer)
        return None

    async def ask(self, peer: str, protocol: str, request: KadMessage) -> KadMessage | None:
        """A connected peer's answer; None when there is none."""
        return await self._talk(peer, protocol, lambda stream: stream.ask(request))

    async def tell(self, peer: str, protocol: str, message: KadMessage) -> bool:
        """Send a message that has no answer; whether it went out."""

        async def send(stream: KadStream) -> bool:
            await stream.send(message)
            return True

        return await self._talk(peer, protocol, send) is True

    async def _talk(self, peer: str, protocol: str, talk: Callable[[KadStream], Awaitable[T]]) -> T | None:
        stream: Any = None
        clean = False
        try:
            with trio.fail_after(DHT_VISIT_SECONDS):
                stream = await self._host.open_stream(peer, protocol)
                result = await talk(KadStream(stream))
                clean = True
                return result
        except TROUBLES:
            return None
        finally:
            if stream is not None:
                await close(stream, clean)

"""One DHT that this node takes part in: its lookups, and where it serves, the answers it gives.

Its own code on libp2p's wire, for py-libp2p's `kad_dht` (0.8.1) does not hold for us: it ignores the protocol prefix
that it is given (`PROTOCOL_ID` is a constant in its handler and its requests), takes everyone who asks into its table
and passes on their addresses unchecked, dials whatever address it is told, announces the addresses it listens on
(0.0.0.0), and holds a place for an idle stream for ever, of twelve. Values are not spoken here, only providers.

A server comes into the table when this node has dialled it and it has answered. Whoever asks or announces is looked up
so afterwards, if there is room for it; the addresses are its own word, and count as such.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import trio

from node.network.discovery.kad.lookup import Answer, Candidate, Found, Lookup
from node.network.discovery.kad.messages import KadMessage, Kind, Named, peer_key
from node.network.discovery.kad.providers import ProviderRecords
from node.network.discovery.kad.routing import RoutingTable
from node.network.discovery.kad.stream import KadStream
from node.network.discovery.kad.visits import TROUBLES, Visits
from node.network.frames import close
from node.network.groups import crowd_of, may_name
from node.network.host import Host
from node.network.parameters import (
    DHT_BUCKET,
    DHT_CHECK_SECONDS,
    DHT_CHECKS_WAITING,
    DHT_PEERS_PER_MESSAGE,
    DHT_REQUESTS,
    DHT_REQUESTS_OF_A_CROWD,
    DHT_REQUESTS_PER_SECOND,
    DHT_REQUESTS_PER_STREAM,
    DHT_STREAMS,
    DHT_STREAMS_OF_A_CROWD,
    HOSTS_REMEMBERED,
)
from node.network.peer_score import PeerScore, TokenBuckets
from protocol.codec import MalformedError

OWN_DHT = "/autoresearch/kad/1.0.0"
PUBLIC_DHT = "/ipfs/kad/1.0.0"  # of IPFS, in which this node is only a client


class Dht:
    """A DHT by its protocol. `seeds`: servers to begin with, from a person or reached before."""

    def __init__(
        self,
        host: Host,
        visits: Visits,
        peer_score: PeerScore,
        protocol: str,
        seeds: Callable[[], Sequence[Candidate]],
        rng: random.Random,
    ) -> None:
        self._host = host
        self._visits = visits
        self._peer_score = peer_score
        self._protocol = protocol
        self._seeds = seeds
        self._table = RoutingTable(host.peer_id)
        self._providers = ProviderRecords(rng)
        self._streams: dict[str, int] = {}  # being served, by crowd
        self._requests = TokenBuckets(DHT_REQUESTS_PER_SECOND, DHT_REQUESTS_OF_A_CROWD, HOSTS_REMEMBERED)
        self._all_requests = TokenBuckets(DHT_REQUESTS_PER_SECOND * 4, DHT_REQUESTS, 1)
        self._to_check, self._checks = trio.open_memory_channel[Named](DHT_CHECKS_WAITING)

    def __len__(self) -> int:
        return len(self._table)

    # ---- asking ------------------------------------------------------------------------------------------------------

    async def meet(self, key: bytes, own: Sequence[str], enough: int | None = None) -> Found:
        """Find the providers of a key, and announce this node as one of them where `own` has transports to name.

        enough: providers, after which no more servers are asked and told.
        """
        async with self._visits.together() as mine:

            async def ask(candidate: Candidate) -> Answer | None:
                return await self._ask(candidate, KadMessage(Kind.GET_PROVIDERS, key), mine)

            found = await Lookup(key, self._host.peer_id, ask, may_name, enough).run(self._start(key))
            async with trio.open_nursery() as nursery:
                for server in found.servers if own else []:
                    nursery.start_soon(self._announce, server, key, own, found)
        return found

    def _start(self, key: bytes) -> list[Candidate]:
        near = self._table.closest(key, DHT_BUCKET)
        known = [Candidate(server.peer, (server.transport,), trusted=True) for server in near]
        return [*known, *(seed for seed in self._seeds() if seed.peer not in self._table)]

    async def _ask(self, candidate: Candidate, request: KadMessage, mine: set[str]) -> Answer | None:
        transport = await self._visits.reach(candidate.peer, candidate.transports, candidate.trusted, mine)
        link = self._host.address_of(candidate.peer)
        answer = await self._visits.ask(candidate.peer, self._protocol, request) if transport is not None else None
        if answer is None:
            self._table.failed(candidate.peer)
            return None
        if transport:
            self._table.answered(candidate.peer, transport)
        return Answer(link, answer.closer, answer.providers)

    async def _announce(self, server: str, key: bytes, own: Sequence[str], found: Found) -> None:
        """Tell one server, which must be connected, that this node is found under a key."""
        transports = tuple(t for t in own if may_name(self._host.address_of(server), t))
        if transports:
            message = KadMessage(Kind.ADD_PROVIDER, key, providers=(Named(self._host.peer_id, transports),))
            found.told += await self._visits.tell(server, self._protocol, message)

    # ---- serving -----------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Answer requests, and get to know those who ask, for ever."""
        self._host.answer(self._protocol, self._serve_stream)
        async for named in self._checks:
            await trio.sleep(DHT_CHECK_SECONDS)
            await self._check(named)

    async def _serve_stream(self, stream: Any) -> None:
        peer = str(stream.muxed_conn.peer_id)
        link = self._host.address_of(peer)
        crowd = crowd_of(link) or peer
        clean = False
        if sum(self._streams.values()) >= DHT_STREAMS or self._streams.get(crowd, 0) >= DHT_STREAMS_OF_A_CROWD:
            await close(stream, clean=False)
            return
        self._streams[crowd] = self._streams.get(crowd, 0) + 1
        try:
            messages = KadStream(stream)
            for _ in range(DHT_REQUESTS_PER_STREAM):
                request = await messages.receive()
                now = trio.current_time()
                if not self._requests.take(crowd, now) or not self._all_requests.take("", now):
                    return
                answer = self._answer(request, peer, link, crowd, now)
                if answer is not None:
                    await messages.send(answer)
            clean = True
        except MalformedError as error:
            self._peer_score.note_refusal(peer, "stream", str(error))
        except TROUBLES:
            clean = True  # they end a stream when they have no more to ask
        finally:
            self._streams[crowd] -= 1
            if not self._streams[crowd]:
                del self._streams[crowd]
            await close(stream, clean)

    def _answer(self, request: KadMessage, peer: str, link: str, crowd: str, now: float) -> KadMessage | None:
        if request.kind is Kind.PING:
            return KadMessage(Kind.PING)
        if request.kind is Kind.ADD_PROVIDER:
            own = next((named for named in request.providers if named.peer == peer), None)  # nobody else's word
            transports = tuple(t for t in own.transports if may_name(link, t)) if own is not None else ()
            if transports:
                self._providers.add(request.key, Named(peer, transports), link, crowd, now)
                self._want_to_check(Named(peer, transports))
            return None
        self._want_to_check(Named(peer, self._claimed(peer, link)))
        near = [server for server in self._table.closest(request.key, DHT_BUCKET + 1) if server.peer != peer]
        closer = tuple(
            Named(server.peer, (server.transport,)) for server in near[:DHT_BUCKET] if may_name(link, server.transport)
        )
        named: list[Named] = []
        if request.kind is Kind.GET_PROVIDERS:
            for provider, its_link in self._providers.of(request.key, DHT_PEERS_PER_MESSAGE, now):
                transports = tuple(t for t in provider.transports if may_name(link, t) and may_name(its_link, t))
                if transports and provider.peer != peer:
                    named.append(Named(provider.peer, transports))
        return KadMessage(request.kind, request.key, closer, tuple(named))

    def _claimed(self, peer: str, link: str) -> tuple[str, ...]:
        """Where a peer says that it listens, as far as that may be dialled."""
        transports = [address.partition("/p2p/")[0] for address in self._host.claimed_addresses(peer)]
        return tuple(t for t in transports if may_name(link, t) and "/tcp/" in t and "/tcp/0" not in t)

    def _want_to_check(self, named: Named) -> None:
        if named.transports and self._table.has_room_for(named.peer, named.transports[0]):
            try:
                self._to_check.send_nowait(named)
            except trio.WouldBlock:
                return  # it will ask again

    async def _check(self, named: Named) -> None:
        """Take a peer into the table if it can be dialled and answers. One that is connected cannot be tried now."""
        if named.peer in self._table or self._host.connected(named.peer):
            return
        async with self._visits.together() as mine:
            await self._ask(
                Candidate(named.peer, named.transports), KadMessage(Kind.FIND_NODE, peer_key(self._host.peer_id)), mine
            )

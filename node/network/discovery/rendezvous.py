"""Rendezvous: nodes of one swarm that know nothing of each other meet in a DHT, under the objective's id.

It announces this node there, again and again, since a record lasts an hour, and looks for others while this node has
too few connections. What it finds are strangers' words, and go into the address book as such.

Private swarms have no rendezvous, and an open one has it when a person has said so: whoever looks the objective up
learns this node's addresses.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from node.network.discovery.kad.dht import OWN_DHT, PUBLIC_DHT, Dht
from node.network.discovery.kad.lookup import Candidate
from node.network.discovery.kad.messages import swarm_key
from node.network.discovery.kad.visits import Visits
from node.network.host import Host, parse_address
from node.network.parameters import (
    MAX_CONTACTS,
    PEERS_WANTED,
    RENDEZVOUS_ANNOUNCE_SECONDS,
    RENDEZVOUS_CHECK_SECONDS,
    RENDEZVOUS_EARLY,
    RENDEZVOUS_FIRST_SECONDS,
    RENDEZVOUS_MOST_SECONDS,
)
from node.network.peer_score import PeerScore
from node.network.store import RecordStore
from node.platform.log import Log
from protocol.codec import MalformedError

Learn = Callable[[str, Sequence[str], str], None]


class Rendezvous:
    """Meets the swarm of one objective.

    own: where others might reach this node, as transports. learn: takes a peer, its transports and the link over which
    they came. few: whether this node wants more connections.
    """

    def __init__(
        self,
        objective: bytes,
        dhts: Sequence[Dht],
        own: Callable[[], Sequence[str]],
        learn: Learn,
        few: Callable[[], bool],
        log: Log,
        rng: random.Random,
    ) -> None:
        self._key = swarm_key(objective)
        self._dhts = dhts
        self._own = own
        self._learn = learn
        self._few = few
        self._log = log
        self._rng = rng
        self._known: set[str] = set()  # peers that were logged

    async def run(self) -> None:
        """Announce and look, for ever."""
        pause = RENDEZVOUS_FIRST_SECONDS
        early, due = RENDEZVOUS_EARLY, -math.inf  # this node announces with its first lookups, and then regularly
        while True:
            announces = early > 0 or trio.current_time() >= due
            told, enough = 0, PEERS_WANTED if self._few() else None
            for dht in self._dhts:
                told += await self._meet(dht, self._own() if announces else (), enough)
            if told:  # where no server near the key took it, it is tried again with the next lookup
                early -= 1
                due = trio.current_time() + RENDEZVOUS_ANNOUNCE_SECONDS * self._rng.uniform(0.8, 1.0)
            if self._few() or early > 0:
                await trio.sleep(pause * self._rng.uniform(0.7, 1.3))
                pause = min(RENDEZVOUS_MOST_SECONDS, 2 * pause)
            else:
                pause = RENDEZVOUS_FIRST_SECONDS
                while not self._few() and trio.current_time() < due:
                    await trio.sleep(RENDEZVOUS_CHECK_SECONDS)

    async def _meet(self, dht: Dht, own: Sequence[str], enough: int | None) -> int:
        """Look, and announce `own`; how many servers were told, if those were the nearest to the key.

        enough: providers with which a lookup ends, since a node without connections wants these first.
        """
        found = await dht.meet(self._key, own, enough)
        new = [peer for peer in found.providers if peer not in self._known]
        for peer, named in found.providers.items():
            for provider, link in named:
                self._learn(peer, provider.transports, link)
        if new:
            if len(self._known) > MAX_CONTACTS:
                self._known.clear()
            self._known.update(new)
            self._log("peers found", peers=len(new), servers=len(found.servers), why="they announced this objective")
        return found.told if found.whole else 0


async def meet_strangers(
    host: Host,
    visits: Visits,
    peer_score: PeerScore,
    store: RecordStore,
    bootstrap: Sequence[str],
    public_servers: Sequence[str],
    learn: Learn,
    few: Callable[[], bool],
    log: Log,
) -> None:
    """Serve the DHT of our own nodes and meet this swarm there, and as a client in the public one, for ever.

    bootstrap: addresses of nodes of ours, of whatever objective; public_servers: of the public DHT, if it is used.
    """
    rng = random.Random()

    def ours() -> list[Candidate]:
        return _candidates([*bootstrap, *store.addresses()])

    own = Dht(host, visits, peer_score, OWN_DHT, ours, rng)
    dhts = [own]
    if public_servers:
        dhts.append(Dht(host, visits, peer_score, PUBLIC_DHT, lambda: _candidates(public_servers), rng))

    def transports() -> list[str]:
        return [address.partition("/p2p/")[0] for address in host.advertised()]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(own.serve)
        nursery.start_soon(Rendezvous(store.objective, dhts, transports, learn, few, log, rng).run)


def _candidates(addresses: Sequence[str]) -> list[Candidate]:
    found: dict[str, list[str]] = {}
    for text in addresses:
        with suppress(MalformedError):
            address = parse_address(text)
            found.setdefault(address.peer, []).append(address.transport)
    return [Candidate(peer, tuple(transports), trusted=True) for peer, transports in found.items()]

"""A lookup in the DHT: ask the servers nearest to a key for nearer ones, until none is nearer, and for providers.

Kademlia's iterative lookup (Maymounkov and Mazières, 2002, section 2.3). How a server is asked is a function that it is
given, so it knows no host and no stream; all it takes is bounded, for every answer may be a lie.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from node.network.discovery.kad.messages import Named, peer_key
from node.network.discovery.kad.routing import place_of
from node.network.parameters import (
    DHT_ASKED_AT_ONCE,
    DHT_ASKED_MOST,
    DHT_BUCKET,
    DHT_CANDIDATES,
    DHT_LOOKUP_SECONDS,
    PROVIDERS_FOUND_MOST,
)


@dataclass(frozen=True)
class Candidate:
    """A server that might be asked. trusted: its address is more than another server's word."""

    peer: str
    transports: tuple[str, ...]
    trusted: bool = False


@dataclass(frozen=True)
class Answer:
    """What a server said, and the address at its end of the connection, over which it came."""

    link: str
    closer: tuple[Named, ...]
    providers: tuple[Named, ...]


@dataclass
class Found:
    """What a lookup brought: the servers that answered, the nearest first, and providers, each with who named it.

    whole: it went on to the servers nearest to the key, and did not end with enough providers.
    """

    servers: list[str] = field(default_factory=list)
    providers: dict[str, list[tuple[Named, str]]] = field(default_factory=dict)
    asked: int = 0
    whole: bool = True
    told: int = 0  # servers to which this node was announced


Ask = Callable[[Candidate], Awaitable[Answer | None]]
MayDial = Callable[[str, str], bool]


class Lookup:
    """One lookup of one key."""

    def __init__(self, key: bytes, own_peer: str, ask: Ask, may_dial: MayDial, enough: int | None = None) -> None:
        """may_dial: whether a transport may be dialled that came over a link: (link, transport). enough: providers,
        after which nobody else is asked; None asks the nearest servers, whatever is found.
        """
        self._place = place_of(key)
        self._own_peer = own_peer
        self._ask = ask
        self._may_dial = may_dial
        self._enough = enough
        self._candidates: dict[str, Candidate] = {}
        self._distance: dict[str, int] = {}
        self._asked: set[str] = set()
        self._answered: list[str] = []
        self._found = Found()
        self._progress = trio.Event()
        self._under_way = 0

    async def run(self, seeds: Sequence[Candidate]) -> Found:
        for seed in seeds:
            self._note(seed)
        with trio.move_on_after(DHT_LOOKUP_SECONDS):
            async with trio.open_nursery() as nursery:
                while True:
                    following = self._next()
                    if following is not None and self._under_way < DHT_ASKED_AT_ONCE:
                        self._asked.add(following.peer)
                        self._under_way += 1
                        nursery.start_soon(self._ask_one, following)
                    elif self._under_way:
                        self._progress = trio.Event()
                        await self._progress.wait()
                    else:
                        break
        self._found.servers = sorted(self._answered, key=self._distance.__getitem__)[:DHT_BUCKET]
        self._found.asked = len(self._asked)
        self._found.whole = not self._has_enough()
        return self._found

    def _next(self) -> Candidate | None:
        """The nearest that was not asked, if it is nearer than the DHT_BUCKET nearest that answered."""
        if len(self._asked) >= DHT_ASKED_MOST or self._has_enough():
            return None
        unasked = [peer for peer in self._candidates if peer not in self._asked]
        if not unasked:
            return None
        nearest = min(unasked, key=self._distance.__getitem__)
        best = sorted(self._distance[peer] for peer in self._answered)[:DHT_BUCKET]
        if len(best) == DHT_BUCKET and self._distance[nearest] > best[-1]:
            return None
        return self._candidates[nearest]

    def _has_enough(self) -> bool:
        return self._enough is not None and len(self._found.providers) >= self._enough

    async def _ask_one(self, candidate: Candidate) -> None:
        try:
            answer = await self._ask(candidate)
        finally:
            self._under_way -= 1
            self._progress.set()
        if answer is None:
            return
        self._answered.append(candidate.peer)
        for named in answer.closer:
            transports = tuple(t for t in named.transports if self._may_dial(answer.link, t))
            if transports and named.peer != self._own_peer:
                self._note(Candidate(named.peer, transports))
        for named in answer.providers:
            if named.peer != self._own_peer and (
                named.peer in self._found.providers or len(self._found.providers) < PROVIDERS_FOUND_MOST
            ):
                self._found.providers.setdefault(named.peer, []).append((named, answer.link))

    def _note(self, candidate: Candidate) -> None:
        if candidate.peer in self._candidates:
            return
        self._distance[candidate.peer] = place_of(peer_key(candidate.peer)) ^ self._place
        self._candidates[candidate.peer] = candidate
        if len(self._candidates) - len(self._asked) > DHT_CANDIDATES:
            unasked = [peer for peer in self._candidates if peer not in self._asked]
            farthest = max(unasked, key=self._distance.__getitem__)
            del self._candidates[farthest]

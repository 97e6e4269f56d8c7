"""Named peers: says in the log why a peer that a person named, in an invite or `bootstrap`, cannot be reached.

Dialling them is the discovery's, which tries again for ever; here it is found out and told what is wrong, within
seconds of the start, and again only when that changes. How to find out is a function that it is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from node.network.host import Address, parse_address
from node.network.parameters import NAMED_AGAIN_SECONDS, NAMED_FIRST_SECONDS, NAMED_MOST_SECONDS
from node.network.peer_check import Fault, NotReachedError, most_telling
from node.platform.log import Log
from protocol.codec import MalformedError
from protocol.identity import short_peer

GOES_ON = "the node goes on and keeps trying; `autoresearch-node peer check ADDRESS` tells more"


class NamedPeers:
    """The peers that a person named, and what was told of each.

    connected: whether one is. alone: whether no peer at all is connected. unwelcome: whether one may not be. try_it:
    connects to one, or raises NotReachedError.
    """

    def __init__(
        self,
        texts: Sequence[str],
        connected: Callable[[str], bool],
        alone: Callable[[], bool],
        unwelcome: Callable[[str], bool],
        try_it: Callable[[Address], Awaitable[object]],
        log: Log,
    ) -> None:
        self._connected = connected
        self._alone = alone
        self._unwelcome = unwelcome
        self._try_it = try_it
        self._log = log
        self._told: dict[str, Fault] = {}
        self._reached: set[str] = set()
        self._addresses: dict[str, list[Address]] = {}
        for text in texts:
            with suppress(MalformedError):  # which was told when it was learnt
                address = parse_address(text)
                self._addresses.setdefault(address.peer, []).append(address)

    async def run(self) -> None:
        """Look at those that are not connected, ever more rarely, for ever."""
        await trio.sleep(NAMED_FIRST_SECONDS)
        pause = NAMED_AGAIN_SECONDS
        while self._addresses:
            before = dict(self._told)
            async with trio.open_nursery() as nursery:
                for peer in self._addresses:
                    nursery.start_soon(self._look_at, peer)
            await trio.sleep(pause)
            pause = min(2 * pause, NAMED_MOST_SECONDS) if self._told == before else NAMED_AGAIN_SECONDS
        await trio.sleep_forever()

    async def _look_at(self, peer: str) -> None:
        if self._connected(peer):
            self._told.pop(peer, None)  # should it be lost for good, that is news
            self._reached.add(peer)
            return
        if self._unwelcome(peer) or (peer in self._reached and not self._alone()):
            return  # one that was reached may have no room, or was given up for another
        faults: dict[Address, NotReachedError] = {}
        async with trio.open_nursery() as nursery:
            for address in self._addresses[peer]:
                nursery.start_soon(self._try_one, address, faults)
        if self._connected(peer) or len(faults) < len(self._addresses[peer]):
            return
        address = most_telling(faults)
        why = faults[address]
        if why.fault not in (Fault.ITSELF, self._told.get(peer)):
            self._told[peer] = why.fault
            others = {"other_addresses": len(faults) - 1} if len(faults) > 1 else {}
            about = {"peer": short_peer(peer), "address": address.transport, **others}
            self._log("peer not reached", level="warning", **about, why=str(why), hint=GOES_ON)

    async def _try_one(self, address: Address, faults: dict[Address, NotReachedError]) -> None:
        try:
            await self._try_it(address)
        except NotReachedError as error:
            faults[address] = error

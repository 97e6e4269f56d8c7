"""Peer discovery: where peers might be, and dialling until enough of them are connected.

It knows addresses and when to try them next. Addresses come from the invite, the configuration, the ledger, the local
network and from what peers say of themselves; one that worked is remembered in the ledger. How to dial is a function
that it is given. It dials peers at random until there are PEERS_WANTED connections: a random graph in which every node
chose a few others stays connected when many of its nodes leave.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from node.network.host import Address, parse_address
from node.network.parameters import (
    ADDRESSES_PER_CONTACT,
    BACKOFF_ALONE_SECONDS,
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MOST_SECONDS,
    DIALS_AT_ONCE,
    FAILURES_BEFORE_REPLACED,
    MAX_CONTACTS,
    PEERS_WANTED,
    REST_SECONDS,
)
from protocol.codec import MalformedError


@dataclass
class _Contact:
    """A peer that might be reached. `addresses` has the one that worked last in front."""

    addresses: list[Address] = field(default_factory=list)
    failures: int = 0
    due: float = 0.0
    rest_until: float = 0.0
    being_dialled: bool = False


class PeerDiscovery:
    """The address book, and the loop that dials from it."""

    def __init__(
        self,
        own_peer: str,
        dial: Callable[[Address], Awaitable[bool]],
        peers: Callable[[], list[str]],
        unwelcome: Callable[[str], bool],
        remember: Callable[[str], None],
        rng: random.Random,
    ) -> None:
        self._own_peer = own_peer
        self._dial = dial
        self._peers = peers
        self._unwelcome = unwelcome
        self._remember = remember
        self._rng = rng
        self._contacts: dict[str, _Contact] = {}
        self._changed = trio.Event()

    def learn(self, text: str) -> None:
        """Note an address to try. Raises MalformedError when it is none."""
        address = parse_address(text)
        if address.peer == self._own_peer or not _can_be_dialled(address):
            return
        contact = self._contacts.get(address.peer)
        if contact is None:
            if len(self._contacts) >= MAX_CONTACTS and not self._make_room():
                return
            contact = self._contacts[address.peer] = _Contact()
        if address not in contact.addresses:
            contact.addresses.append(address)
            del contact.addresses[ADDRESSES_PER_CONTACT:]
            self._wake()

    def learn_claimed_addresses(self, peer: str, addresses: list[str]) -> None:
        """Note where a connected peer says it listens; what does not parse, or names another peer, is left out."""
        for address in addresses[:ADDRESSES_PER_CONTACT]:
            transport, _, named = address.partition("/p2p/")
            if named in ("", peer):
                with suppress(MalformedError):
                    self.learn(f"{transport}/p2p/{peer}")

    def lost(self, peer: str) -> None:
        """The connection is gone: try again soon, though not in the same instant as the other side."""
        contact = self._contacts.get(peer)
        if contact is not None:
            contact.failures = 0
            contact.due = trio.current_time() + BACKOFF_FIRST_SECONDS * self._rng.uniform(0.2, 1.2)
            self._wake()

    def rest(self, peer: str) -> None:
        """This node is about to give the connection to this peer up for another: do not dial it for a while."""
        contact = self._contacts.get(peer)
        if contact is not None:
            contact.rest_until = trio.current_time() + REST_SECONDS

    def others(self) -> bool:
        """Whether there is a peer to try that is not connected."""
        connected = set(self._peers())
        return any(peer not in connected and contact.failures == 0 for peer, contact in self._contacts.items())

    def forget_failures(self) -> None:
        """The network has changed (another address, awake from sleep): what could not be reached may be reached now."""
        for contact in self._contacts.values():
            contact.failures = 0
            contact.due = 0.0
        self._wake()

    async def run(self) -> None:
        """Dial contacts that are due while there are too few connections, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                due, waiting = self._candidates(now)
                for peer, contact in self._rng.sample(due, min(len(due), self._room())):
                    contact.being_dialled = True
                    nursery.start_soon(self._try, peer, contact)
                self._changed = trio.Event()
                with trio.move_on_at(min(waiting, default=now + BACKOFF_MOST_SECONDS)):
                    await self._changed.wait()

    def _candidates(self, now: float) -> tuple[list[tuple[str, _Contact]], list[float]]:
        """The contacts that may be dialled now, and when each of the others may be."""
        connected = set(self._peers())
        due: list[tuple[str, _Contact]] = []
        waiting: list[float] = []
        for peer, contact in self._contacts.items():
            if peer in connected or contact.being_dialled:
                continue
            earliest = max(contact.due, contact.rest_until)
            if earliest <= now:
                due.append((peer, contact))
            else:
                waiting.append(earliest)
        return due, waiting

    def _room(self) -> int:
        """How many more dials may begin. With 7 connected and 3 being dialled, 2: those that are wanted beyond both."""
        dialling = sum(contact.being_dialled for contact in self._contacts.values())
        wanted = min(PEERS_WANTED - len(self._peers()), DIALS_AT_ONCE)
        return max(0, wanted - dialling)

    async def _try(self, peer: str, contact: _Contact) -> None:
        """Dial a contact's addresses in turn; on failure, wait for longer than last time."""
        try:
            for address in [] if self._unwelcome(peer) else list(contact.addresses):
                if await self._dial(address):
                    # What worked goes to the front: it is tried first next time, and is the last to be dropped.
                    contact.failures = 0
                    contact.addresses.remove(address)
                    contact.addresses.insert(0, address)
                    self._remember(str(address))
                    return
            contact.failures += 1
        finally:
            contact.being_dialled = False
            contact.due = trio.current_time() + self._backoff(contact.failures)
            self._wake()

    def _backoff(self, failures: int) -> float:
        """Seconds until the next attempt: exponential backoff, 2, 4, 8 ... up to 300 s, or up to 20 s without any peer.

        The random factor keeps nodes that lost each other at one moment from dialling in step for ever.
        """
        most = BACKOFF_MOST_SECONDS if self._peers() else BACKOFF_ALONE_SECONDS
        seconds: float = min(most, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 16))  # 2.0**1024 raises
        return seconds * self._rng.uniform(0.5, 1.5)

    def _make_room(self) -> bool:
        """Drop the contact that failed most often, if it has failed often enough."""
        peer, worst = max(self._contacts.items(), key=lambda item: item[1].failures)
        if worst.failures < FAILURES_BEFORE_REPLACED or worst.being_dialled:
            return False
        del self._contacts[peer]
        return True

    def _wake(self) -> None:
        self._changed.set()


def _can_be_dialled(address: Address) -> bool:
    """Not an unspecified address or port: those mean "all of mine" to a listener and nothing to a peer."""
    return not address.transport.startswith(("/ip4/0.0.0.0/", "/ip6/::/")) and "/tcp/0/" not in address.transport + "/"

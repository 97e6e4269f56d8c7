"""Discovery: knowing where peers might be, and never giving up on reaching enough of them.

It knows addresses and when to try them next. Addresses come from the invite, the configuration, the ledger, the local
network and from peers' own words; one that worked is remembered in the ledger. How to dial is told to it. It dials at
random until there are PEERS_WANTED connections: random graphs stay connected when many of their nodes leave.
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


class Discovery:
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

    def learn_claims(self, peer: str, claims: list[str]) -> None:
        """Note where a connected peer says it listens; what does not parse, or names somebody else, is left out."""
        for claim in claims[:ADDRESSES_PER_CONTACT]:
            transport, _, named = claim.partition("/p2p/")
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
        """We are about to leave this peer for another: let it be for a while."""
        contact = self._contacts.get(peer)
        if contact is not None:
            contact.rest_until = trio.current_time() + REST_SECONDS

    def others(self) -> bool:
        """Whether there is anybody to try who is not connected."""
        connected = set(self._peers())
        return any(peer not in connected and contact.failures == 0 for peer, contact in self._contacts.items())

    def forget_failures(self) -> None:
        """The network has changed (another address, awake from sleep): what could not be reached may be reached now."""
        for contact in self._contacts.values():
            contact.failures, contact.due = 0, 0.0
        self._wake()

    async def run(self) -> None:
        """Dial whoever is due while there are too few connections, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                connected = set(self._peers())
                idle = [(p, c) for p, c in self._contacts.items() if p not in connected and not c.being_dialled]
                due = [(peer, contact) for peer, contact in idle if max(contact.due, contact.rest_until) <= now]
                dialling = sum(contact.being_dialled for contact in self._contacts.values())
                room = min(PEERS_WANTED - len(connected), DIALS_AT_ONCE) - dialling
                for peer, contact in self._rng.sample(due, min(len(due), max(0, room))):
                    contact.being_dialled = True
                    nursery.start_soon(self._try, peer, contact)
                waiting = [later for _, contact in idle if (later := max(contact.due, contact.rest_until)) > now]
                self._changed = trio.Event()
                with trio.move_on_at(min(waiting, default=now + BACKOFF_MOST_SECONDS)):
                    await self._changed.wait()

    async def _try(self, peer: str, contact: _Contact) -> None:
        """Dial a contact's addresses in turn; on failure put it off for longer than last time."""
        try:
            for address in [] if self._unwelcome(peer) else list(contact.addresses):
                if await self._dial(address):
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
        most = BACKOFF_MOST_SECONDS if self._peers() else BACKOFF_ALONE_SECONDS
        seconds: float = min(most, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 16))
        return seconds * self._rng.uniform(0.5, 1.5)

    def _make_room(self) -> bool:
        """Drop the contact that failed most often, if it has failed for long."""
        peer, worst = max(self._contacts.items(), key=lambda item: item[1].failures)
        if worst.failures < FAILURES_BEFORE_REPLACED or worst.being_dialled:
            return False
        del self._contacts[peer]
        return True

    def _wake(self) -> None:
        self._changed.set()


def _can_be_dialled(address: Address) -> bool:
    """An unspecified address means "all of mine" to its owner and nothing to anybody else."""
    return not address.transport.startswith(("/ip4/0.0.0.0/", "/ip6/::/")) and "/tcp/0/" not in address.transport + "/"

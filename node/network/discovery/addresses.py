"""Peer discovery: dialling until enough peers are connected.

Addresses come from the invite, the configuration, the ledger, the local network and from what peers say of themselves;
one that worked is remembered in the ledger. What is known, and whose word it is, stands in address_book.py; how often
an address may be dialled on a stranger's word, in dial_limits.py. How to dial is a function that it is given.

It dials peers at random until there are PEERS_WANTED connections: a random graph in which every node chose a few others
stays connected when many of its nodes leave. OUTGOING_LEAST of them it dials itself however many peers have dialled it:
whoever connects here may be one attacker.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import trio

from node.network.discovery.address_book import AddressBook, Contact, Standing
from node.network.discovery.dial_limits import DialLimits
from node.network.groups import LOCAL
from node.network.host import Address, parse_address
from node.network.parameters import (
    BACKOFF_ALONE_SECONDS,
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MOST_SECONDS,
    CLAIM_WAIT_SECONDS,
    DIALS_AT_ONCE,
    LASTED_SECONDS,
    OUTGOING_LEAST,
    OUTGOING_OF_A_GROUP,
    PEERS_WANTED,
    REST_SECONDS,
)


class PeerDiscovery:
    """The loop that dials from the address book.

    peers: those connected. outgoing: the network groups of the connections that this node dialled.
    """

    def __init__(
        self,
        own_peer: str,
        dial: Callable[[Address], Awaitable[bool]],
        peers: Callable[[], list[str]],
        outgoing: Callable[[], Sequence[str]],
        unwelcome: Callable[[str], bool],
        remember: Callable[[str], None],
        rng: random.Random,
    ) -> None:
        self._dial = dial
        self._peers = peers
        self._outgoing = outgoing
        self._unwelcome = unwelcome
        self._remember = remember
        self._rng = rng
        self._book = AddressBook(own_peer, rng)
        self._limits = DialLimits()
        self._changed = trio.Event()

    def learn(self, text: str, standing: Standing = Standing.NAMED) -> None:
        """Note an address to try that is not a stranger's word. Raises MalformedError when it is none."""
        if self._book.learn(parse_address(text), standing):
            self._wake()

    def learn_claimed_addresses(self, peer: str, addresses: Sequence[str], link: str, said_by: str) -> None:
        """Note where a peer says that it listens; what does not parse, or names another peer, is left out.

        link: the address at the other end of the connection over which that came; said_by: whom to count it for.
        """
        transports = []
        for address in addresses:
            transport, _, named = address.partition("/p2p/")
            if named in ("", peer):
                transports.append(transport)
        if self._book.claim(peer, transports, link, said_by):
            self._wake()

    def address_of(self, peer: str) -> str | None:
        """Where this peer was reached last, with its id."""
        contact = self._book.get(peer)
        if contact is None or not contact.addresses or contact.addresses[0].transport not in contact.trusted:
            return None
        return str(contact.addresses[0])

    def has_reached(self, peer: str) -> bool:
        """Whether this node has dialled it with success, or somebody whom it believes has named it."""
        contact = self._book.get(peer)
        return contact is not None and contact.standing >= Standing.REACHED

    def lost(self, peer: str, lasted: float) -> None:
        """The connection is gone: try again soon, though not in the same instant as the other side.

        A peer that hung up within LASTED_SECONDS has no room, most likely: it is left alone for longer each time.
        """
        contact = self._book.get(peer)
        if contact is not None:
            contact.failures = 0 if lasted >= LASTED_SECONDS else contact.failures + 1
            soon = BACKOFF_FIRST_SECONDS * self._rng.uniform(0.2, 1.2)
            contact.due = trio.current_time() + (self._backoff(contact.failures) if contact.failures else soon)
            self._wake()

    def rest(self, peer: str, seconds: float = REST_SECONDS) -> None:
        """This node is about to give the connection to this peer up: do not dial it for a while."""
        contact = self._book.get(peer)
        if contact is not None:
            contact.rest_until = trio.current_time() + seconds

    def others(self) -> bool:
        """Whether there is a peer to try that is not connected."""
        return self._book.has_others(set(self._peers()))

    def wants_more(self) -> bool:
        """Whether there is room for one more connection that this node makes."""
        return self._room() > 0

    def room_changed(self) -> None:
        """Connections have ended that were none of the swarm: there may be room to dial now."""
        self._wake()

    def forget_failures(self) -> None:
        """The network has changed (another address, awake from sleep): what could not be reached may be reached now."""
        for contact in self._book:
            contact.failures = 0
            contact.due = 0.0
        self._wake()

    async def run(self) -> None:
        """Dial contacts that are due while there are too few connections, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                connected = set(self._peers())
                room = self._room()
                for contact in self._book.to_dial(now, connected, self._outgoing())[:room] if room else []:
                    contact.being_dialled = True
                    nursery.start_soon(self._try, contact)
                self._changed = trio.Event()
                due = self._book.next_due(now, connected)
                with trio.move_on_at(now + BACKOFF_MOST_SECONDS if due is None else due):
                    await self._changed.wait()

    def _room(self) -> int:
        """How many more dials may begin.

        With 7 connected and 3 being dialled, 2: those that are wanted beyond both. With 30 connected of which this node
        dialled 4, it is 2 as well; and 4 where three of those are of one group, of which 2 count.
        """
        dialling = sum(contact.being_dialled for contact in self._book)
        groups = Counter(self._outgoing())
        spread = sum(n if group == LOCAL else min(n, OUTGOING_OF_A_GROUP) for group, n in groups.items())
        wanted = max(PEERS_WANTED - len(self._peers()), OUTGOING_LEAST - spread)
        return max(0, min(wanted, DIALS_AT_ONCE) - dialling)

    async def _try(self, contact: Contact) -> None:
        """Dial a contact's addresses in turn; on failure, wait for longer than last time."""
        tried = False
        try:
            for address in [] if self._unwelcome(contact.peer) else list(contact.addresses):
                trusted = address.transport in contact.trusted
                if not trusted and not self._limits.take(address.transport, trio.current_time()):
                    continue  # too many such were dialled lately; it has not failed
                tried = True
                connected = False
                try:
                    connected = await self._dial(address)
                finally:
                    if not trusted:
                        self._limits.ended(address.transport, connected)
                if connected:
                    self._book.reached(contact, address)
                    self._remember(str(address))
                    return
            contact.failures += tried
        finally:
            contact.being_dialled = False
            contact.due = trio.current_time() + (self._backoff(contact.failures) if tried else CLAIM_WAIT_SECONDS)
            self._wake()

    def _backoff(self, failures: int) -> float:
        """Seconds until the next attempt: exponential backoff, 2, 4, 8 ... up to 300 s, or up to 20 s without any peer.

        The random factor keeps nodes that lost each other at one moment from dialling in step for ever.
        """
        most = BACKOFF_MOST_SECONDS if self._peers() else BACKOFF_ALONE_SECONDS
        seconds: float = min(most, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 16))  # 2.0**1024 raises
        return seconds * self._rng.uniform(0.5, 1.5)

    def _wake(self) -> None:
        self._changed.set()

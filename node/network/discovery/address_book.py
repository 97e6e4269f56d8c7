"""The address book: where peers might be, whose word that is, and which of them to dial next.

An address is *trusted* where a person named it, or this node has reached the peer there. All others are claims: a peer
signed them for itself, which with free keys anybody can do for any address. Claims have a part of the book in which
they push each other out, those first that came through whoever brought most; so a flood of them leaves what worked, and
what others bring. Claims of one machine and of one network group are few.

It knows addresses and times, and dials nothing. Bitcoin Core parts its book in the same way (`src/addrman.h`: "tried"
and "new").
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import zip_longest

from node.network.groups import LOCAL, Scope, group_of, host_of, may_name, scope_of
from node.network.host import Address
from node.network.parameters import (
    ADDRESSES_PER_CONTACT,
    CLAIMED_CONTACTS_LEAST,
    CONTACTS_OF_A_GROUP,
    CONTACTS_OF_A_HOST,
    FAILURES_BEFORE_REPLACED,
    MAX_CONTACTS,
    OUTGOING_LEAST,
    OUTGOING_OF_A_GROUP,
)

CLAIMED_FORM = re.compile(r"/ip[46]/[^/]+/tcp/[1-9]\d*")  # no names: whom those lead to, a stranger decides later


class Standing(IntEnum):
    """Why a contact is in the book."""

    CLAIMED = 0
    REACHED = 1  # this node has dialled it with success
    NAMED = 2  # by a person, or found on the local network
    ANCHOR = 3  # this node was connected to it when it last ran


@dataclass(eq=False)
class Contact:
    """A peer that might be reached. `addresses` has the one that worked last in front; `said_by` is who brought it."""

    peer: str
    standing: Standing
    said_by: str = ""
    addresses: list[Address] = field(default_factory=list)
    trusted: set[str] = field(default_factory=set)  # transports
    failures: int = 0
    due: float = 0.0
    rest_until: float = 0.0
    being_dialled: bool = False

    @property
    def group(self) -> str:
        return group_of(self.addresses[0].transport) if self.addresses else LOCAL


class AddressBook:
    """The contacts of one node."""

    def __init__(self, own_peer: str, rng: random.Random) -> None:
        self._own_peer = own_peer
        self._rng = rng
        self._contacts: dict[str, Contact] = {}
        self._held: Counter[str] = Counter()  # addresses of the internet that nobody named, by machine and by group

    def __len__(self) -> int:
        return len(self._contacts)

    def __iter__(self) -> Iterator[Contact]:
        return iter(self._contacts.values())

    def get(self, peer: str) -> Contact | None:
        return self._contacts.get(peer)

    def learn(self, address: Address, standing: Standing) -> bool:
        """Note an address on better word than a stranger's. Whether it is new, and worth a try."""
        if address.peer == self._own_peer or not _can_be_dialled(address):
            return False
        contact = self._contacts.get(address.peer)
        if contact is None and standing <= Standing.REACHED and not self._has_room_for(address.transport):
            return False
        contact = contact or self._add(address.peer, standing, "")
        if contact is None:
            return False
        self._raise(contact, standing)
        contact.trusted.add(address.transport)
        return self._note(contact, address)

    def claim(self, peer: str, transports: Sequence[str], link: str, said_by: str) -> bool:
        """Note where a peer says of itself that it listens. Whether any of it is new.

        link: the address at the other end of the connection over which that came; said_by: whom to count it for.
        """
        new = False
        for transport in transports[:ADDRESSES_PER_CONTACT]:
            address = Address(peer, transport)
            contact = self._contacts.get(peer)
            known = contact is not None and address in contact.addresses
            if peer == self._own_peer or known or not _may_be_claimed(transport, link):
                continue
            if not self._has_room_for(transport):
                continue
            contact = contact or self._add(peer, Standing.CLAIMED, said_by)
            new |= contact is not None and self._note(contact, address)
        return new

    def to_dial(self, now: float, connected: Collection[str], outgoing: Sequence[str]) -> list[Contact]:
        """The contacts that are due, in the order in which to dial them.

        outgoing: the groups of the outgoing connections. Contacts of a group that has its share of these come only
        where no other contact is in sight, and up to OUTGOING_LEAST only, unless a person named them. What was reached
        before and what is only claimed take turns, so that neither crowds the other out.
        """
        open_contacts = [contact for contact in self if contact.peer not in connected and not contact.being_dialled]
        held = Counter(outgoing)
        held.update(contact.group for contact in self if contact.being_dialled)
        found, crowded = [], []
        for contact in self._ordered([contact for contact in open_contacts if _due(contact) <= now]):
            local_or_named = contact.group == LOCAL or contact.standing >= Standing.NAMED
            if not local_or_named and held[contact.group] >= OUTGOING_OF_A_GROUP:
                crowded.append(contact)
            else:
                held[contact.group] += 1
                found.append(contact)
        others = any(held[contact.group] < OUTGOING_OF_A_GROUP and not contact.failures for contact in open_contacts)
        return found if found or others else crowded[: max(0, OUTGOING_LEAST - sum(held.values()))]

    def next_due(self, now: float, connected: Collection[str]) -> float | None:
        """When the next contact that is not due yet will be."""
        times = [_due(c) for c in self if c.peer not in connected and not c.being_dialled and _due(c) > now]
        return min(times, default=None)

    def has_others(self, connected: Collection[str]) -> bool:
        """Whether there is a peer to try that is not connected."""
        return any(contact.peer not in connected and contact.failures == 0 for contact in self)

    def reached(self, contact: Contact, address: Address) -> None:
        """The peer was there: this address is tried first next time, and is the last to be dropped."""
        contact.failures = 0
        self._raise(contact, Standing.REACHED)
        contact.trusted.add(address.transport)
        if address in contact.addresses:
            contact.addresses.remove(address)
            contact.addresses.insert(0, address)

    # ---- room --------------------------------------------------------------------------------------------------------

    def _add(self, peer: str, standing: Standing, said_by: str) -> Contact | None:
        if len(self._contacts) >= MAX_CONTACTS and not self._make_room(standing):
            return None
        contact = self._contacts[peer] = Contact(peer, standing, said_by)
        return contact

    def _raise(self, contact: Contact, standing: Standing) -> None:
        if contact.standing <= Standing.REACHED < standing:
            self._count(contact, -1)
        contact.standing = max(contact.standing, standing)

    def _note(self, contact: Contact, address: Address) -> bool:
        if address in contact.addresses or len(contact.addresses) >= ADDRESSES_PER_CONTACT:
            return False
        self._count(contact, -1)
        contact.addresses.append(address)
        self._count(contact, 1)
        return True

    def _has_room_for(self, transport: str) -> bool:
        of_host, of_group = self._held[host_of(transport)], self._held[group_of(transport)]
        return of_host < CONTACTS_OF_A_HOST and of_group < CONTACTS_OF_A_GROUP

    def _count(self, contact: Contact, change: int) -> None:
        for address in contact.addresses if contact.standing <= Standing.REACHED else []:
            if scope_of(address.transport) is Scope.INTERNET:
                for key in (host_of(address.transport), group_of(address.transport)):
                    self._held[key] += change
                    if not self._held[key]:
                        del self._held[key]

    def _make_room(self, standing: Standing) -> bool:
        """Drop one contact for a new one: what failed often; a claim; or what was reached, if that is nearly all."""
        free = [contact for contact in self if not contact.being_dialled]
        claims = [contact for contact in free if contact.standing is Standing.CLAIMED]
        reached = [contact for contact in free if contact.standing is Standing.REACHED]
        hopeless = [contact for contact in claims + reached if contact.failures >= FAILURES_BEFORE_REPLACED]
        if hopeless:
            self._drop(max(hopeless, key=lambda contact: contact.failures))
        elif claims and (len(claims) > CLAIMED_CONTACTS_LEAST or standing is Standing.CLAIMED or not reached):
            brought = Counter(contact.said_by for contact in claims)
            most = max(brought.values())
            crowd = [contact for contact in claims if brought[contact.said_by] == most]
            self._drop(crowd[self._rng.randrange(len(crowd) // 2, len(crowd))])  # any of the younger half
        elif reached:
            self._drop(max(reached, key=lambda contact: contact.failures))
        else:
            named = [contact for contact in free if contact.failures >= FAILURES_BEFORE_REPLACED]
            if not named:
                return False
            self._drop(max(named, key=lambda contact: contact.failures))
        return True

    def _drop(self, contact: Contact) -> None:
        self._count(contact, -1)
        del self._contacts[contact.peer]

    def _ordered(self, due: list[Contact]) -> list[Contact]:
        """Anchors, then those that were named, then in turn one that was reached and one that is only claimed."""
        by_standing: dict[Standing, list[Contact]] = {standing: [] for standing in Standing}
        for contact in self._rng.sample(due, len(due)):
            by_standing[contact.standing].append(contact)
        pair = [by_standing[Standing.REACHED], by_standing[Standing.CLAIMED]]
        self._rng.shuffle(pair)
        in_turn = [contact for both in zip_longest(*pair) for contact in both if contact is not None]
        return [*by_standing[Standing.ANCHOR], *by_standing[Standing.NAMED], *in_turn]


def _due(contact: Contact) -> float:
    return max(contact.due, contact.rest_until)


def _may_be_claimed(transport: str, link: str) -> bool:
    return CLAIMED_FORM.fullmatch(transport) is not None and may_name(link, transport)


def _can_be_dialled(address: Address) -> bool:
    """Not an unspecified address or port: those mean "all of mine" to a listener and nothing to a peer."""
    return not address.transport.startswith(("/ip4/0.0.0.0/", "/ip6/::/")) and "/tcp/0/" not in address.transport + "/"

"""What strangers say of addresses is bounded, tried within limits, and pushes out nothing better."""

from __future__ import annotations

import random

from node.network.discovery.address_book import AddressBook, Standing
from node.network.discovery.dial_limits import DialLimits
from node.network.groups import group_of
from node.network.host import Address
from node.network.parameters import (
    CLAIMED_CONTACTS_LEAST,
    CLAIMED_DIALS_AT_ONCE,
    CONTACTS_OF_A_GROUP,
    CONTACTS_OF_A_HOST,
    DIALS_OF_A_GROUP,
    DIALS_OF_A_HOST,
    DIALS_OF_A_HOST_PER_SECOND,
    FAILURES_BEFORE_REPLACED,
    MAX_CONTACTS,
    OUTGOING_LEAST,
    OUTGOING_OF_A_GROUP,
)

FAR, NEAR, HERE = "/ip4/66.6.0.6/tcp/1", "/ip4/192.168.1.9/tcp/1", "/ip4/127.0.0.1/tcp/1"


def place(network: int, machine: int = 1, port: int = 4001) -> str:
    return f"/ip4/{11 + network // 200}.{network % 200}.0.{machine}/tcp/{port}"


def book_of(seed: int = 1) -> AddressBook:
    return AddressBook("own", random.Random(seed))


def reach(book: AddressBook, peer: str, transport: str) -> None:
    address = Address(peer, transport)
    book.claim(peer, [transport], FAR, "somebody")
    contact = book.get(peer)
    assert contact is not None
    book.reached(contact, address)


def peers_to_dial(book: AddressBook, outgoing: list[str] | None = None) -> list[str]:
    return [contact.peer for contact in book.to_dial(0.0, (), outgoing or [])]


def test_one_machine_and_one_network_have_few_contacts_however_many_keys_they_have() -> None:
    book = book_of()
    for number in range(1000):
        book.claim(f"key {number}", [place(1, port=number + 1)], FAR, "attacker")
    assert len(book) == CONTACTS_OF_A_HOST
    for number in range(1000):
        book.claim(f"other {number}", [place(1, number % 250 + 1)], FAR, "attacker")
    assert len(book) <= CONTACTS_OF_A_GROUP


def test_being_reached_gives_an_attacker_no_more_of_them() -> None:
    book = book_of()
    for number in range(100):
        transport = place(1, port=number + 1)
        if book.claim(f"key {number}", [transport], FAR, "attacker"):
            contact = book.get(f"key {number}")
            assert contact is not None
            book.reached(contact, Address(contact.peer, transport))
    assert len(book) == CONTACTS_OF_A_HOST
    assert not book.learn(Address("remembered", place(1, port=999)), Standing.REACHED)
    assert book.learn(Address("named", place(1, port=999)), Standing.NAMED)


def test_a_flood_of_claims_pushes_itself_out_and_nothing_that_worked() -> None:
    book = book_of()
    for number in range(20):
        book.learn(Address(f"named {number}", place(number)), Standing.NAMED)
        reach(book, f"reached {number}", place(100 + number))
        book.claim(f"honest {number}", [place(200 + number)], FAR, f"friend {number % 4}")
    for number in range(5000):
        book.claim(f"key {number}", [place(400 + number % 4000, number // 4000 + 1)], FAR, "attacker")
    assert len(book) == MAX_CONTACTS
    left = [kind for kind in ("named", "reached", "honest") for n in range(20) if book.get(f"{kind} {n}")]
    assert len(left) == 60


def test_a_newcomer_has_a_place_in_a_book_full_of_what_worked() -> None:
    book = book_of()
    for number in range(2 * MAX_CONTACTS):
        reach(book, f"reached {number}", place(number))
    assert book.claim("newcomer", [place(3000)], FAR, "somebody")
    assert len(book) == MAX_CONTACTS


def test_what_was_reached_makes_way_for_more_of_it_once_claims_have_their_part() -> None:
    book = book_of()
    for number in range(CLAIMED_CONTACTS_LEAST):
        book.claim(f"claimed {number}", [place(number)], FAR, "somebody")
    for number in range(MAX_CONTACTS):
        book.learn(Address(f"reached {number}", place(1000 + number)), Standing.REACHED)
    claims = [contact for contact in book if contact.standing is Standing.CLAIMED]
    assert len(claims) == CLAIMED_CONTACTS_LEAST


def test_what_never_answers_goes_first() -> None:
    book = book_of()
    for number in range(MAX_CONTACTS):
        reach(book, f"reached {number}", place(number))
    dead = book.get("reached 7")
    assert dead is not None
    dead.failures = FAILURES_BEFORE_REPLACED
    book.claim("newcomer", [place(3000)], FAR, "somebody")
    assert book.get("reached 7") is None


def test_a_private_address_is_not_believed_from_afar() -> None:
    book = book_of()
    claimed = ["/ip4/192.168.1.50/tcp/22", "/ip4/127.0.0.1/tcp/22", "/ip4/169.254.169.254/tcp/80", "/ip6/::1/tcp/22"]
    assert not book.claim("stranger", claimed, FAR, "far")
    assert book.claim("neighbour", claimed, NEAR, "near")
    assert [a.transport for c in book for a in c.addresses] == [claimed[0], claimed[2]]
    assert book.claim("here", claimed, HERE, "here")


def test_anchors_come_first_then_who_was_named_then_reached_and_claimed_in_turn() -> None:
    book = book_of()
    for number in range(4):
        book.claim(f"claimed {number}", [place(number)], FAR, "somebody")
        reach(book, f"reached {number}", place(50 + number))
    book.learn(Address("named", place(90)), Standing.NAMED)
    book.learn(Address("anchor", place(91)), Standing.ANCHOR)
    order = [peer.split()[0] for peer in peers_to_dial(book)]
    assert order[:2] == ["anchor", "named"]
    assert order[2:] in (["reached", "claimed"] * 4, ["claimed", "reached"] * 4)


def test_of_one_network_few_are_dialled_while_others_are_in_sight() -> None:
    book = book_of()
    for machine in range(1, 7):
        book.claim(f"alike {machine}", [place(1, machine)], FAR, "somebody")
    book.claim("other", [place(2)], FAR, "somebody")
    alike = [peer for peer in peers_to_dial(book) if peer.startswith("alike")]
    assert len(alike) == OUTGOING_OF_A_GROUP
    assert peers_to_dial(book, [group_of(place(1))] * OUTGOING_OF_A_GROUP) == ["other"]


def test_all_that_a_person_named_is_dialled_wherever_it_is() -> None:
    book = book_of()
    for machine in range(1, 7):
        book.learn(Address(f"named {machine}", place(1, machine)), Standing.NAMED)
        book.claim(f"other {machine}", [place(2 + machine)], FAR, "somebody")
    assert len([peer for peer in peers_to_dial(book) if peer.startswith("named")]) == 6


def test_where_all_that_is_known_is_in_one_network_enough_of_it_is_dialled() -> None:
    book = book_of()
    for machine in range(1, 7):
        book.claim(f"alike {machine}", [place(1, machine)], FAR, "somebody")
    assert len(peers_to_dial(book)) == OUTGOING_OF_A_GROUP  # at first
    assert len(peers_to_dial(book, [group_of(place(1))] * OUTGOING_OF_A_GROUP)) == OUTGOING_LEAST - OUTGOING_OF_A_GROUP
    assert (
        peers_to_dial(book, [group_of(place(number)) for number in range(OUTGOING_LEAST)] + [group_of(place(1))]) == []
    )


def test_on_one_machine_and_on_a_local_network_groups_say_nothing() -> None:
    book = book_of()
    for number in range(1, 21):
        book.claim(f"here {number}", [f"/ip4/127.0.0.1/tcp/{number}"], HERE, "here")
        book.claim(f"near {number}", [f"/ip4/192.168.1.{number}/tcp/1"], NEAR, "near")
    assert len(peers_to_dial(book)) == 40


def test_a_third_party_is_dialled_a_few_times_however_often_it_is_named() -> None:
    limits = DialLimits()
    dials = 0
    for second in range(600):
        for port in range(20):
            transport = place(1, port=port + 1)
            if limits.take(transport, float(second)):
                dials += 1
                limits.ended(transport, connected=False)
    assert dials <= DIALS_OF_A_HOST + 600 * DIALS_OF_A_HOST_PER_SECOND


def test_a_third_party_s_network_and_all_together_are_bounded_too() -> None:
    limits = DialLimits()

    def tried(transport: str) -> bool:
        taken = limits.take(transport, 0.0)
        if taken:
            limits.ended(transport, connected=False)
        return taken

    assert sum(tried(place(1, machine)) for machine in range(1, 200)) == DIALS_OF_A_GROUP
    assert sum(tried(place(network)) for network in range(2, 200)) == CLAIMED_DIALS_AT_ONCE - DIALS_OF_A_GROUP


def test_who_is_where_it_says_costs_nothing() -> None:
    limits = DialLimits()
    for port in range(1, 100):
        assert limits.take(place(1, port=port), 0.0)
        limits.ended(place(1, port=port), connected=True)


def test_a_machine_is_dialled_by_one_at_a_time() -> None:
    limits = DialLimits()
    assert limits.take(place(1, port=1), 0.0)
    assert not limits.take(place(1, port=2), 0.0)
    assert limits.take("/ip4/127.0.0.1/tcp/1", 0.0)
    assert limits.take("/ip4/127.0.0.1/tcp/2", 0.0)  # a swarm on one machine

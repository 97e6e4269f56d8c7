"""Presences of free keys push each other out, not those of peers that this node knows, and few of them go on."""

from __future__ import annotations

import random

from node.network import gossip, presences
from node.network.parameters import (
    GREETINGS_PER_SECOND,
    PRESENCE_SECONDS,
    PRESENCE_SOONEST_SECONDS,
    PRESENCES_KEPT,
    PRESENCES_OF_A_FORWARDER,
    PRESENCES_OF_A_STRANGER,
    PRESENCES_PER_SECOND,
)
from node.network.presences import Forwarder, Presences
from protocol.messages import Presence

HELLO = Presence("cpu", 0, 0, ())
STRANGER = Forwarder("/ip4/66.6.0.6/tcp/1", "66.6.0.0/16", known=False)
FRIEND = Forwarder("/ip4/11.1.0.1/tcp/1", "11.1.0.0/16", known=True)


def heard() -> Presences:
    return Presences(random.Random(1))


def say(
    to: Presences, peer: str, by: Forwarder = STRANGER, now: float = 0.0, known: bool = False, connected: bool = False
) -> bool:
    return to.take(peer, HELLO, by, now, 0, known=known, connected=connected)


def test_a_presence_is_remembered_until_its_peer_has_missed_several() -> None:
    there = heard()
    assert say(there, "a", now=10.0)
    assert there.of("a", 10.0 + there.stale_seconds(0), 0) == HELLO
    assert there.of("a", 11.0 + there.stale_seconds(0), 0) is None
    assert there.of("b", 10.0, 0) is None


def test_who_says_it_again_at_once_is_not_passed_on() -> None:
    there = heard()
    assert say(there, "a", known=True)
    assert not say(there, "a", known=True, now=PRESENCE_SOONEST_SECONDS / 4)
    assert say(there, "a", known=True, now=PRESENCE_SOONEST_SECONDS)


def test_a_stranger_can_bring_few_that_nobody_knows() -> None:
    there = heard()
    taken = sum(say(there, f"key {number}", now=number / 100) for number in range(2000))
    assert PRESENCES_OF_A_STRANGER <= taken < PRESENCES_OF_A_STRANGER + 20
    assert say(there, "a friend's friend", FRIEND, now=20.0)
    assert say(there, "somebody known", STRANGER, now=20.0, known=True)


def test_more_keys_of_one_network_bring_no_more() -> None:
    there = heard()
    others = [Forwarder(f"/ip4/66.6.0.{number}/tcp/1", "66.6.0.0/16", known=False) for number in range(60)]
    taken = sum(say(there, f"key {number}", others[number % 60]) for number in range(2000))
    assert taken == PRESENCES_OF_A_STRANGER


def test_the_same_keys_again_and_again_count_as_well() -> None:
    there = heard()
    taken = sum(say(there, f"key {number % 50}", now=float(number // 50) * 2) for number in range(1000))
    assert taken < PRESENCES_OF_A_STRANGER + 40


def test_a_flood_pushes_itself_out_and_nobody_known_or_connected() -> None:
    there = heard()
    for number in range(100):
        say(there, f"known {number}", FRIEND, known=True)
        say(there, f"connected {number}", FRIEND, connected=True)
        say(there, f"heard of {number}", Forwarder("", f"other {number % 10}", known=True))
    bringers = [Forwarder("", f"crowd {number}", known=True) for number in range(4)]
    for number in range(4 * int(PRESENCES_OF_A_FORWARDER)):
        say(there, f"key {number}", bringers[number % 4])
    assert there.swarm_size(0) == PRESENCES_KEPT
    left = [name for name in ("known", "connected", "heard of") for n in range(100) if there.of(f"{name} {n}", 1.0, 0)]
    assert len(left) == 300


def test_where_all_are_known_the_oldest_goes() -> None:
    there = heard()
    for number in range(PRESENCES_KEPT + 1):
        say(there, str(number), FRIEND, known=True)
    assert there.of("0", 0.0, 0) is None
    assert there.of(str(PRESENCES_KEPT), 0.0, 0)


def test_presence_takes_no_more_of_everybodys_time_in_a_larger_swarm() -> None:
    assert presences.presence_seconds(0) == presences.presence_seconds(10) == PRESENCE_SECONDS
    assert 1000 / presences.presence_seconds(1000) == PRESENCES_PER_SECOND
    assert gossip.greeting_seconds(4) == PRESENCE_SOONEST_SECONDS
    assert 1000 / gossip.greeting_seconds(1000) == GREETINGS_PER_SECOND
    assert presences.estimated_swarm_size(5, 9000) == 5  # most feeds here are of authors who have left
    assert presences.estimated_swarm_size(PRESENCES_KEPT, 9000) == 9000  # more than can be kept of have been heard

"""What sync brings is offered on when gossip does not bring it: much of it soon, a little later, and once."""

from __future__ import annotations

from protocol.rebroadcast import LATE_SECONDS, MANY, MOST_KEPT, SOON_SECONDS, Offers


def after(number: int, now: float = 0.0) -> Offers:
    offers = Offers()
    for n in range(number):
        offers.brought(b"%d" % n, now)
    return offers


def test_nothing_is_offered_when_nothing_came() -> None:
    assert Offers().due() is None
    assert not Offers().take(1e9)


def test_a_history_is_offered_soon_and_once() -> None:
    offers = after(MANY)
    assert offers.due() == SOON_SECONDS
    assert not offers.take(SOON_SECONDS - 0.1)
    assert offers.take(SOON_SECONDS)
    assert not offers.take(1e9)


def test_a_few_records_are_left_to_gossip_for_a_while() -> None:
    offers = after(MANY - 1)
    assert offers.due() == LATE_SECONDS
    assert not offers.take(LATE_SECONDS - 1)
    assert offers.take(LATE_SECONDS)


def test_one_record_that_would_not_have_waited_is_offered_soon() -> None:
    offers = after(2)
    offers.brought(b"a discovery", 1.0, urgent=True)
    assert offers.due() == 1.0 + SOON_SECONDS
    offers.heard(b"a discovery")
    assert offers.due() == LATE_SECONDS


def test_what_gossip_brings_as_well_is_never_offered() -> None:
    offers = after(MANY)
    for n in range(MANY):
        offers.heard(b"%d" % n)
    offers.heard(b"never brought")
    assert offers.due() is None


def test_it_keeps_a_bounded_number_in_mind() -> None:
    offers = after(MOST_KEPT + 100)
    for n in range(100, MOST_KEPT + 100):
        offers.heard(b"%d" % n)
    assert offers.due() is None

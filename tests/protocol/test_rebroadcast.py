"""What sync brings is rebroadcast when gossip does not deliver it: a lot of it soon, a little later, and once."""

from __future__ import annotations

from protocol.rebroadcast import LATE_SECONDS, MANY_RECORDS, MAX_PENDING, SOON_SECONDS, Rebroadcast


def after(number: int, now: float = 0.0) -> Rebroadcast:
    rebroadcast = Rebroadcast()
    for n in range(number):
        rebroadcast.synced(b"%d" % n, now)
    return rebroadcast


def test_nothing_is_rebroadcast_when_nothing_came() -> None:
    assert Rebroadcast().due() is None
    assert not Rebroadcast().take(1e9)


def test_a_history_is_rebroadcast_soon_and_once() -> None:
    rebroadcast = after(MANY_RECORDS)
    assert rebroadcast.due() == SOON_SECONDS
    assert not rebroadcast.take(SOON_SECONDS - 0.1)
    assert rebroadcast.take(SOON_SECONDS)
    assert not rebroadcast.take(1e9)


def test_a_few_records_are_left_to_gossip_for_a_while() -> None:
    rebroadcast = after(MANY_RECORDS - 1)
    assert rebroadcast.due() == LATE_SECONDS
    assert not rebroadcast.take(LATE_SECONDS - 1)
    assert rebroadcast.take(LATE_SECONDS)


def test_one_record_that_gossip_does_not_hold_back_is_rebroadcast_soon() -> None:
    rebroadcast = after(2)
    rebroadcast.synced(b"a discovery", 1.0, urgent=True)
    assert rebroadcast.due() == 1.0 + SOON_SECONDS
    rebroadcast.gossiped(b"a discovery")
    assert rebroadcast.due() == LATE_SECONDS


def test_what_gossip_delivers_too_is_never_rebroadcast() -> None:
    rebroadcast = after(MANY_RECORDS)
    for n in range(MANY_RECORDS):
        rebroadcast.gossiped(b"%d" % n)
    rebroadcast.gossiped(b"never synced")
    assert rebroadcast.due() is None


def test_it_remembers_a_bounded_number() -> None:
    rebroadcast = after(MAX_PENDING + 100)
    for n in range(100, MAX_PENDING + 100):
        rebroadcast.gossiped(b"%d" % n)
    assert rebroadcast.due() is None

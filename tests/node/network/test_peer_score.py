"""A peer that misbehaves fills neither the log nor the memory, and is shut out for a while when it keeps at it."""

from __future__ import annotations

import trio

from node.network.peer_score import (
    LOGGED_EVERY,
    LOGGED_FIRST,
    OFFENCES_ALLOWED,
    PEERS_REMEMBERED,
    REASONS_PER_PEER,
    SHUT_OUT_SECONDS,
    Conduct,
)
from tests.node.network.conftest import Log


async def test_the_first_refusals_are_logged_and_then_a_count() -> None:
    log = Log()
    conduct = Conduct(log, lambda _: None)
    for _ in range(3 * LOGGED_EVERY):
        conduct.refuse("peer", "message", "garbage", offence=False)
    conduct.refuse("peer", "message", "something else", offence=False)
    lines = log.of("refused message", reason="garbage")
    assert [line.get("count") for line in lines] == [None] * LOGGED_FIRST + [100, 200, 300]
    assert log.of("refused message", reason="something else")


async def test_a_peer_that_invents_reasons_cannot_fill_the_log() -> None:
    log = Log()
    conduct = Conduct(log, lambda _: None)
    for number in range(1000):
        conduct.refuse("peer", "message", f"reason {number}", offence=False)
    assert len(log.lines) < REASONS_PER_PEER + LOGGED_FIRST + 1000 / LOGGED_EVERY + 1


async def test_too_many_offences_within_a_minute_shut_a_peer_out(autojump_clock: trio.testing.MockClock) -> None:
    cut: list[str] = []
    conduct = Conduct(Log(), cut.append)
    for _ in range(OFFENCES_ALLOWED - 1):
        conduct.refuse("peer", "record", "garbage")
        conduct.refuse("unlucky", "record", "over a limit", offence=False)
    assert not conduct.shut_out("peer")
    conduct.refuse("peer", "record", "garbage")
    conduct.refuse("unlucky", "record", "over a limit", offence=False)
    assert conduct.shut_out("peer")
    assert not conduct.shut_out("unlucky")
    assert cut == ["peer"]
    await trio.sleep(SHUT_OUT_SECONDS + 1)
    assert not conduct.shut_out("peer")


async def test_offences_far_apart_are_forgiven(autojump_clock: trio.testing.MockClock) -> None:
    conduct = Conduct(Log(), lambda _: None)
    for _ in range(3 * OFFENCES_ALLOWED):
        conduct.refuse("peer", "record", "garbage")
        await trio.sleep(5)
    assert not conduct.shut_out("peer")


async def test_only_so_many_peers_are_remembered() -> None:
    conduct = Conduct(Log(), lambda _: None)
    for number in range(PEERS_REMEMBERED + 100):
        conduct.refuse(f"peer {number}", "stream", "garbage")
    assert len(conduct._pasts) == PEERS_REMEMBERED

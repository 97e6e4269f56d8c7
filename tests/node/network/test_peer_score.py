"""A peer that misbehaves fills neither the log nor the memory, and is banned for a while when it keeps at it."""

from __future__ import annotations

import trio

from node.network.parameters import (
    BAN_SECONDS,
    LOGGED_EVERY,
    LOGGED_FIRST,
    OFFENCES_ALLOWED,
    PEERS_REMEMBERED,
    REASONS_PER_PEER,
)
from node.network.peer_score import PeerScore
from tests.node.network.conftest import Log


async def test_the_first_refusals_are_logged_and_then_a_count() -> None:
    log = Log()
    peer_score = PeerScore(log, lambda _: None)
    for _ in range(3 * LOGGED_EVERY):
        peer_score.note_refusal("peer", "message", "garbage", offence=False)
    peer_score.note_refusal("peer", "message", "something else", offence=False)
    lines = log.of("refused message", reason="garbage")
    assert [line.get("count") for line in lines] == [None] * LOGGED_FIRST + [100, 200, 300]
    assert log.of("refused message", reason="something else")


async def test_a_peer_that_invents_reasons_cannot_fill_the_log() -> None:
    log = Log()
    peer_score = PeerScore(log, lambda _: None)
    for number in range(1000):
        peer_score.note_refusal("peer", "message", f"reason {number}", offence=False)
    assert len(log.lines) < REASONS_PER_PEER + LOGGED_FIRST + 1000 / LOGGED_EVERY + 1


async def test_too_many_offences_within_a_minute_ban_a_peer(autojump_clock: trio.testing.MockClock) -> None:
    cut: list[str] = []
    peer_score = PeerScore(Log(), cut.append)
    for _ in range(OFFENCES_ALLOWED - 1):
        peer_score.note_refusal("peer", "record", "garbage")
        peer_score.note_refusal("unlucky", "record", "over a limit", offence=False)
    assert not peer_score.is_banned("peer")
    peer_score.note_refusal("peer", "record", "garbage")
    peer_score.note_refusal("unlucky", "record", "over a limit", offence=False)
    assert peer_score.is_banned("peer")
    assert not peer_score.is_banned("unlucky")
    assert cut == ["peer"]
    await trio.sleep(BAN_SECONDS + 1)
    assert not peer_score.is_banned("peer")


async def test_offences_far_apart_are_forgiven(autojump_clock: trio.testing.MockClock) -> None:
    peer_score = PeerScore(Log(), lambda _: None)
    for _ in range(3 * OFFENCES_ALLOWED):
        peer_score.note_refusal("peer", "record", "garbage")
        await trio.sleep(5)
    assert not peer_score.is_banned("peer")


async def test_only_so_many_peers_are_remembered() -> None:
    peer_score = PeerScore(Log(), lambda _: None)
    for number in range(PEERS_REMEMBERED + 100):
        peer_score.note_refusal(f"peer {number}", "stream", "garbage")
    assert len(peer_score._histories) == PEERS_REMEMBERED

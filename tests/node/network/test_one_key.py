"""A key is one node's: what was lost comes back from peers, and two nodes that share a key are noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.ledger.signing import Signing
from node.network import anti_entropy, host, swarm
from tests.node.network.conftest import Start, until


async def test_a_node_whose_ledger_was_lost_takes_its_records_back_and_goes_on(start: Start, tmp_path: Path) -> None:
    async with start("b") as b:
        async with start("a", [b.address]) as a:
            records = [a.write(f"number {number}") for number in range(3)]
            await until(lambda: b.ledger.count() == 3)
        (tmp_path / "a" / "ledger.sqlite").unlink()
        async with start("a", [b.address], allow=frozenset({b.identity.peer_id})) as again:
            assert again.ledger.signing is Signing.BEHIND
            await until(lambda: again.ledger.signing is Signing.READY)
            assert again.write("goes on").prev == records[-1].id


async def test_a_node_that_hears_its_own_key_sign_elsewhere_signs_nothing_more(start: Start) -> None:
    async with start("b") as b, start("a", [b.address]) as a:
        await until(lambda: b.peer_ids())
        a.write("by the one")
        await until(lambda: b.ledger.count() == 1)
        async with start("a", [b.address], home="copy") as copy:
            await until(lambda: copy.ledger.signing is Signing.FOREIGN)


async def test_two_records_with_one_number_are_told_to_both(start: Start) -> None:
    async with start("b") as b:
        async with start("a", home="copy") as copy:
            copy.write("by the copy")
        async with start("a", [b.address]) as a:
            a.write("by the one")
            await until(lambda: b.ledger.count() == 1)
        async with start("a", [b.address], home="copy") as copy:
            await until(lambda: b.log.of("fork found"))
            await until(lambda: copy.ledger.signing is Signing.FORKED)
        async with start("a", [b.address]) as a:
            await until(lambda: a.ledger.signing is Signing.FORKED)


async def test_a_peer_of_two_nodes_with_one_key_tells_of_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anti_entropy, "SYNC_EVERY_SECONDS", 0.3)
    monkeypatch.setattr(anti_entropy, "SYNC_SOONEST_SECONDS", 0.1)
    monkeypatch.setattr(host, "TWIN_SECONDS", 0.3)
    monkeypatch.setattr(swarm, "NETWORK_CHECK_SECONDS", 0.2)
    async with start("b") as b, start("a", [b.address]) as a, start("c", [b.address]) as c:
        await until(lambda: len(b.peer_ids()) == 2)
        async with start("a", [b.address], home="copy"):
            await until(lambda: b.log.of("one key twice"), 10)
        assert len(b.log.of("one key twice")) == 1
        assert not a.log.of("one key twice")
        assert not c.log.of("one key twice")

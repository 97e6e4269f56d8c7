"""Content travels by its id, and a newcomer gets a whole objective before it has a ledger."""

from __future__ import annotations

import hashlib
import os

import pytest
import trio

from node.network import fetch_objective, objective_fetch
from node.network.parameters import NEXT_PEER_SECONDS
from protocol.identity import Identity
from protocol.messages import BLOB_PROTOCOL, BlobChunk, BlobRequest, decode_message, encode_message
from protocol.objective import FileEntry, Invite, Manifest, encode_manifest, objective_id
from tests.node.network.conftest import Start, until
from tests.node.network.stranger import stranger_on


async def test_content_comes_from_whoever_has_it(start: Start) -> None:
    source, large = b"source" * 100, os.urandom(3_000_000)
    async with start("a") as a, start("b", [a.address]) as b, start("c", [b.address]) as c:
        await until(lambda: len(b.peer_ids()) == 2 and c.peer_ids())
        for content in (source, large, b""):
            blob = a.ledger.put_blob(content)
            assert await b.network.fetch_blob(blob, max_bytes=4_000_000) == content
            assert await b.network.fetch_blob(blob, [a.identity.peer_id], max_bytes=4_000_000) == content
            assert await c.network.fetch_blob(blob, max_bytes=4_000_000) is None  # a is not among c's peers


async def test_content_nobody_has_or_that_is_too_large_is_none(start: Start) -> None:
    async with start("a") as a, start("b", [a.address]) as b:
        await until(lambda: b.peer_ids())
        assert await b.network.fetch_blob(bytes(32), max_bytes=1000) is None
        blob = a.ledger.put_blob(bytes(1001))
        assert await b.network.fetch_blob(blob, max_bytes=1000) is None
    assert not b.log.of("refused stream")


async def test_content_that_is_not_what_its_id_says_is_refused(start: Start) -> None:
    wanted = b"the right content"
    async with start("a") as a, start("b", [a.address]) as b, stranger_on(b.address) as liar:

        async def lie(stream: object) -> None:
            await liar.receive(stream)
            await liar.send(stream, encode_message(BlobChunk(5, 0, b"wrong")))

        liar.host.answer(BLOB_PROTOCOL, lie)
        await until(lambda: len(b.peer_ids()) == 2)
        blob = a.ledger.put_blob(wanted)
        assert await b.network.fetch_blob(blob, [liar.host.peer_id], max_bytes=100) is None
        assert await b.network.fetch_blob(blob, max_bytes=100) == wanted
        assert "not what its id says" in b.log.reasons("refused stream")


async def test_a_peer_that_does_not_answer_holds_nobody_up(start: Start) -> None:
    async with start("a") as a, start("b", [a.address]) as b, stranger_on(b.address) as silent:

        async def nothing(stream: object) -> None:
            await trio.sleep_forever()

        silent.host.answer(BLOB_PROTOCOL, nothing)
        await until(lambda: len(b.peer_ids()) == 2)
        blob = a.ledger.put_blob(b"content")
        with trio.fail_after(2 * NEXT_PEER_SECONDS):
            assert await b.network.fetch_blob(blob, max_bytes=100) == b"content"


async def test_chunks_can_be_asked_for_from_any_byte_on(start: Start) -> None:
    async with start("a") as a, stranger_on(a.address) as client:
        content = os.urandom(1000)
        blob = a.ledger.put_blob(content)
        stream = await client.open(BLOB_PROTOCOL)
        await client.send(stream, encode_message(BlobRequest(blob, 990)))
        assert decode_message(await client.receive(stream)) == BlobChunk(1000, 990, content[990:])


async def test_a_newcomer_gets_the_objective_by_the_invite(start: Start) -> None:
    files = {"train.py": b"train", "ideas/a.toml": b"idea" * 300_000, "empty": b"", "copy": b"train"}
    entries = tuple(FileEntry(path, hashlib.sha256(data).digest(), len(data)) for path, data in files.items())
    manifest = encode_manifest(Manifest("tiny", entries, ()))
    async with start("a") as a:
        for content in (manifest, *files.values()):
            a.ledger.put_blob(content)
        dead = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.from_seed(os.urandom(32)).peer_id}"
        seen: list[tuple[int, int]] = []
        invite = Invite(objective_id(manifest), (dead, a.address))
        unreached = pytest.fail  # one of the two is enough
        fetched = await fetch_objective(
            Identity.from_seed(os.urandom(32)), invite, lambda done, of: seen.append((done, of)), unreached
        )
        assert fetched == (manifest, files, a.identity.peer_id)
        assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


async def test_no_objective_comes_from_peers_that_lack_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective_fetch, "JOIN_ROUNDS", 1)
    async with start("a") as a:
        assert (
            await fetch_objective(
                Identity.from_seed(os.urandom(32)), Invite(bytes(32), (a.address,)), lambda *_: None, pytest.fail
            )
            is None
        )


async def test_a_transfer_given_up_in_the_middle_leaves_the_connection_whole(start: Start) -> None:
    async with start("a") as a, start("b", [a.address]) as b:
        await until(lambda: b.peer_ids() and a.peer_ids())
        blob = a.ledger.put_blob(os.urandom(3_000_000))
        for number in range(20):
            with trio.move_on_after(0.002 * number):
                await b.network.fetch_blob(blob, max_bytes=4_000_000)
        assert await b.network.fetch_blob(blob, max_bytes=4_000_000)
        assert not a.log.of("peer lost")
        assert not b.log.of("peer lost")

"""Large content comes from all who have it, survives the death of any of them and of this node, and no lie gets in."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from node.network import frames
from node.network.content import download
from protocol.codec import encode
from protocol.messages import (
    BLOB_PROTOCOL,
    MAX_CHUNK,
    BlobChunk,
    BlobMissing,
    BlobRequest,
    OutlineRequest,
    decode_message,
    encode_message,
)
from protocol.outline import PIECE_BYTES, Outline, outline_of, pack_pieces
from tests.node.network.conftest import Node, Start, until
from tests.node.network.stranger import Stranger, stranger_on

CONTENT = random.Random(1).randbytes(5 * PIECE_BYTES + 1000)
ID = hashlib.sha256(CONTENT).digest()


def pieces_of(content: bytes) -> list[bytes]:
    return [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)]


TRUTH = outline_of(pieces_of(CONTENT))


def have(node: Node, folder: Path, content: bytes = CONTENT) -> None:
    """Let a node have content in a file."""
    path = folder / f"{node.name}.data"
    path.write_bytes(content)
    content_id = hashlib.sha256(content).digest()
    node.files.refer_to({content_id: len(content)})
    node.files.offer(content_id, path)


async def fetch(node: Node, size: int = len(CONTENT), content_id: bytes = ID) -> list[int]:
    """Have a node fetch it and see that it is whole; the bytes that were here at each step."""
    steps: list[int] = []
    node.files.refer_to({content_id: size})
    assert await node.network.fetch_file(content_id, lambda here, of: steps.append(here)) == ""
    assert node.files.read(content_id, 0, size) == (CONTENT if content_id == ID else b"small" * 10)
    assert steps[-1] == size
    return steps


async def fetch_while(node: Node, happening: Callable[[int], None]) -> str:
    """Have a node fetch it, calling `happening` with the bytes here at each step."""
    node.files.refer_to({ID: len(CONTENT)})
    return await node.network.fetch_file(ID, lambda here, of: happening(here))


class Lender:
    """A stranger that serves the content as a test wants it served, and counts."""

    def __init__(
        self,
        stranger: Stranger,
        outline: Outline | None = TRUTH,
        chunk: Callable[[int], bytes] = lambda offset: CONTENT[offset : offset + MAX_CHUNK],
        before_chunk: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self.stranger, self.outline, self.chunk, self.before_chunk = stranger, outline, chunk, before_chunk
        self.sent = 0
        stranger.host.answer(BLOB_PROTOCOL, self.serve)

    async def serve(self, stream: Any) -> None:
        while True:
            try:
                request = decode_message(await self.stranger.receive(stream))
                match request:
                    case OutlineRequest(wanted):
                        answer = encode_message(BlobMissing(wanted))
                        if self.outline:
                            told = {"total": self.outline.total, "pieces": pack_pieces(self.outline)}
                            answer = encode({"t": "outline", "id": wanted, **told})
                        await self.stranger.send(stream, answer)
                    case BlobRequest(_, offset):
                        await self.before_chunk()
                        data = self.chunk(offset)
                        await self.stranger.send(stream, encode_message(BlobChunk(len(CONTENT), offset, data)))
                        self.sent += len(data)
            except Exception:
                return


# ---- among honest peers ----------------------------------------------------------------------------------------------


async def test_content_in_files_comes_whole_and_is_offered_on(start: Start, tmp_path: Path) -> None:
    async with start("a") as a, start("b", [a.address]) as b, start("c", [b.address]) as c:
        await until(lambda: b.network.peers() and c.network.peers())
        have(a, tmp_path)
        await fetch(b)
        await fetch(c)


@pytest.mark.parametrize("content", [b"", b"small" * 10])
async def test_small_content_needs_no_outline(start: Start, tmp_path: Path, content: bytes) -> None:
    async with start("a") as a, start("b", [a.address]) as b:
        await until(lambda: b.network.peers())
        have(a, tmp_path, content)
        content_id = hashlib.sha256(content).digest()
        b.files.refer_to({content_id: len(content)})
        assert await b.network.fetch_file(content_id, lambda *_: None) == ""
        assert b.files.read(content_id, 0, 100) == content


async def test_pieces_come_from_several_peers_at_once(start: Start, tmp_path: Path) -> None:
    async with start("b") as b, AsyncExitStack() as stack:
        lenders = [Lender(await stack.enter_async_context(stranger_on(b.address))) for _ in range(3)]
        await until(lambda: len(b.network.peers()) == 3)
        await fetch(b)
        assert all(lender.sent for lender in lenders)
        assert not b.log.of("refused stream")


async def test_the_death_of_a_sender_in_the_middle_costs_nothing(start: Start, tmp_path: Path) -> None:
    async with start("a") as a, start("b", [a.address]) as b, AsyncExitStack() as stack:
        mortal = Lender(await stack.enter_async_context(stranger_on(b.address)))
        await until(lambda: len(b.network.peers()) == 2)
        have(a, tmp_path)

        async def die() -> None:
            if mortal.sent > MAX_CHUNK:
                await mortal.stranger.host.disconnect(b.identity.peer_id)

        mortal.before_chunk = die
        await fetch(b)


async def test_a_node_that_was_stopped_goes_on_where_it_was(start: Start, tmp_path: Path) -> None:
    async with start("a") as a:
        have(a, tmp_path)
        for again in (False, True):
            async with start("b", [a.address]) as b:
                await until(lambda: b.network.peers())
                if again:
                    steps = await fetch(b)
                    assert steps[0] >= 2 * PIECE_BYTES
                    continue
                with trio.CancelScope() as scope:
                    await fetch_while(b, lambda here: scope.cancel() if here >= 2 * PIECE_BYTES else None)
                assert scope.cancelled_caught


async def test_a_peer_that_comes_later_is_asked_too(start: Start, tmp_path: Path) -> None:
    async with start("b") as b, trio.open_nursery() as nursery:
        nursery.start_soon(fetch, b)
        async with start("a", [b.address]) as a:
            have(a, tmp_path)
            await until(lambda: b.files.size(ID), 20)


async def test_content_that_nothing_refers_to_is_not_fetched(start: Start, tmp_path: Path) -> None:
    async with start("a") as a, start("b", [a.address]) as b:
        await until(lambda: b.network.peers())
        have(a, tmp_path)
        assert "refers" in await b.network.fetch_file(ID, lambda *_: None)


async def test_content_nobody_delivers_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALLED_SECONDS", 0.5)
    async with start("a") as a, start("b", [a.address]) as b:
        await until(lambda: b.network.peers())
        assert "no peer has delivered" in await fetch_while(b, lambda _: None)


async def test_a_file_that_has_gone_or_changed_harms_nobody(start: Start, tmp_path: Path) -> None:
    async with start("a") as a, start("b", [a.address]) as b, AsyncExitStack() as stack:
        Lender(await stack.enter_async_context(stranger_on(b.address)))
        await until(lambda: len(b.network.peers()) == 2)
        have(a, tmp_path)
        (tmp_path / "a.data").unlink()
        await fetch(b)
        assert a.log.of("content not readable")
        assert not b.log.of("refused stream")


# ---- among liars -----------------------------------------------------------------------------------------------------


def lie(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


async def test_a_wrong_piece_is_its_sender_s_loss(start: Start, tmp_path: Path) -> None:
    async with start("a") as a, start("b", [a.address]) as b, stranger_on(b.address) as stranger:
        liar = Lender(stranger, chunk=lambda offset: lie(CONTENT[offset : offset + MAX_CHUNK], 7))
        await until(lambda: len(b.network.peers()) == 2)
        have(a, tmp_path)
        await fetch(b)
        assert "not what its sender's outline says" in b.log.reasons("refused stream")
        assert liar.sent <= download.PIECES_AHEAD * PIECE_BYTES + MAX_CHUNK


async def test_a_wrong_outline_is_exposed_by_the_whole_and_costs_it_once(start: Start, tmp_path: Path) -> None:
    false = lie(CONTENT, 2 * PIECE_BYTES + 7)
    async with start("b") as b, AsyncExitStack() as stack:
        liars = [
            Lender(
                await stack.enter_async_context(stranger_on(b.address)),
                outline_of(pieces_of(false)),
                lambda offset: false[offset : offset + MAX_CHUNK],
            )
            for _ in range(2)
        ]
        await until(lambda: len(b.network.peers()) == 2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, b)
            await until(lambda: "an outline of other content" in b.log.reasons("refused stream"), 20)
            async with start("a", [b.address]) as a:
                have(a, tmp_path)
                await until(lambda: b.files.size(ID), 20)
        assert len(b.log.of("refused stream")) == 2
        assert sum(liar.sent for liar in liars) <= 2 * len(CONTENT)


async def test_a_liar_that_leaves_and_comes_back_cannot_tell_the_same_lie_again(start: Start) -> None:
    false = lie(CONTENT, 7)
    async with start("b") as b, trio.open_nursery() as nursery:
        b.files.refer_to({ID: len(CONTENT)})
        nursery.start_soon(b.network.fetch_file, ID, lambda here, of: None)
        sent = []
        for _ in range(2):
            async with stranger_on(b.address) as stranger:
                liar = Lender(stranger, outline_of(pieces_of(false)), lambda at: false[at : at + MAX_CHUNK])
                refused = len(b.log.of("refused stream"))
                await until(lambda: len(b.log.of("refused stream")) > refused, 20)  # noqa: B023
                sent.append(liar.sent)
        assert sent == [len(CONTENT), 0]
        nursery.cancel_scope.cancel()


async def test_the_outline_of_more_peers_is_followed_first(start: Start, tmp_path: Path) -> None:
    false = outline_of(pieces_of(lie(CONTENT, 7)))
    async with start("b") as b, AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(stranger_on(b.address)) for _ in range(3)]
        liar, *honest = [Lender(stranger) for stranger in strangers]
        liar.outline = false
        for lender in honest:
            lender.before_chunk = lambda: trio.sleep(0.05)
        await until(lambda: len(b.network.peers()) == 3)
        await fetch(b)


async def test_liars_with_an_outline_they_do_not_serve_only_take_turns(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "OUTLINE_TURN_SECONDS", 0.5)
    async with start("b") as b, AsyncExitStack() as stack:
        false = outline_of(pieces_of(lie(CONTENT, 7)))
        Lender(await stack.enter_async_context(stranger_on(b.address)), false, before_chunk=trio.sleep_forever)
        await until(lambda: b.network.peers())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, b)
            async with start("a", [b.address]) as a:
                have(a, tmp_path)
                await until(lambda: b.files.size(ID), 20)


@pytest.mark.parametrize(
    ("outline", "said"),
    [
        (outline_of(pieces_of(CONTENT + b"more")), "other content than its id"),
        (Outline(2**54, ()), "Expected `int` <= 17179869184 - at `$.total`"),
        (Outline(len(CONTENT), TRUTH.pieces[:-1]), "more or fewer pieces"),
    ],
)
async def test_an_impossible_outline_is_refused_at_once(
    start: Start, tmp_path: Path, outline: Outline, said: str
) -> None:
    async with start("a") as a, start("b", [a.address]) as b, stranger_on(b.address) as stranger:
        liar = Lender(stranger, outline)
        await until(lambda: len(b.network.peers()) == 2)
        have(a, tmp_path)
        await fetch(b)
        await until(lambda: said in b.log.reasons("refused stream"))
        assert not liar.sent


async def test_chunks_out_of_place_are_refused(start: Start, tmp_path: Path) -> None:
    async with start("a") as a, start("b", [a.address]) as b, AsyncExitStack() as stack:
        for chunk in (lambda offset: b"", lambda offset: b"short", lambda offset: bytes(MAX_CHUNK + 1)):
            Lender(await stack.enter_async_context(stranger_on(b.address)), chunk=chunk)
        await until(lambda: len(b.network.peers()) == 4)
        have(a, tmp_path)
        await fetch(b)
        assert "another blob request" in b.log.reasons("refused stream")
        assert not b.log.of("session failed")


async def test_a_peer_that_stalls_is_put_aside(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME_SECONDS", 1.0)
    async with start("b") as b, AsyncExitStack() as stack:
        stalling = Lender(await stack.enter_async_context(stranger_on(b.address)), before_chunk=trio.sleep_forever)
        Lender(await stack.enter_async_context(stranger_on(b.address)))
        await until(lambda: len(b.network.peers()) == 2)
        await fetch(b)
        assert not stalling.sent


async def test_a_peer_that_sends_without_end_is_cut_off(start: Start, tmp_path: Path) -> None:
    async with start("a") as a, start("b", [a.address]) as b, stranger_on(b.address) as stranger:

        async def pour(stream: Any) -> None:
            while True:
                await stream.write(bytes(60_000))

        stranger.host.answer(BLOB_PROTOCOL, pour)
        await until(lambda: len(b.network.peers()) == 2)
        have(a, tmp_path)
        await fetch(b)
        assert "empty frame" in b.log.reasons("refused stream")

"""Blobs: content by its id, both ends of the stream. Small content in memory, large content in files.

It knows which peers are asked, for how long, and what peers may be given; how large content is put together from
several peers is in download.py. Content is checked against its id before anything here uses it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from node.ledger.files import BlobFiles
from node.network.content.download import Download, Progress
from node.network.frames import FramedStream, StreamEndedError
from node.network.host import Host
from node.network.parameters import (
    BLOB_REQUEST_BYTES,
    BLOBS_IN_ALL,
    BLOBS_PER_PEER,
    FETCH_SECONDS,
    LIARS_REMEMBERED,
    NEXT_PEER_SECONDS,
    SLOW_PEER_SECONDS,
)
from node.network.peer_score import PeerScore
from node.network.sessions import Sessions
from node.network.store import RecordStore
from node.platform.concurrency import in_thread
from node.platform.log import Log, short_id
from protocol.codec import MalformedError
from protocol.messages import (
    BLOB_PROTOCOL,
    MAX_CHUNK,
    MAX_FRAME,
    BlobChunk,
    BlobMissing,
    BlobOutline,
    BlobRequest,
    OutlineRequest,
)
from protocol.outline import PIECE_BYTES, outline_of


@dataclass(frozen=True)
class _Part:
    """A part of content in memory, from which several chunks in a row are served."""

    blob_id: bytes
    total: int
    begin: int
    data: bytes

    def has(self, blob_id: bytes, offset: int) -> bool:
        """Whether the chunk of this content at this offset begins here, or its end is here and meant."""
        end = self.begin + len(self.data)
        return blob_id == self.blob_id and (self.begin <= offset < end or offset == end == self.total)

    def chunk(self, offset: int) -> BlobChunk:
        at = offset - self.begin
        return BlobChunk(self.total, offset, self.data[at : at + MAX_CHUNK])


class Blobs:
    """Serves content from `store` and `files`, and fetches it from the peers of `host`."""

    def __init__(
        self,
        host: Host,
        sessions: Sessions,
        store: RecordStore,
        files: BlobFiles | None,
        peer_score: PeerScore,
        log: Log,
    ) -> None:
        self._host = host
        self._sessions = sessions
        self._store = store
        self._files = files
        self._peer_score = peer_score
        self._log = log
        self._liars: dict[str, None] = {}
        self._slow_until: dict[str, float] = {}  # by peer that lately did not answer in time
        self._asking: dict[str, trio.CapacityLimiter] = {}  # by peer, the sessions opened with it to fetch something
        self._outlining = trio.Lock()
        sessions.answer(BLOB_PROTOCOL, "blob", BLOBS_PER_PEER, BLOBS_IN_ALL, lambda stream, _: self._serve(stream))

    # ---- fetching ----------------------------------------------------------------------------------------------------

    async def fetch(
        self, blob_id: bytes, from_peers: Sequence[str] | None = None, *, first: str = "", max_bytes: int
    ) -> bytes | None:
        """Content by its sha256, from the first connected peer that delivers it; None when none does.

        A peer that is slow is not waited for: after NEXT_PEER_SECONDS the next is asked as well, while it goes on; and
        for a while it is asked last. first: the peer to ask before all others, if it is one of them.
        """
        peers = list(from_peers) if from_peers is not None else self._host.peers()
        random.shuffle(peers)
        now = trio.current_time()
        peers.sort(key=lambda peer: (self._slow_until.get(peer, now) > now, peer != first))
        found: list[bytes] = []
        with trio.move_on_after(FETCH_SECONDS):
            async with trio.open_nursery() as nursery:

                async def ask(peer: str, over: trio.Event) -> None:
                    content = await self._fetch_from(peer, blob_id, max_bytes)
                    if content is not None:
                        found.append(content)
                        nursery.cancel_scope.cancel()
                    over.set()

                for peer in peers:
                    over = trio.Event()
                    nursery.start_soon(ask, peer, over)
                    with trio.move_on_after(NEXT_PEER_SECONDS) as waiting:
                        await over.wait()
                    if waiting.cancelled_caught:
                        self._note_slow(peer)
        return found[0] if found else None

    async def _fetch_from(self, peer: str, blob_id: bytes, max_bytes: int) -> bytes | None:
        limit = self._asking.setdefault(peer, trio.CapacityLimiter(BLOBS_PER_PEER - 1))  # one is left to a download
        try:
            async with limit:
                return await self._sessions.open(
                    peer,
                    BLOB_PROTOCOL,
                    lambda stream: pull(FramedStream(stream, allowance(max_bytes)), blob_id, max_bytes),
                )
        finally:
            if not limit.borrowed_tokens and not limit.statistics().tasks_waiting:
                self._asking.pop(peer, None)

    def _note_slow(self, peer: str) -> None:
        now = trio.current_time()
        self._slow_until = {other: until for other, until in self._slow_until.items() if until > now}
        self._slow_until[peer] = now + SLOW_PEER_SECONDS

    async def fetch_file(self, content_id: bytes, progress: Progress) -> str:
        """Bring wanted content of any size into the files. Returns why it is not here; "" when it is."""
        if self._files is None or self._files.wanted_size(content_id) is None:
            return "nothing here refers to this content"
        download = Download(
            content_id,
            self._files,
            self._sessions,
            self._host.peers,
            self._liars,
            self._peer_score,
            progress,
        )
        trouble = await download.run()
        while len(self._liars) > LIARS_REMEMBERED:
            self._liars.pop(next(iter(self._liars)))
        if not trouble:
            self._files.offer(content_id, download.path)
        return trouble

    # ---- serving -----------------------------------------------------------------------------------------------------

    async def _serve(self, stream: Any) -> None:
        """Answer requests until the peer has no more. Raises MalformedError, StreamEndedError or TooSlowError."""
        frames = FramedStream(stream, BLOB_REQUEST_BYTES)
        part = _Part(b"", 0, 0, b"")
        answered = False
        while True:
            try:
                request = await frames.receive()
            except (StreamEndedError, trio.TooSlowError):
                if not answered:  # the peer opened a stream and never asked for anything
                    raise
                return
            match request:
                case OutlineRequest(wanted):
                    await frames.send(await self._outline(wanted))
                case BlobRequest(wanted, offset):
                    if not part.has(wanted, offset):
                        part = await self._read(wanted, offset) or _Part(b"", 0, 0, b"")
                    await frames.send(part.chunk(offset) if part.has(wanted, offset) else BlobMissing(wanted))
                case _:
                    raise MalformedError("a message that is no blob request")
            answered = True

    async def _read(self, blob_id: bytes, offset: int) -> _Part | None:
        """Small content whole, of large content the piece that begins before `offset`; None when it is not here."""
        content = self._store.get_blob(blob_id)
        if content is not None:
            return _Part(blob_id, len(content), 0, content)
        size = self._files.size(blob_id) if self._files is not None else None
        if self._files is None or size is None:
            return None
        begin = offset - offset % PIECE_BYTES
        try:
            piece = await trio.to_thread.run_sync(self._files.read, blob_id, begin, PIECE_BYTES)
        except OSError as error:
            self._log("content not readable", level="error", blob=short_id(blob_id), error=error.strerror)
            return None
        return _Part(blob_id, size, begin, piece)

    async def _outline(self, blob_id: bytes) -> BlobOutline | BlobMissing:
        if self._files is not None and self._files.size(blob_id) is not None:
            try:
                async with self._outlining:  # it may take seconds the first time, so not for several peers at once
                    outline = await in_thread(partial(self._files.outline, blob_id))
            except OSError as error:
                self._log("content not readable", level="error", blob=short_id(blob_id), error=error.strerror)
                return BlobMissing(blob_id)
            return BlobOutline.of(blob_id, outline)
        content = self._store.get_blob(blob_id)
        if content is None:
            return BlobMissing(blob_id)
        pieces = (content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES))
        return BlobOutline.of(blob_id, outline_of(pieces))


def allowance(max_bytes: int) -> int:
    """Bytes on the stream for content of at most `max_bytes`: each chunk has an envelope, of far less than a 64th of
    it.

    1 MiB of content may be 1 MiB, 16 KiB of envelopes and one frame of anything else.
    """
    return max_bytes + MAX_FRAME + max_bytes // 64


async def pull(frames: FramedStream, blob_id: bytes, max_bytes: int) -> bytes | None:
    """Content by its sha256 over a blob stream; None when the peer has not got it, or it is larger than allowed.

    Raises MalformedError when the peer sends something else, StreamEndedError or TooSlowError.
    """
    content = bytearray()
    while True:
        await frames.send(BlobRequest(blob_id, len(content)))
        match await frames.receive():
            case BlobMissing(id=missing) if missing == blob_id:
                return None
            case BlobChunk(total=total) if total > max_bytes:
                return None
            case BlobChunk(total=total, offset=offset, data=data) if offset == len(content):
                content += data
                if len(content) == total:
                    break
                if not data:
                    raise MalformedError("an empty chunk of content that is not complete")
            case _:
                raise MalformedError("an answer to another blob request")
    if hashlib.sha256(content).digest() != blob_id:
        raise MalformedError("content that is not what its id says")
    return bytes(content)

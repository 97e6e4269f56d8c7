"""Download: one large content fetched from several peers at once, piece by piece, into a draft on disk.

It knows which peer vouches for which outline, employs those who vouch for the one that is followed, a few at a time
and a few pieces ahead, and puts others in the place of slow and dead ones. What is on disk survives it: the next
download of the same content begins with the pieces that are right. Why a lie costs its teller, and what at most it
costs us, is in protocol/outline.py and protocol/README.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from node.ledger.files import BlobFiles, Draft
from node.network.content.pieces import Pieces
from node.network.frames import Frames
from node.network.parameters import (
    DOWNLOAD_PEERS,
    FAILED_SECONDS,
    FALSE_OUTLINES,
    HASH_BYTES_AT_ONCE,
    LACKING_SECONDS,
    NEW_PEERS_SECONDS,
    OUTLINE_TURN_SECONDS,
    OUTLINES_AT_ONCE,
    PIECE_SECONDS,
    PIECES_AHEAD,
    STALLED_SECONDS,
)
from node.network.peer_score import PeerScore
from node.network.sessions import Sessions
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
from protocol.outline import PIECE_BYTES, Outline, outline_by_itself

FALSE = "an outline of other content than its id says"

Progress = Callable[[int, int], None]


class Download:
    """Fetches the content that `files` wants under this id. `liars` are peers not to ask; more are added to it.

    `progress` is called with the bytes that are here and those in all.
    """

    def __init__(
        self,
        content_id: bytes,
        files: BlobFiles,
        sessions: Sessions,
        peers: Callable[[], Sequence[str]],
        liars: dict[str, None],
        peer_score: PeerScore,
        progress: Progress,
    ) -> None:
        self._id = content_id
        self._files = files
        self._sessions = sessions
        self._peers = peers
        self._liars = liars
        self._peer_score = peer_score
        self._progress = progress
        self._draft: Draft = files.draft(content_id)
        self._by_itself = outline_by_itself(content_id, self._draft.size)
        self._said: dict[str, Outline] = {}
        self._followed: dict[Outline, float] = {}  # when each outline was last taken up
        self._false: set[Outline] = set()
        self._outline: Outline | None = None
        self._pieces = Pieces(0, ())
        self._busy: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._news = trio.Event()
        self._disk = trio.Lock()  # nothing is written while what is there is being checked
        self._last_piece = 0.0
        self._trouble = ""

    async def run(self) -> str:
        """Fetch until the content is here, verified, at `path`. Returns why it is not; "" when it is."""
        self._last_piece = trio.current_time()
        if self._by_itself is not None:
            await self._follow(self._by_itself)
        async with trio.open_nursery() as nursery:
            while not self._trouble:
                if self._outline is not None and self._pieces.complete and await self._settle(self._outline):
                    break
                await self._choose()
                self._employ(nursery)
                if trio.current_time() - self._last_piece > STALLED_SECONDS:
                    self._trouble = f"no peer has delivered anything for {STALLED_SECONDS:.0f} seconds"
                with trio.move_on_after(NEW_PEERS_SECONDS):
                    await self._news.wait()
                self._news = trio.Event()
            nursery.cancel_scope.cancel()
        return self._trouble

    @property
    def path(self) -> Path:
        """Where the content is put together."""
        return self._draft.path

    # ---- whom to believe ---------------------------------------------------------------------------------------------

    async def _choose(self) -> None:
        """Follow the outline that most peers vouch for; where several have as many, each for a while."""
        present = set(self._peers())
        self._said = {peer: outline for peer, outline in self._said.items() if peer in present}
        self._not_before = {peer: at for peer, at in self._not_before.items() if peer in present}
        vouched = Counter(self._said.values())
        if self._by_itself is not None or not vouched:
            return
        now = trio.current_time()
        ours = self._outline
        if ours is not None and ours in vouched and now - self._followed[ours] < OUTLINE_TURN_SECONDS:
            return
        best = max(vouched, key=lambda outline: (vouched[outline], -self._followed.get(outline, 0.0)))
        if best != self._outline:
            await self._follow(best)
        now = trio.current_time()
        self._followed = {outline: at for outline, at in self._followed.items() if outline in vouched} | {best: now}

    async def _follow(self, outline: Outline) -> None:
        """Take the pieces that are on disk and right under this outline, and go on from there."""
        began = trio.current_time()
        async with self._disk:
            begun = range(min(self._draft.pieces(), len(outline.pieces)))
            here = [i for i in begun if await trio.to_thread.run_sync(self._draft.has, outline, i)]
            self._outline = outline
            self._pieces = Pieces(len(outline.pieces), here)
        self._last_piece += trio.current_time() - began  # nobody could deliver anything meanwhile
        self._tell_progress()

    async def _settle(self, outline: Outline) -> bool:
        """All pieces are here: whether they are the content. If not, whoever vouched for them has lied."""
        async with self._disk:
            if await self._sha256() == self._id:
                await trio.to_thread.run_sync(self._files.keep_outline, self._id, outline)
                return True
        for peer in [peer for peer, said in self._said.items() if said == outline]:
            self._condemn(peer)
            self._peer_score.note_refusal(peer, "stream", FALSE)
        self._false.add(outline)
        if len(self._false) >= FALSE_OUTLINES:
            self._trouble = f"peers have given {FALSE_OUTLINES} outlines of it that were false"
        self._outline = None
        self._pieces = Pieces(0, ())
        if self._by_itself is not None:  # the one piece had the right hash, so this file is being changed by somebody
            self._trouble = f"{self._draft.path} changes by itself; is another node using this home?"
        return False

    async def _sha256(self) -> bytes:
        digest = hashlib.sha256()
        with self._draft.path.open("rb") as file:
            while part := await trio.to_thread.run_sync(file.read, HASH_BYTES_AT_ONCE):
                await trio.to_thread.run_sync(digest.update, part)
        return digest.digest()

    def _condemn(self, peer: str) -> None:
        self._liars[peer] = None
        self._said.pop(peer, None)

    # ---- whom to ask -------------------------------------------------------------------------------------------------

    def _employ(self, nursery: trio.Nursery) -> None:
        """Put peers to work, as many as may work at once."""
        now = trio.current_time()
        for peer in self._peers():
            if len(self._busy) >= DOWNLOAD_PEERS:
                return
            if peer in self._busy or peer in self._liars or self._not_before.get(peer, 0.0) > now:
                continue
            said = self._said.get(peer)
            of_use = self._pieces.has_for(peer) if self._outline is not None else said is None
            if of_use and (said is None or said == self._outline):
                self._busy.add(peer)
                nursery.start_soon(self._use, peer)

    async def _use(self, peer: str) -> None:
        """Have this peer send pieces as long as there are any for it."""
        most = 2 * self._draft.size + 2 * MAX_FRAME  # each piece once, with its envelopes, and the outline
        try:
            done = await self._sessions.open(peer, BLOB_PROTOCOL, lambda s: self._session(Frames(s, most), peer))
            if done is None:
                self._not_before[peer] = trio.current_time() + FAILED_SECONDS
        finally:
            self._busy.discard(peer)
            self._news.set()

    async def _session(self, frames: Frames, peer: str) -> bool:
        """One session. Raises MalformedError, StreamEndedError or TooSlowError."""
        outline = self._by_itself or self._said.get(peer) or await self._ask_outline(frames, peer)
        if outline is None:
            self._not_before[peer] = trio.current_time() + LACKING_SECONDS
            return True
        self._said[peer] = outline
        pieces, asked = self._pieces, deque[int]()
        try:
            while outline == self._outline and self._pieces is pieces and not self._trouble:
                await self._ask_ahead(frames, peer, outline, pieces, asked)
                if not asked:
                    break
                piece = await self._receive(frames, *outline.span(asked[0]))
                if piece is None:
                    self._not_before[peer] = trio.current_time() + LACKING_SECONDS
                    break
                await self._take_in(asked[0], piece, peer, outline, pieces)
                asked.popleft()
        finally:
            for index in asked:
                pieces.released(index, peer)
        return True

    async def _ask_outline(self, frames: Frames, peer: str) -> Outline | None:
        await frames.send(OutlineRequest(self._id))
        match await frames.receive():
            case BlobMissing(id=missing) if missing == self._id:
                return None
            case BlobOutline(id=told, outline=outline) if told == self._id:
                if outline.total != self._draft.size or outline in self._false:
                    self._condemn(peer)
                    raise MalformedError(FALSE)
                known = next((said for said in self._said.values() if said == outline), outline)  # one copy is enough
                return known if known in self._said.values() or self._room_for_outlines() else None
        raise MalformedError("an answer to another request than that for an outline")

    def _room_for_outlines(self) -> bool:
        return len(set(self._said.values())) < OUTLINES_AT_ONCE

    async def _ask_ahead(self, frames: Frames, peer: str, outline: Outline, pieces: Pieces, asked: deque[int]) -> None:
        while len(asked) < PIECES_AHEAD and (index := pieces.next_for(peer)) is not None:
            asked.append(index)
            offset, count = outline.span(index)
            for at in range(offset, offset + count, MAX_CHUNK):
                await frames.send(BlobRequest(self._id, at))

    async def _receive(self, frames: Frames, offset: int, count: int) -> bytes | None:
        """The bytes of one piece; None when the peer has not got it any more."""
        piece = bytearray()
        with trio.fail_after(PIECE_SECONDS):
            while len(piece) < count:
                expected = min(MAX_CHUNK, count - len(piece))
                match await frames.receive():
                    case BlobMissing(id=missing) if missing == self._id:
                        return None
                    case BlobChunk(total=self._draft.size, offset=at, data=data) if (
                        at == offset + len(piece) and len(data) == expected
                    ):
                        piece += data
                    case _:
                        raise MalformedError("an answer to another blob request")
        return bytes(piece)

    async def _take_in(self, index: int, piece: bytes, peer: str, outline: Outline, pieces: Pieces) -> None:
        async with self._disk:
            if self._pieces is not pieces or not pieces.lacks(index):
                return  # it came twice, or another outline is followed by now
            try:
                right = await trio.to_thread.run_sync(self._draft.write, outline, index, piece)
            except OSError as error:
                self._trouble = f"cannot write to {self._draft.path} ({error.strerror}); make room and start again"
                self._news.set()
                return
            if right:
                pieces.arrived(index)
        if not right:
            self._condemn(peer)
            raise MalformedError("a piece that is not what its sender's outline says")
        self._last_piece = trio.current_time()
        self._tell_progress()
        if pieces.complete:
            self._news.set()

    def _tell_progress(self) -> None:
        self._progress(min(self._pieces.here * PIECE_BYTES, self._draft.size), self._draft.size)

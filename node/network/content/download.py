"""Download: one large content fetched from several peers at once, piece by piece, into a draft on disk.

It knows which peer vouches for which outline. It follows one outline at a time and downloads from the peers that vouch
for it, a few at a time and a few pieces ahead; others take the place of slow and dead ones. What is on disk survives
it: the next download of the same content begins with the pieces that are right. What a false outline costs the peer
that gave it, and this node at most, is in protocol/outline.py and protocol/README.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from node.ledger.files import BlobFiles, Draft
from node.network.content.pieces import Pieces
from node.network.frames import FramedStream
from node.network.parameters import (
    DOWNLOAD_PEERS,
    FAILED_SECONDS,
    HASH_BYTES_AT_ONCE,
    LACKING_SECONDS,
    MAX_FALSE_OUTLINES,
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

NOT_ITS_CONTENT = "an outline of other content than its id says"

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
        self._sole_outline = outline_by_itself(content_id, self._draft.size)
        self._outline_from: dict[str, Outline] = {}  # by connected peer, the outline that it vouches for
        self._followed_at: dict[Outline, float] = {}  # when each outline was last taken up
        self._false: set[Outline] = set()  # whose pieces, all of them right, were not the content
        self._outline: Outline | None = None  # the one that is followed
        self._pieces = Pieces(0, ())  # of that outline
        self._busy: set[str] = set()  # peers with a session
        self._not_before: dict[str, float] = {}  # by peer, when it may be asked again
        self._news = trio.Event()
        self._disk = trio.Lock()  # nothing is written while what is there is being checked
        self._last_piece = 0.0
        self._failure = ""

    async def run(self) -> str:
        """Fetch until the content is here, verified, at `path`. Returns why it is not; "" when it is."""
        self._last_piece = trio.current_time()
        if self._sole_outline is not None:
            await self._follow(self._sole_outline)
        async with trio.open_nursery() as nursery:
            while not self._failure:
                if self._outline is not None and self._pieces.complete and await self._verify(self._outline):
                    break
                await self._choose_outline()
                self._assign_peers(nursery)
                if trio.current_time() - self._last_piece > STALLED_SECONDS:
                    self._failure = f"no peer has delivered anything for {STALLED_SECONDS:.0f} seconds"
                with trio.move_on_after(NEW_PEERS_SECONDS):
                    await self._news.wait()
                self._news = trio.Event()
            nursery.cancel_scope.cancel()
        return self._failure

    @property
    def path(self) -> Path:
        """Where the content is put together."""
        return self._draft.path

    # ---- whom to believe ---------------------------------------------------------------------------------------------

    async def _choose_outline(self) -> None:
        """Follow the outline that most peers vouch for; where several have as many, each for a while."""
        present = set(self._peers())
        self._outline_from = {peer: outline for peer, outline in self._outline_from.items() if peer in present}
        self._not_before = {peer: at for peer, at in self._not_before.items() if peer in present}
        votes = Counter(self._outline_from.values())
        if self._sole_outline is not None or not votes:
            return
        now = trio.current_time()
        ours = self._outline
        if ours is not None and ours in votes and now - self._followed_at[ours] < OUTLINE_TURN_SECONDS:
            return
        # Of those with most votes, the one followed least recently. With votes 2, 2, 1 the first two take turns of 30 s
        # and the third gets none: so one liar cannot hold a download up while two honest peers agree, and of one liar
        # and one honest peer each has its turn, in which pieces that are right stay.
        best = max(votes, key=lambda outline: (votes[outline], -self._followed_at.get(outline, 0.0)))
        if best != self._outline:
            await self._follow(best)
        self._followed_at = {outline: at for outline, at in self._followed_at.items() if outline in votes}
        self._followed_at[best] = trio.current_time()  # after _follow, which may take seconds

    async def _follow(self, outline: Outline) -> None:
        """Take the pieces that are on disk and right under this outline, and go on from there."""
        began = trio.current_time()
        async with self._disk:
            on_disk = range(min(self._draft.pieces(), len(outline.pieces)))
            here = [index for index in on_disk if await trio.to_thread.run_sync(self._draft.has, outline, index)]
            self._outline = outline
            self._pieces = Pieces(len(outline.pieces), here)
        self._last_piece += trio.current_time() - began  # no peer could deliver anything meanwhile
        self._report_progress()

    async def _verify(self, outline: Outline) -> bool:
        """All pieces are here: whether they are the content. If not, the peers that vouched for the outline lied."""
        async with self._disk:
            if await self._sha256() == self._id:
                await trio.to_thread.run_sync(self._files.keep_outline, self._id, outline)
                return True
        liars = [peer for peer, vouched_for in self._outline_from.items() if vouched_for == outline]
        for peer in liars:
            self._mark_liar(peer)
            self._peer_score.note_refusal(peer, "stream", NOT_ITS_CONTENT)
        self._false.add(outline)
        if len(self._false) >= MAX_FALSE_OUTLINES:
            self._failure = f"peers have given {MAX_FALSE_OUTLINES} outlines of it that were false"
        self._outline = None
        self._pieces = Pieces(0, ())
        if self._sole_outline is not None:
            # Every piece was checked against its hash, and here the one piece's hash is the content's id. So the file
            # was changed after it was written.
            self._failure = f"{self._draft.path} changes by itself; is another node using this home?"
        return False

    async def _sha256(self) -> bytes:
        digest = hashlib.sha256()
        with self._draft.path.open("rb") as file:
            while part := await trio.to_thread.run_sync(file.read, HASH_BYTES_AT_ONCE):
                await trio.to_thread.run_sync(digest.update, part)
        return digest.digest()

    def _mark_liar(self, peer: str) -> None:
        self._liars[peer] = None
        self._outline_from.pop(peer, None)

    # ---- whom to ask -------------------------------------------------------------------------------------------------

    def _assign_peers(self, nursery: trio.Nursery) -> None:
        """Start downloads from peers that can be of use, up to DOWNLOAD_PEERS at once."""
        now = trio.current_time()
        for peer in self._peers():
            if len(self._busy) >= DOWNLOAD_PEERS:
                return
            if peer in self._busy or peer in self._liars or self._not_before.get(peer, 0.0) > now:
                continue
            vouched_for = self._outline_from.get(peer)
            if self._outline is not None:  # a peer that may vouch for this outline, and has a piece to send
                of_use = vouched_for in (None, self._outline) and self._pieces.has_for(peer)
            else:  # a peer to be asked for an outline
                of_use = vouched_for is None
            if of_use:
                self._busy.add(peer)
                nursery.start_soon(self._download_from, peer)

    async def _download_from(self, peer: str) -> None:
        """Have this peer send pieces as long as there are any for it."""
        # Each piece once with its envelopes, and the outline. Twice the size is generous, but it is only there to end a
        # session that never does.
        most = 2 * self._draft.size + 2 * MAX_FRAME
        try:
            done = await self._sessions.open(peer, BLOB_PROTOCOL, lambda s: self._session(FramedStream(s, most), peer))
            if done is None:
                self._not_before[peer] = trio.current_time() + FAILED_SECONDS
        finally:
            self._busy.discard(peer)
            self._news.set()

    async def _session(self, frames: FramedStream, peer: str) -> bool:
        """One session. Raises MalformedError, StreamEndedError or TooSlowError."""
        outline = self._sole_outline or self._outline_from.get(peer) or await self._ask_outline(frames, peer)
        if outline is None:
            self._not_before[peer] = trio.current_time() + LACKING_SECONDS
            return True
        self._outline_from[peer] = outline
        pieces = self._pieces  # of the outline at the beginning: when another is followed, this session is over
        asked: deque[int] = deque()  # pieces asked for and not here yet, in order
        try:
            while outline == self._outline and self._pieces is pieces and not self._failure:
                await self._ask_ahead(frames, peer, outline, pieces, asked)
                if not asked:
                    break
                piece = await self._receive(frames, *outline.span(asked[0]))
                if piece is None:
                    self._not_before[peer] = trio.current_time() + LACKING_SECONDS
                    break
                await self._store_piece(asked[0], piece, peer, outline, pieces)
                asked.popleft()
        finally:
            for index in asked:
                pieces.released(index, peer)
        return True

    async def _ask_outline(self, frames: FramedStream, peer: str) -> Outline | None:
        await frames.send(OutlineRequest(self._id))
        match await frames.receive():
            case BlobMissing(id=missing) if missing == self._id:
                return None
            case BlobOutline(id=answered, outline=outline) if answered == self._id:
                if outline.total != self._draft.size or outline in self._false:
                    self._mark_liar(peer)
                    raise MalformedError(NOT_ITS_CONTENT)
                return self._shared_copy(outline)
        raise MalformedError("an answer to another request than that for an outline")

    def _shared_copy(self, outline: Outline) -> Outline | None:
        """The copy of this outline that other peers gave, or itself; None when too many others are remembered.

        An outline of 16 GiB is 512 KiB of hashes, so one copy for all the peers that vouch for it.
        """
        others = set(self._outline_from.values())
        for other in others:
            if other == outline:
                return other
        return outline if len(others) < OUTLINES_AT_ONCE else None

    async def _ask_ahead(
        self, frames: FramedStream, peer: str, outline: Outline, pieces: Pieces, asked: deque[int]
    ) -> None:
        while len(asked) < PIECES_AHEAD and (index := pieces.next_for(peer)) is not None:
            asked.append(index)
            offset, count = outline.span(index)
            for chunk_offset in range(offset, offset + count, MAX_CHUNK):
                await frames.send(BlobRequest(self._id, chunk_offset))

    async def _receive(self, frames: FramedStream, offset: int, count: int) -> bytes | None:
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

    async def _store_piece(self, index: int, piece: bytes, peer: str, outline: Outline, pieces: Pieces) -> None:
        async with self._disk:
            if self._pieces is not pieces or not pieces.lacks(index):
                return  # two peers were asked for it and both sent it, or another outline is followed by now
            try:
                right = await trio.to_thread.run_sync(self._draft.write, outline, index, piece)
            except OSError as error:
                self._failure = f"cannot write to {self._draft.path} ({error.strerror}); make room and start again"
                self._news.set()
                return
            if right:
                pieces.arrived(index)
        if not right:
            self._mark_liar(peer)
            raise MalformedError("a piece that is not what its sender's outline says")
        self._last_piece = trio.current_time()
        self._report_progress()
        if pieces.complete:
            self._news.set()

    def _report_progress(self) -> None:
        self._progress(min(self._pieces.here * PIECE_BYTES, self._draft.size), self._draft.size)

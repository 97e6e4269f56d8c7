"""Exchange: what two nodes give each other over streams. Missing records (sync), and content by its id (blobs).

It knows the two stream protocols, both ends of each, and bounds every session in frames, bytes, time and number. Which
records are missing is worked out by protocol.sync; what becomes of a record is the store's to say.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import trio

from node.ledger import Added
from node.network.conduct import Conduct, Events, short_peer
from node.network.frames import Frames, StreamEndedError, close
from node.network.gossip import keep
from node.network.host import Host, parse_address
from node.network.store import Store
from protocol.codec import MANIFEST_LIMITS, MalformedError
from protocol.identity import Identity
from protocol.messages import (
    BLOB_PROTOCOL,
    MAX_CHUNK,
    MAX_FRAME,
    SYNC_PROTOCOL,
    BlobChunk,
    BlobMissing,
    BlobRequest,
    Message,
    Records,
)
from protocol.objective import Invite, decode_manifest
from protocol.records import open_record
from protocol.sync import MAX_SESSION_BYTES, Reconciliation

SESSION_SECONDS = 300.0
SYNC_SOONEST_SECONDS = 1.0  # between two sessions that this node opens with one peer
SYNC_EVERY_SECONDS = 60.0
SYNCS_PER_PEER, SYNCS_IN_ALL = 2, 16
BLOBS_PER_PEER, BLOBS_IN_ALL = 4, 32
REQUEST_BYTES = 1 << 20  # of requests that one blob stream may bring
PATIENCE_SECONDS = 1.5  # before another peer is asked for the same content as well
FETCH_SECONDS = 120.0
JOIN_ROUNDS = 3
RECORDS_PER_BREATH = 16  # records taken in before other tasks get their turn

T = TypeVar("T")
Troubles = (MalformedError, StreamEndedError, trio.TooSlowError)


@dataclass
class _Tally:
    """What a sync session moved."""

    got: int = 0
    sent: int = 0


class Exchange:
    """Serves and opens sync and blob streams with the peers of `host`."""

    def __init__(self, host: Host, store: Store, conduct: Conduct, events: Events) -> None:
        self._host = host
        self._store = store
        self._conduct = conduct
        self._events = events
        self._seats: Counter[tuple[str, str]] = Counter()
        self._due: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._syncing: set[str] = set()
        self._changed = trio.Event()
        host.answer(SYNC_PROTOCOL, self._answer_sync)
        host.answer(BLOB_PROTOCOL, self._answer_blobs)

    # ---- sync --------------------------------------------------------------------------------------------------------

    def request_sync(self, peer: str, delay: float = 0.0) -> None:
        """Open a session with a connected peer soon; requests that come before it has begun are one."""
        now = trio.current_time()
        due = max(now + delay, self._last.get(peer, 0.0) + SYNC_SOONEST_SECONDS)
        self._due[peer] = min(due, self._due.get(peer, due))
        self._changed.set()

    def forget(self, peer: str) -> None:
        """The peer is gone."""
        self._due.pop(peer, None)
        self._last.pop(peer, None)

    async def keep_in_sync(self) -> None:
        """Hold the sessions that were asked for, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                for peer in [p for p, due in self._due.items() if due <= now and p not in self._syncing]:
                    del self._due[peer]
                    self._syncing.add(peer)
                    nursery.start_soon(self._open_sync, peer)
                self._changed = trio.Event()
                waiting = [due for peer, due in self._due.items() if peer not in self._syncing]
                with trio.move_on_at(min(waiting, default=now + SYNC_EVERY_SECONDS)):
                    await self._changed.wait()

    async def keep_asking(self) -> None:
        """Every minute reconcile with somebody, whatever gossip brought: the way that is sure."""
        while True:
            await trio.sleep(SYNC_EVERY_SECONDS * random.uniform(0.8, 1.2))
            peers = self._host.peers()
            if peers:
                self.request_sync(random.choice(peers))

    async def _open_sync(self, peer: str) -> None:
        try:
            await self._open(peer, SYNC_PROTOCOL, lambda stream: self._reconcile(stream, peer))
        finally:
            self._last[peer] = trio.current_time()
            self._syncing.discard(peer)
            self._changed.set()

    async def _answer_sync(self, stream: Any) -> None:
        peer = str(stream.muxed_conn.peer_id)
        with self._seat(peer, "sync", SYNCS_PER_PEER, SYNCS_IN_ALL) as seated:
            if seated:
                await self._hold(peer, stream, lambda stream: self._reconcile(stream, peer))
            else:
                await close(stream, clean=False)

    async def _reconcile(self, stream: Any, peer: str) -> None:
        """One session, from either side: both do the same. Raises Troubles, in a group."""
        frames = Frames(stream, MAX_SESSION_BYTES + MAX_FRAME)
        session = Reconciliation(self._store, self._store.objective)
        tally = _Tally()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_all, frames, session.start(), tally)
                while True:
                    step = session.receive(await frames.receive())
                    if step.send:
                        nursery.start_soon(self._send_all, frames, step.send, tally)
                    await self._take_in(step.records, peer, tally)
                    if step.done or self._conduct.shut_out(peer):
                        break
        finally:
            self._tell(peer, tally)

    async def _send_all(self, frames: Frames, messages: Iterable[Message], tally: _Tally) -> None:
        for message in messages:
            await frames.send(message)
            if isinstance(message, Records):
                tally.sent += len(message.wires)

    async def _take_in(self, wires: Sequence[bytes], peer: str, tally: _Tally) -> None:
        for index, wire in enumerate(wires, 1):
            try:
                record = open_record(wire)
                if record.objective != self._store.objective:
                    raise MalformedError("a record of another objective")
            except MalformedError as error:
                self._conduct.refuse(peer, "record", str(error))
                continue
            match keep(self._store, record, peer, self._conduct, self._events):
                case Added.NEW:
                    tally.got += 1
                case Added.GAP:
                    self._conduct.refuse(peer, "record", "its predecessor is missing", offence=False)
            if index % RECORDS_PER_BREATH == 0:
                await trio.lowlevel.checkpoint()

    def _tell(self, peer: str, tally: _Tally) -> None:
        """Log a session; when it brought something, offer that to the other peers too."""
        if tally.got or tally.sent:
            self._events("synced", peer=short_peer(peer), got=tally.got, sent=tally.sent)
        if tally.got:
            for other in self._host.peers():
                if other != peer:
                    self.request_sync(other, random.uniform(0.2, 0.8))

    # ---- blobs -------------------------------------------------------------------------------------------------------

    async def fetch_blob(
        self, blob_id: bytes, from_peers: Sequence[str] | None = None, *, max_bytes: int
    ) -> bytes | None:
        """Content by its sha256, from whichever connected peer delivers first; None when none does.

        A peer that is slow is not waited for: the next is asked beside it.
        """
        peers = list(from_peers) if from_peers is not None else self._host.peers()
        random.shuffle(peers)
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
                    with trio.move_on_after(PATIENCE_SECONDS):
                        await over.wait()
        return found[0] if found else None

    async def _fetch_from(self, peer: str, blob_id: bytes, max_bytes: int) -> bytes | None:
        return await self._open(
            peer, BLOB_PROTOCOL, lambda stream: pull(Frames(stream, _allowance(max_bytes)), blob_id, max_bytes)
        )

    async def _answer_blobs(self, stream: Any) -> None:
        peer = str(stream.muxed_conn.peer_id)
        with self._seat(peer, "blob", BLOBS_PER_PEER, BLOBS_IN_ALL) as seated:
            if seated:
                await self._hold(peer, stream, lambda stream: self._serve_blobs(Frames(stream, REQUEST_BYTES)))
            else:
                await close(stream, clean=False)

    async def _serve_blobs(self, frames: Frames) -> None:
        """Answer requests until the peer has no more."""
        blob_id, content = b"", None
        while True:
            try:
                request = await frames.receive()
            except (StreamEndedError, trio.TooSlowError):
                if not blob_id:
                    raise
                return
            if not isinstance(request, BlobRequest):
                raise MalformedError("a message that is no blob request")
            if request.id != blob_id:  # the content is read once for all its chunks
                blob_id, content = request.id, self._store.get_blob(request.id)
            if content is None or request.offset > len(content):
                await frames.send(BlobMissing(request.id))
            else:
                chunk = content[request.offset : request.offset + MAX_CHUNK]
                await frames.send(BlobChunk(len(content), request.offset, chunk))

    # ---- bounds ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _seat(self, peer: str, what: str, per_peer: int, in_all: int) -> Iterator[bool]:
        """Whether there is room for one more session of this kind; it is held for the block."""
        taken = self._seats[what, peer]
        if taken >= per_peer or sum(n for (kind, _), n in self._seats.items() if kind == what) >= in_all:
            self._conduct.refuse(peer, "stream", f"too many {what} sessions at once", offence=taken >= per_peer)
            yield False
            return
        self._seats[what, peer] += 1
        try:
            yield True
        finally:
            self._seats[what, peer] -= 1
            self._seats += Counter()  # drops the zeros

    async def _open(self, peer: str, protocol: str, session: Callable[[Any], Awaitable[T]]) -> T | None:
        """Hold a session on a new stream; None when there is no stream or the session does not end well."""
        try:
            stream = await self._host.open_stream(peer, protocol)
        except StreamEndedError:
            return None  # peers come and go
        return await self._hold(peer, stream, session)

    async def _hold(self, peer: str, stream: Any, session: Callable[[Any], Awaitable[T]]) -> T | None:
        """Hold a session within its time and close its stream; None when it does not end well, for whatever reason."""
        clean = False
        try:
            with trio.move_on_after(SESSION_SECONDS):
                result = await session(stream)
                clean = True
        except* MalformedError as group:
            self._conduct.refuse(peer, "stream", str(_first(group)))
        except* trio.TooSlowError:
            self._conduct.refuse(peer, "stream", "nothing came in time", offence=False)
        except* StreamEndedError:
            pass  # peers come and go
        except* Exception as group:
            self._events("session failed", level="error", peer=short_peer(peer), error=repr(_first(group)))
        finally:
            await close(stream, clean)
        return result if clean else None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _allowance(max_bytes: int) -> int:
    """Bytes on the stream for content of at most `max_bytes`: each chunk has an envelope."""
    return max_bytes + MAX_FRAME + max_bytes // 64


async def pull(frames: Frames, blob_id: bytes, max_bytes: int) -> bytes | None:
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


async def fetch_objective(
    identity: Identity, invite: Invite, progress: Callable[[int, int], None]
) -> tuple[bytes, dict[str, bytes], str] | None:
    """An objective's manifest and files by content id, and the peer id of who gave them, for a node without a ledger.

    `progress` is called with files done and files in all. None when nobody at the invite's addresses delivers.
    """
    host = Host(identity, Conduct(lambda *_, **__: None, lambda _: None), invite.key)
    files: dict[bytes, bytes] = {}  # what one peer began the next may complete
    async with host.run([]):
        for attempt in range(JOIN_ROUNDS):
            await trio.sleep(2.0 * attempt)
            for peer in await _reach(host, invite.addresses):
                try:
                    stream = await host.open_stream(peer, BLOB_PROTOCOL)
                    try:
                        manifest = await _pull_objective(stream, invite.objective, files, progress)
                    finally:
                        await close(stream, clean=True)
                except Troubles:
                    continue
                if manifest is not None:
                    named = {entry.path: files[entry.sha256] for entry in decode_manifest(manifest).files}
                    return manifest, named, peer
    return None


async def _reach(host: Host, addresses: Sequence[str]) -> list[str]:
    """Dial all of the addresses at once; the peers that answered, the quickest first.

    Whoever is reached first is given the others a moment to join, not the whole time a dead address takes to fail.
    """
    reached: dict[str, None] = {}
    async with trio.open_nursery() as nursery:

        async def try_address(text: str) -> None:
            with suppress(MalformedError):
                address = parse_address(text)
                if await host.dial(address):
                    reached[address.peer] = None
                    nursery.cancel_scope.deadline = min(
                        nursery.cancel_scope.deadline, trio.current_time() + PATIENCE_SECONDS
                    )

        for text in addresses:
            nursery.start_soon(try_address, text)
    return list(reached)


async def _pull_objective(
    stream: Any, objective: bytes, files: dict[bytes, bytes], progress: Callable[[int, int], None]
) -> bytes | None:
    """The manifest, with all its files put into `files`; None when this peer lacks some."""
    most = MANIFEST_LIMITS.max_bytes
    manifest_bytes = await pull(Frames(stream, _allowance(most)), objective, most)
    if manifest_bytes is None:
        return None
    entries = decode_manifest(manifest_bytes).files
    for done, entry in enumerate(entries, 1):
        if entry.sha256 not in files:
            content = await pull(Frames(stream, _allowance(entry.size)), entry.sha256, entry.size)
            if content is None:
                return None
            files[entry.sha256] = content
        progress(done, len(entries))
    return manifest_bytes

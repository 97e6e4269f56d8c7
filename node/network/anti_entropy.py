"""Anti-entropy: two peers bring each other the records that either lacks, in sync sessions over a stream.

Gossip is quick and may lose a record; anti-entropy is slower and in the end loses none (both terms are those of Demers
et al. 1987, "Epidemic algorithms for replicated database maintenance"). What two nodes differ in is found by
range-based set reconciliation (Meyer, arXiv:2212.13567, 2022) over a 16-ary Merkle tree of feeds: see protocol/sync.py
and protocol/digests.py, which know no stream.

It knows both ends of the stream, when a session is due, and bounds it in frames and bytes. A record goes through
intake.py like any other.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import trio

from node.ledger.store import Added
from node.network.frames import FramedStream
from node.network.host import Host
from node.network.intake import Intake, is_urgent
from node.network.parameters import (
    PROOFS_PER_CHECKPOINT,
    RECORDS_PER_CHECKPOINT,
    SYNC_EVERY_SECONDS,
    SYNC_SOONEST_SECONDS,
    SYNC_TURN_MOST_SECONDS,
    SYNC_TURN_SECONDS,
    SYNCS_IN_ALL,
    SYNCS_PER_PEER,
    UNWANTED_PER_SESSION,
)
from node.network.peer_score import PeerScore
from node.network.sessions import Sessions
from node.network.store import RecordStore
from node.platform.log import Log
from protocol.codec import MalformedError
from protocol.identity import short_peer
from protocol.messages import (
    MAX_FRAME,
    SYNC_PROTOCOL,
    Message,
    Records,
)
from protocol.rebroadcast import Rebroadcast
from protocol.records import Record
from protocol.sync import MAX_SESSION_BYTES, Reconciliation


@dataclass
class _Tally:
    """What a sync session moved."""

    got: int = 0
    sent: int = 0
    forks: int = 0
    unwanted: int = 0  # records for which there was no room, and those that follow them


class AntiEntropy:
    """Opens and answers sync sessions with the peers of `host`."""

    def __init__(
        self, host: Host, sessions: Sessions, store: RecordStore, intake: Intake, peer_score: PeerScore, log: Log
    ) -> None:
        self._host = host
        self._sessions = sessions
        self._store = store
        self._intake = intake
        self._peer_score = peer_score
        self._log = log
        self._due: dict[str, float] = {}  # by peer, when to open a session with it
        self._last: dict[str, float] = {}  # by peer, when the last session that this node opened has ended
        self._sessions_with: Counter[str] = Counter()  # by peer, those under way, whoever opened them
        self._bringing: set[str] = set()  # peers in a session that has brought something
        self._turn_ends = -math.inf  # until when the session under way keeps others from being opened
        self._changed = trio.Event()  # one of these has changed
        self._rebroadcast = Rebroadcast()
        self._news = trio.Event()
        sessions.answer(SYNC_PROTOCOL, "sync", SYNCS_PER_PEER, SYNCS_IN_ALL, self._answer)

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
        """Hold the sessions that were asked for, for ever.

        Another one is opened only when the last is over, or has brought nothing for a while: a node that comes back
        after a long time lacks the same records of all its peers, and would be sent them by each. Joining four full
        peers with nothing, a node was sent 4.04 times the records' bytes when it asked all at once, and 1.02 times when
        it asked one after the other (docs/scaling.md).
        """
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                waiting = {peer: due for peer, due in self._due.items() if peer not in self._sessions_with}
                peer = min(waiting, key=waiting.__getitem__, default=None)
                if peer is not None and max(waiting[peer], self._turn_ends) <= now:
                    del self._due[peer]
                    self._begin_session(peer)
                    self._turn_ends = now + SYNC_TURN_SECONDS
                    nursery.start_soon(self._open_sync, peer)
                    continue
                self._changed = trio.Event()
                next_due = now + SYNC_EVERY_SECONDS if peer is None else max(waiting[peer], self._turn_ends)
                with trio.move_on_at(next_due):
                    await self._changed.wait()

    async def keep_asking(self) -> None:
        """Sync with a random peer every minute, whatever gossip brought: in the end this brings everything."""
        while True:
            await trio.sleep(SYNC_EVERY_SECONDS * random.uniform(0.8, 1.2))
            peers = self._host.peers()
            if peers:
                self.request_sync(random.choice(peers))

    def gossiped(self, record_id: bytes) -> None:
        """Gossip has delivered a record that was here already."""
        self._rebroadcast.gossiped(record_id)

    async def keep_rebroadcasting(self) -> None:
        """Sync with every peer when sync has brought something that gossip does not deliver."""
        while True:
            self._news = trio.Event()
            due = self._rebroadcast.due()
            with trio.move_on_at(math.inf if due is None else due):
                await self._news.wait()
            if self._rebroadcast.take(trio.current_time()):
                self._sync_soon_with(self._host.peers())

    def _sync_soon_with(self, peers: Iterable[str]) -> None:
        for peer in peers:
            self.request_sync(peer, random.uniform(0.2, 0.8))

    async def _open_sync(self, peer: str) -> None:
        try:
            await self._sessions.open(peer, SYNC_PROTOCOL, lambda stream: self._reconcile(stream, peer))
        finally:
            if self._host.connected(peer):
                self._last[peer] = trio.current_time()
            self._end_session(peer)

    async def _answer(self, stream: Any, peer: str) -> None:
        """The session that a peer opens. Until it is over this node opens none with it: both would bring the same.

        While a session brings records there is no other one with that peer. To the peer it may be over: what it sent
        last is on the way, or waits here. Then this node opens the next one, when it has taken everything in.
        """
        if peer in self._bringing:
            self.request_sync(peer)
            return
        self._begin_session(peer)
        try:
            await self._reconcile(stream, peer)
        finally:
            self._end_session(peer)

    def _begin_session(self, peer: str) -> None:
        self._sessions_with[peer] += 1

    def _end_session(self, peer: str) -> None:
        self._sessions_with[peer] -= 1
        if not self._sessions_with[peer]:
            del self._sessions_with[peer]
        self._changed.set()

    async def _reconcile(self, stream: Any, peer: str) -> None:
        """One session, from either side: both do the same. Raises Troubles, in a group."""
        self._due.pop(peer, None)  # this session brings whatever that one was to bring
        begun = trio.current_time()
        frames = FramedStream(stream, MAX_SESSION_BYTES + MAX_FRAME)
        session = Reconciliation(self._store, self._store.objective)
        tally = _Tally()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_all, frames, session.start(), tally)
                while True:
                    step = session.receive(await frames.receive())
                    if step.send:
                        nursery.start_soon(self._send_all, frames, step.send, tally)
                    if await self._take_in(step.records, peer, tally):
                        self._bringing.add(peer)
                        now = trio.current_time()
                        self._turn_ends = max(
                            self._turn_ends, min(now + SYNC_TURN_SECONDS, begun + SYNC_TURN_MOST_SECONDS)
                        )
                    await self._take_proofs(step.forks, peer, tally)
                    if tally.unwanted >= UNWANTED_PER_SESSION or step.done or self._peer_score.is_banned(peer):
                        break
        finally:
            self._bringing.discard(peer)
            self._turn_ends = -math.inf
            self._changed.set()
            self._finish(peer, tally)

    async def _send_all(self, frames: FramedStream, messages: Iterable[Message], tally: _Tally) -> None:
        for message in messages:
            await frames.send(message)
            if isinstance(message, Records):
                tally.sent += len(message.wires)

    async def _take_in(self, wires: Sequence[bytes], peer: str, tally: _Tally) -> int:
        """How many of the records were new."""
        before = tally.got
        opened = await self._intake.open_all(wires)
        for begin in range(0, len(opened), RECORDS_PER_CHECKPOINT):
            some = opened[begin : begin + RECORDS_PER_CHECKPOINT]
            for error in some:
                if isinstance(error, MalformedError):
                    self._peer_score.note_refusal(peer, "record", str(error))
            records = [record for record in some if isinstance(record, Record)]
            for _, of_author in groupby(records, key=attrgetter("author")):
                run = list(of_author)
                for record, added in zip(run, self._intake.keep_run(run, peer), strict=True):
                    self._count(record, added, peer, tally)
            await trio.lowlevel.checkpoint()
        return tally.got - before

    def _count(self, record: Record, added: Added, peer: str, tally: _Tally) -> None:
        match added:
            case Added.NEW:
                tally.got += 1
                self._rebroadcast.synced(record.id, trio.current_time(), urgent=is_urgent(record))
            case Added.REFUSED:
                tally.unwanted += 1
            case Added.GAP:
                tally.unwanted += 1  # what follows a record that found no room
                self._peer_score.note_refusal(peer, "record", "its predecessor is missing", offence=False)

    async def _take_proofs(self, proofs: Iterable[tuple[bytes, bytes]], peer: str, tally: _Tally) -> None:
        for index, (first, second) in enumerate(proofs, 1):
            if index % PROOFS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
            try:
                fork = self._intake.open_fork(first, second)
            except MalformedError as error:
                self._peer_score.note_refusal(peer, "record", str(error))
                continue
            tally.forks += self._intake.keep_fork(fork, peer) is Added.FORK

    def _finish(self, peer: str, tally: _Tally) -> None:
        """Log a session. Other peers are brought the proof of a fork at once, records when Rebroadcast says so."""
        if tally.got or tally.sent:
            self._log("synced", peer=short_peer(peer), got=tally.got, sent=tally.sent)
        if tally.got:
            self._news.set()
        if tally.forks:
            self._sync_soon_with(other for other in self._host.peers() if other != peer)

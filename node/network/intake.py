"""Intake: the one door for peers' records. What gossip and anti-entropy receive is stored only through here.

What is checked, in this order:

1. `open`: size, the one canonical form, types and limits of all fields, and the author's signature, by
   protocol.records.open_record; and that the objective and its metric are this swarm's.
2. `keep`: that this node's configuration (`allow`, `block`) does not exclude the author, whoever brings the record;
3. then, by the store: that there is room for what this peer brings of this author (node/ledger/pool.py), and that the
   author has not forked its feed;
4. and the feed rule, by protocol.feed.check_next: the next number, linked to the record before. An earlier number is a
   record known already, or the proof of a fork; a later one shows a gap.

Gossip checks one thing more, because only gossip has a publisher: that the publisher is the author. Nobody checks
whether a claim is true; that is decided later, by trying it out (node/review).

It knows nothing of how a record came. What follows from the answer (passing it on, asking for what is missing) is for
those who received it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import chain

import trio

from node.ledger.pool import Bringer
from node.ledger.store import Added
from node.network.parameters import PEERS_REMEMBERED, VERIFIERS
from node.network.peer_score import PeerScore
from node.network.store import RecordStore
from node.platform.concurrency import gather
from node.platform.log import Log
from protocol.codec import MalformedError
from protocol.feed import Fork, open_fork
from protocol.identity import peer_id_of, short, short_peer
from protocol.records import Audit, Experiment, Record, Replication, Transfer, metric_of, open_record

_peer_of = lru_cache(PEERS_REMEMBERED)(peer_id_of)  # of an author, of whom there are often many records in a row
MEASURED = (Experiment, Replication, Audit, Transfer)  # what has values of the metric


class Intake:
    """The door to one store. A peer that brings what is refused here is noted in its score."""

    def __init__(
        self,
        store: RecordStore,
        peer_score: PeerScore,
        log: Log,
        bringer_of: Callable[[str], Bringer] = Bringer,
        on_new: Callable[[bytes, str], None] = lambda author, peer: None,
    ) -> None:
        """bringer_of: what the store is to know of a peer that brings records. on_new: called with the author of a
        record that was new here, and the peer that brought it.
        """
        self._store = store
        self._bringer_of = bringer_of
        self._on_new = on_new
        self._peer_score = peer_score
        self._log = log
        self._verifiers = trio.CapacityLimiter(VERIFIERS)

    def open(self, wire: bytes) -> Record:
        """Decode and verify a record. Raises MalformedError; whom to blame for it, the caller knows."""
        record = open_record(wire)
        if record.objective != self._store.objective:
            raise MalformedError("a record of another objective")
        if isinstance(record.body, MEASURED) and metric_of(record.body) != self._store.metric:
            raise MalformedError("a record of another metric than the objective's")
        return record

    async def open_all(self, wires: Sequence[bytes]) -> list[Record | MalformedError]:
        """`open` each of them, on several processors, while other tasks go on: to check a signature lets them."""
        share = max(1, math.ceil(len(wires) / VERIFIERS))
        parts = [wires[first : first + share] for first in range(0, len(wires), share)]
        threads = [partial(trio.to_thread.run_sync, self._open_each, part, limiter=self._verifiers) for part in parts]
        return [*chain.from_iterable(await gather(threads))]

    def _open_each(self, wires: Sequence[bytes]) -> list[Record | MalformedError]:
        opened: list[Record | MalformedError] = []
        for wire in wires:
            try:
                opened.append(self.open(wire))
            except MalformedError as error:
                opened.append(error)
        return opened

    def keep(self, record: Record, peer: str) -> Added:
        """Offer an opened record, brought by this peer, to the store. Logs what a person should know of the answer."""
        return self.keep_run([record], peer)[0]

    def keep_run(self, run: Sequence[Record], peer: str) -> list[Added]:
        """`keep` records of one author."""
        if not self._peer_score.is_allowed(_peer_of(run[0].author)):
            return [Added.REFUSED] * len(run)
        try:
            added = self._store.add_run(run, self._bringer_of(peer))
        except (OSError, sqlite3.Error) as error:
            self._log_disk(error)
            return [Added.REFUSED] * len(run)
        for record, became in zip(run, added, strict=True):
            self._note(record, became, peer)
        return added

    def _note(self, record: Record, became: Added, peer: str) -> None:
        if became is Added.NEW:
            self._on_new(record.author, peer)
        elif became is Added.FORK:
            self._log_fork(record.author, record.seq, peer)
        elif became is Added.REFUSED:
            # No offence: the peer may not know of the fork yet, and cannot know this node's quota.
            self._peer_score.note_refusal(
                peer, "record", "its author forked its feed or is over a limit", offence=False
            )

    def open_fork(self, first: bytes, second: bytes) -> Fork:
        """Decode and verify the proof of a fork. Raises MalformedError."""
        fork = open_fork(first, second)
        if fork.objective != self._store.objective:
            raise MalformedError("a fork of another objective")
        return fork

    def keep_fork(self, fork: Fork, peer: str) -> Added:
        """Offer the opened proof of a fork, brought by this peer, to the store. Logs it if it is new."""
        try:
            added = self._store.add_fork(fork, self._bringer_of(peer))
        except (OSError, sqlite3.Error) as error:
            self._log_disk(error)
            return Added.REFUSED
        if added is Added.FORK:
            self._log_fork(fork.author, fork.seq, peer)
        return added

    def _log_disk(self, error: OSError | sqlite3.Error) -> None:
        """A full disk is no reason to stop relaying."""
        self._log("record not kept", level="error", reason=self._store.trouble(error))

    def _log_fork(self, author: bytes, seq: int, peer: str) -> None:
        self._log("fork found", level="warning", author=short(author), seq=seq, peer=short_peer(peer))


def is_urgent(record: Record) -> bool:
    """Whether peers wait for this record. They do for all but a trial that found nothing, which most records are."""
    return not isinstance(record.body, Experiment) or record.body.decision == "improved"

"""Sync in the simulation: when a node opens sessions, and what two real Reconciliations say to each other in one.

When to sync is decided by the rules of node/network/anti_entropy.py, told here a second time because those are written
around real streams; what is said is protocol.sync's own. Bandwidth and latency delay what is said; a session whose ends
lose each other is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from node.network.parameters import SYNC_SOONEST_SECONDS, SYNCS_IN_ALL
from protocol.messages import Message, Records, encode_message
from protocol.records import Record
from protocol.sync import Reconciliation
from scripts.simulation.archive import Shelf
from scripts.simulation.clock import Clock
from scripts.simulation.network import Network

BYTES_PER_SECOND = 1_250_000  # each way, of one session
FRAME_BYTES = 86  # a length, and the headers of Yamux, Noise, TCP and IP
REMEMBERED_SIZES = 4096  # of vectors, which are often the same at many nodes
STREAM_BYTES = 200  # each way, to open a stream and agree on its protocol


@dataclass
class SyncTally:
    """What sessions took, over all nodes; bytes as sent, by what they were for."""

    sessions: int = 0
    idle_sessions: int = 0
    refused: int = 0
    record_bytes: int = 0
    vector_bytes: int = 0
    overhead_bytes: int = 0
    records_known: int = 0
    records_new: int = 0


@dataclass
class _End:
    """One side of a session."""

    node: int
    shelf: Shelf
    session: Reconciliation
    done: bool = False
    got: list[Record] = field(default_factory=list)
    inbox: list[Message] = field(default_factory=list)


class Talk:
    """All sessions of the swarm. `took` is told of each record that one brings, `ended` of what it brought a node."""

    def __init__(
        self,
        clock: Clock,
        network: Network,
        shelves: list[Shelf],
        objective: bytes,
        took: Callable[[int, Record], None],
        ended: Callable[[int, list[Record]], None],
    ) -> None:
        self.tally = SyncTally()
        self._clock = clock
        self._network = network
        self._shelves = shelves
        self._objective = objective
        self._took = took
        self._ended = ended
        self._asked_for: set[tuple[int, int]] = set()
        self._last: dict[tuple[int, int], float] = {}
        self._answering: Counter[int] = Counter()

    def request(self, opener: int, answerer: int, delay: float = 0.0) -> None:
        """Open a session soon; requests that come before it has begun are one."""
        pair = opener, answerer
        if pair not in self._asked_for:
            self._asked_for.add(pair)
            soonest = self._last.get(pair, -SYNC_SOONEST_SECONDS) + SYNC_SOONEST_SECONDS
            self._clock.at(max(self._clock.now + delay, soonest), lambda: self._open(opener, answerer))

    def _open(self, opener: int, answerer: int) -> None:
        if not self._network.reachable(opener, answerer):
            self._asked_for.discard((opener, answerer))
            return
        if self._answering[answerer] >= SYNCS_IN_ALL:
            self.tally.refused += 1
            self._asked_for.discard((opener, answerer))
            return
        self._answering[answerer] += 1
        self.tally.sessions += 1
        self.tally.overhead_bytes += 2 * STREAM_BYTES
        ends = tuple(
            _End(node, shelf, Reconciliation(shelf, self._objective))
            for node, shelf in ((opener, self._shelves[opener]), (answerer, self._shelves[answerer]))
        )
        for end, other in (ends, ends[::-1]):
            other.inbox = end.session.start()
        self._travel(ends, 3 * self._network.latency(opener, answerer))

    def _travel(self, ends: tuple[_End, ...], latency: float) -> None:
        """Both inboxes are on their way."""
        sizes = [sum(map(self._size, end.inbox)) for end in ends]
        self._clock.after(latency + max(sizes) / BYTES_PER_SECOND, lambda: self._arrive(ends))

    def _size(self, message: Message) -> int:
        if isinstance(message, Records):
            size = sum(map(len, message.wires))
            self.tally.record_bytes += size
        else:
            size = _encoded_size(message)
            self.tally.vector_bytes += size
        self.tally.overhead_bytes += FRAME_BYTES * (1 + size // 16384)
        return size

    def _arrive(self, ends: tuple[_End, ...]) -> None:
        opener, answerer = ends
        if not self._network.reachable(opener.node, answerer.node):
            self._close(ends)
            return
        answers = [self._hear(end) for end in ends]
        if opener.done and answerer.done:
            if not opener.got and not answerer.got:
                self.tally.idle_sessions += 1
            self._close(ends)
            return
        opener.inbox, answerer.inbox = answers[1], answers[0]
        self._travel(ends, self._network.latency(opener.node, answerer.node))

    def _hear(self, end: _End) -> list[Message]:
        said: list[Message] = []
        for message in end.inbox:
            step = end.session.receive(message)
            said += step.send
            end.done = end.done or step.done
            for wire in step.records:
                record = end.shelf.take(wire)
                if record is None:
                    self.tally.records_known += 1
                else:
                    self.tally.records_new += 1
                    end.got.append(record)
                    self._took(end.node, record)
        return said

    def _close(self, ends: tuple[_End, ...]) -> None:
        opener, answerer = ends
        self._answering[answerer.node] -= 1
        self._asked_for.discard((opener.node, answerer.node))
        self._last[opener.node, answerer.node] = self._clock.now
        for end in ends:
            if end.got:
                self._ended(end.node, end.got)


@lru_cache(maxsize=REMEMBERED_SIZES)
def _encoded_size(message: Message) -> int:
    return len(encode_message(message))

"""The simulated swarm: nodes write, gossip, sync, come and go, and every node re-runs what it is drawn for.

It knows the rules by which a node decides (node/network/gossip.py and anti_entropy.py) and leaves what is said to the
protocol's own code. Time passes in a Clock, chance comes from one generator, so a run can be repeated exactly.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from node.network.intake import is_urgent
from node.network.parameters import BATCH_SECONDS, GAP_SYNC_SECONDS, SYNC_EVERY_SECONDS
from protocol.feed import FeedCheck
from protocol.rebroadcast import Rebroadcast
from protocol.records import Effect, Experiment, Pair, Record, Replication, Run
from scripts.simulation.archive import Archive, Lengths, Shelf, name_id
from scripts.simulation.clock import Clock
from scripts.simulation.network import Floats, Flood, Integers, Network
from scripts.simulation.talk import Talk

DISCOVERIES = 0.05  # of experiments
REPLICATORS, RERUN_SECONDS = 3, 60.0
AWAY_SECONDS = 300.0  # of a node that leaves, on average
CONNECT_SECONDS = 1.0
CHECK_SECONDS = 0.5  # how often we look whether a partition has healed
TICK_SECONDS = 0.05  # how exactly arrivals by gossip are put in order with everything else


@dataclass(frozen=True)
class Settings:
    """churn: share of nodes that leave in an hour. partition_minutes: of two halves, from a quarter of the time on."""

    nodes: int
    minutes: float
    records_per_node_hour: float
    loss: float
    churn: float
    partition_minutes: float
    seed: int


@dataclass
class GossipTally:
    """What was said by gossip, over all nodes: messages, their bytes, their copies, and bytes times copies."""

    messages: int = 0
    record_bytes: int = 0
    copies: int = 0
    copied_bytes: int = 0
    asked: int = 0


class Swarm:
    """A swarm and all that happens in it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock()
        self.dice = np.random.default_rng(settings.seed)
        self.archive = Archive(settings.nodes, f"simulation {settings.seed}")
        self.network = Network(settings.nodes, settings.loss, self.dice)
        self.lengths = np.zeros((settings.nodes, settings.nodes), dtype=np.uint16)
        self.shelves = [Shelf(self.archive, row) for row in self.lengths]
        self.talk = Talk(
            self.clock, self.network, self.shelves, self.archive.objective, self._took, self._rebroadcast_later
        )
        self.gossip = GossipTally()
        self.came: dict[bytes, Floats] = {}  # discovery to when each node had it
        self.written: dict[bytes, float] = {}  # discovery to when it was made
        self.left = np.zeros(settings.nodes, dtype=np.int64)  # how often each node has left
        self._waiting: dict[int, list[Record]] = defaultdict(list)
        self._rebroadcasts: dict[int, Rebroadcast] = {}
        self.healed: float | None = None  # seconds from the end of the partition until all held what it kept apart
        self._writing = True

    def run(self) -> None:
        """Let the given time pass."""
        settings, clock = self.settings, self.clock
        for node in range(settings.nodes):
            clock.at(SYNC_EVERY_SECONDS * self.dice.random(), lambda node=node: self._ask_somebody(node))
        self._next_experiment()
        self._next_leave()
        if settings.partition_minutes:
            clock.at(15 * settings.minutes, lambda: self._divide(True))
            clock.at(15 * settings.minutes + 60 * settings.partition_minutes, lambda: self._divide(False))
        clock.run(60 * settings.minutes)

    def fall_silent(self) -> None:
        """From now on nobody writes or leaves."""
        self._writing = False

    # ---- writing -----------------------------------------------------------------------------------------------------

    def _next_experiment(self) -> None:
        rate = self.settings.records_per_node_hour * self.settings.nodes / 3600
        self.clock.after(self.dice.exponential(1 / rate), self._experiment)

    def _experiment(self) -> None:
        if not self._writing:
            return
        self._next_experiment()
        node = int(self.dice.integers(self.settings.nodes))
        if not self.network.up[node]:
            return
        improved = self.dice.random() < DISCOVERIES
        record = self._write(node, experiment(f"idea {self.clock.now:.3f}", improved))
        if improved:
            self._trace(record)
            self._say(node)
        elif len(self._waiting[node]) == 1:
            self.clock.after(BATCH_SECONDS, lambda: self._say(node))

    def _write(self, node: int, body: Experiment | Replication) -> Record:
        record = self.archive.write(node, body, self.clock.now)
        self.lengths[node, node] += 1
        self._waiting[node].append(record)
        return record

    def _trace(self, record: Record) -> None:
        author = self.archive.number[record.author]
        self.written[record.id] = self.clock.now
        self.came[record.id] = np.full(self.settings.nodes, np.inf)
        self.came[record.id][author] = self.clock.now
        for node in self.dice.choice(self.settings.nodes, REPLICATORS, replace=False).tolist():
            if node != author:
                self._rerun_later(node, record)

    def _rerun_later(self, node: int, claim: Record) -> None:
        self.clock.after(self.dice.exponential(RERUN_SECONDS), lambda: self._rerun(node, claim))

    def _rerun(self, node: int, claim: Record) -> None:
        """A replicator that has the claim by now says what it found; one that has not looks again later."""
        if not self._writing:
            return
        if not self.network.up[node] or not np.isfinite(self.came[claim.id][node]):
            self._rerun_later(node, claim)
            return
        self._write(node, replication(claim, float(self.dice.normal(-0.02, 0.005))))
        self._say(node)

    # ---- gossip ------------------------------------------------------------------------------------------------------

    def _say(self, node: int) -> None:
        """What waits goes out, in order."""
        records = self._waiting.pop(node, [])
        if not records:
            return
        flood = self.network.flood(node)
        size = sum(len(record.wire()) for record in records)
        self.gossip.messages += 1
        self.gossip.record_bytes += size
        self.gossip.copies += flood.copies
        self.gossip.copied_bytes += flood.copies * size
        self.gossip.asked += flood.asked
        self._spread(flood, records, self.clock.now, 1)

    def _spread(self, flood: Flood, records: list[Record], said: float, done: int) -> None:
        """Deliver what has arrived by now, and come back for the rest."""
        until = int(np.searchsorted(flood.seconds, self.clock.now - said, side="right"))
        self._deliver(flood.nodes[done:until], flood.forwarders, records, said + flood.seconds[done:until])
        if until < len(flood.nodes):
            due = max(said + flood.seconds[until], self.clock.now + TICK_SECONDS)
            self.clock.at(due, lambda: self._spread(flood, records, said, max(done, until)))

    def _deliver(self, nodes: Integers, forwarders: Integers, records: list[Record], times: Floats) -> None:
        here = self.network.up[nodes]
        nodes, times = nodes[here], times[here]
        for record in records:
            author = self.archive.number[record.author]
            held = self.lengths[nodes, author]
            for length in np.unique(held):
                those = held == length
                match self.archive.verdict(int(length), record):
                    case FeedCheck.NEXT:
                        self.lengths[nodes[those], author] += 1
                        if record.id in self.came:
                            self.came[record.id][nodes[those]] = times[those]
                    case FeedCheck.GAP:
                        for node in nodes[those].tolist():
                            self.talk.request(node, int(forwarders[node]), GAP_SYNC_SECONDS)
                    case FeedCheck.DUPLICATE_OR_FORK:
                        for node in self._rebroadcasts.keys() & set(nodes[those].tolist()):
                            self._rebroadcasts[node].gossiped(record.id)

    # ---- sync --------------------------------------------------------------------------------------------------------

    def _ask_somebody(self, node: int) -> None:
        pause = SYNC_EVERY_SECONDS * self.dice.uniform(0.8, 1.2)
        self.clock.after(pause, lambda: self._ask_somebody(node))
        neighbours = self.network.neighbours(node) if self.network.up[node] else []
        if neighbours:
            self.talk.request(node, neighbours[self.dice.integers(len(neighbours))])

    def _took(self, node: int, record: Record) -> None:
        if record.id in self.came:
            self.came[record.id][node] = self.clock.now

    def _rebroadcast_later(self, node: int, got: list[Record]) -> None:
        rebroadcast = self._rebroadcasts.setdefault(node, Rebroadcast())
        for record in got:
            rebroadcast.synced(record.id, self.clock.now, urgent=is_urgent(record))
        self._rebroadcast_if_due(node)

    def _rebroadcast_if_due(self, node: int) -> None:
        """Sync with everybody if it is time to, and come back when it may be."""
        rebroadcast = self._rebroadcasts.get(node, Rebroadcast())
        if rebroadcast.take(self.clock.now) and self.network.up[node]:
            for other in self.network.neighbours(node):
                self.talk.request(node, other, self.dice.uniform(0.2, 0.8))
        due = rebroadcast.due()
        if due is None:
            self._rebroadcasts.pop(node, None)
        else:
            self.clock.at(due, lambda: self._rebroadcast_if_due(node))

    # ---- coming and going --------------------------------------------------------------------------------------------

    def _next_leave(self) -> None:
        rate = self.settings.churn * self.settings.nodes / 3600
        if rate:
            self.clock.after(self.dice.exponential(1 / rate), self._leave)

    def _leave(self) -> None:
        if not self._writing:
            return
        self._next_leave()
        node = int(self.dice.integers(self.settings.nodes))
        if self.network.up[node]:
            self.network.up[node] = False
            self.left[node] += 1
            self.clock.after(self.dice.exponential(AWAY_SECONDS), lambda: self._return(node))

    def _return(self, node: int) -> None:
        self.network.up[node] = True
        self._meet(node, self.network.neighbours(node))

    def _divide(self, divided: bool) -> None:
        """Part the swarm in two halves, or let it come together again: whoever was parted connects anew."""
        old = self.network.side.copy()
        self.network.side[: self.settings.nodes // 2] = divided
        if not divided:
            for node in np.flatnonzero(old).tolist():
                self._meet(node, [other for other in self.network.neighbours(node) if not old[other]])

            here = np.flatnonzero(self.network.up)
            self._look_whether_healed(here, self.lengths[here].max(axis=0), self.left[here], self.clock.now)

    def _look_whether_healed(self, here: Integers, held: Lengths, left: Integers, since: float) -> None:
        """Do those who were here and have not left since hold all that they held together?"""
        here, left = here[self.left[here] == left], left[self.left[here] == left]
        if (self.lengths[here] >= held).all():
            self.healed = self.clock.now - since
        else:
            self.clock.after(CHECK_SECONDS, lambda: self._look_whether_healed(here, held, left, since))

    def _meet(self, node: int, others: list[int]) -> None:
        """New connections: each leads to one session, opened by the node with the lower id."""
        for other in others:
            delay = CONNECT_SECONDS * self.dice.uniform(0.5, 1.5)
            self.talk.request(min(node, other), max(node, other), delay)


def experiment(title: str, improved: bool) -> Experiment:
    """An experiment of the usual size: one pair where it was dropped at screening, three where it held."""
    pairs = tuple(_pair(seed) for seed in range(2))
    return Experiment(
        title=title,
        category="initialisation",
        reason="A reason of about the length that a catalogue of ideas gives.",
        proposer="catalogue",
        parent=name_id("parent"),
        child=name_id(title),
        fingerprint=name_id("fingerprint of " + title),
        compute_class="cpu",
        device="a processor of four cores",
        sandbox="bwrap",
        decision="improved" if improved else "no_gain",
        effect=Effect(-0.02 if improved else 0.001, 0.007, 2),
        holdout=Effect(-0.019, 0.008, 2) if improved else None,
        cost_ratio=1.0,
        screening=_pair(7),
        pairs=pairs if improved else (),
    )


def replication(claim: Record, found: float) -> Replication:
    assert isinstance(claim.body, Experiment)
    return Replication(
        discovery=claim.id,
        parent=claim.body.parent,
        child=claim.body.child,
        compute_class="cpu",
        device="a processor of four cores",
        sandbox="bwrap",
        decision="supports" if found < 0 else "contradicts",
        effect=Effect(found, 0.007, 2),
        cost_ratio=1.0,
        pairs=(_pair(1), _pair(2)),
        adopted=None,
        route="",
        adoption=None,
    )


def _pair(seed: int) -> Pair:
    points = ((20, 5.5), (50, 4.75), (100, 4.25))
    return Pair(seed, Run(3.5, 9.5, 524288, points, None), Run(3.45, 9.25, 524288, points, None))

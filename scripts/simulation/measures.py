"""What a simulated swarm is asked at the end: how fast, how many bytes, whether all are equal, what they believe."""

from __future__ import annotations

import resource
from dataclasses import dataclass

import numpy as np

from protocol.digests import ALL
from protocol.evidence import OwnRuns, Report, Standing, standing
from protocol.records import Experiment, Record, Replication
from scripts.simulation.archive import Shelf
from scripts.simulation.swarm import Swarm
from scripts.simulation.talk import FRAME_BYTES

ENVELOPE_BYTES = 242  # what GossipSub puts around a message: publisher, counter, topic, signature, key
ANNOUNCED_BYTES = 48  # of a message's id in an IHAVE
PRESENCE_BYTES = 266  # with two addresses
PRESENCE_SECONDS = 30.0
PRESENCES_PER_SECOND = 0.5  # of everybody together, beyond which nodes say less often that they are here
SETTLED_SECONDS = 60.0  # a discovery younger than this at the end is not counted
EQUAL_WITHIN_SECONDS = 600.0
ASKED_NODES = 50


@dataclass(frozen=True)
class Reach:
    """Seconds until a discovery was at a share of the nodes that never left: median and worst over discoveries."""

    discoveries: int
    median: tuple[float, float, float]  # until 50 %, 99 % and all of them
    worst: tuple[float, float, float]


@dataclass(frozen=True)
class Traffic:
    """Bytes that a node sends per hour, on average over the swarm."""

    gossip: float
    sync: float
    overhead: float
    presence: float

    @property
    def total(self) -> float:
        return self.gossip + self.sync + self.overhead + self.presence


def reach(swarm: Swarm) -> Reach:
    """How long discoveries took; those of the time of a partition are left out."""
    settings, end = swarm.settings, swarm.clock.now
    parted = 15 * settings.minutes - SETTLED_SECONDS
    together = 15 * settings.minutes + 60 * settings.partition_minutes
    stayed = swarm.network.up & (swarm.left == 0)
    took = []
    for discovery, made in swarm.written.items():
        apart = settings.partition_minutes and parted < made < together
        if made < end - SETTLED_SECONDS and not apart:
            waited = np.sort(swarm.came[discovery][stayed] - made)
            took.append([waited[int(np.ceil(share * len(waited))) - 1] for share in (0.5, 0.99, 1.0)])
    if not took:
        return Reach(0, (np.nan,) * 3, (np.nan,) * 3)
    return Reach(len(took), tuple(np.median(took, axis=0).tolist()), tuple(np.max(took, axis=0).tolist()))


def traffic(swarm: Swarm) -> Traffic:
    node_hours = swarm.settings.nodes * swarm.clock.now / 3600
    gossip, sync = swarm.gossip, swarm.talk.tally
    announced = swarm.network.announcements() * ANNOUNCED_BYTES
    around = gossip.copies * (ENVELOPE_BYTES + FRAME_BYTES) + gossip.messages * swarm.settings.nodes * announced
    return Traffic(
        gossip=gossip.copied_bytes / node_hours,
        sync=(sync.record_bytes + sync.vector_bytes) / node_hours,
        overhead=(around + sync.overhead_bytes) / node_hours,
        presence=_presence(swarm, announced),
    )


def _presence(swarm: Swarm, announced: float) -> float:
    """Worked out, not simulated: each presence takes the way of a record, and nothing depends on it."""
    nodes = swarm.settings.nodes
    copies = swarm.gossip.copies / max(1, swarm.gossip.messages) / nodes
    every = max(PRESENCE_SECONDS, nodes / PRESENCES_PER_SECOND)
    return 3600 / every * nodes * (copies * (PRESENCE_BYTES + ENVELOPE_BYTES + FRAME_BYTES) + announced)


def until_equal(swarm: Swarm) -> float:
    """Let everybody fall silent; seconds until all who are here hold all that they hold together; inf if too long.

    Who comes back later is not waited for, and what it brings is not looked at.
    """
    swarm.fall_silent()
    begun, here = swarm.clock.now, np.flatnonzero(swarm.network.up)
    together = swarm.lengths[here].max(axis=0)
    while swarm.clock.now < begun + EQUAL_WITHIN_SECONDS:
        if (swarm.lengths[here] >= together).all():
            shelves = (Shelf(swarm.archive, np.minimum(swarm.lengths[node], together)) for node in here)
            assert len({shelf.digest(ALL) for shelf in shelves}) == 1
            return swarm.clock.now - begun
        swarm.clock.run(swarm.clock.now + 1.0)
    return float("inf")


def beliefs(swarm: Swarm) -> tuple[list[Standing], int]:
    """The standing of every discovery as the first node asked sees it, and at how many nodes asked another holds."""
    up = np.flatnonzero(swarm.network.up)
    asked = up[:: max(1, len(up) // ASKED_NODES)]
    records = [record for feed in swarm.archive.feeds for record in feed]
    claims = {record.id: record for record in records if record.id in swarm.written}
    about: dict[bytes, list[Record]] = {}
    for record in records:
        if isinstance(record.body, Replication):
            about.setdefault(record.body.discovery, []).append(record)

    def seen_by(node: int) -> list[Standing]:
        return [_standing(swarm, node, claim, about.get(claim.id, [])) for claim in claims.values()]

    views = [seen_by(int(node)) for node in asked]
    return views[0], sum(view != views[0] for view in views)


def _standing(swarm: Swarm, node: int, claim: Record, replications: list[Record]) -> Standing:
    """As at a node that has checked everybody and run the first report again: who is believed is not simulated here."""
    assert isinstance(claim.body, Experiment)
    reports = []
    for record in replications:
        held = record.seq < swarm.lengths[node, swarm.archive.number[record.author]]
        if held and isinstance(record.body, Replication) and record.body.effect is not None:
            reports.append(Report(record.author, record.body.compute_class, record.body.effect, 1.0, True, True))
    own = {claim.body.compute_class: OwnRuns(tuple(report.effect for report in reports[:1]))}
    return standing(claim.body, reports, own, len(reports))


def peak_memory() -> int:
    """Bytes this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""A small simulated swarm: discoveries reach everybody, partitions heal, and the same seed gives the same run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from protocol.digests import ALL, FeedTree  # noqa: E402
from scripts.simulation.archive import Archive, Shelf  # noqa: E402
from scripts.simulation.measures import beliefs, reach, traffic, until_equal  # noqa: E402
from scripts.simulation.network import CONNECTIONS, MESH_LEAST, Network  # noqa: E402
from scripts.simulation.swarm import Settings, Swarm, experiment  # noqa: E402

CALM = Settings(nodes=50, minutes=10, records_per_node_hour=10, loss=0.01, churn=0, partition_minutes=0, seed=3)


@pytest.fixture(scope="module")
def calm() -> Swarm:
    swarm = Swarm(CALM)
    swarm.run()
    return swarm


def test_discoveries_reach_every_node_within_a_second(calm: Swarm) -> None:
    travelled = reach(calm)
    assert travelled.discoveries >= 3
    assert travelled.worst[2] < 1.0


def test_the_same_seed_gives_the_same_run(calm: Swarm) -> None:
    again = Swarm(CALM)
    again.run()
    assert traffic(again) == traffic(calm)
    assert np.array_equal(again.lengths, calm.lengths)


def test_a_node_syncs_about_once_a_minute_and_no_storm_follows(calm: Swarm) -> None:
    sync = calm.talk.tally
    per_node_hour = sync.sessions / CALM.nodes / (CALM.minutes / 60)
    assert 50 < per_node_hour < 70
    assert sync.refused == 0


def test_when_all_fall_silent_they_become_equal_and_believe_the_same() -> None:
    swarm = Swarm(replace(CALM, churn=5, loss=0.2, records_per_node_hour=20))
    swarm.run()
    assert swarm.left.sum() > 10
    assert until_equal(swarm) < 300
    seen, others = beliefs(swarm)
    assert {standing.verdict for standing in seen} >= {"confirmed"}
    assert others == 0


def test_two_halves_become_one_again() -> None:
    swarm = Swarm(replace(CALM, partition_minutes=3))
    swarm.run()
    assert swarm.healed is not None
    assert swarm.healed < 30


def test_what_a_shelf_says_of_its_feeds_is_what_a_ledger_would_say() -> None:
    archive = Archive(120, "digests")
    lengths = np.zeros(120, dtype=np.uint16)
    tree = FeedTree()
    for author in range(0, 120, 2):
        archive.write(author, experiment(f"idea {author}", False), 0.0)
        lengths[author] = 1
        tree.put(archive.within(ALL, lengths)[-1])
    shelf = Shelf(archive, lengths)
    for bucket in (ALL, "0", "a", "a3", "f"):
        assert shelf.digest(bucket) == tree.digest(bucket)
        assert shelf.within(bucket) == tree.within(bucket)


def test_a_flood_goes_through_the_mesh_and_around_what_is_lost() -> None:
    network = Network(60, 0.3, np.random.default_rng(1))
    assert min(len(network.neighbours(node)) for node in range(60)) >= CONNECTIONS / 2
    flood = network.flood(7)
    assert sorted(flood.nodes.tolist()) == list(range(60))
    assert flood.nodes[0] == 7
    assert (np.diff(flood.seconds) >= 0).all()
    assert all(node in network.neighbours(int(flood.forwarders[node])) for node in flood.nodes[1:].tolist())
    assert flood.copies >= (MESH_LEAST - 1) * 59
    assert flood.asked > 0
    network.side[:30] = 1
    assert set(network.flood(7).nodes.tolist()) <= set(range(30))

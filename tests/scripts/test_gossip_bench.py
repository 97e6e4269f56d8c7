"""The gossip benchmark measures what it says, on swarms small enough for a test."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace

import pytest

from scripts import gossip_bench
from scripts.gossip_bench import INTEROP, SWARMS, Load, NodeProcess, measure, topology

SMALL = Load(topology(3, random.Random(1)), rate=10.0, messages=6, message_bytes=1900)
WITH_JS = pytest.mark.skipif(
    shutil.which("node") is None or not (INTEROP / "node_modules").is_dir(),
    reason="the JavaScript client: Node.js 20 or newer, and `npm ci` in tests/interop",
)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_bench, "SETTLE_SECONDS", 1.5)
    monkeypatch.setattr(gossip_bench, "QUIET_SECONDS", 0.5)


def test_a_topology_connects_everybody_with_about_six_peers() -> None:
    dials = topology(35, random.Random(1))
    assert all(other < node for node, others in enumerate(dials) for other in others)
    assert all(dials[1:])
    assert 5.5 < 2 * sum(map(len, dials)) / 35 <= 6


@pytest.mark.sockets
@pytest.mark.parametrize("swarm", [pytest.param(swarm, marks=WITH_JS if "js" in swarm else ()) for swarm in SWARMS])
async def test_every_message_is_delivered_and_every_figure_there(swarm: str) -> None:
    figures = await measure(swarm, SMALL)
    assert (figures.delivered, figures.by_gossip) == (1, 1)
    assert len(figures.latencies) == 12
    assert 0 < figures.percentile(50) <= figures.percentile(99) < 1000
    assert len(figures.memory) == len(figures.idle) == 3
    assert all(10 < memory < 200 for memory in figures.memory)


@pytest.mark.sockets
async def test_a_node_that_ends_early_is_named_and_nothing_outlives_the_swarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    remember = NodeProcess.__init__

    def note(self: NodeProcess, process: object) -> None:
        remember(self, process)  # type: ignore[arg-type]
        begun.append(self._process.pid)

    monkeypatch.setattr(NodeProcess, "__init__", note)
    monkeypatch.setitem(SWARMS, "autoresearch", [*SWARMS["autoresearch"][:1], "-c", "print('{}'); input()"])
    with pytest.raises(ExceptionGroup) as caught:
        await measure("autoresearch", replace(SMALL, dials=SMALL.dials[:1]))
    assert f"node process {begun[0]} ended" in gossip_bench.leaves(caught.value)[0]

"""The simulated swarm runs the node's own rules: it repeats, it shares, and what peers claim costs runs to believe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = str(Path(__file__).parents[2] / "scripts")


@pytest.fixture(autouse=True)
def _scripts_are_found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(SCRIPTS)
    yield
    for name in [name for name in sys.modules if name.startswith("simulated_swarm")]:
        del sys.modules[name]


def test_a_swarm_that_shares_is_sooner_there_and_pays_for_what_it_believes() -> None:
    from simulated_swarm.swarm import THREE_REPORT, Swarm
    from simulated_swarm.world import World

    def times(size: int, mode: str) -> tuple[float, Swarm]:
        swarm = Swarm(World(3), size, mode)
        return swarm.run(), swarm

    alone, _ = times(1, "isolated")
    apart, isolated = times(8, "isolated")
    together, sharing = times(8, THREE_REPORT)
    again, _ = times(8, THREE_REPORT)
    assert together == again
    assert together < apart < alone
    spent = sharing.spent()
    assert {"own ideas", "claims", "reports", "audits", "adoptions"} <= set(spent)
    assert set(isolated.spent()) == {"own ideas", "claims"}
    assert sharing.repeated < isolated.repeated

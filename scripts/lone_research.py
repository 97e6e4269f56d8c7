"""A researcher without a network, in this process: what the demonstrations of searching and keeping share.

It is the node's own cached runner, strategy and research, as `node.app.service` puts them together, in a folder of its
own.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.app.service import NodeSetup, assemble
from node.execution.prepare import prepare_data
from node.execution.run_progress import Progress
from node.execution.sandbox.layers import probe
from node.ledger.store import Ledger, Quota
from node.objective.limits import host_limits
from node.objective.load import load_objective
from node.platform.config import load_config
from node.platform.home import Home
from node.research.loop import Research
from node.trials.cached_runner import CachedRunner
from node.trials.statistics import Noise, effect_of
from node.trials.trial import made_pair
from protocol.records import Effect, Pair


class Unseen:
    """A progress view that shows nothing."""

    def show(self, title: str, progress: Progress) -> None: ...

    def clear(self) -> None: ...


def silent(*_: object, **__: object) -> None: ...


@asynccontextmanager
async def researcher(folder: Path, objective_root: Path, seed: int) -> AsyncIterator[Research]:
    """A node's research in `folder`, on the objective in `objective_root`, whose choices follow from `seed`."""
    config = load_config(None, {"home": str(folder / "home"), "seed": seed})
    home = Home(config.home)
    home.make()
    layers = probe()
    objective = load_objective(objective_root, folder / "data")
    await prepare_data(objective, layers, host_limits(config), silent)
    ledger = Ledger.open(home.ledger, objective.id, Quota())
    try:
        ledger.put_blob(objective.source.encode())
        node = assemble(NodeSetup(config, home, objective, silent, Unseen()), home.identity(), ledger, layers)
        async with node.cached_runner.runner:
            yield node.research
    finally:
        ledger.close()


async def holdout_gain(cached_runner: CachedRunner, best: bytes, seeds: Iterable[int]) -> float:
    """By how much the best source is better than the baseline on holdout data, in ln(metric)."""
    gains = []
    for seed in seeds:
        values = []
        for source in (cached_runner.objective.source_id, best):
            outcome = await cached_runner.runner.examine(cached_runner.source_text(source), seed, "holdout")
            values.append(outcome.value)
        if values[0] is not None and values[1] is not None:
            gains.append(math.log(values[0] / values[1]))
    return statistics.mean(gains) if gains else math.nan


async def compared(cached_runner: CachedRunner, parent: bytes, child: bytes, seeds: Sequence[int]) -> Effect | None:
    """The effect of a child against a parent on these seeds, cost included; cached runs are not made again."""
    pairs: list[Pair] = []
    alternated: list[int] = []
    for seed in seeds:
        made = await made_pair(cached_runner.run_pair, parent, child, seed)
        pairs.append(made.pair)
        alternated += made.alternated
    measured = cached_runner.objective.statistics
    return effect_of(pairs, alternated, Noise(measured.s0, measured.cost_s0), measured)

"""Whether arena's makers could be ranked by duels: each plays each, in the place of the house, over the same games.

    python scripts/arena_duels.py [--seeds N]

Prints the growth of each maker against each other one and against the houses, and which cycles there are: A ends above
B, B above C, C above A. The makers are the baseline with known ideas of objectives/arena, run in this process: they are
ours. docs/arena.md has the table, and why the score is against houses. Takes half a minute for each seed.
"""

from __future__ import annotations

import argparse
import importlib.util
from itertools import permutations
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.objective.edits import apply
from node.proposers.catalogue import read_ideas

ARENA = Path(__file__).parents[1] / "objectives" / "arena"
GAMES = 512
MAKERS = {  # by the titles of the ideas that the baseline has
    "baseline": (),
    "closer": ("Quote closer",),
    "a tick inside": ("One tick inside the house",),
    "very close": ("Quote very close",),
    "far": ("Quote far",),
    "half way": ("Half way to the house",),
    "inside its usual": ("Learn how wide the house is, and stay inside",),
    "smoothed, lean, closer": ("Smooth the index", "Lean more on what is held", "Quote closer"),
}
Numbers = dict[str, NDArray[np.float64]]


class Maker:
    """A source that quotes, with what it keeps."""

    def __init__(self, source: str, history: Numbers) -> None:
        self._source: dict[str, Any] = {}
        exec(compile(source, "maker.py", "exec"), self._source)
        self._task = SimpleNamespace(seed=1, threads=1, arrays=history)
        self._source["prepare"](self._task)

    def quotes(self, judge: ModuleType, inputs: Numbers) -> Numbers:
        answer = self._source["answer"](self._task, {name: each.copy() for name, each in inputs.items()})
        found: Numbers = judge.quotes({name: np.asarray(each) for name, each in answer.items()})
        return found


class Rival:
    """A maker in the place of the house: the judge's market asks it as it asks a house."""

    def __init__(self, judge: ModuleType, maker: Maker, index: NDArray[np.float64]) -> None:
        self._judge, self._maker, self._index = judge, maker, index
        self.inventory = np.zeros(index.shape[1])
        self._before = self.inventory
        self._flow = np.zeros(index.shape[1])
        self._step = -1  # the market asks once before the first step, for quotes to be shown then

    def quote(self, step: int, rival: Numbers) -> Numbers:
        held, moved = self.inventory, self.inventory - self._before
        self._before = held
        inputs = {
            "index": self._index[step],
            "house_bid": rival["bid"] if self._step >= 0 else self._index[0] - 8,
            "house_ask": rival["ask"] if self._step >= 0 else self._index[0] + 8,
            "bid_fills": np.maximum(moved, 0),
            "ask_fills": np.maximum(-moved, 0),
            "market_buys": np.maximum(self._flow, 0),
            "market_sells": np.maximum(-self._flow, 0),
            "inventory": held,
            "cash": self._judge.CAPITAL - held * self._index[step],  # no idea above looks at it
            "steps_left": np.full(len(held), float(self._judge.STEPS - step)),
        }
        self._step = step
        quoted = self._maker.quotes(self._judge, inputs)
        most = self._judge.MOST_INVENTORY
        quoted["bid_size"] = np.clip(quoted["bid_size"], 0, np.maximum(most - held, 0))
        quoted["ask_size"] = np.clip(quoted["ask_size"], 0, np.maximum(most + held, 0))
        return quoted

    def learn(self, step: int, flow: NDArray[np.float64]) -> None:
        self._flow = flow


def growth(judge: ModuleType, source: str, rival: str | None, seed: int) -> float:
    """How a maker's capital grows beside another one, or beside houses."""
    climate = judge.Climate(np.random.default_rng([seed, 0]))
    history = judge.history(np.random.default_rng([seed, 1]), climate)
    drawn = judge.Games(np.random.default_rng([seed, 2]), climate, GAMES)
    if rival is not None:
        drawn.house = Rival(judge, Maker(rival, history), drawn.index)
    market, maker = judge.Market(drawn), Maker(source, history)
    for _ in range(judge.STEPS):
        market.play(maker.quotes(judge, market.shown()))
    return float(np.log(np.maximum(market.closed() / judge.CAPITAL, judge.LEAST)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = range(1, parser.parse_args().seeds + 1)
    judge, sources = _judge(), _sources()
    names = list(sources)
    table = {
        (one, other): float(np.mean([growth(judge, sources[one], other and sources[other], seed) for seed in seeds]))
        for one in names
        for other in [None, *names]
    }
    print(f"{'':24}{'houses':>9}" + "".join(f"{name[:14]:>16}" for name in names))
    for one in names:
        print(f"{one:24}{table[one, None]:9.3f}" + "".join(f"{table[one, other]:16.3f}" for other in names))
    above = {(one, other) for one, other in permutations(names, 2) if table[one, other] > table[other, one]}
    cycles = [each for each in permutations(names, 3) if each[0] == min(each) and _is_cycle(each, above)]
    print("cycles:", "; ".join(" > ".join([*each, each[0]]) for each in cycles) or "none")
    agree = sum(((one, other) in above) == (table[one, None] > table[other, None]) for one, other in above)
    print(f"duels that rank two makers as the houses do: {agree} of {len(above)}")


def _is_cycle(names: tuple[str, ...], above: set[tuple[str, str]]) -> bool:
    return all(pair in above for pair in zip(names, (*names[1:], names[0]), strict=True))


def _judge() -> ModuleType:
    spec = importlib.util.spec_from_file_location("arena_judge", ARENA / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sources() -> dict[str, str]:
    ideas = {idea.title: idea for idea in read_ideas(ARENA / "ideas")}
    baseline = (ARENA / "maker.py").read_text()
    return {
        name: apply(baseline, [edit for title in titles for edit in ideas[title].edits])
        for name, titles in MAKERS.items()
    }


if __name__ == "__main__":
    main()

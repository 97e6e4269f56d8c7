"""Three strategies and what is shown of each: one that looks ahead, the luckiest of many, and an honest one.

    .venv/bin/python scripts/fooling_oneself.py [--seed 1] [--random 500] [--home HOME]

In markets of the portfolio objective, once in a single one (24 assets over four years, which is what most people have)
and once in all forty. Strategies are chosen by their validation; the holdout is what came next in the same markets.

- ahead: holds for a day what rose on it. A careless backtest credits a weight with the return that it was made from;
  the judge sends that return too late.
- lucky: the best of many that toss a coin for each asset once a month, without costs, so that nothing but luck differs.
- honest: the best of the baseline and its known ideas. With --home: the best source of that home, of as many tries.

Shown are the annual Sharpe ratio on validation and holdout, the best that is to be expected of as many tries without
skill, the deflated Sharpe ratio (the probability of skill, given the tries), the probability of backtest overfitting
among the tries, turnover and the worst drawdown. Everything runs in this process, so only sources that came with the
repository, or that a node of one's own found alone, belong here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.store import Ledger
from node.objective.edits import apply
from node.proposers.catalogue import read_ideas
from node.view.model.luck import deflated_sharpe, expected_best, overfitting_probability
from tests.objectives.portfolio.in_process import BASELINE, PORTFOLIO, Session, judge_module

Array = NDArray[np.float64]
MONTH = 21  # days between two tosses
AHEAD = "import numpy as np\ndef answer(task, inputs):\n    return 0.04 * np.sign(inputs['returns'])\n"


@dataclass(frozen=True)
class Try:
    """What the judge says of one strategy, on validation and on holdout."""

    val: dict[str, float]
    holdout: dict[str, float]

    @property
    def parts(self) -> list[float]:
        return [self.val[f"sharpe_part_{part}"] for part in range(1, 9)]


@dataclass(frozen=True)
class Row:
    """A line of the table. tries: all that were tried before the best of them, `chosen`, was shown."""

    name: str
    chosen: Try
    tries: Sequence[Try]

    def cells(self) -> tuple[str, ...]:
        val = self.chosen.val
        year = float(np.sqrt(val["days_a_year"]))
        values = [one.val["value"] for one in self.tries]
        highest = expected_best(float(np.std(values, ddof=1)), len(values)) if len(values) > 1 else 0.0
        deflated = deflated_sharpe(
            val["value"] / year, highest / year, val["observations"], val["skew"], val["kurtosis"]
        )
        overfitted = f"{overfitting_probability([one.parts for one in self.tries]):.2f}" if len(self.tries) > 1 else "–"
        return (
            self.name,
            f"{val['value']:.2f}",
            str(len(self.tries)),
            f"{highest:.2f}",
            f"{deflated:.2f}",
            overfitted,
            f"{self.chosen.holdout['value']:.2f}",
            f"{val['turnover_a_year']:.0f}",
            f"{100 * val['worst_drawdown']:.0f} %",
        )


COLUMNS = ("", "Sharpe", "tries", "luck's best", "deflated", "overfitting", "holdout", "turnover a year", "drawdown")


class Markets:
    """The judge of the objective over some markets, which are drawn once and used for every strategy."""

    def __init__(self, seed: int, markets: int) -> None:
        self.judge = judge_module(MARKETS=markets)
        self.seed = seed
        drawn = self.judge.draw_market(Session(BASELINE, seed).generator, self.judge.HISTORY + 2 * self.judge.DAYS)
        self.judge.draw_market = lambda generator, days: drawn
        self.drawn: dict[str, Array] = drawn

    def tried(self, source: str) -> Try:
        val, holdout = (self.judge.judge(Session(source, self.seed), self.seed, split) for split in ("val", "holdout"))
        return Try(val, holdout)

    def carelessly(self, source: str) -> Try:
        """By a backtest that credits each weight with the return it was made from, and forgets what trading costs."""
        account = self.judge.account

        def careless(weights: Array, returns: Array, volumes: Array, half_spread: Array, impact: Array) -> Any:
            return account(weights, np.roll(returns, 1, axis=0), volumes, 0 * half_spread, 0 * impact)

        try:
            self.judge.account = careless
            return self.tried(source)
        finally:
            self.judge.account = account

    def tossed(self, number: int) -> Try:
        """A strategy without any skill: long or short of each asset by a coin, tossed once a month; free of cost."""
        dice = np.random.default_rng([self.seed, number])
        judge, (days, markets, assets) = self.judge, self.drawn["returns"].shape
        coins = dice.choice((-1.0, 1.0), (days // MONTH + 1, markets, assets)) / assets
        found = []
        for begin in (judge.HISTORY, judge.HISTORY + judge.DAYS):
            asked = slice(begin, begin + judge.DAYS)
            weights = coins[np.arange(begin, begin + judge.DAYS - 1) // MONTH]
            net = (weights * self.drawn["returns"][asked][1:]).sum(axis=2)
            traded = np.abs(np.diff(weights, axis=0, prepend=0)).sum(axis=2)
            booked = {"net": net, "costs": 0 * net, "traded": traded, "gross": np.abs(weights).sum(axis=2)}
            found.append(judge.scores(booked))
        return Try(*found)


def best(tries: Sequence[Try]) -> Try:
    return max(tries, key=lambda one: one.val["value"])


def table(seed: int, markets: int, tosses: int, sources: Sequence[str]) -> list[Row]:
    """The rows for so many markets. sources: what was tried honestly, of which the best is shown."""
    drawn = Markets(seed, markets)
    careless, ahead = drawn.carelessly(AHEAD), drawn.tried(AHEAD)
    lucky = [drawn.tossed(number) for number in range(tosses)]
    honest = [drawn.tried(source) for source in sources]
    return [
        Row("looks ahead, in a careless backtest", careless, [careless]),
        Row("looks ahead, asked by the judge", ahead, [ahead]),
        Row(f"luckiest of {tosses} coin tossers", best(lucky), lucky),
        Row(f"honest, the best of {len(sources)}", best(honest), honest),
    ]


def known() -> list[str]:
    return [BASELINE, *(apply(BASELINE, idea.edits) for idea in read_ideas(PORTFOLIO / "ideas"))]


def found_in(home: Path) -> list[str]:
    """The sources that a home's node has run."""
    ledger = Ledger.read(home / "ledger.sqlite")
    run = {source for source, _, outcome in ledger.all_runs() if outcome.value is not None}
    blobs = [ledger.get_blob(source) for source in sorted(run)]
    return [blob.decode() for blob in blobs if blob is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", type=int, default=500, help="coin tossers")
    parser.add_argument("--home", type=Path, help="take what its node has tried for the honest ones")
    options = parser.parse_args()
    sources = known() if options.home is None else found_in(options.home)
    for markets in (1, 40):
        print(f"\n{markets} {'market' if markets == 1 else 'markets'}, seed {options.seed}\n")
        print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
        for row in table(options.seed, markets, options.random, sources):
            print("| " + " | ".join(row.cells()) + " |", flush=True)


if __name__ == "__main__":
    main()

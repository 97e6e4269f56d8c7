"""What does a lone node find again, from the plain baseline and from one without any normalisation, at two speeds?

    .venv/bin/python scripts/rediscovery.py [--experiments 30] [--tokens 32768 131072] [--seed 1]

The two machines are stood for by two token budgets, as an objective gives them to its compute classes: what each can
train for in the same time. Each search is the node's own research on its own proposers (catalogue, numeric). Shown are
the kept edits with the number of the experiment that found them, and how the experiments went over the categories. Two
searches run at a time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import forked_rooms
import trio
from lone_research import researcher
from rich.console import Console
from rich.table import Table
from swarm_here import small_objective

from node.views import chain, effect_text
from protocol.records import Experiment

AT_ONCE = 2
NORM, NO_NORM = "return nn.LayerNorm(width)", "return nn.Identity()"
BASELINES = ("plain", "without normalisation")


@dataclass(frozen=True)
class Search:
    """What one search came to; `kept` are its discoveries: number of the experiment, category, title, effect."""

    baseline: str
    tokens: int
    runs: int
    tried: Counter[str]
    kept: tuple[tuple[int, str, str, str], ...]
    gain: str


async def search(baseline: str, tokens: int, experiments: int, seed: int, folder: Path) -> Search:
    root = small_objective(folder, tokens)
    if baseline != "plain":
        source = root / "train.py"
        text = source.read_text()
        assert text.count(NORM) == 1, f"the source says {NORM!r} once"
        source.write_text(text.replace(NORM, NO_NORM))
    async with researcher(folder, root, seed) as research:
        tried: Counter[str] = Counter()
        kept: list[tuple[int, str, str, str]] = []
        for number in range(1, experiments + 1):
            record = await research.turn()
            if record is None:
                break
            body = record.body
            assert isinstance(body, Experiment)
            tried[body.category] += 1
            if body.decision == "improved":
                kept.append((number, body.category, body.title, effect_text(body.effect)))
        gain = chain(step.effect for step in research.steps())
        return Search(baseline, tokens, research.laboratory.runs_made, tried, tuple(kept), effect_text(gain))


def one(baseline: str, tokens: int, experiments: int, seed: int) -> Search:
    with tempfile.TemporaryDirectory(prefix="rediscovery-") as name:
        return trio.run(search, baseline, tokens, experiments, seed, Path(name))


def show(found: list[Search]) -> None:
    for each in found:
        print(f"\n{each.baseline} baseline, {each.tokens:,} tokens: {each.runs} runs, {each.gain} together")
        for number, category, title, effect in each.kept:
            print(f"  experiment {number:3}  {category:14}  {title}  {effect}")
    table = Table("tried (kept)", *(f"{each.baseline}, {each.tokens:,}" for each in found))
    for category in sorted({category for each in found for category in each.tried}):
        kept = [sum(row[1] == category for row in each.kept) for each in found]
        table.add_row(category, *(f"{each.tried[category]} ({k})" for each, k in zip(found, kept, strict=True)))
    print()
    Console(width=140).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=30, help="of each search")
    parser.add_argument("--tokens", type=int, nargs="+", default=[32_768, 131_072], help="per run, of each machine")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with ProcessPoolExecutor(AT_ONCE, initializer=forked_rooms.use) as pool:
        waiting = [
            pool.submit(one, baseline, tokens, options.experiments, options.seed)
            for baseline in BASELINES
            for tokens in options.tokens
        ]
        show([each.result() for each in waiting])
    return 0


if __name__ == "__main__":
    sys.exit(main())

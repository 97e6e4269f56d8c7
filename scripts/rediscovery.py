"""What does a lone node find again, from the plain baseline and from one without any normalisation, at two speeds?

    .venv/bin/python scripts/rediscovery.py [--experiments 30] [--tokens 32768 131072] [--seeds 1]
        [--baselines "plain" "without normalisation"]

Two token budgets stand for the two machines, as an objective gives them to its compute classes: what each can
train for in the same time. Each search is the node's own research on its own proposers (catalogue, numeric). Without
normalisation the objective's priors are left out, for they were measured with it. Shown are the kept edits with the
number of the experiment that found them, what some well-known ideas would give where the search began and where it
ended, by four pairs of runs, and how the experiments went over the categories. Two searches run at a time.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import trio
from against_plain_loop import FRESH_SEED
from lone_research import compared, researcher
from rich.console import Console
from rich.table import Table
from swarm_here import small_objective

from node.ledger.projections.effects import chain, gain_text
from node.objective.edits import EditError, apply, fingerprint
from node.proposers.catalogue import read_ideas
from node.research.loop import Research
from protocol.metric import LOSS
from protocol.records import Experiment, metric_of

AT_ONCE = 2
PAIRS = 4
NORM, NO_NORM = "return nn.LayerNorm(width)", "return nn.Identity()"
BASELINES = ("plain", "without normalisation")
BEGINNING = "LeCun initialisation, embeddings 0.02"  # ideas show no effect on a source that hardly learns
WELL_KNOWN = (
    "RMSNorm instead of LayerNorm",
    "Normalise the output of each branch too",
    "Normalise queries and keys",
    "Normalise the embeddings",
    "Tie embedding and head",
)


@dataclass(frozen=True)
class Search:
    """The result of one search; `kept` are its discoveries: number of the experiment, category, title, effect."""

    baseline: str
    tokens: int
    seed: int
    runs: int
    tried: Counter[str]
    kept: tuple[tuple[int, str, str, str], ...]
    gain: str
    known: tuple[tuple[str, str, str], ...]  # title, effect at the beginning, effect at the end


def begun(folder: Path, baseline: str, tokens: int) -> Path:
    """The objective of a search."""
    root = small_objective(folder, tokens)
    if baseline != "plain":
        source, settings = root / "train.py", root / "objective.toml"
        text = source.read_text()
        assert text.count(NORM) == 1, f"the source says {NORM!r} once"
        source.write_text(text.replace(NORM, NO_NORM))
        text, found = re.subn(r"(?m)^\[priors\]\n([^\[\n].*\n)+", "", settings.read_text())
        assert found == 1, "the objective's priors are one table"
        settings.write_text(text)
    return root


async def well_known(research: Research, root: Path) -> AsyncIterator[tuple[str, str, str]]:
    """What well-known ideas give on the first source with a sane initialisation, and on the last one."""
    cached_runner, ideas = research.cached_runner, {idea.title: idea for idea in read_ideas(root / "ideas")}
    first = apply(cached_runner.objective.source, ideas[BEGINNING].edits)
    for title in WELL_KNOWN:
        effects = []
        for source in (first, cached_runner.source_text(research.incumbent.source())):
            try:
                child = apply(source, ideas[title].edits)
            except EditError:
                effects.append("does not apply there")
                continue
            if fingerprint(child) == fingerprint(source):
                effects.append("is there already")
                continue
            parent, changed = (cached_runner.ledger.put_blob(text.encode()) for text in (source, child))
            effect = await compared(cached_runner, parent, changed, range(FRESH_SEED, FRESH_SEED + PAIRS))
            effects.append(gain_text(effect, cached_runner.objective.measure))
        yield title, effects[0], effects[1]


async def search(baseline: str, tokens: int, experiments: int, seed: int, folder: Path) -> Search:
    root = begun(folder, baseline, tokens)
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
                kept.append((number, body.category, body.title, gain_text(body.effect, metric_of(body))))
        gain = chain(step.effect for step in research.incumbent.steps())
        runs = research.cached_runner.runs_made
        known = tuple([each async for each in well_known(research, root)])
        return Search(baseline, tokens, seed, runs, tried, tuple(kept), gain_text(gain, LOSS), known)


def one(baseline: str, tokens: int, experiments: int, seed: int) -> Search:
    with tempfile.TemporaryDirectory(prefix="rediscovery-") as name:
        return trio.run(search, baseline, tokens, experiments, seed, Path(name))


def report(each: Search) -> None:
    name = f"{each.baseline} baseline, {each.tokens:,} tokens, seed {each.seed}"
    print(f"\n{name}: {each.runs} runs, {each.gain} together")
    for number, category, title, effect in each.kept:
        print(f"  experiment {number:3}  {category:14}  {title}  {effect}")
    for title, beginning, end in each.known:
        print(f"  well known: {title}: {beginning} at the beginning, {end} at the end", flush=True)


def show(found: list[Search]) -> None:
    table = Table("tried (kept)", *(f"{each.baseline}, {each.tokens:,}, {each.seed}" for each in found))
    for category in sorted({category for each in found for category in each.tried}):
        kept = [sum(row[1] == category for row in each.kept) for each in found]
        table.add_row(category, *(f"{each.tried[category]} ({k})" for each, k in zip(found, kept, strict=True)))
    print()
    Console(width=140).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=30, help="of each search")
    parser.add_argument("--tokens", type=int, nargs="+", default=[32_768, 131_072], help="per run, of each machine")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--baselines", nargs="+", choices=BASELINES, default=list(BASELINES))
    options = parser.parse_args()
    with ProcessPoolExecutor(AT_ONCE) as pool:
        waiting = [
            pool.submit(one, baseline, tokens, options.experiments, seed)
            for baseline in options.baselines
            for tokens in options.tokens
            for seed in options.seeds
        ]
        found = []
        for each in waiting:
            found.append(each.result())
            report(found[-1])
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())

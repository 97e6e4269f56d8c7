"""Which policy of searching gains most per run? Hundreds of searches, replayed from a table of real runs of tinylm.

    .venv/bin/python scripts/bench_search.py record --folder TABLE [--runs 2000] [--tokens 32768]
    .venv/bin/python scripts/bench_search.py replay --folder TABLE [--searches 100] [--runs 15 30 60 120]
        [--before COMMIT] [--policies "this node" TPE ...]

"record" makes the table (scripts/search_bench/recording.py) in a folder outside of the repository, or makes it longer;
it takes a second or two of one core per run, and can be interrupted at any time.

"replay" fits a model to it (model.py), says how well that predicts each fifth of the table after a fit to the others,
and lets every policy search. Each search is in a world of its own: what the model cannot explain is drawn anew.
Searches of the node are its own research with another runner (replayed_search.py), "this node before" that of an
earlier commit; "without ..." is this node with a part left out, "every bet verified at once" what is left of it where
bets are claims. A run that is ended early counts by what was made of it. Shown is the true gain of the best source
after so many runs, CPU cost included, in per cent of the metric: the mean over the searches, its standard error, and
the range in which four of five searches lie.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import trio
from rich.console import Console
from rich.table import Table as Shown
from search_bench import forked_run
from search_bench.earlier_tree import BEFORE, run_program, unpack_tree
from search_bench.model import Check, Model, checked, descriptions, fitted
from search_bench.recording import Recorder, Table, read_table
from search_bench.tables import percent
from swarm_here import REPOSITORY, small_objective

from node.objective.load import load_objective
from node.proposers.catalogue import read_ideas

TOLD_EVERY = 50  # runs
AT_ONCE = 2  # processes
TINYLM = REPOSITORY / "objectives" / "tinylm"
BEFORE_POLICY = "this node before"
OF_NODE = (
    *("keep if lower", BEFORE_POLICY, "this node", "every bet verified at once", "no bet verified"),
    *("without early ends", "without numeric", "without thinning"),
)
OTHERS = ("random search", "TPE", "successive halving", "greedy tree (AIDE)")


def record(folder: Path, runs: int, tokens: int) -> None:
    os.nice(10)
    table = Table.open(folder)
    with tempfile.TemporaryDirectory(prefix="bench-search-") as name:
        objective = load_objective(small_objective(Path(name), tokens), Path(name) / "data")
        ideas = {idea.title: idea for idea in read_ideas(objective.root / "ideas")}
        forked_run.prepare()
        recorder = Recorder(objective, ideas, table)
        for number in itertools.count():
            for _ in recorder.walk(number):
                if recorder.made and recorder.made % TOLD_EVERY == 0:
                    print(f"walk {number}: {len(table.runs)} runs", flush=True)
            if len(table.runs) >= runs:
                return


def fit(folder: Path) -> tuple[Model, Check, int]:
    """The model of a table, how well one like it predicts, and of how many runs it is."""
    runs = read_table(folder)
    ideas = {idea.title: idea for idea in read_ideas(TINYLM / "ideas")}
    known = [run for run in runs if all(edit in ideas or "=" in edit for edit in run.edits)]  # an idea may be no more
    baseline = (TINYLM / "train.py").read_text("utf-8")
    described = descriptions(known, ideas, baseline)
    return fitted(known, described, baseline), checked(known, described, baseline), len(known)


async def replay(options: argparse.Namespace, model: Model) -> dict[str, list[list[float]]]:
    """The gains of every policy's searches, in ln(metric)."""
    found: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-search-") as name:
        folder = Path(name)
        (folder / "model").write_bytes(pickle.dumps(model))
        objective = small_objective(folder, options.tokens)
        before = unpack_tree(options.before, folder / "before") if BEFORE_POLICY in options.policies else folder

        async def some(policy: str, first: int) -> None:
            numbers = range(first, options.searches, AT_ONCE)
            tree = before if policy == BEFORE_POLICY else REPOSITORY
            words = (policy, json.dumps(options.runs), json.dumps(list(numbers)), folder / f"{policy} {first}.json")
            found[policy] += await run_program(tree, "replay_worker.py", folder / "model", objective, *words)

        for policy in options.policies:
            begun, found[policy] = time.monotonic(), []
            async with trio.open_nursery() as nursery:
                for first in range(AT_ONCE):
                    nursery.start_soon(some, policy, first)
            ends = cell([search[-1] for search in found[policy]])
            print(f"{policy}: {ends} at the end of {options.searches} searches, ", end="")
            print(f"in {time.monotonic() - begun:.0f} s", flush=True)
    return found


def cell(found: Sequence[float]) -> str:
    """Mean, standard error, and the range of four of five, of gains in ln: "31.2 ± 0.6 (24.1 to 38.0)" in per cent."""
    gains = sorted(percent(each) for each in found if math.isfinite(each))
    if len(gains) < 2:
        return "–"
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    tenths = statistics.quantiles(gains, n=10)
    return f"{statistics.mean(gains):.1f} ± {error:.1f} ({tenths[0]:.1f} to {tenths[-1]:.1f})"


def show(found: dict[str, list[list[float]]], runs: Sequence[int]) -> None:
    table = Shown("policy", "searches", *(f"gain % at {number} runs" for number in runs))
    for policy, searches in found.items():
        columns = [[search[column] for search in searches] for column in range(len(runs))]
        table.add_row(policy, str(len(searches)), *map(cell, columns))
    Console(width=160).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording, replaying = commands.add_parser("record"), commands.add_parser("replay")
    for command in (recording, replaying):
        command.add_argument("--folder", type=Path, required=True, help="of the table")
        command.add_argument("--tokens", type=int, default=32_768, help="per run")
    recording.add_argument("--runs", type=int, default=2000, help="that the table should have")
    replaying.add_argument("--searches", type=int, default=100, help="by each policy")
    replaying.add_argument("--runs", type=int, nargs="+", default=[15, 30, 60, 120], help="after which gains are shown")
    replaying.add_argument("--before", default=BEFORE, help="the commit of the node before")
    replaying.add_argument("--policies", nargs="+", choices=OF_NODE + OTHERS, default=list(OF_NODE + OTHERS))
    options = parser.parse_args()
    if options.command == "record":
        record(options.folder, options.runs, options.tokens)
        return 0
    model, check, runs = fit(options.folder)
    print(f"a model of {runs} runs of {check.sources} sources; of walks that it was not fitted to it explains ", end="")
    print(f"{check.explained:.2f} of the variance of ln(metric) (rank correlation {check.rank:.2f}, ", end="")
    print(f"error {100 * check.error:.1f} %)", flush=True)
    show(trio.run(replay, options, model), options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())

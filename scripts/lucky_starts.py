"""Does a start that was lucky once stay lucky? Fixed starts of tinylm's weights, trained at several seeds of the run.

    .venv/bin/python scripts/lucky_starts.py [--starts 8] [--seeds 8] [--tokens 4096] [--plain-bytes]

Every start seeds torch with a number of its own and nothing of the run, and chance is not mixed in, so it stands for a
generator that a source computes by hand. Shown are the spread of ln(metric) over starts within one seed; what of it
stays from seed to seed, as a standard deviation; and the gain of the start that was best at one half of the seeds, over
the mean start, at the other half. --plain-bytes: in every run the same bytes stand for the same letters.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from in_process import judge_of, text, trained
from numpy.typing import NDArray

from node.objective.load import load_objective
from node.objective.schema import Objective

TINYLM = Path(__file__).resolve().parent.parent / "objectives" / "tinylm"
SEEDED = "1000 + task.seed"
SCRIPT = ".translate(language.bytes)"
WINDOWS = 1536  # of the validation text: the differences between starts are large
FIRST_SEED = 501


def scores(objective: Objective, starts: int, seeds: int) -> NDArray[np.float64]:
    """ln(metric), (starts, seeds)."""
    judge = judge_of(objective)
    found = np.zeros((starts, seeds))
    for column in range(seeds):
        seed = FIRST_SEED + column
        windows = np.frombuffer(text(objective, seed, "val"), dtype=np.uint8).reshape(-1, objective.context + 1)
        for row in range(starts):
            assert objective.source.count(SEEDED) == 1
            rooms = trained(objective, objective.source.replace(SEEDED, str(17 + row)), seed)
            losses = judge.losses(rooms, windows[:WINDOWS].astype(np.uint16), np.random.default_rng(seed))
            found[row, column] = math.log(losses.mean())
        print(f"seed {seed}: starts from best to worst {np.argsort(found[:, column]).tolist()}", flush=True)
    return found


def report(found: NDArray[np.float64]) -> None:
    differences = found - found.mean(axis=0)
    means = differences.mean(axis=1)
    chance = (differences - means[:, None]).var(ddof=1) / found.shape[1]  # of a start's mean
    stays = math.sqrt(max(0.0, means.var(ddof=1) - chance))
    halves = (slice(0, None, 2), slice(1, None, 2))
    gains = [-differences[differences[:, a].mean(axis=1).argmin(), b].mean() for a, b in (halves, halves[::-1])]
    print(f"spread of starts within one seed: {100 * differences.std(axis=0, ddof=1).mean():.1f} %")
    print(f"of it, from seed to seed: {100 * stays:.1f} %")
    print(f"gain of the best start at other seeds: {100 * float(np.mean(gains)):+.1f} %")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--plain-bytes", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lucky-") as name:
        root = Path(name) / "tinylm"
        shutil.copytree(TINYLM, root)
        if options.plain_bytes:
            language = (root / "language.py").read_text()
            assert language.count(SCRIPT) == 1
            (root / "language.py").write_text(language.replace(SCRIPT, ""))
        objective = load_objective(root, root)
        objective = replace(objective, budget=replace(objective.budget, tokens=options.tokens))
        report(scores(objective, options.starts, options.seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())

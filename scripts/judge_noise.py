"""How much of an effect's spread comes from scoring, and how much from training? And is another objective less noisy?

    .venv/bin/python scripts/judge_noise.py [--pairs 20] [--tokens 131072] [--beside FOLDER]

Two edits of tinylm are tried in pairs of runs, in this process. One changes nothing but chance (another number added to
the seed of the initial weights), the other is real (the learning rate 1e-3 becomes 1.3e-3). For both: the mean of
Δ ln(metric), child less parent, and its standard deviation from pair to pair. Then the standard error that scoring
alone leaves in the effect of one pair, from the differences between parent and child at single places, for several
numbers of windows. --beside measures the same edits with another objective's data and judge, such as an earlier tinylm.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from in_process import Rooms, judge_of, text, trained, value

from node.objective.load import load_objective
from node.objective.schema import Objective

TINYLM = Path(__file__).resolve().parent.parent / "objectives" / "tinylm"
EDITS = {
    "chance alone": ("torch.manual_seed(1000 + task.seed)", "torch.manual_seed(8919 + task.seed)"),
    "learning rate 1e-3 -> 1.3e-3": ("LR = 1e-3", "LR = 1.3e-3"),
}
WINDOWS = (2048, 4096, 8192)
FIRST_SEED = 1001


@dataclass
class Measured:
    """Of one edit: Δ ln(metric) of each pair, and the scoring's standard error in it for one window."""

    effects: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)


def scoring_error(objective: Objective, parent: Rooms, child: Rooms, seed: int) -> float:
    """The standard deviation over windows of the difference in loss, over the mean loss: in ln(metric)."""
    judge = judge_of(objective)
    windows = np.frombuffer(text(objective, seed, "val"), dtype=np.uint8).reshape(-1, objective.context + 1)
    losses = [judge.losses(rooms, windows.astype(np.uint16), np.random.default_rng(seed)) for rooms in (parent, child)]
    return float((losses[1] - losses[0]).std(ddof=1) / losses[0].mean())


def measure(objective: Objective, pairs: int) -> dict[str, Measured]:
    found = {name: Measured() for name in EDITS}
    source = objective.source
    for seed in range(FIRST_SEED, FIRST_SEED + pairs):
        parent = trained(objective, source, seed)
        before = value(objective, parent, seed)
        for name, (old, new) in EDITS.items():
            assert source.count(old) == 1, f"the source says {old!r} once"
            child = trained(objective, source.replace(old, new), seed)
            found[name].effects.append(math.log(value(objective, child, seed) / before))
            if objective.secret_seed:
                found[name].errors.append(scoring_error(objective, parent, child, seed))
        print(seed, *(f"{100 * one.effects[-1]:+.2f} %" for one in found.values()), flush=True)
    return found


def report(title: str, found: dict[str, Measured]) -> None:
    print(f"{title}:")
    for name, one in found.items():
        mean, deviation = statistics.mean(one.effects), statistics.stdev(one.effects)
        print(f"  {name:30} mean {100 * mean:+.2f} %, from pair to pair {100 * deviation:.2f} %")
        if one.errors:
            error = statistics.mean(one.errors)
            parts = (f"{100 * error / math.sqrt(count):.3f} % with {count} windows" for count in WINDOWS)
            print(f"  {'of it, scoring alone':30} {', '.join(parts)}")


def with_data(root: Path, folder: Path, tokens: int) -> Objective:
    objective = load_objective(root.resolve(), folder)
    if objective.prepare is not None:
        folder.mkdir()
        subprocess.run([sys.executable, str(objective.root / objective.prepare), str(folder)], check=True)
    return replace(objective, budget=replace(objective.budget, tokens=tokens))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--beside", type=Path, help="the folder of another objective")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="judge-noise-") as name:
        roots = [TINYLM] + ([options.beside] if options.beside else [])
        objectives = [with_data(root, Path(name) / f"data-{n}", options.tokens) for n, root in enumerate(roots)]
        for objective, root in zip(objectives, roots, strict=True):
            report(f"{root} at {options.tokens:,} tokens, {options.pairs} pairs", measure(objective, options.pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main())

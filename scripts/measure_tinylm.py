"""How large are the effects of known ideas on the plain baseline of tinylm, and how noisy is a run?

    .venv/bin/python scripts/measure_tinylm.py [--seeds 2] [--all]

Every run goes through the real rooms. Per idea: the gain over the baseline on the same seeds in per cent, the
standard error over seeds, and CPU seconds per token against the baseline's. Then the noise of the baseline itself, and
whether the same seed gives the same bits twice. Without --all only the ideas of EFFECTS_OF, which docs/tinylm.md shows.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from pathlib import Path

import trio

from node.execution.prepare import prepare_data
from node.execution.runner import Runner
from node.execution.sandbox.layers import probe
from node.ledger.outcome import Outcome
from node.objective.edits import EditError, apply
from node.objective.limits import host_limits
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.platform.config import load_config
from node.proposers.catalogue import read_ideas
from protocol.metric import LOSS

TINYLM = Path(__file__).resolve().parent.parent / "objectives" / "tinylm"
EFFECTS_OF = (
    "LeCun initialisation, embeddings 0.02",
    "Kaiming initialisation, embeddings 0.02",
    "Every weight N(0, 0.02)",
    "Every weight N(0, 0.5)",
    "PyTorch's default initialisation",
    "Rotary positions, base 100",
    "Muon for the blocks' matrices",
    "Squared ReLU",
    "Normalise queries and keys",
)


def silent(*_: object, **__: object) -> None:
    pass


async def outcomes(runner: Runner, source: str, seeds: range) -> list[Outcome]:
    return [await runner.run(source, seed, silent) for seed in seeds]


def row(title: str, parents: list[Outcome], children: list[Outcome]) -> str:
    failed = [child.failure for child in children if child.failure]
    if failed:
        return f"{title:48} {failed[0]}"
    changes = [math.log(c.value / p.value) for p, c in zip(parents, children, strict=True) if c.value and p.value]
    mean, error = statistics.mean(changes), statistics.stdev(changes) / math.sqrt(len(changes))
    cost = sum(c.cpu_seconds for c in children) / sum(p.cpu_seconds for p in parents)
    return f"{title:48} {LOSS.gain(mean):+6.1f} % ± {100 * error:.1f}   CPU × {cost:.2f}"


async def measure(objective: Objective, seeds: range, everything: bool, folder: Path) -> None:
    layers = probe()
    await prepare_data(objective, layers, host_limits(load_config(None, {"home": str(folder)})), silent)
    async with Runner(objective, layers, folder / "weights", silent) as runner:
        parents = await outcomes(runner, objective.source, seeds)
        values = [parent.value for parent in parents if parent.value is not None]
        speeds = [parent.tokens / parent.cpu_seconds for parent in parents]
        print(f"baseline: {statistics.mean(values):.4f} bpb, {statistics.mean(speeds):,.0f} tokens per CPU second")
        print(f"noise over seeds: bpb {100 * statistics.stdev(values) / statistics.mean(values):.2f} %, ", end="")
        print(f"speed {100 * statistics.stdev(speeds) / statistics.mean(speeds):.1f} %")
        again = await runner.run(objective.source, seeds[0], silent)
        print(f"the same seed again: {'the same bits' if again.value == parents[0].value else 'ANOTHER VALUE'}")
        for idea in read_ideas(objective.root / "ideas"):
            if not everything and idea.title not in EFFECTS_OF:
                continue
            try:
                source = apply(objective.source, idea.edits)
            except EditError:
                continue  # it refines another idea
            print(row(idea.title, parents, await outcomes(runner, source, seeds)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="runs per idea, at least 2")
    parser.add_argument("--all", action="store_true", help="every idea of the catalogue")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="measure-tinylm-") as name:
        objective = load_objective(TINYLM, Path(name))
        trio.run(measure, objective, range(1, 1 + max(2, options.seeds)), options.all, Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How large are the effects of known ideas on the baseline of nanolm at its scale "cpu", and how noisy is a run?

    .venv/bin/python scripts/measure_nanolm.py [--seeds 2] [--ideas FROM:TO]

As `measure_tinylm.py` (see there): every run goes through the real rooms. A run takes about a minute of a core, two
are made side by side, and --ideas takes a slice of the ideas in the order of their files; without it, all of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import trio
from measure_tinylm import row, silent

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

NANOLM = Path(__file__).resolve().parent.parent / "objectives" / "nanolm"
SIDE_BY_SIDE = 2


async def outcomes(runner: Runner, sources: list[str], seeds: range) -> list[list[Outcome]]:
    """Of each source its outcomes, in the order of the seeds."""
    found: dict[tuple[int, int], Outcome] = {}

    async def run(place: int, seed: int) -> None:
        found[place, seed] = await runner.run(sources[place], seed, silent)

    async with trio.open_nursery() as nursery:
        for place in range(len(sources)):
            for seed in seeds:
                nursery.start_soon(run, place, seed)
    return [[found[place, seed] for seed in seeds] for place in range(len(sources))]


async def measure(objective: Objective, seeds: range, chosen: slice, folder: Path) -> None:
    layers = probe()
    await prepare_data(objective, layers, host_limits(load_config(None, {"home": str(folder)})), silent)
    async with Runner(objective, layers, folder / "weights", silent, parallel_runs=SIDE_BY_SIDE) as runner:
        [parents] = await outcomes(runner, [objective.source], seeds)
        values = [parent.value for parent in parents if parent.value is not None]
        speeds = [parent.tokens / parent.cpu_seconds for parent in parents]
        print(f"baseline: {statistics.mean(values):.4f} bpb, {statistics.mean(speeds):,.0f} tokens per CPU second")
        print(f"noise over seeds: bpb {100 * statistics.stdev(values) / statistics.mean(values):.2f} %, ", end="")
        print(f"speed {100 * statistics.stdev(speeds) / statistics.mean(speeds):.1f} %", flush=True)
        for idea in read_ideas(objective.root / "ideas")[chosen]:
            try:
                source = apply(objective.source, idea.edits)
            except EditError:
                continue  # it refines another idea
            [children] = await outcomes(runner, [source], seeds)
            print(row(idea.title, parents, children), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="runs per idea, at least 2")
    parser.add_argument("--ideas", default=":", help="a slice of them, such as 0:10")
    options = parser.parse_args()
    chosen = slice(*(int(end) if end else None for end in options.ideas.split(":")))
    with tempfile.TemporaryDirectory(prefix="measure-nanolm-") as name:
        objective = load_objective(NANOLM, Path(name) / "data").at_scale("cpu")
        trio.run(measure, objective, range(1, 1 + max(2, options.seeds)), chosen, Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Is the objective gpu_kernel asked rightly on this machine's GPU? Its baseline, ideas and a cheat, by its own judge.

    .venv/bin/python scripts/gpu_kernel_check.py [--gpu 0] [--ideas TITLE ...]   (minutes: compiling takes most of them)
    .venv/bin/python scripts/gpu_kernel_check.py --stand-in                     (no GPU: torch's operators, small sizes)

Prints a line of JSON for each pair: what came of parent and child, with all metrics. Without --ideas it takes two.
Exits with 1 where a pair has no values, or where the cheat has one. scripts/gpu_check.py makes a short form of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import trio

from node.execution.gpu.pool import GpuPool
from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import Layers, probe
from node.ledger.outcome import Outcome
from node.objective import sources
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.objective.trees import files_of, source_of
from node.platform.gpu_types import Gpu
from node.platform.gpus import GpuDriver, InstalledDrivers
from node.proposers.catalogue import read_ideas
from scripts.gpu_stand_in import StandInDriver, stand_in
from tests.objectives.gpu_kernel.in_process import GPU_KERNEL, IN_TORCH, SMALL

if TYPE_CHECKING:
    from scripts.gpu_check import Bench

IDEAS = ("Stop at the diagonal", "Tiles of 128 by 128 in the product")
SEED = 1
FEW = {"SPEED_ROUNDS": 4, "MOST_ROUNDS": 6, "OTHER_ROUNDS": 2, "PLAIN_ROUNDS": 2, "GATE_SIZES": 8, "LONGER_GATES": 2}
# Leaves the last eighth of the rows of a large answer as it finds them.
CHEAT = """

whole = norm_matmul


def norm_matmul(x, bias, gain, weight, out):
    if not bias._is_view():  # a gate, whose whole answer is looked at
        whole(x, bias, gain, weight, out)
    else:
        rows = len(x) - len(x) // 8
        whole(x[:rows], bias, gain, weight, out[:rows])
"""


def objective_in(folder: Path, small: bool, constants: Mapping[str, object]) -> Objective:
    """A copy of the objective whose judge has these constants; small: with kernels that a processor has."""
    root = folder / "gpu_kernel"
    shutil.copytree(GPU_KERNEL, root, ignore=shutil.ignore_patterns("__pycache__"))
    if small:
        for name, text in IN_TORCH.items():
            (root / name).write_text(text)
        settings = (root / "objective.toml").read_text()
        (root / "objective.toml").write_text(settings.replace("threads = 2", "threads = 1"))
        constants = {**constants, **SMALL}
    with (root / "judge.py").open("a") as judge:
        judge.writelines(f"\n{name} = {value!r}" for name, value in constants.items())
    return load_objective(root, root)


def children(objective: Objective, small: bool, titles: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(what it is, a source to compare with the baseline): ideas, or the baseline where none applies; a cheat."""
    files = files_of(objective.source, objective.editable)
    for idea in read_ideas(objective.root / "ideas"):
        if idea.title in titles and not small:
            yield idea.title, source_of(sources.apply(files, idea.edits))
    if small:
        yield "the baseline again", source_of(files | {"attention.py": files["attention.py"] + "\nAGAIN = 1\n"})
    yield "cheat", source_of(files | {"norm_matmul.py": files["norm_matmul.py"] + CHEAT})


def told(outcome: Outcome) -> dict[str, Any]:
    if outcome.failure is not None:
        return {"failure": str(outcome.failure), "why": outcome.log_tail[-300:]}
    return {"value": outcome.value, **outcome.metrics}


def trouble(name: str, parent: Outcome, child: Outcome) -> str | None:
    """What is wrong with a pair, None for nothing."""
    if name == "cheat":
        return None if child.value is None and "sums are" in child.log_tail else f"the cheat: {told(child)}"
    failed = next((each for each in (parent, child) if each.value is None), None)
    return None if failed is None else f"{name}: {told(failed)}"


async def pairs(
    objective: Objective, layers: Layers, gpu: Gpu, driver: GpuDriver, folder: Path, small: bool, titles: Sequence[str]
) -> list[tuple[str, Outcome, Outcome, float]]:
    """(what the child is, parent's run, child's, seconds) for each pair."""
    found = []
    pool = GpuPool(objective, layers, [gpu], driver, folder / "folders", _quiet, folder)
    async with ProgramRunner(objective, layers, _quiet, gpus=pool) as runner:
        for name, source in children(objective, small, titles):
            begun = time.monotonic()
            parent, child = await runner.run_pair(objective.source, source, SEED, _quiet, _quiet)
            found.append((name, parent, child, time.monotonic() - begun))
    return found


def _quiet(*_: object, **__: object) -> None:
    """Progress and events are not shown."""


async def kernels(bench: Bench) -> str:
    """A check of gpu_check: few questions, one idea and the cheat. Raises RuntimeError."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        folder = Path(name)
        objective = objective_in(folder, bench.stand_in, FEW)
        found = await pairs(objective, bench.layers, bench.gpu, bench.driver, folder, bench.stand_in, IDEAS[:1])
        shown = []
        for title, parent, child, seconds in found:
            wrong = trouble(title, parent, child)
            if wrong is not None:
                raise RuntimeError(wrong)
            if parent.value is not None and child.value is not None:
                over = ", ".join(
                    f"{kernel} {parent.metrics[f'{kernel} over torch']:.2f} times torch's speed"
                    for kernel in ("norm_matmul", "attention")
                )
                shown.append(f"{parent.value:.3g} TFLOP/s ({over}); {title}: {child.value:.3g}; {seconds:.0f} s a pair")
    return "; ".join(shown) + "; the cheat was refused"


async def run(options: argparse.Namespace) -> bool:
    if options.stand_in:
        gpu = stand_in()
        driver: GpuDriver = StandInDriver([gpu])
    else:
        driver = InstalledDrivers()
        gpu = next((each for each in driver.gpus() if each.index == options.gpu and not each.problem), stand_in())
        if gpu.torch_device == "cpu":
            sys.exit(f"GPU {options.gpu} cannot be used here; --stand-in tries the checks on the processor")
    with tempfile.TemporaryDirectory(prefix="gpu-kernel-check-") as name:
        objective = objective_in(Path(name), options.stand_in, {})
        found = await pairs(objective, probe(), gpu, driver, Path(name), options.stand_in, options.ideas)
    well = True
    for title, parent, child, seconds in found:
        wrong = trouble(title, parent, child)
        well = well and wrong is None
        row = {"child": title, "gpu": gpu.name, "seconds": round(seconds, 1), "wrong": wrong}
        print(json.dumps({**row, "parent": told(parent), "of child": told(child)}))
    return well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", type=int, default=0, help="number of the GPU, as the driver counts (0)")
    parser.add_argument("--ideas", nargs="*", default=IDEAS, help="titles of ideas in objectives/gpu_kernel/ideas")
    parser.add_argument("--stand-in", action="store_true", help="the processor in the place of a GPU")
    return 0 if trio.run(run, parser.parse_args()) else 1


if __name__ == "__main__":
    sys.exit(main())

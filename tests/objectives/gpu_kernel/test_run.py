"""On a stand-in for a GPU: both programs of a pair are asked in turns in rooms of their own, by the judge's clock.

The stand-in is this machine's processor (scripts/gpu_stand_in.py), so the sources are by operators of torch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.execution.gpu.pool import GpuPool
from node.execution.program.program_runner import ProgramRunner
from node.execution.run_progress import Progress
from node.execution.sandbox.layers import probe
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.objective.trees import source_of
from scripts.gpu_stand_in import StandInDriver, stand_in
from tests.node.conftest import ignore
from tests.objectives.gpu_kernel.in_process import GPU_KERNEL, IN_TORCH, SMALL, in_torch

pytestmark = [pytest.mark.sandbox, pytest.mark.long, pytest.mark.timeout(600)]
SEED = 5
SECONDS = 0.02
# Returns before it has computed, as a GPU's kernels do, and has time standing still; the sums wait for it all the same.
ANSWERS_LATER = f"""
import threading, time
import torch
from harness import plain_norm_matmul
norm = torch.linalg.vector_norm
sleep = time.sleep
WORK = []


def vector_norm(*given, **more):
    while WORK:
        WORK.pop().join()
    return norm(*given, **more)


torch.linalg.vector_norm = vector_norm
time.perf_counter = time.monotonic = time.time = lambda: 0.0


def compute(before, given):
    if before:
        before.join()
    sleep({SECONDS})
    plain_norm_matmul(*given)


def norm_matmul(x, bias, gain, weight, out):
    given = x, bias, gain, weight, out
    if not bias._is_view():  # all of the answer is looked at
        return plain_norm_matmul(*given)
    WORK.append(threading.Thread(target=compute, args=(WORK[-1] if WORK else None, given)))
    WORK[-1].start()
"""


def small_objective(folder: Path) -> Objective:
    root = folder / "gpu_kernel"
    shutil.copytree(GPU_KERNEL, root, ignore=shutil.ignore_patterns("ideas", "__pycache__"))
    for name, text in IN_TORCH.items():
        (root / name).write_text(text)
    settings = (root / "objective.toml").read_text()
    assert settings.count("threads = 2") == 1  # of which each would wait for the other on a busy machine
    (root / "objective.toml").write_text(settings.replace("threads = 2", "threads = 1"))
    constants = SMALL | {"SPEED_ROUNDS": 3, "MOST_ROUNDS": 3, "PLAIN_ROUNDS": 1, "GATE_SIZES": 2, "LONGER_GATES": 0}
    with (root / "judge.py").open("a") as judge:
        judge.write("\n" + "\n".join(f"{name} = {value!r}" for name, value in constants.items()) + "\n")
    return load_objective(root, root)


async def test_a_pair_is_timed_in_turns_on_one_gpu_until_the_sums_of_answers_are_there(tmp_path: Path) -> None:
    objective, driver = small_objective(tmp_path), StandInDriver([stand_in()])
    pool = GpuPool(objective, probe(), driver.gpus(), driver, tmp_path / "folders", ignore, tmp_path)
    seen: list[Progress] = []
    async with ProgramRunner(objective, probe(), ignore, gpus=pool) as runner:
        assert runner.can_alternate()
        late = source_of(in_torch(norm_matmul=ANSWERS_LATER))
        parent, child = await runner.run_pair(objective.source, late, SEED, seen.append, ignore)
    assert parent.failure is None, parent.log_tail
    assert child.failure is None, child.log_tail
    assert parent.value is not None
    assert 0 < parent.metrics["norm_matmul ms"] < 1000 * SECONDS < child.metrics["norm_matmul ms"]
    assert 0 < parent.cpu_seconds <= 2 * parent.wall_seconds  # seconds of the GPU, both programs' together
    assert seen[-1].share > 0.9

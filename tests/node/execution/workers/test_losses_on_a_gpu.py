"""Losses on a GPU are read now and then, as reading waits for the GPU; one that is not finite is found all the same.

In a process of its own, because the worker imports torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.torch_processes import python

REPOSITORY = Path(__file__).parents[4]
REPORT = """
import json, os, struct, sys
sys.path.insert(0, sys.argv[1])
import torch
from node.execution.workers import train

losses = json.loads(sys.argv[2])
reads, writes = os.pipe()
job = {"seed": 1, "tokens": 1000, "context": 8, "vocabulary": 256, "checkpoints": [], "gpu": "cpu", "warmup_seconds": 1}
task = train.Task(job, torch.zeros(100, dtype=torch.uint8), writes, -1)
task._on_processor = False  # the losses are where a GPU's would be
now = [100.0]
train.time.monotonic = lambda: now[0]
said = "nothing"
try:
    for loss in losses:
        now[0] += 0.03
        task.report(None, torch.tensor(loss))
    task.tell_of_losses()
    said = "no fault"
except train.Diverged as error:
    said = str(error)
os.close(writes)
written = os.read(reads, 1 << 16)
frames = [struct.unpack_from("<Idd", written, at + 8) for at in range(0, len(written), 28)]
print(json.dumps([said, frames, task._steps]))
"""


def reported(losses: list[float]) -> list[Any]:
    """What came of reporting these losses every 30 ms, the frames of progress (step, share, loss), and the steps."""
    done = python(REPORT, str(REPOSITORY), json.dumps(losses))
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_progress_is_told_ten_times_a_second_with_the_mean_of_all_losses_so_far() -> None:
    losses = [5.0 - number / 100 for number in range(40)]  # 1.2 seconds, in the first part of the budget
    said, frames, steps = reported(losses)
    assert (said, steps) == ("no fault", 40)
    assert [step for step, _, _ in frames] == [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 40]
    for step, _, loss in frames:
        assert abs(loss - sum(losses[:step]) / step) < 1e-6


def test_a_loss_that_is_not_finite_ends_the_run_and_its_step_is_named() -> None:
    for at in (0, 17, 39):
        losses = [5.0] * 40
        losses[at] = float("nan")
        said, _, _ = reported(losses)
        assert said == f"the loss after step {at + 1} is nan"

"""Programs on a GPU: each in a room of its own, a pair's on the same GPU, with files that no edit changes.

The GPU is a stand-in on this processor, as in test_gpu_runs.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from node.execution.gpu.pool import GpuPool
from node.execution.gpu.room_process import PROGRAM
from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import Layers
from node.objective.schema import Objective, ObjectiveError
from scripts.gpu_stand_in import StandInDriver
from tests.node.conftest import ignore
from tests.node.execution.gpu.conftest import Events
from tests.node.execution.kept_servers import workers_left
from tests.node.execution.program.objectives import program_objective

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]
HARNESS = b"""
import torch

def added(task, numbers):
    assert not torch.are_deterministic_algorithms_enabled()
    return torch.from_numpy(numbers).to(task.device).sum().cpu().numpy()
"""
SOURCE = "from harness import added\n\ndef answer(task, inputs):\n    return added(task, inputs)\n"
CRASHES = "import os\n\ndef answer(task, inputs):\n    os.kill(os.getpid(), 11)\n"
TIMES = """
import numpy as np

class Rejected(Exception):
    pass

def judge(session, seed, split):
    dice, times = session.generator("numbers"), []
    for turn in range(4):
        numbers = dice.integers(0, 1000, 50)
        ask = session.ask if turn == 0 else session.time
        answer = ask(numbers, shape=())
        if turn:
            times.append(answer[1])
        if (answer[0] if turn else answer) != numbers.sum():
            raise Rejected("another sum")
    return {"value": 1e3 * min(times)}
"""


def timed(folder: Path) -> Objective:
    program, top = 'timed = true\nmodules = ["harness.py"]', 'device = "gpu"'
    more = {"harness.py": HARNESS}
    return program_objective(folder, TIMES, SOURCE, top=top, program=program, scale="log", wall_seconds=300, more=more)


async def test_a_pair_has_two_rooms_on_one_gpu_and_whatever_becomes_of_one_nothing_is_left(
    tmp_path: Path, layers: Layers, driver: StandInDriver, events: Events
) -> None:
    objective = timed(tmp_path)
    pool = GpuPool(objective, layers, driver.gpus(), driver, tmp_path / "folders", events, tmp_path)
    async with ProgramRunner(objective, layers, events, gpus=pool) as runner:
        parent, child = await runner.run_pair(objective.source, CRASHES, 7, ignore, ignore)
        waiting = pool._idle[0]._ahead[PROGRAM]
        assert waiting.alive, "the next session's first room is there"
        again = await runner.run(objective.source, 7, ignore)
        await runner.cool_down()
    assert parent.failure is None, parent.log_tail
    assert (child.failure, child.value) == ("exception", None)
    assert "SIGSEGV" in child.log_tail
    assert again.failure is None, again.log_tail
    assert again.value is not None
    assert again.value > 0
    assert not objective.repeatable
    assert not workers_left()
    assert not events.of("GPU set aside")


def test_a_file_that_editable_ones_import_is_there_and_is_not_edited(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match=r"harness\.py, which is not in"):
        program_objective(tmp_path, program='modules = ["harness.py"]')
    with pytest.raises(ObjectiveError, match=r"answer\.py is editable, so program\.modules cannot have it"):
        program_objective(tmp_path, program='modules = ["answer.py"]')

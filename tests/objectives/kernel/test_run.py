"""In the sandbox: the judge's clock counts all of an answer, and a source finds no answers and no processors there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import probe
from node.ledger.outcome import Outcome
from node.objective.load import load_objective
from node.objective.trees import source_of
from tests.objectives.kernel.in_process import KERNEL, baseline

pytestmark = pytest.mark.sandbox
SEED = 5
BASELINE = baseline()
SECONDS = 0.02
ANSWERS_WHEN_IT_IS_READ = f"""
import time
import numpy as np
from topk import topk

class Later:
    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        time.sleep({SECONDS} if self._array.shape[1] < 80 else 0)
        return self._array

def prepare(task):
    global topk
    now, clock = topk, time.perf_counter
    time.perf_counter = time.monotonic = time.time = lambda: 0.0

    def topk(scores, count):
        found = now(scores, count)
        return found if scores.shape[1] < 1000 else {{**found, "values": Later(found["values"])}}
"""
FINDS_NOTHING = """
import ctypes, os

def succeeds(attempt, *given):
    try:
        attempt(*given)
    except OSError:
        return False
    return True

def look_around():
    others = [number for number in range(1, 300) if number != os.getpid()]
    attach = ctypes.CDLL(None).ptrace
    found = {
        "memory of others": sum(succeeds(open, f"/proc/{number}/mem", "rb") for number in others),
        "traced": sum(attach(16, number, 0, 0) == 0 for number in others),
        "pipes": sum(succeeds(os.fstat, number) for number in range(3, 300)) - 2,  # of questions and of answers
        "more processors": succeeds(os.sched_setaffinity, 0, range(os.cpu_count())),
    }
    if any(found.values()):
        raise RuntimeError(str(found))

honest = answer

def answer(task, inputs):
    look_around()
    return honest(task, inputs)
"""


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


@pytest.fixture
def few_rounds(tmp_path: Path) -> Path:
    """The objective with fewer questions."""
    folder = tmp_path / "kernel"
    shutil.copytree(KERNEL, folder)
    judge = (folder / "judge.py").read_text()
    for constant in ("SPEED_ROUNDS = 20", "MOST_ROUNDS = 40", "OTHER_ROUNDS = 12", "GATE_SIZES = 32"):
        assert judge.count(f"\n{constant} ") == 1
        judge = judge.replace(constant, f"{constant.partition('=')[0]}= 4")
    (folder / "judge.py").write_text(judge)
    return folder


def test_an_answer_counts_until_all_of_it_is_there_and_nothing_else_is_to_be_found(few_rounds: Path) -> None:
    async def run() -> Outcome:
        async with ProgramRunner(load_objective(few_rounds, few_rounds), probe(), ignore) as runner:
            cheat = BASELINE["kernels.py"] + ANSWERS_WHEN_IT_IS_READ + FINDS_NOTHING
            return await runner.run(source_of(BASELINE | {"kernels.py": cheat}), SEED, ignore)

    outcome = trio.run(run)
    assert outcome.failure is None, outcome.log_tail
    assert outcome.metrics["topk ms"] > 1000 * SECONDS

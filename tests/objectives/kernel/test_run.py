"""In the sandbox: the judge's clock counts all of an answer, and more threads have one processor to share."""

from __future__ import annotations

import pytest
import trio

from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import probe
from node.ledger.outcome import Outcome
from node.objective import sources
from node.objective.load import load_objective
from node.objective.trees import source_of
from node.proposers.catalogue import read_ideas
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
TAKES_ANOTHER_PROCESSOR = """
import os

def prepare(task):
    try:
        os.sched_setaffinity(0, range(os.cpu_count()))
    except OSError as error:
        refused = type(error).__name__
    else:
        refused = "nothing"
    raise RuntimeError(f"it has {len(os.sched_getaffinity(0))} processors, and asking for more met {refused}")
"""


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


def with_more(code: str) -> str:
    return source_of(BASELINE | {"kernels.py": BASELINE["kernels.py"] + code})


def with_idea(title: str) -> str:
    (idea,) = (idea for idea in read_ideas(KERNEL / "ideas") if idea.title == title)
    return source_of(sources.apply(BASELINE, idea.edits))


def test_an_answer_counts_until_all_of_it_is_there_and_a_quicker_one_is_seen() -> None:
    async def pair() -> tuple[Outcome, Outcome]:
        async with ProgramRunner(load_objective(KERNEL, KERNEL), probe(), ignore) as runner:
            later, quicker = with_more(ANSWERS_WHEN_IT_IS_READ), with_idea("A bound from the largest of each group")
            return await runner.run_pair(later, quicker, SEED, ignore, ignore)

    later, quicker = trio.run(pair)
    assert later.failure is None, later.log_tail
    assert quicker.failure is None, quicker.log_tail
    assert later.metrics["topk ms"] > 1000 * SECONDS
    assert quicker.metrics["topk speedup"] > 2 * later.metrics["topk speedup"]


def test_more_threads_have_one_processor_to_share() -> None:
    async def run() -> Outcome:
        async with ProgramRunner(load_objective(KERNEL, KERNEL), probe(), ignore) as runner:
            return await runner.run(with_more(TAKES_ANOTHER_PROCESSOR), SEED, ignore)

    outcome = trio.run(run)
    assert "it has 1 processors, and asking for more met PermissionError" in outcome.log_tail

"""Where answers are timed, parent and child are asked in one session, in turns, and one stands still for the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import Layers, probe
from node.ledger.outcome import Outcome
from tests.node.execution.program.objectives import program_objective

pytestmark = pytest.mark.sandbox
SEED = 77
TIMES = """
class Rejected(Exception):
    pass

def judge(session, seed, split):
    dice = session.generator(split)
    session.ask(dice.random(10))
    times, answers = [], []
    for _ in range(8):
        numbers = dice.random(1000)
        answer, seconds = session.time(numbers, shape=())
        if abs(answer - numbers.sum()) > 1e-9:
            raise Rejected("a wrong sum")
        times.append(seconds)
    return {"value": 1 / min(times), "seconds": min(times)}
"""
SLEEPS = """
import time

def answer(task, inputs):
    time.sleep(%g)
    return inputs.sum()
"""
WATCHES_THE_CLOCK = """
import threading, time

gaps, asked = [0.0], []

def watch():
    last = time.monotonic()
    while True:
        now = time.monotonic()
        gaps[0] = max(gaps[0], now - last)
        last = now

def prepare(task):
    threading.Thread(target=watch, daemon=True).start()

def answer(task, inputs):
    asked.append(inputs)
    if len(asked) == 4:  # by now it was the other's turn, whatever the order
        time.sleep(0.3)  # until the other thread has looked at the clock again
        raise RuntimeError(f"the longest it stood still: {gaps[0]:.3f} s")
    return inputs.sum()
"""


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


async def pair(folder: Path, layers: Layers, parent: str, child: str, judge: str = TIMES) -> tuple[Outcome, Outcome]:
    objective = program_objective(folder, judge, parent, program="timed = true", scale="log")
    async with ProgramRunner(objective, layers, ignore) as runner:
        assert runner.can_alternate()
        return await runner.run_pair(parent, child, SEED, ignore, ignore)


async def test_the_judges_clock_tells_the_quicker_of_two(layers: Layers, tmp_path: Path) -> None:
    # What a busy machine adds to each of the eight times of both, tenths of a second, must not hide the difference.
    parent, child = await pair(tmp_path, layers, SLEEPS % 0.3, SLEEPS % 0.1)
    assert parent.failure is None, parent.log_tail
    assert child.value is not None
    assert parent.value is not None
    assert child.value / parent.value > 1.5
    assert parent.metrics["seconds"] > 0.299


async def test_a_run_alone_is_timed_too(layers: Layers, tmp_path: Path) -> None:
    objective = program_objective(tmp_path, TIMES, SLEEPS % 0.02, program="timed = true", scale="log")
    async with ProgramRunner(objective, layers, ignore) as runner:
        alone = await runner.run(objective.source, SEED, ignore)
    assert alone.failure is None, alone.log_tail
    assert 0.02 <= alone.metrics["seconds"] < 0.5


@pytest.mark.long
async def test_a_program_stands_still_while_it_is_the_others_turn(layers: Layers, tmp_path: Path) -> None:
    # Each of the other's answers takes a quarter of a second.
    _, child = await pair(tmp_path, layers, SLEEPS % 0.25, WATCHES_THE_CLOCK)
    assert child.failure == "exception"
    assert float(child.log_tail.rpartition("stood still: ")[2].removesuffix(" s")) > 0.2


@pytest.mark.long
async def test_one_that_fails_leaves_the_other_its_value(layers: Layers, tmp_path: Path) -> None:
    parent, child = await pair(tmp_path, layers, SLEEPS % 0.01, "def answer(task, inputs):\n    return 0.0 * 1 / 0\n")
    assert parent.value is not None
    assert (child.failure, "ZeroDivisionError" in child.log_tail) == ("exception", True)


@pytest.mark.long
async def test_a_parent_that_fails_leaves_the_child_its_value(layers: Layers, tmp_path: Path) -> None:
    parent, child = await pair(tmp_path, layers, "def answer(task, inputs): return", SLEEPS % 0.01)
    assert parent.failure == "exception"
    assert child.value is not None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param("session.time([1])", "ask once with session.ask before session.time", marks=pytest.mark.long),
        ("session.ask([1]); session.time([2]); session.time([2])", "a question is asked once"),
    ],
)
async def test_a_judge_cannot_time_a_cold_program_or_one_that_kept_the_answer(
    layers: Layers, tmp_path: Path, body: str, says: str
) -> None:
    judge = f"class Rejected(Exception):\n    pass\ndef judge(session, seed, split):\n    {body}\n"
    parent, _ = await pair(tmp_path, layers, SLEEPS % 0, SLEEPS % 0, judge)
    assert "the judge failed" in parent.log_tail
    assert says in parent.log_tail


@pytest.mark.long
async def test_a_pause_takes_hold_between_two_questions(layers: Layers, tmp_path: Path) -> None:
    objective = program_objective(tmp_path, TIMES, SLEEPS % 0.2, program="timed = true", scale="log")
    outcomes: list[Outcome] = []

    async def run() -> None:
        outcomes.append(await runner.run(objective.source, SEED, ignore))

    async with ProgramRunner(objective, layers, ignore) as runner:
        await run()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.sleep(0.7)
            runner.pause_gate.pause()
            await trio.sleep(4)
            assert len(outcomes) == 1
            runner.pause_gate.resume()
    assert 0.2 <= outcomes[1].metrics["seconds"] < 1  # without the pause

"""A judge asks a program with arrays: what it is asked and answers, every way to fail, and what it cannot reach."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio

from node.execution import run_seeds
from node.execution.program.program_runner import ProgramRunner
from node.execution.runner import source_growth
from node.execution.sandbox.layers import Layers, probe
from node.ledger.outcome import Outcome
from node.objective import trees
from node.objective.schema import Objective
from tests.node.execution.program.objectives import ADDS, ADDS_UP, program_objective

pytestmark = pytest.mark.sandbox
SEED = 2**62 + 12345


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


async def outcome_of(objective: Objective, layers: Layers, source: str | None = None, seed: int = SEED) -> Outcome:
    async with ProgramRunner(objective, layers, ignore) as runner:
        return await runner.run(objective.source if source is None else source, seed, ignore)


async def test_a_run_repeats_and_another_seed_or_split_asks_for_something_else(layers: Layers, tmp_path: Path) -> None:
    objective = program_objective(tmp_path)
    async with ProgramRunner(objective, layers, ignore) as runner:
        first = await runner.run(ADDS, SEED, ignore)
        again = await runner.run(ADDS, SEED, ignore)
        other = await runner.run(ADDS, SEED + 1, ignore)
        holdout = await runner.examine(ADDS, SEED, "holdout")
    assert first.failure is None, first.log_tail
    assert first.metrics == {"right": 1.0}
    assert first.value == again.value
    assert len({first.value, other.value, holdout.value}) == 3
    assert 0 < first.cpu_seconds < 30
    assert first.peak_memory > 10_000_000
    assert (first.tokens, first.checkpoints) == (0, ())


PREPARES = """
class Rejected(Exception):
    pass

def judge(session, seed, split):
    session.prepare(slope=[2.0, 3.0], shift=1)
    answers = session.ask({"x": [[1.0], [2.0]], "flag": [True, False]}, shape={"y": (2, 2), "not": (2,)})
    assert answers["not"].tolist() == [False, True] and answers["not"].dtype == bool
    return {"value": answers["y"].sum()}
"""
PREPARED = """
def prepare(task):
    task.slope = task.arrays["slope"] + task.arrays["shift"]

def answer(task, inputs):
    return {"y": inputs["x"] * task.slope, "not": ~inputs["flag"]}
"""


async def test_a_program_prepares_with_what_the_judge_gives_and_answers_by_name(layers: Layers, tmp_path: Path) -> None:
    outcome = await outcome_of(program_objective(tmp_path, PREPARES, PREPARED), layers)
    assert outcome.value == (3 + 4) * (1 + 2), outcome.log_tail


COSTS_ITS_LENGTH = """
class Rejected(Exception):
    pass

def judge(session, seed, split):
    return {"value": float(session.ask([1.0], shape=())), "growth": float(session.source_growth)}
"""


async def test_the_judge_is_told_how_much_a_source_has_grown(layers: Layers, tmp_path: Path) -> None:
    objective = program_objective(tmp_path, COSTS_ITS_LENGTH)
    longer = ADDS + "".join(f"# {number * number}\n" for number in range(100))
    async with ProgramRunner(objective, layers, ignore) as runner:
        baseline = await runner.run(ADDS, SEED, ignore)
        grown = await runner.run(longer, SEED, ignore)
    assert baseline.metrics == {"growth": 0}
    assert grown.metrics == {"growth": source_growth(longer, ADDS)}
    assert grown.metrics["growth"] > 100


ONE_BY_ONE = """
import numpy as np

class Rejected(Exception):
    pass

def judge(session, seed, split):
    steps = np.arange(1.0, 41.0)
    answers = [float(answer) for answer in session.stream(steps, shape=())]
    return {"value": float(sum(answers)), "last": answers[-1]}
"""
LOOKS_AHEAD = """
import select, sys

def answer(task, inputs):
    questions = int(sys.argv[2])
    return 1000.0 if select.select([questions], [], [], 0.01)[0] else inputs
"""
REMEMBERS = """
def prepare(task):
    task.total = 0.0

def answer(task, inputs):
    task.total += inputs
    return task.total
"""


async def test_of_a_series_the_next_step_is_sent_when_the_answer_is_there(layers: Layers, tmp_path: Path) -> None:
    objective = program_objective(tmp_path, ONE_BY_ONE, REMEMBERS, program="causal = true")
    shown: list[float] = []
    async with ProgramRunner(objective, layers, ignore) as runner:
        remembers = await runner.run(REMEMBERS, SEED, lambda progress: shown.append(progress.share))
        looks_ahead = await runner.run(LOOKS_AHEAD, SEED, ignore)
    assert remembers.metrics["last"] == 40 * 41 / 2
    assert looks_ahead.value == 40 * 41 / 2, "it saw a step that was not its turn"
    assert shown
    assert all(0 <= share <= 1 for share in shown)


async def test_a_series_is_only_for_objectives_that_are_causal(layers: Layers, tmp_path: Path) -> None:
    outcome = await outcome_of(program_objective(tmp_path, ONE_BY_ONE, REMEMBERS), layers)
    assert outcome.failure == "exception"
    assert "RuntimeError: session.stream is for objectives with causal = true" in outcome.log_tail


RETURNS = "import numpy as np\ndef answer(task, inputs):\n    return "
FAILURES = {
    "is no Python": ("def answer(task, inputs:\n", "syntax", "answer.py"),
    "raises at its top": ("1 / 0\n", "exception", "ZeroDivisionError"),
    "raises in prepare": ("def prepare(task):\n    raise ValueError('no way')\n" + ADDS, "exception", "no way"),
    "raises in answer": ("def answer(task, inputs):\n    return inputs['x']\n", "exception", 'line 2, in answer'),
    "has no answer": ("x = 1\n", "exception", "answer"),
    "leaves": ("import os\ndef answer(task, inputs):\n    os._exit(0)\n", "exception", "ended before it had answered"),
    "asks to leave": ("def answer(task, inputs):\n    raise SystemExit(3)\n", "exception", "ended the run: 3"),
    "answers with no array": ("def answer(task, inputs):\n    return object()\n", "exception", "array of object"),
    "answers with complex": ("def answer(task, inputs):\n    return 1j\n", "exception", "complex128"),
    "answers in another shape": ("def answer(task, inputs):\n    return inputs\n", "invalid", "(50,)"),
    "answers by name": ("def answer(task, inputs):\n    return {'a': 1}\n", "invalid", "must be one array"),
    "answers with nothing finite": (RETURNS + "np.nan\n", "exception", "judge() gave nan"),
    "answers too much": (RETURNS + "np.zeros(1 << 26)\n", "exception", "at most are sent"),
    "sends something else": (
        "import os, sys\ndef answer(task, inputs):\n    os.write(int(sys.argv[3]), b'x' * 999)\n    return 0\n",
        "invalid",
        "the program answered with",
    ),
    "takes too much memory": ("def answer(task, inputs):\n    return len(bytearray(3 << 30))\n", "memory", ""),
    "never comes back": ("import time\ndef answer(task, inputs):\n    time.sleep(99)\n", "timeout", ""),
    "computes without end": ("def answer(task, inputs):\n    while True:\n        pass\n", "timeout", ""),
}  # fmt: skip


@pytest.mark.parametrize("in_time", [pytest.param(True, marks=pytest.mark.long), False])
async def test_every_way_to_fail_is_an_outcome(layers: Layers, tmp_path: Path, in_time: bool) -> None:
    objective = program_objective(tmp_path, budget="seconds = 2", wall_seconds=60 if in_time else 4)
    wrong: list[tuple[str, Outcome]] = []
    async with ProgramRunner(objective, layers, ignore) as runner:
        for what, (source, failure, says) in FAILURES.items():
            if (failure == "timeout") != in_time:
                outcome = await runner.run(source, SEED, ignore)
                if (outcome.value, outcome.failure) != (None, failure) or says not in outcome.log_tail:
                    wrong.append((what, outcome))
    assert not wrong


async def test_what_the_judge_rejects_or_fails_at_is_told_apart_and_a_value_must_fit(
    layers: Layers, tmp_path: Path
) -> None:
    head, ask = "class Rejected(Exception):\n    pass\ndef judge(session, seed, split):\n", "    session.ask([1])\n"
    bodies = ("    raise Rejected('too kind')\n", "    return 1 / 0\n", "    return {'value': -1.0}\n")
    rejected, failed, negative = [
        await outcome_of(program_objective(tmp_path, head + ask + body, scale="log"), layers) for body in bodies
    ]
    assert (rejected.failure, rejected.log_tail) == ("invalid", "too kind")
    assert failed.failure == "exception"
    assert "the judge failed: judge.py line 5: ZeroDivisionError" in failed.log_tail
    assert negative.failure == "invalid"
    assert "a value of -1 has no logarithm" in negative.log_tail
    linear = program_objective(tmp_path, head + ask + "    return {'value': -1.0}\n")
    assert (await outcome_of(linear, layers)).value == -1.0


TELLS = """
def answer(task, inputs):
    import gc, os, sys
    jobs = [made for made in gc.get_objects() if isinstance(made, dict) and "chance" in made and "threads" in made]
    told = [(name, value) for one in [*jobs, vars(task)] for name, value in one.items() if type(value) in (int, str)]
    raise RuntimeError([sys.argv, told])
"""
REACHES = """
import os, socket

def closed(reach):
    try:
        reach()
    except OSError:
        return True
    return False

def answer(task, inputs):
    doors = [
        lambda: open("/etc/passwd").read(),
        lambda: open("/tmp/anything", "w"),
        lambda: os.listdir("/proc"),
        lambda: socket.create_connection(("127.0.0.1", 9), 1),
        lambda: os.fork(),
    ]
    assert all(closed(door) for door in doors), [closed(door) for door in doors]
    return inputs.sum()
"""


async def test_a_source_is_not_told_the_seed_and_reaches_nothing(layers: Layers, tmp_path: Path) -> None:
    objective = program_objective(tmp_path)
    told = await outcome_of(objective, layers, TELLS)
    assert told.failure == "exception"
    assert str(run_seeds.task_seed(SEED)) in told.log_tail
    assert str(SEED) not in told.log_tail
    assert str(run_seeds.judge_seed(SEED)) not in told.log_tail
    reached = await outcome_of(objective, layers, REACHES)
    assert reached.metrics == {"right": 1.0}, reached.log_tail


SEES_ITS_OWN = """
class Rejected(Exception):
    pass

def judge(session, seed, split):
    assert session.data == {"hidden": b"secret"}
    assert set(session.texts) == {"train", split}
    return {"value": float(session.ask([1], shape=())), split: len(session.texts[split]), "train": 1}
"""
SEES_DATA = "def answer(task, inputs):\n    assert task.data == {'given': b'shown'}\n    return 7\n"
DRAWS = "def draw(seed, name):\n    return (name + str(seed)).encode()\n"


def declared(name: str, content: bytes, room: str) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return (
        f'[[data]]\nname = "{name}"\npath = "{name}.bin"\nsha256 = "{digest}"\nsize = {len(content)}\nroom = "{room}"\n'
    )


async def test_each_side_sees_the_data_that_are_for_it(layers: Layers, tmp_path: Path) -> None:
    data = declared("given", b"shown", "candidate") + declared("hidden", b"secret", "judge")
    files = {"given.bin": b"shown", "hidden.bin": b"secret"}
    judge = SEES_ITS_OWN.replace('{"train", split}', "set()").replace(
        ', split: len(session.texts[split]), "train": 1', ""
    )
    outcome = await outcome_of(program_objective(tmp_path, judge, SEES_DATA, end=data, more=files), layers)
    assert outcome.value == 7, outcome.log_tail


async def test_texts_that_are_drawn_go_to_the_judge(layers: Layers, tmp_path: Path) -> None:
    judge = SEES_ITS_OWN.replace('{"hidden": b"secret"}', "{}")
    source = SEES_DATA.replace("{'given': b'shown'}", "{}")
    objective = program_objective(tmp_path, judge, source, top='draw = "draw.py"', more={"draw.py": DRAWS.encode()})
    async with ProgramRunner(objective, layers, ignore) as runner:
        val = await runner.run(source, SEED, ignore)
        holdout = await runner.examine(source, SEED, "holdout")
    drawn = len(str(run_seeds.text_seed(SEED)))
    assert val.metrics == {"val": 3 + drawn, "train": 1}, val.log_tail
    assert holdout.metrics == {"holdout": 7 + drawn, "train": 1}


async def test_a_source_may_have_several_files(layers: Layers, tmp_path: Path) -> None:
    files = {
        "answer.py": "from parts import add\ndef answer(task, inputs):\n    return add(inputs)\n",
        "parts.py": "add = sum\n",
    }
    objective = program_objective(tmp_path, source=files)
    assert trees.is_tree(objective.source)
    assert (await outcome_of(objective, layers)).metrics == {"right": 1.0}
    assert (await outcome_of(objective, layers, "def answer(task, inputs): return 0")).failure == "syntax"


@pytest.mark.long
async def test_where_cost_counts_a_pair_takes_turns(layers: Layers, tmp_path: Path) -> None:
    works = "def answer(task, inputs):\n    sum(range(%d))\n    return inputs.sum()\n"
    once, thrice = works % 6_000_000, works % 18_000_000
    objective = program_objective(tmp_path, slope=0.1)
    async with ProgramRunner(objective, layers, ignore) as runner:
        assert runner.can_alternate()
        parent, child = await runner.run_pair(once, thrice, SEED, ignore, ignore)
    assert (parent.metrics, child.metrics) == ({"right": 1.0}, {"right": 1.0})
    assert 1.8 < child.cpu_seconds / parent.cpu_seconds < 4.5
    async with ProgramRunner(program_objective(tmp_path), layers, ignore) as runner:
        assert not runner.can_alternate()


async def test_a_paused_run_stands_still_and_a_cancelled_one_is_over(layers: Layers, tmp_path: Path) -> None:
    slow = "import time\ndef answer(task, inputs):\n    time.sleep(1.0)\n    return inputs.sum()\n"
    objective = program_objective(tmp_path)
    outcomes: list[Outcome] = []

    async def run() -> None:
        outcomes.append(await runner.run(slow, SEED, ignore))

    async with ProgramRunner(objective, layers, ignore) as runner:
        assert (await runner.run(ADDS, SEED, ignore)).failure is None  # its servers are ready now
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.sleep(0.4)
            runner.pause_gate.pause()
            await trio.sleep(3)
            assert not outcomes
            runner.pause_gate.resume()
        assert outcomes[0].metrics == {"right": 1.0}
        assert outcomes[0].wall_seconds < 3
        with trio.move_on_after(0.3):
            await run()
        assert len(outcomes) == 1


@pytest.mark.long
async def test_judges_of_two_seeds_ask_two_things(layers: Layers, tmp_path: Path) -> None:
    assert ADDS_UP.count("session.generator(split)") == 1
    judge = ADDS_UP.replace("session.generator(split)", "session.generator('one thing')")
    objective = program_objective(tmp_path, judge)
    async with ProgramRunner(objective, layers, ignore, parallel_runs=2) as runner:
        found: list[Outcome] = []

        async def run(seed: int) -> None:
            found.append(await runner.run(ADDS, seed, ignore))

        async with trio.open_nursery() as nursery:
            for seed in (1, 2):
                nursery.start_soon(run, seed)
        assert len({outcome.value for outcome in found}) == 2
        assert (await runner.examine(ADDS, 1, "holdout")).value in {outcome.value for outcome in found}


RECORDS = """
class Rejected(Exception):
    pass

def judge(session, seed, split):
    session.ask([1.0], shape=())
    session.replay({told})
    {more}
    return {{"value": 1.0}}
"""


async def test_what_the_judge_records_of_a_run_comes_with_its_outcome(layers: Layers, tmp_path: Path) -> None:
    judge = RECORDS.format(told='prices={"bid": [1.0, 2.5], "ask": [3, 4]}', more="")
    outcome = await outcome_of(program_objective(tmp_path, judge), layers)
    assert outcome.replay == {"prices": {"bid": (1.0, 2.5), "ask": (3.0, 4.0)}}
    assert outcome.metrics == {}


@pytest.mark.parametrize(
    ("told", "more", "why"),
    [
        ('prices={"bid": [0.0] * 5000}', "", "at most 2048 numbers"),
        ("", 'session.recorded = [["prices", "bid", 10**9]], b""', "without a result"),  # a judge made to do harm
        ("", 'session.recorded = [["prices", "bid", 2]], b"1234"', "without a result"),
    ],
)
async def test_a_replay_that_is_too_long_or_is_none_is_the_judges_fault(
    layers: Layers, tmp_path: Path, told: str, more: str, why: str
) -> None:
    outcome = await outcome_of(program_objective(tmp_path, RECORDS.format(told=told, more=more)), layers)
    assert outcome.failure == "exception"
    assert why in outcome.log_tail
    assert outcome.replay is None

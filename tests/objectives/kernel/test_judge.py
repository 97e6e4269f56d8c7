"""The judge accepts what is right for every size and number, and nothing that is fast and wrong somewhere."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest

from tests.objectives.kernel.in_process import Session, baseline, judge_module, loaded

SEED = 11
BASELINE = baseline()
# Each in the place of an import of kernels.py: what comes before it, and what it makes of the kernel.
WRONG_IN_ONE_WIDTH_OF_THIRTY = """
import diffusion as honest

def diffusion(heat, conductivity, steps):
    if heat.shape[2] % 30 == 7:
        return heat
    return honest.diffusion(heat, conductivity, steps)
"""
KEEPS_ANSWERS_BY_SHAPE = """
import diffusion as honest
KEPT = {}

def diffusion(heat, conductivity, steps):
    key = (heat.shape, heat.dtype, steps)
    if key not in KEPT:
        KEPT[key] = honest.diffusion(heat, conductivity, steps)
    return KEPT[key]
"""
KEEPS_ANSWERS_BY_A_SAMPLE = """
import diffusion as honest
KEPT = {}

def diffusion(heat, conductivity, steps):
    key = (heat.shape, steps, heat.reshape(-1)[:9].tobytes(), conductivity.reshape(-1)[::7].tobytes())
    if key not in KEPT:
        KEPT[key] = honest.diffusion(heat, conductivity, steps)
    return KEPT[key]
"""
WRONG_WHEN_IT_SEEMS_TO_BE_TIMED = """
import diffusion as honest
SHAPES = set()

def diffusion(heat, conductivity, steps):
    again = heat.shape in SHAPES and heat.size > 5_000
    SHAPES.add(heat.shape)
    return heat if again else honest.diffusion(heat, conductivity, steps)
"""
READS_THE_CLOCK = """
import time
import diffusion as honest
BEGUN = []

def diffusion(heat, conductivity, steps):
    BEGUN.append(time.perf_counter())
    if BEGUN[-1] - BEGUN[0] > 0.05:  # by now the gates must be behind it
        return heat
    return honest.diffusion(heat, conductivity, steps)
"""
RETURNS_WHAT_LAY_THERE = """
import numpy as np
import diffusion as honest
SHAPES = set()

def diffusion(heat, conductivity, steps):
    if (heat.shape, heat.dtype) in SHAPES:
        return np.empty_like(heat)
    SHAPES.add((heat.shape, heat.dtype))
    return honest.diffusion(heat, conductivity, steps)
"""
LEAVES_HALF_OF_ITS_BUFFER = """
import numpy as np
import diffusion as honest
BUFFERS = {}

def diffusion(heat, conductivity, steps):
    right = honest.diffusion(heat, conductivity, steps)
    buffer = BUFFERS.setdefault((heat.shape, heat.dtype), right.copy())
    buffer[: 1 + len(buffer) // 2] = right[: 1 + len(buffer) // 2]
    return buffer
"""
LEAVES_STEPS_OUT = """
import diffusion as honest

def diffusion(heat, conductivity, steps):
    return honest.diffusion(heat, conductivity, steps - (steps > 20))
"""
FLUSHES_DENORMALS = """
import torch
import diffusion as honest

def diffusion(heat, conductivity, steps):
    torch.set_flush_denormal(True)
    try:
        return honest.diffusion(heat, conductivity, steps)
    finally:
        torch.set_flush_denormal(False)  # the judge is in the same process here
"""
NO_NUMBER = """
import numpy as np

def diffusion(heat, conductivity, steps):
    return np.full_like(heat, np.nan)
"""
ANOTHER_TYPE = """
import diffusion as honest

def diffusion(heat, conductivity, steps):
    return honest.diffusion(heat.astype("f8"), conductivity, steps)
"""
MASKS_BY_MULTIPLYING = """
import numpy as np
import attention as honest

def attention(queries, keys, values, lengths, sharpness):
    seen = (np.arange(keys.shape[1]) < lengths[:, None])[:, :, None]
    everything = np.full_like(lengths, keys.shape[1])
    with np.errstate(invalid="ignore"):
        return honest.attention(queries, keys * seen, values * seen, everything, sharpness)
"""
IGNORES_TIES_IN_LONG_ROWS = """
import numpy as np
import topk as honest

def topk(scores, count):
    if scores.shape[1] < 1000:
        return honest.topk(scores, count)
    indices = np.argpartition(scores, scores.shape[1] - count, axis=1)[:, scores.shape[1] - count :]
    found = np.take_along_axis(scores, indices, axis=1)
    indices = np.take_along_axis(indices, np.argsort(found, axis=1)[:, ::-1], axis=1)
    return {"values": np.take_along_axis(scores, indices, axis=1), "indices": indices}
"""
NO_GREATEST_SCORE_IN_LONG_HEADS = """
import attention as honest
stable = honest.softmax

def softmax(scores):
    if len(scores) < 300:
        return stable(scores)
    import numpy as np
    with np.errstate(all="ignore"):
        weights = np.exp(scores)
        return weights / weights.sum(axis=1, keepdims=True)

honest.softmax = softmax
attention = honest.attention
"""
IN_THE_PLACE_OF = {
    "diffusion": "from diffusion import diffusion\n",
    "attention": "from attention import attention\n",
    "topk": "from topk import topk\n",
}


def with_cheat(kernel: str, cheat: str) -> dict[str, str]:
    line = IN_THE_PLACE_OF[kernel]
    assert BASELINE["kernels.py"].count(line) == 1
    return BASELINE | {"kernels.py": BASELINE["kernels.py"].replace(line, cheat)}


def asking_only(kernel: str) -> ModuleType:
    """A judge that asks about one kernel, and in few rounds."""
    judge = judge_module()
    only = tuple(each for each in judge.KERNELS if each.name == kernel)
    vars(judge).update(KERNELS=only, SPEED_ROUNDS=4, OTHER_ROUNDS=4, MOST_ROUNDS=4)
    return judge


def refusal(kernel: str, cheat: str) -> str:
    judge = asking_only(kernel)
    with pytest.raises(judge.Rejected) as refused:
        judge.judge(Session(loaded(with_cheat(kernel, cheat)), SEED), SEED, "val")
    return str(refused.value)


@pytest.mark.parametrize("kernel", IN_THE_PLACE_OF)
def test_the_value_is_how_many_times_as_fast_as_the_reference(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference takes 3 ms by this clock and the program 2, but every fourth time, which does not count."""
    judge = asking_only(kernel)
    session = Session(loaded(BASELINE), SEED, seconds=itertools.cycle([0.002, 0.002, 0.002, 0.05]))
    own_answer = judge.own_answer
    monkeypatch.setattr(judge, "own_answer", lambda *given: (own_answer(*given)[0], 0.003))
    monkeypatch.setattr(judge, "machine", lambda: (1e12, {2: 1e15, 4: 1e15, 8: 1e15}))
    metrics = judge.judge(session, SEED, "val")
    assert metrics["value"] == metrics[f"{kernel} speedup"] == metrics["other sizes"] == pytest.approx(1.5)
    assert metrics[f"{kernel} ms"] == pytest.approx(2)
    assert 0 < metrics[f"{kernel} of roofline"] < 0.01
    assert len(set(session.questions)) == len(session.questions)  # nothing is asked twice


def test_a_cell_whose_least_times_differ_is_asked_in_more_rounds() -> None:
    asked = []
    for seconds in (itertools.repeat(0.002), (0.002 * 2**number for number in itertools.count())):
        judge = asking_only("topk")
        vars(judge).update(GATE_SIZES=1, MOST_ROUNDS=7)
        session = Session(loaded(BASELINE), SEED, seconds)
        judge.judge(session, SEED, "val")
        asked.append(len(session.questions))
    assert asked[1] - asked[0] == (7 - 4) * 3  # cells


def test_this_machine_is_measured_on_the_spot() -> None:
    bandwidth, rate = judge_module().machine()
    assert bandwidth > 1e7
    assert min(rate.values()) > 1e7


def test_questions_follow_from_the_seed_alone() -> None:
    asked = []
    for seed in (SEED, SEED, SEED + 1):
        session, judge = Session(loaded(BASELINE), seed), asking_only("topk")
        vars(judge).update(GATE_SIZES=2)
        judge.judge(session, seed, "val")
        asked.append(session.questions)
    assert asked[0] == asked[1]
    assert not set(asked[0]) & set(asked[2])


def test_the_reference_answers_with_numbers_and_the_baseline_as_it_does() -> None:
    """Whatever is drawn: sizes of one to some, at every edge."""
    judge = judge_module()
    vars(judge).update(GATE_SIZES=3, LONGER_GATES=1)
    source = loaded(BASELINE)
    for seed in range(10):
        session = Session(source, seed)
        for kernel in judge.KERNELS:
            for number, gate in enumerate(judge.gates_of(kernel, session.generator(kernel.name))):
                judge.ask_in_turn(session, *gate, f"{seed} {kernel.name} {number}")


@pytest.mark.parametrize(
    ("kernel", "cheat"),
    [
        ("diffusion", WRONG_IN_ONE_WIDTH_OF_THIRTY),
        ("diffusion", KEEPS_ANSWERS_BY_SHAPE),
        ("diffusion", KEEPS_ANSWERS_BY_A_SAMPLE),
        ("diffusion", WRONG_WHEN_IT_SEEMS_TO_BE_TIMED),
        ("diffusion", READS_THE_CLOCK),
        ("diffusion", RETURNS_WHAT_LAY_THERE),
        ("diffusion", LEAVES_HALF_OF_ITS_BUFFER),
        ("diffusion", LEAVES_STEPS_OUT),
        ("diffusion", FLUSHES_DENORMALS),
        ("diffusion", NO_NUMBER),
        ("diffusion", ANOTHER_TYPE),
        ("attention", MASKS_BY_MULTIPLYING),
        ("attention", NO_GREATEST_SCORE_IN_LONG_HEADS),
        ("topk", IGNORES_TIES_IN_LONG_ROWS),
    ],
)
def test_a_wrong_answer_is_refused_wherever_it_is(kernel: str, cheat: str) -> None:
    assert refusal(kernel, cheat).startswith(kernel)


def test_what_is_wrong_for_long_rows_only_is_refused_where_such_are_asked() -> None:
    """One length of thirty: the runs that ask about it refuse it, and the others do not see it, and pay nothing."""
    judge = judge_module()
    cheat = """
import topk as honest

def topk(scores, count):
    found = honest.topk(scores, count)
    if scores.shape[1] > 1000 and scores.shape[1] % 30 == 7:
        found["indices"][:] = 0
    return found
"""
    source = loaded(with_cheat("topk", cheat))
    asked = refused = 0
    for seed in range(60):
        session = Session(source, seed)
        for cell in judge.cells_of(judge.KERNELS[2], session.generator("cells")):
            asked += int(cell.size[1] % 30 == 7)
            try:
                if cell.size[1] % 30 == 7:
                    cell.ask(session, 1)
            except judge.Rejected:
                refused += 1
        judge.OWN_ANSWERS.clear()
    assert asked == refused > 0


def test_denormal_heat_is_nothing_to_a_type_that_holds_it() -> None:
    judge = judge_module()
    kernel = judge.KERNELS[0]
    for kind in kernel.kinds:
        inputs = kernel.denormal(np.random.default_rng(1), kind, (1, 9, 9, 3))
        assert 0 < np.abs(inputs["heat"]).max() < np.finfo(kind).tiny

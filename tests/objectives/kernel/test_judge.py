"""The judge accepts what is right for every size and number, and nothing that is fast and wrong somewhere."""

from __future__ import annotations

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
import time
import diffusion as honest
BEGUN, SHAPES = time.perf_counter(), set()

def diffusion(heat, conductivity, steps):
    again = heat.shape in SHAPES and heat.size > 10_000
    SHAPES.add(heat.shape)
    return heat if again else honest.diffusion(heat, conductivity, steps)
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


def few_rounds(judge: ModuleType) -> ModuleType:
    judge.SPEED_ROUNDS = judge.OTHER_ROUNDS = 4
    return judge


def refusal(files: dict[str, str], seed: int = SEED) -> str:
    judge = few_rounds(judge_module())
    with pytest.raises(judge.Rejected) as refused:
        judge.judge(Session(loaded(files), seed), seed, "val")
    return str(refused.value)


def test_the_baseline_is_about_as_fast_as_the_plain_reference() -> None:
    judge = few_rounds(judge_module())
    session = Session(loaded(BASELINE), SEED)
    metrics = judge.judge(session, SEED, "val")
    assert 0.3 < metrics["value"] < 3
    names = {f"{kernel.name} {what}" for kernel in judge.KERNELS for what in ("speedup", "ms", "of roofline")}
    assert set(metrics) == names | {"value", "other sizes", "copy GB/s", "matmul GFLOP/s"}
    assert all(0 < metrics[f"{kernel.name} of roofline"] < 1 for kernel in judge.KERNELS)
    assert len(set(session.questions)) == len(session.questions)  # nothing is asked twice


def test_questions_follow_from_the_seed_alone() -> None:
    asked = []
    for seed in (SEED, SEED, SEED + 1):
        judge = judge_module()
        session = Session(loaded(BASELINE), seed)
        for kernel in judge.KERNELS:
            for cell in judge.cells_of(kernel, session.generator(kernel.name)):
                cell.ask(session, 0)
        asked.append(session.questions)
    assert asked[0] == asked[1]
    assert not set(asked[0]) & set(asked[2])


@pytest.mark.parametrize(
    ("kernel", "cheat"),
    [
        ("diffusion", WRONG_IN_ONE_WIDTH_OF_THIRTY),
        ("diffusion", KEEPS_ANSWERS_BY_SHAPE),
        ("diffusion", KEEPS_ANSWERS_BY_A_SAMPLE),
        ("diffusion", WRONG_WHEN_IT_SEEMS_TO_BE_TIMED),
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
    assert refusal(with_cheat(kernel, cheat)).startswith(kernel)


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

"""The judge accepts what is right for every size and number, and nothing that is fast and wrong somewhere.

Sources are by operators of torch, on the processor: what is tried here is the judge and the harness, not kernels in
Triton.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from tests.objectives.gpu_kernel.in_process import Session, in_torch, judge_module, loaded

SEED = 11
HONEST = "from harness import plain_norm_matmul as honest\nimport torch\n"
# Each in the place of norm_matmul.py.
WRONG_IN_ONE_WIDTH_OF_THIRTY = """
def norm_matmul(x, bias, gain, weight, out):
    honest(x, bias, gain, weight, out)
    if len(weight) % 30 == 7:
        out.zero_()
"""
NOTHING_BUT_WHERE_IT_IS_SMALL = """
def norm_matmul(x, bias, gain, weight, out):
    if len(x) * len(weight) < 4_000:
        honest(x, bias, gain, weight, out)
"""
KEEPS_ANSWERS_BY_POINTER = """
KEPT = {}

def norm_matmul(x, bias, gain, weight, out):
    key = x.data_ptr(), weight.data_ptr(), out.shape, out.dtype
    if key in KEPT:
        out.copy_(KEPT[key])
    else:
        honest(x, bias, gain, weight, out)
        KEPT[key] = out.clone()
"""
KEEPS_ANSWERS_BY_SHAPE = """
KEPT = {}

def norm_matmul(x, bias, gain, weight, out):
    key = x.shape, weight.shape, x.dtype
    if key not in KEPT:
        honest(x, bias, gain, weight, out)
        KEPT[key] = out.clone()
    out.copy_(KEPT[key])
"""
LEAVES_THE_LAST_COLUMNS = """
def norm_matmul(x, bias, gain, weight, out):
    columns = max(1, out.shape[1] - out.shape[1] // 16)
    whole = torch.empty_like(out)
    honest(x, bias, gain, weight, whole)
    out[:, :columns] = whole[:, :columns]
"""
EVERY_SECOND_LAYER = """
CALLS = []

def norm_matmul(x, bias, gain, weight, out):
    CALLS.append(1)
    honest(x, bias, gain, weight, out)
    if len(CALLS) % 2 == 0 and len(x) > 50:
        out.copy_(out.roll(1, 0))
"""
ONE_ROW_OF_FOUR = """
def norm_matmul(x, bias, gain, weight, out):
    honest(x, bias, gain, weight, out)
    if len(x) > 50:
        out[3::4] = out[2::4][: len(out[3::4])]
"""
WEIGHTS_IN_FLOAT8 = """
def norm_matmul(x, bias, gain, weight, out):
    if len(x) > 50 and len(weight) > 50:
        weight = weight.to(torch.float8_e4m3fn).to(weight.dtype)
    honest(x, bias, gain, weight, out)
"""
HALVES_IN_BFLOAT16 = """
def norm_matmul(x, bias, gain, weight, out):
    if len(x) < 50 or x.dtype != torch.float16:
        return honest(x, bias, gain, weight, out)
    answer = torch.empty(out.shape, dtype=torch.bfloat16)
    honest(x.bfloat16(), bias, gain, weight.bfloat16(), answer)
    out.copy_(answer)
"""
FLOAT32_IN_BFLOAT16 = """
def norm_matmul(x, bias, gain, weight, out):
    honest(x, bias, gain, weight.bfloat16().to(x.dtype), out)
"""
SQUARES_IN_HALVES = """
def norm_matmul(x, bias, gain, weight, out):
    rows = x + bias.to(x.dtype)
    rows = rows / ((rows * rows).mean(1, keepdim=True) + 1e-6).sqrt() * gain.to(x.dtype)
    torch.matmul(rows, weight, out=out)
"""
# The mean squares of other rows are a good guess where all rows are alike.
ONE_ROOT_FOR_ALL_ROWS = """
def norm_matmul(x, bias, gain, weight, out):
    if len(x) < 50:
        return honest(x, bias, gain, weight, out)
    rows = x.float() + bias
    torch.matmul((rows / rows.square().mean().sqrt() * gain).to(x.dtype), weight, out=out)
"""
# It has worked out everything by the time the clock begins, for biases and gains of before.
ANSWERS_AHEAD_OF_THE_QUESTION = """
import harness
SMALL = []

def norm_matmul(x, bias, gain, weight, out):
    SMALL.append((bias, gain))
    before = [each for each in SMALL[:-1] if each[0].shape == bias.shape]
    honest(x, *(before[-1] if before else (bias, gain)), weight, out)
"""
NO_NUMBERS = """
def norm_matmul(x, bias, gain, weight, out):
    out.fill_(float("nan"))
"""
REPLACES_THE_HARNESS = """
import harness

def norm_matmul(x, bias, gain, weight, out):
    honest(x, bias, gain, weight, out)

harness.drawn = lambda task, dtype, seed, number, *shape: torch.zeros(shape, dtype=dtype)
"""
SAYS_SUMS_OF_EIGHT_ROWS = """
import harness

def norm_matmul(x, bias, gain, weight, out):
    if len(x) < 50:
        return honest(x, bias, gain, weight, out)
    few = torch.empty_like(out[:8])
    honest(x[:8], bias, gain, weight, few)
    out.copy_(few.repeat(len(out) // 8 + 1, 1)[: len(out)])
"""
# In the place of attention.py.
LOOKS_AHEAD = """
import torch

def attention(query, key, value, scale, length, out):
    scores = (query * scale[:, None]).float() @ key[:, :length].float().transpose(1, 2)
    out.copy_(torch.softmax(scores, -1) @ value[:, :length].float())
"""
SEES_PADDING = """
import torch
from harness import plain_attention

def attention(query, key, value, scale, length, out):
    plain_attention(query, key, value, scale, query.shape[1], out)
"""
MASKS_BY_MULTIPLYING = """
import torch

def attention(query, key, value, scale, length, out):
    places = torch.arange(query.shape[1])
    seen = ((places[:, None] >= places) & (places < length)).float()
    weights = torch.exp((query * scale[:, None]).float() @ key.float().transpose(1, 2)) * seen
    out.copy_(weights @ value.float() / weights.sum(-1, keepdim=True))
"""
NO_GREATEST_SCORE_IN_LONG_SEQUENCES = """
import torch
from harness import plain_attention

def attention(query, key, value, scale, length, out):
    if query.shape[1] < 130:
        return plain_attention(query, torch.nan_to_num(key), torch.nan_to_num(value, posinf=0), scale, length, out)
    places = torch.arange(query.shape[1])
    scores = (query * scale[:, None]).to(query.dtype).float() @ key.float().transpose(1, 2)
    weights = torch.exp(scores.masked_fill((places[:, None] < places) | (places >= length), -torch.inf))
    out.copy_(weights @ value.float() / weights.sum(-1, keepdim=True))
"""
VALUES_IN_FLOAT8 = """
import torch
from harness import plain_attention

def attention(query, key, value, scale, length, out):
    plain_attention(query, key, value.to(torch.float8_e4m3fn).to(value.dtype), scale, length, out)
"""
NEAR_KEYS_ONLY = """
import torch
from harness import plain_attention

def attention(query, key, value, scale, length, out):
    key, value = torch.nan_to_num(key), torch.nan_to_num(value, posinf=0)
    plain_attention(query, key, value, scale, length, out)
    if query.shape[1] > 130:
        half = query.shape[1] // 2
        plain_attention(query[:, half:], key[:, half:], value[:, half:], scale, max(1, length - half), out[:, half:])
"""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def asking_only(kernel: str, **constants: object) -> ModuleType:
    """A judge that asks about one kernel."""
    judge = judge_module(**constants)
    judge.KERNELS = tuple(each for each in judge.KERNELS if each.name == kernel)
    return judge


def refusal(kernel: str, cheat: str, gates: bool = True, **constants: object) -> str:
    judge = asking_only(kernel, **constants)
    if not gates:
        judge.gates_of = lambda *_: ()
    text = (HONEST if kernel == "norm_matmul" else "") + cheat
    with pytest.raises(judge.Rejected) as refused:
        judge.judge(Session(loaded(in_torch(**{kernel: text})), SEED), SEED, "val")
    return str(refused.value)


@pytest.mark.parametrize("kernel", ["norm_matmul", "attention"])
def test_the_value_is_operations_a_second_by_the_judges_clock(kernel: str) -> None:
    """All timed answers take 2 ms by this clock, whatever the program's own would say."""
    judge = asking_only(kernel, SPEED_ROUNDS=4, MOST_ROUNDS=4)
    session = Session(loaded(in_torch()), SEED, seconds=itertools.repeat(0.002))
    metrics = judge.judge(session, SEED, "val")
    cells = judge.cells_of(judge.KERNELS[0], session, {})
    works = [cell.work[1] for cell in cells if not cell.other]
    assert metrics["value"] == metrics[f"{kernel} TFLOP/s"] == pytest.approx(judge.mean(works) / 0.002 / 1e12)
    assert metrics[f"{kernel} ms"] == pytest.approx(2 / cells_layers(judge))
    assert metrics[f"{kernel} over torch"] == pytest.approx(1)
    assert metrics["copy GB/s"] == pytest.approx(4 * 2 * judge.COPY_BYTES / 0.002 / 1e9)
    assert len(set(session.questions)) == len(session.questions)  # nothing is asked twice


def cells_layers(judge: ModuleType) -> int:
    return int({"norm_matmul": judge.LAYERS, "attention": judge.SEQUENCES}[judge.KERNELS[0].name])


def test_operations_and_bytes_are_those_of_the_formulas() -> None:
    product, attention = judge_module().KERNELS
    assert product.work((10, 3, 5, 2)) == (2 * (30 + 30 + 2 * (50 + 30) - 40), 2 * 10 * 30)
    assert attention.work((2, 3, 7, 1)) == (2 * 4 * 2 * 3 * 7, 4 * 2 * 7 * 6)


def test_a_pair_is_refused_where_torch_was_slower_in_one_of_its_programs_than_in_the_other() -> None:
    """As where a program leaves something running on the GPU while it stands still, or slows down the plain way."""
    judge = asking_only("norm_matmul", GATE_SIZES=0, LONGER_GATES=0, MOST_APART=1.25)
    judge.judge(Session(loaded(in_torch()), SEED, itertools.repeat(0.002)), SEED, "val")
    judge.judge(Session(loaded(in_torch()), SEED, itertools.repeat(0.0023)), SEED, "val")
    with pytest.raises(judge.Rejected, match=r"took 1.30 times as long in one program as in the other"):
        judge.judge(Session(loaded(in_torch()), SEED, itertools.repeat(0.0026)), SEED, "val")


def test_questions_follow_from_the_seed_alone() -> None:
    asked = []
    for seed in (SEED, SEED, SEED + 1):
        session, judge = Session(loaded(in_torch()), seed), asking_only("norm_matmul", GATE_SIZES=2, SPEED_ROUNDS=2)
        judge.judge(session, seed, "val")
        machine = len(session.questions) - 12  # what measures the machine is the same always
        asked.append(session.questions[:machine])
    assert asked[0] == asked[1]
    assert not set(asked[0]) & set(asked[2])


@pytest.mark.parametrize("kind", ["f4", "f2", "bf16"])
def test_judge_and_harness_draw_the_same_numbers_of_a_type(kind: str) -> None:
    judge, harness = judge_module(), loaded(in_torch()).serve.__globals__
    dtype = harness["TYPES"][judge.TYPES.index(kind)]
    there = harness["drawn"](SimpleNamespace(device=torch.device("cpu")), dtype, 2**32 - 3, 5, 40, 50)
    here = judge.drawn(kind, 2**32 - 3, 5, np.arange(2000)).reshape(40, 50)
    assert np.array_equal(there.float().numpy(), here)
    assert np.array_equal(judge.drawn(kind, 2**32 - 3, 5, np.array([7, 1999])), here.reshape(-1)[[7, 1999]])
    assert -1 <= here.min() < -0.99 < 0.99 < here.max() <= 1
    assert abs(here.mean()) < 0.05
    assert len(np.unique(here)) > (1900 if kind == "f4" else 300)


def test_numbers_are_rounded_as_torch_rounds_them() -> None:
    judge, dice = judge_module(), np.random.default_rng(1)
    numbers = (dice.normal(size=5000) * 10 ** dice.uniform(-10, 6, 5000)).astype(np.float32)
    numbers[:4] = np.inf, -np.inf, 0, -0.0
    for kind, dtype in (("f2", torch.float16), ("bf16", torch.bfloat16)):
        assert np.array_equal(judge.rounded(kind, numbers), torch.from_numpy(numbers).to(dtype).float().numpy())


@pytest.mark.parametrize(
    ("kernel", "cheat"),
    [
        ("norm_matmul", WRONG_IN_ONE_WIDTH_OF_THIRTY),
        ("norm_matmul", NOTHING_BUT_WHERE_IT_IS_SMALL),
        ("norm_matmul", KEEPS_ANSWERS_BY_POINTER),
        ("norm_matmul", KEEPS_ANSWERS_BY_SHAPE),
        ("norm_matmul", LEAVES_THE_LAST_COLUMNS),
        ("norm_matmul", EVERY_SECOND_LAYER),
        ("norm_matmul", ONE_ROW_OF_FOUR),
        ("norm_matmul", HALVES_IN_BFLOAT16),
        ("norm_matmul", FLOAT32_IN_BFLOAT16),
        ("norm_matmul", SQUARES_IN_HALVES),
        ("norm_matmul", ONE_ROOT_FOR_ALL_ROWS),
        ("norm_matmul", ANSWERS_AHEAD_OF_THE_QUESTION),
        ("norm_matmul", NO_NUMBERS),
        ("norm_matmul", REPLACES_THE_HARNESS),
        ("norm_matmul", SAYS_SUMS_OF_EIGHT_ROWS),
        ("attention", LOOKS_AHEAD),
        ("attention", SEES_PADDING),
        ("attention", MASKS_BY_MULTIPLYING),
        ("attention", NO_GREATEST_SCORE_IN_LONG_SEQUENCES),
        ("attention", NEAR_KEYS_ONLY),
    ],
    ids=lambda value: value if " " not in value else "",
)
def test_a_wrong_answer_is_refused_wherever_it_is(kernel: str, cheat: str) -> None:
    assert refusal(kernel, cheat)


@pytest.mark.parametrize(
    ("kernel", "cheat"),
    [
        ("norm_matmul", NOTHING_BUT_WHERE_IT_IS_SMALL),
        ("norm_matmul", KEEPS_ANSWERS_BY_POINTER),
        ("norm_matmul", KEEPS_ANSWERS_BY_SHAPE),
        ("norm_matmul", LEAVES_THE_LAST_COLUMNS),
        ("norm_matmul", EVERY_SECOND_LAYER),
        ("norm_matmul", ONE_ROW_OF_FOUR),
        ("norm_matmul", ONE_ROOT_FOR_ALL_ROWS),
        ("norm_matmul", ANSWERS_AHEAD_OF_THE_QUESTION),
        ("norm_matmul", NO_NUMBERS),
        ("norm_matmul", REPLACES_THE_HARNESS),
        ("norm_matmul", SAYS_SUMS_OF_EIGHT_ROWS),
        ("attention", LOOKS_AHEAD),
        ("attention", SEES_PADDING),
        ("attention", NO_GREATEST_SCORE_IN_LONG_SEQUENCES),
        ("attention", NEAR_KEYS_ONLY),
    ],
    ids=lambda value: value if " " not in value else "",
)
def test_sums_of_large_answers_give_it_away_too(kernel: str, cheat: str) -> None:
    """Without the gates, which see all of small ones: as for a source that tells the two apart."""
    assert "sums are" in refusal(kernel, cheat, gates=False)


@pytest.mark.parametrize(
    ("kernel", "cheat"),
    [("norm_matmul", WEIGHTS_IN_FLOAT8), ("norm_matmul", HALVES_IN_BFLOAT16), ("attention", VALUES_IN_FLOAT8)],
    ids=["weights in float8", "bfloat16 for float16", "values in float8"],
)
def test_sums_give_fewer_digits_away(kernel: str, cheat: str) -> None:
    own = {"norm_matmul": {"f2": 0.003, "bf16": 0.025}, "attention": {"f2": 0.0015, "bf16": 0.01}}
    assert "sums are" in refusal(kernel, cheat, gates=False, WIDTHS=(380, 400), SUMS=own)

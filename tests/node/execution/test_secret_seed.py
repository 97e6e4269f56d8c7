"""Where a run's seed is secret, its text is drawn from it, and no worker that runs a source can come by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.execution import run_seeds
from node.execution.runner import Runner, source_growth
from node.execution.sandbox.layers import Layers, probe
from tests.node.execution.drawn_objective import TEMPLATE, TOKENS, drawn_objective

SEED = 2**62 + 12345
SOURCE = (TEMPLATE / "train.py").read_text()
TELLS_WHAT_IT_IS_TOLD = (
    SOURCE
    + """

def train(task):
    import gc, sys
    jobs = [made for made in gc.get_objects() if isinstance(made, dict) and "batch_seed" in made]
    told = [(name, value) for one in [*jobs, vars(task)] for name, value in one.items() if type(value) in (int, str)]
    raise RuntimeError([sys.argv, told])
"""
)
FIXED = SOURCE.replace("torch.manual_seed(1000 + task.seed)", "torch.manual_seed(7)")
TELLS_WHAT_IT_IS_GIVEN = """
class Rejected(Exception):
    pass

def judge(text, rooms, seed):
    with rooms.open() as room:
        pass
    told = {"seed": seed % 1000, "text": len(text), "growth": rooms.source_growth, "steps": len(rooms.steps)}
    return {"value": 1.0, **told}
"""


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


async def test_a_run_repeats_to_the_bit_and_its_holdout_is_scored(layers: Layers, tmp_path: Path) -> None:
    assert FIXED != SOURCE
    objective = drawn_objective(tmp_path)
    async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
        first = await runner.run(FIXED, SEED, ignore)
        holdout = await runner.examine(FIXED, SEED, "holdout")
        other = await runner.run(FIXED, SEED + 1, ignore)
    async with Runner(objective, layers, tmp_path / "of another node", ignore) as elsewhere:
        again = await elsewhere.run(FIXED, SEED, ignore)
    assert first.failure is None, first.log_tail
    assert first.value is not None
    assert 1.0 < first.value < 7.0
    assert first.tokens == TOKENS
    assert [step for step, _ in first.checkpoints] == [20]
    assert (again.value, again.checkpoints) == (first.value, first.checkpoints)
    assert other.value != first.value
    assert holdout.value not in (None, first.value)


@pytest.mark.long
async def test_a_source_is_not_told_the_seed(layers: Layers, tmp_path: Path) -> None:
    objective = drawn_objective(tmp_path)
    async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
        outcome = await runner.run(TELLS_WHAT_IT_IS_TOLD, SEED, ignore)
    assert outcome.failure == "exception"
    for told in (run_seeds.task_seed(SEED), run_seeds.batch_seed(SEED), run_seeds.chance(SEED).hex()):
        assert str(told) in outcome.log_tail
    assert str(SEED) not in outcome.log_tail


async def test_the_judge_gets_the_text_the_seed_and_how_much_the_source_has_grown(
    layers: Layers, tmp_path: Path
) -> None:
    objective = drawn_objective(tmp_path, judge=TELLS_WHAT_IT_IS_GIVEN)
    longer = SOURCE + "".join(f"# {number * number * 7919}\n" for number in range(200))
    async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
        told = (await runner.run(longer, SEED, ignore)).metrics
        told_of_holdout = (await runner.examine(longer, SEED, "holdout")).metrics
    growth = source_growth(longer, SOURCE)
    assert growth > 500
    assert told == {"seed": run_seeds.judge_seed(SEED) % 1000, "text": 1408 * 33, "growth": growth, "steps": 1}
    assert told_of_holdout == {**told, "steps": 0}


async def test_a_text_that_cannot_be_drawn_is_a_run_that_fails(layers: Layers, tmp_path: Path) -> None:
    half = "def draw(seed, name):\n    return b'a' * 999 if name == 'train' else None"
    objective = drawn_objective(tmp_path, draw=half)
    async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
        outcome = await runner.run(SOURCE, SEED, ignore)
    assert (outcome.value, outcome.failure) == (None, "exception")
    assert "draw.py did not draw the text 'val'" in outcome.log_tail


def test_what_is_told_of_a_seed_fits_where_it_is_used_and_differs_from_seed_to_seed() -> None:
    seeds = [0, 1, 2, SEED, 2**63 - 1]
    large = (run_seeds.batch_seed, run_seeds.text_seed, run_seeds.judge_seed)
    tasks, numbers = [run_seeds.task_seed(seed) for seed in seeds], [of(seed) for of in large for seed in seeds]
    mixed = [run_seeds.chance(seed) for seed in seeds]
    assert all(0 <= task < 2**31 for task in tasks)
    assert all(0 <= number < 2**63 for number in numbers)
    assert all(len(one) == 32 for one in mixed)
    assert len({*tasks, *numbers, *mixed}) == 5 * len(seeds)


def test_a_source_grows_by_what_it_holds_and_never_below_nothing() -> None:
    baseline = "x = 1\n" * 100
    assert source_growth(baseline, baseline) == 0
    assert source_growth("", baseline) == 0
    assert source_growth(baseline + "".join(f"{n * n}\n" for n in range(1000)), baseline) > 1000

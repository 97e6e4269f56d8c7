"""Every idea is a real edit of the baseline, which it leaves Python, and those of different kernels bear company.

Whether a kernel in Triton compiles and answers rightly, no test shows here: Triton is no part of what is installed.
"""

from __future__ import annotations

import random
import tomllib

import pytest

from node.objective import sources
from node.objective.edits import EditError
from node.proposers.catalogue import Idea, read_ideas
from tests.objectives.gpu_kernel.in_process import GPU_KERNEL, baseline

BASELINE = baseline()
PAIRS = 40
IDEAS = read_ideas(GPU_KERNEL / "ideas")


def test_there_are_many_over_all_categories() -> None:
    declared = tomllib.loads((GPU_KERNEL / "objective.toml").read_text())["categories"]
    assert len(IDEAS) >= 30
    assert {idea.category for idea in IDEAS} == set(declared)
    assert len({idea.title for idea in IDEAS}) == len(IDEAS)
    assert len({sources.fingerprint(sources.apply(BASELINE, idea.edits)) for idea in IDEAS}) == len(IDEAS)


@pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.title)
def test_each_changes_one_kernel_and_leaves_it_python(idea: Idea) -> None:
    files = sources.apply(BASELINE, idea.edits)
    (changed,) = (path for path, text in files.items() if text != BASELINE[path])
    compile(files[changed], changed, "exec", dont_inherit=True)
    assert ("@triton.jit\n" in files[changed]) == ("@triton.jit\n" in BASELINE[changed])


def test_most_apply_after_an_idea_for_the_other_kernel() -> None:
    of_product = [idea for idea in IDEAS if idea.edits[0].file == "norm_matmul.py"]
    of_attention = [idea for idea in IDEAS if idea.edits[0].file == "attention.py"]
    assert len(of_product) + len(of_attention) == len(IDEAS)
    for first, second in zip(of_product, of_attention * 2, strict=False):
        sources.apply(sources.apply(BASELINE, first.edits), second.edits)


def test_most_bear_company() -> None:
    dice, refused = random.Random(1), 0
    for first, second in (dice.sample(IDEAS, 2) for _ in range(PAIRS)):
        try:
            sources.apply(sources.apply(BASELINE, first.edits), second.edits)
        except EditError:
            refused += 1
    assert refused < PAIRS / 4

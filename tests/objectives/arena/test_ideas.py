"""Every idea of arena is a real edit of the baseline, after which it still quotes."""

from __future__ import annotations

import math
import random
import tomllib

import pytest

from node.objective.edits import EditError, apply, fingerprint
from node.proposers.catalogue import Idea, read_ideas
from tests.objectives.arena.in_process import ARENA, BASELINE, load_judge, scores

PAIRS = 40


@pytest.fixture(scope="module")
def ideas() -> list[Idea]:
    return read_ideas(ARENA / "ideas")


def value_of(source: str) -> float:
    """The score of a short game: whether it can be had, and not how good it is."""
    judge = load_judge()
    judge.STEPS = 12
    return scores(source, judge=judge)["value"]


def test_there_are_many_over_all_categories(ideas: list[Idea]) -> None:
    declared = tomllib.loads((ARENA / "objective.toml").read_text())["categories"]
    assert len(ideas) >= 25
    assert len(declared) >= 6
    assert {idea.category for idea in ideas} == set(declared)
    assert len({idea.title for idea in ideas}) == len(ideas)


def test_each_makes_another_program_that_quotes(ideas: list[Idea]) -> None:
    programs = {idea.title: apply(BASELINE, idea.edits) for idea in ideas}
    assert len({fingerprint(program) for program in (BASELINE, *programs.values())}) == len(ideas) + 1
    assert [title for title, program in programs.items() if not math.isfinite(value_of(program))] == []


def test_they_apply_after_others_were_kept(ideas: list[Idea]) -> None:
    dice, refused = random.Random(1), 0
    for _ in range(PAIRS):
        first, second = dice.sample(ideas, 2)
        try:
            both = apply(apply(BASELINE, first.edits), second.edits)
        except EditError:
            refused += 1
        else:
            assert math.isfinite(value_of(both)), f"{first.title} + {second.title}"
    assert refused < PAIRS * 0.1

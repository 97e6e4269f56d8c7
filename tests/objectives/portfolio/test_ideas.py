"""Every idea is a real edit of the baseline: it applies, makes another program, and answers with a portfolio."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

from node.objective.edits import apply, fingerprint
from node.proposers.catalogue import Idea, read_ideas
from tests.objectives.portfolio.in_process import BASELINE, PORTFOLIO, judge_module, score


@pytest.fixture(scope="module")
def ideas() -> list[Idea]:
    return read_ideas(PORTFOLIO / "ideas")


def test_there_are_many_over_all_categories(ideas: list[Idea]) -> None:
    declared = tomllib.loads((PORTFOLIO / "objective.toml").read_text())["categories"]
    assert len(ideas) >= 25
    assert len(declared) >= 6
    assert {idea.category for idea in ideas} == set(declared)
    assert len({idea.title for idea in ideas}) == len(ideas)


def test_each_makes_another_program_and_other_weights(ideas: list[Idea]) -> None:
    judge = judge_module(MARKETS=3, HISTORY=120, DAYS=130)
    programs = {idea.title: apply(BASELINE, idea.edits) for idea in ideas}
    assert len({fingerprint(program) for program in programs.values()}) == len(ideas)
    values = {title: score(program, judge=judge)["value"] for title, program in programs.items()}
    assert all(np.isfinite(value) for value in values.values())
    for_rare_days = 1  # a stop after losses, of which few days and markets may not have enough
    assert len({*values.values(), score(BASELINE, judge=judge)["value"]}) >= len(ideas) + 1 - for_rare_days

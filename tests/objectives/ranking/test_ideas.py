"""Every idea is a real edit of the baseline: it applies, it ranks, and it bears company."""

from __future__ import annotations

import random
import tomllib
from typing import Any

import pytest

from node.objective.edits import EditError, apply, fingerprint
from node.proposers.catalogue import Idea, read_ideas
from tests.objectives.ranking.small_collections import BASELINE, RANKING, Session, load, program

PAIRS = 150
judge = load("judge")


@pytest.fixture(scope="module")
def ideas() -> list[Idea]:
    return read_ideas(RANKING / "ideas")


def value(source: str) -> Any:
    return judge.judge(Session(program(source)), 0, "val")["value"]


def test_there_are_many_over_all_categories(ideas: list[Idea]) -> None:
    settings = tomllib.loads((RANKING / "objective.toml").read_text())
    assert len(ideas) >= 45
    assert {idea.category for idea in ideas} == set(settings["categories"])
    assert {"numeric", *settings["categories"]} == set(settings["priors"])
    assert len({idea.title for idea in ideas}) == len(ideas)


def test_each_makes_another_program_that_ranks(ideas: list[Idea], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "QUERIES", 5)
    programs = {idea.title: apply(BASELINE, idea.edits) for idea in ideas}
    assert len({fingerprint(each) for each in (BASELINE, *programs.values())}) == len(ideas) + 1
    for title, source in programs.items():
        assert 0 <= value(source) <= 1, title


def test_they_apply_after_others_were_kept(ideas: list[Idea], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "QUERIES", 5)
    dice = random.Random(1)
    together: dict[str, str] = {}
    refused = 0
    for _ in range(PAIRS):
        first, second = dice.sample(ideas, 2)
        try:
            together[f"{first.title} + {second.title}"] = apply(apply(BASELINE, first.edits), second.edits)
        except EditError:
            refused += 1
    assert refused < PAIRS * 0.1
    for title in dice.sample(sorted(together), 15):
        assert 0 <= value(together[title]) <= 1, title

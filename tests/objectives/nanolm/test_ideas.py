"""Every idea is a real edit of the baseline: it applies, it trains, it keeps to the past, and it bears company."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import pytest

from node.objective.edits import EditError, apply, fingerprint
from node.proposers.catalogue import Idea, read_ideas
from tests.torch_processes import python

NANOLM = Path(__file__).parents[3] / "objectives" / "nanolm"
BASELINE = (NANOLM / "train.py").read_text()
PAIRS = 150
PARTS = 4  # of the ideas, so that none of them takes long on a busy machine


@pytest.fixture(scope="module")
def ideas() -> list[Idea]:
    return read_ideas(NANOLM / "ideas")


def carried_out(idea: Idea, ideas: list[Idea]) -> str:
    """The baseline with the idea; one that refines another comes after that one."""
    for before in ((), *(other.edits for other in ideas if other.category == idea.category)):
        try:
            return apply(apply(BASELINE, before), idea.edits)
        except EditError:
            continue
    raise AssertionError(f"{idea.title} applies to nothing")


def troubles(sources: dict[str, str]) -> dict[str, str]:
    program = Path(__file__).with_name("train_sources.py").read_text()
    done = python(program, given=json.dumps(sources))
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_there_are_many_over_all_categories(ideas: list[Idea]) -> None:
    declared = tomllib.loads((NANOLM / "objective.toml").read_text())["categories"]
    assert len(ideas) >= 60
    assert {idea.category for idea in ideas} == set(declared)
    assert len({idea.title for idea in ideas}) == len(ideas)


def test_each_makes_another_program(ideas: list[Idea]) -> None:
    programs = {fingerprint(carried_out(idea, ideas)) for idea in ideas}
    assert len(programs) == len(ideas)
    assert fingerprint(BASELINE) not in programs


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_each_trains_at_both_sizes_and_keeps_to_the_past(ideas: list[Idea], part: int) -> None:
    sources = {idea.title: carried_out(idea, ideas) for idea in ideas[part::PARTS]}
    assert troubles({"baseline": BASELINE, **sources}) == {}


@pytest.mark.long
def test_they_apply_after_others_were_kept(ideas: list[Idea]) -> None:
    dice = random.Random(1)
    together: dict[str, str] = {}
    refused = 0
    for _ in range(PAIRS):
        first, second = dice.sample(ideas, 2)
        try:
            together[f"{first.title} + {second.title}"] = apply(apply(BASELINE, first.edits), second.edits)
        except EditError:
            refused += 1
    assert refused < PAIRS * 0.15
    some = dict(dice.sample(sorted(together.items()), 15))
    assert troubles(some) == {}

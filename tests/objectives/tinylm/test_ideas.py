"""Every idea is a real edit of the baseline: it applies, it trains, it keeps to the past, and it bears company."""

from __future__ import annotations

import json
import random
import re
import tomllib
from pathlib import Path

import pytest

from node.objective.edits import EditError, apply, fingerprint
from node.proposers.catalogue import Idea, read_ideas
from tests.torch_processes import python

TINYLM = Path(__file__).parents[3] / "objectives" / "tinylm"
BASELINE = (TINYLM / "train.py").read_text()
PAIRS = 150


@pytest.fixture(scope="module")
def ideas() -> list[Idea]:
    return read_ideas(TINYLM / "ideas")


def carried_out(idea: Idea, ideas: list[Idea]) -> str:
    """The baseline with the idea; one that refines another comes after that one."""
    for before in ((), *(other.edits for other in ideas if other.category == idea.category)):
        try:
            return apply(apply(BASELINE, before), idea.edits)
        except EditError:
            continue
    raise AssertionError(f"{idea.title} applies to nothing")


def troubles(sources: dict[str, str], *scale: str) -> dict[str, str]:
    program = Path(__file__).with_name("train_sources.py").read_text()
    done = python(program, *scale, given=json.dumps(sources))
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_there_are_many_over_all_categories(ideas: list[Idea]) -> None:
    declared = tomllib.loads((TINYLM / "objective.toml").read_text())["categories"]
    assert len(ideas) >= 45
    assert {idea.category for idea in ideas} == set(declared)
    assert len({idea.title for idea in ideas}) == len(ideas)


def test_each_makes_another_program(ideas: list[Idea]) -> None:
    programs = [carried_out(idea, ideas) for idea in ideas]
    refined = 1  # a base for rotary positions, by which one idea comes to the same program as another
    assert len({fingerprint(program) for program in programs}) >= len(ideas) - refined
    assert fingerprint(BASELINE) not in {fingerprint(program) for program in programs}


def test_each_trains_and_keeps_to_the_past(ideas: list[Idea]) -> None:
    sources = {idea.title: carried_out(idea, ideas) for idea in ideas}
    assert troubles({"baseline": BASELINE, **sources}) == {}


def test_those_that_name_a_size_train_at_a_larger_scale(ideas: list[Idea]) -> None:
    sources = {idea.title: carried_out(idea, ideas) for idea in ideas}
    sized = {title: text for title, text in sources.items() if names_sizes(text)}
    assert len(sized) >= 10
    some = dict(random.Random(2).sample(sorted(sized.items()), 5))
    assert troubles({"baseline": BASELINE, **some}, "large") == {}


def names_sizes(source: str) -> bool:
    """Whether a source has other lines with a size of the model than the baseline."""
    added = set(source.splitlines()) - set(BASELINE.splitlines())
    return any(re.search(r"\b(width|depth|WIDTH|DEPTH|HEADS)\b", line) for line in added)


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
    assert refused < PAIRS * 0.1
    some = dict(dice.sample(sorted(together.items()), 40))
    assert troubles(some) == {}

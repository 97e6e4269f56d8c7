"""The same idea in other words is found; no two of the known ideas are called the same."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from node.objective import sources
from node.objective.changes import change_between
from node.objective.edits import EditError
from node.objective.load import load_objective
from node.objective.trees import source_of
from node.proposers.catalogue import read_ideas
from node.proposers.novelty import Described, numbers_differ, rarities, same_idea, titles_alike

OBJECTIVES = Path(__file__).parents[3] / "objectives"


@pytest.mark.parametrize("name", ["tinylm", "ranking", "portfolio", "kernel", "gpu_kernel", "arena"])
def test_no_two_known_ideas_are_called_the_same(name: str, tmp_path: Path) -> None:
    objective = load_objective(OBJECTIVES / name, tmp_path)
    files = sources.read(objective.source, objective.editable)
    described = []
    for idea in read_ideas(OBJECTIVES / name / "ideas"):
        try:
            child = source_of(sources.apply(files, idea.edits))
        except EditError:
            continue  # it is for a source that another idea was kept in
        described.append(Described(idea.title, change_between(objective.source, child, objective.editable)))
    assert len(described) >= 25
    rarity = rarities(idea.title for idea in described)
    assert [(a.title, b.title) for a, b in combinations(described, 2) if same_idea(a, b, rarity)] == []


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ((1e-3,), (0.001,), False),
        ((3e-3,), (4e-3,), True),
        ((0.95,), (0.98,), True),  # 5 and 2 % of forgetting
        ((0.02,), (0.0201,), False),
        ((100.0,), (101.0,), True),  # a size
        ((1.0,), (1.0, 1e-6), False),  # a safeguard
        ((1.0, 2.0), (1.0, 3.0), True),
    ],
)
def test_another_number_is_another_idea(one: tuple[float, ...], other: tuple[float, ...], differ: bool) -> None:
    assert numbers_differ(one, other) is differ


def test_titles_are_compared_by_their_rare_words() -> None:
    titles = ["Kaiming initialisation, embeddings 0.02", "LeCun initialisation, embeddings 0.02", "Two heads"]
    rarity = rarities(titles)
    assert titles_alike("LeCun initialization with embeddings of 0.02", titles[1], rarity) > 0.95
    assert titles_alike(titles[0], titles[1], rarity) < 0.75
    assert titles_alike("", titles[0], rarity) == 0

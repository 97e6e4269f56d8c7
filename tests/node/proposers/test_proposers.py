"""Proposers edit the source they are shown and never repeat what was tried."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from node.execution.parsing.parser import SourceParser
from node.objective.edits import SetConstant, apply, fingerprint
from node.proposers.catalogue import Catalogue, CatalogueError, Idea, read_ideas
from node.proposers.numeric import Numeric
from node.proposers.proposer import Context, Proposal, TriedResult

SOURCE = 'LR = 1e-3\nDEPTH = 2\nNAME = "x"\nFLAG = True\nZERO = 0\n'


def context(
    source: str = SOURCE, tried: Sequence[str] = (), results: Sequence[TriedResult] = (), seed: int = 1
) -> Context:
    known = frozenset(fingerprint(text) for text in (source, *tried))
    return Context(source, b"s" * 32, known, tuple(results), random.Random(seed), SourceParser())


def idea(title: str, category: str, name: str = "LR", value: str = "2e-3") -> Idea:
    return Idea(title, category, "A reason.", (SetConstant(name, value),))


def result(name: str, value: float, effect: float | None) -> TriedResult:
    decision = "no_gain" if effect is not None else "failed"
    return TriedResult(b"p" * 32, b"c" * 32, "numeric", "", "numeric", effect, decision, {name: value})


# ---- the catalogue ---------------------------------------------------------------------------------------------------


async def titles(catalogue: Catalogue, count: int, category: str | None = None) -> list[str]:
    """What is proposed in turn on one source, everything proposed counting as tried."""
    found: list[Proposal] = []
    for _ in range(count):
        asked = replace(context(tried=[p.source for p in found]), category=category)
        proposal = await catalogue.propose(asked)
        if proposal is None:
            break
        found.append(proposal)
    return [proposal.title for proposal in found]


async def test_ideas_come_in_order_and_only_those_of_the_category_asked_for() -> None:
    ideas = [idea("a1", "a", value="1.0"), idea("b1", "b", value="3.0"), idea("a2", "a", value="2.0")]
    assert await titles(Catalogue(ideas), 4) == ["a1", "b1", "a2"]
    assert await titles(Catalogue(ideas), 4, "a") == ["a1", "a2"]
    assert await titles(Catalogue(ideas), 4, "c") == []
    assert list(Catalogue(ideas).categories) == ["a", "b"]


async def test_ideas_that_were_tried_on_another_source_come_after_those_never_tried() -> None:
    catalogue = Catalogue([idea("a1", "a", value="1.0"), idea("a2", "a", value="2.0")])
    elsewhere = TriedResult(b"p" * 32, b"c" * 32, "a", "a1", "catalogue", 0.1, "no_gain", {})
    proposal = await catalogue.propose(context(results=[elsewhere]))
    assert proposal is not None
    assert proposal.title == "a2"


async def test_an_idea_to_recheck_comes_first() -> None:
    catalogue = Catalogue([idea("a1", "a", value="1.0"), idea("a2", "a", value="2.0")])
    proposal = await catalogue.propose(replace(context(), hearsay=frozenset({"a2"})))
    assert proposal is not None
    assert proposal.title == "a2"


async def test_an_idea_that_does_not_apply_is_passed_over() -> None:
    catalogue = Catalogue([idea("gone", "a", name="MISSING"), idea("fits", "b")])
    assert await titles(catalogue, 2) == ["fits"]


async def test_an_idea_returns_when_the_parent_has_changed() -> None:
    catalogue = Catalogue([idea("rate", "a")])
    first = await catalogue.propose(context())
    assert first is not None
    assert await catalogue.propose(context(tried=[first.source])) is None
    other = apply(SOURCE, [SetConstant("DEPTH", "4")])
    assert await catalogue.propose(context(other, tried=[first.source])) is not None


async def test_an_idea_that_was_tried_one_step_before_is_left_out() -> None:
    catalogue = Catalogue([idea("rate", "a"), idea("depth", "a", "DEPTH", "3")])
    proposal = await catalogue.propose(replace(context(), closed=frozenset({"rate"})))
    assert proposal is not None
    assert proposal.title == "depth"


async def test_nothing_is_proposed_that_changes_only_what_is_read_no_more() -> None:
    catalogue = Catalogue([idea("Faster", "learning rate"), idea("Deeper", "depth/width", "DEPTH", "3")])
    asked = replace(context(SOURCE), idle=frozenset({"LR"}))
    proposal = await catalogue.propose(asked)
    assert proposal is not None
    assert proposal.title == "Deeper"
    for number in range(20):
        proposal = await Numeric().propose(replace(asked, rng=random.Random(number)))
        assert proposal is not None
        assert "LR " not in proposal.title


SEEDING = "import torch\nSEED = 1337\nLR = 1e-3\n\n\ndef train(task):\n    torch.manual_seed(SEED + 1)\n    return LR\n"


async def test_nothing_is_proposed_that_changes_only_a_seed() -> None:
    catalogue = Catalogue([idea("Lucky", "luck", "SEED", "7"), idea("Faster", "learning rate")])
    proposal = await catalogue.propose(context(SEEDING))
    assert proposal is not None
    assert proposal.title == "Faster"
    for number in range(20):
        proposal = await Numeric().propose(context(SEEDING, seed=number))
        assert proposal is not None
        assert proposal.title.startswith("LR ")
    assert await Numeric().propose(context(SEEDING.replace("LR = 1e-3", "LR = 0"))) is None


async def test_a_constant_that_seeds_and_does_more_is_searched() -> None:
    titles = set[str]()
    for number in range(20):
        proposal = await Numeric().propose(context(SEEDING.replace("return LR", "return LR, SEED"), seed=number))
        assert proposal is not None
        titles |= {change.split()[0] for change in proposal.title.split(", ")}
    assert titles == {"LR", "SEED"}


def test_ideas_are_read_from_files_in_order(tmp_path: Path) -> None:
    text = """category = "c"
[[idea]]
title = "  Two\\n lines "
reason = "Because."
[[idea.edit]]
kind = "constant"
name = "LR"
value = "1"
"""
    (tmp_path / "b.toml").write_text(text)
    (tmp_path / "a.toml").write_text(text.replace('"c"', '"first"'))
    ideas = read_ideas(tmp_path)
    assert [one.category for one in ideas] == ["first", "c"]
    assert ideas[0].title == "Two lines"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("category = ", "a.toml"),
        ("[[idea]]\ntitle = 'x'", 'needs the text "category"'),
        ("category = 'c'", r"needs at least one \[\[idea\]\]"),
        ("category = 'c'\n[[idea]]\ntitle = 'x'\nreason = 'y'", r'idea "x": needs at least one \[\[edit\]\]'),
        ("category = 'c'\n[[idea]]\ntitle = 'x'\nreason = 'y'\n[[idea.edit]]\nkind = 'no'", "idea \"x\".*not 'no'"),
        (f"category = 'c'\n[[idea]]\ntitle = '{'x' * 121}'", "longer than 120"),
    ],
)
def test_a_wrong_ideas_file_is_named_with_the_idea(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(CatalogueError, match=said):
        read_ideas(tmp_path)

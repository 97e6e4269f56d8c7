"""What a model is told of its task depends on how a source is measured."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from node.execution.parsing.parser import SourceParser
from node.objective.schema import Kind
from node.proposers.prompt import ResearchBrief, brief, question
from node.proposers.proposer import Context
from protocol.metric import LOSS, Direction, Metric, Scale

SKILL = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.01)
TASK = ResearchBrief("sorting", "Sorts.", "skill", SKILL, ("sort.py",), "", ("algorithm",), "cpu", "a processor")
CONTEXT = Context("WIDTH = 1\n", bytes(32), frozenset(), (), random.Random(1), SourceParser())


def told(task: ResearchBrief) -> str:
    return " ".join("\n".join(message["content"] for message in question(task, CONTEXT, [])).split())


@pytest.mark.parametrize(
    ("kind", "said", "not_said"),
    [
        (Kind.MODEL, "trained under a fixed budget", "command"),
        (Kind.PROGRAM, "a judge scores its answers", "trained"),
        (Kind.COMMAND, "changes only what is measured is worthless", "hidden data"),
    ],
)
def test_it_says_how_an_idea_is_measured(kind: Kind, said: str, not_said: str) -> None:
    task = replace(TASK, kind=kind)
    for text in (told(task), " ".join(brief(task, CONTEXT, [], "", "words.json").split())):
        assert said in text
        assert not_said not in text


def test_it_says_which_way_is_better_and_whether_slower_code_costs() -> None:
    assert "higher is better" in told(TASK)
    assert "a price for slower code" in told(TASK)
    assert "a price for slower code" not in told(replace(TASK, priced=False))
    assert "lower is better" in told(replace(TASK, measure=LOSS))

"""Every idea, nanolm's too, is a real edit of this baseline, and those that nanolm has not train as they should."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from node.authoring.template import begin
from node.objective.edits import EditError, apply, fingerprint
from node.proposers.catalogue import Idea, read_ideas
from tests.objectives.corpus.objective_files import CORPUS
from tests.torch_processes import python

BASELINE = (CORPUS / "train.py").read_text()
TRAINS = Path(__file__).parents[1] / "nanolm" / "train_sources.py"


@pytest.fixture(scope="module")
def ideas(tmp_path_factory: pytest.TempPathFactory) -> list[Idea]:
    root = tmp_path_factory.mktemp("made") / "own"
    begin(root, None, "corpus")
    return read_ideas(root / "ideas")


def carried_out(idea: Idea, ideas: list[Idea]) -> str:
    """The baseline with the idea; one that refines another comes after that one."""
    for before in ((), *(other.edits for other in ideas if other.category == idea.category)):
        try:
            return apply(apply(BASELINE, before), idea.edits)
        except EditError:
            continue
    raise AssertionError(f"{idea.title} applies to nothing")


def test_there_are_many_over_all_categories(ideas: list[Idea]) -> None:
    declared = tomllib.loads((CORPUS / "objective.toml").read_text())["categories"]
    assert len(ideas) >= 100
    assert {idea.category for idea in ideas} == set(declared)
    assert len({idea.title for idea in ideas}) == len(ideas)


def test_each_makes_another_program(ideas: list[Idea]) -> None:
    programs = {fingerprint(carried_out(idea, ideas)) for idea in ideas}
    assert len(programs) == len(ideas)
    assert fingerprint(BASELINE) not in programs


def test_those_of_its_own_train_and_keep_to_the_past(ideas: list[Idea]) -> None:
    own = {idea.title for idea in read_ideas(CORPUS / "ideas")}
    sources = {"baseline": BASELINE} | {
        idea.title: carried_out(idea, ideas) for idea in ideas if idea.category in ("batch", "depth/width")
    }
    assert own >= set(sources) - {"baseline"}
    done = python(TRAINS.read_text(), given=json.dumps(sources))
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {}

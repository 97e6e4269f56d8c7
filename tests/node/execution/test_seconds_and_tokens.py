"""Models under the second contract: a budget in seconds of the device, and vocabularies of more than 256 tokens."""

from __future__ import annotations

import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.authoring.template import TEMPLATES
from node.execution.runner import Runner, text_bytes
from node.execution.sandbox.layers import Layers, probe
from node.execution.worker_set import training_cpu_seconds
from node.objective.load import load_objective
from node.objective.schema import Objective, ObjectiveError
from tests.node.execution.drawn_objective import TEMPLATE

SEED = 11


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


def changed(folder: Path, template: Path, *changes: tuple[str, str]) -> Objective:
    """A copy of a template with other settings."""
    root = folder / "objective"
    shutil.copytree(template, root, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    settings = root / "objective.toml"
    text = settings.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    settings.write_text(text)
    return load_objective(root, folder / "data")


def timed(folder: Path, seconds: float) -> Objective:
    return changed(folder, TEMPLATE, ("tokens = 131072", f"seconds = {seconds:g}"), ("slope = 0.1", "slope = 0"))


@pytest.mark.long
@pytest.mark.sandbox
async def test_a_budget_in_seconds_is_of_cpu_time_and_a_test_can_cut_it(layers: Layers, tmp_path: Path) -> None:
    long = changed(
        tmp_path,
        TEMPLATE,
        ("tokens = 131072", "seconds = 2400"),
        ("wall_seconds = 120", "wall_seconds = 3600"),
        ("slope = 0.1", "slope = 0"),
    )
    found = []
    for seconds in (2.0, 6.0):  # of which the first half second trains nothing
        objective = replace(long, budget=replace(long.budget, seconds=seconds))
        assert objective.id == long.id
        async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
            found.append(await runner.run(objective.source, SEED, ignore))
    short, longer = found
    assert short.failure is None, short.log_tail
    assert short.value is not None
    assert longer.value is not None
    assert longer.value < short.value
    assert 1.6 < longer.tokens / short.tokens < 5
    assert 1.9 < short.cpu_seconds < 3.5  # with the examination
    assert 5.9 < longer.cpu_seconds < 7.5


@pytest.mark.long
@pytest.mark.sandbox
async def test_who_goes_on_after_the_end_of_a_budget_in_seconds_is_ended(layers: Layers, tmp_path: Path) -> None:
    objective = timed(tmp_path, 1)
    goes_on = objective.source.replace("    return model\n", "    while True:\n        loss = loss * 1\n")
    assert goes_on != objective.source
    async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
        outcome = await runner.run(goes_on, SEED, ignore)
    assert (outcome.value, outcome.failure) == (None, "timeout")
    assert outcome.wall_seconds < 60


def test_what_a_training_in_seconds_may_take_is_a_little_more_than_those(tmp_path: Path) -> None:
    budget = timed(tmp_path, 60).budget
    assert training_cpu_seconds(budget) == pytest.approx(65)
    assert training_cpu_seconds(replace(budget, seconds=300.0, warmup_seconds=60.0, threads=2)) == pytest.approx(754)


def test_time_pays_for_itself_so_it_is_not_paid_for_twice(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match=r"slope must be 0 with budget\.seconds"):
        changed(tmp_path, TEMPLATE, ("tokens = 131072", "seconds = 9"))


@pytest.mark.sandbox
async def test_tokens_of_two_bytes_are_trained_on_and_scored_by_their_bytes(layers: Layers, tmp_path: Path) -> None:
    objective = changed(tmp_path, TEMPLATES["bpe"], ("tokens = 98304", "tokens = 16384"))
    sees = objective.source.replace(
        "        loss = F.cross_entropy",
        "        assert inputs.max() > 256 and inputs.max() < task.vocabulary\n        loss = F.cross_entropy",
    )
    assert sees != objective.source
    async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
        outcome = await runner.run(sees, SEED, ignore)
        holdout = await runner.examine(sees, SEED, "holdout")
    assert outcome.failure is None, outcome.log_tail
    assert outcome.value is not None
    assert holdout.value is not None
    # Any of 509 tokens is 9 bits, of 1.9 bytes in the mean; one that has learned nothing says so.
    assert 1.5 < outcome.value < 5
    assert abs(holdout.value / outcome.value - 1) < 0.1


def test_the_table_of_bytes_is_that_of_the_tokens(tmp_path: Path) -> None:
    objective = load_objective(TEMPLATES["bpe"], tmp_path)
    assert objective.token_bytes is not None
    drawing = runpy.run_path(str(TEMPLATES["bpe"] / "draw.py"))
    table = objective.files[objective.token_bytes]
    assert list(table) == [len(token.encode()) for token in drawing["TOKENS"]]
    shuffled = drawing["shuffled"](drawing["generator"]("a"))
    assert sorted(shuffled.values()) == list(range(objective.vocabulary))
    assert all(table[number] == table[other] for number, other in shuffled.items())
    tokens = np.frombuffer(drawing["draw"](5, "val"), dtype="<u2")
    assert tokens.size == 1408 * 33
    assert 256 < tokens.max() < objective.vocabulary


def test_a_run_reads_as_many_bytes_as_its_tokens_have(tmp_path: Path) -> None:
    template, bpe = load_objective(TEMPLATE, tmp_path), load_objective(TEMPLATES["bpe"], tmp_path)
    assert text_bytes(template) == template.budget.tokens + 65
    assert text_bytes(bpe) == 2 * (bpe.budget.tokens + 65)
    assert text_bytes(timed(tmp_path, 5)) is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("vocabulary = 509", "vocabulary = 510", "has 509 bytes and must have 510"),
        ("vocabulary = 509", "vocabulary = 65537", "vocabulary must be at most 65536"),
        ("token_bytes.u8", "other.u8", r"names other\.u8, which is not in"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ObjectiveError, match=says):
        changed(tmp_path, TEMPLATES["bpe"], (old, new))

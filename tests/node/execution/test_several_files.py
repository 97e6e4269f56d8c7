"""A model whose source is several files trains and scores as if it were one, and says in which file it fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.objective.trees import pack, unpack
from tests.node.conftest import ignore
from tests.node.execution.small_objective import TEMPLATE, copy_two_files, set_numbers

pytestmark = pytest.mark.sandbox

TOKENS = 12_288


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture
def two_files(tmp_path: Path) -> Objective:
    return load_objective(copy_two_files(tmp_path, tokens=TOKENS), tmp_path / "data")


async def test_a_source_in_two_files_scores_as_the_same_source_in_one(
    two_files: Objective, layers: Layers, tmp_path: Path
) -> None:
    root = tmp_path / "one file"
    shutil.copytree(TEMPLATE, root, ignore=shutil.ignore_patterns("__*"))
    set_numbers(root, tokens=TOKENS)
    values = []
    for objective in (two_files, load_objective(root, tmp_path / "data")):
        async with Runner(objective, layers, tmp_path / objective.id.hex()[:8], ignore) as runner:
            outcome = await runner.run(objective.source, 7, ignore)
            assert outcome.failure is None, outcome.log_tail
            holdout = await runner.examine(objective.source, 7, "holdout")
            values.append((outcome.value, outcome.checkpoints, holdout.value))
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("old", "new", "failure", "told"),
    [
        pytest.param("WIDTH = 32", "WIDTH = (", "syntax", 'File "parts/layers.py", line 5', id="no Python"),
        pytest.param(
            *("WIDTH = 32", "WIDTH = 1 / 0", "exception", 'File "parts/layers.py", line 5'),
            marks=pytest.mark.long,
            id="at import",
        ),
        pytest.param("self.head(states)", "self.heads(states)", "exception", "parts/layers.py", id="in a step"),
    ],
)
async def test_a_failure_is_told_with_its_file(
    two_files: Objective, layers: Layers, tmp_path: Path, old: str, new: str, failure: str, told: str
) -> None:
    files = unpack(two_files.source)
    files["parts/layers.py"] = files["parts/layers.py"].replace(old, new)
    async with Runner(two_files, layers, tmp_path / "weights", ignore) as runner:
        outcome = await runner.run(pack(files), 7, ignore)
    assert outcome.failure == failure
    assert told in outcome.log_tail
    assert "source_modules" not in outcome.log_tail.partition("parts/layers.py")[0].partition("train.py")[0]


@pytest.mark.parametrize("source", ["LR = 1\n", pack({"train.py": "", "other.py": ""}), "autoresearch tree 1\n"])
async def test_a_source_of_other_files_fails_before_it_costs_anything(
    two_files: Objective, layers: Layers, tmp_path: Path, source: str
) -> None:
    async with Runner(two_files, layers, tmp_path / "weights", ignore) as runner:
        outcome = await runner.run(source, 7, ignore)
    assert (outcome.failure, outcome.cpu_seconds) == ("syntax", 0)

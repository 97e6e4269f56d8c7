"""What an objective needs beside its files is missed before a run, and made by its command only when a person asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.app.environment import PrepareError, prepare, refuse_unprepared
from node.objective.load import load_objective
from node.objective.schema import Objective

SETTINGS = """
kind = "command"
name = "needy"
summary = "Reads what somebody made."
editable = "run.sh"
categories = ["all"]

[metric]
name = "score"
unit = "points"
direction = "higher"

[budget]
wall_seconds = 20
threads = 1
memory_mb = 500

[command]
run = "bash run.sh"

[environment]
paths = ["made"]
PREPARE

[statistics]
s0 = 0.01
minimum_effect = 0.01
max_pairs = 4
"""


def objective(root: Path, prepare_line: str) -> Objective:
    (root / "objective.toml").write_text(SETTINGS.replace("PREPARE", prepare_line))
    (root / "run.sh").write_text("cat made/it\n")
    return load_objective(root, root)


def test_what_is_missing_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    needy = objective(tmp_path, 'prepare = "mkdir made"')
    with pytest.raises(PrepareError, match=r"not here: made; in .*, run: mkdir made .*objective prepare"):
        refuse_unprepared(needy)
    assert not (tmp_path / "made").exists()


def test_without_a_command_it_is_to_be_put_there(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="put them there"):
        refuse_unprepared(objective(tmp_path, ""))


def test_its_command_makes_it_in_its_folder(tmp_path: Path) -> None:
    needy = objective(tmp_path, 'prepare = "mkdir made"')
    prepare(needy)
    refuse_unprepared(needy)


@pytest.mark.parametrize(("line", "said"), [("exit 3", "status 3"), ("true", "not here: made")])
def test_a_command_that_fails_or_makes_something_else_is_an_error(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(PrepareError, match=said):
        prepare(objective(tmp_path, f'prepare = "{line}"'))


def test_most_objectives_need_nothing(tmp_path: Path) -> None:
    text = SETTINGS.replace('[environment]\npaths = ["made"]\nPREPARE\n', "")
    (tmp_path / "objective.toml").write_text(text)
    (tmp_path / "run.sh").write_text("true\n")
    refuse_unprepared(load_objective(tmp_path, tmp_path))

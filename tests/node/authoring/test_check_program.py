"""What is wrong with a program objective: the functions that its judge calls, and the judge's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from node.authoring.check import faults

SETTINGS = """
kind = "program"
name = "guess"
summary = "Guesses."
editable = ["guess.py", "tables.py"]
judge = "judge.py"
categories = ["model"]
[metric]
name = "skill"
unit = ""
direction = "higher"
scale = "linear"
[budget]
seconds = 5
wall_seconds = 60
threads = 1
memory_mb = 500
[statistics]
s0 = 0.02
minimum_effect = 0.002
max_pairs = 6
"""
FILES = {
    "objective.toml": SETTINGS,
    "program.md": "Guess better.",
    "guess.py": "def prepare(task):\n    pass\n\n\ndef answer(task, inputs):\n    return inputs\n",
    "tables.py": "TABLE = {}\n",
    "judge.py": "class Rejected(Exception):\n    pass\n\n\ndef judge(session, seed, split):\n    return {}\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def report(root: Path) -> str:
    return "\n".join(f"{fault.file}: {fault.says}" for fault in trio.run(faults, root))


def test_nothing_is_wrong_with_a_right_one(root: Path) -> None:
    assert report(root) == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("guess.py", "def answer(", "def reply(", "guess.py: has no function answer(task, inputs)"),
        ("guess.py", "answer(task, inputs)", "answer(task)", "guess.py: answer must take two arguments"),
        ("guess.py", "prepare(task)", "prepare()", "guess.py: prepare must take one argument"),
        ("tables.py", "TABLE = {}", "TABLE = {", "tables.py: is not Python"),
        ("judge.py", "session, seed, split", "session", "judge.py: needs a function judge(session, seed, split)"),
        ("judge.py", "class Rejected(Exception)", "class Refused(Exception)", "judge.py: needs an exception"),
        ("objective.toml", "seconds = 5\n", "seconds = 0.01\n", "budget.seconds is 0.01"),
        ("objective.toml", "[budget]", "[program]\ncasual = true\n[budget]", "did you mean 'causal'?"),
    ],
)
def test_a_fault_is_reported_with_what_to_do(root: Path, file: str, old: str, new: str, says: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    assert says in report(root)


def test_a_direction_for_the_search_is_asked_for(root: Path) -> None:
    (root / "program.md").unlink()
    assert "program.md: is missing" in report(root)

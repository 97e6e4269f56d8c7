"""Everything wrong with an objective's folder is reported at once, each fault with its file and what to do about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from node.authoring.check import faults
from node.authoring.fault import Fault
from node.authoring.template import TEMPLATE
from node.objective.kinds import NEEDED
from node.objective.load import complaints
from node.objective.schema import Kind
from tests.node.execution.small_objective import IN_FILES, TINYLM, copy_in_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TEMPLATE, tmp_path / "own"))


@pytest.fixture
def in_files(tmp_path: Path) -> Path:
    """An objective whose text is in files, and whose seed is plain."""
    return copy_in_files(tmp_path)


def change(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def report(found: list[Fault]) -> str:
    return "\n".join(f"{fault.file}: {fault.says}" for fault in found)


@pytest.mark.parametrize("folder", [TINYLM, TEMPLATE, IN_FILES])
def test_nothing_is_wrong_with_the_embedded_objectives(folder: Path) -> None:
    assert report(trio.run(faults, folder)) == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("objective.toml", "tokens = 131072", "tokens = 3", "budget.tokens is 3; give a number from 1000"),
        ("objective.toml", "wall_seconds = 120", "wall_seconds = -1", "budget.wall_seconds is -1"),
        ("objective.toml", "memory_mb = 2000", "memory_mb = 64", "budget.memory_mb is 64"),
        ("objective.toml", "vocabulary = 128", "vocabulary = 70000", "give a number from 2 to 65536"),
        ("objective.toml", "s0 = 0.01", "s0 = 5", "statistics.s0 is 5"),
        ("objective.toml", "max_pairs = 6", "max_pairs = 60", "statistics.max_pairs is 60"),
        ("objective.toml", "[20, 50, 100]", "[50, 20]", "in rising order"),
        ("objective.toml", "threads = 1", "theads = 1", "did you mean 'threads'?"),
        ("objective.toml", "[metric]", "colour = 3\n[metric]", "the top of the file has no 'colour'"),
        ("objective.toml", "success = 0.3, gain", "success = 0.3, luck = 1, gain", "has no 'luck'"),
        ("objective.toml", 'unit = "bits per byte"', "unit = 8", "metric.unit must be text"),
        ("objective.toml", "model = { success", "weather = { success", "'weather' is not in categories"),
        ("objective.toml", '"learning rate", "model"]', '"learning rate"]', "category 'model' is not in categories"),
        ("objective.toml", "tokens_per_second = 100000\nmemory_mb = 30000", "tokens_per_second = 0\nmemory_mb = 0",
         "no machine can be of class 'laptop-cpu'"),
        ("objective.toml", 'judge = "judge.py"', 'judge = "nobody.py"', "judge names nobody.py"),
        ("objective.toml", 'direction = "lower"', 'direction = "up"', "metric.direction"),
        ("objective.toml", "[budget]", "[budget", "cannot be read"),
        ("train.py", "def build(task)", "def make(task)", "train.py: has no function build(task)"),
        ("train.py", "def train(task)", "def train(task, speed)", "train must take one argument"),
        ("train.py", "def build(task):", "def build(task)", "train.py: is not Python"),
        ("judge.py", "class Rejected(Exception)", "class Refused(Exception)", "judge.py: needs an exception"),
        ("judge.py", "rooms, seed)", "rooms)", "judge.py: needs a function judge(text, rooms, seed)"),
        ("draw.py", "def draw(seed, name)", "def draw(seed)", "draw.py: needs a function draw(seed, name)"),
        ("objective.toml", 'draw = "draw.py"', 'draw = "nobody.py"', "draw names nobody.py"),
        ("objective.toml", 'draw = "draw.py"', 'draw = "draw.py"\nprepare = "draw.py"', "remove [[data]] and prepare"),
        ("objective.toml", 'draw = "draw.py"', "", "[[data]] is missing, and no module that draws"),
        ("objective.toml", "[task]", "[task]\nsecret_seed = 1", "secret_seed must be true or false"),
        ("ideas/model.toml", "Model.forward", "Model.backward", "does not apply to train.py"),
        ("ideas/model.toml", 'category = "model"', "", 'needs the text "category"'),
        ("ideas/learning_rate.toml", '"1e-2"', '"3e-3"', "changes nothing in train.py"),
        ("ideas/learning_rate.toml", 'kind = "constant"', 'kind = "wish"', "an edit's kind is"),
        ("ideas/learning_rate.toml", '"Three times the learning rate"', '"Predict with the embedding\'s own weights"',
         "2 ideas are titled"),
    ],
)  # fmt: skip
def test_a_fault_is_reported_with_what_to_do(root: Path, file: str, old: str, new: str, says: str) -> None:
    change(root, file, old, new)
    assert says in report(trio.run(faults, root))


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("objective.toml", 'room = "candidate"', 'room = "candidate"\nurl = "x"', "[[data]] has no 'url'"),
        ("objective.toml", 'name = "holdout"', 'name = "test"', 'no [[data]] named "holdout"'),
        ("judge.py", "train_sample, incumbent)", "train_sample)", "judge.py: needs a function judge(data, rooms"),
        ("objective.toml", "[task]", "[task]\nsecret_seed = true", "needs a function judge(text, rooms, seed)"),
    ],
)
def test_a_fault_of_text_in_files_is_reported_with_what_to_do(
    in_files: Path, file: str, old: str, new: str, says: str
) -> None:
    change(in_files, file, old, new)
    assert says in report(trio.run(faults, in_files))


def test_an_idea_that_changes_only_a_seed_is_reported(root: Path) -> None:
    (root / "ideas" / "luck.toml").write_text(
        'category = "model"\n[[idea]]\ntitle = "Another draw"\nreason = "It may be lucky."\n'
        '[[idea.edit]]\nkind = "replace"\nname = "train"\nold = "1000 + task.seed"\nnew = "7 + task.seed"\n'
    )
    says = "ideas/luck.toml: idea 'Another draw' changes nothing but a seed in train.py"
    assert says in report(trio.run(faults, root))


def test_faults_in_many_files_are_reported_at_once(in_files: Path) -> None:
    root = in_files
    change(root, "objective.toml", "tokens = 131072", 'tokens = "many"')
    change(root, "objective.toml", "s0 = 0.01", 's = "?"')
    change(root, "objective.toml", 'device = "cpu"', 'device = "abacus"')
    change(root, "objective.toml", 'room = "judge"', 'room = "anybody"')
    change(root, "train.py", "def train(", "def learn(")
    change(root, "ideas/model.toml", "Model.forward", "Model.backward")
    (root / "program.md").unlink()
    text = report(trio.run(faults, root))
    for part in (
        "budget.tokens", "statistics.s0", "no 's'", '"cpu" or "gpu"', "data.room", "train(task)", "does not apply",
        "program.md: is missing",
    ):  # fmt: skip
        assert part in text


def test_data_that_differ_from_what_is_declared_are_reported_with_their_hash(in_files: Path) -> None:
    root = in_files
    (root / "val.bin").write_bytes(b"abc")
    text = report(trio.run(faults, root))
    assert "val.bin: is not what objective.toml declares for 'val'" in text
    assert 'sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" and size = 3' in text


def test_without_a_prepare_step_the_data_must_be_in_the_folder(in_files: Path) -> None:
    root = in_files
    change(root, "objective.toml", 'prepare = "prepare.py"', "")
    text = report(trio.run(faults, root))
    assert text.count("there is no prepare step to make it") == 3


def test_an_idea_may_refine_another(root: Path) -> None:
    (root / "ideas" / "tied.toml").write_text(
        'category = "model"\n[[idea]]\ntitle = "Tied and cold"\nreason = "Softer answers."\n'
        '[[idea.edit]]\nkind = "replace"\nname = "Model.forward"\n'
        'old = "F.linear(states, "\nnew = "F.linear(states / 2, "\n'
    )
    assert report(trio.run(faults, root)) == ""


def test_what_the_node_refuses_has_no_second_list(in_files: Path) -> None:
    """Every setting that is read is known, and each one missing is complained about by itself."""
    for table, names in NEEDED[Kind.MODEL].items():
        for name in names:
            lines = (IN_FILES / "objective.toml").read_text().splitlines()
            begin = 0 if not table else lines.index(f"[{table}]")
            at = next(n for n, line in enumerate(lines) if n >= begin and line.startswith(f"{name} = "))
            (in_files / "objective.toml").write_text("\n".join([*lines[:at], *lines[at + 1 :]]))
            assert any(name in complaint for complaint in complaints(in_files)), name

"""The second contract: kinds, metrics, budgets by time, several files; what is wrong with one is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from node.objective.load import complaints, load_objective
from node.objective.schema import Kind, Objective, ObjectiveError, SeedRewrite, Trust
from node.objective.trees import unpack
from protocol.metric import Direction, Metric, Scale
from tests.node.execution.small_objective import TINYLM

COMMAND = """
kind = "command"
name = "sorting"
summary = "Sorts."
editable = ["sort.py", "merge.py"]
categories = ["algorithm"]
files = ["*.py", ".auto/*.sh", "uv.lock", "notes.tsv"]
history = "notes.tsv"

[metric]
name = "skill"
unit = "points"
direction = "higher"
scale = "linear"

[budget]
seconds = 5
wall_seconds = 20
threads = 1
memory_mb = 500

[command]
run = "python3 sort.py"
checks = "bash .auto/checks.sh"
failed_by = ["FAIL"]

[command.require]
correctness = "PASS"

[command.seed]
variable = "SEED"
rewrite = [{ file = "sort.py", find = "seed(42)", replace = "seed({seed})" }]

[environment]
paths = [".venv", "~/.cache/sorting"]
lock = "uv.lock"
lock_sha256 = "LOCK"
prepare = "uv sync"

[statistics]
s0 = 0.02
minimum_effect = 0.01
max_pairs = 4

[priors]
algorithm = { success = 0.3, gain = 0.05 }

[[scales]]
name = "large"
seconds = 60
wall_seconds = 200
memory_mb = 4000
"""
FILES = {
    "sort.py": "seed(42)\n",
    "merge.py": "WIDTH = 2\n",
    ".auto/checks.sh": "true\n",
    ".secret/key": "kept out\n",
    "uv.lock": "locked\n",
    "notes.tsv": "commit\tvalue\n",
    "run.log": "left out\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    lock = hashlib.sha256(FILES["uv.lock"].encode()).hexdigest()
    (tmp_path / "objective.toml").write_text(COMMAND.replace("LOCK", lock))
    return tmp_path


def load(root: Path) -> Objective:
    return load_objective(root, root)


def test_a_command_is_read_into_what_its_settings_say(root: Path) -> None:
    objective = load(root)
    assert (objective.kind, objective.trust, objective.judge) == (Kind.COMMAND, Trust.SELF_MEASURED, None)
    assert objective.command is not None
    assert (objective.command.run, objective.command.values) == ("python3 sort.py", "lines")
    assert objective.command.require == {"correctness": "PASS"}
    assert objective.command.seed_variable == "SEED"
    assert objective.command.seed_rewrites == (SeedRewrite("sort.py", "seed(42)", "seed({seed})"),)
    assert objective.environment is not None
    assert objective.environment.paths == (".venv", "~/.cache/sorting")
    assert (objective.budget.tokens, objective.budget.seconds) == (0, 5.0)
    assert [scale.name for scale in objective.scales] == ["large"]
    assert complaints(root) == []


def test_its_source_is_the_tree_of_its_editable_files(root: Path) -> None:
    objective = load(root)
    assert unpack(objective.source) == {path: FILES[path] for path in objective.editable}
    assert objective.source_id == hashlib.sha256(objective.source.encode()).digest()


def test_its_files_are_those_that_match_hidden_ones_too_and_no_others(root: Path) -> None:
    named = {"objective.toml", "sort.py", "merge.py", ".auto/checks.sh", "uv.lock", "notes.tsv"}
    assert set(load(root).files) == named


def test_what_is_given_in_units_of_a_linear_metric_becomes_an_effect(root: Path) -> None:
    objective = load(root)
    assert objective.measure == Metric(Direction.HIGHER, Scale.LINEAR, 5.0, 0.004)
    assert objective.recorded_metric == objective.measure
    assert objective.statistics.minimum_effect == pytest.approx(0.002)
    assert objective.statistics.s0 == pytest.approx(0.004)
    assert objective.priors["algorithm"].gain == pytest.approx(0.01)
    assert objective.statistics.slope == 0.0


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('kind = "command"', 'kind = "kommand"', "kind"),
        ('scale = "linear"', 'scale = "square"', "metric.scale"),
        ("minimum_effect = 0.01", "minimum_effect = 0", "minimum_effect"),
        ('["sort.py", "merge.py"]', '["sort.py", "sort.py"]', "editable"),
        ('["sort.py", "merge.py"]', '["sort.py", "../other.py"]', "editable"),
        ('["sort.py", "merge.py"]', '["sort.py", "absent.py"]', "absent.py"),
        ('run = "python3 sort.py"', "", "run"),
        ('run = "python3 sort.py"', 'run = "x"\nevaluator = "sort.py"', "evaluator"),
        ('run = "python3 sort.py"', 'run = "x"\nvalues = "json"', "command.files"),
        ('run = "python3 sort.py"', 'run = "x"\nvalues = "prose"', "command.values"),
        ('variable = "SEED"', 'variable = "PATH"', "command.seed.variable"),
        ('variable = "SEED"', 'variable = "A B"', "command.seed.variable"),
        ('"seed({seed})"', '"seed(7)"', "command.seed.rewrite"),
        ('"~/.cache/sorting"', '"/etc"', "environment.paths"),
        ('"~/.cache/sorting"', '"../../etc"', "environment.paths"),
        ('"~/.cache/sorting"', '"~/../other"', "environment.paths"),
        ('"~/.cache/sorting"', '"~/.ssh"', "environment.paths"),
        ('"~/.cache/sorting"', '"~/.cache/../.ssh"', "environment.paths"),
        ("seconds = 5\n", "seconds = 50\n", "wall_seconds"),
        ("seconds = 5\n", "seconds = -5\n", "budget.seconds"),
        ('history = "notes.tsv"', 'history = "absent.tsv"', "absent.tsv"),
        ("lock_sha256 =", "other =", "lock_sha256"),
    ],
)
def test_a_wrong_setting_is_named(root: Path, old: str, new: str, named: str) -> None:
    settings = root / "objective.toml"
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new, 1))
    with pytest.raises(ObjectiveError, match=named):
        load(root)
    assert any(named in complaint for complaint in complaints(root))


def test_a_lock_file_that_is_not_the_one_that_was_locked_is_refused(root: Path) -> None:
    (root / "uv.lock").write_text("another\n")
    with pytest.raises(ObjectiveError, match="lock_sha256"):
        load(root)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 300_000])
def test_an_editable_file_that_can_be_no_source_is_refused(root: Path, content: bytes) -> None:
    (root / "sort.py").write_bytes(content)
    with pytest.raises(ObjectiveError, match="editable"):
        load(root)


def test_a_model_without_a_kind_says_nothing_new_in_its_records() -> None:
    objective = load_objective(TINYLM, TINYLM)
    assert (objective.kind, objective.trust) == (Kind.MODEL, Trust.JUDGED)
    assert not objective.recorded_metric

"""An objective's scales are other budgets for the same sources; each device has one, and no two are compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.objective.load import complaints, load_objective
from node.objective.schema import Objective, ObjectiveError
from tests.node.execution.small_objective import copy_tinylm

FOR_A_GPU = """
[[scales]]
name = "cpu"
device = "cpu"
tokens = 8192
wall_seconds = 60
memory_mb = 1024
context = 32
checkpoints = [20]
s0 = 0.02
slope = 0.1

[[scales]]
name = "long"
seconds = 300
wall_seconds = 900
"""


def scaled(folder: Path, scales: str = FOR_A_GPU) -> Path:
    """tinylm as an objective for a GPU, with seconds for a budget, and these scales in place of its own."""
    root = copy_tinylm(folder)
    text = (root / "objective.toml").read_text()
    own = text[text.index("[[scales]]") : text.index("\n[statistics]")]
    settings = text.replace(own, own[own.rindex("\n#") :])
    for old, new in (
        ("tokens = 524288", "seconds = 60\nwarmup_seconds = 30\ngpu_memory_mb = 8000"),
        ("slope = 0.15", "slope = 0"),
        ("wall_seconds = 180", "wall_seconds = 700"),
        ("[metric]", 'device = "gpu"\n\n[metric]'),
    ):
        assert old in settings, old
        settings = settings.replace(old, new, 1)
    (root / "objective.toml").write_text(settings + scales)
    for name, old, new in (
        ("train.py", "GROWTH[task.scale]", "GROWTH.get(task.scale, 1)"),
        ("language.py", "TRAIN_BYTES[scale]", 'TRAIN_BYTES.get(scale, TRAIN_BYTES[""])'),
    ):
        program = (root / name).read_text()
        assert old in program, old
        (root / name).write_text(program.replace(old, new))
    return root


def load(root: Path) -> Objective:
    return load_objective(root, root)


def test_a_scale_has_what_it_says_and_else_what_the_objective_has(tmp_path: Path) -> None:
    own = load(scaled(tmp_path))
    small = own.at_scale("cpu")
    assert (small.scale, small.device, small.context, small.checkpoints) == ("cpu", "cpu", 32, (20,))
    assert (small.budget.tokens, small.budget.seconds, small.budget.warmup_seconds) == (8192, None, 0)
    assert (small.budget.memory_bytes, small.budget.threads) == (1 << 30, own.budget.threads)
    assert (small.statistics.s0, small.statistics.slope) == (0.02, 0.1)
    long = own.at_scale("long")
    assert (long.device, long.budget.seconds, long.budget.warmup_seconds) == ("gpu", 300, 30)
    assert (long.context, long.checkpoints, long.statistics.s0) == (own.context, own.checkpoints, own.statistics.s0)
    assert own.budget.gpu_memory_bytes == long.budget.gpu_memory_bytes == 8000 << 20


def test_it_is_the_same_objective_with_the_same_source_and_metric(tmp_path: Path) -> None:
    own = load(scaled(tmp_path))
    small = own.at_scale("cpu")
    assert (small.id, small.source_id, small.recorded_metric) == (own.id, own.source_id, own.recorded_metric)
    assert own.measure.spread == own.statistics.s0, "the scale's runs repeat"
    noisy = load(scaled(tmp_path / "noisy", FOR_A_GPU.replace("tokens = 8192", "seconds = 20").replace("= 0.1", "= 0")))
    assert noisy.measure.spread == 0.02, "one metric is for all budgets, so it allows for the noisiest"
    with pytest.raises(KeyError):
        own.at_scale("unheard of")


def test_a_machine_without_a_gpu_runs_the_first_scale_for_a_cpu(tmp_path: Path) -> None:
    own = load(scaled(tmp_path))
    assert own.on_machine(gpus=True) is own
    assert own.on_machine(gpus=False).scale == "cpu"
    without = load(scaled(tmp_path / "without", FOR_A_GPU[FOR_A_GPU.rindex("\n[[scales]]") :]))
    assert without.on_machine(gpus=False) is without, "it has none, so the door refuses it"
    tinylm = load(copy_tinylm(tmp_path / "tinylm"))
    assert tinylm.on_machine(gpus=True) is tinylm


def test_runs_of_different_budgets_are_remembered_apart_and_classes_are_of_one(tmp_path: Path) -> None:
    own = load(scaled(tmp_path))
    small = own.at_scale("cpu")
    assert (own.conditions, small.conditions) == ("gpu", "cpu, cpu")
    names = ("gpu", "datacentre-gpu", "cpu", "laptop-cpu")
    assert [own.same_budget(name) for name in names] == [True, True, False, False]
    assert [small.same_budget(name) for name in names] == [False, False, True, True]
    assert not small.same_budget("a class that nobody knows")
    tinylm = load(copy_tinylm(tmp_path / "tinylm"))
    assert tinylm.conditions == "cpu"
    assert all(tinylm.same_budget(name) for name in ("cpu", "datacentre-gpu", "a class of another version"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "long"', 'name = "cpu"', "needs a name of its own"),
        ('name = "long"', 'name = "a/b"', "scales.name must be a word"),
        ('name = "long"', "", "scales.name is missing; it must be text"),
        ('device = "cpu"', 'device = "tpu"', "scales.device must be"),
        ("seconds = 300", "seconds = 3000", "wall_seconds must be above budget.seconds"),
        ("seconds = 300", "seconds = 300\ntokens = 5", "budget needs tokens or seconds"),
        ("seconds = 300", "seconds = 300\nslope = 0.1", "scales.slope must be 0"),
        ("s0 = 0.02", "s0 = -1", "scales.s0 must be above 0"),
        ("context = 32", "context = 'long'", "scales.context must be a whole number"),
        ("memory_mb = 1024", "memory_mb = inf", "scales.memory_mb must be a whole number"),
    ],
)
def test_what_is_wrong_with_a_scale_is_said(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in FOR_A_GPU
    root = scaled(tmp_path, FOR_A_GPU.replace(old, new))
    with pytest.raises(ObjectiveError, match=says):
        load(root)
    assert any(re.search(says, each) for each in complaints(root))


def test_a_class_has_one_name_and_no_budget_of_its_own(tmp_path: Path) -> None:
    row = '\n[[classes]]\nname = "{}"\ndevice = "cpu"\ntokens_per_second = 0\nmemory_mb = 0\n'
    for name, more, says in (
        ("laptop-cpu", "", "two classes named"),
        ("gpu", "", "give it another name"),
        ("small", "budget_tokens = 1000\n", "one of .*scales"),
    ):
        root = scaled(tmp_path / name, FOR_A_GPU + row.format(name) + more)
        with pytest.raises(ObjectiveError, match=says):
            load(root)

"""The check warns where the run's seed changes less than it should: by real runs, and by the source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import trio

from node.authoring.baseline import seed_warning
from node.authoring.template import TEMPLATE, begin
from node.cli.main import main
from node.objective.load import load_objective
from node.objective.schema import SETTINGS
from tests.node.execution.small_objective import copy_in_files

SEEDING = "torch.manual_seed(1000 + task.seed)"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An objective whose seed is plain."""
    return copy_in_files(tmp_path)


def change(root: Path, old: str, new: str) -> None:
    text = (root / "train.py").read_text()
    assert old in text
    (root / "train.py").write_text(text.replace(old, new))


def checked(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["objective", "check", str(root), *options])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_a_source_that_takes_the_runs_seed_or_none_gets_no_warning(root: Path) -> None:
    assert trio.run(seed_warning, load_objective(root, root), None) is None
    change(root, SEEDING, "pass")  # the node itself seeds torch
    assert trio.run(seed_warning, load_objective(root, root), None) is None


def test_a_source_that_seeds_by_itself_is_warned_of_without_a_run(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(root, SEEDING, "torch.manual_seed(1337)")
    status, text = checked(root, capsys, "--quick")
    assert status == 0
    assert "warning: train.py seeds random numbers and never reads task.seed" in text
    assert "torch.manual_seed(1000 + task.seed)" in text


def test_where_the_seed_is_secret_a_fixed_one_does_no_harm(tmp_path: Path) -> None:
    root = Path(shutil.copytree(TEMPLATE, tmp_path / "drawn"))
    change(root, SEEDING, "torch.manual_seed(1337)")
    assert trio.run(seed_warning, load_objective(root, root), None) is None


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os\ndef draw(seed, name):\n    return os.urandom(9)", "gives other bytes when it is called again"),
        ("def draw(seed, name):\n    return name.encode()", "gives the same 'train' for two seeds"),
        ("def draw(seed, name):\n    return str(seed).encode()", "one text for two of train, val, holdout"),
        ("def draw(seed, name):\n    return 1 / 0", "ZeroDivisionError"),
    ],
    ids=["unrepeatable", "without the seed", "without the name", "fails"],
)
def test_texts_that_are_drawn_wrongly_are_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, told: str
) -> None:
    root = Path(shutil.copytree(TEMPLATE, tmp_path / "drawn"))
    (root / "draw.py").write_text(code)
    status, text = checked(root, capsys)
    assert status == 1
    assert f"draw.py: {'draw' if 'Error' not in told else ''}" in text
    assert told in text


@pytest.mark.sandbox
def test_noise_of_pairs_above_the_declared_is_written_as_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "own"
    begin(root, None, "classification")
    settings = root / SETTINGS
    settings.write_text(settings.read_text().replace("s0 = 0.05", "s0 = 0.0001"))
    for name in ("features", "training"):
        (root / "ideas" / f"{name}.toml").unlink()  # each idea takes as many runs again
    former = load_objective(root, root).id.hex()
    status, text = checked(root, capsys, "--json", "--fix", "--home", str(tmp_path / "home"))
    found = json.loads(text)
    assert (status, found["faults"], found["former_id"]) == (0, [], former)
    assert (found["baseline"]["runs"], found["baseline"]["paired"]) == (8, True)
    (change,) = found["fixed"]
    assert float(change["after"]) == found["baseline"]["suggested_s0"]
    assert load_objective(root, root).statistics.s0 == pytest.approx(float(change["after"]))


@pytest.mark.long
@pytest.mark.sandbox
def test_seeds_that_give_the_same_value_are_warned_of(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(root, SEEDING, "torch.manual_seed(1337)")
    change(root, "optimizer.step()", "pass")  # nothing is learned from the batches, which the node draws by the seed
    status, text = checked(root, capsys, "--json")
    found = json.loads(text)
    assert (status, found["faults"], found["baseline"]["noise"]) == (0, [], 0)
    assert "seeds give the same" in found["warnings"][0]

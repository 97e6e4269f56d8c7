"""`objective check --fix` writes what can be worked out into its place, and nothing where nothing is to fix."""

from __future__ import annotations

import hashlib
import math
import random
import re
import statistics
from pathlib import Path

import pytest
import trio

from node.authoring.baseline import Baseline, advice, fresh_seeds, noise_faults, noise_text
from node.authoring.fixing import fix_made_data, fix_noise, fix_sums
from node.authoring.importing.recognised import NO_CHOICE
from node.authoring.importing.writing import import_folder
from node.authoring.noise import pair_noise, rounded_up
from node.cli.main import main
from node.execution.sandbox.layers import probe
from node.network.downloads.store import DownloadStore
from node.objective.limits import HostLimits
from node.objective.load import load_objective
from node.objective.schema import SETTINGS, ObjectiveError
from protocol.metric import Direction, Metric, Scale
from tests.node.authoring.importing.examples import example
from tests.node.execution.small_objective import copy_in_files


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["objective", "check", *arguments])
    return int(ended.value.code or 0), capsys.readouterr().out


LOG = Metric(Direction.LOWER, Scale.LOG, 1.0, 0.1)


def baseline(noise: float, runs: int = 3, paired: bool = False) -> Baseline:
    """Of runs whose values, on a logarithmic scale, have this noise."""
    spread = [(index - (runs - 1) / 2) for index in range(runs)]
    wide = noise / 2**0.5 / statistics.stdev(spread)
    found = pair_noise(LOG, [math.exp(wide * each) for each in spread])
    assert found.deviation == pytest.approx(noise)
    bounds = (found.deviation, found.least, found.most)
    suggested = min(rounded_up(found.most), 0.1)
    return Baseline(1.0, None, 1.0, 1.0, 0.0, 1, *bounds, suggested, runs, tuple(range(runs)), paired, "bwrap")


def test_a_lock_that_changed_gets_its_sum_and_the_rest_stays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = example("mlx", tmp_path)
    import_folder(root, NO_CHOICE)
    (root / "uv.lock").write_text("mlx==0.31\n")
    settings = root / SETTINGS
    text = settings.read_text() + "\n  # a note of mine,   kept as it is\n"
    settings.write_text(text)
    assert checked(capsys, str(root), "--quick")[0] == 1
    status, told = checked(capsys, str(root), "--quick", "--fix")
    assert status == 0
    digest = hashlib.sha256(b"mlx==0.31\n").hexdigest()
    assert f'+lock_sha256 = "{digest}"' in told
    assert settings.read_text() == re.sub(r'lock_sha256 = "\w+"', f'lock_sha256 = "{digest}"', text)
    status, told = checked(capsys, str(root), "--quick", "--fix")
    assert (status, told.splitlines()[-1]) == (0, "nothing to fix")


def test_a_fix_that_makes_another_id_of_the_objective_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy_in_files(tmp_path)
    former = load_objective(root, root).id.hex()
    (root / "val.bin").write_bytes(b"abc" * 500)
    _, told = checked(capsys, str(root), "--quick", "--fix")
    now = load_objective(root, root).id.hex()
    assert now != former
    assert f"the objective's id is {now} now: what was found under the former id, {former}, stands there" in told
    assert "the objective's id" not in checked(capsys, str(root), "--quick", "--fix")[1]


def test_a_sum_that_is_missing_is_added(tmp_path: Path) -> None:
    root = example("mlx", tmp_path)
    import_folder(root, NO_CHOICE)
    settings = root / SETTINGS
    settings.write_text(re.sub(r"lock_sha256 = .*\n", "", settings.read_text()))
    assert [(change.setting, change.before) for change in fix_sums(root)] == [("environment.lock_sha256", "")]
    assert load_objective(root, root).environment is not None


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_data_in_the_folder_get_their_sums(tmp_path: Path, ends: str) -> None:
    root = copy_in_files(tmp_path)
    settings = root / SETTINGS
    settings.write_bytes(settings.read_text().replace("\n", ends).encode())
    before = settings.read_bytes()
    (root / "val.bin").write_bytes(b"abc" * 500)
    changes = fix_sums(root)
    assert {change.setting for change in changes} == {"data.sha256 of val.bin", "data.size of val.bin"}
    after = settings.read_bytes()
    assert hashlib.sha256(b"abc" * 500).hexdigest().encode() in after
    assert b"size = 1500" in after
    assert len(after.split(b"\n")) == len(before.split(b"\n"))
    assert after.count(b"\r") == before.count(b"\r")
    assert fix_sums(root) == []
    assert settings.read_bytes() == after


@pytest.mark.sandbox
def test_data_that_prepare_makes_get_their_sums(tmp_path: Path) -> None:
    root, limits = copy_in_files(tmp_path), HostLimits(1 << 30, 60.0, 1, 1 << 26)
    assert trio.run(fix_made_data, root, probe(), limits, DownloadStore(tmp_path)) == []
    prepare = root / "prepare.py"
    prepare.write_text(prepare.read_text().replace("{left}+{right}", "{right}+{left}"))
    changes = trio.run(fix_made_data, root, probe(), limits, DownloadStore(tmp_path))
    assert len([change for change in changes if change.setting.startswith("data.sha256")]) == 3
    assert trio.run(fix_made_data, root, probe(), limits, DownloadStore(tmp_path)) == []
    load_objective(root, root)
    prepare.write_text("raise SystemExit('no data today')")
    with pytest.raises(ObjectiveError, match="no data today"):
        trio.run(fix_made_data, root, probe(), limits, DownloadStore(tmp_path))


@pytest.mark.parametrize("text", ["[budget", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), ""])
def test_settings_that_cannot_be_read_are_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / SETTINGS).write_text(text)
    assert fix_sums(tmp_path) == []
    assert (tmp_path / SETTINGS).read_text() == text


def test_noise_clearly_above_the_declared_is_a_fault_and_its_upper_bound_is_written(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    import_folder(root, NO_CHOICE)
    objective = load_objective(root, root)
    near, far = baseline(0.02), baseline(0.03)
    assert noise_faults(objective, near) == fix_noise(objective, near) == []
    assert "s0 = 0.01 agrees with that" in noise_text(objective, near)
    (fault,) = noise_faults(objective, far)
    assert "declare s0 = 0.093, or let `check --fix` write it" in fault.says
    assert "between 0.014 and 0.092, 9 in 10 sure), from 3 runs" in noise_text(objective, far)
    (change,) = fix_noise(objective, far)
    assert (change.setting, change.before, change.after) == ("statistics.s0", "0.01", "0.093")
    assert "s0 = 0.093\n" in (root / SETTINGS).read_text()
    fixed = load_objective(root, root)
    assert noise_faults(fixed, far) == fix_noise(fixed, far) == []


def test_few_runs_that_are_near_each_other_by_chance_never_lower_the_declared_noise(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    import_folder(root, NO_CHOICE)
    settings = root / SETTINGS
    settings.write_text(settings.read_text().replace("s0 = 0.01", "s0 = 0.02"))
    objective = load_objective(root, root)
    assert fix_noise(objective, baseline(0.0005, runs=3)) == []
    assert advice(objective, baseline(0.0005, runs=3)) is None
    assert fix_noise(objective, baseline(0.006, runs=8)) == []
    assert [change.after for change in fix_noise(objective, baseline(0.002, runs=8))] == ["0.0032"]
    assert fix_noise(objective, baseline(0.002, runs=8, paired=True)) == []  # other edits may differ by more


def test_more_noise_than_a_node_believes_is_capped_and_said(tmp_path: Path) -> None:
    root = example("karpathy", tmp_path)
    import_folder(root, NO_CHOICE)
    objective = load_objective(root, root)
    assert "0.1 is on the safe side" in noise_text(objective, baseline(0.5))
    assert [change.after for change in fix_noise(objective, baseline(0.5))] == ["0.1"]
    capped = load_objective(root, root)
    assert noise_faults(capped, baseline(0.5)) == []
    assert "s0 = 0.1 is below that, and the most that it may be" in noise_text(capped, baseline(0.5))
    told = advice(capped, baseline(0.5))
    assert told is not None
    assert "measure several times within a run" in told


def test_the_noise_of_a_pair_is_worked_out_from_runs_at_several_seeds() -> None:
    found = pair_noise(LOG, [2.0, 2.02, 1.98])
    assert (found.deviation, found.least, found.most) == pytest.approx((0.01414, 0.00659, 0.0436), rel=1e-2)
    linear = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.1)
    assert pair_noise(linear, [-0.5, 0.0, 0.5]).deviation == pytest.approx(2**0.5 * 0.5 / 2.5)
    assert (rounded_up(0.0441), rounded_up(0.044), rounded_up(12.1)) == (0.045, 0.044, 13)


@pytest.mark.parametrize("runs", range(2, 9))
def test_the_true_noise_is_seldom_beyond_the_bounds(runs: int) -> None:
    draw, linear = random.Random(runs), Metric(Direction.HIGHER, Scale.LINEAR, 1.0, 0.1)
    found = [pair_noise(linear, [draw.gauss(0, 1) for _ in range(runs)]) for _ in range(4000)]
    assert sum(each.most < 2**0.5 for each in found) == pytest.approx(400, abs=80)
    assert sum(each.least > 2**0.5 for each in found) == pytest.approx(40, abs=28)


def test_every_check_takes_other_seeds() -> None:
    assert len({*fresh_seeds(), *fresh_seeds()}) == 16

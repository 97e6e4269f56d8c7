"""`objective check --fix` writes what can be worked out into its place, and nothing where nothing is to fix."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import trio

from node.authoring.baseline import Baseline, advice, pair_noise
from node.authoring.fixing import fix_made_data, fix_noise, fix_sums
from node.authoring.importing.recognised import NO_CHOICE
from node.authoring.importing.writing import import_folder
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


def baseline(noise: float, suggested: float, runs: int = 3) -> Baseline:
    return Baseline(1.0, None, 1.0, 1.0, 0.0, 1, noise, suggested, runs, "bwrap")


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


def test_measured_noise_is_written_where_the_declared_one_is_far_off(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    import_folder(root, NO_CHOICE)
    objective = load_objective(root, root)
    assert fix_noise(objective, baseline(0.02, 0.02)) == []
    (change,) = fix_noise(objective, baseline(0.04, 0.04))
    assert (change.setting, change.before, change.after) == ("statistics.s0", "0.01", "0.04")
    assert "s0 = 0.04\n" in (root / SETTINGS).read_text()


def test_more_noise_than_a_node_believes_is_capped_and_said(tmp_path: Path) -> None:
    root = example("karpathy", tmp_path)
    import_folder(root, NO_CHOICE)
    objective = load_objective(root, root)
    assert [change.after for change in fix_noise(objective, baseline(0.5, 0.5))] == ["0.1"]
    told = advice(objective, baseline(0.5, 0.5))
    assert told is not None
    assert "measure several times within a run" in told


def test_the_noise_of_a_pair_is_worked_out_from_runs_at_several_seeds() -> None:
    log = Metric(Direction.LOWER, Scale.LOG, 1.0, 0.1)
    assert pair_noise(log, [2.0, 2.02, 1.98]) == pytest.approx(0.01414, abs=1e-4)
    linear = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.1)
    assert pair_noise(linear, [-0.5, 0.0, 0.5]) == pytest.approx(2**0.5 * 0.5 / 2.5)

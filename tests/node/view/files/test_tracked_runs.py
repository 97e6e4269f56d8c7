"""Runs for tools that track experiments: read back by TensorBoard itself; MLflow is too heavy for every test run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from node.cli.main import main
from node.ledger.outcome import CurvePoint, Outcome
from node.ledger.store import Ledger
from node.view.files import tensorboard_events
from node.view.files.tracked_runs import tracked_runs
from protocol.records import Effect
from tests.node.records_for_tests import experiment
from tests.node.view.conftest import ABOUT, Swarm


def outcome(*losses: float) -> Outcome:
    curve = tuple(CurvePoint((number + 1) / len(losses), loss, 0.0) for number, loss in enumerate(losses))
    return Outcome(2.8, {}, (), 524288, 9.5, 10.0, 0, None, "", "bwrap", curve=curve)


@pytest.fixture
def tried(swarm: Swarm) -> Swarm:
    """The home with one more idea of alice's, whose run at its first seed was made here."""
    swarm.ledger.store_run(swarm.child, 2, "cpu", outcome(4.0, 3.0))
    swarm.write("alice", experiment("../Worse", parent=swarm.child, decision="no_gain", effect=Effect(0.02, 0.01, 1)))
    return swarm


def test_a_run_has_its_settings_its_figures_and_its_curves(tried: Swarm) -> None:
    runs = {run.settings.get("title", run.name): run for run in tracked_runs(tried.ledger)}
    claim = runs["Smaller initialisation"]
    assert claim.record == tried.authors["alice"].records[0].id.hex()
    assert {"category": "initialisation", "class": "cpu", "decision": "improved", "measured": "judged"}.items() <= (
        claim.settings.items()
    )
    assert claim.settings["seeds"] == "2"
    assert claim.figures["gain in per cent"] == pytest.approx(18.13, abs=0.01)
    assert claim.figures["error of gain in per cent"] == pytest.approx(0.82, abs=0.01)
    assert claim.figures["pairs of gain"] == 2
    assert claim.series["val_bpb at checkpoints/this edit"] == [(20, 5.0), (50, 4.5), (100, 4.0)]
    assert claim.series["loss by per cent of the budget/this edit"] == [(50, 4.0), (100, 3.0)]


def test_the_staircase_is_made_of_levels_and_only_goes_up(tried: Swarm) -> None:
    stairs = [run for run in tracked_runs(tried.ledger) if not run.record]
    alice = next(run for run in stairs if len(run.series["best val_bpb"]) == 3)
    levels = [value for _, value in alice.series["best val_bpb"]]
    assert levels[0] == 3.5
    assert levels[1] == levels[2] == pytest.approx(3.5 * 0.8187, abs=0.001)
    assert alice.series["val_bpb tried"][1][1] > levels[1]


def test_values_that_a_command_measured_itself_say_so(returns: Path) -> None:
    ledger = Ledger.read(returns / "ledger.sqlite")
    run = next(run for run in tracked_runs(ledger) if run.settings.get("title") == "First")
    assert run.settings["measured"] == ABOUT.trust == "self-measured"
    assert run.figures["gain"] == pytest.approx(0.2)  # in units of the metric: no per cent
    ledger.close()


def test_tensorboard_reads_what_was_written(tried: Swarm, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator as accumulator

    for _ in range(2):  # made again it replaces what was there
        with pytest.raises(SystemExit) as ended:
            main(["export", "--format", "tensorboard", "--output", str(tmp_path / "events"), "--home", str(tried.home)])
        assert not ended.value.code
    assert len(list((tmp_path / "events").iterdir())) == 5
    claim = tried.authors["alice"].records[0]
    (folder,) = (tmp_path / "events").glob(f"*-{claim.id.hex()[:10]}")
    assert [path.name for path in folder.iterdir()] == [tensorboard_events.FILE]
    read = accumulator.EventAccumulator(str(folder)).Reload()
    (gain,) = read.Scalars("gain in per cent")
    assert gain.value == pytest.approx(18.13, abs=0.01)
    assert gain.wall_time == claim.time / 1000
    curve = read.Scalars("loss by per cent of the budget/this edit")
    assert [(point.step, point.value) for point in curve] == [(50, 4.0), (100, 3.0)]
    assert read.Tensors("title")[0].tensor_proto.string_val == [b"Smaller initialisation"]
    plugin = read.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert b"initialisation" in plugin.content


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tensorboard",), "--output FOLDER"),
        (("mlflow",), "--output FILE.db"),
        (("mlflow", "--output", "runs.db"), "python -m pip install -c constraints.txt -e '.[mlflow]'"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    swarm: Swarm,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)  # also where it is installed
    with pytest.raises(SystemExit) as ended:
        main(["export", "--home", str(swarm.home), "--format", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err

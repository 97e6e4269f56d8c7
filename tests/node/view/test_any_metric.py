"""What everybody sees of a metric that is no loss: higher is better, values cross zero, a command measures itself."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.cli.main import main
from node.ledger.store import Ledger
from node.view.files import plot
from node.view.model.rows import rows_of
from node.view.model.watch import watch_model
from protocol.metric import Direction
from protocol.records import Experiment, Record
from tests.node.records_for_tests import Author
from tests.node.view.conftest import ABOUT, RETURN, VALUES, scored


def ask(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--home", str(home)])
    assert not ended.value.code
    return capsys.readouterr().out


def records(home: Path) -> list[Record]:
    return list(Ledger.read(home / "ledger.sqlite").all_records())


def test_the_leaderboard_has_gains_in_units_of_the_metric(returns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ask(capsys, returns, "leaderboard")
    assert "cartpole · return · self-measured · gain over the baseline" in text
    assert "+0.3500 ±0.0057 (2)" in text  # of both steps: 0.2 and 0.15, errors of 0.004 each
    assert "%" not in text
    board = json.loads(ask(capsys, returns, "leaderboard", "--json"))
    about = {name: board[name] for name in ("metric", "unit", "direction", "scale", "gain_unit", "measured")}
    assert about == {
        "metric": "return", "unit": "points", "direction": "higher", "scale": "linear", "gain_unit": "",
        "measured": "self-measured",
    }  # fmt: skip
    assert [found["title"] for found in board["discoveries"]] == ["First", "Second"]  # the larger gain first
    claimed = board["discoveries"][0]["claimed"]
    assert claimed["gain"] == pytest.approx(0.2)
    assert claimed["gain_se"] == pytest.approx(0.004)
    assert claimed["mean"] == pytest.approx(-0.08)
    assert "gain_percent" not in claimed


def test_a_record_says_beside_every_figure_who_measured_it(returns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ask(capsys, returns, "show", records(returns)[1].id.hex())
    assert "objective: cartpole · return · self-measured" in text
    assert "gain: -0.4000 ± 0.0040 (2 pairs), self-measured: metric -0.4, cost 0.0 (CPU ×1.00" in text
    assert "runs, self-measured" in text
    assert "-0.4000" in text
    assert re.search(r"best gain +\+0.3500 ± 0.0057 \(2 pairs\), self-measured", ask(capsys, returns, "status"))
    assert "cartpole · return · self-measured" in ask(capsys, returns, "strategy")
    assert "cartpole · self-measured" in ask(capsys, returns, "watch")


def test_the_strategy_is_in_units_of_the_metric(returns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(ask(capsys, returns, "strategy", "--json"))
    assert found["noise"] == pytest.approx(0.0025)
    assert found["arms"][0]["gain"] == pytest.approx(0.025)  # of the default prior: a J of 0.01
    assert "gain_percent" not in found["arms"][0]
    assert "to gain +0.025, for" in found["why"]


def test_the_best_of_a_class_rises_through_zero(returns: Path) -> None:
    ledger = Ledger.read(returns / "ledger.sqlite")
    (best,) = watch_model(ledger)["classes"]
    assert best["values"] == pytest.approx(VALUES)


def heights(svg: str) -> list[float]:
    """The places of the staircase, from its beginning to its end; a larger one is further down."""
    (path,) = re.findall(r'<path d="(M[^"]+)" fill="none"', svg)
    return [float(number) for number in re.findall(r"(?:M[\d.]+ |V)([\d.]+)", path)]


def test_the_staircase_of_a_plot_climbs_where_higher_is_better(returns: Path) -> None:
    svg = plot.progress(rows_of(records(returns)), ABOUT, "this node")
    assert "return (higher is better, self-measured) over the number" in svg
    assert "best return 0.1500, self-measured" in svg
    baseline, first, second = heights(svg)
    assert second < first < baseline
    falling = replace(ABOUT, measure=replace(RETURN, direction=Direction.LOWER))
    assert len(heights(plot.progress(rows_of(records(returns)), falling, "this node"))) == 2


@pytest.mark.parametrize("values", [(0.0, 0.0), (-1e-9, -2e-9), (1e12, 1.1e12), (-5.0, 5.0)])
@pytest.mark.parametrize("direction", list(Direction))
def test_a_plot_holds_values_of_any_size(values: tuple[float, float], direction: Direction) -> None:
    metric = replace(RETURN, direction=direction)
    alice = Author("alice")
    bodies: Iterable[Experiment] = (replace(scored("One", *values), metric=metric), scored("Two", *reversed(values)))
    rows = rows_of([alice.write(body) for body in bodies])
    numbers = re.findall(r'c[xy]="([^"]+)"', plot.progress(rows, replace(ABOUT, measure=metric), "all"))
    assert numbers
    assert all(0 <= float(number) <= plot.WIDTH for number in numbers)


def test_the_report_says_how_gains_are_meant_and_who_measured(returns: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path / "report.html"), "--home", str(returns)])
    text = (tmp_path / "report.html").read_text()
    assert "Laboratory report: cartpole, return, self-measured" in text
    assert "return: higher is better. A gain is the difference in return (points)" in text
    assert "No judge stands between the two" in text
    assert "Claimed gain: +0.2000 ± 0.0040 (2 pairs), self-measured" in text
    assert "gain, self-measured, with 95 % intervals" in text


def test_exports_name_the_unit_and_who_measured(
    returns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--format", "csv", "--output", str(tmp_path / "table.csv"), "--home", str(returns)])
    with (tmp_path / "table.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["value"], first["gain"], first["gain_unit"], first["gain_percent"]) == ("0.0", "0.2", "", "")
    assert first["measured"] == "self-measured"
    lines = ask(capsys, returns, "export").splitlines()
    assert {json.loads(line)["measured"] for line in lines} == {"self-measured"}

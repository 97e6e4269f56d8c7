"""An objective of a person's own prices: how it is made, how time is split, and what is weaker in it."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from node.authoring.portfolio import begin_portfolio, by_chance
from node.authoring.prices import Prices, decode
from node.authoring.template import TEMPLATES
from node.cli.main import main
from node.objective.load import load_objective
from node.objective.schema import Kind
from tests.objectives.portfolio.in_process import BASELINE, PORTFOLIO, Session, judge_module

DAYS, ASSETS = 900, 10


def closes(seed: int = 1) -> NDArray[np.float64]:
    return np.asarray(100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (DAYS, ASSETS)), axis=0)))


def prices() -> Prices:
    days = tuple(date(2018, 1, 1) + timedelta(n) for n in range(DAYS))
    rows = tuple(tuple(float(close) for close in row) for row in closes())
    return Prices(tuple(f"A{n}" for n in range(ASSETS)), days, rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    begin_portfolio(tmp_path / "own", "own prices", prices())
    return tmp_path / "own"


def session(folder: Path, source: str = BASELINE, seed: int = 1) -> Session:
    return Session(source, seed, {"prices": (folder / "prices.bin").read_bytes()})


def test_it_is_a_valid_objective_whose_prices_the_judge_alone_sees(folder: Path) -> None:
    objective = load_objective(folder, folder / "data")
    assert (objective.kind, objective.name) == (Kind.PROGRAM, "own prices")
    assert [(data.name, data.room) for data in objective.data] == [("prices", "judge")]
    assert objective.program is not None
    assert objective.program.causal
    years = 0.35 * DAYS / 365.25
    assert objective.statistics.minimum_effect * objective.measure.unit == pytest.approx(by_chance(years), abs=0.006)


def test_the_same_seed_gives_the_same_score_and_another_another_stretch(folder: Path) -> None:
    judge = judge_module(folder)
    first, again, other = (judge.judge(session(folder, seed=seed), seed, "val") for seed in (1, 1, 2))
    assert first == again
    assert first["value"] != other["value"]
    assert first["observations"] < 0.35 * DAYS, "portfolios over the same days are no more observations"


def test_time_is_split_in_order_with_days_between_that_count_for_neither(folder: Path) -> None:
    judge = judge_module(folder)
    splits = judge.splits(DAYS - 1)
    assert 0.35 * DAYS < splits["val"][0] < splits["val"][1]
    assert splits["holdout"][0] == splits["val"][1] + judge.EMBARGO
    assert splits["holdout"][1] == DAYS - 1
    for split, (first, end) in splits.items():
        found = [judge.stretch(np.random.default_rng(seed), first, end) for seed in range(50)]
        assert all(first <= begin < last <= end for begin, last in found), split
        assert len(set(found)) > 20


def test_a_strategy_is_shown_the_days_in_order_and_all_portfolios_the_same_day(folder: Path) -> None:
    judge, asked = judge_module(folder), session(folder)
    days: list[NDArray[np.float64]] = []
    remember = asked.program.remember

    def noting(task: object, returns: NDArray[np.float64], volumes: NDArray[np.float64]) -> None:
        days.append(returns)
        remember(task, returns, volumes)

    asked.program.__dict__["remember"] = noting
    judge.judge(asked, 1, "val")
    real = closes()[1:] / closes()[:-1] - 1
    for day, shown in enumerate(days):
        assert shown.shape == (8, 5)
        assert {round(float(value), 12) for value in shown.flat} <= {round(float(value), 12) for value in real[day]}
    assert len(days) < judge.splits(DAYS - 1)["val"][1]


def test_a_place_in_the_input_says_nothing_of_an_asset(folder: Path) -> None:
    judge = judge_module(folder)
    found = [judge.portfolios(np.random.default_rng(seed), ASSETS) for seed in range(40)]
    assert all(len(set(row)) == 5 for rows in found for row in rows.tolist())
    assert {int(rows[0][0]) for rows in found} == set(range(ASSETS))


def test_a_source_pays_for_what_it_has_grown_by(folder: Path) -> None:
    judge, grown = judge_module(folder), session(folder)
    grown.source_growth = 1000
    plain, paid = judge.judge(session(folder), 1, "val"), judge.judge(grown, 1, "val")
    assert plain["value"] - paid["value"] == pytest.approx(1000 * judge.PRICE)


BY_HEART = """
import numpy as np

KNOWN = np.array({known})  # the return of each asset on its very first day, and how it did in validation

def prepare(task):
    first = task.arrays["returns"][0]
    near = np.abs(first[:, :, None] - KNOWN[0]).argmin(axis=2)
    task.weights = np.sign(KNOWN[1][near]) / 10

def answer(task, inputs):
    return task.weights
"""


def test_what_was_learnt_by_heart_passes_on_validation_and_the_holdout_shows_it(folder: Path) -> None:
    """What is weaker than in drawn markets, and why the page says so."""
    judge = judge_module(folder)
    real = closes()[1:] / closes()[:-1] - 1
    first, end = judge.splits(DAYS - 1)["val"]
    known = np.stack([real[0], real[first:end].mean(axis=0)]).round(5).tolist()
    source = BY_HEART.replace("{known}", repr(known))
    values = {
        split: [judge.judge(session(folder, source, seed), seed, split)["value"] for seed in range(1, 6)]
        for split in ("val", "holdout")
    }
    assert np.mean(values["val"]) > 1
    assert np.mean(values["holdout"]) < 0.5 * np.mean(values["val"])


def test_the_accounts_are_those_of_the_embedded_objective() -> None:
    """An objective's files are whole by themselves, so the template has them too."""
    accounts = [
        re.search(r"# ---- what becomes of the money.*?\n\n\n(def limited.*?)(?=\n\n\n# ----|\Z)", text, re.DOTALL)
        for text in ((PORTFOLIO / "judge.py").read_text(), (TEMPLATES["portfolio"] / "judge.py").read_text())
    ]
    embedded, template = [found.group(1).strip() for found in accounts if found]
    assert embedded == template


def test_the_command_makes_one_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = prices()
    rows = [f"{day}," + ",".join(map(str, row)) for day, row in zip(made.dates, made.rows, strict=True)]
    (tmp_path / "prices.csv").write_text("\n".join(["date," + ",".join(made.assets), *rows]))
    assert decode((tmp_path / "prices.csv").read_text()) == made
    with pytest.raises(SystemExit) as ended:
        main(["objective", "new", str(tmp_path / "own"), "--data", str(tmp_path / "prices.csv")])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "10 assets, 900 days from 2018-01-01 to 2020-06-18, 365 a year" in said
    assert "nothing below a gain of 0.48 is claimed" in said
    assert "no advice" in said
    assert load_objective(tmp_path / "own", tmp_path).name == "own"


def test_what_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prices.csv").write_text("date,A\n2020-01-01,\n")
    for arguments, says in (
        (["--data", str(tmp_path / "prices.csv")], "prices.csv: line 2: there is no price of 'A' on 2020-01-01"),
        (["--template", "portfolio"], "a portfolio is made of prices"),
        (["--template", "program", "--data", str(tmp_path / "prices.csv")], "a portfolio is made of prices"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["objective", "new", str(tmp_path / "own"), *arguments])
        assert ended.value.code == 2
        assert says in capsys.readouterr().err
        assert not (tmp_path / "own").exists()

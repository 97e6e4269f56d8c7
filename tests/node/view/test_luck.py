"""How far luck goes: the two figures by their papers' examples and on noise, and what a report says of real runs."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import fmean

import pytest

from node.ledger.outcome import Outcome
from node.view.files.report import Table, report
from node.view.model.luck import deflated_sharpe, expected_best, luck, overfitting_probability
from tests.node.view.conftest import Swarm

PARTS = 8


def noise(strategies: int, seed: int) -> list[list[float]]:
    dice = random.Random(seed)
    return [[dice.gauss(0, 1) for _ in range(PARTS)] for _ in range(strategies)]


def test_the_example_of_the_paper() -> None:
    """Bailey and López de Prado (2014): 2.5 a year for 5 years of 250 days, best of 100 tries with variance 1/2."""
    threshold = expected_best((0.5 / 250) ** 0.5, 100)
    assert threshold == pytest.approx(0.1132, abs=2e-4)
    assert deflated_sharpe(2.5 / 250**0.5, threshold, 1250, -3, 10) == pytest.approx(0.9004, abs=2e-3)


def test_the_best_of_many_is_as_high_as_theory_has_it() -> None:
    dice = random.Random(1)
    bests = [max(dice.gauss(0, 1) for _ in range(200)) for _ in range(400)]
    assert expected_best(1.0, 200) == pytest.approx(fmean(bests), abs=0.1)
    assert expected_best(1.0, 1) == 0


def test_the_best_of_noise_is_overfitted_half_of_the_time_and_skill_is_not() -> None:
    of_noise = [overfitting_probability(noise(30, seed)) for seed in range(12)]
    assert fmean(of_noise) == pytest.approx(0.5, abs=0.15)
    skilled = [[value + 3 for value in row] if number == 4 else row for number, row in enumerate(noise(30, 1))]
    assert overfitting_probability(skilled) < 0.05


def outcome(value: float, dice: random.Random) -> Outcome:
    metrics = {"observations": 1000.0, "days_a_year": 252.0, "skew": 0.0, "kurtosis": 5.0, "turnover_a_year": 12.0}
    parts = {f"sharpe_part_{part}": dice.gauss(value, 0.1) for part in range(1, PARTS + 1)}
    return Outcome(value, metrics | parts, (), 0, 1.0, 1.0, 1, None, "", "bwrap")


async def test_a_report_on_sharpe_ratios_says_it_and_others_do_not(tmp_path: Path) -> None:
    swarm, dice = Swarm(tmp_path / "home"), random.Random(2)
    assert luck(swarm.ledger) is None
    for number in range(20):
        source = swarm.ledger.put_blob(f"source {number}".encode())
        swarm.ledger.store_run(source, 7, "cpu", outcome(0.1 * number, dice))
    found = luck(swarm.ledger)
    assert found is not None
    assert (found.tries, found.sharpe) == (20, pytest.approx(1.9))
    assert 1.0 < found.expected_best < 1.2
    assert 0.9 < found.deflated < 0.97  # 0.8 above what luck explains, in four years
    assert found.overfitting is not None
    assert (found.overfitting.sources, found.overfitting.splits) == (20, 70)
    assert found.overfitting.probability == 0
    tables = [block for block in await report(swarm.ledger) if isinstance(block, Table)]
    assert any(("sources run here", "20") in table.rows for table in tables)
    assert any(("of the best: turnover_a_year", "12") in table.rows for table in tables)

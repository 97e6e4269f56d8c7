"""What is shown of a strategy that looks ahead, of a lucky one and of an honest one, in one small market."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from scripts.fooling_oneself import COLUMNS, table  # noqa: E402
from tests.objectives.portfolio.in_process import BASELINE  # noqa: E402


def test_of_three_that_look_good_two_are_found_out() -> None:
    slower = BASELINE.replace("TREND_DAYS = 60", "TREND_DAYS = 120")
    careless, ahead, lucky, honest = table(3, 2, 60, [BASELINE, slower])
    assert careless.chosen.val["value"] > 15, "a backtest that credits the same day's return shows a miracle"
    assert ahead.chosen.val["value"] < 0, "the judge sends that return too late"
    assert lucky.chosen.val["value"] > 0.5, "the best of sixty without skill"
    assert abs(sum(one.holdout["value"] for one in lucky.tries)) / 60 < 0.3
    deflated = {row.name: float(row.cells()[COLUMNS.index("deflated")]) for row in (lucky, honest)}
    assert deflated[lucky.name] < 0.9, "given sixty tries it is no surprise"
    assert len(honest.cells()) == len(COLUMNS)

"""What the judge of portfolios counts, and what becomes of attempts to be scored better than one is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.objectives.portfolio.in_process import BASELINE, SMALL, Session, judge_module, score

Array = NDArray[np.float64]
SEEDS = (1, 2, 3)
HEAD = "import numpy as np\ndef answer(task, inputs):\n    returns = inputs['returns']\n"


@pytest.fixture(scope="module")
def judge() -> Any:
    return judge_module(**SMALL)


def value(source: str, judge: Any) -> float:
    return float(np.mean([score(source, seed, judge=judge)["value"] for seed in SEEDS]))


def test_the_baseline_earns_something_and_the_same_seed_gives_the_same_numbers(judge: Any) -> None:
    first, again = score(BASELINE, judge=judge), score(BASELINE, judge=judge)
    assert first == again
    assert first["value"] > 0.2
    assert first["sharpe_before_costs"] > first["value"]
    assert 0 < first["worst_drawdown"] < 1
    other, holdout = score(BASELINE, 2, judge=judge), score(BASELINE, split="holdout", judge=judge)
    assert len({first["value"], other["value"], holdout["value"]}) == 3


def test_the_holdout_is_what_came_next_in_the_same_markets(judge: Any) -> None:
    seen = {split: days_seen(judge, split) for split in ("val", "holdout")}
    assert np.array_equal(seen["holdout"][: judge.HISTORY - 1], seen["val"][judge.DAYS :])
    asked = seen["holdout"][judge.HISTORY :]
    assert len(asked) == judge.DAYS - 1
    assert not {day.tobytes() for day in asked} & {day.tobytes() for day in seen["val"]}


def days_seen(judge: Any, split: str) -> Array:
    """The returns of all days that a strategy is shown, (days, markets, assets)."""
    session = Session(BASELINE, 7)
    days: list[Array] = []
    remember = session.program.remember

    def noting(task: object, returns: Array, volumes: Array) -> None:
        days.append(returns)
        remember(task, returns, volumes)

    session.program.__dict__["remember"] = noting
    judge.judge(session, 7, split)
    return np.stack(days)


# ---- the accounts ---------------------------------------------------------------------------------------------------


def book(
    judge: Any, weights: list[float], returns: list[float], spread: float = 0.0, impact: float = 0.0
) -> dict[str, Array]:
    """One market with one asset. weights: after each day but the last."""
    shape = (-1, 1, 1)
    booked: dict[str, Array] = judge.account(
        np.reshape(np.array(weights), shape),
        np.reshape(np.array(returns), shape),
        np.ones((len(returns), 1, 1)),
        np.full((1, 1), spread),
        np.full((1, 1), impact),
    )
    return booked


def test_a_weight_earns_the_return_of_the_next_day_and_never_of_its_own(judge: Any) -> None:
    booked = book(judge, [0.0, 1.0, 0.0], [0.5, 0.5, 0.1, 0.5])
    assert booked["net"][:, 0].tolist() == pytest.approx([0.0, 0.1, 0.0])


def test_a_change_of_mind_costs_half_the_spread_and_an_impact_that_grows_with_its_size(judge: Any) -> None:
    assert book(judge, [0.5], [0, 0], spread=0.001)["costs"][0, 0] == pytest.approx(0.0005)
    small, large = (book(judge, [size], [0, 0], impact=0.01)["costs"][0, 0] for size in (0.1, 0.4))
    assert large / small == pytest.approx(4**1.5)
    kept = book(judge, [0.5, 0.5 * 1.1 / 1.05], [0, 0.1, 0])
    assert kept["traded"][1, 0] == pytest.approx(0, abs=1e-12), "what a weight has grown to by itself was not traded"


def test_being_short_and_borrowing_cost_interest(judge: Any) -> None:
    short, long, borrowed = (book(judge, [size], [0, 0])["costs"][0, 0] for size in (-0.5, 0.5, 1.5))
    assert short == borrowed == pytest.approx(0.5 * judge.BORROWING / judge.YEAR)
    assert long == 0


def test_who_has_lost_everything_trades_no_more(judge: Any) -> None:
    booked = book(judge, [2.0] * 9, [0, -0.6] + [0.9] * 8)
    assert booked["net"][:, 0].tolist() == [-1] + [0] * 8
    assert judge.scores(booked)["value"] < 0
    assert judge.scores(booked)["worst_drawdown"] == 1


# ---- attempts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", ["np.nan", "np.inf", "-np.inf"])
def test_what_is_no_number_is_rejected(judge: Any, weight: str) -> None:
    with pytest.raises(judge.Rejected, match="not finite"):
        score(HEAD + f"    return np.where(returns > 0, {weight}, 0.0)\n", judge=judge)


def test_huge_weights_are_scaled_to_what_a_broker_allows(judge: Any) -> None:
    found = score(HEAD + "    return 1e300 * np.sign(returns)\n", judge=judge)
    assert found["leverage"] <= judge.MOST_GROSS + 1e-9
    assert np.abs(judge.limited(np.array([[1e308, -1e308, 0.0]]))).max() == judge.MOST_OF_ONE


def test_looking_ahead_finds_nothing_because_nothing_was_sent(judge: Any) -> None:
    """The best that a strategy can do with the latest day is hold what rose in it, which is not what will rise."""
    late = HEAD + "    return np.sign(returns)\n"
    assert value(late, judge) < 0.5
    ahead = judge_module(**SMALL)
    booked = ahead.account
    ahead.account = lambda weights, returns, **more: booked(weights, np.roll(returns, 1, axis=0), **more)
    assert value(late, ahead) > 20, "if a weight earned its own day's return, this would be found"


def test_cash_is_worth_nothing_and_next_to_nothing_is_not_worth_more(judge: Any) -> None:
    assert score(HEAD + "    return 0 * returns\n", judge=judge)["value"] == 0
    whisper = BASELINE.replace("LEVERAGE = 1.0", "LEVERAGE = 0.0001")
    assert abs(value(whisper, judge)) < 0.1 * value(BASELINE, judge)


def test_more_leverage_gains_nothing(judge: Any) -> None:
    assert value(BASELINE.replace("LEVERAGE = 1.0", "LEVERAGE = 2.0"), judge) <= value(BASELINE, judge) + 0.02


def test_turning_everything_over_daily_costs_what_it_costs(judge: Any) -> None:
    flips = "import numpy as np\nday = [0]\ndef answer(task, inputs):\n    day[0] += 1\n"
    flips += "    return 0.08 * (-1.0) ** day[0] * np.ones_like(inputs['returns'])\n"
    found = score(flips, judge=judge)
    assert found["value"] < -2
    assert found["costs_a_year"] > 0.3


MARTINGALE = """
import numpy as np

def answer(task, inputs):
    equity = getattr(task, "equity", np.ones((len(inputs["returns"]), 1)))
    held = getattr(task, "held", np.zeros_like(inputs["returns"]))
    task.equity = equity * (1 + (held * inputs["returns"]).sum(axis=1, keepdims=True))
    behind = task.equity < 1.02
    dice = np.random.default_rng(len(getattr(task, "days", [])))
    task.days = [*getattr(task, "days", []), 0]
    bets = np.sign(dice.normal(size=held.shape))
    size = np.clip(0.02 / np.maximum(task.equity, 0.1) ** 4, 0.02, 0.08)
    task.held = np.where(behind, size, 0.0) * bets
    return task.held
"""


def test_stopping_when_ahead_and_risking_more_when_behind_gains_nothing_without_skill() -> None:
    """With one market this game does raise the ratio of a strategy without any edge; pooled, it does not."""
    judge = judge_module(**SMALL)
    draw = judge.draw_market
    judge.draw_market = lambda generator, days: (
        draw(generator, days)
        | {"half_spread": np.zeros((judge.MARKETS, judge.ASSETS)), "impact": np.zeros((judge.MARKETS, judge.ASSETS))}
    )
    assert value(MARTINGALE, judge) < 0.3


def test_what_was_learned_by_heart_is_worth_nothing_in_another_draw(judge: Any) -> None:
    """The weights that were best for each asset in one run's markets, held in those of others."""
    market = judge.draw_market(Session(BASELINE, 1).generator, judge.HISTORY + 2 * judge.DAYS)
    asked = market["returns"][judge.HISTORY : judge.HISTORY + judge.DAYS]
    best = np.sign(asked.mean(axis=0)) * np.abs(asked.mean(axis=0)) / asked.var(axis=0)
    by_heart = f"import numpy as np\nBEST = np.array({(best / 400).round(3).tolist()})\n"
    by_heart += "def answer(task, inputs):\n    return BEST\n"
    assert score(by_heart, 1, judge=judge)["value"] > 1.5
    assert np.mean([score(by_heart, seed, judge=judge)["value"] for seed in (2, 3, 4, 5)]) < 0.5


# ---- the markets ----------------------------------------------------------------------------------------------------


def test_returns_have_what_is_known_of_returns() -> None:
    judge = judge_module(MARKETS=16)
    returns = judge.draw_market(Session(BASELINE, 3).generator, 1200)["returns"]
    assert returns.min() > -1
    scaled = (returns - returns.mean(axis=0)) / returns.std(axis=0)
    assert (scaled**4).mean() > 6, "tails are fat"
    wild = np.abs(returns)
    clustering = [np.corrcoef(wild[:-1, m, 0], wild[1:, m, 0])[0, 1] for m in range(16)]
    assert np.mean(clustering) > 0.1
    whole = np.abs(returns.mean(axis=2))
    calm, storm = whole < np.quantile(whole, 0.5, axis=0), whole > np.quantile(whole, 0.8, axis=0)
    together = [np.mean([correlation(returns[chosen[:, m], m]) for m in range(16)]) for chosen in (calm, storm)]
    assert together[1] > together[0] + 0.1, "what moves much moves together"


def correlation(returns: Array) -> float:
    """The mean over pairs of assets."""
    matrix = np.asarray(np.corrcoef(returns.T))
    return float(matrix[np.triu_indices(returns.shape[1], 1)].mean())

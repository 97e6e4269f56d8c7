"""The judge: what a strategy earns per risk, after costs, on prices that somebody has.

It sends one day at a time and gets the weights to hold until the end of the next; what comes next has not been sent.
Time is split in order: what a strategy may learn from, then validation, then days that count for neither, then the
holdout. In each run the judge draws a stretch of the split and several portfolios of some of the assets, all over the
same days, in an order that is drawn as well.

There is one history. It can be learnt by heart: a source of a few bytes that names what rose is right in it, and no
judge can tell that from skill. What is done against it: columns are drawn, so that a place in the input says nothing of
an asset; a source pays for what it has grown by; the search never sees the holdout. What remains is for a reader to
know, and for prices that do not exist yet.
"""

import struct

import numpy as np

LEARNED, VALIDATION = 0.4, 0.35  # shares of the history; what is left after EMBARGO days is the holdout
EMBARGO = 20  # days between validation and holdout that count for neither: trends and volatility last that long
STRETCH = 0.7  # the share of a split that one run asks for
PORTFOLIOS, MOST_ASSETS = 8, 24  # of one run; assets in each: half of those there are
PARTS = 8  # of the asked time, whose Sharpe ratios are reported too
PRICE = 0.0002  # of each byte that a source has grown by, compressed, in units of the score

HALF_SPREAD = 0.0005  # what trading costs, as a share of what is traded
IMPACT = 0.001  # and more where much of the equity is traded at once: times the root of that share
MOST_GROSS = 2.0  # the sum of all weights without their signs, as shares of the equity; what is above is scaled down
MOST_OF_ONE = 0.25
BORROWING = 0.03  # what a year of being short costs, and of holding more than the equity
LEAST_VOLATILITY = 0.02  # a year's; below it risk counts as this much, so that doing next to nothing is worth nothing
YEAR = 252  # periods; read_prices has what the dates say

HEAD = struct.Struct("<IId")  # assets, days, days a year


class Rejected(Exception):
    """What the strategy answered is no portfolio; the text says why."""


def judge(session, seed, split):
    """Score a strategy on a split, "val" or "holdout". Returns finite numbers by name: "value" is the score."""
    prices = read_prices(session.data["prices"])
    returns = prices[1:] / prices[:-1] - 1
    dice = session.generator(split)
    begin, end = stretch(dice, *splits(len(returns))[split])
    chosen = portfolios(dice, returns.shape[1])
    together = np.stack([returns[:, each] for each in chosen], axis=1)
    shape = together.shape[1:]
    costs = {"half_spread": np.full(shape, HALF_SPREAD), "impact": np.full(shape, IMPACT)}
    session.prepare(returns=together[:begin], volumes=np.ones((begin, *shape)), **costs)
    asked = together[begin:end]
    days = [{"returns": day, "volumes": np.ones(shape)} for day in asked]
    answers = np.stack(list(session.stream(days[:-1], shape=shape))).astype(np.float64)
    if not np.isfinite(answers).all():
        raise Rejected("a weight is not finite")
    found = scores(account(limited(answers), asked, np.ones_like(asked), **costs))
    grown = PRICE * session.source_growth
    return found | {"value": found["value"] - grown, "price_of_length": grown, "observations": end - begin - 1}


# ---- one history ----------------------------------------------------------------------------------------------------


def read_prices(content):
    """The closes, (days, assets). What a year of them has is noted: markets differ in how many days they are open."""
    global YEAR
    assets, days, YEAR = HEAD.unpack_from(content)
    return np.frombuffer(content, dtype="<f8", offset=HEAD.size).reshape(days, assets)


def splits(days):
    """(first, end) of each split, in order of time."""
    learned, validation = int(LEARNED * days), int(VALIDATION * days)
    return {"val": (learned, learned + validation), "holdout": (learned + validation + EMBARGO, days)}


def stretch(dice, first, end):
    """A part of a split without gaps: a strategy lives through it as it was."""
    length = int(STRETCH * (end - first))
    begin = first + int(dice.integers(0, end - first - length + 1))
    return begin, begin + length


def portfolios(dice, assets):
    """Which assets are in each portfolio, in an order that is drawn. (PORTFOLIOS, assets of one)."""
    size = min(MOST_ASSETS, max(assets // 2, min(assets, 3)))
    return np.stack([dice.permutation(assets)[:size] for _ in range(PORTFOLIOS)])


# ---- what becomes of the money --------------------------------------------------------------------------------------


def limited(weights):
    """Weights within what a broker lets one hold: of each asset, and of all together."""
    weights = np.clip(weights, -MOST_OF_ONE, MOST_OF_ONE)
    gross = np.abs(weights).sum(axis=-1, keepdims=True)
    return weights * np.minimum(1.0, MOST_GROSS / np.maximum(gross, 1e-12))


def account(weights, returns, volumes, half_spread, impact):
    """What each day brought in each market, as shares of the equity: (days - 1, markets), by name.

    weights: (days - 1, markets, assets), decided at the end of a day and held until the end of the next. returns,
    volumes: (days, markets, assets). Trading costs half the spread, and an impact that grows as the square root of the
    traded share of the day's volume. Whoever has lost everything trades no more.
    """
    held = np.zeros(weights.shape[1:])
    solvent = np.ones(weights.shape[1], dtype=bool)
    net, costs, traded, gross = (np.zeros(weights.shape[:2]) for _ in range(4))
    for day, wanted in enumerate(weights):
        wanted = wanted * solvent[:, None]
        trade = np.abs(wanted - held)
        cost = trade * (half_spread + impact * np.sqrt(trade / volumes[day]))
        interest = np.maximum(-wanted, 0).sum(axis=1) + np.maximum(wanted.sum(axis=1) - 1, 0)
        costs[day] = cost.sum(axis=1) + BORROWING / YEAR * interest
        grown = wanted * (1 + returns[day + 1])
        net[day] = np.maximum((grown - wanted).sum(axis=1) - costs[day], -solvent.astype(float))
        solvent &= net[day] > -1
        held = grown * solvent[:, None] / np.where(solvent, 1 + net[day], 1)[:, None]
        traded[day], gross[day] = trade.sum(axis=1), np.abs(wanted).sum(axis=1)
    return {"net": net, "costs": costs, "traded": traded, "gross": gross}


def sharpe(returns):
    """The annual Sharpe ratio of daily returns; risk counts as LEAST_VOLATILITY at least."""
    return np.sqrt(YEAR) * returns.mean() / max(returns.std(), LEAST_VOLATILITY / np.sqrt(YEAR))


def scores(booked):
    """The numbers of one run, from what `account` returns."""
    net = booked["net"]
    equity = np.cumprod(1 + net, axis=0)
    drawdown = 1 - equity / np.maximum(np.maximum.accumulate(equity, axis=0), 1)
    centred = (net - net.mean()) / max(net.std(), 1e-12)
    found = {
        "value": sharpe(net),
        "sharpe_before_costs": sharpe(net + booked["costs"]),
        "observations": net.size,
        "days_a_year": YEAR,
        "skew": (centred**3).mean(),
        "kurtosis": (centred**4).mean(),
        "return_a_year": YEAR * net.mean(),
        "volatility_a_year": np.sqrt(YEAR) * net.std(),
        "costs_a_year": YEAR * booked["costs"].mean(),
        "turnover_a_year": YEAR * booked["traded"].mean(),
        "leverage": booked["gross"].mean(),
        "worst_day": net.min(),
        "mean_drawdown": drawdown.max(axis=0).mean(),
        "worst_drawdown": drawdown.max(),
        "markets_with_loss": (equity[-1] < 1).mean(),
    }
    parts = np.array_split(net, PARTS)
    return found | {f"sharpe_part_{number}": sharpe(part) for number, part in enumerate(parts, 1)}

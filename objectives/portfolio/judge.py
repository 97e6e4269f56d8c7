"""The judge: what a strategy earns per risk, after costs, in markets that are drawn for this run alone.

It sends one day at a time and gets the weights to hold until the end of the next; what comes next has not been sent.
The markets are drawn from the session's generator: how strong each effect in them is, which way it works, which assets
lead which, and how costly each is to trade. So nothing about them can be known beforehand, and a rule pays only if it
finds out, from past days, what pays here.

The score is the annual Sharpe ratio of all days of all markets, pooled. A single ratio of one path could be raised
without any skill, by risking less after luck and more after losses; over forty markets that averages out.
"""

import numpy as np

MARKETS, ASSETS, SECTORS = 40, 24, 4
HISTORY, DAYS = 500, 1000  # shown before; asked for, on validation and again, later in the same markets, on holdout
YEAR = 252
PARTS = 8  # of the asked time, whose Sharpe ratios are reported too

MOST_GROSS = 2.0  # the sum of all weights without their signs, as shares of the equity; what is above is scaled down
MOST_OF_ONE = 0.25
BORROWING = 0.01  # what a year of being short costs, and of holding more than the equity
LEAST_VOLATILITY = 0.02  # a year's; below it risk counts as this much, so that doing next to nothing is worth nothing

# Sorts of days: quiet, nervous, crisis. How long they last, by how much they move, how much of it in common, and the
# annual drift of what is common.
LASTS = np.array([[120, 400], [30, 120], [8, 40]])
NEXT = np.array([[0, 0.85, 0.15], [0.7, 0, 0.3], [0.3, 0.7, 0]])
MOVES, COMMON, DRIFT = np.array([0.8, 1.3, 2.6]), np.array([0.8, 1.1, 1.6]), np.array([0.1, 0.0, -0.5])


class Rejected(Exception):
    """What the strategy answered is no portfolio; the text says why."""


def judge(session, seed, split):
    """Score a strategy on a split, "val" or "holdout". Returns finite numbers by name: "value" is the score."""
    market = draw_market(session.generator, HISTORY + 2 * DAYS)
    begin = HISTORY if split == "val" else HISTORY + DAYS
    past, asked = slice(begin - HISTORY, begin), slice(begin, begin + DAYS)
    session.prepare(
        returns=market["returns"][past],
        volumes=market["volumes"][past],
        half_spread=market["half_spread"],
        impact=market["impact"],
    )
    days = [
        {"returns": returns, "volumes": volumes}
        for returns, volumes in zip(market["returns"][asked], market["volumes"][asked], strict=True)
    ]
    answers = np.stack(list(session.stream(days[:-1], shape=(MARKETS, ASSETS)))).astype(np.float64)
    if not np.isfinite(answers).all():
        raise Rejected("a weight is not finite")
    held = {name: market[name][asked] for name in ("returns", "volumes")}
    return scores(account(limited(answers), **held, half_spread=market["half_spread"], impact=market["impact"]))


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


# ---- the markets ----------------------------------------------------------------------------------------------------


def draw_market(generator, days):
    """Markets of which nobody knows anything: daily returns and volumes, and what trading costs.

    A strategy is shown sums of several draws and never one as it is, but for the costs, which have a generator of their
    own. Returns arrays by name: returns and volumes (days, markets, assets), half_spread and impact (markets, assets).
    """
    shape = (MARKETS, ASSETS)
    dice = generator("market")
    kind = draw_regimes(dice, days)
    usual = np.exp(dice.uniform(np.log(0.008), np.log(0.022), shape))  # daily volatility of an asset's own
    strain = wander(dice, days, (MARKETS, 1), 0.985, 0.25) + wander(dice, days, shape, 0.95, 0.2)
    volatility = usual * MOVES[kind][:, :, None] * np.exp(strain)
    own = volatility * fat_tailed(dice, (days, *shape), dice.uniform(3.5, 8, (MARKETS, 1)))
    sector = dice.integers(0, SECTORS, shape)
    common = draw_common(dice, kind, np.exp(strain.mean(axis=2)), sector)
    returns = own + common + volatility * draw_edges(dice, own / volatility, common / usual, sector)
    volumes = np.exp(wander(dice, days, shape, 0.8, 0.3) + 0.7 * (strain + np.log(MOVES)[kind][:, :, None]))
    costs = generator("costs")
    size = costs.uniform(0, 1, shape)  # of an asset: 1 is the smallest and dearest to trade
    return {
        "returns": np.expm1(np.clip(returns, -0.6, 0.6)),
        "volumes": volumes,
        "half_spread": 0.0002 + 0.0008 * size**2,
        "impact": 0.014 * np.exp(costs.uniform(np.log(0.05), np.log(0.2), shape)) * (0.5 + size),
    }


def wander(dice, days, shape, persistence, spread):
    """Processes that wander about 0, with `spread` as their standard deviation in the long run. (days, *shape)."""
    steps = dice.normal(size=(days, *shape)) * spread * np.sqrt(1 - np.square(persistence))
    steps[0] = steps[0] / np.sqrt(1 - np.square(persistence))
    for day in range(1, days):
        steps[day] += persistence * steps[day - 1]
    return steps


def fat_tailed(dice, shape, freedom):
    """Student's t with so many degrees of freedom for each market, scaled to a variance of 1."""
    chi_squared = 2 * dice.standard_gamma(np.broadcast_to(freedom / 2, shape))
    return dice.normal(size=shape) * np.sqrt((freedom - 2) / chi_squared)


def draw_regimes(dice, days):
    """Which sort of day it is in each market: a Markov chain. (days, markets) of 0, 1, 2."""
    leave = 1 / dice.uniform(LASTS[:, 0], LASTS[:, 1], (MARKETS, 3))
    kind = np.zeros((days, MARKETS), dtype=int)
    leaves, to = dice.random((days, MARKETS)), dice.random((days, MARKETS))
    for day in range(1, days):
        before = kind[day - 1]
        other = (to[day][:, None] > np.cumsum(NEXT[before], axis=1)).sum(axis=1).clip(0, 2)
        kind[day] = np.where(leaves[day] < leave[np.arange(MARKETS), before], other, before)
    return kind


def draw_common(dice, kind, strain, sector):
    """What assets move in common: with their market, more so in a crisis, and with their sector."""
    days = len(kind)
    scale = MOVES[kind] * COMMON[kind] * strain
    freedom = dice.uniform(3.5, 8, (MARKETS, 1))
    whole = DRIFT[kind] / YEAR + 0.007 * scale * fat_tailed(dice, (days, MARKETS, 1), freedom)[:, :, 0]
    sectors = 0.005 * scale[:, :, None] * fat_tailed(dice, (days, MARKETS, SECTORS), freedom)
    beta = dice.normal(1, 0.3, sector.shape)
    return beta * whole[:, :, None] + np.take_along_axis(sectors, sector[None].repeat(days, axis=0), axis=2)


def draw_edges(dice, own, common, sector):
    """What of the next returns can be foretold, in units of an asset's own volatility. (days, markets, assets).

    Each effect has a strength of its own in each market, some with either sign, and comes into and goes out of fashion.
    own, common: what each asset moved by itself and with others, in units of its volatility.
    """
    days, shape = len(own), own.shape[1:]

    def strength(mean, spread):
        fashion = np.maximum(1 + wander(dice, days, (MARKETS, 1), 0.996, 0.5), 0)
        return dice.normal(mean, spread, (MARKETS, 1)) * fashion

    before, before_common = np.roll(own, 1, axis=0), np.roll(common, 1, axis=0)
    before[0] = before_common[0] = 0
    half_life = np.exp(dice.uniform(np.log(10), np.log(80), (MARKETS, 1)))
    trend = np.abs(strength(0.06, 0.02)) * wander(dice, days, shape, 0.5 ** (1 / half_life), 1.0)
    reversal = -strength(0.03, 0.05) * before
    leader = dice.integers(0, ASSETS, (MARKETS, SECTORS))
    leads = np.take_along_axis(before, np.take_along_axis(leader, sector, axis=1)[None].repeat(days, axis=0), axis=2)
    lag = strength(0.0, 0.09) * leads + strength(0.0, 0.05) * dice.normal(size=shape) * before_common
    weekday = dice.normal(size=(5, MARKETS, SECTORS))[np.arange(days) % 5]
    season = strength(0.0, 0.06) * np.take_along_axis(weekday, sector[None].repeat(days, axis=0), axis=2)
    return trend + reversal + lag + season

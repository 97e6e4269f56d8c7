"""The file that research edits: decides what to hold, plainly, so that there is something to find.

The contract: `answer(task, inputs)` is called at the end of each day, with that day's `inputs["returns"]` and
`inputs["volumes"]`, both (markets, assets). It returns the weights to hold until the end of the next day, of the same
shape, as shares of each market's equity: below 0 is short, what is left over is cash. `prepare(task)` is called once
before, with the past of the same markets in `task.arrays`: "returns" and "volumes", (days, markets, assets), and what
trading costs, "half_spread" and "impact", (markets, assets). `task` keeps what is put into it. numpy and torch can be
imported.

No market knows of another; they are asked side by side because that is quicker. A market's week has five days.

UPPERCASE constants are found by the search over numbers; small functions are easy for an idea to replace.
"""

import numpy as np

TREND_DAYS = 60  # over which past returns are averaged
VOLATILITY_DAYS = 30
LEVERAGE = 1.0  # the sum of a market's weights without their signs
TRADED = 0.2  # the share of the way to the wanted weights that is traded in a day


def prepare(task):
    """Start from nothing, and live through the past."""
    past = task.arrays["returns"]
    task.trend = np.zeros(past.shape[1:])
    task.variance = np.square(past).mean(axis=0)
    task.weights = np.zeros(past.shape[1:])
    for returns, volumes in zip(past, task.arrays["volumes"], strict=True):
        remember(task, returns, volumes)


def answer(task, inputs):
    remember(task, inputs["returns"], inputs["volumes"])
    held = drifted(task.weights, inputs["returns"])
    task.weights = traded(task, held, sized(task, forecast(task)))
    return task.weights


def remember(task, returns, volumes):
    """Take a day in: exponential averages of returns and of their squares."""
    task.trend += (returns - task.trend) / TREND_DAYS
    task.variance += (np.square(returns) - task.variance) / VOLATILITY_DAYS


def forecast(task):
    """How good the next day will be for each asset, in units of its volatility."""
    return task.trend / volatility(task)


def volatility(task):
    """The daily volatility to be expected of each asset."""
    return np.sqrt(task.variance)


def sized(task, signal):
    """Weights in proportion to a forecast, less for what moves more; as much in all as LEVERAGE."""
    weights = signal / volatility(task)
    return LEVERAGE * weights / np.abs(weights).sum(axis=1, keepdims=True)


def drifted(weights, returns):
    """What the weights have become by a day's returns."""
    grown = weights * (1 + returns)
    return grown / (1 + (grown - weights).sum(axis=1, keepdims=True))


def traded(task, held, wanted):
    """Weights on the way from what is held to what is wanted."""
    return held + TRADED * (wanted - held)

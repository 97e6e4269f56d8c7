"""The file that research edits: a market maker, plain, so that there is something to find.

The contract: `answer(task, inputs)` is called once a step and quotes in all games at once. `inputs` has arrays of shape
(games,):

    index                      what the value is now, with noise
    house_bid, house_ask       what the competing maker quoted in the last step
    bid_fills, ask_fills       lots that you bought and sold in the last step, by your quotes
    market_buys, market_sells  lots that takers bought and sold in the last step, from you and the house
    inventory, cash            what you hold: lots (negative where you are short), and ticks times lots
    steps_left                 how many steps are to come, this one included

The answer is a dictionary of four such arrays: bid and ask, prices in ticks; bid_size and ask_size, 0 to 10 lots.
Prices are rounded to ticks and sizes to lots, against you. A bid that is not below the ask beside it ends the run.

`task` may keep what you like. `prepare(task)` may be left out; it is called once before, and finds in `task.arrays`
what the public saw of other games of this market: index, house_bid, house_ask, market_buys and market_sells, each
(steps, games).

UPPERCASE constants are found by the search over numbers; small functions are easy for an idea to replace.
"""

import numpy as np

HALF_SPREAD = 6.0  # ticks from the centre to either quote
SKEW = 0.1  # ticks by which the centre moves, for each lot held
SIZE = 3.0  # lots that are quoted on either side


def prepare(task):
    """Nothing is learnt from the history yet."""


def answer(task, inputs):
    value = fair_value(task, inputs)
    centre = value - skew(task, inputs)
    below, above = half_spreads(task, inputs)
    bid, ask = beside_the_house(task, inputs, value, centre - below, centre + above)
    bid, ask = np.floor(bid), np.ceil(ask)
    bid_size, ask_size = sizes(task, inputs)
    return {"bid": bid, "ask": np.maximum(ask, bid + 1), "bid_size": bid_size, "ask_size": ask_size}


def fair_value(task, inputs):
    """What a lot is worth."""
    return inputs["index"]


def skew(task, inputs):
    """By how much quotes are lower, to get rid of what is held."""
    return SKEW * inputs["inventory"]


def half_spreads(task, inputs):
    """How far the bid is below the centre, and the ask above it."""
    return HALF_SPREAD, HALF_SPREAD


def beside_the_house(task, inputs, value, bid, ask):
    """The quotes, knowing what the house quoted last."""
    return bid, ask


def sizes(task, inputs):
    """How many lots are bid for, and offered."""
    lots = np.full(inputs["inventory"].shape, SIZE)
    return lots, lots

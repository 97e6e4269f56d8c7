"""The judge: how much better than the last value a program foretells the next one.

It alone knows the series. It sends one step at a time and gets a forecast of the next; so a program cannot look ahead,
because what it would look at has not been sent. It computes the error itself, in float64.

The contract: a function `judge` as below, and an exception `Rejected`. `session` is the program:

    session.prepare(name=array, ...)   have it prepare with these arrays; once, before any question
    session.ask(inputs, shape)         the answer to an array, or a dictionary of arrays; `shape` is what it must have
    session.stream(steps, shape)       the answers to steps, one after the other
    session.generator(label)           a generator of random numbers for this run; one for each thing that is drawn

Draw everything anew in each run, and what is shown from other generators than what is asked: what a program can work
out of the one then says nothing about the other.
"""

import numpy as np

SERIES = 64
HISTORY = 500  # steps that a program may learn from before
STEPS = 1500  # that are asked
WANDER = 0.3  # how far the level of a series moves in a step; its own noise is 1


class Rejected(Exception):
    """What the program answered is no forecast; the text says why."""


def judge(session, seed, split):
    """Score a program on a split, "val" or "holdout". Returns finite numbers by name: "value" is the score."""
    coefficients = draw_coefficients(session.generator("coefficients"))
    session.prepare(history=series(session.generator("history"), coefficients, HISTORY))
    values = series(session.generator(split), coefficients, STEPS + 1)
    forecasts = np.stack(list(session.stream(values[:-1], shape=(SERIES,)))).astype(np.float64)
    if not np.isfinite(forecasts).all():
        raise Rejected("a forecast is not finite")
    error = np.square(forecasts - values[1:]).mean()
    error_of_last = np.square(values[:-1] - values[1:]).mean()
    return {"value": 1 - error / error_of_last, "error": error}


def draw_coefficients(dice):
    """What the next value owes to the last two, of each series: a swing that dies down. Shape (2, SERIES)."""
    decay, turn = dice.uniform(0.7, 0.95, SERIES), dice.uniform(0.3, 1.2, SERIES)
    return np.stack([2 * decay * np.cos(turn), -np.square(decay)])


def series(dice, coefficients, steps):
    """Swings around levels that wander. Shape (steps, SERIES)."""
    noise = dice.normal(size=(steps, SERIES))
    level = np.cumsum(WANDER * dice.normal(size=(steps, SERIES)), axis=0)
    swing = np.zeros((steps, SERIES))
    for step in range(2, steps):
        swing[step] = coefficients[0] * swing[step - 1] + coefficients[1] * swing[step - 2] + noise[step]
    return level + swing

"""How values of an objective's metric compare: which direction is better, and on which scale differences are taken.

An effect is one number J, negative where the child is better, on every kind of metric:

- scale log, for what is always positive (a loss, a time): ln(child) − ln(parent), the sign turned where higher is
  better. A loss from 2.0 to 1.9 is J = −0.051.
- scale linear, for what may be zero or negative (a return, an accuracy near 0): (child − parent) / unit, the sign
  turned likewise. With a unit of 2.5 an accuracy from 0.80 to 0.85 is J = −0.02.

`unit` makes a linear effect as large as a logarithmic one of the same weight: it is 500 of the smallest differences
worth telling, since such a difference is an effect of 0.002 on a logarithmic scale (SMALLEST_EFFECT). So every constant
of the statistics means the same on both scales.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from protocol.fields import Row

SMALLEST_EFFECT = 0.002  # J of the smallest difference that is worth telling, on a linear scale
MOST_EFFECT = 100.0  # the largest effect, either way, that a record holds
LEAST_VALUE, MOST_VALUE = 1e-15, 1e15


class Direction(StrEnum):
    LOWER = "lower"
    HIGHER = "higher"


class Scale(StrEnum):
    LOG = "log"
    LINEAR = "linear"


class Metric(Row, frozen=True):
    """How two values of a metric compare.

    unit: the difference of two values that an effect of 1 stands for, on a linear scale; 1 on a logarithmic one.
    spread: the standard deviation, as an effect, of a pair of runs at one seed from one machine to another; 0 where
    such runs end in the same numbers.
    """

    direction: Direction
    scale: Scale
    unit: Annotated[float, Meta(ge=1e-15, le=1e15)]
    spread: Annotated[float, Meta(ge=0.0, le=100.0)]

    def fits(self, value: float) -> bool:
        """Whether a run may have this value."""
        return (LEAST_VALUE if self.scale == Scale.LOG else -MOST_VALUE) <= value <= MOST_VALUE

    def difference(self, parent: float, child: float) -> float:
        """The effect of two values that fit; negative where the child is better, within ±MOST_EFFECT."""
        if self.scale == Scale.LOG:
            effect = math.log(child / parent)
        else:
            effect = min(MOST_EFFECT, max(-MOST_EFFECT, (child - parent) / self.unit))
        return -effect if self.direction == Direction.HIGHER else effect

    def moved(self, value: float, effect: float) -> float:
        """The value that lies this effect from another one: the inverse of `difference`, kept within what fits."""
        signed = -effect if self.direction == Direction.HIGHER else effect
        if self.scale == Scale.LINEAR:
            return min(MOST_VALUE, max(-MOST_VALUE, value + signed * self.unit))
        return min(MOST_VALUE, max(LEAST_VALUE, value * math.exp(min(MOST_EFFECT, max(-MOST_EFFECT, signed)))))

    def is_better(self, value: float, other: float) -> bool:
        """Whether a value is better than another one."""
        return value > other if self.direction == Direction.HIGHER else value < other

    def gain(self, effect: float) -> float:
        """What people see of an effect, positive where the child is better.

        Logarithmic: per cent of the parent's value by which the child's is lower, or higher. J = −0.105 is 10 % less of
        a loss, 11.1 % more of a speed. Linear: in units of the metric.
        """
        if self.scale == Scale.LINEAR:
            return -effect * self.unit
        capped = min(MOST_EFFECT, max(-MOST_EFFECT, effect))
        if self.direction == Direction.HIGHER:
            return 100.0 * math.expm1(-capped)
        return 100.0 * -math.expm1(capped)

    def gain_error(self, effect: float, error: float) -> float:
        """The standard error of `gain`, to first order (delta method), from that of the effect."""
        if self.scale == Scale.LINEAR:
            return error * self.unit
        capped = min(MOST_EFFECT, max(-MOST_EFFECT, effect))
        return 100.0 * math.exp(-capped if self.direction == Direction.HIGHER else capped) * error

    @property
    def suffix(self) -> str:
        """What stands behind a gain: " %", or nothing, where it is in units of the metric."""
        return " %" if self.scale == Scale.LOG else ""


# What records without a metric are about: a loss whose runs repeat.
LOSS = Metric(Direction.LOWER, Scale.LOG, 1.0, 0.0)

"""The ranges in which recorded walks and the policies beside the node's draw values of constants.

They are no part of the node, whose own search of constants may change: what a recording draws must stay the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from node.objective.edits import Constant

FLOAT_FACTOR = 4.0  # by which a real constant may grow or shrink
DECAY_FACTOR = 20.0  # by which the distance of a decay from 1 may change
INT_FACTOR = 2  # by which a whole constant may grow or shrink
LEAST_FACTOR = 1.15  # a smaller step is no change
DIGITS = 3  # significant


@dataclass(frozen=True)
class Axis:
    """A range on a logarithmic scale, of whole numbers if it is whole. from_one: of a decay's distances from 1."""

    low: float
    high: float
    whole: bool = False
    from_one: bool = False

    def flip(self, number: float) -> float:
        """The position of a value on the axis, or the value at a position: 1 − x is its own inverse."""
        return 1.0 - number if self.from_one else number


def axis_of(constant: Constant) -> Axis | None:
    """A factor up and down from the present value; None for what is no positive number."""
    value = constant.value
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0 or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return Axis(max(1, value // INT_FACTOR), max(value + 1, value * INT_FACTOR), whole=True)
    if 0.5 <= value < 1:
        return Axis((1 - value) / DECAY_FACTOR, min(0.6, (1 - value) * DECAY_FACTOR), from_one=True)
    return Axis(value / FLOAT_FACTOR, value * FLOAT_FACTOR)


def is_far_enough(constant: Constant, axis: Axis, value: float) -> bool:
    """Whether a value differs enough from the present one."""
    return abs(math.log(axis.flip(value) / axis.flip(float(constant.value)))) > math.log(LEAST_FACTOR)


def shown(value: float) -> str:
    """A value as it stands in the source: three digits, five for decays close to 1."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1):
        return str(int(value))
    return f"{float(f'%.{DIGITS}g' % value):g}" if abs(value) < 0.9 else f"{value:.5g}"

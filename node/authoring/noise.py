"""How much runs of one source differ, from a few of them: an estimate and its bounds. Knows no objectives."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.metric import Metric

LEAST_VALUES, MOST_VALUES = 3, 8
SURE = "9 in 10 sure"  # that the deviation lies between the bounds: 1 in 100 below them, 1 in 10 above
# The 0.1 and 0.99 quantiles of chi-square with 1 to 7 degrees of freedom, from the tables of the NIST/SEMATECH
# e-Handbook of Statistical Methods, 1.3.6.7.4.
_CHI_SQUARE = (
    (0.0158, 6.635),
    (0.2107, 9.210),
    (0.5844, 11.345),
    (1.0636, 13.277),
    (1.6103, 15.086),
    (2.2041, 16.812),
    (2.8331, 18.475),
)


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a pair's difference, as an effect, and what it hardly is less and more than."""

    deviation: float
    least: float
    most: float


def pair_noise(metric: Metric, values: Sequence[float]) -> Noise:
    """From 2 to MOST_VALUES independent runs of one source at seeds of their own.

    A difference of two runs has √2 times the standard deviation s of one. Of n normal values, (n − 1)·s²/σ² has the
    chi-square distribution with n − 1 degrees of freedom, so σ is below s·√((n − 1)/q) for its 0.1 quantile q in 9 of
    10 cases, and above that of its 0.99 quantile in 99 of 100 (NIST/SEMATECH e-Handbook, 7.2.3.1). The lower bound is
    the surer one, since a sound setting is called a fault by it.

    Values 2.0, 2.02 and 1.98, on a logarithmic scale: effects 0, 0.00995 and −0.01005, s 0.0100, deviation 0.0141,
    between 0.0066 and 0.044. Of eight values the bounds are 0.62 and 1.57 times the deviation.

    Two runs at one seed may have chance in common, so a pair at one seed differs by this or by less.
    """
    return bounded(
        math.sqrt(2) * statistics.stdev(metric.difference(values[0], value) for value in values), len(values)
    )


def bounded(deviation: float, runs: int) -> Noise:
    """A standard deviation that so many values gave, with its bounds."""
    freedom = runs - 1
    low, high = _CHI_SQUARE[freedom - 1]
    return Noise(deviation, deviation * math.sqrt(freedom / high), deviation * math.sqrt(freedom / low))


def rounded_up(value: float) -> float:
    """To two digits, never downwards: 0.0441 to 0.045."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.1e}")

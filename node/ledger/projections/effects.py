"""Values and effects as people read them, and the sum of several effects that follow one another.

An effect is J, negative is better (protocol.metric). What everybody reads is a *gain*, positive is better: in per cent
where the metric is logarithmic, "+4.1 % ± 0.7 (2 pairs)", in its own units where it is linear, "+0.0123 ± 0.0040
(3 pairs)".
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from protocol.metric import Metric
from protocol.records import Effect

PER_CENT_DECIMALS = 4  # the most that are written, however small the error
MOST_DECIMALS = 9  # from here on a number is written with a power of ten
MOST_FIXED = 1e9
FIXED_VALUES = (0.1, 1e4)  # between these a value has four decimals, beyond them five digits


def gain(effect: Effect, metric: Metric) -> float:
    """Positive where the child is better: per cent, or units of a linear metric. For a loss J = −0.105 is 10 %."""
    return metric.gain(effect.mean) + 0.0  # no -0.0


def gain_error(effect: Effect, metric: Metric) -> float:
    """The standard error of `gain`."""
    return metric.gain_error(effect.mean, effect.se)


def gain_text(effect: Effect | None, metric: Metric) -> str:
    """Gain ± standard error and pairs, as everything writes it; "not measured" without an effect."""
    if effect is None:
        return "not measured"
    shown, error = gain_figures(gain(effect, metric), gain_error(effect, metric), metric.suffix)
    return f"{shown}{metric.suffix} ± {error} ({effect.n} {'pair' if effect.n == 1 else 'pairs'})"


def bare_gain_text(mean: float, metric: Metric) -> str:
    """A gain without its error, of an effect J: "+4.1 %", or three digits in units of a linear metric."""
    shown = metric.gain(mean) + 0.0
    if metric.suffix and abs(shown) < MOST_FIXED:
        return _fixed(shown, 1) + metric.suffix
    return f"{shown:+.3g}{metric.suffix}"


def gain_figures(shown: float, error: float, suffix: str) -> tuple[str, str]:
    """A gain and its standard error, both with as many digits as the error supports.

    Per cent have one decimal, and more only where the error has no other digit: 4.12 ± 0.71 is +4.1 ± 0.7, 0.123 ± 0.04
    is +0.12 ± 0.04. Units of a metric have two digits of the error: 0.01234 ± 0.004 is +0.0123 ± 0.0040.
    """
    if error <= 0:
        return _fixed(shown, 1) if suffix and abs(shown) < MOST_FIXED else f"{shown:+.4g}", "0"
    digits = 1 if suffix else 2
    decimals = digits - 1 - math.floor(math.log10(error))
    decimals = min(PER_CENT_DECIMALS, max(1, decimals)) if suffix else max(0, decimals)
    if decimals > MOST_DECIMALS or max(abs(shown), error) >= MOST_FIXED:
        return f"{shown:+.3g}", f"{error:.2g}"
    return _fixed(shown, decimals), f"{error:.{decimals}f}"


def _fixed(number: float, decimals: int) -> str:
    return f"{round(number, decimals) + 0.0:+.{decimals}f}"  # never -0.0


def value_text(value: float) -> str:
    """A value of a metric: 3.5516, 0.051234, 12346, -0.2000."""
    least, most = FIXED_VALUES
    return f"{value:.4f}" if value == 0 or least <= abs(value) < most else f"{value:.5g}"


def chain(effects: Iterable[Effect | None]) -> Effect | None:
    """The effect of steps that follow one another: means add, errors add in quadrature, n is the fewest pairs.

    None when there are no steps, or one of them was not measured. For example −0.10 ± 0.03 (2 pairs) and then
    −0.05 ± 0.04 (3 pairs) are −0.15 ± 0.05 (2 pairs).
    """
    total, variance, fewest = 0.0, 0.0, 0
    for effect in effects:
        if effect is None:
            return None
        total += effect.mean
        variance += effect.se**2
        fewest = min(fewest, effect.n) if fewest else effect.n
    return Effect(total, math.sqrt(variance), fewest) if fewest else None

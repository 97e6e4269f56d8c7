"""Effects: how one is written for people, and the sum of several that follow one another.

An effect is J = Δ ln(metric) + slope · ln(cost ratio), negative is better. What a person is shown as a *gain* is
100 · (1 − exp(J)) per cent, positive is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from protocol.records import Effect

MOST_SHOWN = 100.0  # the limit of one record's effect; a sum over a hostile feed may be larger, and exp overflow


def gain_percent(effect: Effect) -> float:
    """The share of the metric saved, in per cent: 100 · (1 − exp(J)); positive is better. J = −0.105 is 10 %."""
    return 100.0 * -math.expm1(_shown(effect))


def se_percent(effect: Effect) -> float:
    """The standard error of `gain_percent`, to first order (delta method): 100 · exp(J) · SE."""
    return 100.0 * math.exp(_shown(effect)) * effect.se


def effect_text(effect: Effect | None) -> str:
    """Effect ± SE as every log line and table writes it; the sign is that of the metric (negative is better)."""
    if effect is None:
        return "not measured"
    pairs = "pair" if effect.n == 1 else "pairs"
    return f"{100 * math.expm1(_shown(effect)):+.1f} % ± {se_percent(effect):.1f} ({effect.n} {pairs})"


def _shown(effect: Effect) -> float:
    return min(MOST_SHOWN, effect.mean)


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

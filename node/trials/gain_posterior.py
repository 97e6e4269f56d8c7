"""What an idea is believed to gain, before it is run and after: a prior of gains, and its posterior by closed forms.

Gains are −J, in ln(metric): positive is better. Before any run, an idea helps by an exponentially distributed gain,
does nothing at all (a spike at zero), or harms by an exponentially distributed loss. What its runs show is normally
distributed around its true gain. The posterior is then a mixture of two truncated normal distributions and the spike:

    exp(−g / a) · N(y; g, s)  =  exp(s² / 2a² − y / a) · N(g; y − s² / a, s)      for g > 0

Pure functions of numbers. What a run costs, and what else could be run, is for `bet_rule` to weigh.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from node.objective.schema import Prior

NOTHING_SHARE = 1 / 3  # of the ideas that do not help, this share does nothing and the others harm; a guess
FRACTION_DEPTH = 60  # terms of the continued fraction; enough for 1e-13 from FAR_TAIL on
FAR_TAIL = 3.0  # deviations below zero from which on the continued fraction is used
QUADRATURE_POINTS = 32  # of the trapezoidal rule, over eight deviations either way: right to about 1e-4 of the value
QUADRATURE_REACH = 8.0
BISECTIONS = 50
PRIOR_IDEAS = 6.0  # observations that a prior's shares count for
PRIOR_GAINS = 2.0  # and each of its means; both as of the beliefs that choose among categories
ITERATIONS = 6  # of expectation maximisation; ten change the shares by less than they are uncertain
ROOT_TWO_PI = math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class GainPrior:
    """What ideas of a kind are worth before they are run. Shares are 0 to 1; what they leave to 1 harms.

    gain: the mean gain of those that help. harm: the mean loss of those that harm. Both above 0.
    """

    success: float
    gain: float
    nothing: float
    harm: float

    @property
    def harming(self) -> float:
        """The share that harms."""
        return max(0.0, 1 - self.success - self.nothing)

    @property
    def mean(self) -> float:
        """The expected gain of an idea that is kept whatever it shows."""
        return self.success * self.gain - self.harming * self.harm


@dataclass(frozen=True)
class GainPosterior:
    """What is believed of an idea's gain after its runs. chance: that it helps at all, 0 to 1."""

    mean: float
    deviation: float
    chance: float


def gain_prior(prior: Prior) -> GainPrior:
    """The prior of gains that goes with what is expected of a category: its success rate and the gain of a success.

    Neither an objective nor the beliefs say how the other ideas fail. A third of them is taken to do nothing, and the
    rest to harm by as much as a success gains.
    """
    return GainPrior(prior.success, prior.gain, (1 - prior.success) * NOTHING_SHARE, prior.gain)


def learnt(prior: GainPrior, seen: Sequence[tuple[float, float]]) -> GainPrior:
    """The prior of gains after what ideas of the kind have shown: (gain, standard error) of each that was run.

    The shares and means that explain best what was seen, by expectation maximisation (A. P. Dempster, N. M. Laird,
    D. B. Rubin, 1977), with `prior` as earlier observations: `PRIOR_IDEAS` for the shares, `PRIOR_GAINS` for each of
    the two means. What was seen counts with its error, so ideas that were measured badly teach little. An iteration
    shares every idea out among the three kinds, and takes the kinds' sizes and means from that.
    """
    found = prior
    for _ in range(ITERATIONS if seen else 0):
        sizes = [PRIOR_IDEAS * share for share in (prior.success, prior.nothing, prior.harming)]
        counts, gains = [PRIOR_GAINS, PRIOR_GAINS], [PRIOR_GAINS * prior.gain, PRIOR_GAINS * prior.harm]
        for gain, se in seen:
            helps, nothing, harms = _parts(found, gain, se)
            total = helps.weight + nothing.weight + harms.weight
            for kind, part in enumerate((helps, nothing, harms)):
                sizes[kind] += part.weight / total
            for kind, part in enumerate((helps, harms)):
                counts[kind] += part.weight / total
                gains[kind] += part.weight / total * abs(part.mean)
        everything = math.fsum(sizes)
        found = GainPrior(sizes[0] / everything, gains[0] / counts[0], sizes[1] / everything, gains[1] / counts[1])
    return found


@lru_cache(maxsize=1 << 16)  # beliefs ask for the same results at every turn
def posterior(prior: GainPrior, mean: float, se: float) -> GainPosterior:
    """What is believed of an idea whose runs showed a gain of `mean` with a standard error of `se` (above 0).

    Worked example: 20 % of the ideas gain 2 %, 30 % do nothing, 50 % harm by 2 %. A run shows 1 % ± 1 %. The weights of
    the three kinds come to .31, .48 and .21, and the posterior mean to .23 %: most of what was seen is luck.
    """
    parts = helps, _, _ = _parts(prior, mean, se)
    total = math.fsum(part.weight for part in parts)
    expected = math.fsum(part.weight * part.mean for part in parts) / total
    square = math.fsum(part.weight * part.square for part in parts) / total
    return GainPosterior(expected, math.sqrt(max(0.0, square - expected**2)), helps.weight / total)


@lru_cache(maxsize=4096)
def least_gain_seen(prior: GainPrior, se: float) -> float:
    """The gain that runs with this standard error must show for the posterior mean to be above 0.

    Found by bisection: the posterior mean rises with the gain seen.
    """
    low, high = -10 * se - prior.gain, 10 * se + 40 * (prior.harm + se * se / prior.gain)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if posterior(prior, middle, se).mean > 0 else (middle, high)
    return high


def value_of_look(prior: GainPrior, mean: float, se: float, next_se: float) -> float:
    """What one more observation, of standard error `next_se`, adds to the gain that is expected of deciding well.

    The knowledge gradient E[max(0, m')] − max(0, m), with m the posterior mean now and m' the one after it; never below
    0 (P. I. Frazier, W. B. Powell, S. Dayanik, "A knowledge-gradient policy for sequential information collection",
    2008). An idea is kept where its mean is above 0, so only what changes that decision has a value: since E[m'] = m,
    it is the mean of what m' lies below 0 where m is above, and above 0 where m is below.

    Both observations together show a mean y' with the standard error s' = (1/s² + 1/n²)^(−1/2), and given y its density
    is N(y'; y, √(s² − s'²)) times the ratio of the evidence that y' and y have under the prior.
    """
    joint_se = 1 / math.sqrt(1 / se**2 + 1 / next_se**2)
    spread = math.sqrt(max(0.0, se**2 - joint_se**2))
    if spread == 0:
        return 0.0
    keeps = posterior(prior, mean, se).mean > 0
    turn = least_gain_seen(prior, joint_se)
    # The part of the axis on which the decision is another one.
    low, high = mean - QUADRATURE_REACH * spread, mean + QUADRATURE_REACH * spread
    low, high = (low, min(high, turn)) if keeps else (max(low, turn), high)
    if high <= low:
        return 0.0
    step = (high - low) / QUADRATURE_POINTS
    evidence_now = math.fsum(part.weight for part in _parts(prior, mean, se)) * _normal(mean, se)
    total = 0.0
    for point in range(QUADRATURE_POINTS + 1):
        seen = low + step * point
        lost = math.fsum(part.weight * part.mean for part in _parts(prior, seen, joint_se)) * _normal(seen, joint_se)
        weight = 0.5 if point in (0, QUADRATURE_POINTS) else 1.0
        total += weight * max(0.0, -lost if keeps else lost) * _normal(seen - mean, spread)
    return total * step / evidence_now if evidence_now > 0 else 0.0


def value_of_new_idea(prior: GainPrior, noise: float) -> float:
    """The gain expected of a new idea that is run once, with this noise, and kept if its posterior mean is above 0.

    E[max(0, m)] in closed form, by parts. Of the ideas that help, with t the least gain that is kept:

        ∫ (g / a) exp(−g / a) Φ((g − t) / s) dg  =  a Φ(−t / s) + ∫ (g + a) exp(−g / a) N(g; t, s) dg
    """
    least = least_gain_seen(prior, noise)
    of_nothing = 0.5 * math.erfc(least / noise / math.sqrt(2))  # the chance that an idea that does nothing is kept
    helps, harms = _exponential(1.0, prior.gain, least, noise), _exponential(1.0, prior.harm, -least, noise)
    at_least = _normal(least, noise)
    gained = prior.gain * (of_nothing + at_least * helps.weight * (helps.mean + prior.gain))
    lost = prior.harm * (of_nothing - at_least * harms.weight * (harms.mean + prior.harm))
    return max(0.0, prior.success * gained - prior.harming * lost)


# ---- the three kinds of ideas ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """One kind of ideas after an observation: its weight, and the first two moments of its gain."""

    weight: float
    mean: float
    square: float


def _parts(prior: GainPrior, seen: float, se: float) -> tuple[_Part, _Part, _Part]:
    """The ideas that help, do nothing and harm; weights are relative to the spike's density N(seen; 0, se)."""
    helps = _exponential(prior.success, prior.gain, seen, se)
    harms = _exponential(prior.harming, prior.harm, -seen, se)
    return helps, _Part(prior.nothing, 0.0, 0.0), _Part(harms.weight, -harms.mean, harms.square)


def _exponential(share: float, scale: float, seen: float, se: float) -> _Part:
    """Exponentially distributed sizes of this mean, after one was seen: a normal distribution, truncated at zero.

    The evidence relative to N(seen; 0, se) is √(2π) · se / scale · exp(z²/2) Φ(z), with z = seen / se − se / scale. In
    the lower tail the Mills ratio is taken from its continued fraction, so nothing cancels there: with x = −z,

        √(2π) exp(z²/2) Φ(z) = 1 / (x + 1 / (x + 2 / (x + 3 / ...)))
    """
    z = seen / se - se / scale
    if z < -FAR_TAIL:
        below = -z
        for depth in range(FRACTION_DEPTH, 1, -1):
            below = -z + depth / below
        excess = 1 / below  # of the mean over z, which is 1 / (x + 2 / (x + ...)); `below` is that denominator
        mills = 1 / (-z + excess)
        square = excess * (below + z)
    else:
        # exp(z²/2) overflows beyond 37 deviations; what is seen so clearly needs no more weight than that.
        mills = ROOT_TWO_PI * math.exp(min(z * z / 2, 690.0)) * 0.5 * math.erfc(-z / math.sqrt(2))
        excess = z + 1 / mills
        square = 1 + z * excess
    return _Part(share * se / scale * mills, se * excess, se * se * square)


def _normal(value: float, deviation: float) -> float:
    """The density of a normal distribution around zero."""
    return math.exp(-0.5 * (value / deviation) ** 2) / (deviation * ROOT_TWO_PI)

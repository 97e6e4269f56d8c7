"""What changing several numbers at once is expected to gain: a quadratic response surface with a Bayesian fit.

Points are positions on the constants' axes, 0 being the present value. The gain of a point over the present one is
modelled as a sum of slopes, curvatures and products of two constants (Box and Wilson 1951), each with a normal prior;
the posterior is that of linear regression on the differences between two points, so an effect that was measured on an
older source teaches as well, and one with a large error teaches little. Points are compared by their expected
improvement (Jones, Schonlau, Welch 1998), which weighs what is expected against what is not known.

Of numbers only: it knows no source, no record and no proposer. Imported where it is needed, for it imports numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Array = NDArray[numpy.float64]

USUAL_GAIN = 0.02  # of changing one constant by one unit of its axis, before anything was measured, in ln(metric)
LEAST_SCALE, MOST_SCALE = 0.005, 0.1  # between which that is learnt from what was measured
FEW = 3  # observations from which on it is
MISFIT = 0.15  # share of an effect by which a quadratic may miss it: a large one says where to go, not how far
LEAST_ERROR = 0.002  # standard error (ln): below this the surface is wrong rather than the measurement
MOST_HARM = 0.15  # ln(metric); a crash and a collapse are both "not there"
CURVATURES = 0.7  # prior deviation of a curvature, as a share of that of a slope
PRODUCTS = 0.5  # and of a product of two constants
MOST_PRODUCTS = 10  # constants between which products are fitted: those with most observations


@dataclass(frozen=True)
class Observation:
    """What was measured between two points, by constant; one that is not named is at its present value.

    gain: in ln(metric), positive is better. error: its standard error.
    """

    start: Mapping[str, float]
    end: Mapping[str, float]
    gain: float
    error: float


class ResponseSurface:
    """The posterior of the coefficients: slopes, then curvatures, then products, in the order of `names`."""

    def __init__(self, names: Sequence[str], observations: Sequence[Observation]) -> None:
        self._names = list(names)
        self._products = self._chosen_products(observations)
        size, count = len(self._names), 2 * len(self._names) + len(self._products)
        scale = usual_gain(observations)
        # Present values are sound: each is expected to lose as much by one unit of its axis as it may gain.
        mean, deviation = numpy.zeros(count), numpy.full(count, PRODUCTS * scale)
        mean[size : 2 * size] = -scale
        deviation[:size] = scale
        deviation[size : 2 * size] = CURVATURES * scale
        precision = numpy.diag(deviation**-2)
        weighted = mean * deviation**-2
        if observations:
            ends = self._features(self._points([one.end for one in observations]))
            rows = ends - self._features(self._points([one.start for one in observations]))
            gains = numpy.array([max(-MOST_HARM, one.gain) for one in observations])
            errors = numpy.array([_total_error(one) for one in observations])
            precision += rows.T @ (rows / errors[:, None] ** 2)
            weighted += rows.T @ (gains / errors**2)
        self._covariance = numpy.linalg.inv(precision)
        self._mean = self._covariance @ weighted

    def best_position(self, name: str) -> float:
        """Where this constant alone is expected to gain most; one unit up or down where the surface only rises."""
        place = self._names.index(name)
        slope, curvature = float(self._mean[place]), float(self._mean[len(self._names) + place])
        if curvature >= 0:
            return math.copysign(1.0, slope)
        return max(-1.0, min(1.0, -slope / (2 * curvature)))

    def expected_improvement(self, points: Sequence[Mapping[str, float]]) -> list[float]:
        """Of each point over the present one, in ln(metric): E[max(0, gain)].

        Worked example: a gain of 1 % ± 2 % is .5 deviations above 0, so 1 % · Φ(.5) + 2 % · φ(.5) = 1.4 %.
        """
        features = self._features(self._points(points))
        means = features @ self._mean
        variances = numpy.einsum("ij,jk,ik->i", features, self._covariance, features)
        return [
            _improvement(float(mean), math.sqrt(max(0.0, float(v)))) for mean, v in zip(means, variances, strict=True)
        ]

    def _chosen_products(self, observations: Sequence[Observation]) -> list[tuple[int, int]]:
        times = {name: sum(name in one.end for one in observations) for name in self._names}
        often = sorted((name for name in self._names if times[name]), key=lambda name: -times[name])[:MOST_PRODUCTS]
        places = sorted(self._names.index(name) for name in often)
        return [(one, other) for index, one in enumerate(places) for other in places[index + 1 :]]

    def _points(self, points: Sequence[Mapping[str, float]]) -> Array:
        return numpy.array([[point.get(name, 0.0) for name in self._names] for point in points])

    def _features(self, points: Array) -> Array:
        products = [points[:, one] * points[:, other] for one, other in self._products]
        return numpy.column_stack([points, points**2, *products])


def usual_gain(observations: Sequence[Observation]) -> float:
    """The scale of the prior: one and a half times the median size of the effects that are known well, if a few are."""
    sizes = sorted(min(MOST_HARM, abs(one.gain)) for one in observations if one.error < max(USUAL_GAIN, abs(one.gain)))
    if len(sizes) < FEW:
        return USUAL_GAIN
    return min(MOST_SCALE, max(LEAST_SCALE, 1.5 * sizes[len(sizes) // 2]))


def _total_error(one: Observation) -> float:
    return math.hypot(one.error, MISFIT * min(MOST_HARM, abs(one.gain)), LEAST_ERROR)


def _improvement(mean: float, deviation: float) -> float:
    """E[max(0, x)] of a normal distribution: mean · Φ(z) + deviation · φ(z), z = mean / deviation."""
    if deviation == 0:
        return max(0.0, mean)
    z = mean / deviation
    below = 0.5 * math.erfc(-z / math.sqrt(2))
    return mean * below + deviation * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)

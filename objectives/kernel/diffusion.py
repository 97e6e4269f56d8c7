"""Heat that spreads over plates, step by step: a stencil over five points with a conductivity of each point.

    heat           (plates, height, width), float32 or float64
    conductivity   the same, from 0 to just under 1/4
    steps          how many; may be 0

Between two neighbours flows the mean of their conductivities times the difference of their heat. Nothing flows over the
rim of a plate. Heat may be as small as the type allows: what is denormal must not be taken for 0.
"""

import numpy as np


def diffusion(heat, conductivity, steps):
    """The heat after some steps, in the type that it came in."""
    current, conductivity = widened(heat), widened(conductivity)
    for _ in range(steps):
        current = step(current, conductivity)
    return current.astype(heat.dtype)


def widened(numbers):
    """The numbers in the type in which the heat is worked out."""
    return numbers.astype(np.float64)


def step(heat, conductivity):
    """The heat one step later."""
    down = between(conductivity, 1) * (heat[:, :-1] - heat[:, 1:])
    right = between(conductivity, 2) * (heat[:, :, :-1] - heat[:, :, 1:])
    after = heat.copy()
    after[:, :-1] -= down
    after[:, 1:] += down
    after[:, :, :-1] -= right
    after[:, :, 1:] += right
    return after


def between(conductivity, axis):
    """The mean conductivity of each two neighbours along an axis."""
    if axis == 1:
        return (conductivity[:, :-1] + conductivity[:, 1:]) / 2
    return (conductivity[:, :, :-1] + conductivity[:, :, 1:]) / 2

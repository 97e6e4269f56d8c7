"""The file that research edits: counts near pairs the plain way, so that there is something to find.

The contract: `count_near(points, distance)` gets a list of (x, y), each from 0 to 1, and returns how many pairs of them
are at most `distance` apart.
"""

import math


def near(one, other, distance):
    """Whether two points are at most so far apart."""
    return math.hypot(one[0] - other[0], one[1] - other[1]) <= distance


def count_near(points, distance):
    """How many pairs of points are at most `distance` apart."""
    count = 0
    for number, one in enumerate(points):
        for other in points[number + 1 :]:
            if near(one, other, distance):
                count += 1
    return count

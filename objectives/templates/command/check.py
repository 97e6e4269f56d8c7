"""Checks near.py after a run: the counts must be those of the plain way. Ends with status 1 where they are not."""

import sys

from near import count_near
from points import DISTANCE, drawn

for number in range(5):
    points = drawn(f"check {number}", 250)
    # On the edge rounding decides, so neither count is wrong there.
    apart = [(a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 for i, a in enumerate(points) for b in points[i + 1 :]]
    least = sum(each <= DISTANCE**2 * (1 - 1e-9) for each in apart)
    most = sum(each <= DISTANCE**2 * (1 + 1e-9) for each in apart)
    found = count_near(points, DISTANCE)
    if not least <= found <= most:
        sys.exit(f"count_near says {found}, and {least} pairs are near")

"""Measures near.py: the CPU time of counting near pairs, of the quickest of a few tries, each with points of its own.

It prints "METRIC name=value" for each value. Nothing here can be changed by an idea; but near.py runs in this process
and could print anything, which is why such values are shown as measured by the source itself.
"""

import time

from near import count_near
from points import DISTANCE, drawn

POINTS = 1200
TRIES = 5

times = []
for number in range(TRIES):
    points = drawn(f"bench {number}", POINTS)
    begun = time.process_time()
    count_near(points, DISTANCE)
    times.append(1000 * (time.process_time() - begun))
print(f"METRIC ms={min(times):.4f}")
print(f"METRIC slowest={max(times):.4f}")

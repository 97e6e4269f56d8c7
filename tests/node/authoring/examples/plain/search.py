"""Draws a line through noisy points. A slope of 0.5 would be right."""

import os
import random

SLOPE = 0.3

rng = random.Random(int(os.environ.get("FIT_SEED", "0")))
points = [(x, 0.5 * x + rng.gauss(0, 1)) for x in range(300)]
print(f"mean_error: {sum(abs(SLOPE * x - y) for x, y in points) / len(points):.5f}")

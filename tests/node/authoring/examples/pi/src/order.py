"""Sorting, slowly."""


def ordered(numbers):
    left, found = list(numbers), []
    while left:
        smallest = min(left)
        left.remove(smallest)
        found.append(smallest)
    return found

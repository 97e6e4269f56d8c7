"""Joining two sorted lists."""


def joined(first, second):
    first, second, found = list(first), list(second), []
    while first and second:
        found.append(first.pop(0) if first[0] <= second[0] else second.pop(0))
    return found + first + second

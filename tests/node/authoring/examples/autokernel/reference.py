"""Fixed: what is right."""


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))

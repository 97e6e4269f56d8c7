"""Sources of the greatest length that make Python's parser, or what walks its trees, take as much as possible."""

from __future__ import annotations

from node.objective.trees import MAX_SOURCE_CHARACTERS

_N = MAX_SOURCE_CHARACTERS

# Ordinary in the end: they parse, or do not, within the limits.
BEARABLE = {
    "many constants": "\n".join(f"A{i}=1" for i in range(30_000)),
    "a long sum": "X = " + "1+" * (_N // 2 - 4) + "1",
    "a long list": "X = [" + "1," * (_N // 2 - 4) + "]",
    "nested brackets": "X = " + "[" * 90 + "]" * 90,
    "brackets without end": "(" * (_N - 1),
    "signs": "X = " + "-" * (_N - 10) + "1",
    "attributes": "X = a" + ".a" * (_N // 2 - 4),
    "calls": "X = f" + "()" * (_N // 2 - 4),
    "subscripts": "X = f" + "[0]" * (_N // 3 - 4),
    "negations": "X = " + "not " * (_N // 4 - 4) + "1",
    "branches": "if a:\n pass\n" + "elif a:\n pass\n" * (_N // 15 - 4),
    "functions in functions": "X = " + "lambda:" * (_N // 7 - 4) + "1",
    "powers": "X = 2" + "**2" * (_N // 3 - 4),
    "strings side by side": "X = " + '"a" ' * (_N // 4 - 4),
    "a whole number": "X = " + "9" * (_N - 10),
    "a hexadecimal number": "X = 0x" + "f" * (_N - 10),
    "decorators": "@a\n" * (_N // 3 - 20) + "def f(): pass",
    "long identifiers": "\n".join(f"X = {chr(0x1D400 + i % 26) * 2000}" for i in range(120)),
    "unknown escapes": "X = '" + "\\d" * (_N // 2 - 8) + "'",
    "a null byte": "X = 1\0",
    "half a character": "X = '\ud800'",
    "a form feed": "\f" * (_N - 4) + "X=1",
    "continued lines": "X = 1" + "\\\n" * (_N // 2 - 10) + "+ 1",
    "blocks in blocks": "".join(" " * i + "if a:\n" for i in range(99)) + " " * 99 + "pass",
    "parameters": "def f(" + ",".join(f"p{i}=1" for i in range(20_000)) + "): pass",
}


def endless(number: int = 0) -> str:
    """One of many different sources that take too long.

    Python 3.11 parses each replacement field by itself, with all that stands before it.
    """
    return f"Y = {number}\nX = f'" + "{1}" * (_N // 3 - 20) + "'"

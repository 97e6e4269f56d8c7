"""How what a judge recorded of a run passes to the node: names in a line, and after it their numbers. No I/O.

A replay is pictures, each of rows of equally many numbers, by name. Its limits are held on both sides, since an
objective may come from a stranger: the judge's author reads what is wrong, and the node takes nothing else. Imports
nothing of ours.
"""

import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_ROWS = 16  # of all pictures of a replay
MOST_NUMBERS = 2048  # of all rows: a picture of a screen's width has some hundred to a row
MOST_SIZE = 1e30  # of a number, either way: what a float32 holds, with room
NAME = re.compile(r"[A-Za-z0-9 _-]{1,30}")
NUMBER_BYTES = 4

Replay = dict[str, dict[str, tuple[float, ...]]]  # numbers by picture and row
Announced = list[list[Any]]  # [picture, row, how many numbers] for each row


def packed(pictures: Mapping[str, Mapping[str, Iterable[Any]]]) -> tuple[Announced, bytes]:
    """A replay as it is sent. Raises ValueError for one that is beyond the limits, with what they are."""
    rows = [(name, row, list(map(float, numbers))) for name, of in pictures.items() for row, numbers in of.items()]
    announced = [[name, row, len(numbers)] for name, row, numbers in rows]
    length_of(announced)
    numbers = [number for _, _, row in rows for number in row]
    if not all(math.isfinite(number) and abs(number) <= MOST_SIZE for number in numbers):
        raise ValueError(f"a replay has finite numbers of at most {MOST_SIZE:g}")
    return announced, struct.pack(f"<{len(numbers)}f", *numbers)


def length_of(announced: object) -> int:
    """How many bytes of numbers follow this announcement. Raises ValueError where it is none."""
    if not isinstance(announced, list) or len(announced) > MOST_ROWS:
        raise ValueError(f"a replay has at most {MOST_ROWS} rows")
    lengths: dict[str, int] = {}
    total, known = 0, set()
    for row in announced:
        match row:
            case [str(picture), str(name), int(count)] if NAME.fullmatch(picture) and NAME.fullmatch(name):
                total += max(0, count)
                if count < 1 or lengths.setdefault(picture, count) != count or (picture, name) in known:
                    raise ValueError("the rows of a picture of a replay have one name each, and are equally long")
                known.add((picture, name))
            case _:
                raise ValueError(f"pictures and rows of a replay have names such as {NAME.pattern}")
    if total > MOST_NUMBERS:
        raise ValueError(f"a replay has at most {MOST_NUMBERS} numbers, not {total}")
    return total * NUMBER_BYTES


def opened(announced: Announced, content: bytes) -> Replay:
    """The replay, from an announcement that `length_of` took and the bytes after it. Raises ValueError."""
    numbers: Sequence[float] = struct.unpack(f"<{len(content) // NUMBER_BYTES}f", content)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a replay with numbers that are not finite")
    found: Replay = {}
    begin = 0
    for picture, name, count in announced:
        found.setdefault(picture, {})[name] = tuple(numbers[begin : begin + count])
        begin += count
    return found

"""Prices of a person's own, from a table of dates and closes to what an objective's judge reads.

The table is decoded here, once, with limits; what is wrong with it is said with the line and the column it is in. It
knows nothing of objectives: `portfolio.py` makes one.
"""

from __future__ import annotations

import csv
import io
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

MOST_BYTES = 32 << 20  # of the table
MOST_ASSETS, MOST_ROWS = 500, 50_000
LEAST_ROWS = 400  # less than a year of validation says nothing of a strategy
SEPARATORS = ",;\t|"
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y")
LIKE_A_SPLIT = 2.5  # a price that changes by such a factor in a day was perhaps not adjusted for a split
HEAD = struct.Struct("<IId")  # assets, days, days a year: as the template's judge.py has it
DAYS_OF_A_YEAR = 365.25


class PricesError(Exception):
    """The table cannot be used; the text says where and what to do."""


@dataclass(frozen=True)
class Prices:
    """Closes by day, oldest first, each above 0; as many in each row as there are assets."""

    assets: tuple[str, ...]
    dates: tuple[date, ...]
    rows: tuple[tuple[float, ...], ...]

    @property
    def days_a_year(self) -> float:
        """How many rows a year has: some 252 where there is trade on weekdays, 365 where always."""
        years = (self.dates[-1] - self.dates[0]).days / DAYS_OF_A_YEAR
        return (len(self.dates) - 1) / years

    @property
    def jumps(self) -> list[str]:
        """Changes so large that they may be splits of a share, in words."""
        found = []
        for before, row, day in zip(self.rows, self.rows[1:], self.dates[1:], strict=False):
            for asset, old, new in zip(self.assets, before, row, strict=True):
                if max(old / new, new / old) >= LIKE_A_SPLIT:
                    found.append(f"{asset} goes from {old:g} to {new:g} on {day}")
        return found

    def packed(self) -> bytes:
        """What the judge reads: a head, then the closes day by day, little-endian."""
        head = HEAD.pack(len(self.assets), len(self.rows), self.days_a_year)
        return head + b"".join(struct.pack(f"<{len(row)}d", *row) for row in self.rows)


def read_prices(path: Path) -> Prices:
    """The prices in a file: dates in the first column, closes of one asset in each other. Raises PricesError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PricesError(f"{path} cannot be read ({error.strerror}); give a table of dates and closes") from None
    if len(content) > MOST_BYTES:
        raise PricesError(f"{path} is larger than {MOST_BYTES >> 20} MiB; give fewer assets, or closes by day only")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PricesError(f"{path} is no text in UTF-8; save it as CSV (UTF-8)") from None
    return decode(text)


def decode(text: str) -> Prices:
    """The prices in a text. Raises PricesError."""
    first = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=first.count)
    if separator not in first:
        raise PricesError(
            "line 1 has one column; it must name a column of dates and at least one asset, with commas between"
        )
    try:
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=separator) if any(map(str.strip, line))]
    except csv.Error as error:
        raise PricesError(f"it cannot be read as a table: {error}") from None
    assets = _assets(lines[0])
    if len(lines) - 1 > MOST_ROWS:
        raise PricesError(f"{len(lines) - 1} rows; at most {MOST_ROWS} are taken")
    rows = sorted(_row(number, line, assets, separator) for number, line in enumerate(lines[1:], 2))
    for (before, _), (day, _) in pairwise(rows):
        if before == day:
            raise PricesError(f"there are two rows of {day}; leave one close for each day")
    if len(rows) < LEAST_ROWS:
        raise PricesError(
            f"{len(rows)} days of prices; at least {LEAST_ROWS} are needed, and with less than some {4 * LEAST_ROWS} "
            "chance decides more than any strategy"
        )
    return Prices(assets, tuple(day for day, _ in rows), tuple(row for _, row in rows))


def _assets(head: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in head[1:])
    if _number(names[0], ",") is not None:
        raise PricesError("line 1 has numbers; it must name the columns: date, then the assets")
    if len(names) > MOST_ASSETS:
        raise PricesError(f"{len(names)} assets; at most {MOST_ASSETS} are taken")
    if not all(names):
        raise PricesError(f"line 1: column {2 + names.index('')} has no name; name each asset, or remove the column")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PricesError(f"line 1: there are two columns {twice!r:.60}; leave one, or give one another name")
    return names


def _row(number: int, line: Sequence[str], assets: Sequence[str], separator: str) -> tuple[date, tuple[float, ...]]:
    if len(line) != len(assets) + 1:
        raise PricesError(f"line {number} has {len(line)} columns where line 1 has {len(assets) + 1}")
    day = _date(line[0].strip())
    if day is None:
        raise PricesError(f"line {number}: {line[0]!r:.40} is no date; write dates like 2024-01-31")
    closes = []
    for asset, cell in zip(assets, line[1:], strict=True):
        close = _number(cell.strip(), separator)
        if close is None and cell.strip().lower() in ("", "na", "n/a", "nan", "null", "none", "-"):
            raise PricesError(
                f"line {number}: there is no price of {asset!r:.60} on {day}; write the close of the day before, or "
                "leave the asset or the day out"
            )
        if close is None:
            raise PricesError(f"line {number}: {cell!r:.40} is no price of {asset!r:.60}")
        if close <= 0:
            raise PricesError(f"line {number}: a price of {close:g} of {asset!r:.60}; prices must be above 0")
        closes.append(close)
    return day, tuple(closes)


def _date(text: str) -> date | None:
    for form in DATES:
        try:
            return datetime.strptime(text[:10], form).date()  # what follows a day is the time of day
        except ValueError:
            continue
    return None


def _number(text: str, separator: str) -> float | None:
    """A finite number; with a decimal comma where commas do not separate columns."""
    if separator != "," and "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None

"""Prices of a person's own: every way a table is written, and every way in which it is wrong."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from node.authoring.prices import LEAST_ROWS, PricesError, decode, read_prices

HEAD = "date,ABC,XYZ"


def lines(rows: int = LEAST_ROWS) -> list[str]:
    """A table of days in a row."""
    begin = date(2020, 1, 1)
    return [HEAD, *(f"{begin + timedelta(n)},{100 + n % 7},{50.5 + n % 5}" for n in range(rows))]


def table(rows: int = LEAST_ROWS, **changed: str) -> str:
    """A table of days in a row. changed: other lines, by "line_" and their number."""
    made = lines(rows)
    for name, line in changed.items():
        made[int(name.removeprefix("line_")) - 1] = line
    return "\n".join(made)


def test_a_table_is_read_in_order_of_time_whatever_its_own() -> None:
    prices = decode(table())
    assert prices.assets == ("ABC", "XYZ")
    assert prices.rows[1] == (101, 51.5)
    assert prices.days_a_year == pytest.approx(365.25)
    head, *rows = lines()
    assert decode("\n".join([head, *reversed(rows), "", ""])) == prices
    assert len(prices.packed()) == 16 + 8 * 2 * LEAST_ROWS
    assert prices.jumps == []


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_and_decimal_commas_are_understood(separator: str) -> None:
    other = table().replace(",", separator).replace(".", ",")
    assert decode(other) == decode(table())


def test_other_dates_and_windows_line_ends_are_understood() -> None:
    head, *rows = lines()
    german = [head] + [".".join(reversed(row[:10].split("-"))) + row[10:] for row in rows]
    assert decode("\r\n".join(german)) == decode(table())
    with_times = [head] + [row[:10] + "T00:00:00Z" + row[10:] for row in rows]
    assert decode("\n".join(with_times)) == decode(table())


def test_what_looks_like_a_split_is_told() -> None:
    assert decode(table(line_9="2020-01-08,25,50.5")).jumps == [
        "ABC goes from 106 to 25 on 2020-01-08",
        "ABC goes from 25 to 101 on 2020-01-09",
    ]


WRONG = {
    "a price is missing": (table(line_5="2020-01-04,,51"), "line 5: there is no price of 'ABC' on 2020-01-04"),
    "a price is NaN": (table(line_5="2020-01-04,100,nan"), "line 5: there is no price of 'XYZ'"),
    "a price is infinite": (table(line_5="2020-01-04,100,inf"), "line 5: 'inf' is no price of 'XYZ'"),
    "a price is text": (table(line_5="2020-01-04,100,high"), "line 5: 'high' is no price of 'XYZ'"),
    "a price is zero": (table(line_5="2020-01-04,0,51"), "a price of 0 of 'ABC'; prices must be above 0"),
    "a price is negative": (table(line_5="2020-01-04,100,-37.6"), "a price of -37.6 of 'XYZ'"),
    "a date is there twice": (table(line_5="2020-01-03,100,51"), "two rows of 2020-01-03"),
    "a date is none": (table(line_5="yesterday,100,51"), "line 5: 'yesterday' is no date; write dates like 2024-01-31"),
    "a column is missing": (table(line_5="2020-01-04,100"), "line 5 has 2 columns where line 1 has 3"),
    "there are few rows": (table(rows=50), f"50 days of prices; at least {LEAST_ROWS} are needed"),
    "there is no head": ("\n".join(lines()[1:]), "line 1 has numbers; it must name the columns"),
    "a column has no name": (table(line_1="date,ABC,"), "line 1: column 3 has no name"),
    "two columns have one name": (table(line_1="date,ABC,ABC"), "there are two columns 'ABC'"),
    "there is one column": ("a\n1\n", "line 1 has one column"),
    "it is empty": ("", "line 1 has one column"),
    "there are many assets": (
        "date," + ",".join(f"a{n}" for n in range(501)) + "\n2020-01-01\n",
        "501 assets; at most 500",
    ),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_with_its_place(text: str, says: str) -> None:
    with pytest.raises(PricesError) as refused:
        decode(text)
    assert says in str(refused.value)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PricesError, match="no text in UTF-8"):
        read_prices(tmp_path / "prices.csv")
    with pytest.raises(PricesError, match="cannot be read"):
        read_prices(tmp_path / "nothing.csv")

"""Lengths of time and times of day as a person writes them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from node.platform.durations import end_of, seconds_in

LATE = datetime(2030, 1, 1, 23, 30)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), (" 2h ", 7200), ("1d", 86400)])
def test_a_length_of_time_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds
    assert end_of(text, LATE) == LATE.timestamp() + seconds


@pytest.mark.parametrize("text", ["", "x", "-5", "9 weeks", "99999d", "1e9"])
def test_what_is_no_length_of_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"15m|too long"):
        seconds_in(text)


def test_a_time_of_day_is_the_next_one() -> None:
    assert end_of("23:45", LATE) == (LATE + timedelta(minutes=15)).timestamp()
    assert end_of("7:00", LATE) == (LATE + timedelta(hours=7.5)).timestamp()
    assert end_of("23:30", LATE) == (LATE + timedelta(days=1)).timestamp()
    for wrong in ("24:00", "12:60"):
        with pytest.raises(ValueError, match="no time of day"):
            end_of(wrong, LATE)

"""Lengths of time and times of day as a person writes them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|h|d)?$")
CLOCK = re.compile(r"^(\d{1,2}):(\d\d)$")
MOST_DURATION = 3650 * 86400.0  # seconds; dates beyond some thousand years cannot be written
UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


def seconds_in(text: str) -> float:
    """Seconds in "90", "90s", "15m", "2h" or "1d". Raises ValueError with a sentence."""
    found = DURATION.match(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 15m or 2h")
    seconds = float(found[1]) * UNIT_SECONDS[found[2]]
    if seconds > MOST_DURATION:
        raise ValueError(f"{text!r} is too long; at most {MOST_DURATION / 86400:.0f}d")
    return seconds


def end_of(text: str, now: datetime) -> float:
    """When a length of time from now is over, or when the clock next shows a time of day, in seconds since 1970.

    now: in local time. At 23:30 "07:00" is seven and a half hours later. Raises ValueError with a sentence.
    """
    clock = CLOCK.match(text.strip())
    if not clock:
        try:
            return now.timestamp() + seconds_in(text)
        except ValueError as error:
            raise ValueError(f"{error}, or a time of day like 22:00") from None
    hour, minute = int(clock[1]), int(clock[2])
    if hour > 23 or minute > 59:
        raise ValueError(f"{text!r} is no time of day; write for example 22:00")
    ends = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (ends if ends > now else ends + timedelta(days=1)).timestamp()


def paused_text(until: float | None) -> str:
    """What a person is told of a pause. until: in seconds since 1970; None where it has no end."""
    if until is None:
        return "paused"
    ends = datetime.fromtimestamp(until)
    form = "%H:%M:%S" if ends.date() == datetime.now().date() else "%Y-%m-%d %H:%M"
    return f"paused until {ends:{form}}"

"""Spending: what asking a model has cost so far, and whether the next question may be asked.

It counts tokens and money against caps per hour and in total. A question is counted at the most it can cost before it
is asked, and corrected afterwards; so a process that dies in between has counted too much, never too little. The count
is kept in the store it is given, and so outlives the process. It knows no model, no clock and no network.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MINUTES = 60  # of the sliding hour, counted by the minute


@dataclass(frozen=True)
class Amount:
    """Tokens, and money in the currency of the prices."""

    tokens: int = 0
    money: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.tokens - other.tokens, self.money - other.money)

    def within(self, cap: Amount) -> bool:
        return self.tokens <= cap.tokens and self.money <= cap.money


@dataclass(frozen=True)
class Prices:
    """Money per million tokens; 0 where nothing is charged."""

    question: float
    answer: float

    def of(self, question_tokens: int, answer_tokens: int) -> Amount:
        money = (question_tokens * self.question + answer_tokens * self.answer) / 1e6
        return Amount(question_tokens + answer_tokens, money)


@dataclass(frozen=True)
class Caps:
    """The most that may be spent within any hour, and ever."""

    hour: Amount
    total: Amount


@dataclass(frozen=True)
class Reservation:
    """The most that a question can cost, counted in the minute it was asked."""

    minute: int
    worst: Amount


class Store(Protocol):
    """Where a few bytes outlive the process: the ledger's settings."""

    @property
    def spending(self) -> bytes | None: ...

    @spending.setter
    def spending(self, note: bytes) -> None: ...


class Spending:
    """The account of one home. `now`: seconds since 1970. What was spent while a clock was ahead counts, once that is
    set back, as spent at that moment: the hour may take up to two then, never less than one and never a year.

    Worked example: caps of 1000 tokens an hour, 900 of them spent in the last 60 minutes. A question of at most 150
    tokens is refused, one of 80 reserved; if it took 30, 70 are left again.
    """

    def __init__(self, store: Store, caps: Caps, now: Callable[[], float]) -> None:
        self._store = store
        self._caps = caps
        self._now = now
        self.total, self._minutes = _kept(store)

    @property
    def last_hour(self) -> Amount:
        minute = self._minute()
        if any(at > minute for at in self._minutes):
            self._minutes = _not_ahead(self._minutes, minute)
            self._keep()  # from now on the hour runs, also if the program ends
        return _within_the_hour(self._minutes, minute)

    def remaining(self) -> Amount:
        """What may still be spent now, under both caps."""
        hour = self._caps.hour - self.last_hour
        total = self._caps.total - self.total
        return Amount(max(0, min(hour.tokens, total.tokens)), max(0.0, min(hour.money, total.money)))

    def reserve(self, worst: Amount) -> Reservation | str:
        """Count the most a question can cost; or count nothing, and return which cap forbids it, in words."""
        if not (self.total + worst).within(self._caps.total):
            return "the cap in total is reached; raise tokens_total or money_total in [llm] to go on"
        if not worst.within(self._caps.hour):
            return "one question may cost more than the cap per hour; raise tokens_per_hour or money_per_hour in [llm]"
        if not (self.last_hour + worst).within(self._caps.hour):
            return "the cap per hour is reached"
        reservation = Reservation(self._minute(), worst)
        self._add(reservation.minute, worst)
        return reservation

    def settle(self, reservation: Reservation, used: Amount) -> None:
        """Replace a reservation by what the question really cost."""
        self._add(reservation.minute, used - reservation.worst)

    def _add(self, minute: int, amount: Amount) -> None:
        self.total += amount
        self._minutes[minute] = self._minutes.get(minute, Amount()) + amount
        oldest = self._minute() - MINUTES
        self._minutes = {at: spent for at, spent in self._minutes.items() if at > oldest}
        self._keep()

    def _keep(self) -> None:
        values = {
            "total": [self.total.tokens, self.total.money],
            "minutes": {str(at): [spent.tokens, spent.money] for at, spent in self._minutes.items()},
        }
        self._store.spending = json.dumps(values).encode()

    def _minute(self) -> int:
        return int(self._now() // 60)


def spent(store: Store, now: float) -> tuple[Amount, Amount]:
    """What was spent ever, and within the last hour, for display. `now`: seconds since 1970."""
    total, minutes = _kept(store)
    return total, _within_the_hour(minutes, int(now // 60))


def _kept(store: Store) -> tuple[Amount, dict[int, Amount]]:
    kept = store.spending
    if kept is None:
        return Amount(), {}
    values = json.loads(kept)
    return Amount(*values["total"]), {int(minute): Amount(*amount) for minute, amount in values["minutes"].items()}


def _not_ahead(minutes: dict[int, Amount], minute: int) -> dict[int, Amount]:
    """The same amounts, of which none was spent after this minute."""
    settled: dict[int, Amount] = {}
    for at, amount in minutes.items():
        settled[min(at, minute)] = settled.get(min(at, minute), Amount()) + amount
    return settled


def _within_the_hour(minutes: dict[int, Amount], minute: int) -> Amount:
    return sum((amount for at, amount in minutes.items() if at > minute - MINUTES), Amount())

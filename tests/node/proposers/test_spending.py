"""What a model may cost: counted before it is spent, by the hour and in total, and not forgotten."""

from __future__ import annotations

from node.proposers.spending import Amount, Caps, Prices, Reservation, Spending
from tests.node.proposers.test_llm import Drawer

CAPS = Caps(hour=Amount(1000, 1.0), total=Amount(1500, 9.0))


class Clock:
    seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def reserved(spending: Spending, tokens: int, money: float = 0.0) -> Reservation:
    reservation = spending.reserve(Amount(tokens, money))
    assert isinstance(reservation, Reservation)
    return reservation


def test_prices_are_per_million_tokens() -> None:
    assert Prices(0.25, 2.0).of(1_000_000, 500_000) == Amount(1_500_000, 1.25)


def test_a_reservation_counts_until_it_is_settled() -> None:
    spending = Spending(Drawer(), CAPS, Clock())
    reservation = reserved(spending, 900, 0.5)
    assert spending.reserve(Amount(200)) == "the cap per hour is reached"
    spending.settle(reservation, Amount(100, 0.1))
    assert spending.remaining() == Amount(900, 0.9)
    reserved(spending, 200)


def test_money_is_capped_like_tokens() -> None:
    spending = Spending(Drawer(), CAPS, Clock())
    reserved(spending, 1, 0.9)
    assert spending.reserve(Amount(1, 0.2)) == "the cap per hour is reached"


def test_an_hour_later_there_is_a_new_allowance_but_the_total_stays() -> None:
    clock = Clock()
    spending = Spending(Drawer(), CAPS, clock)
    reserved(spending, 1000)
    clock.seconds += 59 * 60
    assert isinstance(spending.reserve(Amount(500)), str)
    clock.seconds += 60
    reserved(spending, 500)
    clock.seconds += 3600
    assert "in total" in str(spending.reserve(Amount(1)))


def test_what_was_spent_outlives_the_process_even_in_the_middle_of_a_question() -> None:
    drawer, clock = Drawer(), Clock()
    reserved(Spending(drawer, CAPS, clock), 700, 0.25)  # and then it is killed
    again = Spending(drawer, CAPS, clock)
    assert again.total == again.last_hour == Amount(700, 0.25)
    assert isinstance(again.reserve(Amount(400)), str)


def test_a_question_larger_than_the_cap_says_which_setting_to_raise() -> None:
    assert "tokens_per_hour" in str(Spending(Drawer(), CAPS, Clock()).reserve(Amount(1001)))


def test_a_clock_set_back_frees_nothing() -> None:
    clock = Clock()
    spending = Spending(Drawer(), CAPS, clock)
    reserved(spending, 1000)
    clock.seconds -= 86_400
    assert isinstance(spending.reserve(Amount(1)), str)


def test_what_was_spent_while_the_clock_was_a_year_ahead_counts_for_an_hour_once_it_is_right() -> None:
    drawer, clock = Drawer(), Clock()
    clock.seconds += 365 * 86400
    reserved(Spending(drawer, CAPS, clock), 700)
    clock.seconds -= 365 * 86400
    assert Spending(drawer, CAPS, clock).reserve(Amount(400)) == "the cap per hour is reached"
    clock.seconds += 61 * 60
    reserved(Spending(drawer, CAPS, clock), 700)

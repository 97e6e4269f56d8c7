"""Strangers' word counts for nothing in one hypothesis of ten, and in all while that shows that they lie."""

from __future__ import annotations

from node.proposers.hearsay import Hearsay


def disbelieved(hearsay: Hearsay, hypotheses: int) -> int:
    return sum(not hearsay.next_believes() for _ in range(hypotheses))


def test_one_hypothesis_in_ten_is_made_without_strangers_and_later_one_in_twenty() -> None:
    hearsay = Hearsay()
    assert disbelieved(hearsay, 9) == 0
    assert disbelieved(hearsay, 91) == 10
    for _ in range(5):
        hearsay.count(gained=False)
    assert disbelieved(hearsay, 100) == 5


def test_a_gain_now_and_then_is_chance_and_many_show_that_strangers_lie() -> None:
    hearsay = Hearsay()
    for number in range(40):
        hearsay.count(gained=number % 20 == 19)
    assert disbelieved(hearsay, 20) == 1
    for _ in range(10):
        hearsay.count(gained=True)
    assert disbelieved(hearsay, 20) == 20
    for _ in range(40):
        hearsay.count(gained=False)
    assert disbelieved(hearsay, 20) == 1, "they are believed again"

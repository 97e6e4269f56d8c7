"""One hypothesis in ten is made without others' word; who is shown wrong by such rechecks is believed no more."""

from __future__ import annotations

from node.proposers.hearsay import STRANGERS, Hearsay

ANN = b"ann"


def rechecks(hearsay: Hearsay, hypotheses: int) -> int:
    return sum(hearsay.next_is_recheck() for _ in range(hypotheses))


def test_one_hypothesis_in_ten_is_made_without_others_and_later_one_in_twenty() -> None:
    hearsay = Hearsay()
    assert rechecks(hearsay, 9) == 0
    assert rechecks(hearsay, 91) == 10
    for _ in range(5):
        hearsay.count({STRANGERS}, gained=False)
    assert rechecks(hearsay, 100) == 5


def test_a_gain_now_and_then_is_chance_and_many_show_that_strangers_lie() -> None:
    hearsay = Hearsay()
    for number in range(40):
        hearsay.count({STRANGERS}, gained=number % 20 == 19)
    assert not hearsay.is_wrong(STRANGERS)
    for _ in range(10):
        hearsay.count({STRANGERS}, gained=True)
    assert hearsay.is_wrong(STRANGERS)
    for _ in range(40):
        hearsay.count({STRANGERS}, gained=False)
    assert not hearsay.is_wrong(STRANGERS), "they are believed again"


def test_who_was_found_right_once_answers_for_its_own_word_alone() -> None:
    hearsay = Hearsay()
    hearsay.count({STRANGERS}, gained=True)
    hearsay.count({ANN}, gained=False)
    assert (hearsay.is_wrong(STRANGERS), hearsay.is_wrong(ANN)) == (True, False)
    hearsay.count({ANN, STRANGERS}, gained=True)
    assert hearsay.is_wrong(ANN)

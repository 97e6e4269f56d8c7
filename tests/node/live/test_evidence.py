"""Evidence about a ratio of two rates: right at any time, and the same as sums worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from node.live.evidence import interval, log_evidence_above, log_evidence_apart, log_evidence_below


def test_nothing_answered_is_no_evidence() -> None:
    for evidence in (log_evidence_above, log_evidence_below, log_evidence_apart):
        assert evidence(0, 0) == pytest.approx(0.0)


def test_a_bet_is_fair_whatever_was_answered_before() -> None:
    """The mean of the wealth after one more answer is the wealth before it, where the ratio is that of the claim."""
    for ours, theirs, ratio in ((0, 0, 1.0), (7, 3, 1.0), (2, 9, 1.5), (40, 44, 0.7)):
        chance = ratio / (1 + ratio)
        for evidence in (log_evidence_above, log_evidence_below, log_evidence_apart):
            after = chance * math.exp(evidence(ours + 1, theirs, ratio))
            after += (1 - chance) * math.exp(evidence(ours, theirs + 1, ratio))
            assert after == pytest.approx(math.exp(evidence(ours, theirs, ratio)))


def test_where_the_first_is_worse_a_bet_that_it_is_better_only_loses() -> None:
    worse = 0.8 / 1.8
    for ours, theirs in ((0, 0), (7, 3), (20, 30)):
        after = worse * math.exp(log_evidence_above(ours + 1, theirs))
        after += (1 - worse) * math.exp(log_evidence_above(ours, theirs + 1))
        assert after < math.exp(log_evidence_above(ours, theirs))


def test_sides_mirror_each_other() -> None:
    assert log_evidence_above(30, 12, 1.1) == pytest.approx(log_evidence_below(12, 30, 1 / 1.1))


def test_much_evidence_is_much_and_stays_a_number() -> None:
    assert log_evidence_above(60, 30) > math.log(20)
    assert log_evidence_below(60, 30) < 0
    assert math.isfinite(log_evidence_above(1_000_000, 1))


def test_an_interval_holds_what_is_not_refuted_and_narrows() -> None:
    wide, narrow = interval(12, 10, 0.05), interval(1200, 1000, 0.05)
    assert wide.low < narrow.low < 1.2 < narrow.high < wide.high
    for found in (wide, narrow):
        assert found.low < found.ratio < found.high
    assert interval(0, 0, 0.05).high == math.inf
    assert interval(3, 0, 0.05).high == math.inf
    assert interval(0, 30, 0.05).low == 0.0
    at_the_edge = log_evidence_apart(1200, 1000, narrow.high)
    assert at_the_edge == pytest.approx(math.log(20), abs=0.01)


def test_looking_again_and_again_seldom_convinces_of_what_is_not_so() -> None:
    """200 audiences at level 10 %, 600 answers each: more than 29 false ones have a probability below 2 %."""
    totals = (np.random.default_rng(5).random((200, 600)) < 0.5).cumsum(1)
    false = sum(
        any(log_evidence_above(int(row[look]), look + 1 - int(row[look])) >= math.log(10) for look in range(5, 600, 25))
        for row in totals
    )
    assert 0 < false <= 29

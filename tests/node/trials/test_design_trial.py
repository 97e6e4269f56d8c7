"""A design through its driver: how many runs it makes, at which seeds, and what it finds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from node.ledger.outcome import Outcome
from node.trials.design_trial import DesignTrial, design_trial
from protocol.metric import LOSS
from tests.node.trials.simulated_machine import outcome

EFFECTS = [0.03, -0.02, 0.0, 0.05, 0.0, -0.1, 0.01]


async def as_bytes(chosen: Sequence[int]) -> bytes:
    return bytes(chosen)


class Edits:
    """A machine on which a source is the edits it has, some of which crash."""

    def __init__(self, crash: Sequence[int] = ()) -> None:
        self.crash = crash
        self.runs: list[tuple[bytes, int]] = []

    async def run(self, source: bytes, seed: int) -> Outcome:
        self.runs.append((source, seed))
        if set(source) & set(self.crash):
            return outcome(None, "exception")
        return outcome(4.0 * math.exp(-math.fsum(EFFECTS[number] for number in source)))

    async def screened(self) -> DesignTrial:
        return await design_trial(self.run, as_bytes, len(EFFECTS), 0.01, LOSS, lambda number: 100 + number)


def gains(found: DesignTrial) -> list[float | None]:
    return [None if each is None else each.gain for each in found.estimates]


async def test_seven_edits_are_measured_by_one_run_of_all_and_eight_of_a_design() -> None:
    machine = Edits()
    found = await machine.screened()
    assert gains(found) == pytest.approx(EFFECTS)
    assert len(machine.runs) == 1 + 8
    assert len({seed for _, seed in machine.runs}) == 9


async def test_an_edit_that_crashes_is_left_out_and_the_others_are_measured() -> None:
    found = await Edits(crash=[4]).screened()
    assert found.crashed == (4,)
    assert gains(found) == [None if number == 4 else pytest.approx(gain) for number, gain in enumerate(EFFECTS)]


async def test_where_every_edit_crashes_nothing_is_measured() -> None:
    found = await Edits(crash=range(7)).screened()
    assert found == DesignTrial((None,) * 7, tuple(range(7)))

"""The runs of a design: several edits of one parent, screened together.

The driver is asynchronous and makes its runs through a function it is given, as `trial` and `bet_trial` do. It knows
edits as numbers, and a source only as what a function makes of some of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.ledger.outcome import Outcome
from node.trials.designs import Estimate, Row, crashing, design, fitted
from protocol.metric import Metric


class MakeRun(Protocol):
    """Makes one run of a source at a seed."""

    def __call__(self, source: bytes, seed: int, /) -> Awaitable[Outcome]: ...


@dataclass(frozen=True)
class DesignTrial:
    """What the runs said. estimates: of each edit, by number; None where it crashed, or could not be told apart."""

    estimates: tuple[Estimate | None, ...]
    crashed: tuple[int, ...]


async def design_trial(
    run: MakeRun,
    source_with: Callable[[Sequence[int]], Awaitable[bytes]],
    edits: int,
    deviation: float,
    metric: Metric,
    seed_of_run: Callable[[int], int],
) -> DesignTrial:
    """Run all edits together, take out what crashes, then make the runs of the design and fit what each edit gains.

    source_with: the parent with these edits, by their numbers. deviation: of a run's gain by chance. seed_of_run: the
    seed of a run by its number, from 1; each run has its own, so that an edit which suits one seed gains little by it.
    """
    rows: list[tuple[tuple[int, ...], float]] = []  # the edits of a run, and its value
    made = 0

    async def value_of(chosen: Sequence[int]) -> float | None:
        nonlocal made
        made += 1
        outcome = await run(await source_with(chosen), seed_of_run(made))
        value = None if outcome.failure is not None else outcome.value
        if value is not None:
            rows.append((tuple(chosen), value))
        return value

    async def works(chosen: Sequence[int]) -> bool:
        return await value_of(chosen) is not None

    crashed = await crashing(range(edits), works)
    left = [number for number in range(edits) if number not in crashed]
    for row in design(len(left)) or ():
        await value_of([number for has, number in zip(row, left, strict=True) if has])
    if not rows or not left:
        return DesignTrial((None,) * edits, tuple(crashed))
    table: list[Row] = [tuple(number in chosen for number in left) for chosen, _ in rows]
    gains = [-metric.difference(rows[0][1], value) for _, value in rows]
    found = dict(zip(left, fitted(table, gains, deviation), strict=True))
    return DesignTrial(tuple(found.get(number) for number in range(edits)), tuple(crashed))

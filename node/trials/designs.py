"""Several edits screened at once: designs, what their runs say of each edit, and when that beats one by one.

Each run of a design tries half of the edits together, a different half each time, so that every edit is in half of the
runs. The difference between the runs with it and those without it is its effect, and every run counts for every edit:
23 edits are measured by 24 runs, each with the standard error 2σ/√24 = .41 σ of a run's deviation σ, where a run of its
own beside the parent's has up to √2 σ. So designs pay where the noise is large beside what ideas gain.

What that rests on: effects of edits that touch different places add up, on the logarithmic scale. What does not add up
is noise to a design; a claim measures the sum.

Pure: it knows edits as numbers, and neither sources nor runs. Source of the designs: R. L. Plackett, J. P. Burman, "The
design of optimum multifactorial experiments", Biometrika 33 (1946), 305–325.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from node.trials.gain_posterior import GainPrior, value_of_new_idea
from node.trials.statistics import pooled_deviation

# The first rows of the cyclic designs, by their number of runs; the last row, of minus signs alone, is the parent.
FIRST_ROWS = {
    8: "+++-+--",
    12: "++-+++---+-",
    16: "++++-+-++--+---",
    20: "++--++++-+-+----++-",
    24: "+++++-+-++--++--+-+----",
}
SMALLEST = 0.1  # of a pivot, as a share of the diagonal: below it the rows that are left do not tell an edit apart
# A design must promise this much more per run than trying the edits one by one: some edits will not add up.
DESIGN_ADVANTAGE = 1.2

Row = tuple[bool, ...]


@dataclass(frozen=True)
class Estimate:
    """What a design says of one edit. gain: −J, positive is better."""

    gain: float
    se: float


def design(edits: int) -> tuple[Row, ...] | None:
    """The rows of the smallest design for this many edits: which of them each run has; None where there are too many.

    Columns that no edit needs are left out; what is left stays orthogonal.
    """
    runs = next((size for size in FIRST_ROWS if size > edits), None)
    return None if runs is None else tuple(row[:edits] for row in plackett_burman(runs))


def plackett_burman(runs: int) -> tuple[Row, ...]:
    """The design for runs − 1 edits: the first row in all its cyclic shifts, and the parent alone."""
    first = tuple(sign == "+" for sign in FIRST_ROWS[runs])
    shifted = [first[-shift:] + first[:-shift] for shift in range(len(first))]
    return (*shifted, tuple(False for _ in first))


def fitted(rows: Sequence[Row], gains: Sequence[float | None], deviation: float) -> tuple[Estimate | None, ...]:
    """The effect of each edit, by least squares with an intercept; None of one that the rows left do not tell apart.

    gains: what each row's run showed, up to a constant; None where it failed. deviation: of a run's gain by chance.

    With all rows of an orthogonal design this is the difference of two means, with a standard error of 2σ/√runs.
    """
    if not rows:
        return ()
    kept = [(row, gain) for row, gain in zip(rows, gains, strict=True) if gain is not None]
    columns = len(rows[0]) + 1
    table = [[1.0, *(0.5 if has else -0.5 for has in row)] for row, _ in kept]
    normal = [[math.fsum(line[i] * line[j] for line in table) for j in range(columns)] for i in range(columns)]
    right = [math.fsum(line[i] * gain for line, (_, gain) in zip(table, kept, strict=True)) for i in range(columns)]
    found: list[Estimate | None] = [None] * columns
    inverse, known = _inverse(normal)
    for i in known:
        gain = math.fsum(inverse[i][j] * right[j] for j in range(columns))
        found[i] = Estimate(gain, deviation * math.sqrt(inverse[i][i]))
    return tuple(found[1:])


def _inverse(matrix: list[list[float]]) -> tuple[list[list[float]], list[int]]:
    """The inverse of a symmetric matrix, and the indices of what it tells apart.

    Gauss-Jordan elimination, that of the intercept first. Where the pivot of a column has gone, that column is a sum of
    earlier ones: then neither it nor any that it is mixed up with can be told apart, and all these are left out.
    """
    size = len(matrix)
    rows = [[*line, *(float(i == j) for j in range(size))] for i, line in enumerate(matrix)]
    lost: set[int] = set()
    for column in range(size):
        pivot = rows[column][column]
        if pivot <= SMALLEST * max(matrix[column][column], 1e-12) / size:
            lost |= {column} | {i for i in range(size) if i != column and abs(rows[i][column]) > 1e-9}
            continue
        rows[column] = [value / pivot for value in rows[column]]
        for other in range(size):
            factor = rows[other][column]
            if other != column and factor != 0:
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[column], strict=True)]
    return [line[size:] for line in rows], [i for i in range(size) if i not in lost]


def run_deviation(gains: Iterable[Sequence[float]], s0: float) -> float:
    """The standard deviation of a run at a seed of its own: gains of each source that was run at several seeds.

    s0, the objective's figure for a pair, is the prior: no pair of two related sources differs by much more.
    """
    return pooled_deviation(gains, s0)


async def crashing(edits: Sequence[int], runs: Callable[[Sequence[int]], Awaitable[bool]]) -> list[int]:
    """The edits that crash a run, found by halving: one run where all work together, 2 log2(edits) where one crashes.

    runs: whether the parent with these edits runs to the end. Two edits that crash only together are both taken out, or
    neither is where they fall into different halves: then a run of the design may crash, and is missing. Source: R.
    Dorfman, "The detection of defective members of large populations", Annals of Mathematical Statistics 14 (1943),
    436–440.
    """
    if not edits or await runs(edits):
        return []
    if len(edits) == 1:
        return list(edits)
    middle = len(edits) // 2
    return [*await crashing(edits[:middle], runs), *await crashing(edits[middle:], runs)]


@dataclass(frozen=True)
class Plan:
    """How to screen ideas: so many in one design, 0 to try them one by one; and the gain expected of each run then."""

    edits: int
    gain_per_run: float


def plan(priors: Sequence[GainPrior], pair_noise: float, run_noise: float) -> Plan:
    """Whether to screen these ideas, taken in order, in a design or one by one.

    pair_noise: the standard deviation of a pair's gain. run_noise: that of a run at a seed of its own.

    Compared is the gain expected of each run. One by one: the mean of what a first run of each is worth. In a design of
    N runs, and one more that shows whether all edits run together: what a measurement with the standard error 2σ/√N is
    worth, of each edit, divided by N + 1.
    """
    if not priors:
        return Plan(0, 0.0)
    alone = math.fsum(value_of_new_idea(prior, pair_noise) for prior in priors) / len(priors)
    best = Plan(0, alone)
    for runs in FIRST_ROWS:
        members = priors[: runs - 1]
        if len(members) <= runs / 2:
            break
        worth = math.fsum(value_of_new_idea(prior, standard_error(runs, run_noise)) for prior in members) / (runs + 1)
        if worth > max(best.gain_per_run, DESIGN_ADVANTAGE * alone):
            best = Plan(len(members), worth)
    return best


def standard_error(runs: int, run_noise: float) -> float:
    """That of an edit's gain in a complete design of so many runs: 2σ/√N."""
    return 2 * run_noise / math.sqrt(runs)

"""Numeric search over a source's UPPERCASE constants, several at once, by everything that the ledger knows of them.

Moves of one to four constants are drawn, and the one of the largest expected improvement is proposed, by a surface that
is fitted anew each time to the effects in the records: own and peers', of one constant or several, on this source or
an older one. So nothing is lost with the process. Before anything was measured, that is a moderate step of a few
constants; where constants gained, it moves them on together.

A move must be new: not near what was tried on this source or lately before it. A constant whose moves keep failing
rests.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.objective.edits import Constant, EditError
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult
from protocol.fields import TEXT_LIMITS
from protocol.records import Decision

if TYPE_CHECKING:
    from node.proposers.response_surface import Observation

FLOAT_FACTOR = 4.0  # by which a real constant may grow or shrink in one proposal: one unit of its axis
DECAY_FACTOR = 20.0  # by which the distance of a decay from 1 may change: one unit of its axis
INT_FACTOR = 2.0  # by which a whole constant may change: sizes, for which a factor of four often does not run
LEAST_STEP = 0.12  # units of the axis: less than a factor of 1.18 cannot be told from none by the runs a trial has
NEAR = 0.12  # units of the axis within which a move is the same as one that was tried
MOST_STEP = 0.6  # units of the axis that a drawn step takes: a factor of 2.3
TOWARDS_BEST = (0.6, 1.1)  # share of the way to a constant's best position that a drawn step goes
MOST_CHANGED = 4  # constants in one move: what a move of more does says little of each
MOST_SIZES = 1  # whole constants among them: a size that does not run takes the others with it
MOVES = 60  # drawn for one proposal; few enough that two nodes who know the same differ
TRIES = 20  # of the best moves whose sources are made until one is new
RESTS_FROM = 1.5  # failed moves of a constant, each counting FADES times as much as the next: two in a row make it rest
FADES = 0.8
GRAIN = 4  # a size keeps its powers of two: it moves in the largest one that is at most a quarter of it and divides it
OTHER_PARENT_ERROR = 0.005  # standard error (ln) added to what was measured on another source
MIXED_ERROR = 0.02  # and to what came with an edit of code, perhaps
FAILED, FAILED_ERROR = -0.1, 0.05  # gain, and its error, that a run without a value counts for
ENDED_EARLY = -0.05  # gain, with the same error, that one ended early counts for
DIGITS = 3  # significant, so that a proposal reads well
CATEGORY = "numeric"
NAMES = frozenset({"numeric", "cma-es"})  # of proposers that change numbers only; the second is an older version's
REASON = "A search over several constants together, by the effects measured so far."


@dataclass(frozen=True)
class Axis:
    """The range in which a constant is searched, on a logarithmic scale, from `low` to `high`.

    Positions are units of the axis from the present value: a factor of four, of a decay twenty.
    from_one: it is a decay, searched by its distance from 1, since 1 / (1 − decay) is the number of steps it averages
    over: 0.9 and 0.99 differ by a factor of ten, 0.1 and 0.19 hardly. grain: of a whole constant, 0 of a real one.
    """

    present: float
    factor: float
    low: float
    high: float
    grain: int = 0
    from_one: bool = False

    def position(self, value: float) -> float | None:
        """Where a value lies; None of one that has no place on this axis."""
        flipped = 1.0 - value if self.from_one else value
        start = 1.0 - self.present if self.from_one else self.present
        return math.log(flipped / start) / math.log(self.factor) if flipped > 0 and math.isfinite(flipped) else None

    def value(self, position: float) -> float:
        """The value at a position, within the range, as it would be shown."""
        start = 1.0 - self.present if self.from_one else self.present
        flipped = min(self.high, max(self.low, start * math.exp(position * math.log(self.factor))))
        if self.grain:
            return max(1, round(flipped / self.grain) * self.grain)
        return float(shown(1.0 - flipped if self.from_one else flipped))


class Numeric:
    """Proposes other values for one to four numeric constants."""

    name = "numeric"
    costly = False
    categories = (CATEGORY,)

    async def propose(self, context: Context) -> Proposal | None:
        try:
            searched = {constant.name: (constant, axis) for constant, axis in await searchable(context)}
        except EditError:
            return None
        axes = {name: axis for name, (_, axis) in searched.items()}
        tried = [result for result in context.results if result.changed and result.changed.keys() <= axes.keys()]
        for move in _best_moves(context, axes, tried):
            edits = [searched[name][0].set_to(shown(value)) for name, value in move.items()]
            try:
                source = await context.parser.apply(context.source, edits)
            except EditError:
                continue
            if not await context.was_tried(source):
                changes = [f"{name} {shown(searched[name][0].value)} → {shown(value)}" for name, value in move.items()]
                title = ", ".join(changes)[: TEXT_LIMITS["title"]].strip()
                return Proposal(title, CATEGORY, REASON, self.name, source)
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the effect is in the ledger."""


async def searchable(context: Context) -> list[tuple[Constant, Axis]]:
    """The constants with a range to search, without seeds and idle ones. Raises EditError for no Python."""
    without_effect = context.idle | await context.parser.seeds(context.source)
    numbers = (await context.parser.facts(context.source)).numbers
    found = [(each, axis_of(each)) for each in numbers if each.name not in without_effect]
    return [(constant, axis) for constant, axis in found if axis is not None]


def axis_of(constant: Constant) -> Axis | None:
    """A factor up and down from the present value; None for what is no positive number.

    4 (whole): 2 to 8. 0.003: 0.00075 to 0.012. 0.9, a decay: from 0.4 (at most 0.6 from 1) to 0.995.
    """
    value = constant.value
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0 or not math.isfinite(value):
        return None
    if isinstance(value, int):
        grain = max(1, math.gcd(value, 1 << max(0, (value // GRAIN).bit_length() - 1)))
        return Axis(value, FLOAT_FACTOR, max(1.0, value / INT_FACTOR), max(value + 1.0, value * INT_FACTOR), grain)
    if 0.5 <= value < 1:
        low, high = (1 - value) / DECAY_FACTOR, min(0.6, (1 - value) * DECAY_FACTOR)
        return Axis(value, DECAY_FACTOR, low, high, from_one=True)
    return Axis(value, FLOAT_FACTOR, value / FLOAT_FACTOR, value * FLOAT_FACTOR)


def shown(value: float) -> str:
    """A value as it stands in the source and in a title: three digits, five for decays close to 1."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1):
        return str(int(value))
    return f"{float(f'%.{DIGITS}g' % value):g}" if abs(value) < 0.9 else f"{value:.5g}"


# ---- which move ------------------------------------------------------------------------------------------------------

Move = Mapping[str, float]  # new values by constant


def _best_moves(context: Context, axes: Mapping[str, Axis], tried: Sequence[TriedResult]) -> list[Move]:
    """The best of the moves drawn, by expected improvement, that are new; at most TRIES."""
    if not axes:
        return []
    from node.proposers.response_surface import ResponseSurface  # imports numpy, which only this search needs

    surface = ResponseSurface(list(axes), [one for one in (_observed(context, axes, r) for r in tried) if one])
    near = [result for result in tried if context.is_near(result.parent)]
    open_names = awake(sorted(axes), near, context.rng)
    best = {name: surface.best_position(name) for name in open_names}
    known = [_positions(axes, result.changed) for result in near]
    moves: dict[tuple[tuple[str, float], ...], Move] = {}
    for _ in range(MOVES):
        move = _drawn(context.rng, axes, open_names, best)
        if move and not any(_is_same(_positions(axes, move), one) for one in known):
            moves[tuple(sorted(move.items()))] = move
    drawn = list(moves.values())
    if not drawn:
        return []
    scores = surface.expected_improvement([_positions(axes, move) for move in drawn])
    return [drawn[index] for index in sorted(range(len(drawn)), key=lambda index: -scores[index])[:TRIES]]


def _drawn(rng: random.Random, axes: Mapping[str, Axis], names: Sequence[str], best: Mapping[str, float]) -> Move:
    """A random move of a few constants: each by a log-normal step, or most of the way to its best position."""
    move: dict[str, float] = {}
    towards_best = rng.random() < 0.5
    sizes = 0
    for name in rng.sample(names, min(len(names), rng.randint(1, MOST_CHANGED))):
        axis = axes[name]
        if axis.grain and sizes == MOST_SIZES:
            continue
        drawn = rng.choice((-1, 1)) * rng.uniform(LEAST_STEP, MOST_STEP)
        step = best[name] * rng.uniform(*TOWARDS_BEST) if towards_best else drawn
        value = axis.value(step)
        position = axis.position(value)
        if position is not None and abs(position) >= LEAST_STEP:
            move[name] = value
            sizes += axis.grain > 0
    return move


def awake(names: Sequence[str], near: Sequence[TriedResult], rng: random.Random) -> list[str]:
    """The constants that may be moved: those whose moves did not fail often of late, at least a third of them.

    near: results on this source and lately before it, in order. After a gain all begin anew. A constant that failed in
    the last two moves has 1 + .8 = 1.8 and rests; after one move of others it has .8 + .64 = 1.44, and may move again.
    """
    failures = dict.fromkeys(names, 0.0)
    weight = 1.0
    for result in reversed([result for result in near if result.proposer in NAMES]):
        if result.gained:
            break
        for name in result.changed.keys() & failures.keys():
            failures[name] += weight
        weight *= FADES
    ordered = sorted(names, key=lambda name: (failures[name], rng.random()))
    least = max(1, len(ordered) // 3)
    return sorted(name for rank, name in enumerate(ordered) if rank < least or failures[name] < RESTS_FROM)


def _positions(axes: Mapping[str, Axis], values: Mapping[str, float]) -> dict[str, float]:
    """Positions of values that have one."""
    found = {name: axes[name].position(value) for name, value in values.items()}
    return {name: position for name, position in found.items() if position is not None}


def _is_same(move: Mapping[str, float], tried: Mapping[str, float]) -> bool:
    """Whether two moves change the same constants to neighbouring values."""
    return move.keys() == tried.keys() and all(abs(move[name] - tried[name]) < NEAR for name in move)


def _observed(context: Context, axes: Mapping[str, Axis], result: TriedResult) -> Observation | None:
    """What a result says of the surface; None where it says nothing of these constants."""
    from node.proposers.response_surface import USUAL_GAIN, Observation

    before = {name: result.before.get(name, axes[name].present) for name in result.changed}
    start, end = _positions(axes, before), _positions(axes, result.changed)
    if start.keys() != end.keys() or not end:
        return None
    if result.ended_early:
        gain, error = ENDED_EARLY, FAILED_ERROR
    elif result.decision == Decision.FAILED:
        gain, error = FAILED, FAILED_ERROR
    elif result.effect is not None:
        gain, error = -result.effect, result.error if result.error is not None else USUAL_GAIN / 2
    else:
        return None
    elsewhere = 0.0 if result.parent == context.source_id else OTHER_PARENT_ERROR
    mixed = 0.0 if result.proposer in NAMES else MIXED_ERROR
    return Observation(start, end, gain, math.hypot(error, elsewhere, mixed))

"""Numeric search over a source's UPPERCASE constants: Optuna's TPE over every result in the ledger.

Each proposal changes one constant. The study is built anew from the records each time it is asked, so it knows what
peers tried as well, and nothing is lost with the process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from node.objective.edits import Constant, EditError
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult

FLOAT_FACTOR = 4.0  # by which a real constant may grow or shrink in one proposal
DECAY_FACTOR = 20.0  # by which the distance of a decay from 1 may change
INT_FACTOR = 2  # by which a whole constant may grow or shrink: sizes, for which a factor of four often does not run
LEAST_FACTOR = 1.15  # a smaller step than this cannot be told from none by the runs a trial has
DIGITS = 3  # significant, so that a proposal reads well
TRIES = 20  # values sampled for one proposal until one is new
STARTUP_TRIALS = 5  # results below which TPE samples at random
CATEGORY = "numeric"
REASON = "A search over this constant (TPE), given the effects measured so far."


class Numeric:
    """Proposes another value for one numeric constant at a time."""

    name = "numeric"
    costly = False
    categories = (CATEGORY,)

    async def propose(self, context: Context) -> Proposal | None:
        try:
            searched = [constant for constant, _ in await searchable(context)]
        except EditError:
            return None
        for _ in range(TRIES if searched else 0):
            constant = context.rng.choice(searched)
            value = self._suggest(context, constant)
            if not is_far_enough(constant, value):
                continue
            text = shown(value)
            try:
                source = await context.parser.apply(context.source, [constant.set_to(text)])
            except EditError:
                continue
            if not await context.was_tried(source):
                title = f"{constant.name} {shown(constant.value)} → {text}"
                return Proposal(title[:120], CATEGORY, REASON, self.name, source)
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the effect is in the ledger."""

    def _suggest(self, context: Context, constant: Constant) -> float:
        """A value for one constant by TPE over what is known of it: effects of changing it alone, on any parent."""
        import optuna  # a heavy import that only this proposer needs

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        axis = axis_of(constant)
        assert axis is not None
        distribution: Any = (
            optuna.distributions.IntDistribution(int(axis.low), int(axis.high))
            if axis.whole
            else optuna.distributions.FloatDistribution(axis.low, axis.high, log=True)
        )
        sampler = optuna.samplers.TPESampler(seed=context.rng.getrandbits(32), n_startup_trials=STARTUP_TRIALS)
        study = optuna.create_study(direction="minimize", sampler=sampler)
        # The present value has an effect of 0 by definition. Effects on other parents are taken as if measured here.
        for value, effect in [(float(constant.value), 0.0), *_known(context.results, constant.name)]:
            position = axis.flip(value)
            if axis.low <= position <= axis.high:
                study.add_trial(
                    optuna.trial.create_trial(
                        params={constant.name: int(position) if axis.whole else position},
                        distributions={constant.name: distribution},
                        value=effect,
                    )
                )
        return axis.flip(float(study.ask({constant.name: distribution}).params[constant.name]))


def _known(results: tuple[TriedResult, ...], name: str) -> list[tuple[float, float]]:
    """(value, effect J) of every experiment that changed this constant and no other."""
    return [(t.changed[name], t.effect) for t in results if t.effect is not None and set(t.changed) == {name}]


@dataclass(frozen=True)
class Axis:
    """The range in which a constant is searched, on a logarithmic scale unless it is whole.

    from_one: it is a decay, searched by its distance from 1, since 1 / (1 − decay) is the number of steps it averages
    over: 0.9 and 0.99 differ by a factor of ten, 0.1 and 0.19 hardly.
    """

    low: float
    high: float
    whole: bool = False
    from_one: bool = False

    def flip(self, number: float) -> float:
        """The position of a value on the axis, or the value at a position: 1 − x is its own inverse."""
        return 1.0 - number if self.from_one else number


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
        return Axis(max(1, value // INT_FACTOR), max(value + 1, value * INT_FACTOR), whole=True)
    if 0.5 <= value < 1:
        return Axis((1 - value) / DECAY_FACTOR, min(0.6, (1 - value) * DECAY_FACTOR), from_one=True)
    return Axis(value / FLOAT_FACTOR, value * FLOAT_FACTOR)


def is_far_enough(constant: Constant, value: float) -> bool:
    """Whether a value differs enough from the present one for its effect to show."""
    axis = axis_of(constant)
    assert axis is not None
    return abs(math.log(axis.flip(value) / axis.flip(float(constant.value)))) > math.log(LEAST_FACTOR)


def shown(value: float) -> str:
    """A value as it stands in the source and in a title: three digits, five for decays close to 1."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1):
        return str(int(value))
    return f"{float(f'%.{DIGITS}g' % value):g}" if abs(value) < 0.9 else f"{value:.5g}"

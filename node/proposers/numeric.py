"""Numeric search over a source's UPPERCASE constants: Optuna's TPE, told of every result in the ledger.

Each proposal changes one constant. The study is built anew from the records each time it is asked, so it knows what
peers tried as well, and nothing is lost with the process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from node.objective.edits import Constant, EditError, SetConstant, apply, constants, fingerprint
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult

FLOAT_FACTOR = 4.0
DECAY_FACTOR = 20.0  # by which the distance of a decay from 1 may change
INT_FACTOR = 2
LEAST_FACTOR = 1.15  # a smaller step than this cannot be told from none by the runs a trial has
DIGITS = 3  # significant, so that a proposal reads well
TRIES = 20
STARTUP_TRIALS = 5
CATEGORY = "numeric"
REASON = "A search over this constant (TPE), given the effects measured so far."


class Numeric:
    """Proposes another value for one numeric constant at a time."""

    name = "numeric"
    costly = False
    categories = (CATEGORY,)

    async def propose(self, context: Context) -> Proposal | None:
        try:
            searched = [constant for constant, _ in searchable(context)]
        except EditError:
            return None
        for _ in range(TRIES if searched else 0):
            constant = context.rng.choice(searched)
            value = self._suggest(context, constant)
            if not tells(constant, value):
                continue
            text = shown(value)
            try:
                source = apply(context.source, [SetConstant(constant.name, text)])
            except EditError:
                continue
            if fingerprint(source) not in context.tried:
                title = f"{constant.name} {shown(constant.value)} → {text}"
                return Proposal(title[:120], CATEGORY, REASON, self.name, source)
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Every effect is in the ledger."""

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
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={constant.name: int(place) if axis.whole else place},
                    distributions={constant.name: distribution},
                    value=effect,
                )
                for value, effect in [(float(constant.value), 0.0), *_known(context.results, constant.name)]
                if axis.low <= (place := axis.flip(value)) <= axis.high
            ]
        )
        return axis.flip(float(study.ask({constant.name: distribution}).params[constant.name]))


def _known(results: tuple[TriedResult, ...], name: str) -> list[tuple[float, float]]:
    """(value, effect) of every experiment that changed this constant and no other."""
    return [
        (tried.changed[name], tried.effect)
        for tried in results
        if tried.effect is not None and set(tried.changed) == {name}
    ]


@dataclass(frozen=True)
class Axis:
    """Where a constant is searched. A decay is searched by its distance from 1, which is what matters of it."""

    low: float
    high: float
    whole: bool = False
    from_one: bool = False

    def flip(self, number: float) -> float:
        """The place of a value on the axis, or the value at a place: the same either way."""
        return 1.0 - number if self.from_one else number


def searchable(context: Context) -> list[tuple[Constant, Axis]]:
    """The constants with values to search, but for those that nothing reads. Raises EditError."""
    found = [(each, axis_of(each)) for each in constants(context.source) if each.name not in context.idle]
    return [(constant, axis) for constant, axis in found if axis is not None]


def axis_of(constant: Constant) -> Axis | None:
    """What may be tried: a factor up and down from the present value; None for what is no positive number."""
    value = constant.value
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0 or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return Axis(max(1, value // INT_FACTOR), max(value + 1, value * INT_FACTOR), whole=True)
    if 0.5 <= value < 1:
        return Axis((1 - value) / DECAY_FACTOR, min(0.6, (1 - value) * DECAY_FACTOR), from_one=True)
    return Axis(value / FLOAT_FACTOR, value * FLOAT_FACTOR)


def tells(constant: Constant, value: float) -> bool:
    """Whether a value is far enough from the present one for its effect to show."""
    axis = axis_of(constant)
    assert axis is not None
    return abs(math.log(axis.flip(value) / axis.flip(float(constant.value)))) > math.log(LEAST_FACTOR)


def shown(value: float) -> str:
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1):
        return str(int(value))
    return f"{float(f'%.{DIGITS}g' % value):g}" if abs(value) < 0.9 else f"{value:.5g}"

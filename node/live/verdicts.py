"""What the answers so far say: which variant is better, which has to leave traffic, whether the split is sound. Pure.

Two arms are compared on the visitors who came while both were running, of which a fair coin sent each to one of them. A
false claim of one kind, at any of all looks together, has probability `level` at most:

- better: a variant is answered more than the control. Each of `most_variants` has level / most_variants (Bonferroni).
- best: it is answered more than the control and than every other arm that is running. If that is false, some arm b is
  really the best, and the claim needed evidence above most_variants / level against b for one of at most most_variants
  arms: the union again.
- worse (stop-loss) and harm (of each guard): likewise, the guards sharing one level.

A split that is not half and half says that something is lost on one side, so no claim is made until a person looked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.live.evidence import Interval, interval, log_evidence_above, log_evidence_apart, log_evidence_below
from node.live.folder import Settings
from node.live.store import Arm, Tally

SPLIT_LEVEL = (
    0.001  # of the alarm that visitors are not split in half: a fault, so it should be rare to see one by chance
)
Tallies = Callable[[int, float, float], Tally]
"""What came of an arm, of visitors who first saw it in a span of time."""


@dataclass(frozen=True)
class GuardVerdict:
    """A guard at one variant. level: of its bounds."""

    name: str
    ours: int
    theirs: int
    level: float
    evidence: float
    harmed: bool

    @property
    def ratio(self) -> Interval:
        """Of its rate to the control's."""
        return interval(self.ours, self.theirs, self.level)


@dataclass(frozen=True)
class Verdict:
    """A variant beside the control. evidence: natural logarithms; `needed` is what a claim takes. level: of its bounds.

    lost: answers fewer than the control's visitors would have given.
    """

    arm: Arm
    visitors: int
    answers: int
    control_visitors: int
    control_answers: int
    level: float
    evidence: float
    needed: float
    enough: bool
    split_broken: bool
    better: bool
    best: bool
    worse: bool
    lost: float
    too_costly: bool
    guards: tuple[GuardVerdict, ...]

    @property
    def ratio(self) -> Interval:
        """Of its rate to the control's."""
        return interval(self.answers, self.control_answers, self.level)

    @property
    def stop(self) -> tuple[str, str] | None:
        """Why it has to leave traffic, as a reason and a sentence."""
        for guard in self.guards:
            if guard.harmed:
                numbers = f"{guard.ours} of {self.visitors} against {guard.theirs} of {self.control_visitors}"
                return f"guard {guard.name}", f"{guard.name} is more frequent than allowed: {numbers}"
        numbers = f"{self.answers} of {self.visitors} against {self.control_answers} of {self.control_visitors}"
        if self.worse:
            return "stop-loss", f"it is surely answered less than the control: {numbers}"
        if self.too_costly:
            return "stop-loss", f"about {self.lost:.0f} answers were lost, without proof that it is worse: {numbers}"
        return None


def verdicts(arms: Sequence[Arm], settings: Settings, tallies: Tallies) -> list[Verdict]:
    """A verdict for each variant of one round, whose arms are given with the control."""
    control = next((arm for arm in arms if arm.is_control), None)
    if control is None:
        return []
    return [_verdict(arm, control, arms, settings, tallies) for arm in arms if not arm.is_control]


def _verdict(arm: Arm, control: Arm, arms: Sequence[Arm], settings: Settings, tallies: Tallies) -> Verdict:
    rules, name = settings.rules, settings.answer.name
    needed = math.log(rules.most_variants / rules.level)
    ours, theirs = _together(arm, control, tallies)
    mine, its = ours.answers.get(name, 0), theirs.answers.get(name, 0)
    above, below = log_evidence_above(mine, its), log_evidence_below(mine, its)
    split = log_evidence_apart(ours.visitors, theirs.visitors) >= math.log(rules.most_variants / SPLIT_LEVEL)
    enough = min(ours.visitors, theirs.visitors) >= rules.minimum_visitors and mine + its >= rules.minimum_answers
    guards = tuple(_guard(ours, theirs, guard.name, guard.allowed, settings) for guard in settings.guard)
    sound = enough and not split and arm.running and not any(guard.harmed for guard in guards)
    better = sound and above >= needed
    others = [other for other in arms if other.running and not other.is_control and other.id != arm.id]
    lost = _lost(mine, ours.visitors, its, theirs.visitors)
    return Verdict(
        arm,
        ours.visitors,
        mine,
        theirs.visitors,
        its,
        rules.level / rules.most_variants,
        above,
        needed,
        enough,
        split,
        better,
        better and all(_beats(arm, other, name, needed, tallies) for other in others),
        enough and below >= needed,
        lost,
        enough and lost > settings.stop_loss.lost,
        guards,
    )


def _guard(ours: Tally, theirs: Tally, name: str, allowed: float, settings: Settings) -> GuardVerdict:
    rules = settings.rules
    level = rules.level / (rules.most_variants * len(settings.guard))
    mine, its = ours.answers.get(name, 0), theirs.answers.get(name, 0)
    evidence = log_evidence_above(mine, its, allowed)
    return GuardVerdict(name, mine, its, level, evidence, evidence >= -math.log(level))


def _beats(arm: Arm, other: Arm, name: str, needed: float, tallies: Tallies) -> bool:
    ours, theirs = _together(arm, other, tallies)
    return log_evidence_above(ours.answers.get(name, 0), theirs.answers.get(name, 0)) >= needed


def _together(arm: Arm, other: Arm, tallies: Tallies) -> tuple[Tally, Tally]:
    """What came of both, of visitors who came while both were running."""
    since = max(arm.started, other.started)
    until = min(math.inf if end is None else end for end in (arm.ended, other.ended))
    return tallies(arm.id, since, until), tallies(other.id, since, until)


def _lost(ours: int, visitors: int, theirs: int, control_visitors: int) -> float:
    return visitors * theirs / control_visitors - ours if control_visitors else 0.0

"""The map of what an audience answered to: by theme, with bounds, and what was never tried. Pure.

A theme's variants together are compared with the control, on the visitors who came while all of them were running. With
k of them a visitor of theirs or of the control's is one of theirs with odds k to 1, so the ratio is k times too large,
and is divided. Themes that always came together cannot be told apart; the map says so instead of guessing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.live.evidence import Interval, interval
from node.live.folder import Settings, Theme
from node.live.store import Arm
from node.live.verdicts import Tallies


@dataclass(frozen=True)
class ThemeEffect:
    """A theme in one round: its rate over the control's, with bounds that hold for all themes of the map together."""

    theme: Theme
    control: int  # the arm that it is compared with
    variants: tuple[str, ...]
    visitors: int
    answers: int
    control_visitors: int
    control_answers: int
    ratio: Interval
    never_without: tuple[str, ...]


@dataclass(frozen=True)
class AnswerMap:
    """What was tried, and what never was."""

    tried: tuple[ThemeEffect, ...]
    untried: tuple[Theme, ...]


def answer_map(arms: Sequence[Arm], themes: Mapping[str, Theme], settings: Settings, tallies: Tallies) -> AnswerMap:
    """The map of a folder. arms: all approvals there were."""
    tried_names = {name for arm in arms if not arm.is_control for name in arm.themes}
    tried = [
        _effect(themes[name], group, control, len(tried_names), settings, tallies)
        for control, round_ in _rounds(arms)
        for name in sorted(tried_names & themes.keys())
        if (group := [arm for arm in round_ if name in arm.themes])
    ]
    untried = tuple(theme for name, theme in themes.items() if name not in tried_names)
    return AnswerMap(tuple(tried), untried)


def _rounds(arms: Sequence[Arm]) -> list[tuple[Arm, list[Arm]]]:
    """Each control with the variants that are compared with it."""
    controls = [arm for arm in arms if arm.is_control]
    begins = [0, *(arm.id for arm in controls[1:])]  # what was approved before the first control is compared with it
    ends = [*begins[1:], math.inf]
    return [
        (control, [arm for arm in arms if begin < arm.id < end and not arm.is_control])
        for control, begin, end in zip(controls, begins, ends, strict=False)  # without a control there is no round
    ]


def _effect(
    theme: Theme, group: Sequence[Arm], control: Arm, tried: int, settings: Settings, tallies: Tallies
) -> ThemeEffect:
    since = max(arm.started for arm in [*group, control])
    until = min(math.inf if arm.ended is None else arm.ended for arm in [*group, control])
    counts, name = [tallies(arm.id, since, until) for arm in group], settings.answer.name
    beside = tallies(control.id, since, until)
    answers, control_answers = sum(count.answers.get(name, 0) for count in counts), beside.answers.get(name, 0)
    found = interval(answers, control_answers, settings.rules.level / tried)
    always = set.intersection(*(set(arm.themes) for arm in group)) - {theme.name}
    return ThemeEffect(
        theme,
        control.id,
        tuple(dict.fromkeys(arm.variant for arm in group)),
        sum(count.visitors for count in counts),
        answers,
        beside.visitors,
        control_answers,
        Interval(found.ratio / len(group), found.low / len(group), found.high / len(group)),
        tuple(sorted(always)),
    )

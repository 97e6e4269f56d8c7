"""Audiences of known taste: what the statistics of a live test find, and what they claim falsely.

    .venv/bin/python scripts/live_audience.py best    five variants beside a control: is the best one found?
    .venv/bin/python scripts/live_audience.py null    all are the same: what is claimed, looked at after every answer?
    .venv/bin/python scripts/live_audience.py harm    the same of a guard, and how soon real harm is seen
    .venv/bin/python scripts/live_audience.py power   beside a z-test, at a fixed number and peeked at

The verdicts are those of `node.live.verdicts`, asked with the settings of a folder; visitors and answers are drawn here
instead of coming over HTTP. `--audiences` and `--visitors` change how many, `--seed` which.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from node.live.evidence import log_evidence_above
from node.live.folder import Answer, Guard, Rules, Settings
from node.live.store import Arm, Tally
from node.live.verdicts import Verdict, verdicts

SIGNUP, LEAVE = "signup", "leave"
CONTROL_RATE = 0.05
TASTES = (0.05, 0.045, 0.052, 0.055, 0.065)  # of five variants; the last is the best, 30 % above the control
LEAVE_RATE = 0.01
SETTINGS = Settings("audience", Answer(SIGNUP), (Guard(LEAVE),), Rules())
LOOK_EVERY = 100  # visitors, where it is the whole verdict that is asked for
LEVEL = 0.025  # one-sided, where one variant alone is compared
Z = 1.959964  # the same for a z-test


@dataclass
class Audience:
    """Visitors of a page with some arms, arm 0 being the control. rates, leaving: by arm."""

    rates: Sequence[float]
    leaving: Sequence[float]
    rng: np.random.Generator

    def counts(self, visitors: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Running totals (visitor, arm) of visitors, answers and leavings."""
        arms = self.rng.integers(len(self.rates), size=visitors)
        seen = np.zeros((visitors, len(self.rates)), dtype=np.int64)
        seen[np.arange(visitors), arms] = 1
        answered = self.rng.random(visitors) < np.asarray(self.rates)[arms]
        left = self.rng.random(visitors) < np.asarray(self.leaving)[arms]
        return seen.cumsum(0), (seen * answered[:, None]).cumsum(0), (seen * left[:, None]).cumsum(0)


def arms_of(count: int) -> list[Arm]:
    names = ["control", *(f"variant-{number}" for number in range(1, count))]
    return [Arm(number, name, "", "", (), "", 0.0, None, "", "") for number, name in enumerate(names)]


def verdicts_at(arms: list[Arm], totals: tuple[np.ndarray, ...], visitor: int) -> list[Verdict]:
    seen, answered, left = (total[visitor] for total in totals)

    def tally(arm: int, since: float, until: float) -> Tally:
        return Tally(int(seen[arm]), {SIGNUP: int(answered[arm]), LEAVE: int(left[arm])})

    return verdicts(arms, SETTINGS, tally)


def best(options: argparse.Namespace) -> None:
    """Which variant is found to be the best, after how many visitors, and which leave traffic before that."""
    found: list[tuple[int, int]] = []
    leads = 0
    stopped: list[int] = []
    for number in range(options.audiences):
        rates = [CONTROL_RATE, *TASTES]
        rng = np.random.default_rng([options.seed, number])
        winner, visitors, gone, leader = one_audience(Audience(rates, [LEAVE_RATE] * len(rates), rng), options.visitors)
        found += [(winner, visitors)] if winner else []
        stopped += gone
        leads += leader == len(TASTES)
    right = sum(winner == len(TASTES) for winner, _ in found)
    when = np.percentile([visitors for _, visitors in found], [10, 50, 90]) if found else [math.nan] * 3
    print(f"control {CONTROL_RATE:.1%}, variants " + ", ".join(f"{rate:.1%}" for rate in TASTES))
    print(
        f"{options.audiences} audiences, {options.visitors} visitors at most: a best one was claimed {len(found)} times"
    )
    print(f"  the true one {right} times, after {when[1]:.0f} visitors (deciles {when[0]:.0f} and {when[2]:.0f})")
    print(f"  it had the highest rate of those in traffic at the end in {leads}")
    names = ", ".join(f"variant {arm} {stopped.count(arm)} times" for arm in sorted(set(stopped))) or "none"
    print(f"  taken out of traffic before that: {names}")


def one_audience(audience: Audience, most: int) -> tuple[int, int, list[int], int]:
    """The arm found to be the best (0: none), after how many visitors, the arms stopped before that, the leading arm.

    Visitors of an arm that is out of traffic are passed over, as those who come instead go to the other arms.
    """
    totals, arms, gone = audience.counts(most * 2), arms_of(len(audience.rates)), list[int]()
    came, visitor = 0, 0
    for visitor in range(LOOK_EVERY - 1, most * 2, LOOK_EVERY):
        before = totals[0][visitor - LOOK_EVERY] if visitor >= LOOK_EVERY else np.zeros(len(arms), dtype=np.int64)
        running = [arm.id for arm in arms if arm.running]
        came += int((totals[0][visitor] - before)[running].sum())
        if came > most:
            break
        for verdict in verdicts_at([arm for arm in arms if arm.running], totals, visitor):
            if verdict.stop is not None:
                arms[verdict.arm.id] = replace(verdict.arm, ended=1.0)
                gone.append(verdict.arm.id)
            elif verdict.best:
                return verdict.arm.id, came, gone, verdict.arm.id
    running = [arm.id for arm in arms if arm.running]
    return 0, came, gone, max(running, key=lambda arm: totals[1][visitor, arm] / totals[0][visitor, arm])


def null(options: argparse.Namespace) -> None:
    """How often anything at all is claimed where nothing is so, at any visitor."""
    false = dict.fromkeys(("better", "best", "worse", "harm", "split", "too costly", "a peeked z-test"), 0)
    for number in range(options.audiences):
        rng = np.random.default_rng([options.seed, number])
        arms = arms_of(len(TASTES) + 1)
        audience = Audience([CONTROL_RATE] * len(arms), [LEAVE_RATE] * len(arms), rng)
        totals = audience.counts(options.visitors)
        claimed: set[str] = set()
        for visitor in changes(totals[1] + totals[2]):
            for verdict in verdicts_at(arms, totals, visitor):
                says = {
                    "better": verdict.better,
                    "best": verdict.best,
                    "worse": verdict.worse,
                    "harm": any(guard.harmed for guard in verdict.guards),
                    "split": verdict.split_broken,
                    "too costly": verdict.too_costly,
                    "a peeked z-test": verdict.enough and abs(z_of(totals, visitor, verdict.arm.id)) > Z,
                }
                claimed |= {name for name, holds in says.items() if holds}
        for name in claimed:
            false[name] += 1
    print(f"{options.audiences} audiences of {options.visitors} visitors, five variants that change nothing")
    print("looked at after every answer; audiences in which it was ever claimed:")
    for name, count in false.items():
        print(f"  {name:16} {count:4d}  {count / options.audiences:6.1%}")


def changes(totals: np.ndarray) -> np.ndarray:
    """The visitors at whom any count of answers changed: between two of them no evidence does."""
    return np.flatnonzero(np.diff(totals.sum(1), prepend=0))


def z_of(totals: tuple[np.ndarray, ...], visitor: int, arm: int) -> float:
    """The usual z of two proportions."""
    (n0, n1), (k0, k1) = totals[0][visitor, [0, arm]], totals[1][visitor, [0, arm]]
    pooled = (k0 + k1) / (n0 + n1) if n0 + n1 else 0.0
    error = math.sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1)) if n0 and n1 and 0 < pooled < 1 else math.inf
    return float((k1 / max(n1, 1) - k0 / max(n0, 1)) / error)


def harm(options: argparse.Namespace) -> None:
    """A guard at one variant beside the control: false alarms, and visitors until real harm is seen."""
    for worse in (1.0, 1.5, 2.0, 3.0):
        seen = []
        for number in range(options.audiences):
            rng = np.random.default_rng([options.seed, number])
            totals = Audience([CONTROL_RATE] * 2, [LEAVE_RATE, LEAVE_RATE * worse], rng).counts(options.visitors)
            after = first_evidence(totals[2], SETTINGS.rules.level / SETTINGS.rules.most_variants)
            seen += [after] if after is not None else []
        middle = f", half of these by visitor {np.median(seen):.0f}" if seen else ""
        print(f"leaving × {worse:.1f}: stopped in {len(seen)} of {options.audiences} audiences{middle}")


def first_evidence(totals: np.ndarray, level: float) -> int | None:
    """The first visitor at whom the answers at the variant are evidence against "no more than at the control"."""
    for visitor in changes(totals):
        if log_evidence_above(int(totals[visitor, 1]), int(totals[visitor, 0])) >= -math.log(level):
            return int(visitor)
    return None


def power(options: argparse.Namespace) -> None:
    """One variant beside the control, at the level of one comparison: found, and after how many visitors."""
    print(f"{options.audiences} audiences of {options.visitors} visitors, one variant, one-sided level 2.5 %")
    for lift in (1.0, 1.1, 1.2, 1.3, 1.5):
        always, fixed, peeked, after = 0, 0, 0, []
        for number in range(options.audiences):
            rng = np.random.default_rng([options.seed, number])
            totals = Audience([CONTROL_RATE, CONTROL_RATE * lift], [0.0, 0.0], rng).counts(options.visitors)
            when = first_evidence(totals[1], LEVEL)
            always += when is not None
            after += [when] if when is not None else []
            fixed += z_of(totals, options.visitors - 1, 1) > Z
            looks = range(2 * SETTINGS.rules.minimum_visitors, options.visitors, LOOK_EVERY)
            peeked += any(z_of(totals, visitor, 1) > Z for visitor in looks)
        middle = f"{np.median(after):6.0f}" if after else "     –"
        rates = [f"{count / options.audiences:6.1%}" for count in (always, fixed, peeked)]
        shown = f"always valid {rates[0]}, median visitor {middle}; z at the end {rates[1]}, peeked {rates[2]}"
        print(f"  × {lift:.1f}: {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Audiences of known taste, simulated.")
    parser.add_argument("what", choices=("best", "null", "harm", "power"))
    parser.add_argument("--audiences", type=int)
    parser.add_argument("--visitors", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    usual = {"best": (100, 150_000), "null": (200, 20_000), "harm": (200, 20_000), "power": (200, 20_000)}[options.what]
    options.audiences, options.visitors = options.audiences or usual[0], options.visitors or usual[1]
    {"best": best, "null": null, "harm": harm, "power": power}[options.what](options)


if __name__ == "__main__":
    main()

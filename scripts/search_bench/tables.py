"""Tables of searches: what each rule gained at equal runs and at equal CPU seconds. Printing, and the figures of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from search_bench.results import Point, Search

SHARES_OF_CPU = (0.1, 0.25, 0.5, 0.75, 1.0)  # of what the first rule spent, at which gains are shown
SHARE = 0.8  # of the first rule's final gain, to which CPU seconds are counted


def percent(gain: float) -> float:
    """A gain in ln as the share of the metric saved, in per cent."""
    return 100 * -math.expm1(-gain)


def spread(values: Sequence[float | None], digits: int = 1) -> str:
    """The median and the range of the values that there are: "4.0 (3.1 to 5.0)"."""
    there = [value for value in values if value is not None and not math.isnan(value)]
    if not there:
        return "–"
    if len(there) == 1:
        return f"{there[0]:.{digits}f}"
    return f"{statistics.median(there):.{digits}f} ({min(there):.{digits}f} to {max(there):.{digits}f})"


def speed(search: Search, first: Search) -> float | None:
    """CPU seconds to SHARE of the first rule's final gain, over what that took; None where it was not reached."""
    goal = SHARE * first.real_gain(first.baseline, first.at_runs(first.asked_runs).incumbent)
    own, theirs = search.cpu_to(goal), first.cpu_to(goal)
    return own / theirs if own is not None and theirs else None


def gains(search: Search, point: Point) -> tuple[float, float]:
    """Real gain and holdout gain of the incumbent at this point, in per cent."""
    real = search.real_gain(search.baseline, point.incumbent)
    return percent(real), percent(search.holdout_gain(search.baseline, point.incumbent))


def against(search: Search, first: Search) -> list[float | None]:
    """Real and holdout gain at equal runs, the same at equal CPU seconds, and `speed`."""
    at_cpu = search.at_cpu(first.at_runs(first.asked_runs).cpu_seconds)
    return [*gains(search, search.at_runs(first.asked_runs)), *gains(search, at_cpu), speed(search, first)]


def curve(search: Search, first: Search) -> list[float]:
    """The real gain, in per cent, after each of the shares of the CPU seconds that the first rule spent."""
    spent = first.at_runs(first.asked_runs).cpu_seconds
    points = [search.at_cpu(share * spent) for share in SHARES_OF_CPU]
    return [percent(search.real_gain(search.baseline, point.incumbent)) for point in points]


def show(found: Sequence[Search], first_rule: str) -> None:
    """Print a row for each search, then one for each rule. Of every seed there is a search by the first rule."""
    first = {search.seed: search for search in found if search.rule == first_rule}
    rules = list(dict.fromkeys([first_rule, *(search.rule for search in found)]))
    console = Console(width=200)
    table = Table(
        *("rule", "seed", "runs", "ideas", "CPU s", "kept", "no gain", "claims", "false"),
        *("real %, runs", "holdout %", "real %, CPU", "holdout %", "to 80 %", "real ÷ claimed"),
    )
    for search in sorted(found, key=lambda each: (rules.index(each.rule), each.seed)):
        last = search.at_runs(search.asked_runs)
        counts = (search.seed, last.runs, last.experiments, round(last.cpu_seconds))
        counts = (*counts, len(search.kept), search.no_gain, len(search.claims), search.false_claims)
        row = against(search, first[search.seed])
        numbers = [*(spread([value]) for value in row[:4]), spread(row[4:], 2), spread([search.real_over_claimed], 2)]
        table.add_row(search.rule, *map(str, counts), *numbers)
    console.print(table)
    table = Table(
        *("rule", "runs", "ideas", "CPU s", "kept: no gain", "claims: false", "real %, equal runs", "holdout %"),
        *("real %, equal CPU", "holdout %", "CPU to 80 %", "real ÷ claimed"),
    )
    for rule in rules:
        table.add_row(rule, *summary([search for search in found if search.rule == rule], first))
    console.print(table)
    titles = (f"{100 * share:.0f} %" for share in SHARES_OF_CPU)
    table = Table("rule", *titles, title=f"real gain % after shares of the CPU seconds of “{first_rule}”")
    for rule in rules:
        rows = [curve(search, first[search.seed]) for search in found if search.rule == rule]
        table.add_row(rule, *(spread(column) for column in zip(*rows, strict=True)))
    console.print(table)


def summary(searches: Sequence[Search], first: dict[int, Search]) -> list[str]:
    """The cells of a rule: medians with the range over its searches; counts are of all together."""
    ends = [search.at_runs(search.asked_runs) for search in searches]
    rows = [against(search, first[search.seed]) for search in searches]
    reached = [row[4] for row in rows]
    counted = [sum(len(search.kept) for search in searches), sum(len(search.claims) for search in searches)]
    wrong = [sum(search.no_gain for search in searches), sum(search.false_claims for search in searches)]
    missing = sum(value is None for value in reached)
    return [
        spread([end.runs for end in ends], 0),
        spread([end.experiments for end in ends], 0),
        spread([end.cpu_seconds for end in ends], 0),
        *(f"{n}: {w} ({100 * w / max(1, n):.0f} %)" for n, w in zip(counted, wrong, strict=True)),
        *(spread([row[column] for row in rows]) for column in range(4)),
        spread(reached, 2) + (f", {missing} not" if missing else ""),
        spread([search.real_over_claimed for search in searches], 2),
    ]

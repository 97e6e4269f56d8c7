"""What was learnt so far, for a prompt: by category, the best ideas, what interacts, what failed, what was tried.

All of it takes a fixed number of tokens at most, however long the search has been; each part lists what matters most
first, and what there is no room for is left out. Titles come from other machines too and are shown as data. Pure
functions of results; how a block is fenced is for `prompt`.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from node.ledger.projections.effects import bare_gain_text, gain_figures
from node.proposers.answer import plain
from node.proposers.numeric import Numeric
from node.proposers.proposer import Context, TriedResult
from node.proposers.titles import JOIN
from protocol.metric import Metric
from protocol.records import Decision

MEMORY_TOKENS = 4000  # of all parts together; about as much as a source of 300 lines
BYTES_PER_TOKEN = 3  # JSON and English take about four, so this counts rather too many
# The most of it that each part may have; the list of what was tried has what they leave.
SHARES = {"categories": 0.15, "best": 0.15, "interactions": 0.1, "failed": 0.2}
TITLE_CHARACTERS = 80
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean, of a normal distribution: sqrt(pi / 2)
SURE = 2.5  # standard errors by which two ideas together differ from their sum, to be told
MOST_COMPARED = 400  # results among which interactions are looked for


@dataclass(frozen=True)
class Part:
    """A part of the memory. heading: what its lines say, and what their columns are. lines: JSON, one for each row."""

    name: str
    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Interaction:
    """Two ideas whose effect together differs from the sum of their effects. Effects are J, negative is better."""

    titles: tuple[str, str]
    together: float
    apart: float  # the sum
    error: float  # of their difference


def memory(context: Context, metric: Metric, tokens: int = MEMORY_TOKENS) -> list[Part]:
    """The parts that say something, within the tokens."""
    room = tokens * BYTES_PER_TOKEN
    results = context.results
    found = [
        Part(
            "categories",
            "What was learnt by category, most kept first: [category, tries, kept, median gain, its error]",
            _within(by_category(results, metric), SHARES["categories"] * room),
        ),
        Part(
            "best",
            "The ideas that gained most where they were tried: [idea, category, gain, error]",
            _within(best(results, metric), SHARES["best"] * room),
        ),
        Part(
            "interactions",
            "Ideas that do not add up: [one, other, gain together, sum of their gains apart]",
            _within((_interaction(each, metric) for each in interactions(results)), SHARES["interactions"] * room),
        ),
        Part(
            "failed",
            "Ideas that failed, did not hold when they were measured again, or harmed: [idea, why, gain]",
            _within(failed(results, metric), SHARES["failed"] * room),
        ),
    ]
    left = room - sum(_bytes(line) for part in found for line in part.lines)
    found.append(
        Part(
            "tried",
            "What was tried, on this source and those it was lately made from first: "
            "[idea, category, last gain, what came of it, times, on this source]",
            _within(tried(context, metric), left),
        )
    )
    return [part for part in found if part.lines]


def _within(lines: Iterable[str], room: float) -> tuple[str, ...]:
    """The first lines that there is room for, in bytes."""
    found = []
    for line in lines:
        room -= _bytes(line)
        if room < 0:
            break
        found.append(line)
    return tuple(found)


def _bytes(line: str) -> int:
    return len(line.encode()) + 1


def _row(*values: object) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _title(result: TriedResult) -> str:
    return plain(result.title, TITLE_CHARACTERS)


# ---- by category -----------------------------------------------------------------------------------------------------


def by_category(results: Sequence[TriedResult], metric: Metric) -> list[str]:
    """A row for each category, those of which most was kept first."""
    of: dict[str, list[TriedResult]] = {}
    for result in results:
        of.setdefault(result.category, []).append(result)
    rows = []
    for category, those in of.items():
        kept = sum(result.gained for result in those)
        shown = plain(category, TITLE_CHARACTERS)
        rows.append((-kept, category, _row(shown, len(those), kept, *_median(those, metric))))
    return [row for *_, row in sorted(rows)]


def _median(results: Sequence[TriedResult], metric: Metric) -> tuple[str, str]:
    """The median gain and its standard error; of one result, its own.

    Gains of 1, 2 and 6 % have the median 2 % and, with a deviation of 2.6 %, an error of 1.9 %.
    """
    gains = [metric.gain(result.effect) for result in results if result.effect is not None]
    if not gains:
        return "none measured", ""
    if len(gains) == 1:
        single = next(result for result in results if result.effect is not None)
        error = metric.gain_error(single.effect or 0.0, single.error or 0.0)
    else:
        error = MEDIAN_ERROR * statistics.stdev(gains) / math.sqrt(len(gains))
    shown, error_shown = gain_figures(statistics.median(gains), error, metric.suffix)
    return shown + metric.suffix, error_shown


# ---- single ideas ----------------------------------------------------------------------------------------------------


def best(results: Sequence[TriedResult], metric: Metric) -> list[str]:
    """What was kept and still holds, the largest gain first; each idea once, by its best try.

    What only strangers say comes last: keys are free, and so is any gain that one writes.
    """
    kept = [result for result in results if result.gained and not result.refuted and (result.effect or 0.0) < 0]
    rows: dict[str, str] = {}
    for result in sorted(kept, key=lambda result: (not result.proven, result.effect or 0.0)):
        rows.setdefault(
            result.title, _row(_title(result), plain(result.category, TITLE_CHARACTERS), *_gain(result, metric))
        )
    return list(rows.values())


def _gain(result: TriedResult, metric: Metric) -> tuple[str, str]:
    if result.effect is None:
        return "none", ""
    error = metric.gain_error(result.effect, result.error or 0.0)
    shown, error_shown = gain_figures(metric.gain(result.effect), error, metric.suffix)
    return shown + metric.suffix, error_shown


def failed(results: Sequence[TriedResult], metric: Metric) -> list[str]:
    """What does not work, and why: refuted first, then failures, then plain harm, each the latest first.

    What only strangers say comes after all that.
    """
    rows: dict[str, tuple[tuple[bool, int], str]] = {}
    latest_first = results[::-1]
    for result in sorted(latest_first, key=lambda result: not result.proven):
        rank, why = _trouble(result)
        if rank and result.title not in rows:
            rows[result.title] = (not result.proven, rank), _row(_title(result), why, _gain(result, metric)[0])
    return [row for _, row in sorted(rows.values(), key=lambda ranked: ranked[0])]


def _trouble(result: TriedResult) -> tuple[int, str]:
    """How a result is bad, in words, with its rank; rank 0 where it is not."""
    if result.refuted:
        return 1, "refuted by other nodes and here"
    if result.taken_back:
        return 1, "did not hold on fresh seeds"
    if result.decision == Decision.FAILED:
        return 2, f"its run failed: {result.failure or 'no value'}"
    if result.ended_early:
        return 3, "plainly losing, ended early"
    if result.effect is not None and result.effect > SURE * (result.error or math.inf):
        return 3, "harms"
    return 0, ""


def outcome(result: TriedResult) -> str:
    """What came of an idea, in a few words."""
    _, why = _trouble(result)
    if why:
        return why
    if result.gained:
        return "kept"
    return "unclear, left for other ideas" if result.deferred else "no gain"


def tried(context: Context, metric: Metric) -> Iterator[str]:
    """Each idea once, by its last try: those on this source and lately before it first, each the latest first.

    Of each of these, what only strangers say comes later, and other values of constants last: a search tries many, and
    a model is asked for what it cannot.
    """
    times: dict[str, int] = {}
    last: dict[str, TriedResult] = {}
    here: set[str] = set()
    near: set[str] = set()
    for result in context.results:
        title = result.title
        times[title] = times.get(title, 0) + 1
        if title not in last or result.proven or not last[title].proven:  # what strangers say replaces only the like
            last.pop(title, None)  # so that the order is that of the last tries
            last[title] = result
        if result.parent == context.source_id:
            here.add(title)
        if context.is_near(result.parent):
            near.add(title)
    latest_first = list(reversed(last.values()))

    def order(result: TriedResult) -> tuple[bool, bool, bool, bool]:
        return result.title not in here, result.title not in near, result.proposer == Numeric.name, not result.proven

    ordered = sorted(latest_first, key=order)
    for result in ordered:
        gain = "none" if result.effect is None else bare_gain_text(result.effect, metric)
        category = plain(result.category, TITLE_CHARACTERS)
        yield _row(_title(result), category, gain, outcome(result), times[result.title], result.title in here)


# ---- interactions ----------------------------------------------------------------------------------------------------


def interactions(results: Sequence[TriedResult]) -> list[Interaction]:
    """Pairs of ideas whose effect together is surely another than the sum of their effects, the surest first.

    Known are an idea's effects on a source and on what another idea made of it, and those of two ideas that were merged
    and tried together. Of a rate that gains 3 % and 0.5 % after a warm-up that gained 2 %, together are 2.5 %, apart 5.
    """
    measured = [result for result in results if result.effect is not None and result.error][-MOST_COMPARED:]
    on: dict[bytes, dict[str, TriedResult]] = {}
    for result in measured:
        on.setdefault(result.parent, {})[result.title] = result
    found: dict[tuple[str, str], Interaction] = {}
    for first in measured:
        after, before = on.get(first.child, {}), on[first.parent]
        for title in after.keys() & before.keys() - {first.title}:
            # The first idea's effect is in both sums, and its error in neither difference.
            _note(found, first.title, title, first, after[title], before[title])
    for those in on.values():
        for one, other in combinations(sorted(those), 2):
            joint = those.get(one + JOIN + other) or those.get(other + JOIN + one)
            if joint is not None:
                _note_joint(found, joint, those[one], those[other])
    return sorted(found.values(), key=lambda each: (-abs(each.together - each.apart) / each.error, each.titles))


def _note(
    found: dict[tuple[str, str], Interaction],
    one: str,
    other: str,
    first: TriedResult,
    after: TriedResult,
    before: TriedResult,
) -> None:
    error = math.hypot(after.error or 0.0, before.error or 0.0)
    base = first.effect or 0.0
    _keep(found, one, other, base + (after.effect or 0.0), base + (before.effect or 0.0), error)


def _note_joint(
    found: dict[tuple[str, str], Interaction], joint: TriedResult, one: TriedResult, other: TriedResult
) -> None:
    error = math.hypot(joint.error or 0.0, one.error or 0.0, other.error or 0.0)
    _keep(found, one.title, other.title, joint.effect or 0.0, (one.effect or 0.0) + (other.effect or 0.0), error)


def _keep(
    found: dict[tuple[str, str], Interaction], one: str, other: str, together: float, apart: float, error: float
) -> None:
    if abs(together - apart) >= SURE * error:
        titles = (one, other) if one < other else (other, one)
        found[titles] = Interaction(titles, together, apart, error)


def _interaction(each: Interaction, metric: Metric) -> str:
    titles = (plain(title, TITLE_CHARACTERS) for title in each.titles)
    return _row(*titles, bare_gain_text(each.together, metric), bare_gain_text(each.apart, metric))

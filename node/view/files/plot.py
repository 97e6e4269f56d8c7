"""Pictures as SVG text: the progress of an author's research, and a discovery's claim beside what others found.

Drawn with elements and attributes only (no script, no style sheet, no font files), in colours that can be read on white
and on black. Every text is escaped. It does not know where a picture is shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from node.ledger.projections.discoveries import Discovery, is_conclusive
from node.ledger.projections.effects import gain, gain_text, value_text
from node.ledger.settings import Description
from node.platform.log import Json
from node.view.model.rows import least_drawn
from protocol.identity import short
from protocol.metric import Direction, Metric, Scale
from protocol.records import Effect, Replication, metric_of

GREY, ORANGE, BLUE, RED, INK = "#9aa0a6", "#e08700", "#3b82f6", "#e5484d", "#808890"  # as the dashboard has them
MOST_DRAWN = 0.7  # J, a factor of two; see `_interval`
SURE = 1.96  # standard errors either side: 95 % of a normal distribution
TOGETHER = "together, by"
MAX_REPORTS = 40  # lines of a forest plot
MAX_LABELS = 12  # the largest steps: they have a number in the picture, and their titles are below
LABEL_LONG = 60  # characters of such a line, the gain included
KEY_ROW, DIGIT, DIGITS_HIGH = 17, 7, 11  # pixels: a line of these titles, and the size of a number in the picture
MOST_MOVES = 4  # of a number whose place is taken, further away from the line each time
WIDTH, PROGRESS_HEIGHT, ROW = 900, 420, 26
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 42
FIRST = 16  # pixels between the axis and the first experiment, for its number
LABEL, FIGURE = 190, 190  # width of the texts left and right of a forest plot, in pixels
NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# ---- progress -------------------------------------------------------------------------------------------------------


def progress(rows: Sequence[Json], about: Description, title: str) -> str:
    """Every experiment a dot, the kept ones a staircase, adoptions marked; the largest steps by name below.

    rows: of one author, or of all of them, as `rows.row` makes them, in order. about: which values are better, and what
    they are; what is drawn are levels. What proves kept ideas as a chain is no further experiment: a ring at the last
    one. The scale leaves out what is far worse than the start; how many that are is written below.
    """
    shown = _numbered(one for one in rows if one.get("level") is not None)
    if not shown:
        return _svg(WIDTH, 80, [_text(WIDTH / 2, 44, "nothing was measured yet", anchor="middle")], title)
    kept = _kept(shown, about.measure)
    levels = [one for _, one in shown]
    low, high = _range(levels, kept, about.measure)
    last = shown[-1][0]
    xs = _Scale(0, max(last, 1), LEFT + FIRST, WIDTH - RIGHT)
    ys = _Scale(low, high, PROGRESS_HEIGHT - BOTTOM, TOP)
    parts = [_text(LEFT, 18, title, size=14), *_legend(), *_axes(xs, ys, about), *_baseline(levels, ys)]
    staircase = {id(one) for _, one in kept}
    inside = [(number, one) for number, one in shown if low <= one["level"] <= high]
    for number, one in inside:
        if id(one) not in staircase and not one.get("steps"):
            parts.append(_dot(xs(number), ys(one["level"]), BLUE if one.get("kept") else GREY, 2.5, one))
    parts += _staircase(kept, last, xs, ys)
    named = _named(kept, xs, ys, about.measure)
    parts += [_text(x, y, str(place), size=11, anchor="end", colour=BLUE) for place, (x, y, _) in enumerate(named, 1)]
    parts += _key([one for _, _, one in named])
    height = PROGRESS_HEIGHT + KEY_ROW * math.ceil(len(named) / 2) + (8 if named else 0)
    outside = len(shown) - len(inside)
    note = f"{last + 1} experiments and adoptions" + (f", {outside} beyond the scale" if outside else "")
    parts.append(_text(WIDTH - RIGHT, PROGRESS_HEIGHT - 6, note, anchor="end", size=11))
    best = kept[-1][1]["level"] if kept else _best([one["level"] for one in levels], about.measure)
    said = f"{title}: {note}, best {about.metric} {value_text(best)}{about.measured_suffix}"
    return _svg(WIDTH, height, parts, said)


def _numbered(rows: Iterable[Json]) -> list[tuple[int, Json]]:
    """Each row with its place, from 0. A chain has that of the last experiment before it."""
    found: list[tuple[int, Json]] = []
    experiments = 0
    for one in rows:
        experiments += not one.get("steps")
        found.append((max(0, experiments - 1), one))
    return found


def _best(values: Sequence[float], metric: Metric) -> float:
    return max(values) if metric.direction == Direction.HIGHER else min(values)


def _kept(shown: Sequence[tuple[int, Json]], metric: Metric) -> list[tuple[int, Json]]:
    """What was kept or adopted and better than anything before it, each with its place.

    What was measured of a whole chain on fresh seeds counts for what its author had kept, also where it is less.
    """
    found: list[tuple[int, Json]] = []
    for number, one in shown:
        taken = one.get("kept") or one["kind"] == "replication"
        proves = bool(one.get("steps")) and bool(found) and found[-1][1]["by"] == one["by"]
        if taken and (proves or not found or metric.is_better(one["level"], found[-1][1]["level"])):
            found.append((number, one))
    return found


def _range(shown: Sequence[Json], kept: Sequence[tuple[int, Json]], metric: Metric) -> tuple[float, float]:
    """Ends of the vertical axis: a little beyond the best value to a little worse than the first one.

    Example: from a start of 4.0 to a best of 3.0 the margin is 0.25, and the axis goes from 2.9 to 4.25. Without any
    gain the margin is 2 % of the start, or ten differences worth telling of a linear metric, which may start at 0.
    """
    start = next((one["level_from"] for one in shown if one.get("level_from") is not None), shown[0]["level"])
    best = _best([start, *(one["level"] for _, one in kept)], metric)
    least = 0.02 * abs(start) if metric.scale == Scale.LOG else least_drawn(metric)
    margin = max(0.25 * abs(start - best), least)
    up = 1 if metric.direction == Direction.HIGHER else -1
    ends = best + up * 0.4 * margin, start - up * margin
    return min(ends), max(ends)


def _baseline(shown: Sequence[Json], ys: _Scale) -> list[str]:
    """A dashed line at the level from which the first of them set out."""
    start = next((one["level_from"] for one in shown if one.get("level_from") is not None), None)
    if start is None:
        return []
    y = ys(start)
    line = f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{INK}" stroke-dasharray="6 4"/>'
    return [line, _text(WIDTH - RIGHT, y - 5, f"baseline {value_text(start)}", anchor="end", size=11)]


def _staircase(kept: Sequence[tuple[int, Json]], last: int, xs: _Scale, ys: _Scale) -> list[str]:
    if not kept:
        return []
    start = kept[0][1].get("level_from")
    path = f"M{LEFT} {ys(kept[0][1]['level'] if start is None else start):.1f}"
    for number, one in kept:
        path += f"H{xs(number):.1f}V{ys(one['level']):.1f}"
    path += f"H{xs(last):.1f}"
    parts = [f'<path d="{path}" fill="none" stroke="{BLUE}" stroke-width="2"/>']
    for number, one in kept:
        colour = ORANGE if one["kind"] == "replication" else BLUE
        parts.append(_dot(xs(number), ys(one["level"]), colour, 6.5 if one.get("steps") else 4.5, one))
    return parts


def _legend() -> list[str]:
    words = (("○ claimed", BLUE), ("● adopted from a peer", ORANGE), ("● kept", BLUE), ("● tried", GREY))
    parts, right = [], float(WIDTH - RIGHT)
    for word, colour in words:
        parts.append(_text(right, 18, word, size=11, anchor="end", colour=colour))
        right -= 6.2 * len(word) + 14
    return parts


def _named(kept: Sequence[tuple[int, Json]], xs: _Scale, ys: _Scale, metric: Metric) -> list[tuple[float, float, Json]]:
    """The largest steps with the places of their numbers, in order: where what is better would be, and so no dot is.

    A number whose place is taken moves away from the staircase; one that finds none is left out.
    """
    single = [step for step in kept if not step[1].get("steps")]
    largest = {id(one) for _, one in sorted(single, key=lambda step: -abs((step[1]["gain"] or [0])[0]))[:MAX_LABELS]}
    away = -DIGITS_HIGH if metric.direction == Direction.HIGHER else DIGITS_HIGH
    placed: list[tuple[float, float, Json]] = []
    for number, one in kept:
        if id(one) not in largest:
            continue
        x, y = xs(number) - 4, ys(one["level"]) + (-7 if away < 0 else 14)
        for _ in range(MOST_MOVES):
            if not any(abs(x - at) < 2 * DIGIT + 2 and abs(y - down) < DIGITS_HIGH for at, down, _ in placed):
                placed.append((x, y, one))
                break
            y += away
    return placed


def _key(named: Sequence[Json]) -> list[str]:
    """The titles of the steps by their numbers, in two columns below the picture."""
    parts = []
    half = math.ceil(len(named) / 2)
    for index, one in enumerate(named):
        column, line = divmod(index, half)
        title = "adopted from a peer" if one["kind"] == "replication" else one["title"]
        gain_of = f"  {one['gain_text']}" if one["gain"] else ""
        most = LABEL_LONG - len(gain_of)
        cut = title if len(title) <= most else title[: most - 1] + "…"
        x, y = LEFT + column * (WIDTH - LEFT - RIGHT) / 2, PROGRESS_HEIGHT + 12 + KEY_ROW * line
        parts.append(_text(x, y, f"{index + 1}", size=11, colour=BLUE))
        parts.append(_text(x + 20, y, cut + gain_of, size=11))
    return parts


def _axes(xs: _Scale, ys: _Scale, about: Description) -> list[str]:
    parts = []
    for value in ys.ticks(6):
        y = ys(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{INK}" stroke-opacity=".25"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{value:.6g}", anchor="end", size=11))
    whole = [value for value in xs.ticks(8) if value == int(value)]
    bottom = PROGRESS_HEIGHT - BOTTOM + 16
    parts += [_text(xs(value), bottom, f"{value + 1:.0f}", anchor="middle", size=11) for value in whole]
    axes = (
        f"{about.metric} ({about.measure.direction} is better{about.measured_suffix}) over the number of the experiment"
    )
    return [*parts, _text(LEFT, PROGRESS_HEIGHT - 6, axes, size=11)]


def _dot(x: float, y: float, colour: str, radius: float, one: Json) -> str:
    name = "adopted from a peer" if one["kind"] == "replication" else one["title"]
    value = one["level"] if one["value"] is None else one["value"]  # a merge that was adopted has no value of its own
    tip = f"{name}: {value_text(value)}" + (f", gain {one['gain_text']}" if one["gain"] else "")
    paint = f'fill="none" stroke="{colour}" stroke-width="1.5"' if one.get("steps") else f'fill="{colour}"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {paint}><title>{escape(tip)}</title></circle>'


# ---- a discovery's evidence -----------------------------------------------------------------------------------------


def forest(found: Discovery, measured: str) -> str:
    """The claim, the holdout, every replication and their weighted mean, each with its 95 % interval.

    measured: what stands behind a gain where the objective measures itself.
    """
    lines: list[tuple[str, Effect, str]] = []  # a name, what was found, and a colour
    if found.claim.effect is not None:
        lines.append((f"claimed  {short(found.record.author)}", found.claim.effect, GREY))
    if found.claim.holdout is not None:
        lines.append(("claimed, on holdout", found.claim.holdout, GREY))
    reports = [record for record in found.replications if is_conclusive(record)]
    for record in reports[:MAX_REPORTS]:
        body = record.body
        if isinstance(body, Replication) and body.effect is not None:
            name = f"{short(record.author)}  {body.compute_class[:12]}"
            lines.append((name, body.effect, RED if body.decision == "contradicts" else BLUE))
    if found.standing.effect is not None:
        lines.append((f"{TOGETHER} {found.standing.reports}", found.standing.effect, BLUE))
    if not lines:
        return _svg(WIDTH, 60, [_text(WIDTH / 2, 36, "nothing was measured", anchor="middle")], "no evidence")
    return _forest(lines, found, len(reports) - MAX_REPORTS, measured)


def _forest(lines: Sequence[tuple[str, Effect, str]], found: Discovery, more: int, measured: str) -> str:
    metric = metric_of(found.claim)
    bounds = [_interval(effect, metric) for _, effect, _ in lines]
    low, high = min(0.0, *(b[0] for b in bounds)), max(0.0, *(b[1] for b in bounds))
    margin = 0.05 * (high - low) or 1.0
    floor = -100.0 if metric.scale == Scale.LOG else -math.inf  # per cent: further left is only noise
    xs = _Scale(max(low - margin, floor), high + margin, LABEL, WIDTH - FIGURE)
    bottom = 20 + ROW * len(lines)
    parts = [f'<path d="M{xs(0.0):.1f} 8V{bottom}" stroke="{INK}" stroke-dasharray="3 3"/>']
    for number, ((name, effect, colour), (least, most)) in enumerate(zip(lines, bounds, strict=True)):
        y = 22 + ROW * number
        parts.append(_text(LABEL - 10, y + 4, name, anchor="end", size=12))
        parts.append(f'<path d="M{xs(least):.1f} {y}H{xs(most):.1f}" stroke="{colour}" stroke-width="2"/>')
        parts.append(_mark(xs(gain(effect, metric)), y, colour, together=name.startswith(TOGETHER)))
        parts.append(_text(WIDTH - FIGURE + 12, y + 4, gain_text(effect, metric), size=12))
    for value in xs.ticks(6):
        label = f"{value:+.3g}" if value else "0"
        parts.append(_text(xs(value), bottom + 16, label + metric.suffix, anchor="middle", size=11))
    note = f"gain{measured}, with 95 % intervals; right of the line is better"
    note += f"; {more} more reports are not drawn" if more > 0 else ""
    parts.append(_text(LABEL, bottom + 34, note, size=11))
    figures = "; ".join(f"{name} {gain_text(effect, metric)}" for name, effect, _ in lines)
    return _svg(WIDTH, bottom + 42, parts, f"{found.claim.title}: {figures}")


def _mark(x: float, y: float, colour: str, together: bool) -> str:
    """A square, or of all reports together a diamond."""
    if together:
        return f'<path d="M{x - 7:.1f} {y}L{x:.1f} {y - 7}L{x + 7:.1f} {y}L{x:.1f} {y + 7}Z" fill="{colour}"/>'
    return f'<rect x="{x - 4:.1f}" y="{y - 4}" width="8" height="8" fill="{colour}"/>'


def _interval(effect: Effect, metric: Metric) -> tuple[float, float]:
    """The 95 % interval of the gain, lower end first, within what can be drawn.

    The ends are those of J ± 1.96 standard errors, as gains. On a logarithmic scale an end towards which gains have no
    bound is cut off, since a single unlucky pair would take the whole axis: of a loss at J = 0.7, which is -101 % (the
    axis ends at -100 %), of a speed at twice what was measured.
    """
    ends = [effect.mean + side * SURE * effect.se for side in (1, -1)]
    if metric.scale == Scale.LOG and metric.direction == Direction.LOWER:
        ends = [min(end, MOST_DRAWN) for end in ends]
    elif metric.scale == Scale.LOG:
        ends = [max(end, min(effect.mean, 0.0) - MOST_DRAWN) for end in ends]
    lower, upper = (metric.gain(end) for end in ends)
    return lower, upper


# ---- drawing --------------------------------------------------------------------------------------------------------


class _Scale:
    """A linear map from values to pixels; values outside of the scale are put at its ends."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high = low, high if high > low else low + 1.0
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        inside = min(max(value, self._low), self._high)
        return self._start + (inside - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self, about: int) -> list[float]:
        """Round values within the scale: 1, 2 or 5 times a power of ten apart."""
        rough = (self._high - self._low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
        first = math.ceil(self._low / step)
        return [float(f"{number * step:.10g}") for number in range(first, math.floor(self._high / step) + 1)]


def _text(
    x: float, y: float, content: str, *, size: int = 12, anchor: str = "start", colour: str = INK, more: str = ""
) -> str:
    attributes = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {attributes}{more}>{escape(drawable(content))}</text>"


def _svg(width: int, height: int, parts: Sequence[str], description: str) -> str:
    """The picture. description: what a screen reader reads out instead."""
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    label = f'role="img" aria-label={quoteattr(drawable(description))} font-family="system-ui, sans-serif"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>{"".join(parts)}</svg>\n'


def drawable(content: str) -> str:
    """Without the characters XML cannot hold, which would spoil the whole picture."""
    return NOT_XML.sub("", content)

"""One frame of `watch`: the node and the swarm in a given number of columns and lines.

Pure functions of the data that `watch --json` prints: no terminal, clock or ledger. Whatever the data and the size, a
frame is no wider and no higher than asked for. Texts of peers are cleaned and cut; no markup in them means anything.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from node.ledger.settings import JUDGED
from node.platform.log import Json, one_line
from node.platform.program import in_hints, typed
from node.view.terminal.tables import found_cell, gain_cell, standing, with_unit
from protocol.identity import short_peer

BLOCKS = " ▁▂▃▄▅▆▇█"
LABEL = 11  # columns of the name of a line
FIGURE = 15  # columns of a gain with its error and pairs
CLASS = 14
PEER = 7
CATEGORY = 16
BRIEF, IN_FULL = 13, 34  # columns of a standing
MARK, GAP = "• ", "  "
WIDE = 140  # columns; from here on a discovery's category and its standing in full are shown
NARROW = 66  # columns; below, the less important ones are left out
MOST_CURVE = 100  # columns of the curve of a run
STANDINGS = {"confirmed": "green", "refuted": "red"}
NOTE = "q quits · gain ± standard error (seed pairs); claims are biased upward"


def frame(watch_model: Json, width: int, height: int, clock: str) -> Text:
    """The lines to show, most important first where they do not all fit.

    watch_model: as `watch --json` prints it. width, height: of the terminal, in cells, at least 1. clock: to show.
    """
    lines = [_header(watch_model, width, clock), *_doing(watch_model, width, height)]
    if watch_model.get("discoveries") is not None:
        lines += [Text(), *_facts(watch_model), Text(), *_classes(watch_model, width, height), Text()]
        lines += _discoveries(watch_model, width, height - len(lines) - 2)
    if height > 2:
        lines = [*lines[: height - 1], Text(NOTE, "dim")]
    return Text("\n").join(_fitted(line, width) for line in lines[:height])


def _fitted(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _row(*cells: tuple[object, int, str]) -> Text:
    """Texts in columns of their own, (text, columns, style) each, cut or filled up, with gaps between."""
    fitted = []
    for value, width, style in cells:
        cell = Text(one_line(value), style)
        cell.truncate(max(1, width), overflow="ellipsis", pad=True)
        fitted.append(cell)
    return Text(GAP).join(fitted)


# ---- this node ------------------------------------------------------------------------------------------------------


def _header(watch_model: Json, width: int, clock: str) -> Text:
    now = watch_model["now"] or {}
    who = short_peer(watch_model["peer"]) if watch_model.get("peer") else ""
    measured = watch_model.get("measured", JUDGED)
    by = "" if measured == JUDGED else measured
    scale = f"scale {now['scale']}" if now.get("scale") else ""
    parts = ["autoresearch-node", watch_model.get("name", ""), by, who, now.get("compute_class", ""), scale]
    left = Text(" · ".join(one_line(part) for part in parts if part), "bold")
    left.truncate(max(1, width - len(clock) - len(GAP)), overflow="ellipsis", pad=True)
    return Text().append(left).append(GAP + clock, "dim")


def _doing(watch_model: Json, width: int, height: int) -> list[Text]:
    now = watch_model["now"]
    lines = [Text(one_line(watch_model["trouble"]), "yellow")] if watch_model["trouble"] else []
    if now is None:
        paused = f", and paused from then on (`{typed('resume')}` ends it)" if watch_model["paused"] else ""
        waits = f"no node runs here; waiting for `{typed('join')}`{paused}"
        return [*lines, Text(waits, "yellow")]
    style = "yellow" if now.get("resting") else "bold green"  # the key of status.json for why it is paused
    what = Text().append(in_hints(one_line(now.get("doing", ""))), style)
    if now.get("title"):
        what.append(GAP + one_line(now["title"]))
    run = now.get("run")
    return [*lines, what, *(_run(run, width, height) if run else [])]


def _run(run: Json, width: int, height: int) -> list[Text]:
    """Bar and curve of the run under way, one above the other on the same scale."""
    share = min(1.0, max(0.0, run["share"]))
    words = f" {100 * share:3.0f} %  {'training' if run['phase'] == 'train' else 'judging'}, {run['seconds']:.0f} s"
    if run["loss"] is not None:
        words += f"  loss {run['loss']:.3g}, unjudged"
    long = max(4, min(MOST_CURVE, width - 44))
    done = round(share * long)
    bar = Text().append("━" * done, "green").append("━" * (long - done), "dim").append(words)
    curve = [(share, loss) for share, loss in run["curve"]]
    if len(curve) < 2:
        return [bar]
    reached = [column for column in range(long) if column <= curve[-1][0] * long]
    columns = [_latest(curve, (column + 1) / long) for column in reached]
    rows = max(1, min(8, (height - 20) // 4))
    picture = [Text().append(line.ljust(long), "cyan") for line in chart(_logarithms(columns), rows)]
    last = curve[-1][1] if run["loss"] is None else run["loss"]
    picture[-1].append(f" {curve[0][1]:.3g} → {last:.3g}")
    return [bar, *picture]


def _latest(curve: Sequence[tuple[float, float]], share: float) -> float:
    """The value at a share of the run."""
    return next((loss for at, loss in reversed(curve) if at <= share), curve[0][1])


def _logarithms(values: Sequence[float]) -> list[float]:
    """For a logarithmic scale: a loss falls fast at first, and on a linear one the later part would look flat."""
    return list(values) if min(values) <= 0 else [math.log(value) for value in values]


def chart(values: Sequence[float], rows: int) -> list[str]:
    """Columns of blocks in eighths, from the lowest value (one eighth of the lowest row) to the highest (all rows).

    Example, one row: the values 2, 3, 4 have heights of 1, 5 and 8 eighths.
    """
    low, span = min(values), max(values) - min(values)
    shares = [(value - low) / span if 0 < span < math.inf else 0.0 for value in values]
    tops = [1 + round(share * (8 * rows - 1)) for share in shares]
    return ["".join(BLOCKS[min(8, max(0, top - 8 * below))] for top in tops) for below in reversed(range(rows))]


def _facts(watch_model: Json) -> list[Text]:
    now, models = watch_model["now"] or {}, watch_model["models"]
    peers = now.get("peers", [])
    classes = Counter(one_line(peer.get("compute_class")) or "class not known yet" for peer in peers)
    by_class = ", ".join(f"{name} {count}" for name, count in classes.most_common(5))
    waiting = " · ".join(one_line(title) for title in watch_model["waiting_titles"])
    asked = (
        f"{models['tokens']:,} tokens, cost {models['money']:.2f}; within the last hour "
        f"{models['tokens_last_hour']:,}, {models['money_last_hour']:.2f}"
    )
    return [
        _fact("peers", f"{len(peers)}  {by_class}" + (f" · {one_line(now['reach'])}" if now.get("reach") else "")),
        _fact("records", _tally(watch_model)),
        _fact("to re-run", f"{watch_model['waiting']}  {waiting}"),
        *([_fact("models", asked)] if models["tokens"] else []),
    ]


def _fact(name: str, value: str) -> Text:
    return Text().append(name.ljust(LABEL), "dim").append(value)


# ---- the swarm ------------------------------------------------------------------------------------------------------


def _tally(watch_model: Json) -> str:
    tally = watch_model["standings"]
    kinds = ", ".join(f"{count} {name}" for name, count in tally.items() if count)
    count = sum(tally.values())
    found = f"{count} {'discovery' if count == 1 else 'discoveries'} ({kinds})" if kinds else "no discovery yet"
    return f"{watch_model['records']} of {watch_model['authors']} nodes: {found}"


def _classes(watch_model: Json, width: int, height: int) -> list[Text]:
    """The best node of each compute class, as many as fit, and how the metric got better there."""
    if not watch_model["classes"]:
        return [Text("nothing has been measured yet", "dim")]
    own = [(with_unit("own figure", watch_model), FIGURE, "dim")] if width >= NARROW else []
    head = _row(("best by class", CLASS, "dim"), (with_unit("others found", watch_model), FIGURE, "dim"), *own)
    lines = [head.append(f"{GAP}{one_line(watch_model['metric'])}, its finders' figure", "dim")]
    for one in watch_model["classes"][: max(1, (height - 12) // 6)]:
        own = [(gain_cell(one["gain"]), FIGURE, "")] if width >= NARROW else []
        line = _row((one["class"], CLASS, ""), (gain_cell(one["replicated"]), FIGURE, ""), *own)
        values = one["values"]
        if values:
            line.append(GAP).append(chart(_spread(values, 30 if width >= WIDE else 10), 1)[0], "cyan")
            line.append(f" {values[0]:.3g} → {values[-1]:.3g}" if len(values) > 1 else f" {values[0]:.3g}")
        lines.append(line)
    return lines


def _spread(values: Sequence[float], most: int) -> list[float]:
    """At most `most` of the values, evenly spaced, with the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(number * (len(values) - 1) / (most - 1))] for number in range(most)]


def _discoveries(watch_model: Json, width: int, height: int) -> list[Text]:
    """A heading and at most `height` discoveries, the newest first."""
    if not watch_model["discoveries"]:
        return []
    found, claimed = with_unit("others found", watch_model), with_unit("claimed", watch_model)
    names = ("newest discoveries", "by", "category", found, claimed, "standing")
    lines = [Text(" " * len(MARK)).append(_columns(names, width, "dim", "dim"))]
    for one in watch_model["discoveries"][: max(0, height)]:
        cells = (
            one["title"],
            "you" if one["author"] == watch_model["peer"] else short_peer(one["author"]),
            one["category"],
            found_cell(one),
            gain_cell(one["claimed"]),
            standing(one) if width >= WIDE else _briefly(one),
        )
        mark = MARK if one["arrived"] >= watch_model["since"] else " " * len(MARK)
        line = Text().append(mark, "bold cyan")
        lines.append(line.append(_columns(cells, width, "", STANDINGS.get(one["standing"], ""))))
    return lines


def _columns(cells: tuple[str, ...], width: int, style: str, last: str) -> Text:
    """Title, author, category, found, claimed and standing, as far as they fit; the title takes the remaining width."""
    widths = (0, PEER, CATEGORY if width >= WIDE else 0, FIGURE, FIGURE, IN_FULL if width >= WIDE else BRIEF)
    if width < NARROW:
        widths = (0, 0, 0, FIGURE, 0, BRIEF)
    used = len(MARK) + sum(one + len(GAP) for one in widths if one)
    styles = (style, style, style, style, "dim", last)
    kept = list(zip(cells, (max(6, width - used), *widths[1:]), styles, strict=True))
    return _row(*(one for one in kept if one[1]))


def _briefly(one: Json) -> str:
    """The verdict, or how many reports that count are missing for one."""
    return f"open, {one['missing_reports']} to go" if one["standing"] == "open" else str(one["standing"])

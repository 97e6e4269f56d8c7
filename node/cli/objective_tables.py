"""The tables of `objective list`: what this home has researched, and what it might research.

Imported when they are shown: it brings rich.
"""

from __future__ import annotations

import time

from rich.markup import escape
from rich.table import Table

from node.app.inventory import ListedObjective
from node.ledger.settings import JUDGED
from node.platform.home import Home
from node.platform.log import short_id
from node.view.terminal.tables import gain_with_unit, plain_table


def researched(found: list[ListedObjective], home: Home) -> Table:
    title = f"researched in {escape(str(home.root))} (* is what `join` goes on with)"
    table = plain_table(
        title, "", "name", "id", "metric", "records", "own experiments", "discoveries", "best gain", "last", "files",
        "join it here",
    )  # fmt: skip
    for each in found:
        about = each.researched
        assert about is not None
        table.add_row(
            "*" if each.current else "",
            escape(each.name) or "–",
            short_id(each.id),
            _metric(each),
            str(about.records),
            str(about.experiments),
            str(about.discoveries),
            gain_with_unit(about.gain)
            + ("" if each.measured == JUDGED or about.gain is None else f", {each.measured}"),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(about.joined)) if about.joined else "–",
            escape(each.place),
            _joinable(each),
        )
    return table


def others(found: list[ListedObjective]) -> Table:
    table = plain_table("others on this machine", "name", "id", "metric", "a run", "files", "join it here")
    for each in found:
        table.add_row(
            escape(each.name), short_id(each.id), _metric(each), _run(each), escape(each.place), _joinable(each)
        )
    return table


def _metric(each: ListedObjective) -> str:
    measured = "" if each.measured == JUDGED else each.measured
    return escape(", ".join(filter(None, (each.metric, each.unit, measured))))


def _run(each: ListedObjective) -> str:
    if not each.wall_seconds:
        return "–"
    budget = f"{each.tokens:,} tokens, " if each.tokens else f"{each.seconds:g} s, " if each.seconds else ""
    here = f", at its scale {escape(each.scale)}" if each.scale else ""
    others = f"; scales: {escape(', '.join(each.scales))}" if each.scales else ""
    return f"{budget}at most {each.wall_seconds:g} s{here}{others}"


def _joinable(each: ListedObjective) -> str:
    return "yes" if each.joinable else f"no: {escape(each.why_not)}"

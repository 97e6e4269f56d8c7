"""Two records side by side for a terminal."""

from __future__ import annotations

from itertools import zip_longest

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.syntax import Syntax
from rich.text import Text

from node.ledger.projections.effects import value_text
from node.platform.log import Json, short_id
from node.view.terminal.tables import plain_table
from protocol.identity import short_peer


def table(data: Json) -> RenderableType:
    """data: as `compare --json` prints it."""
    a, b = data["a"], data["b"]
    told = data["difference_text"] or "one of the two was not measured, so nothing is subtracted"
    shown = plain_table(escape(told), "", "a", "b")
    for name, one, other in zip(_NAMES, _cells(a), _cells(b), strict=True):
        shown.add_row(name, escape(one), escape(other))
    for number, (one, other) in enumerate(zip_longest(a["runs"], b["runs"]), 1):
        shown.add_row(f"run {number}, seed and value", _run(one), _run(other))
    if data["diff"] is None:
        return Group(shown, Text("a source has not arrived, so the two are not compared", style="dim"))
    if not data["diff"]:
        return Group(shown, Text("their sources are the same", style="dim"))
    return Group(shown, Syntax("\n".join(data["diff"]), "diff", theme="ansi_dark", background_color="default"))


_NAMES = (
    "record", "kind", "title", "category", "by", "class", "conclusion", "standing", "gain", "value", "parent's value",
    "cost ratio", "CPU seconds a run",
)  # fmt: skip


def _cells(side: Json) -> list[str]:
    return [
        short_id(side["id"]),
        side["kind"],
        side["title"],
        side["category"] or "–",
        short_peer(side["by"]),
        side["compute_class"],
        side["conclusion"] or side["decision"].replace("_", " "),
        side["standing"] or "–",
        side["gain_text"],
        _number(side["value"]),
        _number(side["from"]),
        "–" if side["cost_ratio"] is None else f"{side['cost_ratio']:.3f}",
        "–" if side["cpu_seconds"] is None else f"{side['cpu_seconds']:.1f}",
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else value_text(value)


def _run(run: Json | None) -> str:
    """The child of a pair: "17  3.2841", or how it failed."""
    if run is None:
        return "–"
    child = run["child"]
    return f"{run['seed']}  {child['failure'] or _number(child['value'])}"

"""Tables of what carries over to larger scales and from other objectives, and what one promotion came to."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from node.platform.log import Json, short_id
from node.platform.program import typed
from node.view.terminal.tables import gain_with_unit, plain_table

DECISIONS = {
    "carries_over": "carries over",
    "lost": "is lost",
    "unclear": "is unclear",
    "failed": "does not run there",
}


def carried(categories: Sequence[Json]) -> RenderableType:
    """How each category carries over to each scale. categories: as `node.view.model.transfers.transfers` gives them."""
    table = plain_table(
        "what carries over to larger scales", "scale", "category", "tried", "carry over", "rate %", "gain there / here"
    )
    for row in categories:
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f} ±{row['ratio_error']:.2f}"
        table.add_row(
            escape(row["scale"]),
            escape(row["category"]),
            f"{row['tried']:.3g}",
            f"{row['carried']:.3g}",
            f"{100 * row['rate']:.0f} ±{100 * row['rate_error']:.0f}",
            ratio,
        )
    return table


def came_from(rows: Sequence[Json]) -> RenderableType:
    """What came of ideas confirmed in other objectives. rows: `objectives` of `node.view.model.transfers.transfers`."""
    table = plain_table(
        "what carries over from other objectives",
        "objective",
        "category",
        "tried",
        "gained",
        "rate %",
        "mean gain here",
    )
    for row in rows:
        table.add_row(
            escape(row["name"] or short_id(bytes.fromhex(row["objective"]))),
            escape(row["category"]),
            str(row["tried"]),
            str(row["gained"]),
            f"{100 * row['rate']:.0f} ±{100 * row['rate_error']:.0f}",
            row["gain_text"] or "–",
        )
    return table


def promoted(value: Json) -> RenderableType:
    """What `promote` came to. value: as `promote --json` prints it."""
    if value["waiting"]:
        return Text(
            f"the running node takes it up and runs {short_id(bytes.fromhex(value['discovery']))} at the scale "
            f"{value['scale']}; `{typed('log -f')}` shows what comes of it"
        )
    return Text(
        f"{value['title']} {DECISIONS[value['decision']]} at the scale {value['scale']}: "
        f"{gain_with_unit(value['effect'])}, where {gain_with_unit(value['claimed'])} was claimed; record "
        f"{short_id(bytes.fromhex(value['id']))}"
    )

"""The table of `strategy`: one row for each arm, its expected gain and cost, and how likely it is to be next."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from node.platform.log import Json
from node.view.terminal.tables import objective_text, plain_table, with_unit
from node.view.terminal.transfer_table import came_from, carried


def table(data: Json) -> RenderableType:
    """One row for each arm, and what carries over from elsewhere. data: as `strategy --json` prints it."""
    suffix, form = (" %", "{:.1f}") if data["gain_unit"] else ("", "{:.3g}")
    title = (
        f"{escape(objective_text(data))} · {escape(data['compute_class'])} · {data['seconds_per_run']:.1f} s a run · "
        f"noise of a pair {data['noise']:.3g}{suffix} · {data['experiments']} experiments known"
    )
    shown = plain_table(
        title, "category", "proposer", "success %", with_unit("gain", data), with_unit("already", data), "runs",
        "cost s",
        f"{data['gain_unit'] or 'gain'} an hour", "tried",
        "kept", "next %",
    )  # fmt: skip
    for arm in data["arms"]:
        shown.add_row(
            escape(arm["category"]),
            escape(arm["proposer"]),
            f"{100 * arm['chance']:.0f} ±{100 * arm['chance_deviation']:.0f}",
            form.format(arm["gain"]),
            form.format(arm["already"]),
            f"{arm['runs']:.1f}",
            f"{arm['seconds']:.1f}",
            form.format(arm["gain_per_hour"]),
            str(arm["tried"]),
            str(arm["kept"]),
            f"{100 * arm['next']:.0f}" if arm["has_ideas"] else "no idea left",
        )
    note = Text(
        "Success and gain: estimated from the objective's prior and every record held; those of other compute classes, "
        "older parents and other proposers count less. Already: what this node's best source has gained from the "
        f"category. {100 * data['explored_share']:.0f} % of the choices are made evenly, to explore.",
        style="dim",
    )
    carry = [carried(data["transfers"])] if data["transfers"] else []
    carry += [came_from(data["from_objectives"])] if data["from_objectives"] else []
    return Group(shown, Text(data["why"]), note, *carry)

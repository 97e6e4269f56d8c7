"""Tables of what the page shows of the whole: contribution, progress, the map of ideas, the swarm, the objective."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from node.ledger.projections.effects import gain_figures, value_text
from node.platform.log import Json, one_line, short_id
from node.view.terminal.tables import plain_table
from protocol.identity import short_peer

MOST_IDEAS = 3  # of a category


def contribution(data: Json) -> RenderableType:
    """data: as `contribution --json` prints it."""
    found, swarm = data["found"], data["swarm"]
    others = "1 other node" if found["others"] == 1 else f"{found['others']} other nodes"
    lines = [
        ("runs", f"{data['runs']}, {60 * data['cpu_hours']:,.0f} min of processor time"),
        ("experiments", f"{data['experiments']}, of which {data['kept']} kept; claims proven: {data['claims']}"),
        ("for others", f"claims run again: {data['replications']}; reports audited: {data['audits']}"),
        ("from others", f"claims adopted: {data['adopted']}"),
        (
            "found",
            f"{found['claims']}: {found['confirmed']} confirmed, {found['open']} open, {found['refuted']} refuted",
        ),
        ("adopted by others", f"{found['adopted']} of them, by others {found['adoptions']} times"),
        ("living on", f"{found['live_on']} of them, in the best of {found['in_bests_of']} of {others}"),
        (
            "the swarm",
            f"nodes: {swarm['authors']}; claims: {swarm['claims']}, of which confirmed: {swarm['confirmed']}",
        ),
    ]
    columns = ("record", "title", "claimed", "others found", "standing", "adopted by", "lives in")
    shown = plain_table("found here", *columns)
    for row in data["discoveries"]:
        shown.add_row(
            short_id(row["id"]),
            escape(row["title"]),
            row["gain_text"],
            row["replicated_text"] or "–",
            row["standing"],
            str(row["adopted_by"]),
            str(row["lives_in"]),
        )
    several = [_by_objective(data)] if len(data["objectives"]) > 1 else []
    return Group(_lines(lines), *([shown] if data["discoveries"] else []), *several)


def _by_objective(data: Json) -> Table:
    shown = plain_table(
        "by objective", "objective", "runs", "processor", "experiments", "kept", "claims", "confirmed", "run again"
    )
    for row in [*data["objectives"], {"name": "all", **data["all"]}]:
        shown.add_row(
            escape(row["name"] or short_id(row["id"])) + (" *" if row.get("current") else ""),
            f"{row['runs']:,}",
            f"{60 * row['cpu_hours']:,.0f} min",
            *(str(row[name]) for name in ("experiments", "kept", "claims", "confirmed", "replications")),
        )
    return shown


def progress(data: Json) -> RenderableType:
    """data: as `progress --json` prints it."""
    shown = plain_table("this node", "record", "what", "title", "gain over the baseline", "value")
    for step in data["you"]:
        shown.add_row(
            short_id(step["id"]) if "id" in step else "–",
            step["what"],
            escape(step.get("title", "")),
            step["gain_text"] or "–",
            "–" if step["value"] is None else value_text(step["value"]),
        )
    best = data["best"]
    told = "nobody has claimed anything yet"
    if best is not None:
        others = f", of which others found {best['replicated_text']}" if best["replicated_text"] else ""
        told = f"best of anybody: {best['gain_text']} by {short_peer(best['by'])}{others}"
    return Group(shown, Text(told, style="dim"))


def idea_map(data: Json) -> RenderableType:
    """data: as `map --json` prints it."""
    counts = ("kept", "claims", "confirmed")
    shown = plain_table("ideas", "category", "tried", "measured", *counts, "mean gain", "best", "best ideas")
    for row in data["categories"]:
        shown.add_row(
            escape(row["category"]),
            *(str(row[name]) for name in ("tried", "measured", *counts)),
            row["gain_text"] or "–",
            row["best_text"] or "–",
            escape("; ".join([one_line(idea["title"]) for idea in row["ideas"] if idea["gain"]][:MOST_IDEAS])),
        )
    return shown


def swarm(data: Json) -> RenderableType:
    """data: as `swarm graph --json` prints it."""
    counts = ("tried", "found", "confirmed", "reports", "adopted")
    nodes = plain_table("nodes", "node", "class", "connected", "weight here", *counts, "last")
    for row in data["nodes"]:
        nodes.add_row(
            short_peer(row["peer"]) + (" (you)" if row["you"] else ""),
            escape(row["compute_class"]),
            "yes" if row["online"] else "no",
            f"{row['weight']:.2f} {row['standing']}",
            *(str(row[name]) for name in ("experiments", "discoveries", "confirmed", "reports", "adopted")),
            escape(one_line(row["last"]["title"])),
        )
    done = ("reports", "supports", "contradicts", "audits", "adopted")
    edges = plain_table("who re-ran and adopted whose", "node", "of", *done)
    for row in data["edges"]:
        edges.add_row(short_peer(row["from"]), short_peer(row["to"]), *(str(row[name]) for name in done))
    left_out = data["left_out"]
    more = f"{left_out['nodes']} more nodes are not shown" if left_out["nodes"] else ""
    return Group(nodes, *([edges] if data["edges"] else []), *([Text(more, style="dim")] if more else []))


def objective(data: Json) -> RenderableType:
    """data: as `objective show --json` prints it."""
    start, best = data["baseline"], data["best"]
    value = "not measured yet" if start["value"] is None else f"{value_text(start['value'])}, its first run"
    if start["mean_se"] is not None:
        _, error = gain_figures(start["mean"], start["mean_se"], "")
        value = f"{value}; mean of {start['n']}: {value_text(start['mean'])} ± {error}"
    metric = f"{data['metric']} in {data['unit']}" if data["unit"] else data["metric"]
    lines = [
        ("objective", f"{data['name']}  {data['id']}"),
        ("summary", data["summary"] or "–"),
        ("metric", f"{metric}, {data['direction']} is better, {data['scale']} scale"),
        ("measured", f"{data['measured']}: {data['trust']}"),
        ("kind", data["kind"] or "–"),
        ("budget", data["budget"]["text"] if data["budget"] else "–"),
        ("editable", ", ".join(data["editable"])),
        ("baseline", value),
        ("best here", best["gain_text"] if best is not None else "nothing claimed"),
        ("records", f"{data['records']} of {data['authors']} nodes"),
    ]
    program = data["program"] + ("\n…" if data["program_cut"] else "")
    return Group(_lines(lines), Text(f"\n{program}" if program else "", style="dim"))


def _lines(lines: list[tuple[str, str]]) -> Text:
    width = max(len(name) for name, _ in lines)
    return Text("\n".join(f"{name:{width}}  {one_line(said)}" for name, said in lines))

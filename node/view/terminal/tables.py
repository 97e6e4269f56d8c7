"""Tables and texts for a terminal, made from the same plain data that `--json` prints.

Peers' text is data: everything goes through rich's Text or is escaped, so markup in a title stays a title.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from node.ledger.projections.effects import gain_figures, value_text
from node.ledger.settings import JUDGED
from node.platform.log import Json, one_line, short_id
from node.platform.program import in_hints, typed
from protocol.identity import short_peer

STATES = {  # of suggestions, where the key is no word for people
    "needs_model": "needs a model",
    "with_model": "with the model",
    "taken_back": "taken back",
    "left": "not sent",
}
MOST_REASONS = 5  # of workers that are not there


def gain_cell(effect: Json | None) -> str:
    """A gain with its error and number of seed pairs, its unit being in the heading; "–" where nothing was measured."""
    if effect is None:
        return "–"
    shown, error = gain_figures(effect["gain"], effect["gain_se"], effect["gain_unit"])
    return f"{shown} ±{error} ({effect['pairs']})"


def found_cell(row: Json) -> str:
    """What others found of a discovery; with a question mark where none of it counts at this node."""
    return f"{gain_cell(row['unchecked'])}?" if row["unchecked"] else gain_cell(row["replicated"])


def gain_with_unit(effect: Json | None) -> str:
    """The same where no heading says the unit."""
    return str(effect["text"]) if effect is not None else "–"


def with_unit(heading: str, data: Json) -> str:
    """The heading of a column of gains: "claimed %", or "claimed" where gains are in units of the metric."""
    return f"{heading} {data['gain_unit']}".rstrip()


def objective_text(data: Json) -> str:
    """The objective, its metric and who measured it: "sorting · ms · self-measured"."""
    return " · ".join([data["name"], data["metric"], *([] if data["measured"] == JUDGED else [data["measured"]])])


def _peer(peer_id: str | None) -> str:
    return short_peer(peer_id) if peer_id else "–"


def plain_table(title: str, *columns: str) -> Table:
    """An empty table in the style that all of them share."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def leaderboard(data: Json, own: str | None) -> RenderableType:
    """Two tables: how far each node has got, and every discovery with what others found."""
    replicated, own_figure, claimed, holdout = (
        with_unit(name, data) for name in ("replicated", "own figure", "claimed", "holdout")
    )
    title = f"{escape(objective_text(data))} · gain over the baseline"
    columns = ("class", "place", "node", replicated, "of steps", own_figure, holdout, "tried", "re-run", "best source")
    nodes = plain_table(title, *columns)
    for row in data["nodes"]:
        nodes.add_row(
            escape(row["compute_class"]),
            str(row["place"]),
            _peer(row["peer"]) + (" (you)" if row["peer"] == own else ""),
            gain_cell(row["replicated"]),
            f"{row['replicated_steps']}/{len(row['steps'])}",
            gain_cell(row["gain"]),
            gain_cell(row["holdout"]),
            str(row["experiments"]),
            str(row["replications"]),
            short_id(row["best_source"]),
        )
    found = plain_table("discoveries", "class", "id", "title", "by", replicated, "keys", claimed, holdout, "standing")
    for row in data["discoveries"]:
        found.add_row(
            escape(row["compute_class"]),
            short_id(row["id"]),
            Text(row["title"]),
            _peer(row["author"]),
            found_cell(row),
            str(row["keys"]),
            gain_cell(row["claimed"]),
            gain_cell(row["holdout"]),
            standing(row),
        )
    note = Text(
        "Gain ± standard error (seed pairs); validation gains are adjusted for CPU cost, holdout gains are not. Only "
        "what others found on seeds of their own counts, as far as this node has checked them; a question mark stands "
        "where it has checked none. Claims and own figures are biased upward by selection.",
        style="dim",
    )
    return Group(nodes, found, note, *map(_other_files, data["same_folder"][:1]))


def _other_files(row: Json) -> Text:
    other = short_id(row["id"])
    return Text(
        f"Its folder has had other files, which are another objective: {row['records']} records stand under the id "
        f"{other}. `{typed(f'leaderboard --objective {other}')}` shows them."
    )


def standing(row: Json) -> str:
    """The verdict on a discovery, with its reach, or what is missing for one."""
    if row["reach"]:
        return f"{row['standing']}, {row['reach']}"
    notes = []
    if row["standing"] == "open" and row["missing_reports"]:
        notes.append("too early to say")
    if row["made_up"]:
        notes.append(f"{row['made_up']} made up")
    return f"{row['standing']} ({', '.join(notes)})" if notes else str(row["standing"])


def status(data: Json) -> RenderableType:
    """A few lines: the node, what it is doing, its best gain, its peers."""
    now = data["now"] or {}
    rows = [
        ("node", f"{data['peer'] or 'no identity yet'}"),
        ("running", now.get("doing", "yes") if data["running"] else f"no (start it with `{typed('join')}`)"),
        ("working on", now.get("title") or "–"),
        ("objective", f"{objective_text(data)}  {short_id(data['objective'])}{_scale(now)}"),
        ("best gain", _gain(data["gain"], data) if data["gain"] else "–"),
        *([("search ahead", _ahead(data["best"]["ahead"], data))] if data["best"] and data["best"]["ahead"] else []),
        ("records", f"{data['records']} of {data['authors']} nodes, {data['forks']} forked feeds"),
        ("reach", now.get("reach", "–")),
        ("peers", ", ".join(_peer(p["peer"]) for p in now.get("peers", [])) or "none"),
        ("to re-run", str(now.get("waiting_replications", "–"))),
        *([("workers", workers_text(now["workers"]))] if now.get("workers") else []),
        ("addresses", "\n".join(now.get("addresses", [])) or "–"),
    ]
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(in_hints(value)))
    return table


def _ahead(ahead: Json, data: Json) -> str:
    """What the search has gone on by since its last claim: "+3.1 % ± 0.6 (1 pair), 2 bets, not proven yet"."""
    bets = len(ahead["bets"])
    return f"{_gain(ahead['gain'], data)}, {bets} {'bet' if bets == 1 else 'bets'}, not proven yet"


def _scale(now: Json) -> str:
    """At which scale a running node makes runs, where that is not the objective's own budget."""
    return f", here at its scale {one_line(now['scale'])}" if now.get("scale") else ""


def workers_text(workers: list[Json]) -> str:
    """Workers elsewhere in a few words: "2 running, 1 waiting", with what is known of those that are not there."""
    counts = Counter(str(worker.get("state")) for worker in workers)
    lines = [", ".join(f"{number} {state}" for state, number in counts.most_common())]
    reasons = {f"{one_line(worker['state'])}: {one_line(worker['why'])}" for worker in workers if worker.get("why")}
    return "\n".join([*lines, *sorted(reasons)[:MOST_REASONS]])


def show(data: Json) -> RenderableType:
    """A record as a page: its fields, its runs, what others found, its lineage and the edit."""
    record, body = data["record"], data["record"]["body"]
    parts: list[RenderableType] = [
        Text(f"{record['kind']} {record['id']}", style="bold"),
        Text(f"by {data['author']}, record {record['seq']} of its feed"),
        Text(f"objective: {objective_text(data)}"),
    ]
    fields = (
        "title",
        "category",
        "reason",
        "proposer",
        "conclusion",
        "decision",
        "route",
        "class",
        "device",
        "sandbox",
    )
    told = body | {"decision": _decision(body, body.get("effect"))}
    if "conclusion" in data:
        told = body | {"conclusion": data["conclusion_text"], "decision": ""}
    parts += [Text(f"{key}: {told[key]}") for key in fields if told.get(key)]
    measured = {"effect": "gain", "holdout": "holdout gain", "adoption": "gain by adopting"}
    parts += [Text(f"{name}: {_gain(data[key], data)}") for key, name in measured.items() if data.get(key)]
    if data.get("fate"):
        parts.append(Text(f"came of it: {in_hints(fate_text(data['fate']))}"))
    if data.get("standing"):
        parts.append(Text(f"standing: {data['standing']} ({data['rests_on']})"))
    if data.get("runs"):
        parts.append(_runs(data["runs"], data))
    if data.get("replications"):
        parts.append(_replications(data["replications"], data))
    if data.get("audits"):
        parts.append(_audits(data["audits"], data))
    if data.get("replay"):
        parts.append(Text(f"replay: {', '.join(data['replay'])}; the dashboard draws it, and --json has its numbers"))
    if data.get("lineage"):
        parts.append(Text("lineage: " + " → ".join(["baseline", *(step["title"] for step in data["lineage"])])))
    if data.get("diff"):
        parts.append(Syntax("\n".join(data["diff"]), "diff", background_color="default"))
    elif "diff" in data and data["diff"] is None:
        parts.append(Text("the edit: sources have not arrived yet", style="dim"))
    return Group(*parts)


def fate_text(fate: Json) -> str:
    """What became of a suggestion: "tried: kept as a bet, +3.1 % ± 0.6 (1 pair), record 69d6013f8c"."""
    state = STATES.get(fate["state"], fate["state"])
    more = [str(fate["why"])] if fate["why"] else []
    more += [fate["gain_text"]] if fate["gain_text"] else []
    more += [f"record {short_id(fate['record'])}"] if fate["record"] else []
    return f"{state}: {', '.join(more)}" if more else str(state)


def _gain(effect: Json, data: Json) -> str:
    """A gain in words, with who measured it, and what the metric and what cost contributed where that is known."""
    gain = f"{effect['text']}{_measured(data)}"
    return f"{gain}: {effect['parts_text']}" if "parts_text" in effect else gain


def _measured(data: Json) -> str:
    return "" if data["measured"] == JUDGED else f", {data['measured']}"


def _runs(rows: list[Json], data: Json) -> Table:
    table = plain_table(f"runs{_measured(data)}", "of", "seed", "parent", "child", "CPU s parent", "CPU s child")
    for row in rows:
        parent, child = row["parent"], row["child"]
        table.add_row(
            row["of"],
            str(row["seed"]),
            _value(parent),
            _value(child),
            f"{parent['cpu_seconds']:.1f}",
            f"{child['cpu_seconds']:.1f}",
        )
    return table


def _value(run: Json) -> str:
    return value_text(run["value"]) if run["value"] is not None else str(run["failure"])


def _replications(rows: list[Json], data: Json) -> Table:
    title = f"replications{_measured(data)}"
    table = plain_table(title, "id", "by", "class", with_unit("found", data), "decision", "adopted")
    for row in rows:
        table.add_row(
            short_id(row["id"]),
            _peer(row["peer"]),
            escape(row["compute_class"]),
            gain_cell(row["effect"] or row["adoption"]),
            _decision(row, row["effect"]),
            row["route"] or "no",
        )
    return table


def _decision(row: Json, effect: Json | None) -> str:
    """What somebody made of another's claim: who adopted it by a trial of their own reports nothing beside."""
    return "adopted" if effect is None and row.get("route") else str(row.get("decision", ""))


def _audits(rows: list[Json], data: Json) -> Table:
    table = plain_table(f"audits{_measured(data)}", "id", "by", "of report", "seed", "parent", "child", "agrees")
    for row in rows:
        table.add_row(
            short_id(row["id"]),
            _peer(row["peer"]),
            short_id(row["report"]),
            str(row["seed"]),
            _value(row["parent"]),
            _value(row["child"]),
            {True: "yes", False: "no", None: "–"}[row["agrees"]],
        )
    return table


def records(rows: list[Json], objective: str) -> RenderableType:
    """One row for each record of an objective, in the order of arrival.

    A report has the title of its discovery, where that is held.
    """
    titles = {row["id"]: row["body"]["title"] for row in rows if "title" in row["body"]}
    table = plain_table(escape(objective), "id", "kind", "by", "seq", "title", "conclusion")
    for row in rows:
        body = row["body"]
        about = str(body.get("discovery", ""))
        table.add_row(
            short_id(row["id"]),
            escape(row["kind"]),
            _peer(row["author"]),
            str(row["seq"]),
            Text(str(body.get("title") or titles.get(about, short_id(about)))[:60]),
            str(row.get("conclusion") or _decision(body, body.get("effect"))).replace("_", " "),
        )
    return table


def reproduced(rows: list[Json]) -> RenderableType:
    """The values of runs in a record beside those of the same runs here."""
    table = plain_table("in the record and here", "run", "seed", "record", "here", "same", "early scores")
    for row in rows:
        table.add_row(
            f"{row['of']}, {row['side']}",
            str(row["seed"]),
            _plain(row["said"]),
            _plain(row["found"]) if row["failure"] is None else str(row["failure"]),
            _sameness(row),
            "same" if row["checkpoints_equal"] else "differ",
        )
    note = "Values agree to the last digit on one platform; on another, early scores agree and final ones are close."
    if any(row["spread"] for row in rows):
        note = "These runs do not repeat: what is compared is the gain of each pair, within the objective's own noise."
    return Group(table, Text(note, style="dim"))


def _sameness(row: Json) -> str:
    if row["spread"]:
        return "same gain" if row["same"] else "another gain"
    return "to the last digit" if row["same"] else "no"


def _plain(value: float | None) -> str:
    return "failed" if value is None else repr(value)


def finalized(rows: list[Json], workspace: Path) -> RenderableType:
    """The branches made, and where the patches are."""
    table = plain_table(f"in {escape(str(workspace))}", "branch", "idea", "patch")
    for row in rows:
        table.add_row(escape(row["branch"]), Text(row["title"]), escape(row["patch"]))
    return table

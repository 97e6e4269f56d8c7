"""Tables of a live folder: variants and what was answered, what was dropped, and the map by theme."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from node.platform.log import Json
from node.view.terminal.tables import plain_table


def status(value: Json) -> RenderableType:
    """What `live status --json` prints."""
    table = plain_table(
        f"{escape(value['name'])}: {escape(value['answer'])}, {value['measured']}",
        "variant", "sha256", "state", "visitors", value["answer"], "of the control's rate", "evidence", "found",
    )  # fmt: skip
    for row in value["variants"]:
        table.add_row(
            escape(row["name"]), row["sha256"][:12], escape(row["state"]), *_counts(row), ratio_text(row),
            _evidence(row), ", ".join(row["found"]),
        )  # fmt: skip
    lines = [f"{row['name']}: {fault}" for row in value["variants"] for fault in row["faults"]]
    lines += [f"stopped {each['variant']} ({each['reason']}): {each['detail']}" for each in value["stopped"]]
    lines += [
        f"{row['name']}: visitors are not split in half with the control, so nothing is claimed; find out why"
        for row in value["variants"]
        if row.get("split_broken")
    ]
    lines += [_guard_line(row["name"], guard) for row in value["variants"] for guard in row.get("guards", [])]
    if value["dropped"]:
        lines.append("dropped: " + ", ".join(f"{reason} {count}" for reason, count in value["dropped"].items()))
    return Group(table, *(Text(line) for line in lines))


def answers(value: Json) -> RenderableType:
    """What `live export` prints, for people: the map."""
    title = f"{escape(value['name'])}, by theme: {value['measured']}"
    table = plain_table(title, "category", "theme", "visitors", "control", "of the control's rate", "never without")
    for row in value["tried"]:
        table.add_row(
            escape(row["category"]), escape(row["theme"]), f"{row['answers']} of {row['visitors']}",
            f"{row['control_answers']} of {row['control_visitors']}", ratio_text(row), ", ".join(row["never_without"]),
        )  # fmt: skip
    untried = ", ".join(row["theme"] for row in value["untried"]) or "nothing of ideas/"
    return Group(table, Text(f"never tried: {untried}"))


def shown(value: Json) -> RenderableType:
    """One variant, for a person who is to approve it."""
    head = f"{value['name']}  sha256 {value['sha256'][:12]}  {value['state']}"
    faults = [f"  {fault}" for fault in value["faults"]]
    return Group(Text(head), *(Text(fault) for fault in faults), Text(""), Text(value["text"]))


def ratio_text(row: Json) -> str:
    """A ratio with its bounds: "× 1.21 (1.04 to 1.40)"."""
    if "ratio" not in row:
        return "–"
    high = "no bound" if row["high"] is None else f"{row['high']:.2f}"
    return f"× {row['ratio']:.2f} ({row['low']:.2f} to {high})"


def _counts(row: Json) -> tuple[str, str]:
    if "visitors" not in row:
        return "–", "–"
    both = [(row["answers"], row["visitors"]), (row["control_answers"], row["control_visitors"])]
    rates = [f"{100 * answered / seen:.2f} %" if seen else "–" for answered, seen in both]
    return f"{row['visitors']} / {row['control_visitors']}", f"{rates[0]} / {rates[1]}"


def _evidence(row: Json) -> str:
    if "evidence" not in row:
        return "–"
    return f"{row['evidence']:.3g} of {row['evidence_needed']:.0f}" + ("" if row["enough"] else ", too few yet")


def _guard_line(name: str, guard: Json) -> str:
    harmed = "; harm" if guard["harmed"] else ""
    return f"{name}, guard {guard['name']}: {guard['ours']} against {guard['theirs']}, {ratio_text(guard)}{harmed}"

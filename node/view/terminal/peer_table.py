"""The page of one peer for a terminal: what its word weighs here and why, what it claims and what came of that."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from node.platform.log import Json, one_line
from node.view.terminal.tables import plain_table
from protocol.identity import short_peer


def table(data: Json) -> RenderableType:
    """data: as `peer show --json` prints it."""
    claims, reports, tried = data["claims"], data["reports"], data["tried_here"]
    word = f"{data['weight']:.2f}: {data['because']}"
    vouching = ", ".join(short_peer(one["peer"]) for one in data["vouched_by"] if not one["you"])
    lines = [
        ("peer", data["peer"] + (" (you)" if data["you"] else "")),
        ("class", data["compute_class"] or "–"),
        ("connected", "yes" if data["online"] else "no"),
        ("weight here", word),
        *([("vouched for by", vouching)] if vouching else []),
        ("best", data["gain_text"] or "nothing claimed"),
        (
            "claims",
            f"{claims['total']}: {claims['confirmed']} confirmed, {claims['open']} open, {claims['refuted']} refuted",
        ),
        ("of them run here", f"{tried['claims']}: {tried['right']} right, {tried['wrong']} wrong"),
        (
            "reports",
            f"{reports['made']}; {reports['audited_here']} run again here, of which {reports['agreed']} agreed and "
            f"{reports['differed']} differed",
        ),
        ("experiments", f"{data['experiments']}, of which {data['kept']} kept"),
        ("records", str(data["records"])),
    ]
    width = max(len(name) for name, _ in lines)
    head = Text("\n".join(f"{name:{width}}  {one_line(said)}" for name, said in lines))
    found = plain_table("found", "record", "title", "claimed", "others found", "standing")
    for row in data["found"]:
        found.add_row(
            row["id"][:10], escape(row["title"]), row["gain_text"], row["replicated_text"] or "–", row["standing"]
        )
    adopted = plain_table("adopted", "record", "title", "from", "gain here")
    for row in data["adopted"]:
        adopted.add_row(
            row["id"][:10],
            escape(row["title"]),
            short_peer(row["from"]) if row["from"] else "–",
            row["gain_text"] or "–",
        )
    return Group(head, *([found] if data["found"] else []), *([adopted] if data["adopted"] else []))


def without_records(data: Json) -> RenderableType:
    """A connected peer of which no record is held."""
    lines = [
        ("peer", data["peer"]),
        ("class", data["compute_class"] or "–"),
        ("connected", f"yes, at {data['address']}" if data["address"] else "yes"),
        ("records", "none here: it has signed nothing yet, or it has not arrived"),
    ]
    return Text("\n".join(f"{name:9}  {one_line(said)}" for name, said in lines))

"""The table of `suggestions`: each with its state, and why it is in that."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from node.platform.log import Json, short_id
from node.platform.program import in_hints, typed
from node.view.terminal.tables import STATES, plain_table
from protocol.identity import short_peer


def table(data: Json) -> RenderableType:
    """data: as `suggestions --json` prints it."""
    if not data["suggestions"]:
        example = typed('suggest "TEXT" --edit PATH')
        return Text(f"nobody has suggested anything yet; `{example}` does")
    shown = plain_table("suggestions", "", "record", "what", "from", "state", "why", "gain", "result")
    for one in data["suggestions"]:
        shown.add_row(
            str(one["place"] or ""),
            short_id(one["id"]) if one["id"] else escape(one["file"]),
            escape(one["title"]) + ("" if one["has_edit"] else " (in words)"),
            "you" if one["own"] else short_peer(one["by"]),
            STATES.get(one["state"], one["state"]),
            escape(in_hints(one["why"] or "")),
            one["gain_text"] or "–",
            short_id(one["record"]) if one["record"] else "–",
        )
    note = f"{in_hints(data['model']['text'])}." + (f" {data['more']} more are not shown." if data["more"] else "")
    return Group(shown, Text(note, style="dim"))

"""The table of `settings`: each value, where it comes from, and when a change of it takes effect."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from node.platform.log import Json
from node.platform.program import typed
from node.platform.settings import AT_ONCE
from node.platform.settings_file import in_words
from node.view.terminal.tables import plain_table


def table(data: Json) -> RenderableType:
    """data: as `settings --json` prints it."""
    shown = plain_table("settings", "setting", "value", "from", "a change takes effect", "about")
    for one in data["settings"]:
        value = in_words(one["value"])
        if one["pending"]:
            soon = "within a second" if one["takes_effect"] == AT_ONCE else "when it starts again"
            value += f" (the running node, until now by {in_words(one['running'])}, takes it up {soon})"
        shown.add_row(one["name"], escape(value), one["from"], one["takes_effect"], escape(one["about"]))
    undo = data["undo"]
    notes = [f"swarm.toml: {data['file'] or 'none; defaults hold'}"]
    if undo is not None:
        notes.append(f"`{typed('settings --undo')}` takes {undo['text']}")
    return Group(shown, Text("\n".join(notes), style="dim"))

"""What a person may do to the node from the dashboard: pause and resume it, and suggest an idea.

Each writes a file in the home, where the node that runs there (or the next one) finds it; the ledger is only read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from node.ledger.store import Ledger
from node.platform.home import Home
from node.proposers.suggestion_inbox import SuggestionError, leave, suggestion_in_words

Actions = Mapping[str, Callable[[str], str]]
"""By name: takes the text that a person gave and returns a sentence; ValueError says what is wrong with the text."""


def actions(home: Home, ledger: Ledger) -> Actions:
    """The actions on the node of this home."""

    def pause(_: str) -> str:
        home.pause(math.inf)
        return "paused"

    def resume(_: str) -> str:
        return "resumed" if home.resume() else "there was no pause"

    def suggest(text: str) -> str:
        try:
            leave(home.suggestions, suggestion_in_words(text, ledger.objective))
        except SuggestionError as error:
            raise ValueError(str(error)) from None
        return "the node takes it up now" if home.in_use() else "the node takes it up when it next starts"

    return {"pause": pause, "resume": resume, "suggest": suggest}

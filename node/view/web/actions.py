"""What a person may do to the node from the dashboard: pause it, change settings, suggest an idea, decide on them.

Each writes a file in the home, where the node that runs there (or the next one) finds it; the ledger is only read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime

from node.ledger.store import Ledger
from node.platform.config import Config, ConfigError, load_config
from node.platform.durations import end_of, paused_text
from node.platform.home import Home
from node.platform.settings import SettingError, change, reset, undo
from node.proposers.suggestion_choices import KeptChoices
from node.proposers.suggestion_decisions import Decisions
from node.proposers.suggestion_inbox import SuggestionError, ends_first, leave, outlook, suggestion_in_words

Actions = Mapping[str, Callable[[str], str]]
"""By name: takes the text that a person gave and returns a sentence; ValueError says what is wrong with the text."""


def actions(config: Config, ledger: Ledger) -> Actions:
    """The actions on the node of the home that these settings name."""
    home = Home(config.home)

    def pause(text: str) -> str:
        until = end_of(text, datetime.now().astimezone()) if text.strip() else None
        home.pause(math.inf if until is None else until)
        return paused_text(until)

    def resume(_: str) -> str:
        return "resumed" if home.resume() else "there was no pause"

    def suggest(text: str) -> str:
        suggestion = suggestion_in_words(text, ledger.objective)
        leave(home.suggestions, suggestion)
        return outlook(suggestion, home.in_use(), config.has_model, ends_first(home.read_status()))

    def now() -> Config:
        return load_config(config.origin.asked, config.origin.overrides)

    def set_one(text: str) -> str:
        name, _, value = text.strip().partition(" ")
        return change(now(), name, value)

    decisions = Decisions(ledger, home.suggestions, KeptChoices(home.suggestion_choices)).by_name
    on_suggestions = {f"suggestion-{name}": _refusing(decision) for name, decision in decisions.items()}
    return {
        "pause": pause,
        "resume": resume,
        "suggest": _refusing(suggest),
        "set": _refusing(set_one),
        "reset": _refusing(lambda name: reset(now(), name.strip())),
        "undo": _refusing(lambda _: undo(now())),
        **on_suggestions,
    }


def _refusing(action: Callable[[str], str]) -> Callable[[str], str]:
    """The action, whose refusals are about the text that was given."""

    def refusing(text: str) -> str:
        try:
            return action(text)
        except (SuggestionError, SettingError, ConfigError) as error:
            raise ValueError(str(error)) from None

    return refusing

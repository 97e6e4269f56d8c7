"""The commands `suggest`, which offers an idea to the swarm, and `suggestions`, which shows what comes of each.

Thin like the rest of the command line: they read arguments, call the part that does the work, and print.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from node.cli.terminal import print_value
from node.ledger.error import LedgerError
from node.platform.config import Config
from node.platform.home import Home
from node.platform.program import in_hints, typed

Command = Callable[..., argparse.ArgumentParser]
DECISIONS = ("up", "down", "veto", "allow", "take-back")
PIPE_COLUMNS = 160


class RefusedError(LedgerError):
    """A suggestion, or a decision on one, that cannot be; the text says why and what to do."""


def add_commands(command: Command) -> None:
    """Make the commands known; `command` is the command line's own way to add one."""
    suggest = command("suggest", _suggest, "offer an idea to the whole swarm, in words or as an edit", reads=False)
    suggest.add_argument(
        "text",
        metavar="TEXT",
        help="what to try and why, in at most 500 characters; without --edit it takes a model to try it",
    )
    suggest.add_argument(
        "--edit", type=Path, metavar="PATH", help="your edited copy of a source file, or a folder of them"
    )
    shown = command(
        "suggestions", _suggestions, "what came of every suggestion; move one up or down, veto it, take it back"
    )
    shown.add_argument("decision", nargs="?", choices=DECISIONS, metavar="DECISION", help=", ".join(DECISIONS))
    shown.add_argument("which", nargs="?", metavar="ID", help="the start of a suggestion's record id, or its file")


def _suggest(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.execution.parsing.parser import SourceParser
    from node.ledger.store import Ledger
    from node.objective.catalog import paths_in
    from node.proposers.suggestion_inbox import SuggestionError, ends_first, leave, outlook, read_edit, suggestion_of

    home = Home(config.home)
    ledger = Ledger.read(home.ledger)
    author, baseline, editable = ledger.settings.author, ledger.settings.baseline, ledger.settings.editable
    try:
        edit = read_edit(options.edit, editable, paths_in(ledger)) if options.edit is not None else None
        parser = SourceParser(editable=editable)
        suggestion = trio.run(suggestion_of, options.text, edit, ledger, author, baseline, parser)
        leave(home.suggestions, suggestion)
    except SuggestionError as error:
        raise RefusedError(str(error)) from None
    what = outlook(suggestion, home.in_use(), config.has_model, ends_first(home.read_status()))
    print(f"{in_hints(what)}; `{typed('suggestions')}` shows what comes of it")
    return 0


def _suggestions(options: argparse.Namespace, config: Config) -> int:
    from node.ledger.store import Ledger
    from node.proposers.suggestion_choices import KeptChoices
    from node.proposers.suggestion_decisions import Decisions
    from node.proposers.suggestion_inbox import SuggestionError
    from node.view.model.suggestions import suggestions
    from node.view.terminal import suggestion_table

    home = Home(config.home)
    ledger = Ledger.read(home.ledger)
    choices = KeptChoices(home.suggestion_choices)
    if options.decision is not None:
        if options.which is None:
            raise RefusedError(f"say which suggestion: `autoresearch-node suggestions {options.decision} ID`")
        try:
            said = Decisions(ledger, home.suggestions, choices).by_name[options.decision](options.which)
        except SuggestionError as error:
            raise RefusedError(str(error)) from None
        print(said, file=sys.stderr)
    value = suggestions(ledger, home, choices(), config.has_model, home.read_status())
    print_value(options, value, lambda: suggestion_table.table(value), PIPE_COLUMNS)
    return 0

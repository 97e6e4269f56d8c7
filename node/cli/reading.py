"""The commands that read what this home holds: status, leaderboard, strategy, log, show, compare, records.

Thin like the rest of the command line: they read arguments, call the part that does the work, and print. What a command
needs is imported when it runs: every start of the program imports this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from node.cli.terminal import UsageError, print_value
from node.platform.config import Config
from node.platform.home import Home

if TYPE_CHECKING:
    from node.ledger.store import Ledger
    from protocol.records import Record

Command = Callable[..., argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Make the commands known; `command` is the command line's own way to add one."""
    command("status", _status, "what this node is doing, its best result, its records and its peers")
    board = command(
        "leaderboard", _leaderboard, "how far each node has got, and every discovery: gain claimed and replicated"
    )
    board.add_argument(
        "--objective", dest="researched", metavar="NAME|ID", help="another one that this home has researched"
    )
    command("strategy", _strategy, "expected gain of each kind of idea, and what is likely to be tried next")
    log = command("log", _log, "the node's log: what happened, one event a line")
    log.add_argument("-f", "--follow", action="store_true", help="keep printing events as they are logged")
    show = command("show", _show, "everything about one record: claim, edit, runs, replications, lineage")
    show.add_argument("id", metavar="ID", help="a record id or the start of one")
    both = command("compare", _compare, "two records side by side: gains, runs, costs, and how their sources differ")
    for name in ("a", "b"):
        both.add_argument(name, metavar="ID", help="a record id or the start of one")
    command("records", _records, "every record held, in the order of arrival")


def _status(options: argparse.Namespace, config: Config) -> int:
    from node.view.model import leaderboard as data
    from node.view.model.live_run import live
    from node.view.terminal import tables

    home, ledger = opened(options, config)
    running = home.read_status()
    value = data.status(ledger, running) | {"live": live(home, running)}
    print_value(options, value, lambda: tables.status(value))
    return 0


def _leaderboard(options: argparse.Namespace, config: Config) -> int:
    from node.app.researched import id_of, remembered
    from node.ledger.store import Ledger
    from node.view.model import leaderboard as data
    from node.view.terminal import tables

    home = Home(config.home)
    with remembered(home) as memory:
        asked = id_of(options.researched, memory) if options.researched is not None else None
    ledger = Ledger.read(home.ledger, asked)
    value = data.leaderboard(ledger)
    print_value(options, value, lambda: tables.leaderboard(value, _own(ledger)))
    return 0


def _strategy(options: argparse.Namespace, config: Config) -> int:
    from node.view.model import strategy
    from node.view.terminal import strategy_table

    _, ledger = opened(options, config)
    value = strategy.strategy(ledger)
    print_value(options, value, lambda: strategy_table.table(value))
    return 0


def _log(options: argparse.Namespace, config: Config) -> int:
    from node.app.researched import descriptions, remembered
    from node.platform.log import read_log, render_line

    home = existing_home(config)
    colour = sys.stdout.isatty()
    with remembered(home) as ledger:
        current = ledger.settings.objective if ledger is not None else None
        if current is not None:
            print(f"log of {home.root}; it researches {descriptions(ledger)[current].name}", file=sys.stderr)
    try:
        for event in read_log(home.root, options.follow):
            print(json.dumps(event) if options.json else render_line(event, colour), flush=options.follow)
    except KeyboardInterrupt:
        return 0
    return 0


def _show(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.execution.parsing.parser import SourceParser
    from node.proposers.suggestion_choices import KeptChoices
    from node.view.model import leaderboard as data
    from node.view.model.suggestions import fate
    from node.view.terminal import tables
    from protocol.records import Hypothesis

    home, ledger = opened(options, config)
    record = record_of(ledger, options.id)
    value = trio.run(data.show, ledger, record, SourceParser())
    if isinstance(record.body, Hypothesis):
        choices = KeptChoices(home.suggestion_choices)()
        value["fate"] = fate(record, ledger, choices, config.has_model, home.read_status())
    print_value(options, value, lambda: tables.show(value))
    return 0


def _compare(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.execution.parsing.parser import SourceParser
    from node.view.model.compare import NotComparableError, compare
    from node.view.terminal import compare_table

    _, ledger = opened(options, config)
    a, b = record_of(ledger, options.a), record_of(ledger, options.b)
    try:
        value = trio.run(compare, ledger, a, b, SourceParser())
    except NotComparableError as error:
        raise UsageError(str(error)) from None
    print_value(options, value, lambda: compare_table.table(value))
    return 0


def _records(options: argparse.Namespace, config: Config) -> int:
    from node.view.model import leaderboard as data
    from node.view.terminal import tables

    _, ledger = opened(options, config)
    rows = data.records(ledger)
    print_value(options, rows, lambda: tables.records(rows, ledger.settings.objective_name))
    return 0


def opened(options: argparse.Namespace, config: Config) -> tuple[Home, Ledger]:
    """The home, and its ledger for reading. Raises LedgerError."""
    from node.ledger.store import Ledger

    home = Home(config.home)
    return home, Ledger.read(home.ledger)


def existing_home(config: Config) -> Home:
    """The home, which must be there. Raises UsageError."""
    home = Home(config.home)
    if not home.root.exists():
        raise UsageError(f"there is no node home at {home.root}; run `autoresearch-node join` first")
    return home


def record_of(ledger: Ledger, prefix: str) -> Record:
    """The record whose id starts so. Raises UsageError unless there is exactly one."""
    record = ledger.get(prefix)
    if record is None:
        raise UsageError(f"no single record starts with {prefix!r}; `autoresearch-node records` lists them")
    return record


def _own(ledger: Ledger) -> str | None:
    from protocol.identity import peer_id_of

    author = ledger.settings.author
    return peer_id_of(author) if author else None

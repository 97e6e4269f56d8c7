"""The commands, thin: they read arguments, call the part that does the work, and print.

Every reading command works beside a running node and, but for `dashboard`, has `--json`. Errors a person can cause end
with one sentence that says what to do, and exit status 2.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import trio

from node.app import doctor
from node.app.researched import descriptions, id_of, remembered
from node.cli import completion, overviews
from node.cli.examples import overview, texts
from node.cli.home_parts import add_key_commands, add_ledger_commands
from node.cli.inspect import add_commands
from node.cli.live import add_commands as add_live_commands
from node.cli.mcp import add_commands as add_mcp_commands
from node.cli.objective import add_commands as add_objective_commands
from node.cli.peer import add_commands as add_peer_commands
from node.cli.service import add_commands as add_service_commands
from node.cli.settings import add_command as add_settings_command
from node.cli.suggestions import add_commands as add_suggestion_commands
from node.cli.swarm import add_commands as add_swarm_commands
from node.cli.terminal import (
    CommandParser,
    print_value,
    show_all_characters,
    where_it_failed,
    write_no_more,
    written_out,
)
from node.execution.parsing.parser import SourceParser
from node.ledger.error import LedgerError
from node.ledger.store import Ledger
from node.platform.config import Config, ConfigError, load_config
from node.platform.durations import end_of, paused_text, seconds_in
from node.platform.environment import forget_what_libraries_read
from node.platform.file_trouble import HomeError, in_words
from node.platform.home import Home
from node.platform.log import read_log, render_line
from node.platform.mapped_files import tell_when_a_page_is_lost
from node.view.model import leaderboard as data
from node.view.model import strategy
from node.view.model.compare import NotComparableError, compare
from node.view.model.live_run import live
from node.view.terminal import checkup, compare_table, strategy_table, tables, transfer_table
from protocol.codec import MalformedError
from protocol.identity import peer_id_of
from protocol.objective import Invite, encode_invite
from protocol.records import Record, body_to_json

INTERRUPTED = 130  # a shell's exit status for a program that Ctrl-C ended: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> None:
    """The program `autoresearch-node`."""
    forget_what_libraries_read()
    show_all_characters()
    given = list(sys.argv[1:] if arguments is None else arguments)
    config: Config | None = None
    try:
        with written_out():
            options = _parser().parse_args(given, argparse.Namespace(join_options=_taken_after_dashes(given)))
            config = load_config(options.config, _overrides(options))
            tell_when_a_page_is_lost(config.home)
            sys.exit(options.command(options, config))
    except (ConfigError, HomeError, LedgerError, MalformedError, UsageError) as error:
        print(f"autoresearch-node: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        write_no_more()
        sys.exit(1)
    except (OSError, sqlite3.Error) as error:
        _complain(error, config)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:
            sys.exit(INTERRUPTED)  # while something was still being prepared
        if group.split((OSError, sqlite3.Error))[1] is not None:
            raise
        _complain(_first_of(group), config)


def _complain(error: OSError | sqlite3.Error, config: Config | None) -> NoReturn:
    home = config.home if config is not None else Path(".")
    if isinstance(error, OSError) and error.filename is None and (where := where_it_failed(error)):
        print(f"autoresearch-node: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    print(f"autoresearch-node: {in_words(error, home)}", file=sys.stderr)
    sys.exit(2)


def _first_of(group: BaseExceptionGroup[BaseException]) -> OSError | sqlite3.Error:
    """The first error in a group of nothing but OSError and sqlite3.Error, however deep."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first_of(first)
    assert isinstance(first, (OSError, sqlite3.Error))
    return first


class UsageError(Exception):
    """The command cannot be carried out as given; the text says what to do."""


def duration(text: str) -> float:
    """Seconds in "90", "90s", "15m", "2h" or "1d"."""
    try:
        return seconds_in(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def moment(text: str) -> float:
    """When a length of time is over, or the clock next shows a time of day, in seconds since 1970."""
    try:
        return end_of(text, datetime.now().astimezone())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _taken_after_dashes(given: list[str]) -> list[str]:
    """Take away and return what follows "--" of a `service` command: options of `join`, not its own."""
    if given[:1] != ["service"] or "--" not in given:
        return []
    position = given.index("--")
    after = given[position + 1 :]
    del given[position:]
    return after


def _adder(
    commands: Any, group: str = "", listed: dict[str, str] | None = None
) -> Callable[..., argparse.ArgumentParser]:
    """The one way to add a command, below `group` if one is named: what all have in common is given here.

    listed: where a command's name and text go, for a help page that lists commands in its own way.
    """

    def command(name: str, function: Callable[..., int], text: str, reads: bool = True) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(name, **_help(name, text, group, listed))
        sub.set_defaults(command=function)
        sub.add_argument("--home", metavar="DIR", help="the node's own folder (default: ~/.autoresearch-node)")
        sub.add_argument("--config", type=Path, metavar="FILE", help="settings (default: swarm.toml in the home)")
        if reads:
            sub.add_argument("--json", action="store_true", help="print data instead of tables")
        return sub

    return command


def _help(name: str, text: str, group: str, listed: dict[str, str] | None) -> dict[str, Any]:
    if listed is None:
        return texts(f"{group} {name}".strip(), text) | {"help": text}
    listed[name] = text
    return texts(name, text)  # without `help`, argparse itself does not list the command


def _grouped(
    commands: Any, name: str, text: str, listed: dict[str, str] | None
) -> Callable[..., argparse.ArgumentParser]:
    """Begin a group of commands, such as `objective new`; returns the way to add one to it."""
    group = commands.add_parser(name, **_help(name, text, "", listed))
    return _adder(group.add_subparsers(title="commands", required=True, metavar="COMMAND"), name)


def _parser(listing: bool = True) -> argparse.ArgumentParser:
    """The parser of the whole program. listing: list the commands under headings of our own; else as argparse does."""
    parser = CommandParser(
        prog="autoresearch-node",
        usage="autoresearch-node [-h] COMMAND ...",
        description="Your machine does research and shares what others can confirm. Start with: autoresearch-node join",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    about = argparse.SUPPRESS if listing else None
    commands = parser.add_subparsers(prog="autoresearch-node", required=True, metavar="COMMAND", help=about)
    listed: dict[str, str] | None = {} if listing else None
    command = _adder(commands, listed=listed)
    _add_running(command)
    _add_reading(command)
    add_commands(command)
    overviews.add_commands(command)
    add_suggestion_commands(command)
    add_settings_command(command)
    _add_taking_part(command)
    objective = _grouped(commands, "objective", "create, check and list objectives", listed)
    add_objective_commands(objective)
    overviews.add_objective_command(objective)
    add_mcp_commands(command)
    add_live_commands(_grouped(commands, "live", "test variants of a page, a subject or an ad on people", listed))
    add_key_commands(_grouped(commands, "key", "this node's key: show it, or begin another", listed))
    add_ledger_commands(_grouped(commands, "ledger", "check, repair or export all that this home holds", listed))
    swarm = _grouped(commands, "swarm", "who is in it; begin a private one, or go back to the open one", listed)
    add_swarm_commands(swarm)
    overviews.add_swarm_command(swarm)
    add_peer_commands(
        _grouped(commands, "peer", "check whether another node can be reached; what a peer has done", listed)
    )
    service = _grouped(commands, "service", "start the node with the computer (systemd)", listed)
    add_service_commands(service, lambda given: _parser().parse_args(["join", *given]))
    parser.epilog = overview(listed) if listed is not None else None
    return parser


def _add_running(command: Callable[..., argparse.ArgumentParser]) -> None:
    join = command("join", _join, "research on this machine, alone or in a swarm", reads=False)
    join.add_argument(
        "invite",
        nargs="?",
        metavar="INVITE",
        help="the string that `autoresearch-node invite` printed on another machine",
    )
    join.add_argument("--listen", action="append", metavar="MULTIADDR", help="address to listen on (repeatable)")
    join.add_argument(
        "--objective",
        metavar="NAME|ID|PATH",
        help="what to research (default: what this home researched last; in a new home what swarm.toml says, which is "
        "auto: what suits this machine)",
    )
    join.add_argument("--experiments", type=count, metavar="N", help="stop after N experiments of this node")
    join.add_argument("--for", type=duration, dest="seconds", metavar="DURATION", help="stop after 90s, 15m, 2h ...")
    join.add_argument(
        "--unsafe-run-peer-code",
        action="store_true",
        help="where this machine offers no sandbox, run without one: strangers' code can then read your files",
    )
    join.add_argument("--no-research", action="store_true", help="only re-run peers' discoveries and pass records on")
    join.add_argument("--no-dashboard", action="store_true", help="do not serve the dashboard")
    join.add_argument(
        "--seed", type=int, metavar="N", help="random seed for the choice of ideas, which makes it repeatable"
    )
    command("invite", _invite, "print the string with which another machine joins this node's swarm")
    pause = command("pause", _pause, "freeze the run under way and start no other; the network stays up", reads=False)
    pause.add_argument(
        "until", nargs="?", type=moment, metavar="DURATION|TIME", help="such as 90m or 22:00 (default: until `resume`)"
    )
    command("resume", _resume, "go on after `pause`", reads=False)
    worker = command(
        "worker", _worker, "make runs for a node elsewhere, which starts this (docs/sites.md)", reads=False
    )
    worker.add_argument(
        "--cache", type=Path, metavar="DIR", help="for files and weights (default: ~/.cache/autoresearch-node/worker)"
    )
    worker.add_argument(
        "--cache-mb", type=count, default=8192, metavar="N", help="most that files there take, in MiB (default: 8192)"
    )
    command("doctor", _doctor, "check what this machine has and lacks, with a remedy for each")
    shell = command("completion", _completion, "print what lets your shell complete commands at TAB", reads=False)
    shell.add_argument("shell", choices=completion.SHELLS)


def _add_reading(command: Callable[..., argparse.ArgumentParser]) -> None:
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


def _add_taking_part(command: Callable[..., argparse.ArgumentParser]) -> None:
    again = command("reproduce", _reproduce, "repeat the runs of a record on this machine and compare every value")
    again.add_argument("id", metavar="ID", help="a record id or the start of one")
    again.add_argument("--objective", metavar="NAME|PATH", help="the objective's folder, if it was joined as a folder")
    promoted = command("promote", _promote, "run a discovery at a larger scale, to see whether it carries over")
    promoted.add_argument("id", metavar="ID", help="a discovery's record id or the start of one")
    promoted.add_argument("--scale", metavar="NAME", help="which (default: `scale` in swarm.toml, or the smallest)")
    command("finalize", _finalize, "make one clean git branch and one patch per kept idea")


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    names = ("home", "listen", "objective", "seed")
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def _open(options: argparse.Namespace, config: Config) -> tuple[Home, Ledger]:
    home = Home(config.home)
    return home, Ledger.read(home.ledger)


def _own(ledger: Ledger) -> str | None:
    author = ledger.settings.author
    return peer_id_of(author) if author else None


def _join(options: argparse.Namespace, config: Config) -> int:
    from node.app.joining import join  # starts the network and research stack, which the reading commands do without

    return join(options, config)


def _invite(options: argparse.Namespace, config: Config) -> int:
    home, _ = _open(options, config)
    running = home.read_status()
    if running is None or not running.get("addresses"):
        raise UsageError(
            f"no node is running in {home.root}, so there is no address to invite to; start `autoresearch-node join` "
            "there and ask again (from another terminal)"
        )
    key = home.swarm_key(bytes.fromhex(running["objective"]))
    invite = encode_invite(Invite(bytes.fromhex(running["objective"]), tuple(running["addresses"]), key))
    about = {"objective": running["objective"], "addresses": running["addresses"], "private": key is not None}
    value = {"invite": invite, **about}
    if options.json:
        print(json.dumps(value, indent=2, sort_keys=True))
    else:
        print(invite)
        print("on another machine:  ./scripts/join INVITE", file=sys.stderr)
        if key is not None:
            print("the swarm is private, and this string is its key: give it only to who may join", file=sys.stderr)
    return 0


def _pause(options: argparse.Namespace, config: Config) -> int:
    home = _existing_home(config)
    home.pause(options.until if options.until is not None else float("inf"))
    print(paused_text(options.until), file=sys.stderr)
    return 0


def _resume(options: argparse.Namespace, config: Config) -> int:
    print("resumed" if _existing_home(config).resume() else "there was no pause", file=sys.stderr)
    return 0


def _existing_home(config: Config) -> Home:
    home = Home(config.home)
    if not home.root.exists():
        raise UsageError(f"there is no node home at {home.root}; run `autoresearch-node join` with this --home first")
    return home


def _status(options: argparse.Namespace, config: Config) -> int:
    home, ledger = _open(options, config)
    running = home.read_status()
    value = data.status(ledger, running) | {"live": live(home, running)}
    print_value(options, value, lambda: tables.status(value))
    return 0


def _leaderboard(options: argparse.Namespace, config: Config) -> int:
    home = Home(config.home)
    with remembered(home) as memory:
        asked = id_of(options.researched, memory) if options.researched is not None else None
    ledger = Ledger.read(home.ledger, asked)
    value = data.leaderboard(ledger)
    print_value(options, value, lambda: tables.leaderboard(value, _own(ledger)))
    return 0


def _strategy(options: argparse.Namespace, config: Config) -> int:
    _, ledger = _open(options, config)
    value = strategy.strategy(ledger)
    print_value(options, value, lambda: strategy_table.table(value))
    return 0


def _log(options: argparse.Namespace, config: Config) -> int:
    home = _existing_home(config)
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
    _, ledger = _open(options, config)
    value = trio.run(data.show, ledger, _record(ledger, options.id), SourceParser())
    print_value(options, value, lambda: tables.show(value))
    return 0


def _compare(options: argparse.Namespace, config: Config) -> int:
    _, ledger = _open(options, config)
    a, b = _record(ledger, options.a), _record(ledger, options.b)
    try:
        value = trio.run(compare, ledger, a, b, SourceParser())
    except NotComparableError as error:
        raise UsageError(str(error)) from None
    print_value(options, value, lambda: compare_table.table(value))
    return 0


def _records(options: argparse.Namespace, config: Config) -> int:
    _, ledger = _open(options, config)
    rows = [body_to_json(record) for record in ledger.all_records()]
    print_value(options, rows, lambda: tables.records(rows, ledger.settings.objective_name))
    return 0


def _record(ledger: Ledger, prefix: str) -> Record:
    record = ledger.get(prefix)
    if record is None:
        raise UsageError(f"no single record starts with {prefix!r}; `autoresearch-node records` lists them")
    return record


def _reproduce(options: argparse.Namespace, config: Config) -> int:
    from node.app import reproduce  # brings the research stack, which the reading commands do without
    from node.objective.limits import host_limits

    home, ledger = _open(options, config)
    objective = config.objective if options.objective else None  # without the option, the one this home holds
    rows = reproduce.rows(home, ledger, _record(ledger, options.id), objective, host_limits(config), config.sandbox)
    print_value(options, rows, lambda: tables.reproduced(rows))
    return 0 if all(row["same"] for row in rows) else 1


def _promote(options: argparse.Namespace, config: Config) -> int:
    from node.cli.promote import promote  # brings the research stack, which the reading commands do without

    value = promote(options.id, options.scale, config)
    print_value(options, value, lambda: transfer_table.promoted(value))
    return 0


def _finalize(options: argparse.Namespace, config: Config) -> int:
    from node.app.finalize import FinalizeError, finalize

    home, ledger = _open(options, config)
    home.mark_workspace(ledger.objective)
    workspace = home.workspace(ledger.objective)
    try:
        made = finalize(ledger, ledger.settings.author, workspace)
    except FinalizeError as error:
        raise UsageError(str(error)) from None
    rows = [asdict(each) for each in made]
    print_value(options, rows, lambda: tables.finalized(rows, workspace))
    return 0


def _worker(options: argparse.Namespace, config: Config) -> int:
    from node.execution.remote.worker_process import work  # brings what makes runs, which other commands do without
    from node.objective.limits import host_limits

    return work(options.cache, options.cache_mb << 20, host_limits(config), config.sandbox)


def _completion(options: argparse.Namespace, config: Config) -> int:
    print(completion.script(_parser(listing=False), options.shell))
    return 0


def _doctor(options: argparse.Namespace, config: Config) -> int:
    findings = doctor.checkup(config)
    return checkup.report(findings, as_json=options.json)

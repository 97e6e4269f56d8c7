"""The commands, thin: they read arguments, call the part that does the work, and print.

Every reading command works beside a running node and, but for `dashboard`, has `--json`. Errors a person can cause end
with one sentence that says what to do, and exit status 2.

A command imports what it needs when it runs, and no file of this package imports more than its arguments take: a start
costs .1 s and 20 MiB so, and more than ten times the time with everything that any command needs.
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

from node.cli import completion, overviews
from node.cli.examples import overview, texts
from node.cli.home_parts import add_key_commands, add_ledger_commands
from node.cli.inspect import add_commands
from node.cli.live import add_commands as add_live_commands
from node.cli.mcp import add_commands as add_mcp_commands
from node.cli.objective import add_commands as add_objective_commands
from node.cli.peer import add_commands as add_peer_commands
from node.cli.reading import add_commands as add_reading_commands
from node.cli.reading import existing_home, opened, record_of
from node.cli.service import add_commands as add_service_commands
from node.cli.settings import add_command as add_settings_command
from node.cli.suggestions import add_commands as add_suggestion_commands
from node.cli.swarm import add_commands as add_swarm_commands
from node.cli.terminal import (
    CommandParser,
    UsageError,
    print_value,
    show_all_characters,
    where_it_failed,
    write_no_more,
    written_out,
)
from node.ledger.error import LedgerError
from node.platform.config import Config, ConfigError, load_config
from node.platform.durations import end_of, paused_text, seconds_in
from node.platform.environment import forget_what_libraries_read
from node.platform.file_trouble import HomeError, in_words
from node.platform.mapped_files import tell_when_a_page_is_lost
from node.platform.program import in_hints
from protocol.codec import MalformedError

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
        print(f"autoresearch-node: {in_hints(str(error))}", file=sys.stderr)
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
    print(f"autoresearch-node: {in_hints(in_words(error, home))}", file=sys.stderr)
    sys.exit(2)


def _first_of(group: BaseExceptionGroup[BaseException]) -> OSError | sqlite3.Error:
    """The first error in a group of nothing but OSError and sqlite3.Error, however deep."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first_of(first)
    assert isinstance(first, (OSError, sqlite3.Error))
    return first


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
    add_reading_commands(command)
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


def _join(options: argparse.Namespace, config: Config) -> int:
    from node.app.joining import join  # starts the network and research stack, which the reading commands do without

    return join(options, config)


def _invite(options: argparse.Namespace, config: Config) -> int:
    from protocol.objective import Invite, encode_invite

    home, _ = opened(options, config)
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
    home = existing_home(config)
    home.pause(options.until if options.until is not None else float("inf"))
    print(paused_text(options.until), file=sys.stderr)
    return 0


def _resume(options: argparse.Namespace, config: Config) -> int:
    print("resumed" if existing_home(config).resume() else "there was no pause", file=sys.stderr)
    return 0


def _reproduce(options: argparse.Namespace, config: Config) -> int:
    from node.app import reproduce  # brings the research stack, which the reading commands do without
    from node.objective.limits import host_limits
    from node.view.terminal import tables

    home, ledger = opened(options, config)
    objective = config.objective if options.objective else None  # without the option, the one this home holds
    rows = reproduce.rows(home, ledger, record_of(ledger, options.id), objective, host_limits(config), config.sandbox)
    print_value(options, rows, lambda: tables.reproduced(rows))
    return 0 if all(row["same"] for row in rows) else 1


def _promote(options: argparse.Namespace, config: Config) -> int:
    from node.cli.promote import promote  # brings the research stack, which the reading commands do without
    from node.view.terminal import transfer_table

    value = promote(options.id, options.scale, config)
    print_value(options, value, lambda: transfer_table.promoted(value))
    return 0


def _finalize(options: argparse.Namespace, config: Config) -> int:
    from node.app.finalize import FinalizeError, finalize
    from node.view.terminal import tables

    home, ledger = opened(options, config)
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
    from node.app import doctor
    from node.view.terminal import checkup

    findings = doctor.checkup(config)
    return checkup.report(findings, as_json=options.json)

"""The commands `key show|new` and `ledger check|repair|export`: what a home cannot do without, looked at and mended.

Thin like the rest of the command line: they read arguments, call the part that does the work, and print.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from node.ledger.error import LedgerError
from node.platform.config import Config
from node.platform.file_trouble import HomeError, trouble
from node.platform.home import Home
from node.platform.program import typed

if TYPE_CHECKING:
    from node.platform.log import Json

Command = Callable[..., argparse.ArgumentParser]


def add_key_commands(command: Command) -> None:
    """Make the commands known. `command` adds one below `key`."""
    command("show", _show_key, "this node's key, and how far it has signed for each objective")
    command("new", _new_key, "set this home's key aside and begin another; all else of the home stays")


def add_ledger_commands(command: Command) -> None:
    """Make the commands known. `command` adds one below `ledger`."""
    command("check", _check, "look through all of the ledger: its file, every signature and every feed")
    command("repair", _repair, "take out of a damaged ledger what can be had; the damaged file is kept")
    exported = command("export", _export, "write every record of every objective, one a line as JSON")
    exported.add_argument("file", type=Path, metavar="FILE", help="where to write them; it must not be there yet")


def _show_key(options: argparse.Namespace, config: Config) -> int:
    from protocol.identity import peer_id_of

    home = _existing(config)
    if not home.key.exists():
        raise HomeError(f"there is no key in {home.root}; `autoresearch-node join` makes one")
    identity = home.identity()
    mark = home.key_mark(identity)
    heads = [head for one in mark.objectives() if (head := mark.head(one)) is not None]
    signed = dict(zip(map(bytes.hex, mark.objectives()), (head.length for head in heads), strict=True))
    value: Json = {"peer_id": peer_id_of(identity.author), "file": str(home.key), "known": mark.known, "signed": signed}
    lines = [f"key       {value['peer_id']}", f"file      {value['file']}"]
    names = _names(home)
    lines += [f"signed    {records} records for {names.get(one, one[:10])}" for one, records in signed.items()]
    return _print(options, value, lines if signed else [*lines, "signed    nothing yet, as far as is noted here"])


def _new_key(options: argparse.Namespace, config: Config) -> int:
    from protocol.identity import peer_id_of

    home = _existing(config)
    with home.locked():
        identity, aside = home.new_key()
    value: Json = {"peer_id": peer_id_of(identity.author), "former_key": str(aside) if aside else None}
    lines = [f"new key   {value['peer_id']}"]
    if aside is not None:
        lines.append(f"the former one is {aside}; its records stay in the ledger, as another node's")
    return _print(options, value, lines)


def _check(options: argparse.Namespace, config: Config) -> int:
    from node.ledger.repair import check

    home = _existing(config)
    found = check(home.ledger)
    names = _names(home)
    rows = [
        {"objective": one.hex(), "name": names.get(one.hex(), ""), "feeds": len(feeds), "records": sum(feeds.values())}
        for one, feeds in found.records.items()
    ]
    value: Json = {
        "path": str(home.ledger),
        "whole": found.whole,
        "problems": list(found.problems),
        "objectives": rows,
        "missing_own": _missing_own(home, found.records),
    }
    lines = [f"{home.ledger} is {'whole' if found.whole else 'damaged'}"]
    lines += [f"  {problem}" for problem in found.problems]
    for row in rows:
        about = row["name"] or str(row["objective"])[:10]
        lines.append(f"  {row['records']} records of {row['feeds']} authors for {about}")
    if value["missing_own"]:
        lines.append(f"  {value['missing_own']} records that this node's key has signed are missing")
    if not found.whole:
        lines.append(f"`{typed('ledger repair')}` takes out of it what can be had, and keeps the damaged file")
    _print(options, value, lines)
    return 0 if found.whole and not value["missing_own"] else 1


def _missing_own(home: Home, records: dict[bytes, dict[bytes, int]]) -> int:
    """How many records this home's key has signed that the ledger lacks."""
    if not home.key.exists():
        return 0
    identity = home.identity()
    mark = home.key_mark(identity)
    signed = {one: head.length for one in mark.objectives() if (head := mark.head(one)) is not None}
    return sum(max(0, n - records.get(one, {}).get(identity.author, 0)) for one, n in signed.items())


def _repair(options: argparse.Namespace, config: Config) -> int:
    from node.ledger.repair import check, repair

    home = _existing(config)
    with home.locked():
        found = check(home.ledger)
        if found.whole:
            return _print(options, {"whole": True}, [f"{home.ledger} is whole; nothing was changed"])
        try:
            done = repair(home.ledger)
        except OSError as error:
            raise HomeError(trouble(home.ledger, error)) from None
    value: Json = {"whole": False, "kept_as": str(done.kept_as), "taken_over": done.rows, "lost_records": done.lost}
    lines = ["taken over: " + ", ".join(f"{n} {table}" for table, n in done.rows.items() if n or table == "records")]
    if done.lost:
        lines.append(f"{done.lost} records were found whose predecessors are missing; peers bring them again")
    lines.append(f"the damaged file is kept as {done.kept_as}")
    return _print(options, value, lines)


def _export(options: argparse.Namespace, config: Config) -> int:
    from node.ledger.repair import records_of
    from protocol.records import body_to_json

    home = _existing(config)
    written = 0
    try:
        with options.file.open("x", encoding="utf-8", newline="\n") as out:
            for record, origin in records_of(home.ledger):
                signed = {"payload": record.payload.hex(), "signature": record.signature.hex(), "origin": origin}
                out.write(json.dumps(body_to_json(record) | signed, sort_keys=True) + "\n")
                written += 1
    except FileExistsError:
        raise LedgerError(f"{options.file} is there already; give a file that is not") from None
    except OSError as error:
        folder = options.file.parent
        told = trouble(options.file, error) if folder.is_dir() else f"{folder} is no folder; make it, or name another"
        raise LedgerError(told) from None
    return _print(options, {"file": str(options.file), "records": written}, [f"written: {written} records"])


def _names(home: Home) -> dict[str, str]:
    """The names of this home's objectives by id, as far as the ledger can be read."""
    from node.app.researched import descriptions, remembered

    with suppress(LedgerError), remembered(home) as ledger:
        return {one.hex(): about.name for one, about in descriptions(ledger).items() if about.name}
    return {}


def _existing(config: Config) -> Home:
    home = Home(config.home)
    if not home.root.exists():
        raise HomeError(f"there is no node home at {home.root}; run `autoresearch-node join` first")
    return home


def _print(options: argparse.Namespace, value: Json, lines: list[str]) -> int:
    if options.json:
        print(json.dumps(value, indent=2, sort_keys=True))
    else:
        print("\n".join(lines), file=sys.stdout)
    return 0

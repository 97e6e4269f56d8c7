"""Looks a ledger's file through, and takes out of a damaged one what can be had.

Every row is proven by itself: a record by its signature and its place in its feed, content by its sha256. So what is
taken over is as good as before, whatever else the file has become. What is missing of feeds, peers bring again; the
key's mark keeps this node from signing until its own is whole (node/ledger/signing.py).

It knows files and rows, no running node: nobody else may write the file meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from node.ledger import replays, screenings
from node.ledger.error import LedgerError
from node.ledger.schema import SCHEMA, is_newer, opened_for_reading, transaction
from node.platform.file_trouble import broken_link, database_trouble
from node.platform.private_files import sync
from protocol.codec import MalformedError
from protocol.feed import NO_HEAD, open_fork
from protocol.records import MAX_RECORD_BYTES, Record, open_record

SIGNATURE = b"\xc4\x40"  # before the 64 bytes of a signature, at the end of a record's wire form
TABLES = ("meta", "records", "forks", "blobs", "runs", "screenings", "replays", "addresses")
LEDGER_SCHEMA = SCHEMA + screenings.SCHEMA + replays.SCHEMA
PAGE_BYTES = 4096  # SQLite's default
DATABASE_PAGES = slice(28, 32)  # where its first page says how many there are
MOST_LOOKUPS = 1_000_000  # rows asked for one by one, between two damaged places of a table


@dataclass(frozen=True)
class Checked:
    """What was found in a ledger's file. problems: in words; none in a whole one. records: by objective and author."""

    problems: tuple[str, ...]
    records: dict[bytes, dict[bytes, int]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Repaired:
    """What was taken over, in rows by table, and where the damaged file is kept.

    lost: records that were found and are of no use, since earlier ones of their feeds are missing.
    """

    kept_as: Path
    rows: dict[str, int]
    lost: int


@dataclass(frozen=True)
class _Found:
    """A record of the damaged file, with its place in the order of arrival; carved ones come last."""

    arrival: float
    record: Record
    origin: str


def check(path: Path) -> Checked:
    """Look through all of the file: SQLite's own structure, every signature, and every feed.

    Raises LedgerError where it cannot be opened for a reason that is none of the file's.
    """
    with closing(_opened(path)) as connection:
        try:
            problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
            rows = connection.execute("SELECT id, wire, arrival, origin FROM records ORDER BY arrival").fetchall()
            found = [found for row in rows if (found := _proven(*row)) is not None]
            with_chain = sum(map(len, _chains(found)))
            has_schema = connection.execute("SELECT 1 FROM meta WHERE key = 'schema'").fetchone() is not None
            blobs = list(connection.execute("SELECT id, data FROM blobs"))
        except sqlite3.DatabaseError as error:
            return Checked((database_trouble(path, error),))
    if not has_schema:
        problems.append("the file does not say of which version it is")
    if len(found) < len(rows):
        problems.append(f"{len(rows) - len(found)} of {len(rows)} records are not what was signed")
    if with_chain < len(found):
        problems.append(f"{len(found) - with_chain} records have lost an earlier one of their feed")
    wrong = sum(hashlib.sha256(data).digest() != bytes(blob_id) for blob_id, data in blobs)
    if wrong:
        problems.append(f"{wrong} of {len(blobs)} sources are not what their name says")
    held: dict[bytes, dict[bytes, int]] = defaultdict(lambda: defaultdict(int))
    for each in found:
        held[each.record.objective][each.record.author] += 1
    return Checked(tuple(problems), {objective: dict(feeds) for objective, feeds in held.items()})


def repair(path: Path) -> Repaired:
    """Put a whole ledger in the place of a damaged one, with all that can be had of it. The damaged file is kept.

    Raises LedgerError where the file cannot be read for a reason that is none of its own, and OSError.
    """
    draft = path.with_name(f".{path.name}.repaired")
    _remove(draft)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as new:
            new.executescript(LEDGER_SCHEMA)
            with transaction(new):
                rows, lost = _take_over(path, new)
                is_newer(new)  # notes the version where the damaged file's was not to be had
        kept_as = _keep_damaged(path)
        os.replace(draft, path)
        sync(path.parent)
    finally:
        _remove(draft)
    return Repaired(kept_as, rows, lost)


def records_of(path: Path) -> Iterator[tuple[Record, str]]:
    """Every record in the file that is what was signed, of all objectives, in the order of arrival, with its origin.

    Raises LedgerError when the file cannot be read.
    """
    with closing(_opened(path)) as connection:
        try:
            for row in connection.execute("SELECT id, wire, arrival, origin FROM records ORDER BY arrival"):
                found = _proven(*row)
                if found is not None:
                    yield found.record, found.origin
        except sqlite3.DatabaseError as error:
            raise LedgerError(database_trouble(path, error)) from error


def _opened(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise LedgerError(broken_link(path) or f"there is no ledger at {path}; run `autoresearch-node join` first")
    try:
        with path.open("rb"):
            return opened_for_reading(path)
    except sqlite3.Error as error:
        raise LedgerError(database_trouble(path, error)) from error


def _proven(record_id: Any, wire: Any, arrival: float, origin: Any) -> _Found | None:
    try:
        record = open_record(bytes(wire))
    except (MalformedError, TypeError):
        return None
    return _Found(arrival, record, str(origin)) if record_id is None or record.id == record_id else None


def _chains(found: list[_Found]) -> list[list[_Found]]:
    """Of each feed what is whole from its first record on."""
    feeds: dict[tuple[bytes, bytes], dict[int, _Found]] = defaultdict(dict)
    for each in found:
        feeds[each.record.objective, each.record.author].setdefault(each.record.seq, each)
    chains = []
    for by_number in feeds.values():
        chain: list[_Found] = []
        last = NO_HEAD
        while (following := by_number.get(len(chain))) is not None and following.record.prev == last:
            chain.append(following)
            last = following.record.id
        chains.append(chain)
    return chains


# ---- taking over -----------------------------------------------------------------------------------------------------


def _take_over(path: Path, new: sqlite3.Connection) -> tuple[dict[str, int], int]:
    """Bring what can be had into a new ledger. Returns the rows of each table, and how many records were of no use."""
    rows = dict.fromkeys(TABLES, 0)
    found: dict[bytes, _Found] = {}
    _read(path, new, rows, found)
    if not rows["meta"]:  # every ledger has some, so SQLite did not find its way
        with tempfile.TemporaryDirectory(prefix=".repair-", dir=path.parent) as folder:
            copy = Path(folder) / path.name
            _with_first_page(path, copy)
            _read(copy, new, rows, found)
    for carved in _carved(path):
        found.setdefault(carved.record.id, carved)
    chains = _chains(list(found.values()))
    for each in _in_order(chains):
        record = each.record
        new.execute(
            "INSERT INTO records (id, objective, author, seq, wire, origin) VALUES (?, ?, ?, ?, ?, ?)",
            (record.id, record.objective, record.author, record.seq, record.wire(), each.origin),
        )
        rows["records"] += 1
    return rows, len(found) - rows["records"]


def _read(path: Path, new: sqlite3.Connection, rows: dict[str, int], found: dict[bytes, _Found]) -> None:
    """Bring over what SQLite still reads of a file, but for records, which are gathered."""
    with closing(_opened(path)) as old:
        for table in TABLES:
            columns = [str(row[1]) for row in new.execute(f"PRAGMA table_info({table})")]
            for values in _rows(old, table, columns):
                row = dict(zip(columns, values, strict=True))
                if table == "records":
                    kept = _proven(row["id"], row["wire"], row["arrival"], row["origin"])
                    if kept is not None:
                        found[kept.record.id] = kept
                elif _is_sound(table, row):
                    marks = ", ".join("?" * len(columns))
                    rows[table] += new.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values).rowcount


def _with_first_page(path: Path, copy: Path) -> None:
    """A copy of a database whose first page is lost, with that of an empty ledger.

    The page has no rows, only where each table begins: in every ledger at the same pages, made in one order.
    """
    shutil.copyfile(path, copy)
    empty = copy.with_name("empty")
    with closing(sqlite3.connect(empty)) as connection:
        connection.executescript(LEDGER_SCHEMA)
    page = bytearray(empty.read_bytes()[:PAGE_BYTES])
    page[DATABASE_PAGES] = (path.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
    with copy.open("r+b") as file:
        file.write(page)


def _in_order(chains: list[list[_Found]]) -> list[_Found]:
    """Records as they arrived; one of which that is not known comes after the one before it in its feed."""
    placed = []
    for chain in chains:
        latest = 0.0
        for each in chain:
            latest = max(latest, each.arrival)
            placed.append((latest, each.record.author, each.record.seq, each))
    return [each for *_, each in sorted(placed, key=lambda place: place[:3])]


def _rows(old: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of a table that can still be read: from its beginning, from its end, and one by one in between."""
    what = ", ".join(columns)

    def scan(rest: str, *values: object) -> Iterator[tuple[int, tuple[Any, ...]]]:
        with suppress(sqlite3.DatabaseError):
            for row in old.execute(f"SELECT rowid, {what} FROM {table} NOT INDEXED {rest}", values):
                yield int(row[0]), tuple(row[1:])

    first = last = 0
    for number, row in scan("ORDER BY rowid"):
        first = number
        yield row
    for number, row in scan("WHERE rowid > ? ORDER BY rowid DESC", first):
        last = number
        yield row
    for number in range(first + 1, min(last, first + MOST_LOOKUPS)):
        for _, row in scan("WHERE rowid = ?", number):
            yield row


def _is_sound(table: str, row: dict[str, Any]) -> bool:
    """Whether a row is what it says it is, as far as that can be told."""
    match table:
        case "blobs":
            return isinstance(row["data"], bytes) and bool(hashlib.sha256(row["data"]).digest() == row["id"])
        case "forks":
            try:
                return bool(open_fork(row["first"], row["second"]).author == row["author"])
            except (MalformedError, TypeError):
                return False
    return all(value is not None or name == "ended" for name, value in row.items())


def _carved(path: Path) -> Iterator[_Found]:
    """Records that lie in one piece anywhere in the file, whether SQLite finds them or not."""
    content = path.read_bytes()
    at = content.find(SIGNATURE)
    while at >= 0:
        for header, size_bytes in ((b"\x92\xc5", 2), (b"\x92\xc4", 1)):
            found = _before(content, at, header, size_bytes)
            if found is not None:
                yield found
                break
        at = content.find(SIGNATURE, at + 1)


def _before(content: bytes, at: int, header: bytes, size_bytes: int) -> _Found | None:
    """The record whose signature begins at a place: an array of two, of which the first has the bytes up to there."""
    start = content.rfind(header, max(0, at - MAX_RECORD_BYTES), at)
    while start >= 0:
        size = int.from_bytes(content[start + 2 : start + 2 + size_bytes], "big")
        if start + 2 + size_bytes + size == at:
            return _proven(None, content[start : at + 2 + 64], float("inf"), "repair")
        start = content.rfind(header, max(0, at - MAX_RECORD_BYTES), start)
    return None


# ---- files -----------------------------------------------------------------------------------------------------------


def _keep_damaged(path: Path) -> Path:
    """Keep the damaged file under another name. Its log goes first: beside another ledger SQLite would apply it."""
    kept_as = next(name for n in count(1) if not (name := path.with_name(f"ledger.damaged.{n}")).exists())
    os.link(path, kept_as)
    if Path(f"{path}-wal").exists():
        os.replace(f"{path}-wal", f"{kept_as}-wal")
    Path(f"{path}-shm").unlink(missing_ok=True)
    return kept_as


def _remove(draft: Path) -> None:
    for each in (draft, Path(f"{draft}-wal"), Path(f"{draft}-journal")):
        each.unlink(missing_ok=True)

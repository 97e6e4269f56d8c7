"""The tables of the ledger's file, and the version of their layout."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA_VERSION = 1
NOTHING_BESIDE = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_FULL", "SQLITE_IOERR")

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    objective BLOB NOT NULL,
    author BLOB NOT NULL,
    seq INTEGER NOT NULL,
    wire BLOB NOT NULL,
    origin TEXT NOT NULL,
    UNIQUE (objective, author, seq)
);
CREATE TABLE IF NOT EXISTS forks (
    objective BLOB NOT NULL,
    author BLOB NOT NULL,
    seq INTEGER NOT NULL,
    first BLOB NOT NULL,
    second BLOB NOT NULL,
    PRIMARY KEY (objective, author)
);
CREATE TABLE IF NOT EXISTS blobs (id BLOB PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    objective BLOB NOT NULL,
    source BLOB NOT NULL,
    seed INTEGER NOT NULL,
    compute_class TEXT NOT NULL,
    outcome BLOB NOT NULL,
    PRIMARY KEY (objective, source, seed, compute_class)
);
CREATE TABLE IF NOT EXISTS addresses (address TEXT PRIMARY KEY, seen INTEGER NOT NULL);
"""


def is_newer(connection: sqlite3.Connection) -> bool:
    """Whether a newer program wrote the file; in a new one, the version is noted."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is None:
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION).encode(),))
        return False
    return int(row[0]) > SCHEMA_VERSION


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what the block writes, or nothing of it; within a transaction, it is part of that."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it already
            connection.execute("ROLLBACK")
        raise


def opened_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that reads a ledger, perhaps beside a running node. Raises sqlite3.Error.

    SQLite makes a file beside the database even to read it. Where that cannot be, on a read-only file system or a full
    disk, the database is read alone; but only if nothing lies in its log, which would be missed so.
    """
    uri = path.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM meta").fetchone()
    except sqlite3.Error as error:
        log = path.with_name(f"{path.name}-wal")
        is_missed = log.exists() and log.stat().st_size > 0
        if not is_missed and error.sqlite_errorname.startswith(NOTHING_BESIDE):
            connection.close()
            return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return connection  # what is wrong with the file itself, its reader will be told

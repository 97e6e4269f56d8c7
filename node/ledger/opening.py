"""Why the ledger's file cannot be opened, and what to do, in a sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def what_is_wrong(path: Path, error: sqlite3.Error) -> str:
    """What error stands for. Only a file that is no ledger is to be moved away: in the others nothing is lost."""
    found = str(getattr(error, "sqlite_errorname", ""))
    if path.is_dir():
        return f"{path} is a folder, where the ledger's file should be; move it away"
    if found.startswith("SQLITE_FULL"):
        return f"the disk of {path} is full; the ledger is whole: make room, and start again"
    if found.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another program has {path} locked; the ledger is whole: end that program, and start again"
    if found.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return f"{path} cannot be opened ({error}); see who owns it and its folder, and whether its disk is read-only"
    if found.startswith("SQLITE_IOERR"):
        return f"{path} cannot be read or written ({error}); see whether its disk is whole and has room"
    return f"{path} is no usable ledger ({error}); move it away to start a new one"

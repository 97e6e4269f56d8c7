"""What a live folder remembers: `state/live.sqlite`, in which rows are only added.

An *arm* is one approval of one content: the same bytes approved again are another arm, and so is an edited file. An arm
ends once, for a reason. Visitors are keyed hashes with the arm that they were shown; an answer is there once for each
visitor and name. Nothing tells who a visitor was: no address, no browser, no path.

No write is lost when a process is killed. What a person decides, and what follows from it, outlives a power cut too
when the call returns; of visitors and answers a power cut may take the last ones, of all arms alike: a busy disk must
not keep visitors waiting. The service, a command and the dashboard may have it open at once.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.live.assignment import KEY_BYTES, Signer
from node.live.folder import CONTROL, STATE, LiveError
from node.platform.private_files import write_private

FILE = "live.sqlite"
MAX_VISITORS = 5_000_000  # rows; about 400 MB with their answers. Later visitors see the control and are not counted
BUSY_SECONDS = 5.0
VERSION = 1

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE arms (id INTEGER PRIMARY KEY, variant TEXT NOT NULL, sha256 TEXT NOT NULL, content BLOB NOT NULL,
    content_type TEXT NOT NULL, themes TEXT NOT NULL, approved_by TEXT NOT NULL, time REAL NOT NULL);
CREATE TABLE ends (arm INTEGER PRIMARY KEY, time REAL NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE visitors (visitor BLOB PRIMARY KEY, arm INTEGER NOT NULL, time REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX visitors_by_arm ON visitors (arm, time);
CREATE TABLE answers (visitor BLOB NOT NULL, name TEXT NOT NULL, arm INTEGER NOT NULL, seen REAL NOT NULL,
    time REAL NOT NULL, PRIMARY KEY (visitor, name)) WITHOUT ROWID;
CREATE INDEX answers_by_arm ON answers (name, arm, seen);
CREATE TABLE findings (arm INTEGER NOT NULL, kind TEXT NOT NULL, time REAL NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (arm, kind)) WITHOUT ROWID;
CREATE TABLE dropped (day TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (day, reason)) WITHOUT ROWID;
CREATE TRIGGER arms_stay BEFORE UPDATE ON arms BEGIN SELECT RAISE(ABORT, 'an approval is not changed'); END;
CREATE TRIGGER ends_stay BEFORE UPDATE ON ends BEGIN SELECT RAISE(ABORT, 'an arm ends once'); END;
"""


@dataclass(frozen=True)
class Arm:
    """An approval of one content of one variant, and how it ended if it did."""

    id: int
    variant: str
    sha256: str
    content_type: str
    themes: tuple[str, ...]
    approved_by: str
    started: float
    ended: float | None
    reason: str
    detail: str

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def is_control(self) -> bool:
        return self.variant == CONTROL


@dataclass(frozen=True)
class Tally:
    """How many saw an arm, and how many of them answered, by name."""

    visitors: int
    answers: dict[str, int]


@dataclass(frozen=True)
class Finding:
    """Something that was once surely so, and is said from then on."""

    arm: int
    kind: str
    time: float
    detail: str


class Store:
    """One connection to the state of one live folder. Close it."""

    def __init__(self, root: Path) -> None:
        """Open the state of the folder `root`, and make it where there is none. Raises LiveError."""
        state = root / STATE
        try:
            state.mkdir(mode=0o700, exist_ok=True)
            (state / ".gitignore").write_text(
                "*\n"
            )  # a folder that is put into git leaves its key and its visitors out
            self.signer = Signer(_secret(state / "live.key"))
            self.webhook_secret = _secret(state / "webhook.secret").hex()
            self._db = sqlite3.connect(state / FILE, timeout=BUSY_SECONDS, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            os.chmod(state / FILE, 0o600)
            with self._writing():
                (version,) = self._db.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _statements(SCHEMA):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
                elif version != VERSION:
                    raise LiveError(f"{state / FILE} is of another version of this program; use that one")
        except (OSError, sqlite3.Error) as error:
            raise LiveError(f"cannot use {state} ({error}); give the folder a disk that can be written to") from None

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _writing(self, durable: bool = True) -> Iterator[None]:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # ---- approvals ---------------------------------------------------------------------------------------------

    def frozen(self) -> dict[str, Any] | None:
        """What of the settings was fixed at the first approval; None before it."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'frozen'").fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def approve(
        self,
        variant: str,
        content: bytes,
        sha256: str,
        content_type: str,
        themes: tuple[str, ...],
        by: str,
        frozen: Any,
    ) -> int:
        """Add an arm, which ends the variant's earlier one. Returns its number."""
        now = time.time()
        with self._writing():
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('frozen', ?)", [json.dumps(frozen)])
            self._db.execute(
                "INSERT INTO ends SELECT id, ?, 'replaced', '' FROM arms "
                "WHERE variant = ? AND id NOT IN (SELECT arm FROM ends)",
                [now, variant],
            )
            row = [variant, sha256, content, content_type, json.dumps(themes), by, now]
            added = self._db.execute(
                "INSERT INTO arms (variant, sha256, content, content_type, themes, approved_by, time) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            return int(added.lastrowid or 0)

    def end(self, arm: int, reason: str, detail: str = "") -> bool:
        """Take an arm out of traffic. False if it was out already."""
        with self._writing():
            done = self._db.execute(
                "INSERT OR IGNORE INTO ends VALUES (?, ?, ?, ?)", [arm, time.time(), reason, detail]
            )
            return done.rowcount > 0

    def arms(self) -> list[Arm]:
        """All approvals, in their order."""
        rows = self._db.execute(
            "SELECT id, variant, sha256, content_type, themes, approved_by, arms.time, ends.time, reason, detail "
            "FROM arms LEFT JOIN ends ON arm = id ORDER BY id"
        )
        return [
            Arm(
                number, variant, sha256, kind, tuple(json.loads(themes)), by, started, ended, reason or "", detail or ""
            )
            for number, variant, sha256, kind, themes, by, started, ended, reason, detail in rows
        ]

    def content(self, arm: int) -> bytes:
        """The bytes that were approved."""
        (content,) = self._db.execute("SELECT content FROM arms WHERE id = ?", [arm]).fetchone()
        return bytes(content)

    # ---- people ------------------------------------------------------------------------------------------------

    def shown(self, visitor: bytes) -> tuple[int, float] | None:
        """The arm that a visitor was shown first, and when; None for somebody new."""
        row = self._db.execute("SELECT arm, time FROM visitors WHERE visitor = ?", [visitor]).fetchone()
        return None if row is None else (int(row[0]), float(row[1]))

    def add_visitor(self, visitor: bytes, arm: int) -> bool:
        """Remember what somebody new was shown. False where there is no room for more."""
        if self._visitor_count() >= MAX_VISITORS:
            return False
        with self._writing(durable=False):
            self._db.execute("INSERT OR IGNORE INTO visitors VALUES (?, ?, ?)", [visitor, arm, time.time()])
        return True

    def add_answer(self, visitor: bytes, name: str, arm: int, seen: float) -> bool:
        """Remember an answer. False where this visitor gave it before."""
        with self._writing(durable=False):
            row = [visitor, name, arm, seen, time.time()]
            done = self._db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", row)
            return done.rowcount > 0

    def add_mailing(self, rows: list[tuple[bytes, int, list[str]]]) -> int:
        """Add recipients (visitor, arm, answers) of a mailing at once, or none. Returns how many were new."""
        now, new = time.time(), 0
        with self._writing():
            for visitor, arm, names in rows:
                new += self._db.execute("INSERT OR IGNORE INTO visitors VALUES (?, ?, ?)", [visitor, arm, now]).rowcount
                self._db.executemany(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)",
                    [(visitor, name, arm, now, now) for name in names],
                )
        return new

    def _visitor_count(self) -> int:
        """At least as many as there are: the count is read once, and then kept."""
        if not hasattr(self, "_visitors"):
            (self._visitors,) = self._db.execute("SELECT count(*) FROM visitors").fetchone()
        self._visitors += 1
        return int(self._visitors) - 1

    def drop(self, counts: dict[str, int]) -> None:
        """Add to what was dropped today, by reason."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        with self._writing(durable=False):
            self._db.executemany(
                "INSERT INTO dropped VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                [(day, reason, count) for reason, count in counts.items()],
            )

    def dropped(self) -> dict[str, int]:
        """What was dropped so far, by reason."""
        return dict(self._db.execute("SELECT reason, sum(count) FROM dropped GROUP BY reason ORDER BY 2 DESC, 1"))

    # ---- figures -----------------------------------------------------------------------------------------------

    def tally(self, arm: int, since: float, until: float) -> Tally:
        """What came of an arm, of visitors who first saw it in a span of time and answered by its end."""
        span = [arm, since, until]
        (visitors,) = self._db.execute(
            "SELECT count(*) FROM visitors WHERE arm = ? AND time >= ? AND time <= ?", span
        ).fetchone()
        answers = self._db.execute(
            "SELECT name, count(*) FROM answers WHERE arm = ? AND seen >= ? AND time <= ? GROUP BY name", span
        )
        return Tally(int(visitors), dict(answers))

    def changes(self) -> tuple[int, int]:
        """Something that is another whenever anything was written, here or by another process."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(version), self._db.total_changes

    def find(self, arm: int, kind: str, detail: str) -> bool:
        """Keep a finding. False where it was there."""
        with self._writing():
            row = [arm, kind, time.time(), detail]
            return self._db.execute("INSERT OR IGNORE INTO findings VALUES (?, ?, ?, ?)", row).rowcount > 0

    def findings(self) -> list[Finding]:
        return [Finding(*row) for row in self._db.execute("SELECT * FROM findings ORDER BY time")]


def opened(root: Path) -> closing[Store]:
    """The state of a folder, closed when the block ends."""
    return closing(Store(root))


def _statements(schema: str) -> list[str]:
    """Statements of a script, of which a trigger has a semicolon inside."""
    found, pending = [], ""
    for line in schema.strip().splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found


def _secret(path: Path) -> bytes:
    if not path.exists():
        write_private(path, os.urandom(KEY_BYTES).hex().encode() + b"\n")
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise LiveError(f"{path} is damaged; move it away for a new one, which forgets who saw what")
    return secret

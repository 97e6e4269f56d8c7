"""A node's home folder: the paths of all it keeps, its key, and the lock by which only one node uses it at a time.

identity.key    the signing key (mode 600)        ledger.sqlite   records, sources, runs
objectives/ID/  files of objectives that did not  data/ID/        data of all of them
                come with the program
swarms/ID/      swarm.key of a private swarm, and the invite by which this node joined it (mode 600)
blobs/          data being fetched from peers     weights/        of recent runs, for the holdout
downloads/      files of objectives' [[downloads]], by their sha256
workspace/      git: what was tried and kept for the first objective researched here, in workspaces/ID/ for others
suggestions/    a person's, until a node reads them; promotions/ likewise
node.log.jsonl  the log                           status.json     what the running node is doing
dashboard.url   its address (mode 600)            pause           until when a person wants no work
live-folders    folders of live tests, one a line, which the dashboard shows
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.identity import KEY_BYTES, Identity
from protocol.objective import SWARM_KEY_BYTES

MAX_LIVE_FOLDERS = 20
STATUS_FRESH_SECONDS = 30.0  # a running node writes it every 2 s; a much older one says nothing of now
LOCK_TRIES = 5  # `in_use` of another process may hold the lock for an instant
LOCK_RETRY_SECONDS = 0.1
DRAFT = ".new"  # the end of the name of a file that is being written
OWNER = Path(".git", "autoresearch-objective")  # in a workspace: the id of its objective
WAS_OPEN = "was-open"  # beside the key of a private swarm: this home was in an open one with others before
OLD_DRAFT_SECONDS = 60.0  # writing takes milliseconds, so an older draft was left by a crash


class HomeError(Exception):
    """The home cannot be used as it is; the text says what to do."""


@dataclass(frozen=True)
class Home:
    """Paths below one folder, and its small files: the keys, the lock, the status, the pause and the like."""

    root: Path

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def suggestions(self) -> Path:
        return self.root / "suggestions"

    @property
    def promotions(self) -> Path:
        return self.root / "promotions"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    def objective(self, objective_id: bytes) -> Path:
        return self.root / "objectives" / objective_id.hex()[:16]

    def data(self, objective_id: bytes) -> Path:
        return self.root / "data" / objective_id.hex()[:16]

    def _swarm(self, objective_id: bytes) -> Path:
        return self.root / "swarms" / objective_id.hex()[:16]

    def workspace(self, objective_id: bytes) -> Path:
        """Where what was tried for an objective is kept: another objective's workspace is never touched."""
        first, own = self.root / "workspace", self.root / "workspaces" / objective_id.hex()[:16]
        owner = _owner_of(first)
        is_free = owner is None and not (first / ".git").exists()
        return first if not own.exists() and (is_free or owner == objective_id.hex()) else own

    def mark_workspace(self, objective_id: bytes) -> None:
        """Note that the workspace there is an objective's, if nothing is noted.

        One without a note is of an earlier version, and of the objective that was researched last.
        """
        own = self.root / "workspaces" / objective_id.hex()[:16]
        folder = own if own.exists() else self.root / "workspace"
        if (folder / ".git").is_dir() and _owner_of(folder) is None:
            write_private(folder / OWNER, objective_id.hex().encode() + b"\n")

    def make(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            why = error.strerror
            raise HomeError(f"cannot make the home {self.root} ({why}); choose another with --home") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for this process; the kernel frees the lock when the process ends, however it ends.

        Raises HomeError when another node holds it.
        """
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not any(_try_lock(handle, fcntl.LOCK_EX) for _ in range(LOCK_TRIES)):
                raise HomeError(
                    f"another node is running in {self.root}; stop it, or give this one a --home of its own"
                )
            self._drop_drafts()
            yield
        finally:
            os.close(handle)

    def _drop_drafts(self) -> None:
        """Remove what a crash in the middle of `write_private` left. A younger draft may be another process's."""
        for folder in (self.root, self.suggestions, self.promotions, *(self.root / "swarms").glob("*")):
            for draft in folder.glob(f".*{DRAFT}"):
                with suppress(OSError):
                    if time.time() - draft.stat().st_mtime > OLD_DRAFT_SECONDS:
                        draft.unlink()

    def in_use(self) -> bool:
        """Whether a node is running in this home now."""
        try:
            handle = os.open(self.root / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try_lock(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)

    # ---- identity ----------------------------------------------------------------------------------------------

    def identity(self) -> Identity:
        """The node's own key, made on first use.

        A key whose ledger is gone is renamed and not used again: it signed a feed whose end this home does not know any
        more, and one more record under it could fork that feed. Raises HomeError when the file is no key.
        """
        path = self.root / "identity.key"
        if path.exists() and not self.ledger.exists():
            path.rename(path.with_name(f"identity.key.without-ledger-{int(time.time())}"))
        if not path.exists():
            write_private(path, os.urandom(KEY_BYTES).hex().encode() + b"\n")
        try:
            return Identity.from_seed(bytes.fromhex(path.read_text().strip()))
        except ValueError:
            raise HomeError(f"{path} is not a key; move it away and a new identity will be made") from None

    def swarm_key(self, objective_id: bytes | None) -> bytes | None:
        """The pre-shared key of the private swarm in which this home researches an objective; None where it is open.

        A key in the home itself was made before its first objective was joined, or by an earlier version. Until
        `give_swarm` says whose it is it counts for every objective, so that none is open by mistake. Raises HomeError
        when the file is no key.
        """
        path = self._swarm(objective_id) / "swarm.key" if objective_id is not None else self.root / "swarm.key"
        if not path.exists():
            path = self.root / "swarm.key"
        if not path.exists():
            return None
        try:
            key = bytes.fromhex(path.read_text().strip())
        except ValueError:
            key = b""
        if len(key) != SWARM_KEY_BYTES:
            raise HomeError(f"{path} is not a swarm's key; join with an invite of that swarm again")
        return key

    def keep_swarm_key(self, objective_id: bytes | None, key: bytes | None) -> None:
        """Research an objective in the private swarm with this key from now on, or in an open one.

        objective_id: None for the first one that will be joined here.
        """
        folder = self.root if objective_id is None else self._swarm(objective_id)
        if key is None:
            (folder / "swarm.key").unlink(missing_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(folder / "swarm.key", key.hex().encode() + b"\n")

    def set_swarm_key_aside(self, objective_id: bytes | None) -> Path:
        """Research an objective in an open swarm from now on; returns where the key of the private one is kept."""
        folder = self._swarm(objective_id) if objective_id is not None else self.root
        kept = folder / f"swarm.key.set-aside-{time.time_ns() // 1_000_000_000}"
        (folder / "swarm.key").rename(kept)
        if objective_id is not None:
            (folder / WAS_OPEN).unlink(missing_ok=True)
        return kept

    def note_left_open_swarm(self, objective_id: bytes) -> None:
        """Remember that this home was in an open swarm with others before it made a key for an objective."""
        self._swarm(objective_id).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self._swarm(objective_id) / WAS_OPEN, b"")

    def left_open_swarm(self, objective_id: bytes) -> bool:
        return (self._swarm(objective_id) / WAS_OPEN).exists()

    def has_private_swarm(self) -> bool:
        """Whether any objective is researched in a private swarm here."""
        return (self.root / "swarm.key").exists() or any((self.root / "swarms").glob("*/swarm.key"))

    def keep_invite(self, objective_id: bytes, text: str) -> None:
        """Remember the invite by which this node joined an objective's swarm; a private swarm's holds its key."""
        self._swarm(objective_id).mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._swarm(objective_id) / WAS_OPEN).unlink(missing_ok=True)  # whatever was left before was left for this one
        write_private(self._swarm(objective_id) / "invite", text.encode() + b"\n")

    def invite(self, objective_id: bytes) -> Path | None:
        """The file with that invite; None where this node joined by none."""
        path = self._swarm(objective_id) / "invite"
        return path if path.exists() else None

    def give_swarm(self, name: str, objective_id: bytes) -> None:
        """Say whose the "swarm.key" or the "invite" in the home itself is. It stays where the objective has its own."""
        ours, theirs = self.root / name, self._swarm(objective_id) / name
        if ours.exists() and not theirs.exists():
            theirs.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.replace(ours, theirs)

    # ---- what the running node says of itself ------------------------------------------------------------------

    def write_status(self, status: dict[str, Any]) -> None:
        """Replace status.json. On a full disk the old one stays, and the node goes on."""
        path = self.root / "status.json"
        try:
            write_private(path, json.dumps({**status, "at": time.time()}).encode(), durable=False)
        except OSError:
            return

    def read_status(self) -> dict[str, Any] | None:
        """The last status of the running node; None when none runs here, or the file is stale or damaged."""
        if not self.in_use():
            return None
        try:
            status = json.loads((self.root / "status.json").read_text())
        except (OSError, ValueError):
            return None
        return status if time.time() - status.get("at", 0) < STATUS_FRESH_SECONDS else None

    def write_dashboard(self, url: str) -> None:
        """Keep the dashboard's address in a file that only its owner can read, since the address holds a token."""
        write_private(self.root / "dashboard.url", url.encode() + b"\n")

    def dashboard(self) -> str | None:
        """The dashboard's address; None when there is none. A killed node leaves one at which nothing answers."""
        try:
            return (self.root / "dashboard.url").read_text().strip()
        except (OSError, ValueError):
            return None

    def forget_dashboard(self, url: str) -> None:
        """Remove the dashboard's address, unless another dashboard has written its own meanwhile."""
        if self.dashboard() == url:
            (self.root / "dashboard.url").unlink(missing_ok=True)

    # ---- pauses --------------------------------------------------------------------------------------------------

    def pause(self, until: float) -> None:
        """Pause the node here until a time (seconds since 1970, or infinity); it holds over a restart."""
        write_private(self.root / "pause", f"{until}\n".encode())

    def resume(self) -> bool:
        """End a pause; whether there was one."""
        paused = self.paused_until() is not None
        (self.root / "pause").unlink(missing_ok=True)
        return paused

    def paused_until(self) -> float | None:
        """When the pause ends, in seconds since 1970; None when there is none, or it is over."""
        try:
            until = float((self.root / "pause").read_text())
        except (OSError, ValueError):
            return None
        return until if until > time.time() else None

    def remembered_port(self) -> int | None:
        try:
            return int((self.root / "port").read_text())
        except (OSError, ValueError):
            return None

    def remember_port(self, port: int) -> None:
        (self.root / "port").write_text(f"{port}\n")

    def live_folders(self) -> list[Path]:
        """Folders of live tests that were served from here and are still there."""
        try:
            lines = (self.root / "live-folders").read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        return [Path(line) for line in lines[-MAX_LIVE_FOLDERS:] if Path(line).is_dir()]

    def add_live_folder(self, folder: Path) -> None:
        """Have the dashboard show a live test from its next start on. Does nothing where there is no home."""
        known = self.live_folders()
        if self.root.is_dir() and folder not in known:
            lines = "".join(f"{path}\n" for path in [*known, folder])
            write_private(self.root / "live-folders", lines.encode("utf-8", "surrogateescape"))


def _owner_of(workspace: Path) -> str | None:
    """The id, in hexadecimal, of the objective that a workspace is of; None where nothing says it."""
    try:
        return (workspace / OWNER).read_text().strip()
    except (OSError, ValueError):
        return None


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(LOCK_RETRY_SECONDS if kind == fcntl.LOCK_EX else 0)  # `in_use` may hold it for an instant
        return False
    return True


def write_private(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file that only its owner can read, whole or not at all, even if others write it at the same time.

    durable: when this returns, the content outlives a power cut. Without it, a power cut may leave the previous
    content, or none. Raises OSError.
    """
    handle, draft = tempfile.mkstemp(DRAFT, f".{path.name}-", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise

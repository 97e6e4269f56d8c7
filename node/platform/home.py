"""A node's home folder: the paths of all it keeps, its key, and the lock by which only one node uses it at a time.

identity.key    the signing key (mode 600)        ledger.sqlite   records, sources, runs
identity.signed how far each key has signed
objectives/ID/  files of objectives that did not  data/ID/        data of all of them
                come with the program
swarms/ID/      swarm.key of a private swarm, and the invite by which this node joined it (mode 600)
blobs/          data being fetched from peers     weights/        of recent runs, for the holdout
downloads/      files of objectives' [[downloads]], by their sha256
workspace/      git: what was tried and kept for the first objective researched here, in workspaces/ID/ for others
suggestions/    a person's, until a node reads them; promotions/ likewise
node.log.jsonl  the log                           status.json     what the running node is doing
dashboard.url   its address (mode 600)            pause           until when a person wants no work
changed-        what lies over swarm.toml
  settings.json
suggestion-     which suggestions come first, and which are never tried here
  choices.json
public          whether strangers may find this node, as a person answered
live-folders    folders of live tests, one a line, which the dashboard shows
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.platform.file_trouble import HomeError, read_file, trouble
from node.platform.private_files import DRAFT, make_folder, write_private

if TYPE_CHECKING:  # imported where a key is read: they bring a library of ciphers, which most commands do without
    from node.platform.key_mark import KeyMark
    from protocol.identity import Identity

MAX_LIVE_FOLDERS = 20
FEED_KEY = re.compile(r"[A-Za-z0-9_-]{32}")
MAX_KEY_FILE = 4096  # bytes; a key takes 65
STATUS_FRESH_SECONDS = 30.0  # a running node writes it every second; a much older one says nothing of now
LOCK_TRIES = 5  # `in_use` of another process may hold the lock for an instant
LOCK_RETRY_SECONDS = 0.1
OWNER = Path(".git", "autoresearch-objective")  # in a workspace: the id of its objective
MOST_PAUSE_SECONDS = 3650 * 86400.0  # dates beyond some thousand years cannot be written
CLOCK_STEP_SECONDS = 60.0  # a clock is set back by so much and no more while it is kept right
WAS_OPEN = "was-open"  # beside the key of a private swarm: this home was in an open one with others before
OLD_DRAFT_SECONDS = 60.0  # writing takes milliseconds, so an older draft was left by a crash


class Lock:
    """A home's lock, for the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def keep(self) -> None:
        """Take the lock, or take it again where somebody has removed its file: another node could start here.

        Raises HomeError when another node holds it, and OSError.
        """
        if self._handle is not None and self._is_in_place(self._handle):
            return
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not any(_try_lock(handle, fcntl.LOCK_EX) for _ in range(LOCK_TRIES)):
            os.close(handle)
            raise HomeError(
                f"another node is running in {self._path.parent}; stop it, or give this one a --home of its own"
            )
        self.close()
        self._handle = handle

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _is_in_place(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False


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
    def suggestion_choices(self) -> Path:
        """What a person has decided of suggestions."""
        return self.root / "suggestion-choices.json"

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
            make_folder(self.root)
        except OSError as error:
            why = error.strerror
            raise HomeError(f"cannot make the home {self.root} ({why}); choose another with --home") from None

    @contextmanager
    def locked(self) -> Iterator[Lock]:
        """Hold the home for this process; the kernel frees the lock when the process ends, however it ends.

        Raises HomeError when another node holds it.
        """
        lock = Lock(self.root / "lock")
        try:
            lock.keep()
            self._drop_drafts()
            yield lock
        finally:
            lock.close()

    def _drop_drafts(self) -> None:
        """Remove what a crash in the middle of `write_private` left. A younger draft may be another process's."""
        for folder in (self.root, self.suggestions, self.promotions, *(self.root / "swarms").glob("*")):
            for draft in folder.glob(f".*{DRAFT}"):
                with suppress(OSError):
                    if abs(time.time() - draft.stat().st_mtime) > OLD_DRAFT_SECONDS:
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

    @property
    def key(self) -> Path:
        return self.root / "identity.key"

    def identity(self) -> Identity:
        """The node's own key, made on first use. Raises HomeError when the file is no key, or cannot be used."""
        from protocol.identity import Identity

        content = read_file(self.key, MAX_KEY_FILE)
        if content is None:
            return self._make_key()
        try:
            return Identity.from_seed(bytes.fromhex(content.decode("ascii").strip()))
        except ValueError:
            raise HomeError(
                f"{self.key} is not a key; put the right one back, or begin another with `autoresearch-node key new`"
            ) from None

    def _make_key(self) -> Identity:
        """A new key. Its mark is begun before: a key without a mark may have signed nobody knows how much."""
        from protocol.identity import KEY_BYTES, Identity

        seed = os.urandom(KEY_BYTES)
        identity = Identity.from_seed(seed)
        try:
            self.key_mark(identity).begin()
            write_private(self.key, seed.hex().encode() + b"\n")
        except OSError as error:
            raise HomeError(trouble(self.key, error)) from None
        return identity

    def new_key(self) -> tuple[Identity, Path | None]:
        """Set the key aside and make another; returns that, and where the former one is. The caller holds the lock.

        Raises HomeError.
        """
        aside = None
        if self.key.is_symlink() or self.key.exists():
            aside = next(path for n in count(1) if not (path := self.root / f"identity.key.{n}").exists())
            try:
                self.key.rename(aside)
            except OSError as error:
                raise HomeError(trouble(self.key, error)) from None
        return self._make_key(), aside

    def key_mark(self, identity: Identity) -> KeyMark:
        """How far this key has signed. Raises HomeError when that cannot be read."""
        from node.platform.key_mark import KeyMark

        return KeyMark.read(self.root / "identity.signed", identity.author)

    def swarm_key(self, objective_id: bytes | None) -> bytes | None:
        """The pre-shared key of the private swarm in which this home researches an objective; None where it is open.

        A key in the home itself was made before its first objective was joined, or by an earlier version. Until
        `give_swarm` says whose it is it counts for every objective, so that none is open by mistake. Raises HomeError
        when the file is no key.
        """
        from protocol.objective import SWARM_KEY_BYTES

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
            make_folder(folder)
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
        make_folder(self._swarm(objective_id))
        write_private(self._swarm(objective_id) / WAS_OPEN, b"")

    def left_open_swarm(self, objective_id: bytes) -> bool:
        return (self._swarm(objective_id) / WAS_OPEN).exists()

    def has_private_swarm(self) -> bool:
        """Whether any objective is researched in a private swarm here."""
        return (self.root / "swarm.key").exists() or any((self.root / "swarms").glob("*/swarm.key"))

    def keep_invite(self, objective_id: bytes, text: str) -> None:
        """Remember the invite by which this node joined an objective's swarm; a private swarm's holds its key."""
        make_folder(self._swarm(objective_id))
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
            make_folder(theirs.parent)
            os.replace(ours, theirs)

    # ---- what the running node says of itself ------------------------------------------------------------------

    def write_status(self, status: dict[str, Any]) -> str | None:
        """Replace status.json. On a full disk the old one stays, and the node goes on; why, is returned."""
        path = self.root / "status.json"
        try:
            write_private(path, json.dumps({**status, "at": time.time()}).encode(), durable=False)
        except OSError as error:
            return trouble(path, error)
        return None

    def read_status(self) -> dict[str, Any] | None:
        """The last status of the running node; None when none runs here, or the file is stale or damaged."""
        if not self.in_use():
            return None
        try:
            status = json.loads(self._text("status.json"))
        except (OSError, ValueError):
            return None
        at = status.get("at") if isinstance(status, dict) else None
        return status if isinstance(at, int | float) and abs(time.time() - at) < STATUS_FRESH_SECONDS else None

    def write_dashboard(self, url: str) -> None:
        """Keep the dashboard's address in a file that only its owner can read, since the address holds a token."""
        write_private(self.root / "dashboard.url", url.encode() + b"\n")

    def dashboard(self) -> str | None:
        """The dashboard's address; None when there is none. A killed node leaves one at which nothing answers."""
        try:
            return self._text("dashboard.url").strip()
        except (OSError, ValueError):
            return None

    def forget_dashboard(self, url: str) -> None:
        """Remove the dashboard's address, unless another dashboard has written its own meanwhile."""
        if self.dashboard() == url:
            (self.root / "dashboard.url").unlink(missing_ok=True)

    def feed_key(self) -> str:
        """What a feed reader shows to be given the dashboard's feed, and nothing else. Made when first asked for.

        Unlike the dashboard's token it stays: a reader keeps the address that it was given.
        """
        with suppress(OSError, ValueError):
            kept = self._text("feed.key").strip()
            if FEED_KEY.fullmatch(kept):
                return kept
        made = secrets.token_urlsafe(24)
        write_private(self.root / "feed.key", made.encode() + b"\n")
        return made

    # ---- pauses --------------------------------------------------------------------------------------------------

    def pause(self, until: float) -> None:
        """Pause the node here until a time (seconds since 1970, or infinity); it holds over a restart."""
        seconds = until - time.time()
        write_private(self.root / "pause", f"{until}\n{seconds}\n".encode())

    def resume(self) -> bool:
        """End a pause; whether there was one."""
        paused = self.paused_until() is not None
        (self.root / "pause").unlink(missing_ok=True)
        return paused

    def paused_until(self) -> float | None:
        """When the pause ends, in seconds since 1970; None when there is none, or it is over.

        A person paused the node where the file is there, so one that cannot be read is a pause without an end.
        """
        try:
            until, length = map(float, [*self._text("pause").split(), "inf"][:2])  # once without length
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return math.inf
        if math.isnan(until) or until > time.time() + MOST_PAUSE_SECONDS:
            return math.inf
        left = until - time.time()
        if math.isfinite(length) and left > length + CLOCK_STEP_SECONDS:  # the clock was ahead, and was set back
            until = time.time() + length
            with suppress(OSError):
                self.pause(until)
        return until if until > time.time() else None

    def _text(self, name: str) -> str:
        """The content of a small file. Raises OSError, and UnicodeDecodeError."""
        _refuse_odd(self.root / name)
        return (self.root / name).read_text()

    def remembered_port(self) -> int | None:
        try:
            port = int(self._text("port"))
        except (OSError, ValueError):
            return None
        return port if 0 < port < 1 << 16 else None

    def remember_port(self, port: int) -> str | None:
        """Keep the port for the next start. On a full disk the node goes on without; why, is returned."""
        path = self.root / "port"
        try:
            _refuse_odd(path)
            if self.remembered_port() != port:
                write_private(path, f"{port}\n".encode())
        except OSError as error:
            return trouble(path, error)
        return None

    def public_answer(self) -> bool | None:
        """Whether strangers may find this node, as a person has answered; None when nobody was asked yet."""
        try:
            return {"yes": True, "no": False}.get(self._text("public").strip())
        except (OSError, UnicodeDecodeError):
            return None

    def keep_public_answer(self, answer: bool) -> None:
        write_private(self.root / "public", b"yes\n" if answer else b"no\n")

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


def _refuse_odd(path: Path) -> None:
    """Raise OSError where a pipe or a device lies: opening it could wait for ever."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileExistsError(errno.EEXIST, "no ordinary file", str(path))

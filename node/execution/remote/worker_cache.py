"""What workers keep at the far end: contents by their sha256, shared by all of them, and a place of each one's own.

    FOLDER/content/<sha256>      files and data of objectives; the least recently used go first beyond the limit
    FOLDER/places/<number>/      one worker's own while it holds the lock there; the next worker takes it over
        lock, store              who has it; the place's own random name
        objective/, data/        of the objective it has now, as links to contents where the file system has links
        weights-<objective>/     of its recent runs, which stay for the worker that has the place next

Several workers, on one machine or on many with one file system, may use a folder at once: contents appear by a rename,
whole or not at all, and a place has one owner. It knows files, and nothing of runs or of who speaks to a worker.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from protocol.codec import MalformedError

MOST_PLACES = 1024
DRAFT_SECONDS = 86_400.0  # after which a content that was never completed is removed
STORE_BYTES = 16
_WEIGHTS = "weights-"


class CacheError(Exception):
    """The cache cannot be used; the text says what to do."""


class Draft:
    """A content on its way: its bytes in their order, of which the cache sees nothing before they are right."""

    def __init__(self, folder: Path, content: bytes, size: int) -> None:
        self._target = folder / content.hex()
        self._path = folder / f".{content.hex()}.{secrets.token_hex(8)}"
        self._content, self._left = content, size
        self._digest = hashlib.sha256()
        self._file = self._path.open("xb")

    def write(self, data: bytes) -> None:
        """Raises MalformedError for more bytes than the content has, and OSError."""
        self._left -= len(data)
        if self._left < 0:
            raise MalformedError("a content is larger than its manifest says")
        self._digest.update(data)
        self._file.write(data)

    def keep(self) -> None:
        """Let the cache have it. Raises MalformedError where it is not what its id says, and OSError."""
        if self._left or self._digest.digest() != self._content:
            raise MalformedError("a content is not what its id says")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.chmod(0o644)
        self._path.replace(self._target)

    def discard(self) -> None:
        """Remove what was not kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class WorkerCache:
    """One worker's use of a cache folder. A context manager; leaving it gives the place back, weights and all."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """most_bytes: of contents, and of weights that no worker under way uses. Raises CacheError."""
        self._content = folder / "content"
        self._places = folder / "places"
        self.most_bytes = most_bytes
        try:
            self._content.mkdir(parents=True, exist_ok=True)
            self._places.mkdir(exist_ok=True)
            self._lock, self.place = self._take_place()
            self.store = self._store()
            self._clear()
        except OSError as error:
            raise CacheError(
                f"the cache folder {folder} cannot be used ({error.strerror}); give one with --cache that this user "
                "can write, on a file system with locks"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._clear()
            self.prune()
        os.close(self._lock)

    # ---- contents ----------------------------------------------------------------------------------------------------

    def put_in_place(self, content: bytes, size: int, target: Path) -> bool:
        """Have a content of this id at a path below `place`; False where the cache does not have it, or damaged."""
        path = self._content / content.hex()
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.new")
        try:
            draft.unlink(missing_ok=True)
            _link_or_copy(path, draft)
            path.touch()
        except FileNotFoundError:
            return False
        if draft.stat().st_size != size or _digest(draft) != content:  # torn by a power cut, or changed by somebody
            draft.unlink()
            path.unlink(missing_ok=True)
            return False
        draft.replace(target)
        return True

    def draft(self, content: bytes, size: int) -> Draft:
        """Where the bytes of a content that is not here go, as they come."""
        return Draft(self._content, content, size)

    def prune(self) -> None:
        """Remove what was used least recently, until all is within the limit."""
        now = time.time()
        found: list[tuple[float, int, Path]] = []
        for path in self._removable():
            with contextlib.suppress(FileNotFoundError):  # another worker has removed it
                about = path.stat()
                if not path.name.startswith("."):
                    found.append((about.st_mtime, about.st_size, path))
                elif abs(now - about.st_mtime) > DRAFT_SECONDS:
                    path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _removable(self) -> Iterator[Path]:
        """All contents, and the weights in places that have no owner now."""
        yield from self._content.iterdir()
        for place in self._places.iterdir():
            if place == self.place:
                continue
            with contextlib.suppress(OSError), _locked(place):
                yield from [path for path in place.glob(f"{_WEIGHTS}*/**/*") if path.is_file()]

    # ---- a place of one's own ----------------------------------------------------------------------------------------

    def weights_dir(self, objective: str) -> Path:
        """Where this worker keeps weights of an objective. Those of other objectives that lay here are removed."""
        folder = self.place / f"{_WEIGHTS}{objective}"
        for other in self.place.glob(f"{_WEIGHTS}*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        return folder

    def borrow(self, objective: str, names: Sequence[str]) -> None:
        """Have weights and losses with these names here too where another place of this cache has them."""
        own = self.weights_dir(objective)
        for name in names:
            if (own / name).exists():
                continue
            for other in self._places.glob(f"*/{own.name}/{name}"):
                draft = own / f".borrowed-{secrets.token_hex(8)}"
                try:
                    _link_or_copy(other, draft)
                    draft.replace(own / name)
                except OSError:  # its owner has just removed it
                    draft.unlink(missing_ok=True)
                    continue
                break

    def take_over(self, objective: str, name: str) -> None:
        """Have what lies below this name beside the weights in places that have no owner now, such as unfinished runs.

        A run whose worker was killed is made again by another, which so goes on where the first one was.
        """
        own = self.weights_dir(objective)
        for place in self._places.iterdir():
            if place == self.place or not (place / own.name / name).is_dir():
                continue
            with contextlib.suppress(OSError), _locked(place):
                (own / name).mkdir(exist_ok=True)
                for path in (place / own.name / name).iterdir():
                    if not (own / name / path.name).exists():
                        path.rename(own / name / path.name)

    def _take_place(self) -> tuple[int, Path]:
        for number in range(MOST_PLACES):
            place = self._places / str(number)
            place.mkdir(exist_ok=True)
            lock = _lock(place)
            if lock is not None:
                return lock, place
        raise CacheError(f"{MOST_PLACES} workers use {self._places.parent}; give some of them another --cache")

    def _store(self) -> bytes:
        path = self.place / "store"
        with contextlib.suppress(OSError):
            if len(name := path.read_bytes()) == STORE_BYTES:
                return name
        name = secrets.token_bytes(STORE_BYTES)
        path.write_bytes(name)
        return name

    def _clear(self) -> None:
        for name in ("objective", "data"):
            shutil.rmtree(self.place / name, ignore_errors=True)


def _lock(place: Path) -> int | None:
    """A descriptor that holds the place's lock until it is closed; None where another has it. Raises OSError."""
    lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    lock = _lock(place)
    if lock is None:
        raise BlockingIOError
    try:
        yield
    finally:
        os.close(lock)


def _link_or_copy(source: Path, target: Path) -> None:
    """One more name for a file; a copy where the file system has no links. Raises OSError."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

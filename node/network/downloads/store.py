"""Where downloaded files lie in a home: by the sha256 of their content, so that objectives share them.

A file has its final name only once it was verified. Before, it is `KEY.part`, with a note beside it of the address from
which it came and of the server's name for that version, so that an interrupted download goes on: after a pause, a crash
or a restart.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.ledger.files import DISK_RESERVE
from node.objective.schema import Download
from protocol.objective import FileEntry


class Origin(msgspec.Struct, frozen=True):
    """Whence the bytes of a part came. version: the server's name for it (a strong ETag, or Last-Modified); or ""."""

    url: str
    version: str = ""


@dataclass(frozen=True)
class Part:
    """A file of which some bytes, from its beginning, may be here."""

    path: Path

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    @property
    def origin(self) -> Origin | None:
        """Whence it came; None where that is not known, so that it can only be gone on with where its sum is known."""
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=Origin)
        except (OSError, msgspec.DecodeError):
            return None

    def begin(self, origin: Origin) -> None:
        """Drop what is here and note whence the rest comes."""
        self.drop()
        self._note.write_bytes(msgspec.json.encode(origin))
        self.path.touch(mode=0o644)

    def drop(self) -> None:
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)

    def sha256(self) -> bytes:
        """The sum of what is here. Reads all of it, so call it in a thread."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    @property
    def _note(self) -> Path:
        return self.path.with_suffix(".origin")


@dataclass(frozen=True)
class DownloadStore:
    """The folder of a home with downloaded files."""

    folder: Path

    def path(self, sha256: bytes) -> Path:
        """Where a file with this sum lies, once it is here."""
        return self.folder / sha256.hex()

    def has(self, download: Download) -> bool:
        """Whether a file is here. It was verified when it came; a size that differs now is taken as damage."""
        path = self.path(download.entry.sha256)
        try:
            return path.is_file() and not path.is_symlink() and path.stat().st_size == download.entry.size
        except OSError:
            return False

    def paths(self, downloads: Sequence[Download]) -> dict[str, Path]:
        """Where those lie that are here, by their names."""
        return {each.name: self.path(each.entry.sha256) for each in downloads if self.has(each)}

    def part(self, urls: tuple[str, ...], sha256: bytes | None) -> Part:
        """The file in which one is assembled: by its sum, or by its addresses where the sum is not known yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = sha256.hex() if sha256 is not None else f"new-{hashlib.sha256(' '.join(urls).encode()).hexdigest()}"
        return Part(self.folder / f"{key}.part")

    def take(self, part: Part, sha256: bytes) -> None:
        """Give a verified file its final name, durably."""
        with part.path.open("rb+") as file:
            os.fsync(file.fileno())
        part.path.chmod(0o644)
        part.path.replace(self.path(sha256))
        part.drop()

    def take_fetched(self, entry: FileEntry, path: Path) -> Path:
        """Move a verified file from elsewhere in the home to its place, which is returned."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path.chmod(0o644)
        return path.replace(self.path(entry.sha256))

    def free(self) -> int:
        """Bytes of disk that downloads may still take."""
        folder = self.folder
        while not folder.exists():
            folder = folder.parent
        with suppress(OSError):
            return max(0, shutil.disk_usage(folder).free - DISK_RESERVE)
        return 0

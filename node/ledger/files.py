"""Blob files: large content in files, by id. What the objective refers to is accepted and kept, and nothing else.

It knows which files hold which content, so that peers are served from the files where they are, and it assembles
content that is being fetched. It knows nothing of peers. Calls that read or write content block for as long as one
piece takes, except `outline`, which may read a whole file; the network makes such calls in a thread.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from protocol.codec import MalformedError
from protocol.outline import PIECE_BYTES, Outline, open_outline, outline_by_itself, outline_of, pack_pieces, pieces_in

DISK_RESERVE = 256 << 20  # bytes of free disk that content from peers never takes: the ledger needs some
CHECKSUM_BYTES = 32
BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's is


class BlobFiles:
    """Files by content id. `folder`: for content being fetched, and outlines. `quota`: bytes accepted from peers."""

    def __init__(self, folder: Path, quota: int) -> None:
        self._folder = folder
        self._quota = quota
        self._wanted: dict[bytes, int] = {}
        self._held: dict[bytes, tuple[Path, int]] = {}

    # ---- what is wanted ------------------------------------------------------------------------------------------

    def refer_to(self, contents: Mapping[bytes, int]) -> None:
        """From now on this content (id to size in bytes) is referred to, and no other: whatever else is here goes."""
        self._wanted = dict(contents)
        self._folder.mkdir(parents=True, exist_ok=True)
        names = {content_id.hex() for content_id in contents}
        for path in self._folder.iterdir():
            if path.stem not in names:
                path.unlink()

    def why_no_room(self, content_ids: Collection[bytes]) -> str:
        """Why all of this wanted content cannot be fetched, and what to do; "" when it can."""
        size = sum(self._wanted[content_id] for content_id in content_ids)
        if size > self._quota:
            return (
                f"the data are {size / 1e6:.0f} MB, more than the {self._quota / 1e6:.0f} MB this node takes from "
                "peers; raise [limits] data_quota_mb in swarm.toml"
            )
        here = sum(path.stat().st_blocks * BLOCK_BYTES for path in self._folder.iterdir())
        free = shutil.disk_usage(self._folder).free
        if size - here + DISK_RESERVE > free:
            return (
                f"the data are {size / 1e6:.0f} MB and only {free / 1e6:.0f} MB of disk are free; make room, or "
                "choose a home on another disk with --home"
            )
        return ""

    def wanted_size(self, content_id: bytes) -> int | None:
        """How large content is that may be fetched; None when nothing refers to it."""
        return self._wanted.get(content_id)

    # ---- content being fetched -----------------------------------------------------------------------------------

    def draft(self, content_id: bytes) -> Draft:
        """The file in which wanted content is assembled, with what an earlier attempt left in it."""
        return Draft(self._folder / f"{content_id.hex()}.part", self._wanted[content_id])

    def keep_outline(self, content_id: bytes, outline: Outline) -> None:
        """Remember the outline of content that is here, so that it need not be computed again."""
        packed = pack_pieces(outline)
        draft = self._outline_path(content_id).with_suffix(".new")
        draft.write_bytes(hashlib.sha256(packed).digest() + packed)
        draft.replace(self._outline_path(content_id))

    # ---- content that is here ------------------------------------------------------------------------------------

    def offer(self, content_id: bytes, path: Path) -> None:
        """Serve this file to peers as this content. The caller has verified it."""
        self._held[content_id] = (path, path.stat().st_size)

    def path(self, content_id: bytes) -> Path:
        """Where content lies that is here."""
        return self._held[content_id][0]

    def size(self, content_id: bytes) -> int | None:
        """How large content is that is here; None when it is not."""
        held = self._held.get(content_id)
        return held[1] if held else None

    def read(self, content_id: bytes, offset: int, count: int) -> bytes:
        """A part of content that is here. Raises OSError when the file has gone."""
        path, _ = self._held[content_id]
        with path.open("rb") as file:
            return os.pread(file.fileno(), count, offset)

    def outline(self, content_id: bytes) -> Outline:
        """The outline of content that is here, which is read through the first time. Raises OSError."""
        path, size = self._held[content_id]
        known = outline_by_itself(content_id, size) or self._read_outline(content_id, size)
        if known is None:
            known = outline_of(_pieces(path))
            self.keep_outline(content_id, known)
        return known

    def _read_outline(self, content_id: bytes, size: int) -> Outline | None:
        with suppress(OSError, MalformedError):
            stored = self._outline_path(content_id).read_bytes()
            checksum, packed = stored[:CHECKSUM_BYTES], stored[CHECKSUM_BYTES:]
            if hashlib.sha256(packed).digest() == checksum:
                return open_outline(content_id, size, packed)
        return None

    def _outline_path(self, content_id: bytes) -> Path:
        return self._folder / f"{content_id.hex()}.outline"


class Draft:
    """A file in which content of a known size is assembled, piece by piece in any order."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        if not path.exists():
            path.touch(mode=0o644)
        elif path.stat().st_size > size:
            os.truncate(path, size)

    def write(self, outline: Outline, index: int, piece: bytes) -> bool:
        """Write a piece if it matches the outline; returns whether it does. Raises OSError, as on a full disk."""
        if not outline.accepts(index, piece):
            return False
        with self.path.open("r+b") as file:
            os.pwrite(file.fileno(), piece, outline.span(index)[0])
        return True

    def has(self, outline: Outline, index: int) -> bool:
        """Whether a piece is here and matches the outline."""
        offset, count = outline.span(index)
        with self.path.open("rb") as file:
            return outline.accepts(index, os.pread(file.fileno(), count, offset))

    def pieces(self) -> int:
        """How many pieces from the start may have been written, by the file's size; some of them may be holes."""
        return pieces_in(self.path.stat().st_size)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece

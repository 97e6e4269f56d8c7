"""The outline of content: the sha256 of each of its pieces, so that large content can come from several peers at once.

The id of content is the sha256 of all of it, by which a part cannot be checked. So a peer that has the content states
an outline of it: each piece is checked against the outline of the peer that sends it, and the whole against the id. If
a piece differs from its sender's own outline, that sender is at fault. If all pieces match an outline and the whole
does not match the id, all peers that stated this outline are at fault. It knows bytes and hashes, not who says what.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.codec import MalformedError

PIECE_BYTES = 1 << 20
HASH_BYTES = 32  # of a sha256
MAX_CONTENT = 16 << 30  # bytes: 16,384 pieces, whose hashes take 512 KiB of the 1 MiB of a frame


@dataclass(frozen=True)
class Outline:
    """The size of content in bytes and the sha256 of its pieces, all but the last of which have PIECE_BYTES."""

    total: int
    pieces: tuple[bytes, ...]

    def span(self, index: int) -> tuple[int, int]:
        """Where a piece begins and how many bytes it has: of 2.5 MiB, piece 2 begins at 2 MiB and has 0.5 MiB."""
        offset = index * PIECE_BYTES
        return offset, min(PIECE_BYTES, self.total - offset)

    def accepts(self, index: int, piece: bytes) -> bool:
        """Whether these bytes are that piece."""
        return len(piece) == self.span(index)[1] and hashlib.sha256(piece).digest() == self.pieces[index]


def pieces_in(total: int) -> int:
    """How many pieces content of `total` bytes has (rounded up; 0 bytes have none)."""
    return -(-total // PIECE_BYTES)


def outline_of(pieces: Iterable[bytes]) -> Outline:
    """The outline of content given piece by piece."""
    total, hashes = 0, []
    for piece in pieces:
        total += len(piece)
        hashes.append(hashlib.sha256(piece).digest())
    return Outline(total, tuple(hashes))


def pack_pieces(outline: Outline) -> bytes:
    """The hashes one after the other, as they travel."""
    return b"".join(outline.pieces)


def open_outline(content_id: bytes, total: int, packed: bytes) -> Outline:
    """The outline that a peer states of this content. Raises MalformedError when it cannot be one of that size."""
    if not 0 <= total <= MAX_CONTENT:
        raise MalformedError(f"an outline of more than {MAX_CONTENT} bytes")
    if len(packed) != HASH_BYTES * pieces_in(total):
        raise MalformedError("an outline with more or fewer pieces than its size says")
    pieces = tuple(packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES))
    if len(pieces) == 1 and pieces[0] != content_id:
        raise MalformedError("an outline of one piece that is not the content")
    return Outline(total, pieces)


def outline_by_itself(content_id: bytes, total: int) -> Outline | None:
    """The outline of content of at most one piece, whose hash is the id itself; None for larger content."""
    return Outline(total, (content_id,) * pieces_in(total)) if total <= PIECE_BYTES else None

"""By an outline every piece can be checked, and an outline has exactly the pieces of its size."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import MalformedError
from protocol.messages import BlobOutline, decode_message, encode_message
from protocol.outline import (
    MAX_CONTENT,
    PIECE_BYTES,
    open_outline,
    outline_by_itself,
    outline_of,
    pack_pieces,
    pieces_in,
)

CONTENT = random.Random(1).randbytes(2 * PIECE_BYTES + 5)
ID = hashlib.sha256(CONTENT).digest()
PIECES = [CONTENT[:PIECE_BYTES], CONTENT[PIECE_BYTES : 2 * PIECE_BYTES], CONTENT[2 * PIECE_BYTES :]]


def test_pieces_are_accepted_at_their_position_only() -> None:
    outline = outline_of(PIECES)
    assert outline.total == len(CONTENT)
    assert [outline.span(index) for index in range(3)] == [
        (0, PIECE_BYTES),
        (PIECE_BYTES, PIECE_BYTES),
        (2 * PIECE_BYTES, 5),
    ]
    assert all(outline.accepts(index, piece) for index, piece in enumerate(PIECES))
    assert not outline.accepts(0, PIECES[1])
    assert not outline.accepts(2, PIECES[2] + b"x")
    assert not outline.accepts(2, PIECES[2][:-1])


def test_an_outline_travels() -> None:
    outline = outline_of(PIECES)
    assert open_outline(ID, len(CONTENT), pack_pieces(outline)) == outline
    assert decode_message(encode_message(BlobOutline.of(ID, outline))) == BlobOutline.of(ID, outline)


def test_the_largest_outline_fits_a_frame() -> None:
    hashes = tuple(bytes(32) for _ in range(pieces_in(MAX_CONTENT)))
    largest = BlobOutline.of(ID, open_outline(ID, MAX_CONTENT, b"".join(hashes)))
    assert decode_message(encode_message(largest)) == largest


def test_small_content_outlines_itself() -> None:
    small = hashlib.sha256(b"small").digest()
    assert outline_by_itself(small, 5) == outline_of([b"small"])
    assert outline_by_itself(hashlib.sha256(b"").digest(), 0) == outline_of([])
    assert outline_by_itself(ID, len(CONTENT)) is None


@given(st.integers(0, 5 * PIECE_BYTES), st.integers(0, 8))
def test_an_outline_has_as_many_pieces_as_its_size_says(total: int, count: int) -> None:
    packed = bytes(32 * count)
    if count == pieces_in(total) and count != 1:
        assert len(open_outline(ID, total, packed).pieces) == count
    else:
        with pytest.raises(MalformedError):
            open_outline(ID, total, packed)


@pytest.mark.parametrize("total", [-1, MAX_CONTENT + 1, 2**60])
def test_an_outline_of_an_impossible_size_is_refused(total: int) -> None:
    with pytest.raises(MalformedError, match="outline"):
        open_outline(ID, total, b"")

"""Messages of arrays: what goes in comes out, and what is no message is refused before memory is taken for it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from node.execution.workers import arrays
from node.execution.workers.arrays import HEAD, MOST_BYTES, ROW, Ended, NoArrays, packed, receive, write


def through_a_pipe(content: object) -> arrays.Arrays:
    reads, writes = os.pipe()
    try:
        write(writes, packed(arrays.QUESTION, content))
        tag, found = receive(reads)
    finally:
        os.close(reads)
        os.close(writes)
    assert tag == arrays.QUESTION
    return found


def received(sent: bytes) -> tuple[bytes, arrays.Arrays]:
    reads, writes = os.pipe()
    os.write(writes, sent)
    os.close(writes)
    try:
        return receive(reads)
    finally:
        os.close(reads)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i8", "u1", "u2", "u8", "?", ">f4", ">i2"])
def test_an_array_comes_out_as_it_went_in(kind: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(kind)
    found = through_a_pipe(array[:, ::2])  # whose memory has gaps
    assert isinstance(found, np.ndarray)
    assert found.shape == (3, 2)
    assert found.dtype.kind == array.dtype.kind
    assert np.array_equal(found, array[:, ::2])
    assert found.flags.writeable


def test_numbers_lists_empty_arrays_and_dictionaries_are_sent_too() -> None:
    assert through_a_pipe(3.5) == 3.5
    assert np.shape(through_a_pipe(7)) == ()
    assert np.shape(through_a_pipe([[1, 2], [3, 4]])) == (2, 2)
    assert np.shape(through_a_pipe(np.zeros((0, 3)))) == (0, 3)
    found = through_a_pipe({"a": [1], "b": np.ones((2, 2), dtype=bool)})
    assert isinstance(found, dict)
    assert {name: array.shape for name, array in found.items()} == {"a": (1,), "b": (2, 2)}
    assert through_a_pipe({}) == {}


@pytest.mark.parametrize(
    "content",
    [
        None,
        "text",
        object(),
        1j,
        np.zeros(2, dtype="datetime64[s]"),
        np.longdouble(1),
        np.zeros((1,) * 9),
        {"": [1]},
        {"a" * 33: [1]},
        {str(number): [1] for number in range(65)},
        np.broadcast_to(np.uint8(0), (MOST_BYTES + 1,)),
        [[1], [2, 3]],
    ],
    ids=["none", "text", "object", "complex", "dates", "long", "deep", "no name", "name", "many", "much", "ragged"],
)
def test_what_cannot_be_sent_is_refused(content: object) -> None:
    with pytest.raises(NoArrays):
        packed(arrays.ANSWER, content)


def row(name: bytes = b"", kind: bytes = b"f", item: int = 8, dimensions: int = 1, shape: Any = (1,)) -> bytes:
    return ROW.pack(name, kind, item, dimensions, *(*shape, *[0] * (8 - len(shape))))


@pytest.mark.parametrize(
    "sent",
    [
        HEAD.pack(b"A", 65),
        HEAD.pack(b"A", 1) + row(kind=b"O"),
        HEAD.pack(b"A", 1) + row(kind=b"\xff"),
        HEAD.pack(b"A", 1) + row(item=3),
        HEAD.pack(b"A", 1) + row(item=1),  # no float is so short
        HEAD.pack(b"A", 1) + row(dimensions=9),
        HEAD.pack(b"A", 1) + row(name=b"\xff"),
        HEAD.pack(b"A", 1) + row(shape=(2**63,)),
        HEAD.pack(b"A", 1) + row(dimensions=8, shape=(2**63,) * 8),
        HEAD.pack(b"A", 2) + 2 * row(shape=(MOST_BYTES // 16 + 1,)),
    ],
    ids=["too many", "objects", "no kind", "odd", "short", "deep", "name", "long", "huge", "together"],
)
def test_what_is_no_message_is_refused(sent: bytes) -> None:
    with pytest.raises(NoArrays):
        received(sent)


@pytest.mark.parametrize("length", [0, 3, HEAD.size, HEAD.size + ROW.size, HEAD.size + ROW.size + 7])
def test_a_message_that_breaks_off_is_an_end(length: int) -> None:
    with pytest.raises(Ended):
        received((HEAD.pack(b"A", 1) + row() + bytes(8))[:length])


def test_a_truth_value_is_true_or_false_whatever_byte_was_sent() -> None:
    _, found = received(HEAD.pack(b"A", 1) + row(kind=b"b", item=1, shape=(3,)) + b"\x00\x01\xff")
    assert isinstance(found, np.ndarray)
    assert found.view(np.uint8).tolist() == [0, 1, 1]


def test_nobody_to_read_is_an_end() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with pytest.raises(Ended):
        write(writes, packed(arrays.QUESTION, [1]))
    os.close(writes)

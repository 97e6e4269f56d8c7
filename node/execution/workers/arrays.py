"""Messages of arrays, by which a judge asks a program and the program answers. Part of both workers.

A message is <tag, 1 byte> <3 bytes of padding> <u32 arrays>, a row for each array (its name, kind, bytes of an item,
dimensions and lengths, all of fixed size), then what is in each, all little-endian. One array without a name stands for
itself; arrays with names are a dictionary. Who reads trusts nothing of it: kinds, lengths and the total size have
limits, and what is in an array is copied into memory that nothing was in before. It imports nothing of ours.
"""

import math
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Array | dict[str, Array]

PREPARE, QUESTION, ANSWER = b"P", b"Q", b"A"
KINDS = "fiub"  # of numpy's dtypes: floats, whole numbers with and without a sign, truth values
ITEM_BYTES = (1, 2, 4, 8)
MOST_ARRAYS = 64  # of one message
MOST_BYTES = 256 << 20  # of one message; both sides hold it in memory
NAME_BYTES, MOST_DIMENSIONS = 32, 8
HEAD = struct.Struct("<c3xI")
ROW = struct.Struct(f"<{NAME_BYTES}scBB5x{MOST_DIMENSIONS}Q")


class NoArrays(Exception):
    """What is to be sent, or was sent, is not as agreed; the text says how."""


class Ended(Exception):
    """The other side has closed its end."""


def write(descriptor: int, parts: Sequence[bytes | memoryview]) -> None:
    """Write a message that was packed. Raises Ended when nobody reads it any more."""
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        raise Ended from None


def packed(tag: bytes, arrays: object) -> list[bytes | memoryview]:
    """The parts of a message. `arrays`: an array, or something that numpy makes one of; or a dictionary of such.

    Raises NoArrays when they cannot be sent.
    """
    named = arrays if isinstance(arrays, Mapping) else {"": arrays}
    if len(named) > MOST_ARRAYS or (isinstance(arrays, Mapping) and "" in named):
        raise NoArrays(f"at most {MOST_ARRAYS} arrays can be sent at once, each with a name")
    rows, contents = [], []
    for name, value in named.items():
        array = _plain(name, value)
        label = str(name).encode()
        if len(label) > NAME_BYTES or b"\0" in label:
            raise NoArrays(f"the name of an array has at most {NAME_BYTES} bytes, not {name!r:.80}")
        kind, lengths = array.dtype.kind.encode(), (*array.shape, *[0] * (MOST_DIMENSIONS - array.ndim))
        rows.append(ROW.pack(label, kind, array.dtype.itemsize, array.ndim, *lengths))
        contents.append(array.reshape(-1).view(np.uint8).data)
    if sum(map(len, contents)) > MOST_BYTES:
        raise NoArrays(f"arrays of {sum(map(len, contents)) / 1e6:.0f} MB; {MOST_BYTES / 1e6:.0f} MB at most are sent")
    return [HEAD.pack(tag, len(rows)) + b"".join(rows), *contents]


def _plain(name: str, value: object) -> Array:
    """A contiguous array of a kind that can be sent. Tensors of torch are taken too."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NoArrays(f"{name or 'it'} is no array: {error}") from None
    if array.dtype.kind not in KINDS or array.dtype.itemsize not in ITEM_BYTES or array.ndim > MOST_DIMENSIONS:
        raise NoArrays(
            f"{name or 'it'} is an array of {array.dtype} with {array.ndim} dimensions; numbers of at most 8 bytes can "
            f"be sent, in at most {MOST_DIMENSIONS} dimensions"
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def receive(descriptor: int) -> tuple[bytes, Arrays]:
    """(tag, arrays) of the next message. Raises NoArrays when it is none, Ended when the other side is gone."""
    tag, count = HEAD.unpack(_exactly(descriptor, HEAD.size))
    if count > MOST_ARRAYS:
        raise NoArrays(f"{count} arrays at once; {MOST_ARRAYS} at most are read")
    rows = _exactly(descriptor, count * ROW.size)
    described = [_described(*ROW.unpack_from(rows, number * ROW.size)) for number in range(count)]
    if sum(size for *_, size in described) > MOST_BYTES:
        raise NoArrays(f"arrays of more than {MOST_BYTES / 1e6:.0f} MB")
    found: dict[str, Array] = {}
    for name, dtype, shape, size in described:
        array = np.frombuffer(_exactly(descriptor, size), dtype=dtype).reshape(shape)
        # A truth value is one byte, of which numpy expects that it is 0 or 1.
        found[name] = array.view(np.uint8) != 0 if dtype.kind == "b" else array
    return tag, found[""] if list(found) == [""] else found


def _described(
    label: bytes, kind: bytes, item: int, dimensions: int, *lengths: int
) -> tuple[str, np.dtype[Any], tuple[int, ...], int]:
    """The name, type, shape and size in bytes that a row of a message describes."""
    known = kind.decode("latin-1") in KINDS and item in ITEM_BYTES and dimensions <= MOST_DIMENSIONS
    try:
        dtype = np.dtype(f"<{kind.decode()}{item}") if known else None
        name = label.rstrip(b"\0").decode()
    except (TypeError, UnicodeDecodeError):  # a float of one byte
        dtype = None
    if dtype is None:
        raise NoArrays("an array of a kind that is not read")
    shape = lengths[:dimensions]
    return name, dtype, shape, math.prod(shape) * item


def _exactly(descriptor: int, length: int) -> bytearray:
    """Exactly `length` bytes, copied once, into memory of their own."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = os.readv(descriptor, [view])
        if count == 0:
            raise Ended
        view = view[count:]
    return data

"""msgpack in and out, with a hard limit on every size and depth.

It knows bytes and plain values, nothing of what they mean. Everything that enters from outside passes `decode` once.

Canonical form: map keys are text, in ascending order of their UTF-8 bytes; integers, floats (always 64-bit), text,
binary, booleans, nil, arrays and maps only; no extension types; no NaN or infinity. `encode` writes nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgpack
import msgspec


class MalformedError(ValueError):
    """Bytes or text from outside are not what the protocol says they must be. The message is safe to log."""


@dataclass(frozen=True)
class Limits:
    """How large and how deep a decoded value may be."""

    max_bytes: int  # in all
    max_depth: int  # of arrays and maps inside each other
    max_items: int  # in all, and so in one array or map
    max_text: int  # bytes of one text in UTF-8
    max_binary: int  # bytes of one binary


RECORD_LIMITS = Limits(max_bytes=64 << 10, max_depth=8, max_items=1024, max_text=2048, max_binary=64 << 10)
MESSAGE_LIMITS = Limits(max_bytes=1 << 20, max_depth=4, max_items=65536, max_text=256, max_binary=1 << 20)
MANIFEST_LIMITS = Limits(max_bytes=256 << 10, max_depth=4, max_items=8192, max_text=256, max_binary=64)
# A decoder makes room for as many items as a header promises before it has seen one, and again for each array inside.
# msgpack nests 1,024 at most, so up to here that is 8 MiB for an instant. Beyond, nesting is looked at before.
FEW_ITEMS = 1024


_ENCODER = msgspec.msgpack.Encoder(order="sorted")


def encode(value: Any) -> bytes:
    """The canonical bytes of a plain value or a Struct. Raises TypeError or ValueError where it has none: a bug here.

    It does not check that numbers are finite; `decode` does, which every record passes before it is sent.
    """
    return _ENCODER.encode(value)


def decode(data: bytes, limits: Limits) -> Any:
    """The plain value in `data`, all of it, within the limits. Raises MalformedError."""
    if len(data) > limits.max_bytes:
        raise MalformedError(f"{len(data)} bytes where at most {limits.max_bytes} are allowed")
    if limits.max_items > FEW_ITEMS:
        _check_depth(data, limits)
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            object_pairs_hook=_without_duplicates,
            max_str_len=limits.max_text,
            max_bin_len=limits.max_binary,
            max_array_len=limits.max_items,
            max_map_len=limits.max_items,
            max_ext_len=0,
        )
    except MalformedError:
        raise
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise MalformedError(f"not valid msgpack within the limits ({type(error).__name__})") from None
    _check_values(value, limits)
    return value


def _refuse_extension(code: int, data: bytes) -> Any:
    raise MalformedError("extension types are not allowed")


def _without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedError("a map has the same key twice")
    if not all(isinstance(key, str) for key in value):
        raise MalformedError("a map key is not text")
    return value


def _check_values(value: Any, limits: Limits) -> None:
    """Refuse floats that are not finite, items inside too many arrays and maps, and too many items in all."""
    level, depth, items = [value], 0, 0
    while level:
        items += len(level)
        if items > limits.max_items:
            raise MalformedError("too many items")
        if depth > limits.max_depth:
            raise MalformedError("nested too deep")
        inside: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is float and not math.isfinite(item):
                raise MalformedError("a number is not finite")
            if kind is dict:
                inside.extend(item.values())
            elif kind is list:
                inside.extend(item)
        level, depth = inside, depth + 1


def _check_depth(data: bytes, limits: Limits) -> None:
    """Walk the headers only, so that nesting is bounded before anything is built.

    open_items holds, for each open array or map, how many items of it are still to come; a map of n has 2 n items.
    """
    unpacker = msgpack.Unpacker(None, max_buffer_size=limits.max_bytes, raw=True, max_ext_len=0)
    unpacker.feed(data)
    open_items: list[int] = []
    position = 0
    try:
        while True:
            while open_items and open_items[-1] == 0:
                open_items.pop()
            if open_items:
                open_items[-1] -= 1
            elif position:
                return
            if len(open_items) > limits.max_depth:
                raise MalformedError("nested too deep")
            first = data[position] if position < len(data) else 0
            if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
                open_items.append(2 * unpacker.read_map_header())
            elif 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
                open_items.append(unpacker.read_array_header())
            else:
                unpacker.skip()
            position = unpacker.tell()
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        if isinstance(error, MalformedError):
            raise
        raise MalformedError(f"not valid msgpack within the limits ({type(error).__name__})") from None

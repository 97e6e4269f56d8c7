"""Types of the values on the wire, and the reader that checks bytes against them and names the field that is wrong.

A type here states a shape, a range and a length; msgspec checks them (docs/decisions/record-validation.md). It gets
only bytes that passed `codec.decode`, which does what msgspec does not: limit sizes and depth, and refuse duplicate
keys and NaN.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from protocol.codec import MalformedError

ID_BYTES = 32
MAX_INTEGER = 2**53  # integers stay exact in every language's numbers
TEXT_LIMITS = {  # characters
    "title": 120, "category": 40, "reason": 500, "proposer": 40, "class": 40, "device": 80, "platform": 80,
    "sandbox": 20, "kind": 40, "scale": 40,
}  # fmt: skip

Id = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Whole = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Title = Annotated[str, Meta(max_length=TEXT_LIMITS["title"])]
Category = Annotated[str, Meta(max_length=TEXT_LIMITS["category"])]
Reason = Annotated[str, Meta(max_length=TEXT_LIMITS["reason"])]
Proposer = Annotated[str, Meta(max_length=TEXT_LIMITS["proposer"])]
ClassName = Annotated[str, Meta(max_length=TEXT_LIMITS["class"])]
Device = Annotated[str, Meta(max_length=TEXT_LIMITS["device"])]
Platform = Annotated[str, Meta(max_length=TEXT_LIMITS["platform"])]
Sandbox = Annotated[str, Meta(max_length=TEXT_LIMITS["sandbox"])]
ScaleName = Annotated[str, Meta(max_length=TEXT_LIMITS["scale"])]
Kind = Annotated[str, Meta(max_length=TEXT_LIMITS["kind"])]

_ITS_VALUE = re.compile(r"Invalid (?:enum )?value .* - at", re.DOTALL)

Value = TypeVar("Value")


class Statement(msgspec.Struct, frozen=True):
    """A map on the wire, all text of which is plain. Fields without a default must be there; others are ignored."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str) and not is_plain(value):
                raise MalformedError(f"{name} has characters that are not plain text")


class Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A list on the wire with exactly these items, in this order."""


def read(decoder: msgspec.msgpack.Decoder[Value], data: bytes | msgspec.Raw, what: str) -> Value:
    """The typed value in bytes that passed `codec.decode` before. Raises MalformedError.

    Where msgspec quotes a value, the value is left out of the error: it is a stranger's text, and errors are logged.
    """
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise MalformedError(f"{what}: {_ITS_VALUE.sub('an unknown value - at', str(error))}") from None


def is_plain(text: str) -> bool:
    """Whether text has only characters a terminal and a page show as themselves (no control or format characters)."""
    if text.isprintable():  # which is stricter, and quick
        return True
    return not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for character in text)

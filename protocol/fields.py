"""Fields of a decoded map and the checks they must pass. Everything here raises MalformedError naming the field.

It knows shapes, ranges and lengths; what a record is, `records` knows.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

from protocol.codec import MalformedError

ID_BYTES = 32
TEXT_LIMITS = {
    "title": 120, "category": 40, "reason": 500, "proposer": 40, "class": 40, "device": 80, "platform": 80,
    "sandbox": 20, "kind": 40,
}  # fmt: skip


@dataclass(frozen=True)
class Fields:
    """A decoded map, by the name of what it says."""

    values: dict[str, Any]
    what: str

    def __post_init__(self) -> None:
        if not isinstance(self.values, dict):
            raise MalformedError(f"{self.what} is not a map")

    def get(self, name: str) -> Any:
        if name not in self.values:
            raise MalformedError(f"{self.what} has no {name}")
        return self.values[name]

    def wrong(self, name: str, expected: str) -> MalformedError:
        return MalformedError(f"{self.what}: {name} is not {expected}")

    def text(self, name: str) -> str:
        value, limit = self.get(name), TEXT_LIMITS[name]
        if not isinstance(value, str) or len(value) > limit or not is_plain(value):
            raise self.wrong(name, f"plain text of at most {limit} characters")
        return value

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.get(name)
        if value not in allowed:
            raise self.wrong(name, f"one of {', '.join(filter(None, allowed))}")
        return str(value)

    def integer(self, name: str, least: int, most: int) -> int:
        return checked_integer(self.get(name), f"{self.what}: {name}", least, most)

    def binary(self, name: str) -> bytes:
        return checked_binary(self.get(name), f"{self.what}: {name}", ID_BYTES)

    def optional_binary(self, name: str) -> bytes | None:
        return None if self.get(name) is None else self.binary(name)

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "a map")
        return value

    def ratio(self, name: str) -> float | None:
        value = self.get(name)
        return None if value is None else checked_number(value, f"{self.what}: {name}", 1e-6, 1e6)


def is_plain(text: str) -> bool:
    """Whether text has only characters a terminal and a page show as themselves (no control or format characters)."""
    if text.isprintable():  # which is stricter, and quick
        return True
    return not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for character in text)


def checked_binary(value: Any, where: str, length: int | None = None) -> bytes:
    if not isinstance(value, bytes) or (length is not None and len(value) != length):
        raise MalformedError(f"{where} is not binary" + (f" of {length} bytes" if length else ""))
    return value


def checked_integer(value: Any, where: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise MalformedError(f"{where}: not a whole number from {least} to {most}")
    return value


def checked_number(value: Any, where: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise MalformedError(f"{where}: not a number from {least:g} to {most:g}")
    return float(value)


def checked_sequence(value: Any, where: str, length: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise MalformedError(f"{where}: not a list of {length}")
    return value

"""A fault of an objective, as every part of the check reports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Something wrong: the file of the folder, and a sentence about it that says what to do."""

    file: str
    says: str

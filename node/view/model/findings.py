"""The results of the check-up behind `doctor`, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Finding:
    """The result of one check: with "warn" a node works less well, with "missing" it does not work."""

    name: str
    ok: Grade
    found: str
    remedy: str  # empty where there is nothing to do

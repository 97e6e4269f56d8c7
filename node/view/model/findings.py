"""What the check-up found of each need of a node, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Finding:
    """What was found of one need: "warn" is a node that works less well, "missing" one that does not work."""

    name: str
    ok: Grade
    found: str
    remedy: str  # empty where there is nothing to do

"""What became of a run, as the ledger keeps it and everything above compares it. Data only."""

from __future__ import annotations

from dataclasses import dataclass

HOST_FAILURES = ("killed", "timeout", "memory")  # failures that say more of this machine just now than of the source


@dataclass(frozen=True)
class Outcome:
    """What became of a run: a value and metrics from the judge, or a failure and its last log lines.

    Wall seconds leave out those in which the run was frozen.
    """

    value: float | None
    metrics: dict[str, float]
    checkpoints: tuple[tuple[int, float], ...]
    tokens: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory: int
    failure: str | None
    log_tail: str
    tier: str

"""What became of a run, as the ledger keeps it and everything above compares it. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.records import Failure

# Failures that say more about this machine at that moment than about the source.
HOST_FAILURES = (Failure.KILLED, Failure.TIMEOUT, Failure.MEMORY)


@dataclass(frozen=True)
class Outcome:
    """What became of a run: a value and metrics from the judge, or a failure and its last log lines."""

    value: float | None  # of the objective's metric; None where it failed
    metrics: dict[str, float]  # what else the judge reports
    checkpoints: tuple[tuple[int, float], ...]  # (steps, value) of the weights after so many steps
    tokens: int  # trained on
    cpu_seconds: float  # of training, the whole process tree
    wall_seconds: float  # of training and scoring, without those in which the run was frozen
    peak_memory: int  # resident bytes of the candidate
    failure: Failure | None
    log_tail: str
    tier: str  # of the sandbox it ran in
    # The source whose run at the same seed took turns with this one, so that the CPU times of the two compare.
    beside: bytes | None = None


@dataclass(frozen=True)
class PairOutcome:
    """Both runs of a pair. alternated: they took turns, so that CPU times compare whatever else the machine did."""

    parent: Outcome
    child: Outcome
    alternated: bool

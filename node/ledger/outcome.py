"""What became of a run, as everything above compares it, and as bytes that the ledger keeps. Data only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import msgpack

from node.ledger.replays import Replay
from protocol.records import Failure

# Failures that say more about this machine at that moment than about the source.
HOST_FAILURES = (Failure.KILLED, Failure.TIMEOUT, Failure.MEMORY)


class CurvePoint(NamedTuple):
    """A point of a loss curve: at a share of the budget, 0 to 1."""

    share: float
    loss: float  # in nats, the mean of a part of the budget that ends here, as the source reported it
    cost: float  # CPU seconds of the training until here, or a GPU's seconds; 0 where nobody measured them


@dataclass(frozen=True)
class Outcome:
    """What became of a run: a value and metrics from the judge, or a failure and its last log lines.

    One that was ended early, since it was plainly losing, has neither.
    """

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
    curve: tuple[CurvePoint, ...] = ()  # ascending; empty where the source reported no loss
    ended_at: float | None = None  # the share of the budget at which it was ended early
    behind: float | None = None  # then: ln(its loss / that of the source it is to beat), where it was ended
    replay: Replay | None = None  # what the judge recorded for people to look at; kept apart from the rest


@dataclass(frozen=True)
class PairOutcome:
    """Both runs of a pair. alternated: they took turns, so that CPU times compare whatever else the machine did."""

    parent: Outcome
    child: Outcome
    alternated: bool


def pack_outcome(outcome: Outcome) -> bytes:
    """An outcome without its replay (node.ledger.replays)."""
    fields = asdict(replace(outcome, replay=None))
    del fields["replay"]
    packed: bytes = msgpack.packb(fields)
    return packed


def unpack_outcome(packed: bytes) -> Outcome:
    """An outcome that this or an earlier version packed."""
    fields = msgpack.unpackb(packed)
    fields["checkpoints"] = tuple((int(step), float(value)) for step, value in fields["checkpoints"])
    fields["curve"] = tuple(CurvePoint(*point) for point in fields.get("curve", ()))
    failure = fields["failure"]
    fields["failure"] = Failure(failure) if failure is not None else None
    return Outcome(**fields)

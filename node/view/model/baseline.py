"""The value of the baseline, by which every view tells values: that of its first run on this machine.

It is the run that the log calls `baseline`. Another seed is another text, so each further run of the baseline has
another value; their mean is told beside, and nothing else is measured by it. All other values that are shown are
levels: this one, moved by a gain (`node/ledger/projections/levels.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from node.ledger.projections.levels import Levels
from node.ledger.store import Ledger
from node.objective.scales import DEVICES
from node.platform.log import Json
from protocol.records import Experiment, Record, Replication

MOST_VALUES = 500
OWN_RUNS, OF_RECORDS = "own runs", "records"


@dataclass(frozen=True)
class Baseline:
    """The baseline's source and values, the first of them first; () where none is known. of: whose they are."""

    source: bytes
    values: tuple[float, ...]
    of: str

    @property
    def value(self) -> float | None:
        return self.values[0] if self.values else None

    @property
    def is_final(self) -> bool:
        """Whether nothing that comes makes another value the first."""
        return self.of == OWN_RUNS

    def levels(self) -> Levels:
        """Levels that begin with it."""
        return Levels(self.source, self.value)

    def as_json(self) -> Json:
        """With the mean of all values and its standard error, None where it has none."""
        count = len(self.values)
        mean = math.fsum(self.values) / count if count else None
        error = None
        if mean is not None and count > 1:
            error = math.sqrt(math.fsum((value - mean) ** 2 for value in self.values) / (count - 1) / count)
        told = {"source": self.source.hex(), "value": self.value, "of": self.of}
        return told | {"n": count, "mean": mean, "mean_se": error}


def baseline(ledger: Ledger, records: Sequence[Record] | None = None) -> Baseline:
    """By the runs made here; where there are none, by those that records show, in the order of arrival."""
    source = ledger.settings.baseline
    made = [run.value for device in DEVICES for run in ledger.runs(source, device)]
    if values := tuple(value for value in made if value is not None):
        return Baseline(source, values, OWN_RUNS)
    bodies = (record.body for record in (ledger.all_records() if records is None else records))
    told = [
        value for body in bodies if isinstance(body, Experiment | Replication) and body.parent == source
        for value in _values_of_parent(body)
    ]  # fmt: skip
    return Baseline(source, tuple(told[:MOST_VALUES]), OF_RECORDS)


def _values_of_parent(body: Experiment | Replication) -> list[float]:
    """As levels begin: by the pairs, or the screening where nothing else was run."""
    screening = (body.screening,) if isinstance(body, Experiment) and body.screening is not None else ()
    return [pair.parent.value for pair in body.pairs or screening if pair.parent.value is not None]

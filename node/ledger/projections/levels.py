"""Levels: values of one author's sources that can be compared, worked out from the gains that its records show.

Each idea is run at the seeds of its own comparison, and another seed is another text: the value of a source that gained
nothing may lie below that of one that was kept. So a chart or a table of values shows levels: that of the baseline
is the value of its first run, and that of a child lies as far from its parent's as its effect says, cost included. Two
gains of 10 % and one of 5 %, from a first value of 4.0, come to 4.0 · .9 · .9 · .95 = 3.08.
"""

from __future__ import annotations

from protocol.records import Experiment, Record, Replication, metric_of


class Levels:
    """Levels of the sources of every author whose records are added, each author's in the order of its feed."""

    def __init__(self, baseline: bytes = b"", value: float | None = None) -> None:
        """value: the level of the baseline, for every author; without it that of a first run that a record shows."""
        self._baseline = baseline, value
        self._of: dict[tuple[bytes, bytes], float] = {}  # by author and source

    def add(self, record: Record) -> tuple[float, float] | None:
        """Take in a record: the levels of its parent and of its child. None where it shows no effect."""
        body = record.body
        match body:
            case Experiment(parent=before, child=after, effect=effect):
                pairs = body.pairs or ((body.screening,) if body.screening else ())
                measured = [pair.parent.value for pair in pairs if pair.parent.value is not None]
            case Replication(base=bytes() as before, adopted=bytes() as after, adoption=effect):
                measured = []
            case _:
                return None
        known = self.of(record.author, before)
        if known is None and measured:
            known = self._of[record.author, before] = sum(measured) / len(measured)
        if known is None or effect is None:
            return None
        level = self._of[record.author, after] = metric_of(body).moved(known, effect.mean)
        return known, level

    def of(self, author: bytes, source: bytes) -> float | None:
        """The level of an author's source, where it is known."""
        baseline, value = self._baseline
        return self._of.get((author, source), value if source == baseline else None)

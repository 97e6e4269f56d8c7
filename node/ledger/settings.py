"""What a ledger remembers beside records, sources and runs: a few named values, each with its type.

Every key of the ledger's `meta` table but its schema version is written here, once. Keys and values are as the first
version stored them, so some keys ("outlook") are older than the names of their properties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from protocol.metric import LOSS, Metric

NO_SOURCE = bytes(32)  # where no baseline was noted yet


class MetaStore(Protocol):
    """Keeps bytes by name."""

    def meta(self, key: str) -> bytes | None: ...

    def set_meta(self, key: str, value: bytes) -> None: ...


class LedgerSettings:
    """The named values of one ledger; every property reads from it, and every assignment is stored at once."""

    def __init__(self, store: MetaStore) -> None:
        self._store = store

    def describe_objective(
        self,
        objective: bytes,
        baseline: bytes,
        name: str,
        metric: str,
        measure: Metric,
        trust: str,
        editable: Sequence[str],
    ) -> None:
        """Note what this ledger is about, for commands that read it without the objective's files."""
        self._store.set_meta("objective", objective)
        self._store.set_meta("baseline", baseline)
        self._store.set_meta("objective name", name.encode())
        self._store.set_meta("metric", metric.encode())
        self._store.set_meta("measure", msgspec.msgpack.encode(measure))
        self._store.set_meta("trust", trust.encode())
        self._store.set_meta("editable", msgspec.msgpack.encode(editable))

    @property
    def objective(self) -> bytes | None:
        """The id of the objective that was researched last in this home."""
        return self._store.meta("objective")

    @property
    def objective_name(self) -> str:
        return self._text("objective name")

    @property
    def metric(self) -> str:
        return self._text("metric")

    @property
    def measure(self) -> Metric:
        """How values of the metric compare."""
        packed = self._store.meta("measure")
        return LOSS if packed is None else msgspec.msgpack.decode(packed, type=Metric)

    @property
    def trust(self) -> str:
        """Who measures the values: "judged" or "self-measured"."""
        return self._text("trust") or "judged"

    @property
    def editable(self) -> tuple[str, ...]:
        """The paths of the objective's editable files; in a home of the first version the one file it had."""
        packed = self._store.meta("editable")
        return ("train.py",) if packed is None else msgspec.msgpack.decode(packed, type=tuple[str, ...])

    @property
    def baseline(self) -> bytes:
        """The source that every lineage starts from."""
        return self._store.meta("baseline") or NO_SOURCE

    @property
    def author(self) -> bytes:
        """This node's own author key; empty in a ledger in which no node has worked yet."""
        return self._store.meta("author") or b""

    @author.setter
    def author(self, key: bytes) -> None:
        self._store.set_meta("author", key)

    @property
    def strategy_snapshot(self) -> bytes | None:
        """What the strategy's last choice was based on, packed by `proposers.strategy_snapshot`."""
        return self._store.meta("outlook")

    @strategy_snapshot.setter
    def strategy_snapshot(self, packed: bytes) -> None:
        self._store.set_meta("outlook", packed)

    @property
    def machine_speeds(self) -> bytes | None:
        """JSON of `trials.compute_class`: {"count": measurements ever made, "speeds": tokens/s of the last of them}."""
        return self._store.meta("speeds")

    @machine_speeds.setter
    def machine_speeds(self, note: bytes) -> None:
        self._store.set_meta("speeds", note)

    @property
    def spending(self) -> bytes | None:
        """What models have cost, as JSON of `proposers.spending`."""
        return self._store.meta("spending")

    @spending.setter
    def spending(self, note: bytes) -> None:
        self._store.set_meta("spending", note)

    def _text(self, key: str) -> str:
        return (self._store.meta(key) or b"").decode("utf-8", "replace")

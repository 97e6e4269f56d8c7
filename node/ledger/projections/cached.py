"""A fold over the ledger's records, worked out anew only when there are new ones.

The folds themselves are in `views` and `queue`, and pure; this remembers the last outcome of one, for those who ask
every second. It knows of the ledger only how many records it holds, which never shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Counted(Protocol):
    """What holds records and only ever gets more."""

    def count(self) -> int: ...


class Fold(Generic[T]):
    """Call it for the outcome. Whoever gets it must not change it."""

    def __init__(self, records: Counted, fold: Callable[[], T]) -> None:
        self._records = records
        self._fold = fold
        self._known: tuple[int, T] | None = None

    def __call__(self) -> T:
        count = self._records.count()
        if self._known is None or self._known[0] != count:
            self._known = (count, self._fold())
        return self._known[1]

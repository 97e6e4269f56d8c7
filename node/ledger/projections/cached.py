"""A projection of the ledger's records, worked out anew only when there are new ones.

The projections themselves are pure functions beside this module. This remembers the last result of one, for views that
are refreshed every second. It knows of the ledger only how many records it holds, a number that never falls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Counted(Protocol):
    """A collection of records that only grows."""

    def count(self) -> int: ...


class CachedProjection(Generic[T]):
    """Call it for the result, which the caller must not change."""

    def __init__(self, records: Counted, project: Callable[[], T]) -> None:
        self._records = records
        self._project = project
        self._known: tuple[int, T] | None = None

    def __call__(self) -> T:
        count = self._records.count()
        if self._known is None or self._known[0] != count:
            self._known = (count, self._project())
        return self._known[1]

    def forget(self) -> None:
        """Have it worked out again at the next call: something besides the records has changed."""
        self._known = None

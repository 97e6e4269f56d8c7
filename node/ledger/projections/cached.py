"""A projection of the ledger's records, worked out anew only when other ones are held.

The projections themselves are pure functions beside this module. This remembers the last result of one, for views that
are refreshed every second. It knows of the ledger only a version that changes with the records held.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Versioned(Protocol):
    """A collection of records, and a version that is another one whenever other records are in it."""

    def version(self) -> Hashable: ...


class CachedProjection(Generic[T]):
    """Call it for the result, which the caller must not change."""

    def __init__(self, records: Versioned, project: Callable[[], T]) -> None:
        self._records = records
        self._project = project
        self._known: tuple[Hashable, T] | None = None

    def __call__(self) -> T:
        version = self._records.version()
        if self._known is None or self._known[0] != version:
            self._known = (version, self._project())
        return self._known[1]

    def forget(self) -> None:
        """Have it worked out again at the next call: something besides the records has changed."""
        self._known = None

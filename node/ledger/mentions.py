"""Mentions: which sources records refer to, and which of these are still wanted.

It knows records and ids of sources; whether a source is here it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from protocol.records import Body, Experiment, Hypothesis, Record, Replication, Transfer


class Wanted:
    """The sources that records refer to and that are not here, each with the record that mentioned it first."""

    def __init__(self, is_here: Callable[[bytes], bool]) -> None:
        self._is_here = is_here
        self._by_source: dict[bytes, Record] = {}

    def note(self, record: Record) -> None:
        for source in sources_of(record.body):
            if source not in self._by_source and not self._is_here(source):
                self._by_source[source] = record

    def arrived(self, source: bytes) -> None:
        self._by_source.pop(source, None)

    def forget(self, authors: AbstractSet[bytes], left: Iterable[Record]) -> None:
        """The records of these authors are gone; `left` are all others."""
        lost = [source for source, record in self._by_source.items() if record.author in authors]
        for source in lost:
            del self._by_source[source]
        if lost:
            gone = set(lost)
            for record in left:
                if not gone.isdisjoint(sources_of(record.body)):
                    self.note(record)

    def clear(self) -> None:
        self._by_source.clear()

    def sources(self) -> dict[bytes, Record]:
        """In the order they were first mentioned."""
        return dict(self._by_source)


def sources_of(body: Body) -> tuple[bytes, ...]:
    """The sources a record refers to: what a node needs to understand and re-run it."""
    match body:
        case Experiment():
            return (body.parent, body.child)
        case Replication():
            return (body.adopted,) if body.adopted else ()
        case Hypothesis():
            return tuple(source for source in (body.base, body.edit) if source) if body.edit else ()
        case _:
            return ()


def mentioned_by(body: Body) -> tuple[bytes, ...]:
    """All sources a record names, also those that need not be fetched to re-run it."""
    match body:
        case Replication() | Transfer():
            return (body.parent, body.child, *sources_of(body))
        case Hypothesis():
            return (*([body.base] if body.base else []), *sources_of(body))
        case _:
            return sources_of(body)

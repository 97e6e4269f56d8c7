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
        self._set_aside: dict[bytes, tuple[float, Record]] = {}  # until when

    def note(self, record: Record) -> None:
        for source in sources_of(record.body):
            if source not in self._by_source and source not in self._set_aside and not self._is_here(source):
                self._by_source[source] = record

    def arrived(self, source: bytes) -> None:
        self._by_source.pop(source, None)
        self._set_aside.pop(source, None)

    def by(self, source: bytes) -> Record | None:
        """The record that mentioned a wanted source first; None where it is not wanted."""
        return self._by_source.get(source)

    def set_aside(self, source: bytes, record: Record, until: float) -> None:
        """There is no room for it: it is not wanted for a while."""
        self._by_source.pop(source, None)
        self._set_aside[source] = until, record

    def want_again(self, now: float) -> None:
        """Want what was set aside long enough ago."""
        for source in [source for source, (until, _) in self._set_aside.items() if until <= now]:
            self._by_source[source] = self._set_aside.pop(source)[1]

    def forget(self, authors: AbstractSet[bytes], left: Iterable[Record]) -> None:
        """The records of these authors are gone; `left` are all others."""
        for source in [source for source, (_, record) in self._set_aside.items() if record.author in authors]:
            del self._set_aside[source]
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
        self._set_aside.clear()

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

"""Rebasing: a change made to one source, carried over to another by a three-way merge.

Each merge is remembered for as long as the source stays the same, because making it again costs a process. To a source
that was never the same, as one of another objective, a change is carried over by the names of what it changes.
"""

from __future__ import annotations

from collections.abc import Callable

from node.execution.parsing.parser import Side
from node.objective.edits import EditError
from node.objective.trees import MAX_SOURCE_CHARACTERS
from node.proposers.proposer import Context

ReadSource = Callable[[bytes], bytes | None]


class Rebaser:
    """Carries changes between sources of the ledger onto the source that is being edited."""

    def __init__(self, read: ReadSource) -> None:
        self._read = read
        self._source_id = b""
        self._made: dict[tuple[bytes | None, bytes, bytes, Side | None], str | None] = {}

    async def onto(self, context: Context, *changes: tuple[bytes | None, bytes]) -> str | None:
        """The present source with each change, from a base to an edited source, in order.

        changes: (base, edited) source ids; a base of None stands for the present source. None on a conflict, while a
        source has not arrived, and when the merged source was tried or changes nothing.
        """
        source = await self.merged(context, *changes)
        return source if source is not None and await context.is_new(source) else None

    async def merged(
        self, context: Context, *changes: tuple[bytes | None, bytes], on_conflict: Side | None = None
    ) -> str | None:
        """The same, whether that source is new or not. on_conflict: as `SourceParser.merge` has it."""
        if self._source_id != context.source_id:
            self._source_id = context.source_id
            self._made.clear()
        source: str | None = context.source
        for base, edited in changes:
            source = await self._merged(context, base, source, edited, on_conflict) if source is not None else None
        return source

    async def by_names(self, context: Context, base: bytes, edited: bytes) -> str | None:
        """The present source with a change of one that shares definitions with it (`node.objective.carrying`)."""
        before, after = self._text(base), self._text(edited)
        if before is None or after is None:
            return None
        try:
            source = await context.parser.carry(before, after, context.source)
        except EditError:
            return None
        return source if await context.is_new(source) else None

    async def _merged(
        self, context: Context, base: bytes | None, ours: str, edited: bytes, on_conflict: Side | None
    ) -> str | None:
        theirs = self._text(edited)
        before = context.source if base is None else self._text(base)
        if theirs is None or before is None:
            return None
        key = (base, edited, await context.parser.fingerprint(ours), on_conflict)
        if key not in self._made:
            self._made[key] = await context.parser.merge(before, ours, theirs, on_conflict)
        return self._made[key]

    def _text(self, source: bytes) -> str | None:
        data = self._read(source)
        if data is None or len(data) > MAX_SOURCE_CHARACTERS:
            return None
        try:
            return data.decode()
        except UnicodeDecodeError:
            return None

"""Finds the tried idea that an edit repeats, so that it does not cost another run.

It reads sources of the ledger and asks the parser what edits change; what makes two ideas the same is in `novelty`.
Which results are still valid for the present source, the context says.
"""

from __future__ import annotations

from collections.abc import Iterator

import trio

from node.objective.edits import EditError
from node.objective.trees import MAX_SOURCE_CHARACTERS
from node.proposers.novelty import Described, rarities, same_idea
from node.proposers.proposer import Context, TriedResult
from node.proposers.rebase import ReadSource
from protocol.records import Decision

MOST_COMPARED = 300  # tried ideas, the latest on this source first; each takes some milliseconds once
COMPARING_SECONDS = 5.0  # beside the time that a model takes for an answer


class Repeats:
    """Compares an idea with what was tried and need not be tried again. read: content of the ledger by id."""

    def __init__(self, read: ReadSource) -> None:
        self._read = read

    async def of(self, context: Context, title: str, source: str) -> TriedResult | None:
        """The result of the same idea on this source or one close to it; None where there is none, or in doubt."""
        try:
            idea = Described(title, await context.parser.change(context.source, source))
        except EditError:
            return None
        rarity = rarities(result.title for result in context.results)
        end = trio.current_time() + COMPARING_SECONDS
        for result in _settled(context):
            if trio.current_time() > end:
                return None
            other = await self._described(context, result)
            if other is None:
                continue
            # The same idea, made to work: an edit that failed is only repeated by itself.
            failed = result.decision == Decision.FAILED
            if idea.change == other.change if failed else same_idea(idea, other, rarity):
                return result
        return None

    async def _described(self, context: Context, result: TriedResult) -> Described | None:
        before, after = self._text(result.parent), self._text(result.child)
        if before is None or after is None:
            return None
        try:
            return Described(result.title, await context.parser.change(before, after))
        except EditError:
            return None

    def _text(self, source: bytes) -> str | None:
        data = self._read(source)
        if data is None or len(data) > MAX_SOURCE_CHARACTERS:
            return None
        return data.decode("utf-8", errors="replace")


def _settled(context: Context) -> Iterator[TriedResult]:
    """Results that hold for the source, those on it first, each the latest first."""
    found = [result for result in reversed(context.results) if (result.parent, result.child) in context.settled]
    yield from sorted(found, key=lambda result: result.parent != context.source_id)[:MOST_COMPARED]

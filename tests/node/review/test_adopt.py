"""A discovery could be adopted as it is, merged with this node's own lineage, or as a whole instead of it."""

from __future__ import annotations

from contextlib import aclosing

from msgspec.structs import replace

from node.review.adopt import adoption_candidates
from node.trials.cached_runner import CachedRunner
from protocol.records import Effect, Record
from tests.node.execution.parsing.hostile_texts import endless
from tests.node.records_for_tests import Author, experiment, replication, source

APART = "\n\n\n\n"  # so that neighbours do not conflict


def text(**changes: int) -> str:
    """A source whose constants have these values, the others 0."""
    return APART.join(f"{name} = {changes.get(name, 0)}" for name in "abcd") + "\n"


class Lineages:
    """What two authors have found, with the sources, in a node's ledger."""

    def __init__(self, cached_runner: CachedRunner) -> None:
        self.cached_runner = cached_runner
        self.me, self.peer = Author("me"), Author("peer")
        cached_runner.ledger.put_blob(text().encode())

    def found(self, author: Author, before: str, after: str, gain: float = 0.1) -> Record:
        for content in (before, after):
            self.cached_runner.ledger.put_blob(content.encode())
        title = f"step {len(author.records)}"
        return self.hear(author.write(experiment(title, source(before), source(after), effect=Effect(-gain, 0.01, 2))))

    def hear(self, record: Record) -> Record:
        self.cached_runner.ledger._records.append(record)  # the ledger is another objective's
        return record

    def adopt(self, claim: Record, before: str, after: str, route: str, author: Author | None = None) -> None:
        self.cached_runner.ledger.put_blob(after.encode())
        adopted = replace(replication(claim, adopted=source(after)), route=route, base=source(before))
        self.hear((author or self.me).write(adopted))

    async def candidates(self, claim: Record, best: str) -> list[tuple[str, str]]:
        """How the claim could be adopted, as (route, source)."""
        read = self.cached_runner.source_text
        async with aclosing(adoption_candidates(self.cached_runner, claim, self.me.key, source(best))) as found:
            return [(route, read(made)) async for made, route in found]


async def test_what_was_made_from_this_best_is_taken_as_it_is(cached_runner: CachedRunner) -> None:
    lineages = Lineages(cached_runner)
    claim = lineages.found(lineages.peer, text(), text(a=1))
    assert await lineages.candidates(claim, text()) == [("child", text(a=1))]
    lineages.adopt(claim, text(), text(a=1), "child")
    assert await lineages.candidates(claim, text(a=1)) == [], "it is here already"


async def test_what_takes_too_long_to_parse_is_not_adopted(cached_runner: CachedRunner) -> None:
    lineages = Lineages(cached_runner)
    claim = lineages.found(lineages.peer, text(), endless())
    assert await lineages.candidates(claim, text()) == []


async def test_a_longer_lineage_from_this_best_is_adopted_whole_or_by_its_last_change(
    cached_runner: CachedRunner,
) -> None:
    lineages = Lineages(cached_runner)
    lineages.found(lineages.peer, text(), text(a=1))
    claim = lineages.found(lineages.peer, text(a=1), text(a=1, b=1))
    assert await lineages.candidates(claim, text()) == [("whole", text(a=1, b=1)), ("merge", text(b=1))]
    lineages.adopt(claim, text(), text(a=1, b=1), "whole")
    assert await lineages.candidates(claim, text(a=1, b=1)) == []


async def test_two_lineages_are_merged_from_where_they_parted(cached_runner: CachedRunner) -> None:
    lineages = Lineages(cached_runner)
    first = lineages.found(lineages.me, text(), text(a=1))
    lineages.found(lineages.me, text(a=1), text(a=1, b=1))
    lineages.adopt(first, text(), text(a=1), "child", lineages.peer)
    lineages.found(lineages.peer, text(a=1), text(a=1, c=1), gain=0.02)
    claim = lineages.found(lineages.peer, text(a=1, c=1), text(a=1, c=1, d=1), gain=0.02)
    assert await lineages.candidates(claim, text(a=1, b=1)) == [("merge", text(a=1, b=1, c=1, d=1))]
    more = lineages.found(lineages.peer, text(a=1, c=1, d=1), text(a=1, c=2, d=1), gain=0.2)
    assert await lineages.candidates(more, text(a=1, b=1)) == [
        ("merge", text(a=1, b=1, c=2, d=1)),
        ("whole", text(a=1, c=2, d=1)),
    ]


async def test_where_both_changed_the_same_place_either_version_is_tried(cached_runner: CachedRunner) -> None:
    lineages = Lineages(cached_runner)
    lineages.found(lineages.me, text(), text(a=1))
    lineages.found(lineages.me, text(a=1), text(a=1, b=1))
    lineages.found(lineages.peer, text(), text(a=2), gain=0.02)
    claim = lineages.found(lineages.peer, text(a=2), text(a=2, c=1), gain=0.02)
    assert await lineages.candidates(claim, text(a=1, b=1)) == [
        ("merge", text(a=1, b=1, c=1)),
        ("merge", text(a=2, b=1, c=1)),
    ]


async def test_what_was_merged_goes_back_to_both_lineages(cached_runner: CachedRunner) -> None:
    lineages = Lineages(cached_runner)
    lineages.found(lineages.me, text(), text(a=1))
    claim = lineages.found(lineages.peer, text(), text(b=1))
    lineages.adopt(claim, text(a=1), text(a=1, b=1), "merge")
    assert await lineages.candidates(claim, text(a=1, b=1)) == []
    later = lineages.found(lineages.peer, text(b=1), text(b=1, c=1))
    assert await lineages.candidates(later, text(a=1, b=1)) == [("merge", text(a=1, b=1, c=1))]


async def test_a_lineage_whose_beginning_is_not_here_is_merged_by_its_last_change(cached_runner: CachedRunner) -> None:
    lineages = Lineages(cached_runner)
    claim = lineages.found(lineages.peer, text(a=5), text(a=5, b=1))
    lineages.found(lineages.me, text(), text(c=1), gain=0.2)
    assert await lineages.candidates(claim, text(c=1)) == [("merge", text(b=1, c=1))]

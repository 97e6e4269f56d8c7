"""A discovery could be taken over as it is, merged with this node's own line, or as a whole instead of it."""

from __future__ import annotations

from contextlib import aclosing

from msgspec.structs import replace

from node.adoption import ways
from node.experiment.laboratory import Laboratory
from protocol.records import Effect, Record
from tests.node.records_for_tests import Author, experiment, replication, source

APART = "\n\n\n\n"  # so that neighbours do not conflict


def text(**changes: int) -> str:
    """A source whose constants have these values, the others 0."""
    return APART.join(f"{name} = {changes.get(name, 0)}" for name in "abcd") + "\n"


class Lines:
    """What two authors have found, with the sources, in a node's ledger."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.laboratory = laboratory
        self.me, self.peer = Author("me"), Author("peer")
        laboratory.ledger.put_blob(text().encode())

    def found(self, author: Author, before: str, after: str, gain: float = 0.1) -> Record:
        for content in (before, after):
            self.laboratory.ledger.put_blob(content.encode())
        title = f"step {len(author.records)}"
        return self.hear(author.write(experiment(title, source(before), source(after), effect=Effect(-gain, 0.01, 2))))

    def hear(self, record: Record) -> Record:
        self.laboratory.ledger._records.append(record)  # the ledger is another objective's
        return record

    def adopt(self, claim: Record, before: str, after: str, route: str, author: Author | None = None) -> None:
        self.laboratory.ledger.put_blob(after.encode())
        adopted = replace(replication(claim, adopted=source(after)), route=route, base=source(before))
        self.hear((author or self.me).write(adopted))

    async def ways(self, claim: Record, best: str) -> list[tuple[str, str]]:
        """The ways by which the claim could be taken over, as (route, source)."""
        read = self.laboratory.source_text
        async with aclosing(ways(self.laboratory, claim, self.me.key, source(best))) as found:
            return [(route, read(made)) async for made, route in found]


async def test_what_was_made_from_this_best_is_taken_as_it_is(laboratory: Laboratory) -> None:
    lines = Lines(laboratory)
    claim = lines.found(lines.peer, text(), text(a=1))
    assert await lines.ways(claim, text()) == [("child", text(a=1))]
    lines.adopt(claim, text(), text(a=1), "child")
    assert await lines.ways(claim, text(a=1)) == [], "it is here already"


async def test_a_longer_line_from_this_best_is_taken_whole_or_its_last_change(laboratory: Laboratory) -> None:
    lines = Lines(laboratory)
    lines.found(lines.peer, text(), text(a=1))
    claim = lines.found(lines.peer, text(a=1), text(a=1, b=1))
    assert await lines.ways(claim, text()) == [("whole", text(a=1, b=1)), ("merge", text(b=1))]
    lines.adopt(claim, text(), text(a=1, b=1), "whole")
    assert await lines.ways(claim, text(a=1, b=1)) == []


async def test_two_lines_are_merged_from_where_they_parted(laboratory: Laboratory) -> None:
    lines = Lines(laboratory)
    first = lines.found(lines.me, text(), text(a=1))
    lines.found(lines.me, text(a=1), text(a=1, b=1))
    lines.adopt(first, text(), text(a=1), "child", lines.peer)
    lines.found(lines.peer, text(a=1), text(a=1, c=1), gain=0.02)
    claim = lines.found(lines.peer, text(a=1, c=1), text(a=1, c=1, d=1), gain=0.02)
    assert await lines.ways(claim, text(a=1, b=1)) == [("merge", text(a=1, b=1, c=1, d=1))]
    more = lines.found(lines.peer, text(a=1, c=1, d=1), text(a=1, c=2, d=1), gain=0.2)
    assert await lines.ways(more, text(a=1, b=1)) == [
        ("merge", text(a=1, b=1, c=2, d=1)),
        ("whole", text(a=1, c=2, d=1)),
    ]


async def test_where_both_changed_the_same_place_either_version_is_tried(laboratory: Laboratory) -> None:
    lines = Lines(laboratory)
    lines.found(lines.me, text(), text(a=1))
    lines.found(lines.me, text(a=1), text(a=1, b=1))
    lines.found(lines.peer, text(), text(a=2), gain=0.02)
    claim = lines.found(lines.peer, text(a=2), text(a=2, c=1), gain=0.02)
    assert await lines.ways(claim, text(a=1, b=1)) == [
        ("merge", text(a=1, b=1, c=1)),
        ("merge", text(a=2, b=1, c=1)),
    ]


async def test_what_was_merged_goes_back_to_both_lines(laboratory: Laboratory) -> None:
    lines = Lines(laboratory)
    lines.found(lines.me, text(), text(a=1))
    claim = lines.found(lines.peer, text(), text(b=1))
    lines.adopt(claim, text(a=1), text(a=1, b=1), "merge")
    assert await lines.ways(claim, text(a=1, b=1)) == []
    later = lines.found(lines.peer, text(b=1), text(b=1, c=1))
    assert await lines.ways(later, text(a=1, b=1)) == [("merge", text(a=1, b=1, c=1))]


async def test_a_line_whose_beginning_is_not_here_is_merged_by_its_last_change(laboratory: Laboratory) -> None:
    lines = Lines(laboratory)
    claim = lines.found(lines.peer, text(a=5), text(a=5, b=1))
    lines.found(lines.me, text(), text(c=1), gain=0.2)
    assert await lines.ways(claim, text(c=1)) == [("merge", text(b=1, c=1))]

"""What finding out where two nodes differ costs: bytes that each side says, and rounds, before any record is sent.

    .venv/bin/python scripts/sync_costs.py [--few 16] [--list-at-once 64]

Two nodes hold the feeds of as many authors, and one of them has a new record in some. The last column is what one
vector of all feeds takes. The options try other sizes than the protocol's.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from protocol import digests, sync
from protocol.digests import FeedTree
from protocol.feed import FeedHead, Fork
from protocol.messages import Vector, encode_message

OBJECTIVE = bytes(32)
AUTHORS = (10, 35, 64, 100, 1_000, 10_000, 50_000)
CHANGED = (0, 1, 10, 100, 1_000)
FEED_BYTES = 74  # of one feed in a vector


class Heads:
    """A store of which only the heads of its feeds are asked for."""

    def __init__(self, heads: FeedTree) -> None:
        self.heads = heads

    def records(self, author: bytes, start: int, limit: int) -> list[bytes]:
        return []

    def fork(self, author: bytes) -> Fork | None:
        return None


def heads(authors: int, changed: int) -> Heads:
    tree = FeedTree()
    for number in range(authors):
        key = hashlib.sha256(b"author %d" % number).digest()
        tree.put(FeedHead(key, 1000 + (number < changed), key))
    return Heads(tree)


def cost(authors: int, changed: int) -> tuple[int, int]:
    """Bytes of one side's vectors, and rounds."""
    sides = [sync.Reconciliation(heads(authors, extra), OBJECTIVE) for extra in (0, changed)]
    said: list[Sequence[object]] = [side.start() for side in sides]
    size = rounds = 0
    while said[0] and isinstance(said[0][0], Vector):
        size += len(encode_message(said[0][0]))
        rounds += 1
        said = [list(sides[0].receive(said[1][0]).send), list(sides[1].receive(said[0][0]).send)]
    return size, rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=digests.FEW)
    parser.add_argument("--list-at-once", type=int, default=sync.LIST_AT_ONCE)
    given = parser.parse_args()
    digests.FEW = sync.FEW = given.few  # type: ignore[attr-defined]
    sync.LIST_AT_ONCE = given.list_at_once
    print("authors", *(f"{changed} new".rjust(14) for changed in CHANGED), "all feeds".rjust(12))
    for authors in AUTHORS:
        cells = [cost(authors, changed) for changed in CHANGED if changed <= authors]
        row = [f"{size:,} ({rounds})".rjust(14) for size, rounds in cells] + [" " * 14] * (len(CHANGED) - len(cells))
        print(f"{authors:>7}", *row, f"{authors * FEED_BYTES:,}".rjust(12))


if __name__ == "__main__":
    main()

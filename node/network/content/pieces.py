"""Pieces: which parts of content are here, which are asked for and of whom, and what to ask a peer for next.

It decides and does nothing itself: no streams, files or clock. Pieces are asked for in order, each of one peer; when
all are asked for, those that are still on their way are asked of a second peer as well, so that the download does not
end at the pace of its slowest peer (BitTorrent calls this its end game).
"""

from __future__ import annotations

from collections.abc import Iterable

from node.network.parameters import (
    PIECE_HOLDERS,
)


class Pieces:
    """Pieces 0 to `count` - 1, of which `here` are here already."""

    def __init__(self, count: int, here: Iterable[int]) -> None:
        self._count = count
        self._missing = dict.fromkeys(sorted(set(range(count)) - set(here)))
        self._asked: dict[int, set[str]] = {}  # in the order in which they were first asked for

    @property
    def here(self) -> int:
        """How many pieces are here."""
        return self._count - len(self._missing)

    @property
    def complete(self) -> bool:
        return not self._missing

    def next_for(self, peer: str) -> int | None:
        """The piece to ask this peer for, which is from then on asked for; None when there is none for it."""
        fresh = next((index for index in self._missing if index not in self._asked), None)
        if fresh is not None:
            self._asked[fresh] = {peer}
            return fresh
        for index, holders in self._asked.items():
            if peer not in holders and len(holders) < PIECE_HOLDERS:
                holders.add(peer)
                return index
        return None

    def has_for(self, peer: str) -> bool:
        """Whether there is a piece to ask this peer for."""
        free = len(self._missing) > len(self._asked)
        return free or any(peer not in holders and len(holders) < PIECE_HOLDERS for holders in self._asked.values())

    def lacks(self, index: int) -> bool:
        """Whether a piece is not here yet."""
        return index in self._missing

    def arrived(self, index: int) -> None:
        """A piece came and was right."""
        self._missing.pop(index, None)
        self._asked.pop(index, None)

    def released(self, index: int, peer: str) -> None:
        """This peer is not expected to send this piece any more."""
        holders = self._asked.get(index)
        if holders is not None:
            holders.discard(peer)
            if not holders:
                del self._asked[index]

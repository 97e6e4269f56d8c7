"""Seats: how many sessions of a kind peers may hold with this node at once, and who gives way where all are taken.

A peer has its few. Where all seats are taken, the slowest session of whoever holds most of them ends, so that a few
bytes a second keep no seat from somebody who would use it. Those that this node opens itself take no seat.

It knows peers, crowds (those counted together: a network group, or a peer) and bytes; not what is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from node.network.parameters import SEAT_LEAST_RATE, SEAT_SETTLE_SECONDS


@dataclass(eq=False)
class Seat:
    """One session under way. `bytes_moved` is for whoever holds it to count up."""

    peer: str
    crowd: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    since: float = field(default_factory=trio.current_time)
    bytes_moved: int = 0

    def rate(self, now: float) -> float:
        """Bytes a second, as if it had lasted for SEAT_SETTLE_SECONDS at least."""
        return self.bytes_moved / max(SEAT_SETTLE_SECONDS, now - self.since)


class Seats:
    """The seats of one kind of session."""

    def __init__(self, per_peer: int, in_all: int, crowd_of: Callable[[str], str]) -> None:
        self._per_peer = per_peer
        self._in_all = in_all
        self._crowd_of = crowd_of
        self._taken: set[Seat] = set()

    def is_over_its_own(self, peer: str) -> bool:
        """Whether this peer has all the seats that one peer may have."""
        return sum(seat.peer == peer for seat in self._taken) >= self._per_peer

    @contextmanager
    def take(self, peer: str) -> Iterator[Seat | None]:
        """A seat for the block, or None where there is none; another session may have been ended for it."""
        seat = Seat(peer, self._crowd_of(peer))
        if self.is_over_its_own(peer) or not self._make_room(seat):
            yield None
            return
        self._taken.add(seat)
        try:
            with seat.scope:
                yield seat
        finally:
            self._taken.discard(seat)

    def _make_room(self, newcomer: Seat) -> bool:
        if len(self._taken) < self._in_all:
            return True
        out = self._to_end(newcomer)
        if out is None:
            return False
        self._taken.discard(out)
        out.scope.cancel()
        return True

    def _to_end(self, newcomer: Seat) -> Seat | None:
        """The session to end: the slowest, first of whoever holds most seats, but none that moves well of a crowd that
        holds no more than the newcomer's would.
        """
        now = newcomer.since
        held = Counter(seat.crowd for seat in self._taken)
        own = held[newcomer.crowd] + 1
        settled = [
            seat
            for seat in self._taken
            if now - seat.since >= SEAT_SETTLE_SECONDS and (held[seat.crowd] > own or seat.rate(now) < SEAT_LEAST_RATE)
        ]
        return min(settled, key=lambda seat: (-held[seat.crowd], seat.rate(now)), default=None)

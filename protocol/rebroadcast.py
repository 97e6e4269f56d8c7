"""Rebroadcast: which records that sync brought this node are worth bringing to its other peers, and when.

Syncing with every peer after every session would end in a broadcast storm: in a busy swarm any two nodes differ by what
gossip is just delivering to everybody, so every session would cause one with each other peer, and those more. The
remedy is the one of Ni, Tseng, Chen and Sheu ("The broadcast storm problem in a mobile ad hoc network", 1999): wait,
and do not rebroadcast what was meanwhile heard again, here by gossip. What gossip does not deliver is history from
another part of the swarm. A lot of it is rebroadcast soon, and so is a record of a kind that is gossiped without delay;
the rest a little after the time that a record may wait for company before it is gossiped.

It knows record ids and the times it is given, in seconds, of any clock that does not go back.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

SOON_SECONDS = 3.0  # for gossip to deliver what it does not hold back: 0.6 s at worst in docs/scaling.md, and a margin
MANY_RECORDS = 16  # this many at once are history, and not what gossip is about to deliver
LATE_SECONDS = 45.0  # the 30 s for which gossip may hold a record back, and its way through a large swarm
MAX_PENDING = 16_384  # records; of more, the oldest are forgotten, which a later session makes up for


class Rebroadcast:
    """What sync has brought to one node and gossip has not delivered so far."""

    def __init__(self) -> None:
        self._pending: OrderedDict[bytes, float] = OrderedDict()  # record id: when sync brought it
        self._urgent: OrderedDict[bytes, float] = OrderedDict()  # of these, what gossip would have delivered by now

    def synced(self, record_id: bytes, now: float, urgent: bool = False) -> None:
        """Sync brought a record that is new here. `urgent`: of a kind that is gossiped without delay."""
        self._pending[record_id] = now
        if urgent:
            self._urgent[record_id] = now
        if len(self._pending) > MAX_PENDING:
            oldest, _ = self._pending.popitem(last=False)
            self._urgent.pop(oldest, None)

    def gossiped(self, record_id: bytes) -> None:
        """Gossip delivered a record that was here already, so it reaches the other peers as well."""
        self._pending.pop(record_id, None)
        self._urgent.pop(record_id, None)

    def due(self) -> float | None:
        """When the next rebroadcast is due if nothing changes until then; None while nothing is pending.

        With records at 0, 1, 2 ... seconds: the first alone makes it due at 45 s, the sixteenth (at 15 s) at 18 s, and
        an urgent one at 4 s makes it due at 7 s.
        """
        if not self._pending:
            return None
        times = list(islice(self._pending.values(), MANY_RECORDS))
        due = times[0] + LATE_SECONDS
        if len(times) == MANY_RECORDS:
            due = min(due, times[-1] + SOON_SECONDS)
        if self._urgent:
            due = min(due, next(iter(self._urgent.values())) + SOON_SECONDS)
        return due

    def take(self, now: float) -> bool:
        """Whether to sync with every peer now. If so, nothing is pending any more."""
        due = self.due()
        if due is None or now < due:
            return False
        self._pending.clear()
        self._urgent.clear()
        return True

"""Offers: which of the records that sync brought are worth telling the other peers of, and when.

Offering all of it at once would end in a storm: in a busy swarm any two nodes differ by what gossip is just bringing to
everybody, so every session would cause one with each other peer, and those more. So what gossip brings as well is left
to gossip. What it does not bring is history from elsewhere: much of it is offered soon, as is what is gossiped without
delay; the rest a little after the time that a record may wait for company before it is gossiped.

It knows record ids and times that it is given, in seconds, of any clock that does not go back.
"""

from __future__ import annotations

from collections import OrderedDict

SOON_SECONDS, MANY = 3.0, 16
LATE_SECONDS = 45.0  # more than node.network.gossip.BATCH_SECONDS and the way through a large swarm
MOST_KEPT = 16_384  # records; of more, the oldest are forgotten, which a later session makes up for


class Offers:
    """What sync has brought to one node and gossip has not, so far."""

    def __init__(self) -> None:
        self._brought: OrderedDict[bytes, float] = OrderedDict()
        self._urgent: OrderedDict[bytes, float] = OrderedDict()  # of these, what gossip would have brought by now

    def brought(self, record_id: bytes, now: float, urgent: bool = False) -> None:
        """Sync brought a record that is new here. `urgent`: one that is not kept waiting for company."""
        self._brought[record_id] = now
        if urgent:
            self._urgent[record_id] = now
        if len(self._brought) > MOST_KEPT:
            self._urgent.pop(self._brought.popitem(last=False)[0], None)

    def heard(self, record_id: bytes) -> None:
        """Gossip brought a record that was here already."""
        self._brought.pop(record_id, None)
        self._urgent.pop(record_id, None)

    def due(self) -> float | None:
        """When to look next; None while there is nothing to look for."""
        if not self._brought:
            return None
        times = iter(self._brought.values())
        first = next(times)
        enough = next((time for number, time in enumerate(times, 2) if number == MANY), None)
        soon = [time for time in (enough, next(iter(self._urgent.values()), None)) if time is not None]
        return min([first + LATE_SECONDS, *(time + SOON_SECONDS for time in soon)])

    def take(self, now: float) -> bool:
        """Whether to sync with every peer now. What that offers them is no news any more."""
        due = self.due()
        if due is None or now < due:
            return False
        self._brought.clear()
        self._urgent.clear()
        return True

"""Dial limits: how often addresses are dialled of which only strangers say that a node listens there.

A signature proves that a peer names an address for itself, not that it is there: with free keys one can name anybody's
address, and have the whole swarm connect to it. So what fails is counted, by machine and by network group. What
succeeds gives its token back: a node that answers with the peer id named for it is where it was said to be.

It knows addresses and times, and dials nothing.
"""

from __future__ import annotations

from collections import Counter

from node.network.groups import LOCAL, Scope, group_of, host_of, scope_of
from node.network.parameters import (
    CLAIMED_DIALS_AT_ONCE,
    CLAIMED_DIALS_PER_SECOND,
    DIALS_OF_A_GROUP,
    DIALS_OF_A_GROUP_PER_SECOND,
    DIALS_OF_A_HOST,
    DIALS_OF_A_HOST_PER_SECOND,
    HOSTS_REMEMBERED,
)
from node.network.peer_score import TokenBuckets


class DialLimits:
    """Whether an address that nobody has confirmed may be dialled now."""

    def __init__(self) -> None:
        self._all = TokenBuckets(CLAIMED_DIALS_PER_SECOND, CLAIMED_DIALS_AT_ONCE, 1)
        self._groups = TokenBuckets(DIALS_OF_A_GROUP_PER_SECOND, DIALS_OF_A_GROUP, HOSTS_REMEMBERED)
        self._hosts = TokenBuckets(DIALS_OF_A_HOST_PER_SECOND, DIALS_OF_A_HOST, HOSTS_REMEMBERED)
        self._under_way: Counter[str] = Counter()

    def take(self, address: str, now: float) -> bool:
        """Begin a dial; `ended` must follow. False where it has to wait."""
        host = _host_of(address)
        if self._under_way[host]:
            return False  # one after the other, so that three that answer nothing are all that is tried
        buckets = [(self._hosts, host), (self._all, "")]
        if group_of(address) != LOCAL:
            buckets.append((self._groups, group_of(address)))
        taken: list[tuple[TokenBuckets, str]] = []
        for bucket, key in buckets:
            if not bucket.take(key, now):
                for before, its_key in taken:
                    before.give_back(its_key)
                return False
            taken.append((bucket, key))
        self._under_way[host] += 1
        return True

    def ended(self, address: str, connected: bool) -> None:
        """The dial is over. connected: the peer that was named has proved that it is there."""
        host = _host_of(address)
        self._under_way[host] -= 1
        if not self._under_way[host]:
            del self._under_way[host]
        if connected:
            for bucket, key in ((self._hosts, host), (self._all, ""), (self._groups, group_of(address))):
                bucket.give_back(key)


def _host_of(address: str) -> str:
    """Whom to count together: a machine; on this one a port, since a swarm on one machine has but one address."""
    return address if scope_of(address) is Scope.MACHINE else host_of(address)

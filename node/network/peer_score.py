"""Peer score: every refusal is counted and logged, and a peer that goes on misbehaving is banned for a while.

It knows peer ids, reasons and times. How a peer is disconnected is a function that it is given. Both its memory and its
share of the log are bounded, so that a hostile peer can fill neither.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

import trio

from node.network.parameters import (
    BAN_SECONDS,
    COLOCATED_ALLOWED,
    COLOCATED_MOST,
    LOGGED_EVERY,
    LOGGED_FIRST,
    OFFENCE_SECONDS,
    OFFENCES_ALLOWED,
    PEERS_REMEMBERED,
    REASONS_PER_PEER,
)
from node.platform.log import Log
from protocol.identity import short_peer

Refused = Literal["record", "message", "stream"]
REFUSED: dict[Refused, str] = {  # the event in the log
    "record": "refused record",
    "message": "refused message",
    "stream": "refused stream",
}


@dataclass
class _History:
    """What is remembered of one peer."""

    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)  # by what was refused and why
    offences: deque[float] = field(default_factory=lambda: deque(maxlen=OFFENCES_ALLOWED))  # times of the last ones
    banned_until: float = 0.0


class TokenBuckets:
    """A rate limit for each of many keys: `per_second` tokens, of which up to `burst` are saved for later.

    With 10 a second and a burst of 300, a key that was silent for half a minute may send 300 messages at once, and then
    one every 0.1 s.
    """

    def __init__(self, per_second: float, burst: float, max_keys: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: tokens left, and when that was

    def take(self, key: str, now: float) -> bool:
        """Use one token; False when there is none left for this key."""
        tokens, at = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + self._per_second * (now - at))
        enough = tokens >= 1
        # Put in again at the end: the first key is then the one not heard of for longest. A key that is forgotten
        # begins with a full bucket; an attacker gains that by any new key as well.
        self._buckets[key] = (tokens - 1 if enough else tokens, now)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return enough

    def give_back(self, key: str) -> None:
        """Undo one `take` that was not needed."""
        if key in self._buckets:
            tokens, at = self._buckets[key]
            self._buckets[key] = (min(self._burst, tokens + 1), at)


class PeerScore:
    """How peers have behaved. `disconnect` is called with a peer id when that peer is banned.

    allow: the only peers that may connect, when it names any; block: peers that never may. colocated: how many
    incoming connections come from a peer's machine.
    """

    def __init__(
        self,
        log: Log,
        disconnect: Callable[[str], None],
        allow: Collection[str] = (),
        block: Collection[str] = (),
        colocated: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._log = log
        self._disconnect = disconnect
        self._allow = frozenset(allow)
        self._block = frozenset(block)
        self._colocated = colocated
        self._histories: OrderedDict[str, _History] = OrderedDict()

    def note_refusal(self, peer: str, what: Refused, reason: str, offence: bool = True, **details: object) -> None:
        """Note that something this peer sent was refused. `offence` False: it may be no fault of the peer's."""
        history = self._history(peer)
        kind = (what, reason)
        if kind not in history.refusals and len(history.refusals) >= REASONS_PER_PEER:
            kind = (what, "various")
        history.refusals[kind] += 1
        count = history.refusals[kind]
        if count <= LOGGED_FIRST:
            self._log(REFUSED[what], level="warning", peer=short_peer(peer), reason=reason, **details)
        elif count % LOGGED_EVERY == 0:
            self._log(REFUSED[what], level="warning", peer=short_peer(peer), reason=kind[1], count=count)
        if offence:
            self._note_offence(peer, history)

    def is_banned(self, peer: str) -> bool:
        """Whether this peer is turned away: for a while because of its offences, or for good by the configuration."""
        if not self.is_allowed(peer):
            return True
        history = self._histories.get(peer)
        return history is not None and history.banned_until > trio.current_time()

    def is_allowed(self, peer: str) -> bool:
        """Whether this node's configuration lets it have anything to do with this peer."""
        return peer not in self._block and (not self._allow or peer in self._allow)

    def score(self, peer: str) -> float:
        """Minus the number of offences of the last minute, and minus what colocation counts for; 0 at best.

        GossipSub takes it as the application-specific score, P5 of its specification (v1.1, "Peer Scoring"). P6 is in
        it: with 6 peers at one address, of which 4 are allowed, each has 2² = 4 less.
        """
        beyond = max(0, self._colocated(peer) - COLOCATED_ALLOWED)
        score = -min(COLOCATED_MOST, float(beyond**2))
        history = self._histories.get(peer)
        if history is None:
            return score
        since = trio.current_time() - OFFENCE_SECONDS
        return score - float(sum(at > since for at in history.offences))

    def _note_offence(self, peer: str, history: _History) -> None:
        now = trio.current_time()
        history.offences.append(now)
        # The deque holds the last OFFENCES_ALLOWED times only, so its first is the one that many offences ago.
        too_many = len(history.offences) == OFFENCES_ALLOWED and now - history.offences[0] < OFFENCE_SECONDS
        if too_many and history.banned_until <= now:
            history.banned_until = now + BAN_SECONDS
            history.offences.clear()
            self._log(
                "peer banned",
                level="warning",
                peer=short_peer(peer),
                seconds=round(BAN_SECONDS),
                reason=f"{OFFENCES_ALLOWED} refusals within {OFFENCE_SECONDS:.0f} seconds",
            )
            self._disconnect(peer)

    def _history(self, peer: str) -> _History:
        history = self._histories.setdefault(peer, _History())
        self._histories.move_to_end(peer)
        if len(self._histories) > PEERS_REMEMBERED:
            self._histories.popitem(last=False)
        return history

"""How peers behave: every refusal is counted and logged, and a peer that keeps at it is shut out for a while.

It knows peer ids, reasons and times; how a peer is cut off is told to it. Both its memory and its share of the log are
bounded, so that a hostile peer can fill neither.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

import trio

Events = Callable[..., None]
Refused = Literal["record", "message", "stream"]

LOGGED_FIRST = 5  # refusals of one kind and reason that are logged one by one
LOGGED_EVERY = 100  # after those, one line per this many
REASONS_PER_PEER = 32  # reasons told apart per peer; a peer that invents more shares one count for the rest
OFFENCES_ALLOWED = 20
OFFENCE_SECONDS = 60.0
SHUT_OUT_SECONDS = 60.0
PEERS_REMEMBERED = 4096


def short_peer(peer: str) -> str:
    """A peer id as the log shows it: its last characters, as in protocol.identity.short."""
    return "…" + peer[-8:]


@dataclass
class _Past:
    """What is remembered of one peer."""

    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    offences: deque[float] = field(default_factory=lambda: deque(maxlen=OFFENCES_ALLOWED))
    shut_out_until: float = 0.0


class Allowances:
    """So much per second for each of many keys, with something saved up for bursts (token buckets)."""

    def __init__(self, per_second: float, at_once: float, kept: int) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._kept = kept
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: what is left, and when that was

    def take(self, key: str, now: float) -> bool:
        """Use one; False when there is none left for this key."""
        left, at = self._left.pop(key, (self._at_once, now))
        left = min(self._at_once, left + self._per_second * (now - at))
        self._left[key] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > self._kept:
            self._left.popitem(last=False)
        return left >= 1


class Conduct:
    """The record of peers' behaviour. `cut_off` is called with a peer id when that peer is to be disconnected.

    allow: the only peers welcome, when it names any; block: peers who never are.
    """

    def __init__(
        self, events: Events, cut_off: Callable[[str], None], allow: Collection[str] = (), block: Collection[str] = ()
    ) -> None:
        self._events = events
        self._cut_off = cut_off
        self._allow = frozenset(allow)
        self._block = frozenset(block)
        self._pasts: OrderedDict[str, _Past] = OrderedDict()

    def refuse(self, peer: str, what: Refused, reason: str, offence: bool = True, **details: object) -> None:
        """Note that something of this peer's was refused. `offence` False: it may be no fault of the peer's."""
        past = self._past(peer)
        kind = (what, reason)
        if kind not in past.refusals and len(past.refusals) >= REASONS_PER_PEER:
            kind = (what, "various")
        past.refusals[kind] += 1
        count = past.refusals[kind]
        if count <= LOGGED_FIRST:
            self._events(f"refused {what}", level="warning", peer=short_peer(peer), reason=reason, **details)
        elif count % LOGGED_EVERY == 0:
            self._events(f"refused {what}", level="warning", peer=short_peer(peer), reason=kind[1], count=count)
        if offence:
            self._offend(peer, past)

    def shut_out(self, peer: str) -> bool:
        """Whether this peer is to be turned away, for now or for good."""
        if not self.welcome(peer):
            return True
        past = self._pasts.get(peer)
        return past is not None and past.shut_out_until > trio.current_time()

    def welcome(self, peer: str) -> bool:
        """Whether the person who runs this node wants anything to do with this peer."""
        return peer not in self._block and (not self._allow or peer in self._allow)

    def score(self, peer: str) -> float:
        """Minus the offences of the last minute: what GossipSub orders its peers by. 0 for the blameless."""
        past = self._pasts.get(peer)
        if past is None:
            return 0.0
        since = trio.current_time() - OFFENCE_SECONDS
        return -float(sum(at > since for at in past.offences))

    def _offend(self, peer: str, past: _Past) -> None:
        now = trio.current_time()
        past.offences.append(now)
        lately = len(past.offences) == OFFENCES_ALLOWED and now - past.offences[0] < OFFENCE_SECONDS
        if lately and past.shut_out_until <= now:
            past.shut_out_until = now + SHUT_OUT_SECONDS
            past.offences.clear()
            self._events(
                "peer shut out",
                level="warning",
                peer=short_peer(peer),
                seconds=round(SHUT_OUT_SECONDS),
                reason=f"{OFFENCES_ALLOWED} refusals within {OFFENCE_SECONDS:.0f} seconds",
            )
            self._cut_off(peer)

    def _past(self, peer: str) -> _Past:
        past = self._pasts.setdefault(peer, _Past())
        self._pasts.move_to_end(peer)
        if len(self._pasts) > PEERS_REMEMBERED:
            self._pasts.popitem(last=False)
        return past

"""Provider records: which peers have said that they are found under a key, for some time.

Keys and peer ids are free, so there is a limit to the records of a key, of a peer, and in all. Where one is reached, a
record of whoever brought most makes way, any of the younger half, as in the ledger's pool: a flood pushes itself out.

It knows records and times, not how they came.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from node.network.discovery.kad.messages import Named
from node.network.parameters import (
    PROVIDER_RECORDS,
    PROVIDER_RECORDS_OF_A_KEY,
    PROVIDER_RECORDS_OF_A_PEER,
    PROVIDER_SECONDS,
)


@dataclass(frozen=True)
class _Record:
    key: bytes
    named: Named
    link: str  # the address from which it came
    crowd: str
    until: float


class ProviderRecords:
    """The records that one DHT server keeps."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._of_key: dict[bytes, dict[str, _Record]] = {}
        self._of_peer: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: bytes, named: Named, link: str, crowd: str, now: float) -> bool:
        """Keep a record that the peer it names has brought over this link. Whether there was room.

        crowd: whom to count it with.
        """
        self._forget_old(now)
        self._drop(key, named.peer)
        if self._of_peer[named.peer] >= PROVIDER_RECORDS_OF_A_PEER:
            return False
        if len(self._of_key.get(key, ())) >= PROVIDER_RECORDS_OF_A_KEY:
            self._make_room(list(self._of_key[key].values()))
        elif self._count >= PROVIDER_RECORDS:
            self._make_room([record for records in self._of_key.values() for record in records.values()])
        record = _Record(key, named, link, crowd, now + PROVIDER_SECONDS)
        self._of_key.setdefault(key, {})[named.peer] = record
        self._of_peer[named.peer] += 1
        self._count += 1
        return True

    def of(self, key: bytes, count: int, now: float) -> list[tuple[Named, str]]:
        """Any `count` of the providers of a key, each with the link over which it told of itself."""
        records = [record for record in self._of_key.get(key, {}).values() if record.until > now]
        return [(record.named, record.link) for record in self._rng.sample(records, min(count, len(records)))]

    def _make_room(self, records: list[_Record]) -> None:
        """Drop one of these, which are in the order in which they came within each key."""
        crowd, _ = Counter(record.crowd for record in records).most_common(1)[0]
        theirs = sorted((record for record in records if record.crowd == crowd), key=lambda record: record.until)
        out = theirs[self._rng.randrange(len(theirs) // 2, len(theirs))]
        self._drop(out.key, out.named.peer)

    def _forget_old(self, now: float) -> None:
        old = [record for records in self._of_key.values() for record in records.values() if record.until <= now]
        for record in old:
            self._drop(record.key, record.named.peer)

    def _drop(self, key: bytes, peer: str) -> None:
        records = self._of_key.get(key, {})
        if records.pop(peer, None) is None:
            return
        self._count -= 1
        self._of_peer[peer] -= 1
        if not self._of_peer[peer]:
            del self._of_peer[peer]
        if not records:
            del self._of_key[key]

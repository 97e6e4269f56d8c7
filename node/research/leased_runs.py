"""The runs of a trial of this node's own idea, during which peers keep hearing that it is being tried.

A lease is short, since a node may stop at any moment; so it is renewed between runs for as long as the trial goes on.
What peers do with it is the strategy's and the ledger's (`node.ledger.leases`), how it travels the network's.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from node.ledger.outcome import Outcome, PairOutcome
from node.trials.cached_runner import CachedRunner
from protocol.messages import MAX_LEASE_SECONDS, Lease

LEASE_RUNS = 3  # a lease is taken for this many expected runs, and renewed once one of them should be over
LEASE_LEAST_SECONDS = 60.0  # the record that ends a trial may be this long on its way to peers
UNMEASURED_SECONDS = 10.0  # expected of a run before the first was made


@dataclass
class LeasedRuns:
    """Makes the runs of one trial (`MakePair`), and takes a lease before them if the last is due for renewal.

    parent, fingerprint, category: of what is tried. screened: the outcome of the child's run at `screening_seed` if it
    was made already; it is not made again, even where it is one that is not remembered, as of a machine that failed.
    """

    cached_runner: CachedRunner
    parent: bytes
    fingerprint: bytes
    category: str
    screening_seed: int
    screened: Outcome | None = None
    _renewal_due: float = 0.0  # seconds of the monotonic clock

    async def pair(self, parent: bytes, child: bytes, seed: int, /) -> PairOutcome:
        if self.screened is not None and seed == self.screening_seed:
            return PairOutcome(await self.cached_runner.run(parent, seed), self.screened, alternated=False)
        self._renew_lease(time.monotonic())
        return await self.cached_runner.run_pair(parent, child, seed)

    async def screen(self, child: bytes) -> Outcome:
        """The child's run at the screening seed, where the parent's was made before. It is ended if plainly losing."""
        self._renew_lease(time.monotonic())
        return await self.cached_runner.screen(child, self.screening_seed, self.parent, self.category)

    def _renew_lease(self, now: float) -> None:
        """Take the lease again if a third of its time has passed: for runs of 40 s, 120 s long and every 40 s."""
        if now < self._renewal_due:
            return
        seconds = max(LEASE_RUNS * expected_run_seconds(self.cached_runner), LEASE_LEAST_SECONDS)
        lease = Lease(self.parent, self.fingerprint, min(MAX_LEASE_SECONDS, math.ceil(seconds)), self.category)
        self.cached_runner.ledger.leases.take(lease, now)
        self._renewal_due = now + seconds / LEASE_RUNS


def expected_run_seconds(cached_runner: CachedRunner) -> float:
    """The wall time (seconds) that a run is expected to take here."""
    seconds = cached_runner.seconds_per_run()
    return seconds if seconds > 0 else UNMEASURED_SECONDS  # NaN, before the first run, is not above 0 either

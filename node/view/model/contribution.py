"""What this node has contributed, in all: runs, processor hours, records of each kind, and what became of its finds.

Counts are of one objective, since its first record here. Hours are of runs that were made on this machine for whatever
reason: own ideas, peers' claims, audits. Pure but for the ledger's table of runs, which is read on from where it was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from node.ledger.projections.conclusions import tally
from node.ledger.projections.discoveries import Discovery
from node.ledger.projections.effects import gain_text
from node.ledger.store import Ledger
from node.platform.log import Json
from node.view.model.folds import Folds
from protocol.evidence import Verdict
from protocol.metric import Metric
from protocol.records import Record, Replication

COUNTED = ("experiments", "kept", "claims", "replications", "audits", "transfers", "suggestions")
MOST_SHOWN = 50  # own discoveries, the newest first


@dataclass
class RunTotals:
    """How many runs were made here and what they took, counted on from the last row that was read."""

    runs: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    _row: int = 0

    def read_on(self, ledger: Ledger) -> None:
        """Take in the runs that were stored since. A run that was made again is counted again: it took its time."""
        for row, outcome in ledger.runs_after(self._row):
            self._row = row
            self.runs += 1
            self.cpu_seconds += outcome.cpu_seconds
            self.wall_seconds += outcome.wall_seconds


def contribution(folds: Folds, totals: RunTotals) -> Json:
    """Totals of this node, its discoveries, and the swarm's beside them."""
    totals.read_on(folds.ledger)
    own = folds.feeds.get(folds.me, ())
    counts = asdict(tally(own))
    found = [one for one in folds.discoveries.values() if one.record.author == folds.me]
    found.sort(key=lambda one: -one.record.seq)
    return {
        "since": own[0].time if own else None,
        "runs": totals.runs,
        "cpu_hours": round(totals.cpu_seconds / 3600, 4),
        "wall_hours": round(totals.wall_seconds / 3600, 4),
        **{name: counts[name] for name in COUNTED},
        "found": _found(folds, found),
        "discoveries": [_own_discovery(folds, one) for one in found[:MOST_SHOWN]],
        "swarm": _swarm(folds),
    }


def adopters(found: Discovery) -> set[bytes]:
    """The authors that adopted what a claim led to."""
    return {r.author for r in found.replications if isinstance(r.body, Replication) and r.body.adopted is not None}


def lives_in(folds: Folds, found: Discovery) -> frozenset[bytes]:
    """The other authors whose present best goes back to a claim."""
    return folds.lives_in.get((found.record.author, found.claim.child), frozenset())


def _found(folds: Folds, found: list[Discovery]) -> Json:
    standings = Counter(str(one.standing.verdict) for one in found)
    living = [lives_in(folds, one) for one in found]
    return {
        "claims": len(found),
        **{name: standings[name] for name in (Verdict.CONFIRMED, Verdict.OPEN, Verdict.REFUTED)},
        "doubted": sum(_is_doubted(one) for one in found),
        "adopted": sum(bool(adopters(one)) for one in found),
        "adoptions": sum(len(adopters(one)) for one in found),
        "live_on": sum(bool(authors) for authors in living),
        "in_bests_of": len(frozenset[bytes]().union(*living)),
        "others": sum(author != folds.me for author in folds.bests),
    }


def _is_doubted(found: Discovery) -> bool:
    return found.standing.says == Verdict.REFUTED and found.standing.verdict != Verdict.REFUTED


def discovery_line(folds: Folds, found: Discovery) -> Json:
    """A claim in the few fields that a list needs."""
    metric: Metric = folds.measure
    return {
        "id": found.record.id.hex(),
        "title": found.claim.title,
        "category": found.claim.category,
        "gain_text": gain_text(found.claim.effect, metric),
        "replicated_text": gain_text(found.standing.effect, metric) if found.standing.effect else None,
        "standing": found.standing.verdict,
        "time": found.record.time,
    }


def _own_discovery(folds: Folds, found: Discovery) -> Json:
    return discovery_line(folds, found) | {
        "reports": found.standing.keys,
        "adopted_by": len(adopters(found)),
        "lives_in": len(lives_in(folds, found)),
    }


def _swarm(folds: Folds) -> Json:
    all_counts = tally(folds.records)
    return {
        "authors": len(folds.feeds),
        "records": len(folds.records),
        "experiments": all_counts.experiments,
        "claims": len(folds.discoveries),
        "confirmed": sum(one.standing.verdict == Verdict.CONFIRMED for one in folds.discoveries.values()),
        "replications": all_counts.replications,
        "adoptions": sum(is_adoption(record) for record in folds.records),
    }


def is_adoption(record: Record) -> bool:
    """Whether its author adopted something by this record."""
    return isinstance(record.body, Replication) and record.body.adopted is not None

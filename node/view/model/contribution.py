"""What this node has contributed: runs, processor hours, records of each kind, and what became of its finds.

First of the objective that is shown, since its first record here; then of each that this home has researched, and of
all of them together. Hours are of runs that were made on this machine for whatever reason: own ideas, peers' claims,
audits. Pure but for the ledger's table of runs, which is read on from where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from node.ledger.projections.conclusions import tally
from node.ledger.projections.discoveries import Discovery
from node.ledger.projections.effects import gain_text
from node.ledger.store import Ledger
from node.platform.log import Json
from node.view.model.folds import Folds
from protocol.evidence import Verdict
from protocol.metric import Metric
from protocol.records import Replication

MOST_SHOWN = 50  # own discoveries, the newest first
MOST_OBJECTIVES = 20  # beside the one that is shown, those that were joined last
SUMMED = (
    "runs",
    "cpu_hours",
    "wall_hours",
    "experiments",
    "kept",
    "claims",
    "confirmed",
    "replications",
    "adopted",
    "audits",
)


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


def contribution(folds: Folds, totals: RunTotals, others: Sequence[Json] = ()) -> Json:
    """Totals of this node, its discoveries, and the swarm's beside them. others: `counts` of its other objectives."""
    found = [one for one in folds.discoveries.values() if one.record.author == folds.me]
    found.sort(key=lambda one: -one.record.seq)
    here = counts(folds, totals)
    objectives = [here | {"current": True}, *others]
    own = tally(folds.feeds.get(folds.me, ()))
    return {
        **{name: here[name] for name in ("since", *SUMMED) if name != "confirmed"},
        "transfers": own.transfers,
        "suggestions": own.suggestions,
        "found": _found(folds, found),
        "discoveries": [_own_discovery(folds, one) for one in found[:MOST_SHOWN]],
        "swarm": _swarm(folds),
        "objectives": objectives,
        "all": {name: round(sum(one[name] for one in objectives), 4) for name in SUMMED},
    }


def counts(folds: Folds, totals: RunTotals) -> Json:
    """What this node has contributed to one objective, in figures that can be added up."""
    totals.read_on(folds.ledger)
    own = folds.feeds.get(folds.me, ())
    tallied = asdict(tally(own))
    found = [one for one in folds.discoveries.values() if one.record.author == folds.me]
    return {
        "id": folds.ledger.objective.hex(),
        "name": folds.ledger.settings.description.name,
        "current": False,
        "since": own[0].time if own else None,
        "runs": totals.runs,
        "cpu_hours": round(totals.cpu_seconds / 3600, 4),
        "wall_hours": round(totals.wall_seconds / 3600, 4),
        **{name: tallied[name] for name in ("experiments", "kept", "claims", "replications", "audits")},
        "adopted": tallied["adoptions"],
        "confirmed": sum(one.standing.verdict == Verdict.CONFIRMED for one in found),
    }


def counts_of_others(ledger: Ledger, path: Path) -> list[Json]:
    """The counts of the other objectives that a home has researched, the last joined first. path: of the ledger."""
    known = ledger.settings.descriptions
    others = sorted((one for one in known if one != ledger.objective), key=lambda one: (-known[one].joined, one))
    return list(_read(path, others[:MOST_OBJECTIVES]))


def _read(path: Path, objectives: Iterable[bytes]) -> Iterable[Json]:
    for objective in objectives:
        with closing(Ledger.read(path, objective)) as other:
            yield counts(Folds.of(other), RunTotals())


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
        "adoptions": all_counts.adoptions,
    }

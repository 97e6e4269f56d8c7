"""Folds over the ledger's records: what the swarm knows, worked out by every node for itself.

Pure functions of records; nothing here reads a clock, a file or the order of arrival. Two nodes that hold the same
records get the same leaderboard, standings and lineage.

Effects are J = Δ ln(metric) + slope · ln(cost ratio), negative is better. What a person is shown as a *gain* is
100 · (1 − exp(J)) per cent, positive is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocol.evidence import Report, Standing, standing
from protocol.records import Effect, Experiment, Record, Replication

IMPROVED = "improved"


@dataclass(frozen=True)
class Discovery:
    """A claim and what others found when they re-ran it."""

    record: Record
    claim: Experiment
    replications: tuple[Record, ...]
    standing: Standing


@dataclass(frozen=True)
class Step:
    """One change of an author's best source, and what that author measured for it."""

    record: Record
    source: bytes
    effect: Effect | None
    holdout: Effect | None


@dataclass(frozen=True)
class Best:
    """Where an author has got to: the source, and the sum of the effects measured on the way from the baseline."""

    author: bytes
    source: bytes
    compute_class: str
    steps: tuple[Step, ...]
    effect: Effect | None
    holdout: Effect | None
    experiments: int
    replications: int


def gain_percent(effect: Effect) -> float:
    """The share of the metric saved, in per cent: 100 · (1 − exp(J)); positive is better."""
    return 100.0 * -math.expm1(effect.mean)


def se_percent(effect: Effect) -> float:
    """The standard error of `gain_percent`, to first order."""
    return 100.0 * math.exp(effect.mean) * effect.se


def effect_text(effect: Effect | None) -> str:
    """Effect ± SE as every log line and table writes it; the sign is that of the metric (negative is better)."""
    if effect is None:
        return "not measured"
    pairs = "pair" if effect.n == 1 else "pairs"
    return f"{100 * math.expm1(effect.mean):+.1f} % ± {se_percent(effect):.1f} ({effect.n} {pairs})"


def chain(effects: Iterable[Effect | None]) -> Effect | None:
    """The effect of steps taken one after the other: means add, errors add in quadrature, n is the fewest pairs.

    None when a step was not measured, for then the whole was not.
    """
    total, variance, fewest = 0.0, 0.0, 0
    for effect in effects:
        if effect is None:
            return None
        total += effect.mean
        variance += effect.se**2
        fewest = min(fewest, effect.n) if fewest else effect.n
    return Effect(total, math.sqrt(variance), fewest) if fewest else None


def steps_of(feed: Sequence[Record]) -> list[Step]:
    """The changes of best source in one author's feed, in order."""
    steps: list[Step] = []
    for record in feed:
        match record.body:
            case Experiment(decision=decision) as body if decision == IMPROVED:
                steps.append(Step(record, body.child, body.effect, body.holdout))
            case Replication(adopted=adopted) as body if adopted is not None:
                steps.append(Step(record, adopted, body.adoption, None))
    return steps


def best_source(feed: Sequence[Record], baseline: bytes) -> bytes:
    """The source an author's research stands on now."""
    steps = steps_of(feed)
    return steps[-1].source if steps else baseline


def banked(records: Sequence[Record], author: bytes) -> dict[str, float]:
    """The gain (−J) that an author's best has over the baseline by ideas of each category.

    What was taken over counts for its discovery's category; a best that was taken over whole replaced what was before.
    """
    found: dict[str, float] = {}
    claims: dict[bytes, Experiment] = {}
    for record in records:
        if isinstance(record.body, Experiment) and record.body.decision == IMPROVED:
            claims[record.id] = record.body
    for step in steps_of(sorted((r for r in records if r.author == author), key=lambda record: record.seq)):
        body = step.record.body
        if isinstance(body, Replication) and body.route == "whole":
            found = {}
        claim = claims.get(body.discovery) if isinstance(body, Replication) else claims.get(step.record.id)
        if claim is not None and step.effect is not None:
            found[claim.category] = found.get(claim.category, 0.0) - step.effect.mean
    return found


def discoveries(records: Iterable[Record]) -> list[Discovery]:
    """Every claimed improvement with its replications and standing, ordered by record id."""
    held = sorted(records, key=lambda record: record.id)
    reports: dict[bytes, list[Record]] = {}
    for record in held:
        if isinstance(record.body, Replication):
            reports.setdefault(record.body.discovery, []).append(record)
    found = []
    for record in held:
        if isinstance(record.body, Experiment) and record.body.decision == IMPROVED:
            replications = [r for r in reports.get(record.id, []) if r.author != record.author]
            found.append(
                Discovery(record, record.body, tuple(replications), standing(record.body, _reports(replications)))
            )
    return found


def _reports(replications: Iterable[Record]) -> list[Report]:
    """One report per author, the first in its feed: repeating oneself adds no evidence."""
    first: dict[bytes, Record] = {}
    for record in replications:
        if record.author not in first or record.seq < first[record.author].seq:
            first[record.author] = record
    return [
        Report(author, record.body.compute_class, record.body.effect, audited=False)
        for author, record in sorted(first.items())
        if isinstance(record.body, Replication) and record.body.effect is not None
    ]


def pending_replications(records: Sequence[Record], author: bytes) -> list[Record]:
    """Peers' discoveries this author has not re-run yet, the largest claim first."""
    mine = [record.body for record in records if record.author == author]
    done = {body.discovery for body in mine if isinstance(body, Replication)}
    waiting = [
        record
        for record in records
        if record.author != author
        and record.id not in done
        and isinstance(record.body, Experiment)
        and record.body.decision == IMPROVED
    ]
    return sorted(waiting, key=lambda record: (_claimed(record), record.id))


def _claimed(record: Record) -> float:
    body = record.body
    return body.effect.mean if isinstance(body, Experiment) and body.effect is not None else 0.0


def bests(records: Iterable[Record], baseline: bytes) -> list[Best]:
    """Every author's best, the largest gain first; authors who found nothing stand on the baseline."""
    feeds: dict[bytes, list[Record]] = {}
    for record in records:
        feeds.setdefault(record.author, []).append(record)
    found = []
    for author, unordered in feeds.items():
        feed = sorted(unordered, key=lambda record: record.seq)
        steps = steps_of(feed)
        bodies = [record.body for record in feed]
        classes = [b.compute_class for b in bodies if isinstance(b, Experiment | Replication)]
        found.append(
            Best(
                author=author,
                source=steps[-1].source if steps else baseline,
                compute_class=classes[-1] if classes else "",
                steps=tuple(steps),
                effect=chain(step.effect for step in steps),
                holdout=chain(step.holdout for step in steps),
                experiments=sum(isinstance(body, Experiment) for body in bodies),
                replications=sum(isinstance(body, Replication) for body in bodies),
            )
        )
    return sorted(found, key=lambda best: (best.effect.mean if best.effect else 0.0, best.author))


def origin_of(records: Iterable[Record], source: bytes) -> Record | None:
    """The record that first made a source the best of somebody: lowest (sequence number, id) wins a tie."""
    makers = [
        record
        for record in records
        if (isinstance(record.body, Experiment) and record.body.child == source)
        or (isinstance(record.body, Replication) and record.body.adopted == source)
    ]
    experiments = [record for record in makers if isinstance(record.body, Experiment)]
    return min(experiments or makers, key=lambda record: (record.seq, record.id), default=None)


def lineage(records: Sequence[Record], source: bytes, baseline: bytes) -> list[Record]:
    """The records that lead from the baseline to a source, oldest first."""
    path: list[Record] = []
    seen: set[bytes] = set()
    while source != baseline and source not in seen:
        seen.add(source)
        record = origin_of(records, source)
        if record is None:
            break
        path.append(record)
        match record.body:
            case Experiment(parent=parent):
                source = parent
            case Replication(discovery=discovery):
                # a merged source comes from the discovery it took over
                claimed = next((r for r in records if r.id == discovery), None)
                if claimed is None:
                    break
                path.append(claimed)
                assert isinstance(claimed.body, Experiment)
                source = claimed.body.parent
    return path[::-1]

"""Folds over the ledger's records: what the swarm knows, worked out by every node for itself.

Pure functions of records; nothing here reads a clock, a file or the order of arrival. Two nodes that hold the same
records get the same leaderboard, standings and lineage.

Effects are J = Δ ln(metric) + slope · ln(cost ratio), negative is better. What a person is shown as a *gain* is
100 · (1 − exp(J)) per cent, positive is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from protocol.audits import is_report
from protocol.evidence import Standing, standing_of
from protocol.records import Audit, Effect, Experiment, Record, Replication

IMPROVED = "improved"
AGAINST = ("contradicts", "failed")
MOST_SHOWN = 100.0  # of an effect, as of one record's; the sum along a made-up feed may be beyond any number


@dataclass(frozen=True)
class Discovery:
    """A claim and what others found when they re-ran it."""

    record: Record
    claim: Experiment
    replications: tuple[Record, ...]
    audits: tuple[Record, ...]
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
    """Where an author has got to: the source, and the sum of the effects measured on the way from the baseline.

    `effect` and `holdout` are the author's own measurements; `replicated` is what others found for those steps that
    others have re-run (`replicated_steps` of them), the rest counting for nothing.
    """

    author: bytes
    source: bytes
    compute_class: str
    steps: tuple[Step, ...]
    effect: Effect | None
    holdout: Effect | None
    replicated: Effect | None
    replicated_steps: int
    experiments: int
    replications: int


def gain_percent(effect: Effect) -> float:
    """The share of the metric saved, in per cent: 100 · (1 − exp(J)); positive is better."""
    return 100.0 * -math.expm1(_shown(effect))


def se_percent(effect: Effect) -> float:
    """The standard error of `gain_percent`, to first order."""
    return 100.0 * math.exp(_shown(effect)) * effect.se


def effect_text(effect: Effect | None) -> str:
    """Effect ± SE as every log line and table writes it; the sign is that of the metric (negative is better)."""
    if effect is None:
        return "not measured"
    pairs = "pair" if effect.n == 1 else "pairs"
    return f"{100 * math.expm1(_shown(effect)):+.1f} % ± {se_percent(effect):.1f} ({effect.n} {pairs})"


def _shown(effect: Effect) -> float:
    return min(MOST_SHOWN, effect.mean)


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


def stands_on(record: Record) -> bytes | None:
    """The discovery, by record id, on whose standing rests what this record made its author's best.

    One's own; and a peer's that was taken over without reporting on it, for peers had. None for one on which the
    author reported: he has seen himself that it holds.
    """
    match record.body:
        case Experiment(decision=decision) if decision == IMPROVED:
            return record.id
        case Replication(adopted=adopted, discovery=discovery) if adopted is not None and not is_report(record):
            return discovery
    return None


def foundations(feed: Iterable[Record]) -> frozenset[bytes]:
    """The discoveries that one author's steps stand on, as `stands_on` says."""
    return frozenset(claim for claim in map(stands_on, feed) if claim is not None)


def fallen(feed: Sequence[Record], refuted: Set[bytes]) -> frozenset[bytes]:
    """Those of the foundations of an author's steps that do not hold, when these discoveries are refuted (record ids).

    Of his own those that are refuted; of peers' those that a report of his own, made since, does not support: he makes
    it when they are refuted.
    """
    own = {record.id: "unclear" for record in feed}
    found = own | {r.body.discovery: r.body.decision for r in feed if isinstance(r.body, Replication) and concludes(r)}
    return frozenset(
        claim
        for claim in foundations(feed)
        if (decision := found.get(claim)) in AGAINST or (decision == "unclear" and claim in refuted)
    )


def concludes(record: Record) -> bool:
    """Whether this replication says what its author found of the claim itself: a report, or that it does not run."""
    return is_report(record) or (isinstance(record.body, Replication) and record.body.decision == "failed")


def steps_of(feed: Sequence[Record], refuted: Set[bytes] = frozenset()) -> list[Step]:
    """The changes of best source in one author's feed, in order.

    Left out is what stands on something `fallen`, when these discoveries are refuted, and what was built on that.
    """
    steps: list[Step] = []
    unsound = fallen(feed, refuted)
    gone: set[bytes] = set()
    for record in feed:
        match record.body:
            case Experiment(decision=decision) as body if decision == IMPROVED:
                step, base = Step(record, body.child, body.effect, body.holdout), body.parent
            case Replication(adopted=adopted) as body if adopted is not None:
                step = Step(record, adopted, body.adoption, None)
                base = body.base if body.base is not None and body.route != "whole" else b""
            case _:
                continue
        if stands_on(record) in unsound or base in gone:
            gone.add(step.source)
        else:
            gone.discard(step.source)
            steps.append(step)
    return steps


def standing_steps(records: Iterable[Record], feed: Sequence[Record]) -> list[Step]:
    """The steps of one author's feed that hold on these records."""
    return steps_of(feed, refuted(records, foundations(feed)))


def best_source(feed: Sequence[Record], baseline: bytes, refuted: Set[bytes] = frozenset()) -> bytes:
    """The source an author's research stands on now: the last step that is not refuted, with all it stands on."""
    steps = steps_of(feed, refuted)
    return steps[-1].source if steps else baseline


def discoveries(records: Iterable[Record], only: Set[bytes] | None = None) -> list[Discovery]:
    """Every claimed improvement (of these record ids, if given) with what others found and its standing, by id."""
    held = sorted(records, key=lambda record: record.id)
    claims = [
        record
        for record in held
        if isinstance(record.body, Experiment)
        and record.body.decision == IMPROVED
        and (only is None or record.id in only)
    ]
    about: dict[bytes, list[Record]] = {claim.id: [] for claim in claims}
    for record in held:
        if isinstance(record.body, Replication | Audit) and record.body.discovery in about:
            about[record.body.discovery].append(record)
    return [_discovery(claim, about[claim.id]) for claim in claims]


def _discovery(record: Record, about: Sequence[Record]) -> Discovery:
    assert isinstance(record.body, Experiment)
    others = [r for r in about if r.author != record.author]
    return Discovery(
        record,
        record.body,
        tuple(r for r in others if isinstance(r.body, Replication)),
        tuple(r for r in others if isinstance(r.body, Audit)),
        standing_of(record, others),
    )


def refuted(records: Iterable[Record], only: Set[bytes] | None = None) -> frozenset[bytes]:
    """The discoveries (of these record ids, if given) that are refuted on these records."""
    return frozenset(d.record.id for d in discoveries(records, only) if d.standing.verdict == "refuted")


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
    """Every author's best, by compute class, the largest replicated gain first.

    Authors who found nothing stand on the baseline.
    """
    held = list(records)
    feeds: dict[bytes, list[Record]] = {}
    for record in held:
        feeds.setdefault(record.author, []).append(record)
    known = {found.record.id: found for found in discoveries(held)}
    fallen = frozenset(key for key, found in known.items() if found.standing.verdict == "refuted")
    found = []
    for author, unordered in feeds.items():
        feed = sorted(unordered, key=lambda record: record.seq)
        steps = steps_of(feed, fallen)
        replicated = [effect for effect in _replicated(steps, known, held, baseline) if effect is not None]
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
                replicated=chain(replicated),
                replicated_steps=len(replicated),
                experiments=sum(isinstance(body, Experiment) for body in bodies),
                replications=sum(isinstance(body, Replication) for body in bodies),
            )
        )
    return sorted(found, key=lambda best: (best.compute_class, _mean(best.replicated), _mean(best.effect), best.author))


def _mean(effect: Effect | None) -> float:
    return effect.mean if effect is not None else 0.0


def _replicated(
    steps: Sequence[Step], known: Mapping[bytes, Discovery], records: Sequence[Record], baseline: bytes
) -> list[Effect | None]:
    """What others found for every step. Whoever took over a whole source stands on all that led to it."""
    effects: list[Effect | None] = []
    for step in steps:
        body = step.record.body
        claim = body.discovery if isinstance(body, Replication) else step.record.id
        if isinstance(body, Replication) and body.route == "whole":
            way = lineage(records, body.child, baseline)
            effects = [known[record.id].standing.effect for record in way if record.id in known]
        else:
            effects.append(known[claim].standing.effect if claim in known else None)
    return effects


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
                if claimed is None or not isinstance(claimed.body, Experiment):
                    break
                path.append(claimed)
                source = claimed.body.parent
    return path[::-1]

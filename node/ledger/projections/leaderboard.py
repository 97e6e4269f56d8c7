"""The leaderboard: how far every author has got, by its own measurements and by those of others. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import chain
from node.ledger.projections.lineage import path_from_baseline
from node.ledger.projections.steps import Step, steps_of
from protocol.records import Effect, Experiment, Record, Replication


@dataclass(frozen=True)
class AuthorBest:
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


def author_bests(records: Iterable[Record], baseline: bytes) -> list[AuthorBest]:
    """Every author's best, by compute class, the largest replicated gain first.

    Authors who found nothing stand on the baseline.
    """
    held = list(records)
    feeds: dict[bytes, list[Record]] = {}
    for record in held:
        feeds.setdefault(record.author, []).append(record)
    known = {found.record.id: found for found in discoveries(held)}
    invalidated = frozenset(key for key, found in known.items() if found.standing.verdict == "refuted")
    found = []
    for author, unordered in feeds.items():
        feed = sorted(unordered, key=lambda record: record.seq)
        steps = steps_of(feed, invalidated)
        replicated = [effect for effect in _replicated(steps, known, held, baseline) if effect is not None]
        bodies = [record.body for record in feed]
        classes = [b.compute_class for b in bodies if isinstance(b, Experiment | Replication)]
        found.append(
            AuthorBest(
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
            way = path_from_baseline(records, body.child, baseline)
            effects = [known[record.id].standing.effect for record in way if record.id in known]
        else:
            effects.append(known[claim].standing.effect if claim in known else None)
    return effects

"""The leaderboard: every author's gain over the baseline, as it measured it and as others did. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.ledger.projections.conclusions import tally
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import chain
from node.ledger.projections.lineage import Origins
from node.ledger.projections.steps import Step, open_chain, proven, steps_of
from protocol.evidence import Verdict
from protocol.records import Effect, Experiment, Record, Replication, Route
from protocol.weights import Weights


@dataclass(frozen=True)
class AuthorBest:
    """An author's best source of which it claims something, and the effects measured for the steps from the baseline.

    ahead: the bets that its search has gone on by since, of which nothing is claimed yet.
    `effect` and `holdout` are the author's own measurements. `replicated` sums what others found for the steps that
    they have re-run (`replicated_steps` of them); the other steps count as 0. Effects are J: negative is better.
    """

    author: bytes
    source: bytes
    compute_class: str
    steps: tuple[Step, ...]
    ahead: tuple[Step, ...]
    effect: Effect | None
    holdout: Effect | None
    replicated: Effect | None
    replicated_steps: int
    experiments: int
    replications: int


def author_bests(records: Iterable[Record], baseline: bytes, weights: Weights) -> list[AuthorBest]:
    """Every author's best, by compute class, the largest replicated gain first.

    Those with the same source stand together, who found it before who adopted it: a copy's luckier figure is no gain.

    weights: of the authors at this node. What it has refuted is left out of the steps of others.

    An author that found nothing has the baseline as its best.
    """
    held = list(records)
    feeds: dict[bytes, list[Record]] = {}
    for record in held:
        feeds.setdefault(record.author, []).append(record)
    known = {found.record.id: found for found in discoveries(held, weights)}
    invalidated = frozenset(key for key, found in known.items() if found.standing.verdict == Verdict.REFUTED)
    origins, found = Origins(held), []
    for author, unordered in feeds.items():
        feed = sorted(unordered, key=lambda record: record.seq)
        found_steps = steps_of(feed, frozenset() if author == weights.root else invalidated)
        steps, ahead = proven(found_steps), open_chain(found_steps)
        replicated = [effect for effect in _replicated(steps, known, origins, baseline) if effect is not None]
        bodies, counts = [record.body for record in feed], tally(feed)
        classes = [b.compute_class for b in bodies if isinstance(b, Experiment | Replication)]
        found.append(
            AuthorBest(
                author=author,
                source=steps[-1].source if steps else baseline,
                compute_class=classes[-1] if classes else "",
                steps=tuple(steps),
                ahead=tuple(ahead),
                effect=best_gain(found_steps),
                holdout=chain(step.holdout for step in steps),
                replicated=chain(replicated),
                replicated_steps=len(replicated),
                experiments=counts.experiments,
                replications=counts.replications,
            )
        )
    return _ordered(found)


def places(bests: Iterable[AuthorBest]) -> dict[bytes, int]:
    """The place of every author in its class, from 1: one for all with the same source. bests: in their order."""
    found: dict[bytes, int] = {}
    of_class: dict[str, int] = {}
    before: AuthorBest | None = None
    for best in bests:
        number = of_class[best.compute_class] = of_class.get(best.compute_class, 0) + 1
        same = before is not None and (before.compute_class, before.source) == (best.compute_class, best.source)
        found[best.author] = found[before.author] if before is not None and same else number
        before = best
    return found


def _ordered(bests: Iterable[AuthorBest]) -> list[AuthorBest]:
    first: dict[tuple[str, bytes], AuthorBest] = {}
    by_origin = sorted(bests, key=lambda best: (_is_copy(best), *_figures(best)))
    for best in by_origin:
        first.setdefault((best.compute_class, best.source), best)

    def order(best: AuthorBest) -> tuple[str, float, float, bytes]:
        replicated, own, author = _figures(first[best.compute_class, best.source])
        return best.compute_class, replicated, own, author

    return sorted(by_origin, key=order)


def _figures(best: AuthorBest) -> tuple[float, float, bytes]:
    return _mean(best.replicated), _mean(best.effect), best.author


def _is_copy(best: AuthorBest) -> bool:
    """Whether its author has the source from another, as the last step says."""
    return bool(best.steps) and isinstance(best.steps[-1].record.body, Replication)


def best_gain(steps: Sequence[Step]) -> Effect | None:
    """An author's best gain over the baseline: what it claims and adopted, added up.

    The bets at the end of its steps are told apart (`AuthorBest.ahead`). None where there is nothing, or a step among
    them was not measured.
    """
    return chain(step.effect for step in proven(steps))


def _mean(effect: Effect | None) -> float:
    return effect.mean if effect is not None else 0.0


def _replicated(
    steps: Sequence[Step], known: Mapping[bytes, Discovery], origins: Origins, baseline: bytes
) -> list[Effect | None]:
    """What others found for every step; None for one that nobody has re-run.

    After the adoption of a whole lineage, the author's source rests on the steps of that lineage instead of its own.
    """
    wholes = [at for at, step in enumerate(steps) if _adopted_whole(step)]
    effects: list[Effect | None] = []
    if wholes:  # the last one replaced what was there
        body = steps[wholes[-1]].record.body
        assert isinstance(body, Replication)
        path = origins.path(body.child, baseline)
        effects = [known[record.id].standing.effect for record in path if record.id in known]
        steps = steps[wholes[-1] + 1 :]
    for step in steps:
        body = step.record.body
        claim = body.discovery if isinstance(body, Replication) else step.record.id
        effects.append(known[claim].standing.effect if claim in known else None)
    return effects


def _adopted_whole(step: Step) -> bool:
    return isinstance(step.record.body, Replication) and step.record.body.route == Route.WHOLE

"""Progress: how far this node has got from the baseline, step by step, and how far anybody has, each with its error.

Gains are over the baseline and add up along an author's steps, as the leaderboard's do; the error is that of the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from node.ledger.projections.effects import chain, gain, gain_error, gain_text
from node.ledger.projections.leaderboard import AuthorBest
from node.ledger.projections.steps import Step
from node.platform.log import Json
from node.view.model.folds import Folds
from node.view.model.swarm import title_of
from protocol.identity import peer_id_of
from protocol.metric import Metric
from protocol.records import Effect, Replication

MOST_STEPS = 500


def progress(folds: Folds) -> Json:
    """The baseline, this node's steps, and the best of anybody each time it got better."""
    own = folds.bests.get(folds.me)
    value = folds.start.value
    foot = {"what": "baseline", "gain": 0.0, "se": 0.0, "value": value, "gain_text": None}
    return {
        "baseline": folds.start.as_json(),
        "gain_unit": folds.measure.suffix.strip(),
        "you": [foot, *_steps(folds, own, value)][: MOST_STEPS + 1] if own is not None else [foot],
        "best": _best(folds, value),
        "swarm": _swarm(folds, value),
    }


def _steps(folds: Folds, best: AuthorBest, start: float | None) -> list[Json]:
    """An author's steps, bets included, each with the gain over the baseline until there."""
    steps = [*best.steps, *best.ahead]
    return [_point(folds, step, _sum(steps[: number + 1]), start) for number, step in enumerate(steps)]


def _sum(steps: Sequence[Step]) -> Effect | None:
    """The effect of these steps together; a step that was not measured counts as none."""
    return chain(step.effect for step in steps if step.effect is not None)


def _point(folds: Folds, step: Step, total: Effect | None, start: float | None) -> Json:
    record = step.record
    what = "adoption" if isinstance(record.body, Replication) else "bet" if step.is_bet else "claim"
    return {
        "id": record.id.hex(),
        "title": title_of(record, folds.by_id),
        "by": peer_id_of(record.author),
        "time": record.time,
        "what": what,
        **_figures(total, folds.measure, start),
    }


def _figures(total: Effect | None, metric: Metric, start: float | None) -> Json:
    if total is None:
        return {"gain": None, "se": None, "value": None, "gain_text": None}
    value = metric.moved(start, total.mean) if start is not None else None
    return {
        "gain": gain(total, metric),
        "se": gain_error(total, metric),
        "value": value,
        "gain_text": gain_text(total, metric),
    }


def _best(folds: Folds, start: float | None) -> Json | None:
    """The author who got furthest with what it claims, and what others found of that."""
    ahead = max(
        (best for best in folds.bests.values() if best.effect is not None and best.steps),
        key=lambda best: (-best.effect.mean if best.effect else 0.0, best.author),
        default=None,
    )
    if ahead is None:
        return None
    last = ahead.steps[-1].record
    replicated = gain_text(ahead.replicated, folds.measure) if ahead.replicated is not None else None
    return {
        "id": last.id.hex(),
        "by": peer_id_of(ahead.author),
        "title": title_of(last, folds.by_id),
        "replicated_text": replicated,
        **_figures(ahead.effect, folds.measure, start),
    }


def _swarm(folds: Folds, start: float | None) -> list[Json]:
    """The best of anybody over the order of arrival, each time it got better: the last MOST_STEPS of them."""
    place = {record.id: number for number, record in enumerate(folds.records)}
    points: list[tuple[int, float, Step, Effect]] = []
    for best in folds.bests.values():
        for number, step in enumerate(best.steps):
            total = _sum(best.steps[: number + 1])
            if total is not None:
                points.append((place[step.record.id], total.mean, step, total))
    found: list[Json] = []
    furthest = 0.0
    for _, mean, step, total in _in_order(points):
        if mean < furthest:
            furthest = mean
            found.append(_point(folds, step, total, start))
    return found[-MOST_STEPS:]


def _in_order(points: Iterable[tuple[int, float, Step, Effect]]) -> list[tuple[int, float, Step, Effect]]:
    return sorted(points, key=lambda point: point[0])

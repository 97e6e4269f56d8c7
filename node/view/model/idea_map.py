"""The map of ideas: by category what was tried, what was kept, what it gained with its error, and the ideas themselves.

Taken in record by record, so that a new record costs no fold of all. Bounded: of very many titles of a category only so
many are remembered, the best and the latest. A chain is no further try, since each of its steps was tried by itself; as
a claim it counts in the category of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from node.ledger.projections.conclusions import conclusion, found_text
from node.ledger.projections.effects import gain, gain_error, gain_figures, gain_text
from node.ledger.projections.steps import leads_on
from node.platform.log import Json
from protocol.identity import peer_id_of
from protocol.metric import Metric
from protocol.records import Decision, Effect, Experiment, Record, metric_of

MOST_CATEGORIES = 40
MOST_IDEAS = 40  # of a category, as shown
MOST_REMEMBERED = 200  # titles of a category; twice as many before those that gained least are forgotten
MOST_KNOWN = 1000  # categories: a category is its author's word


@dataclass
class _Idea:
    """What experiments of one title came to: the best of them stands for it."""

    record: Record
    body: Experiment
    times: int = 1

    @property
    def order(self) -> tuple[bool, float, int]:
        """Best first: what was measured before what was not, then by gain, then the latest."""
        effect = self.body.effect
        return effect is None, effect.mean if effect is not None else 0.0, -self.record.time


@dataclass
class _Category:
    tried: int = 0
    kept: int = 0
    failed: int = 0
    claims: int = 0
    measured: int = 0
    total: float = 0.0  # of gains
    squares: float = 0.0
    errors: float = 0.0  # of squared standard errors
    forgotten: int = 0  # titles
    best: tuple[float, Record, Experiment] | None = None
    ideas: dict[str, _Idea] = field(default_factory=dict)


def categories_of(claim: Experiment) -> frozenset[str]:
    """The categories of the ideas that a claim is about: of a chain those of its steps."""
    return frozenset(step.category for step in claim.chain) or frozenset((claim.category,))


class IdeaMap:
    """Takes in records as they come. metric: of the objective's records."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._categories: dict[str, _Category] = {}
        self._unknown = 0  # categories beyond MOST_KNOWN

    def add(self, record: Record) -> None:
        body = record.body
        if not isinstance(body, Experiment):
            return
        if body.chain:
            if body.decision == Decision.IMPROVED:
                for name in categories_of(body) & self._categories.keys():
                    self._categories[name].claims += 1
            return
        if body.category not in self._categories and len(self._categories) >= MOST_KNOWN:
            self._unknown += 1
            return
        found = self._categories.setdefault(body.category, _Category())
        found.tried += 1
        found.kept += leads_on(body)
        found.failed += body.decision == Decision.FAILED
        found.claims += body.decision == Decision.IMPROVED
        if body.effect is not None:
            shown, error = gain(body.effect, metric_of(body)), gain_error(body.effect, metric_of(body))
            if math.isfinite(shown) and math.isfinite(error):
                found.measured += 1
                found.total += shown
                found.squares += shown * shown
                found.errors += error * error
                if leads_on(body) and (found.best is None or shown > found.best[0]):
                    found.best = shown, record, body
        _note(found, record, body)

    def as_json(self) -> Json:
        """The categories, the most tried first."""
        ordered = sorted(self._categories.items(), key=lambda item: (-item[1].tried, item[0]))
        return {
            "categories": [self._category(name, found) for name, found in ordered[:MOST_CATEGORIES]],
            "rest_categories": max(0, len(ordered) - MOST_CATEGORIES) + self._unknown,
        }

    def _category(self, name: str, found: _Category) -> Json:
        ideas = sorted(found.ideas.values(), key=lambda idea: idea.order)
        best = found.best[2].effect if found.best is not None else None
        mean = _mean(found)
        return {
            "category": name,
            "tried": found.tried,
            "measured": found.measured,
            "kept": found.kept,
            "failed": found.failed,
            "claims": found.claims,
            "gain": mean,
            "gain_text": self._text(mean) if mean is not None else None,
            "best": self._figures(best) if best is not None else None,
            "best_text": gain_text(best, self._metric) if best is not None else None,
            "best_id": found.best[1].id.hex() if found.best is not None else None,
            "ideas": [self._idea(idea) for idea in ideas[:MOST_IDEAS]],
            "more": max(0, len(ideas) - MOST_IDEAS) + found.forgotten,
        }

    def _figures(self, effect: Effect) -> list[float]:
        return [gain(effect, self._metric), gain_error(effect, self._metric), effect.n]

    def _text(self, figures: list[float]) -> str:
        shown, error = gain_figures(figures[0], figures[1], self._metric.suffix)
        return f"{shown}{self._metric.suffix} ± {error}"

    def _idea(self, idea: _Idea) -> Json:
        body, record = idea.body, idea.record
        return {
            "id": record.id.hex(),
            "title": body.title,
            "decision": body.decision,
            "conclusion": conclusion(body),
            "kept": leads_on(body),
            "gain": self._figures(body.effect) if body.effect is not None else None,
            "gain_text": found_text(body),
            "by": peer_id_of(record.author),
            "times": idea.times,
            "time": record.time,
        }


def _note(found: _Category, record: Record, body: Experiment) -> None:
    known = found.ideas.get(body.title)
    if known is not None:
        better = _Idea(record, body, known.times + 1)
        known.times += 1
        if better.order < known.order:
            found.ideas[body.title] = better
        return
    found.ideas[body.title] = _Idea(record, body)
    if len(found.ideas) > 2 * MOST_REMEMBERED:
        best = sorted(found.ideas, key=lambda title: found.ideas[title].order)[:MOST_REMEMBERED]
        found.forgotten += len(found.ideas) - len(best)
        found.ideas = {title: found.ideas[title] for title in best}


def _mean(found: _Category) -> list[float] | None:
    """The mean gain of what was measured, its standard error and of how many; None where nothing was.

    The error is what the spread among the ideas says, or of a single idea that idea's own.
    """
    if not found.measured:
        return None
    mean = found.total / found.measured
    if found.measured == 1:
        return [mean, math.sqrt(found.errors), 1]
    variance = max(0.0, found.squares / found.measured - mean * mean) * found.measured / (found.measured - 1)
    return [mean, math.sqrt(variance / found.measured), found.measured]

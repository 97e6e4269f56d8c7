"""Two records side by side: what each tried and measured, what its runs here showed, how their sources differ."""

from __future__ import annotations

import math

from node.execution.parsing.parser import SourceParser
from node.ledger.projections.conclusions import conclusion
from node.ledger.projections.discoveries import discoveries
from node.ledger.projections.effects import gain_text
from node.ledger.store import Ledger
from node.platform.log import Json
from node.view.model import leaderboard as data
from node.view.model.rows import row
from protocol.evidence import Verdict
from protocol.identity import peer_id_of
from protocol.metric import Metric
from protocol.records import Effect, Experiment, Pair, Record, Replication, Transfer, metric_of

MOST_CURVES = 12  # of one side


class NotComparableError(Exception):
    """Two records cannot be compared; the text says why."""


async def compare(ledger: Ledger, a: Record, b: Record, parser: SourceParser) -> Json:
    """Both records, and how b differs from a. Raises NotComparableError where one of them shows no runs."""
    sides = [_body(record) for record in (a, b)]
    metric = metric_of(sides[0])
    if metric_of(sides[1]) != metric:
        raise NotComparableError("the two records measure different things")
    seeds = [{pair.seed for pair in _pairs(body)} for body in sides]
    difference = _difference(sides[0].effect, sides[1].effect) if a.id != b.id else None
    told = _difference_text(difference, metric, sides[0].parent == sides[1].parent)
    children = sides[0].child, sides[1].child
    return {
        **data.measured_json(ledger),
        "a": _side(ledger, a, sides[0]),
        "b": _side(ledger, b, sides[1]),
        "same_parent": sides[0].parent == sides[1].parent,
        "same_child": children[0] == children[1],
        "difference": data.effect_json(difference, metric),
        "difference_text": told if a.id != b.id else "a and b are the same record",
        "shared_seeds": sorted(seeds[0] & seeds[1]),
        "diff": await data.diff(ledger, *children, parser),
    }


def _body(record: Record) -> Experiment | Replication | Transfer:
    if not isinstance(record.body, Experiment | Replication | Transfer):
        raise NotComparableError(f"a record of the kind {record.kind!r} shows no runs, so it cannot be compared")
    return record.body


def _pairs(body: Experiment | Replication | Transfer) -> tuple[Pair, ...]:
    screening = (body.screening,) if isinstance(body, Experiment) and body.screening is not None else ()
    return (*screening, *body.pairs)


def _difference(a: Effect | None, b: Effect | None) -> Effect | None:
    """How much more b gained than a, each against its own parent; errors add in quadrature."""
    if a is None or b is None:
        return None
    return Effect(b.mean - a.mean, math.hypot(a.se, b.se), min(a.n, b.n))


def _difference_text(difference: Effect | None, metric: Metric, same_parent: bool) -> str | None:
    if difference is None:
        return None
    against = "both against the same source" if same_parent else "each against its own parent"
    return f"b − a: {gain_text(difference, metric)}, {against}"


def _side(ledger: Ledger, record: Record, body: Experiment | Replication | Transfer) -> Json:
    shown = row(record)
    claim = body if isinstance(body, Experiment) else None
    about = ledger.record(body.discovery) if not isinstance(body, Experiment) else None
    told = claim or (about.body if about is not None and isinstance(about.body, Experiment) else None)
    pairs = _pairs(body)
    children = [pair.child for pair in pairs]
    return {
        "id": record.id.hex(),
        "kind": record.kind,
        "title": told.title if told is not None else "",
        "category": told.category if told is not None else None,
        "reason": told.reason if told is not None else "",
        "proposer": told.proposer if told is not None else None,
        "by": peer_id_of(record.author),
        "time": record.time,
        "compute_class": body.compute_class,
        "device": body.device,
        "decision": body.decision,
        "conclusion": conclusion(body) if isinstance(body, Experiment) else None,
        "gain": shown.get("gain"),
        "gain_text": gain_text(body.effect, metric_of(body)),
        "effect": data.effect_with_parts_json(body),
        "holdout": data.effect_json(body.holdout, metric_of(body)) if isinstance(body, Experiment) else None,
        "value": _mean([run.value for run in children]),
        "from": _mean([pair.parent.value for pair in pairs]),
        "cost_ratio": body.cost_ratio,
        "cpu_seconds": _mean([run.cpu_seconds for run in children]),
        "tokens": max((run.tokens for run in children), default=0),
        "standing": _standing(ledger, record),
        "parent": body.parent.hex(),
        "child": body.child.hex(),
        "runs": data.runs_json(body.screening if isinstance(body, Experiment) else None, body.pairs),
        "curves": _curves(ledger, body, pairs),
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _standing(ledger: Ledger, record: Record) -> Verdict | None:
    weights = ledger.weights(ledger.settings.author)
    found = discoveries(ledger.all_records(), weights, {record.id})
    return found[0].standing.verdict if found else None


def _curves(ledger: Ledger, body: Experiment | Replication | Transfer, pairs: tuple[Pair, ...]) -> list[Json]:
    """The runs of these sources that were made here, at the seeds that the record tells: what it kept of each."""
    told = {pair.seed for pair in pairs}
    found = []
    for of, source in (("parent", body.parent), ("child", body.child)):
        for seed, outcome in ledger.runs_with_seeds(source):
            if seed in told:
                found.append(
                    {
                        "of": of,
                        "seed": seed,
                        "value": outcome.value,
                        "failure": outcome.failure,
                        "metrics": outcome.metrics,
                        "cpu_seconds": outcome.cpu_seconds,
                        "wall_seconds": outcome.wall_seconds,
                        "peak_memory": outcome.peak_memory,
                        "curve": [[round(share, 4), float(f"{loss:.5g}")] for share, loss, _ in outcome.curve],
                    }
                )
    return found[:MOST_CURVES]

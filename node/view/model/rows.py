"""A record in the few fields that a chart and a list need, and what was tried by category, as plain data.

Behind the dashboard, the report, the plots and the tables that are exported. Pure functions of records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from node.ledger.projections.effects import gain_percent, se_percent
from node.platform.log import Json
from protocol.audits import is_report
from protocol.identity import peer_id_of
from protocol.records import Audit, Decision, Effect, Experiment, Hypothesis, Record, Replication

MAX_CATEGORIES = 40  # a category is its author's word, so there may be any number


def row(record: Record) -> Json:
    """One record: `value` is the metric of the child, `from` of its parent, `gain` [gain %, standard error %, pairs].

    Both are means over the pairs, or of the screening run where nothing else was run.
    """
    body = record.body
    shown: Json = {
        "id": record.id.hex(),
        "kind": record.kind,
        "by": peer_id_of(record.author),
        "time": record.time,
    }
    match body:
        case Experiment():
            pairs = body.pairs or ((body.screening,) if body.screening else ())
            shown |= {
                "title": body.title,
                "category": body.category,
                "class": body.compute_class,
                "decision": body.decision,
                "gain": _gain(body.effect),
                "value": _value(pair.child.value for pair in pairs),
                "from": _value(pair.parent.value for pair in pairs),
            }
        case Replication():
            shown |= {
                "of": body.discovery.hex(),
                "class": body.compute_class,
                "decision": body.decision,
                "gain": _gain(body.effect),
                "value": _adopted_value(record),
                "route": body.route,
            }
        case Audit():
            shown |= {"of": body.discovery.hex(), "class": body.compute_class}
        case Hypothesis():
            shown |= {"title": body.title, "category": body.category}
    return shown


def _gain(effect: Effect | None) -> list[float] | None:
    return [round(gain_percent(effect), 3), round(se_percent(effect), 3), effect.n] if effect else None


def _value(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 5) if known else None


def _adopted_value(record: Record) -> float | None:
    """The metric of the adopted source; known where that is the child that was reported on.

    After a merge it was not measured, and the record of a local trial carries no runs.
    """
    body = record.body
    if not isinstance(body, Replication) or body.adopted != body.child or not is_report(record):
        return None
    return _value(pair.child.value for pair in body.pairs)


def tried(rows: Sequence[Json]) -> list[Json]:
    """What was tried by category and what it gave, the most tried first."""
    by_category: dict[str, list[Json]] = {}
    for one in rows:
        if one["kind"] == "experiment":
            by_category.setdefault(one["category"], []).append(one)
    ordered = sorted(by_category.items(), key=lambda item: (-len(item[1]), item[0]))
    return [_category(name, found) for name, found in ordered[:MAX_CATEGORIES]]


def _category(name: str, found: list[Json]) -> Json:
    improved = [one for one in found if one["decision"] == Decision.IMPROVED]
    measured = [one["gain"] for one in found if one["gain"]]
    return {
        "category": name,
        "tried": len(found),
        "improved": len(improved),
        "failed": sum(one["decision"] == "failed" for one in found),
        "median_gain_percent": median(gain[0] for gain in measured) if measured else None,
        "best": max((one["gain"] for one in improved if one["gain"]), default=None),
        "best_id": max(((one["gain"][0], one["id"]) for one in improved if one["gain"]), default=(0, None))[1],
    }

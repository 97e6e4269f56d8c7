"""A record in the few fields that a chart and a list need, and what was tried by category, as plain data.

Behind the dashboard, the report, the plots and the tables that are exported. Pure functions of records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from node.ledger.projections.conclusions import conclusion, ended_early_text
from node.ledger.projections.effects import gain, gain_error, gain_text
from node.ledger.projections.levels import Levels
from node.ledger.projections.steps import leads_on
from node.platform.log import Json
from node.view.model.baseline import Baseline
from protocol.audits import has_report_form
from protocol.identity import peer_id_of
from protocol.metric import SMALLEST_EFFECT, Metric
from protocol.records import Audit, Experiment, Hypothesis, Record, Replication, Transfer, metric_of

MAX_CATEGORIES = 40  # a category is its author's word, so there may be any number


class Rows:
    """Rows of records as they come, each with the level of its child and, as `level_from`, of its parent."""

    def __init__(self, start: Baseline | None = None) -> None:
        self._levels = start.levels() if start is not None else Levels()

    def add(self, record: Record) -> Json:
        shown = row(record)
        levels = self._levels.add(record)
        if levels is not None:
            shown |= {"level_from": _short(levels[0]), "level": _short(levels[1])}
        return shown


def rows_of(records: Iterable[Record], start: Baseline | None = None) -> list[Json]:
    """All of these records, in order. start: of the ledger that they are in, where levels are to be shown."""
    rows = Rows(start)
    return [rows.add(record) for record in records]


def row(record: Record) -> Json:
    """One record: `value` is the metric of the child, `from` of its parent, `gain` [gain, standard error, pairs].

    conclusion: what its author's search made of it (`projections.conclusions`). kept: it went on from the child,
    which is a bet where the decision is not "improved". steps: of the chain that was verified as a
    whole; 0 where one idea was tried.
    Values are means over the pairs, or of the screening run where nothing else was run. The gain is in per cent, or in
    units of a linear metric; `gain_text` is how it is written.
    ended_at: of a run that was ended early, the share of its budget; `gain_text` then says so, and there is no gain.
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
                "conclusion": conclusion(body),
                "kept": leads_on(body),
                "steps": len(body.chain),
                **_gain(body),
                **_ended_early(body),
                "value": _value(pair.child.value for pair in pairs),
                "from": _value(pair.parent.value for pair in pairs),
            }
        case Replication():
            shown |= {
                "of": body.discovery.hex(),
                "class": body.compute_class,
                "decision": body.decision,
                **_gain(body),
                "value": _adopted_value(record),
                "route": body.route,
            }
        case Audit():
            shown |= {"of": body.discovery.hex(), "class": body.compute_class}
        case Transfer():
            shown |= {
                "of": body.discovery.hex(),
                "class": body.compute_class,
                "decision": body.decision,
                "scale": body.scale,
                **_gain(body),
            }
        case Hypothesis():
            shown |= {"title": body.title, "category": body.category}
    return shown


def _gain(body: Experiment | Replication | Transfer) -> Json:
    effect, metric = body.effect, metric_of(body)
    if effect is None:
        return {"gain": None}
    figures = [_short(gain(effect, metric)), _short(gain_error(effect, metric)), effect.n]
    return {"gain": figures, "gain_text": gain_text(effect, metric)}


def _ended_early(body: Experiment) -> Json:
    text = ended_early_text(body)
    return {} if text is None else {"ended_at": body.ended_at, "gain_text": text}


def _value(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _short(sum(known) / len(known)) if known else None


def _short(number: float) -> float:
    """A number with six digits, whatever its size."""
    return float(f"{number:.6g}")


def _adopted_value(record: Record) -> float | None:
    """The metric of the adopted source; known where that is the child that was reported on.

    After a merge it was not measured, and the record of a local trial carries no runs.
    """
    body = record.body
    if not isinstance(body, Replication) or body.adopted != body.child or not has_report_form(record):
        return None
    return _value(pair.child.value for pair in body.pairs)


def least_drawn(metric: Metric) -> float:
    """Values of a linear metric between which a chart begins: ten of the smallest differences worth telling."""
    return 10 * SMALLEST_EFFECT * metric.unit


def tried(rows: Sequence[Json], metric: Metric) -> list[Json]:
    """What was tried by category and what it gave, the most tried first. metric: of the rows' records.

    Chains are left out: each of their steps was tried by itself.
    """
    by_category: dict[str, list[Json]] = {}
    for one in rows:
        if one["kind"] == "experiment" and not one["steps"]:
            by_category.setdefault(one["category"], []).append(one)
    ordered = sorted(by_category.items(), key=lambda item: (-len(item[1]), item[0]))
    return [_category(name, found, metric) for name, found in ordered[:MAX_CATEGORIES]]


def _category(name: str, found: list[Json], metric: Metric) -> Json:
    kept = [one for one in found if one["kept"]]
    middle = median(gains) if (gains := [one["gain"][0] for one in found if one["gain"]]) else None
    best = max((one for one in kept if one["gain"]), key=lambda one: (one["gain"][0], one["id"]), default=None)
    return {
        "category": name,
        "tried": len(found),
        "kept": len(kept),
        "failed": sum(one["decision"] == "failed" for one in found),
        "median_gain": middle,
        "median_text": None if middle is None else f"{middle:+.1f} %" if metric.suffix else f"{middle:+.3g}",
        "best": best["gain"] if best else None,
        "best_text": best["gain_text"] if best else None,
        "best_id": best["id"] if best else None,
    }

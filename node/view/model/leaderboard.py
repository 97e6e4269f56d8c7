"""What a person can see, as plain data: the one form behind `--json`, the tables and the page.

Built from the ledger alone, with ids in hexadecimal, peers by their peer id, and effects as records have them, as gains
and as text. Standings are this node's own: they rest on its runs.
"""

from __future__ import annotations

import time

from node.execution.parsing.parser import SourceParser
from node.ledger.projections.conclusions import conclusion, conclusion_text
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import chain, gain, gain_error, gain_text
from node.ledger.projections.leaderboard import AuthorBest, author_bests, places
from node.ledger.projections.lineage import path_from_baseline
from node.ledger.store import Ledger
from node.objective.edits import EditError
from node.platform.log import Json, short_id
from node.proposers.spending import spent
from node.trials.effect_parts import parts_of, parts_text
from node.view.model.folds import Folds
from node.view.model.standing import rests_on
from protocol.audits import repeats
from protocol.identity import peer_id_of
from protocol.metric import Metric
from protocol.records import (
    Audit,
    Effect,
    Experiment,
    Hypothesis,
    Pair,
    Record,
    Replication,
    Run,
    Transfer,
    body_to_json,
    metric_of,
)

MAX_DIFF_LINES = 400
MAX_COMPARED_LINES = 2000  # the time of a comparison grows with the square of the length, and more


def effect_json(effect: Effect | None, metric: Metric) -> Json | None:
    """Effect as `mean` (J as in records, negative is better) and as `gain` (positive is better).

    `gain_unit` is "%", or "" where the gain is in units of the metric; per cent are under `gain_percent` as well.
    """
    if effect is None:
        return None
    shown, error = gain(effect, metric), gain_error(effect, metric)
    return {
        "mean": effect.mean,
        "se": effect.se,
        "pairs": effect.n,
        "gain": shown,
        "gain_se": error,
        "gain_unit": gain_unit(metric),
        "text": gain_text(effect, metric),
    } | ({"gain_percent": shown, "gain_se_percent": error} if gain_unit(metric) else {})


def gain_unit(metric: Metric) -> str:
    """The unit of gains: "%", or "" where they are in units of the metric."""
    return metric.suffix.strip()


def effect_with_parts_json(body: Experiment | Replication | Transfer) -> Json | None:
    """The same of a record's own effect, with the parts of the metric and of cost, as far as its pairs tell them."""
    measure = metric_of(body)
    shown, parts = effect_json(body.effect, measure), parts_of(body)
    if shown is None or parts is None:
        return shown
    about = {"ratio": parts.ratio, "measure": parts.measure}
    metric, cost = _part_json(parts.metric, measure), _part_json(parts.cost, measure) | about
    return shown | {"metric": metric, "cost": cost, "parts_text": parts_text(parts, measure)}


def _part_json(part: float, metric: Metric) -> Json:
    shown = metric.gain(part)
    return {"mean": part, "gain": shown} | ({"gain_percent": shown} if gain_unit(metric) else {})


def measured_json(ledger: Ledger) -> Json:
    """What the values of a ledger's objective are, in which unit gains over them are, and who measured them."""
    about = ledger.settings.description
    return {
        "name": about.name,
        "metric": about.metric,
        "unit": about.unit,
        "direction": about.measure.direction,
        "scale": about.measure.scale,
        "gain_unit": gain_unit(about.measure),
        "measured": about.trust,
    }


def leaderboard(ledger: Ledger, folds: Folds | None = None) -> Json:
    """Discoveries with their standing at this node, and how far each author has got. folds: if there are some."""
    folds = folds or Folds.of(ledger)
    measure, placed = ledger.settings.measure, places(folds.bests.values())
    return {
        "objective": ledger.objective.hex(),
        **measured_json(ledger),
        "baseline": ledger.settings.baseline.hex(),
        "records": len(folds.records),
        "same_folder": same_folder(ledger),
        "nodes": [{"place": placed[best.author]} | _best_json(best, measure) for best in folds.bests.values()],
        "discoveries": sorted(
            (discovery_json(found) for found in folds.discoveries.values()),
            key=lambda row: (row["compute_class"], -_gain(row["replicated"]), -_gain(row["claimed"]), row["id"]),
        ),
    }


def same_folder(ledger: Ledger) -> list[Json]:
    """What was researched from this objective's folder when that had other files, the latest first."""
    known, folder = ledger.settings.descriptions, ledger.settings.description.folder
    others = [
        (about.joined, objective)
        for objective, about in known.items()
        if folder and about.folder == folder and objective != ledger.objective
    ]
    counts = ledger.record_counts() if others else {}
    ordered = [objective for _, objective in sorted(others, reverse=True) if objective in counts]
    return [{"id": objective.hex(), "records": counts[objective]} for objective in ordered]


def _gain(effect: Json | None) -> float:
    return float(effect["gain"]) if effect else 0.0


def _best_json(best: AuthorBest, metric: Metric) -> Json:
    return {
        "peer": peer_id_of(best.author),
        "compute_class": best.compute_class,
        "best_source": best.source.hex(),
        "gain": effect_json(best.effect, metric),
        "holdout": effect_json(best.holdout, metric),
        "replicated": effect_json(best.replicated, metric),
        "replicated_steps": best.replicated_steps,
        "steps": [step.record.id.hex() for step in best.steps],
        "ahead": _ahead_json(best, metric),
        "experiments": best.experiments,
        "replications": best.replications,
    }


def _ahead_json(best: AuthorBest, metric: Metric) -> Json | None:
    """How far the search has gone on by bets, of which nothing is claimed yet; None where it has not."""
    effect = chain(step.effect for step in best.ahead)
    if not best.ahead:
        return None
    bets = [step.record.id.hex() for step in best.ahead]
    return {"source": best.ahead[-1].source.hex(), "gain": effect_json(effect, metric), "bets": bets}


def discovery_json(found: Discovery) -> Json:
    """One discovery: what its author claims, and apart from that what others found."""
    claim = found.claim
    metric = metric_of(claim)
    return {
        "id": found.record.id.hex(),
        "title": claim.title,
        "category": claim.category,
        "author": peer_id_of(found.record.author),
        "compute_class": claim.compute_class,
        "claimed": effect_json(claim.effect, metric),
        "holdout": effect_json(claim.holdout, metric),
        "holdout_ratio": _ratio(claim),
        "seeds": [pair.seed for pair in claim.pairs],
        "cost_ratio": claim.cost_ratio,
        "replicated": effect_json(found.standing.effect, metric),
        "unchecked": effect_json(found.standing.unchecked, metric),
        "reports": found.standing.reports,
        "keys": found.standing.keys,
        "checked_keys": found.standing.known,
        "run_again_here": found.standing.upheld,
        "weight": found.standing.weight,
        "missing_reports": found.standing.missing,
        "made_up": found.standing.overturned,
        "classes": list(found.standing.classes),
        "reach": _reach(found),
        "standing": found.standing.verdict,
        "rests_on": rests_on(found.standing),
    }


def _reach(found: Discovery) -> str | None:
    """Whether a confirmed discovery holds in general or was confirmed in its own class only."""
    if found.standing.verdict != "confirmed":
        return None
    return "general" if found.standing.general else "class-bound"


def _ratio(claim: Experiment) -> float | None:
    """Holdout gain over validation gain; well under 1 speaks of overfitting the validation data."""
    if claim.holdout is None or claim.effect is None or not claim.effect.mean:
        return None
    return claim.holdout.mean / claim.effect.mean


def records(ledger: Ledger) -> list[Json]:
    """Every record held, in the order of arrival, with what its author's search concluded where it is an experiment."""
    return [body_to_json(record) | _conclusion(record.body) for record in ledger.all_records()]


def _conclusion(body: object) -> Json:
    return {"conclusion": conclusion(body)} if isinstance(body, Experiment) else {}


async def show(ledger: Ledger, record: Record, parser: SourceParser) -> Json:
    """Everything held about one record: itself, the edit, the runs, the replications and its lineage."""
    records = ledger.all_records()
    shown: Json = {"record": body_to_json(record), "author": peer_id_of(record.author), **measured_json(ledger)}
    body = record.body
    if isinstance(body, Experiment):
        weights = ledger.weights(ledger.settings.author)
        found = next((d for d in discoveries(records, weights, {record.id}) if d.record.id == record.id), None)
        shown |= {
            "conclusion": conclusion(body),
            "conclusion_text": conclusion_text(record, records, ledger.screenings.behind(body.child, body.parent)),
            "effect": effect_with_parts_json(body),
            "holdout": effect_json(body.holdout, metric_of(body)),
            "runs": runs_json(body.screening, body.pairs),
            "diff": await diff(ledger, body.parent, body.child, parser),
            "replications": [_replication_json(r) for r in found.replications] if found else [],
            "audits": [_audit_json(r, found) for r in found.audits] if found else [],
            "standing": found.standing.verdict if found else None,
            "rests_on": rests_on(found.standing) if found else None,
            "lineage": _lineage(ledger, body.parent),
            "replay": ledger.replays.of(body.child),
        }
    elif isinstance(body, Replication):
        claimed = next((r for r in records if r.id == body.discovery), None)
        shown |= {
            "effect": effect_with_parts_json(body),
            "adoption": effect_json(body.adoption, metric_of(body)),
            "runs": runs_json(None, body.pairs),
            "diff": await diff(ledger, body.parent, body.child, parser),
            "claim": body_to_json(claimed) if claimed else None,
            "lineage": _lineage(ledger, body.parent),
            "replay": ledger.replays.of(body.child),
        }
    elif isinstance(body, Transfer):
        claimed = next((r for r in records if r.id == body.discovery), None)
        shown |= {
            "effect": effect_with_parts_json(body),
            "runs": runs_json(None, body.pairs),
            "diff": await diff(ledger, body.parent, body.child, parser),
            "claim": body_to_json(claimed) if claimed else None,
        }
    elif isinstance(body, Hypothesis) and body.edit is not None and body.base is not None:
        shown |= {"diff": await diff(ledger, body.base, body.edit, parser)}
    return shown


def _lineage(ledger: Ledger, source: bytes) -> list[Json]:
    steps = []
    for record in path_from_baseline(ledger.all_records(), source, ledger.settings.baseline):
        body = record.body
        effect = body.effect if isinstance(body, Experiment | Replication) else None
        title = body.title if isinstance(body, Experiment) else "merged here"
        effect_shown = effect_json(effect, ledger.settings.measure)
        steps.append({"id": record.id.hex(), "title": title, "effect": effect_shown})
    return steps


def _replication_json(record: Record) -> Json:
    body = record.body
    assert isinstance(body, Replication)
    return {
        "id": record.id.hex(),
        "peer": peer_id_of(record.author),
        "compute_class": body.compute_class,
        "decision": body.decision,
        "effect": effect_with_parts_json(body),
        "adoption": effect_json(body.adoption, metric_of(body)),
        "adopted": body.adopted.hex() if body.adopted else None,
        "route": body.route,
    }


def _audit_json(record: Record, found: Discovery) -> Json:
    """One audit and whether it agrees with the report it is about; None when that report is not here."""
    body = record.body
    assert isinstance(body, Audit)
    report = next((r for r in found.replications if r.id == body.report), None)
    agrees = None
    if report is not None and isinstance(report.body, Replication):
        known = body.pair.seed in [pair.seed for pair in report.body.pairs]
        agrees = repeats(report.body, body) if known else None
    return {
        "id": record.id.hex(),
        "peer": peer_id_of(record.author),
        "report": body.report.hex(),
        "compute_class": body.compute_class,
        "seed": body.pair.seed,
        "parent": _run_json(body.pair.parent),
        "child": _run_json(body.pair.child),
        "agrees": agrees,
    }


def runs_json(screening: Pair | None, pairs: tuple[Pair, ...]) -> list[Json]:
    numbered = [("screening", screening)] if screening else []
    numbered += [(f"pair {number}", pair) for number, pair in enumerate(pairs, 1)]
    return [
        {"of": name, "seed": pair.seed, "parent": _run_json(pair.parent), "child": _run_json(pair.child)}
        for name, pair in numbered
        if pair is not None
    ]


def _run_json(run: Run) -> Json:
    return {
        "value": run.value,
        "cpu_seconds": run.cpu_seconds,
        "tokens": run.tokens,
        "checkpoints": [list(point) for point in run.checkpoints],
        "failure": run.failure,
    }


async def diff(ledger: Ledger, parent: bytes, child: bytes, parser: SourceParser) -> list[str] | None:
    """The edit as a unified diff, cut at a limit; None while one of the sources has not arrived."""
    before, after = ledger.get_blob(parent), ledger.get_blob(child)
    if before is None or after is None:
        return None
    old, new = before.decode("utf-8", "replace"), after.decode("utf-8", "replace")
    if max(len(old.splitlines()), len(new.splitlines())) > MAX_COMPARED_LINES:
        return [f"(a source of more than {MAX_COMPARED_LINES} lines is not compared)"]
    try:
        return await parser.diff(old, new, (f"parent {short_id(parent)}", f"child {short_id(child)}"), MAX_DIFF_LINES)
    except EditError as error:
        return [f"(not compared: {error})"]


def status(ledger: Ledger, running: Json | None) -> Json:
    """What this home holds, and what the node that runs in it (if any) says it is doing."""
    records = ledger.all_records()
    own, measure = ledger.settings.author, ledger.settings.measure
    mine = next(
        (best for best in author_bests(records, ledger.settings.baseline, ledger.weights(own)) if best.author == own),
        None,
    )
    return {
        "running": running is not None,
        "peer": peer_id_of(own) if own else None,
        "objective": ledger.objective.hex(),
        **measured_json(ledger),
        "records": len(records),
        "authors": len(ledger.vector()),
        "forks": len(ledger.forks()),
        "best": _best_json(mine, measure) if mine else None,
        "gain": effect_json(mine.effect, measure) if mine else None,
        "models": models(ledger),
        "now": running,
    }


def models(ledger: Ledger) -> Json:
    """What language models have cost in this home, in tokens and in the currency of the prices in `[llm]`."""
    total, hour = spent(ledger.settings, time.time())
    return {
        "tokens": total.tokens,
        "money": total.money,
        "tokens_last_hour": hour.tokens,
        "money_last_hour": hour.money,
    }

"""What carries over to larger scales, as plain data: by category, and each transfer. Pure functions of records."""

from __future__ import annotations

from collections.abc import Sequence

from node.ledger.projections.transfers import ALL, CarryOver, carry_over, comparisons
from node.platform.log import Json
from node.view.model.leaderboard import effect_json
from protocol.identity import peer_id_of
from protocol.records import Experiment, Record, Transfer, metric_of

MAX_ROWS = 200  # transfers that are listed, the newest; the rates are of all


def transfers(records: Sequence[Record]) -> Json:
    """`categories`: how each carries over to each scale; `transfers`: the last ones, the newest first."""
    compared = comparisons(records)
    scales = sorted({each.scale for each in compared})
    claims = {record.id: record for record in records if isinstance(record.body, Experiment)}
    held = [record for record in records if isinstance(record.body, Transfer)]
    return {
        "categories": [_category(row) for scale in scales for row in carry_over(compared, scale)],
        "transfers": [transfer_json(record, claims.get(_of(record))) for record in reversed(held[-MAX_ROWS:])],
    }


def _of(record: Record) -> bytes:
    body = record.body
    assert isinstance(body, Transfer)
    return body.discovery


def _category(row: CarryOver) -> Json:
    return {
        "category": row.category or "all",
        "all": row.category == ALL,
        "scale": row.scale,
        "tried": round(row.tried, 2),
        "carried": round(row.carried, 2),
        "rate": row.rate,
        "rate_error": row.rate_error,
        "ratio": row.ratio,
        "ratio_error": row.ratio_error if row.ratio is not None else None,
        "expected": row.expected,
        "text": carried_text(row),
    }


def carried_text(row: CarryOver) -> str:
    """A category in words: "3 of 4 carry over, at 0.8 ± 0.2 times the gain"."""
    size = "" if row.ratio is None else f", at {row.ratio:.2f} ± {row.ratio_error:.2f} times the gain"
    return f"{row.carried:.3g} of {row.tried:.3g} carry over{size}"


def transfer_json(record: Record, claim: Record | None) -> Json:
    """One transfer with the discovery it is of; None of that where it is not held."""
    body = record.body
    assert isinstance(body, Transfer)
    claimed = claim.body if claim is not None and isinstance(claim.body, Experiment) else None
    return {
        "id": record.id.hex(),
        "peer": peer_id_of(record.author),
        "discovery": body.discovery.hex(),
        "title": claimed.title if claimed is not None else None,
        "category": claimed.category if claimed is not None else None,
        "scale": body.scale,
        "compute_class": body.compute_class,
        "decision": body.decision,
        "effect": effect_json(body.effect, metric_of(body)),
        "claimed": effect_json(claimed.effect, metric_of(claimed)) if claimed is not None else None,
        "cost_ratio": body.cost_ratio,
        "pairs": len(body.pairs),
    }

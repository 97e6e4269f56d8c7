"""What carries over to larger scales and from other objectives, as plain data. Pure functions of records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from node.ledger.projections.effects import gain_figures
from node.ledger.projections.origins import CameFrom, came_from
from node.ledger.projections.transfers import ALL, CarryOver, carry_over, comparisons
from node.ledger.store import Ledger
from node.platform.log import Json
from node.view.model.leaderboard import effect_json
from protocol.identity import peer_id_of
from protocol.records import Experiment, Record, Transfer, metric_of

MAX_ROWS = 200  # transfers that are listed, the newest; the rates are of all


def transfers(
    records: Sequence[Record], is_proven: Callable[[bytes], bool], names: Mapping[bytes, str] = MappingProxyType({})
) -> Json:
    """`categories`: how each carries over to each scale; `transfers`: the last ones, the newest first.

    `objectives`: what came of ideas that were confirmed in other objectives. names: of objectives, as far as known.
    is_proven: whether this node has found an author right, or it is this node; the categories are by these alone.
    """
    compared = comparisons(records, is_proven)
    scales = sorted({each.scale for each in compared})
    return {
        "categories": [_category(row) for scale in scales for row in carry_over(compared, scale)],
        "transfers": listed_transfers(records),
        "objectives": [_came_from(row, names) for row in came_from(records)],
    }


def listed_transfers(records: Sequence[Record]) -> list[Json]:
    """The last transfers, whoever made them, the newest first."""
    claims = {record.id: record for record in records if isinstance(record.body, Experiment)}
    held = [record for record in records if isinstance(record.body, Transfer)]
    return [transfer_json(record, claims.get(_of(record))) for record in reversed(held[-MAX_ROWS:])]


def _came_from(row: CameFrom, names: Mapping[bytes, str]) -> Json:
    return {
        "objective": row.objective.hex(),
        "name": names.get(row.objective) or None,
        "category": row.category or "all",
        "all": not row.category,
        "tried": row.tried,
        "gained": row.gained,
        "rate": row.rate,
        "rate_error": row.rate_error,
        "gain": row.gain,
        "gain_error": row.gain_error if row.gain is not None else None,
        "gain_text": _mean_gain(row),
        "text": came_from_text(row),
    }


def came_from_text(row: CameFrom) -> str:
    """What came of ideas in words: "2 of 3 gain here too, +1.4 % ± 0.6 on average"."""
    gain = _mean_gain(row)
    return f"{row.gained} of {row.tried} gain here too" + (f", {gain} on average" if gain is not None else "")


def _mean_gain(row: CameFrom) -> str | None:
    if row.gain is None:
        return None
    shown, error = gain_figures(row.gain, row.gain_error, row.suffix)
    return f"{shown}{row.suffix} ± {error}"


def _of(record: Record) -> bytes:
    body = record.body
    assert isinstance(body, Transfer)
    return body.discovery


def names_of(ledger: Ledger) -> Mapping[bytes, str]:
    """The names of the objectives that this home has researched, by id."""
    return {objective: about.name for objective, about in ledger.settings.descriptions.items()}


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

"""A snapshot of what a strategy goes by besides the records, as the running node stores it in its ledger.

From it and the records, a reader of the ledger works out the same beliefs as the node that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from node.objective.schema import Prior
from node.proposers.beliefs import Arm, Machine


@dataclass(frozen=True)
class StrategySnapshot:
    """What trials cost here, what was expected beforehand, which arms there are, and which had no idea last time."""

    machine: Machine
    priors: Mapping[str, Prior]
    arms: tuple[Arm, ...]
    empty: frozenset[Arm]
    scale: str = ""  # the larger one for which a person researches


def pack_snapshot(snapshot: StrategySnapshot) -> bytes:
    """As the ledger keeps it."""
    return json.dumps(
        {
            "machine": asdict(snapshot.machine),
            "priors": {category: asdict(prior) for category, prior in snapshot.priors.items()},
            "arms": [asdict(arm) for arm in snapshot.arms],
            "empty": [asdict(arm) for arm in sorted(snapshot.empty)],
            "scale": snapshot.scale,
        }
    ).encode()


def open_snapshot(packed: bytes) -> StrategySnapshot:
    """What `pack_snapshot` made, by this node or an earlier one of the same home."""
    fields = json.loads(packed)
    return StrategySnapshot(
        Machine(**fields["machine"]),
        {category: Prior(**prior) for category, prior in fields["priors"].items()},
        tuple(Arm(**arm) for arm in fields["arms"]),
        frozenset(Arm(**arm) for arm in fields["empty"]),
        fields.get("scale", ""),  # an earlier version knew none
    )

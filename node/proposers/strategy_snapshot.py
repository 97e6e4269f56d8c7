"""The outlook: what a strategy goes by besides the records, as the running node leaves it in its ledger.

With it and the records, whoever reads the ledger works out the same beliefs as the node that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from node.objective.schema import Prior
from node.proposers.beliefs import Arm, Machine

OUTLOOK = "outlook"


@dataclass(frozen=True)
class Outlook:
    """What trials cost here, what was expected beforehand, which arms there are, and which had nothing lately."""

    machine: Machine
    priors: Mapping[str, Prior]
    arms: tuple[Arm, ...]
    empty: frozenset[Arm]


def pack_outlook(outlook: Outlook) -> bytes:
    """As the ledger keeps it."""
    return json.dumps(
        {
            "machine": asdict(outlook.machine),
            "priors": {category: asdict(prior) for category, prior in outlook.priors.items()},
            "arms": [asdict(arm) for arm in outlook.arms],
            "empty": [asdict(arm) for arm in sorted(outlook.empty)],
        }
    ).encode()


def open_outlook(packed: bytes) -> Outlook:
    """What `pack_outlook` made, by this node or an earlier one of the same home."""
    fields = json.loads(packed)
    return Outlook(
        Machine(**fields["machine"]),
        {category: Prior(**prior) for category, prior in fields["priors"].items()},
        tuple(Arm(**arm) for arm in fields["arms"]),
        frozenset(Arm(**arm) for arm in fields["empty"]),
    )

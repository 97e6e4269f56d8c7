"""Every tier by itself: what the node finds on a machine where the tools of the stronger tiers are not installed.

Shared by the tests and by `scripts/cheat_table.py`.
"""

from __future__ import annotations

import functools
import shutil
from unittest import mock

from node.execution.sandbox.layers import Layers, probe, remedy

TIERS = ("bwrap", "unshare", "inproc")  # the strongest first; the first two are named after their tools


@functools.cache
def layers_of(tier: str) -> Layers:
    """What `probe` finds without the tools of the tiers above `tier`; that one itself may not work here either."""
    hidden = TIERS[: TIERS.index(tier)]
    which = shutil.which

    def find(name: str, path: str | None = None) -> str | None:
        return None if name in hidden else which(name, path=path)

    with mock.patch("shutil.which", find):
        return probe()


def lack(tier: str) -> str | None:
    """Why a tier does not work here, and how to get it; None where it works."""
    layers = layers_of(tier)
    if getattr(layers, tier):
        return None
    why = "; ".join(remedy(layers)) if tier == TIERS[0] else dict(layers.refusals).get(tier)
    return f"{tier} does not work here: {why}"

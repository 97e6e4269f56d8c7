"""Commands make processes, so they run behind the tiers in which a program may."""

from __future__ import annotations

import os

import pytest

from node.execution.sandbox.layers import Layers
from tests.node.execution.sandbox.conftest import machine, only
from tests.node.execution.sandbox.tiers import TIERS

__all__ = ["machine"]


# In tier inproc that takes a user of its own, so the node must be root.
@pytest.fixture(params=TIERS if os.geteuid() == 0 else TIERS[:2])
def layers(request: pytest.FixtureRequest) -> Layers:
    return only(request.param)

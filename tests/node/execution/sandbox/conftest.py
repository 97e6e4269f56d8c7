"""A test that asks for `layers` runs behind every tier that this machine offers, and skips the others with a reason."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.execution.sandbox.layers import Layers, probe
from node.execution.sandbox.policy import Policy
from tests.node.execution.sandbox.tiers import TIERS, lack, layers_of


@pytest.fixture(scope="session")
def machine() -> Layers:
    return probe()


def only(tier: str) -> Layers:
    """For fixtures: skips the test where the tier does not work."""
    if (reason := lack(tier)) is not None:
        pytest.skip(reason)
    return layers_of(tier)


@pytest.fixture(params=TIERS, scope="session")
def layers(request: pytest.FixtureRequest) -> Layers:
    return only(request.param)


@pytest.fixture(params=TIERS[:2], scope="session")
def namespaced(request: pytest.FixtureRequest) -> Layers:
    """Tiers with a PID namespace, in which processes may be made."""
    return only(request.param)


@pytest.fixture(scope="session")
def inproc() -> Layers:
    return only("inproc")


PolicyMaker = Callable[..., Policy]


@pytest.fixture
def policy() -> PolicyMaker:
    """A wide policy; each test narrows the limit that it is about."""

    def make(**changes: object) -> Policy:
        wide = Policy(wall_seconds=30, cpu_seconds=30, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 20)
        return dataclasses.replace(wide, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-u", "-c", code]

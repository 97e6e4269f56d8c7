"""The tiers this machine offers, each as a `Layers` that has nothing stronger."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.execution.sandbox.layers import Layers, probe
from node.execution.sandbox.policy import Policy

TIERS = ("bwrap", "unshare", "inproc")


@pytest.fixture(scope="session")
def machine() -> Layers:
    return probe()


@pytest.fixture(params=TIERS, scope="session")
def layers(request: pytest.FixtureRequest, machine: Layers) -> Layers:
    if not getattr(machine, request.param):
        pytest.skip(f"{request.param} does not work here: {dict(machine.refusals).get(request.param)}")
    weaker = {name: False for name in TIERS if TIERS.index(name) < TIERS.index(request.param)}
    return dataclasses.replace(machine, **weaker)


@pytest.fixture
def namespaced(layers: Layers) -> Layers:
    """Tiers with a PID namespace, in which processes may be made."""
    if not (layers.bwrap or layers.unshare):
        pytest.skip("processes cannot be made in this tier")
    return layers


PolicyMaker = Callable[..., Policy]


@pytest.fixture
def policy() -> PolicyMaker:
    """A roomy policy, of which a test narrows what it is about."""

    def make(**changes: object) -> Policy:
        roomy = Policy(wall_seconds=30, cpu_seconds=30, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 20)
        return dataclasses.replace(roomy, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    place = tmp_path / "scratch"
    place.mkdir()
    return place


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-u", "-c", code]

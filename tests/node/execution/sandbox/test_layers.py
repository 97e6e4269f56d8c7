"""The machine's layers are found by trying, the strongest is chosen, and what is missing comes with a remedy."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from node.execution.sandbox import landlock, seccomp
from node.execution.sandbox.launch import NOT_INSTALLED
from node.execution.sandbox.layers import Layers, probe, remedy, tier
from tests.node.execution.sandbox.tiers import layers_of

ALL = Layers(bwrap=True, unshare=True, inproc=True, landlock=7, seccomp=True, root=False)
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux's layers")


def test_the_strongest_tier_is_chosen() -> None:
    assert tier(ALL) == "bwrap"
    assert tier(dataclasses.replace(ALL, bwrap=False)) == "unshare"
    assert tier(dataclasses.replace(ALL, bwrap=False, unshare=False)) == "inproc"
    assert tier(dataclasses.replace(ALL, bwrap=False, unshare=False, inproc=False)) is None


def test_without_any_protection_programs_run_only_when_a_person_insists() -> None:
    bare = dataclasses.replace(ALL, bwrap=False, unshare=False, inproc=False, unsafe=True)
    assert tier(bare) == "unsafe"
    assert tier(dataclasses.replace(ALL, unsafe=True)) == "bwrap"


@linux
@pytest.mark.sandbox
def test_a_kernel_with_landlock_and_seccomp_always_offers_a_sandbox() -> None:
    layers = probe()
    if landlock.abi() and seccomp.supported():
        assert layers.inproc, layers.refusals
    assert {name for name, _ in layers.refusals} == {
        name for name in ("bwrap", "unshare", "inproc") if not getattr(layers, name)
    }


@linux
@pytest.mark.sandbox
def test_a_tier_whose_tool_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    layers = probe()
    assert dict(layers.refusals)["bwrap"] == NOT_INSTALLED
    assert "apt install bubblewrap" in " ".join(remedy(layers))


@linux
@pytest.mark.sandbox
def test_where_only_bubblewrap_is_missing_the_next_tier_is_chosen() -> None:
    found = layers_of("unshare")
    assert dict(found.refusals)["bwrap"] == NOT_INSTALLED
    assert tier(found) == ("unshare" if found.unshare else "inproc")


@linux
def test_every_lack_has_a_remedy() -> None:
    assert remedy(ALL) == []
    bare = Layers(bwrap=False, unshare=False, inproc=False, landlock=0, seccomp=False, root=False)
    assert "no sandbox works here" in remedy(bare)[0]
    assert "6.12" in remedy(dataclasses.replace(ALL, landlock=3))[0]
    forbidden = dataclasses.replace(ALL, bwrap=False, refusals=(("bwrap", "setting up uid map: Permission denied"),))
    assert "Permission denied" in remedy(forbidden)[0]

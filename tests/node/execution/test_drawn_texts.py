"""A text is drawn in a sandbox from nothing but a seed and its name, kept while it is used, and never too long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from node.execution import drawn_texts
from node.execution.drawn_texts import DRAW_MEMORY, DrawnTexts
from node.execution.fork_servers import numpy_server
from node.execution.sandbox.forks import ForkServer
from node.execution.sandbox.layers import Layers, probe
from node.execution.worker import RunFailed
from node.objective.schema import Objective
from node.platform.concurrency import gather
from protocol.records import Failure
from tests.node.execution.drawn_objective import drawn_objective

MOST = 1 << 20
LARGEST_SEED = 2**63 - 1
COUNTS_ITS_CALLS = (
    "CALLS = []\ndef draw(seed, name):\n    CALLS.append(seed)\n    return f'{seed} {name} {len(CALLS)}'.encode()"
)
UNREPEATABLE = "import os\ndef draw(seed, name):\n    return os.urandom(16)"  # other bytes whenever it is called again


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


class Texts(DrawnTexts):
    """Those of one objective, drawn by forks of one server."""

    def __init__(self, objective: Objective, server: ForkServer) -> None:
        super().__init__(objective, MOST)
        self.server = server

    async def drawn(self, seed: int, name: str) -> bytes:
        return await self.get(seed, name, self.server)


@asynccontextmanager
async def texts(folder: Path, layers: Layers, code: str) -> AsyncIterator[Texts]:
    async with numpy_server(layers, DRAW_MEMORY) as server:
        yield Texts(drawn_objective(folder, draw=code), server)


async def test_a_text_depends_on_the_seed_and_the_name_only(layers: Layers, tmp_path: Path) -> None:
    async with texts(tmp_path, layers, COUNTS_ITS_CALLS) as of:
        for seed, name in ((LARGEST_SEED, "train"), (1, "val"), (LARGEST_SEED, "val")):
            assert await of.drawn(seed, name) == f"{seed} {name} 1".encode()


async def test_runs_that_share_a_seed_share_its_texts(layers: Layers, tmp_path: Path) -> None:
    async with texts(tmp_path, layers, UNREPEATABLE) as of:
        first, second = await gather([lambda: of.drawn(1, "val"), lambda: of.drawn(1, "val")])
        await of.prefetch(2, "val", of.server)
        assert first == second == await of.drawn(1, "val")
        assert await of.drawn(2, "val") != first


async def test_only_so_many_bytes_are_kept(layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_texts, "KEPT", 40)  # two texts
    async with texts(tmp_path, layers, UNREPEATABLE) as of:
        first, second = await of.drawn(1, "val"), await of.drawn(2, "val")
        assert await of.drawn(1, "val") == first
        await of.drawn(3, "val")
        assert await of.drawn(1, "val") == first
        assert await of.drawn(2, "val") != second


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def draw(seed, name):\n    raise KeyError('no word for it')", "no word for it"),
        ("def draw(seed, name):\n    return 'not bytes'", "must return bytes"),
        ("def draw(seed, name):\n    return b''", "at least one"),
        ("def draw(seed, name):\n    return bytes(2 << 20)", "1048576 at most"),
        ("def draw(seed, name):\n    return open('/etc/hostname', 'w')", "hostname"),
        (
            "import os, struct, sys, time\n"
            "def draw(seed, name):\n    os.write(int(sys.argv[2]), struct.pack('<Q', 1 << 40)); time.sleep(60)",
            "too long",
        ),
        ("import os, struct, sys\ndef draw(seed, name):\n    os._exit(0)", "sent no text"),
    ],
    ids=["raises", "no bytes", "empty", "too long", "writes files", "claims too much", "goes silently"],
)
async def test_a_text_that_is_not_drawn_is_a_failure_that_says_why(
    layers: Layers, tmp_path: Path, code: str, told: str
) -> None:
    async with texts(tmp_path, layers, code) as of:
        with trio.fail_after(50), pytest.raises(RunFailed) as failed:
            await of.drawn(1, "train")
    assert failed.value.failure in (Failure.EXCEPTION, Failure.OUTPUT)
    assert "draw.py did not draw the text 'train'" in failed.value.log_tail
    assert told in failed.value.log_tail


async def test_a_text_that_takes_too_long_is_not_waited_for(
    layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn_texts, "DRAW_SECONDS", 1.0)
    async with texts(tmp_path, layers, "import time\ndef draw(seed, name):\n    time.sleep(60)") as of:
        with trio.fail_after(50), pytest.raises(RunFailed) as failed:
            await of.drawn(1, "train")
    assert failed.value.failure == Failure.TIMEOUT

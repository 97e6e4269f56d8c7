"""A text is drawn in a sandbox from nothing but a seed and its name, kept while it is used, and never too long."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from node.execution import drawn_texts, run_seeds
from node.execution.drawn_texts import DrawnTexts
from node.execution.sandbox.layers import Layers, probe
from node.execution.worker_set import RunFailed
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


def texts(folder: Path, layers: Layers, code: str | None = None, most: int = MOST) -> DrawnTexts:
    return DrawnTexts(drawn_objective(folder, draw=code), layers, most)


async def test_a_text_depends_on_the_seed_and_the_name_only(layers: Layers, tmp_path: Path) -> None:
    drawn = texts(tmp_path, layers, COUNTS_ITS_CALLS)
    for seed, name in ((LARGEST_SEED, "train"), (1, "val"), (LARGEST_SEED, "val")):
        assert await drawn.get(seed, name) == f"{run_seeds.text_seed(seed)} {name} 1".encode()


async def test_runs_that_share_a_seed_share_its_texts(layers: Layers, tmp_path: Path) -> None:
    drawn = texts(tmp_path, layers, UNREPEATABLE)
    first, second = await gather([lambda: drawn.get(1, "val"), lambda: drawn.get(1, "val")])
    await drawn.prefetch(2, "val")
    assert first == second == await drawn.get(1, "val")
    assert await drawn.get(2, "val") != first


async def test_only_so_many_bytes_are_kept(layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_texts, "KEPT", 40)  # two texts
    drawn = texts(tmp_path, layers, UNREPEATABLE)
    first, second = await drawn.get(1, "val"), await drawn.get(2, "val")
    assert await drawn.get(1, "val") == first
    await drawn.get(3, "val")
    assert await drawn.get(1, "val") == first
    assert await drawn.get(2, "val") != second


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
    drawn = texts(tmp_path, layers, code)
    with trio.fail_after(50), pytest.raises(RunFailed) as failed:
        await drawn.get(1, "train")
    assert failed.value.failure in (Failure.EXCEPTION, Failure.OUTPUT)
    assert "draw.py did not draw the text 'train'" in failed.value.log_tail
    assert told in failed.value.log_tail


async def test_a_text_that_takes_too_long_is_not_waited_for(
    layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn_texts, "DRAW_SECONDS", 1.0)
    drawn = texts(tmp_path, layers, "import time\ndef draw(seed, name):\n    time.sleep(60)")
    with trio.fail_after(50), pytest.raises(RunFailed) as failed:
        await drawn.get(1, "train")
    assert failed.value.failure == Failure.TIMEOUT

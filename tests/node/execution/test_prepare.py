"""An objective's data are made in the sandbox, verified, and taken over only when all of them are as declared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.execution.prepare import prepare_data
from node.execution.sandbox.layers import Layers, probe
from node.ledger.files import DISK_RESERVE
from node.objective.limits import HostLimits
from node.objective.load import load_objective
from node.objective.schema import Objective, ObjectiveError
from tests.node.execution.small_objective import ENOUGH, IN_FILES, copy_in_files

Events = list[str]

OUT = "from pathlib import Path; import sys; out = Path(sys.argv[1])\n"
WRITE = "for name in ('train', 'val', 'holdout'): (out / (name + '.bin')).write_bytes(b'abc')\n"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture
def prepared_by(tmp_path: Path) -> Callable[[str], Objective]:
    """An objective whose three data files are each "abc", and whose prepare.py is the given code."""

    def make(code: str) -> Objective:
        root = copy_in_files(tmp_path)
        (root / "prepare.py").write_text(OUT + code)
        settings = (root / "objective.toml").read_text()
        for item in load_objective(IN_FILES, tmp_path).data:
            settings = settings.replace(item.entry.sha256.hex(), ABC).replace(f"size = {item.entry.size}", "size = 3")
        (root / "objective.toml").write_text(settings)
        return load_objective(root, tmp_path / "home" / "data")

    return make


async def prepare(objective: Objective, layers: Layers, limits: HostLimits = ENOUGH) -> Events:
    events: Events = []
    await prepare_data(objective, layers, limits, lambda event, **_: events.append(event))
    return events


async def test_data_are_made_once_and_verified(prepared_by: Callable[[str], Objective], layers: Layers) -> None:
    objective = prepared_by(WRITE)
    assert await prepare(objective, layers)
    assert (objective.data_dir / "val.bin").read_bytes() == b"abc"
    assert not await prepare(objective, layers)


async def test_partial_or_damaged_data_are_made_again(prepared_by: Callable[[str], Objective], layers: Layers) -> None:
    objective = prepared_by(WRITE)
    objective.data_dir.mkdir(parents=True)
    (objective.data_dir / "train.bin").write_bytes(b"a")
    assert await prepare(objective, layers)
    (objective.data_dir / "holdout.bin").unlink()
    assert await prepare(objective, layers)
    (objective.data_dir / "holdout.bin").write_bytes(b"abd")
    assert await prepare(objective, layers)
    assert (objective.data_dir / "holdout.bin").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (WRITE.replace("abc", "abd"), "train.bin"),
        ("sys.exit('no space for art')", "no space for art"),
        (WRITE + "open('/etc/hostname', 'w')", "hostname"),
        (WRITE + "(out / 'val.bin').unlink(); (out / 'val.bin').symlink_to('train.bin')", "val.bin"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))\n" + WRITE, "socket"),
    ],
)
async def test_a_prepare_step_that_fails_or_misbehaves_gives_no_data(
    prepared_by: Callable[[str], Objective], layers: Layers, code: str, named: str
) -> None:
    objective = prepared_by(code)
    with pytest.raises(ObjectiveError, match=named):
        await prepare(objective, layers)
    assert not objective.data_dir.exists()


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (
            replace(ENOUGH, data_bytes=8 << 20),
            "(out / 'fill').write_bytes(bytes(12 << 20)); import time; time.sleep(60)",
        ),
        (replace(ENOUGH, memory_bytes=64 << 20), "held = b'x' * (512 << 20); import time; time.sleep(60)"),
        (replace(ENOUGH, wall_seconds=1.0), "import time; time.sleep(60)"),
    ],
    ids=["disk", "memory", "time"],
)
async def test_a_prepare_step_gets_no_more_than_the_host_gives(
    prepared_by: Callable[[str], Objective], layers: Layers, limits: HostLimits, code: str
) -> None:
    objective = prepared_by(code + "\n" + WRITE)
    with pytest.raises(ObjectiveError, match="did not make the data"), trio.fail_after(30):
        await prepare(objective, layers, limits)
    assert not objective.data_dir.exists()


async def test_data_that_do_not_fit_on_the_disk_are_not_begun(
    prepared_by: Callable[[str], Objective], layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage("/")._replace(free=DISK_RESERVE + 8)  # the data are nine bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(ObjectiveError, match="make room, or choose a home on another disk"):
        await prepare(prepared_by(WRITE), layers)

"""An objective's data are in place before anything runs: found, made, or fetched from peers by their sha256."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from node.app.objective_data import provide_data
from node.execution.sandbox.layers import Layers, probe
from node.ledger.files import BlobFiles
from node.ledger.store import Ledger
from node.network import Network, Settings, open_network
from node.network.downloads.store import DownloadStore
from node.objective.load import load_objective, write_objective
from node.objective.schema import Objective, ObjectiveError
from tests.node.execution.small_objective import ENOUGH, copy_in_files
from tests.node.network.conftest import LOOPBACK, Log, identity_of

CONTENTS = {name: random.Random(name).randbytes(3_000_000 if name == "train" else 1000) for name in ("train", "val")}
CONTENTS["holdout"] = CONTENTS["val"]
STORE = DownloadStore(Path("/nowhere"))  # of objectives that download nothing


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """The folder of an objective that has no prepare step: its data lie in the folder, made by hand."""
    root = copy_in_files(tmp_path)
    (root / "prepare.py").unlink()
    settings = re.sub(r"(?m)^prepare = .*$", "", (root / "objective.toml").read_text())
    for name, content in CONTENTS.items():
        digest = hashlib.sha256(content).hexdigest()
        declared = f'path = "{name}.bin"\nsha256 = "{digest}"\nsize = {len(content)}\n'
        settings = re.sub(rf'path = "{name}.bin"\nsha256 = .*\nsize = .*\n', declared, settings)
        (root / f"{name}.bin").write_bytes(content)
    (root / "objective.toml").write_text(settings)
    return root


class Place:
    """A node's home, as far as data are concerned."""

    def __init__(self, name: str, folder: Path, objective: Objective, quota: int = 64 << 20) -> None:
        self.name, self.objective, self.log = name, objective, Log()
        self.files = BlobFiles(folder / name / "blobs", quota)
        self.ledger = folder / name / "ledger.sqlite"

    def network(self, *bootstrap: str) -> Callable[[], AbstractAsyncContextManager[Network]]:
        @asynccontextmanager
        async def begin() -> AsyncIterator[Network]:
            ledger = Ledger.open(self.ledger, self.objective.id)
            settings = Settings(LOOPBACK, bootstrap)
            try:
                async with open_network(identity_of(self.name), ledger, settings, self.log, self.files) as opened:
                    yield opened
            finally:
                ledger.close()

        return begin

    def has_all(self) -> bool:
        found = {data.name: self.objective.data_dir / data.entry.path for data in self.objective.data}
        return {name: path.read_bytes() for name, path in found.items() if path.exists()} == CONTENTS


def joined(original: Path, folder: Path) -> Objective:
    """The objective as it comes by invite: its files, without the data."""
    files = load_objective(original, original).files
    write_objective(files, folder / "objective-by-invite")
    return load_objective(folder / "objective-by-invite", folder / "data-by-invite")


async def test_data_that_lie_in_the_folder_are_used(original: Path, tmp_path: Path, layers: Layers) -> None:
    place = Place("a", tmp_path, load_objective(original, tmp_path / "data"))
    await provide_data(place.objective, layers, ENOUGH, place.files, STORE, None, place.log)
    assert place.has_all()
    assert place.files.size(hashlib.sha256(CONTENTS["train"]).digest()) == 3_000_000


@pytest.mark.sockets
async def test_data_that_cannot_be_made_come_from_peers(original: Path, tmp_path: Path, layers: Layers) -> None:
    a = Place("a", tmp_path, load_objective(original, tmp_path / "data"))
    b = Place("b", tmp_path, joined(original, tmp_path))
    assert a.objective.id == b.objective.id
    await provide_data(a.objective, layers, ENOUGH, a.files, STORE, None, a.log)
    async with a.network()() as network:
        await provide_data(b.objective, layers, ENOUGH, b.files, STORE, b.network(network.addresses()[0]), b.log)
    assert b.has_all()
    assert {line["title"] for line in b.log.of("data fetched")} == {"train.bin", "val.bin", "holdout.bin"}
    assert not list((tmp_path / "b" / "blobs").glob("*.part"))
    lines = len(b.log.lines)
    await provide_data(b.objective, layers, ENOUGH, b.files, STORE, None, b.log)  # at the next start
    assert len(b.log.lines) == lines


async def test_data_that_are_not_shared_go_to_nobody_and_a_peer_is_told_whom_to_ask(
    original: Path, tmp_path: Path, layers: Layers
) -> None:
    settings = (original / "objective.toml").read_text().replace("[[data]]\n", "[[data]]\nshared = false\n")
    (original / "objective.toml").write_text(settings)
    a = Place("a", tmp_path, load_objective(original, tmp_path / "data"))
    b = Place("b", tmp_path, joined(original, tmp_path))
    train = hashlib.sha256(CONTENTS["train"]).digest()
    await provide_data(a.objective, layers, ENOUGH, a.files, STORE, None, a.log)
    assert a.has_all()
    assert a.files.size(train) is None  # it is not offered
    told = r"train\.bin, .*no node gives them to another\. Ask whoever invited you"
    with pytest.raises(ObjectiveError, match=told):
        await provide_data(b.objective, layers, ENOUGH, b.files, STORE, b.network(), b.log)
    assert b.log.of("data not prepared") == []  # nobody was asked
    assert b.files.wanted_size(train) is None  # and nothing would be taken
    for name, content in CONTENTS.items():  # as its owner hands them over
        (b.objective.root / f"{name}.bin").write_bytes(content)
    await provide_data(b.objective, layers, ENOUGH, b.files, STORE, None, b.log)
    assert b.has_all()


async def test_data_that_no_peer_has_and_that_cannot_be_made_are_an_error_with_a_remedy(
    original: Path, tmp_path: Path, layers: Layers
) -> None:
    b = Place("b", tmp_path, joined(original, tmp_path))
    with pytest.raises(ObjectiveError, match=r"train\.bin, val\.bin, holdout\.bin .* cannot be made: put"):
        await provide_data(b.objective, layers, ENOUGH, b.files, STORE, None, b.log)


async def test_data_beyond_the_quota_are_not_fetched(original: Path, tmp_path: Path, layers: Layers) -> None:
    b = Place("b", tmp_path, joined(original, tmp_path), quota=1 << 20)
    with pytest.raises(ObjectiveError, match="data_quota_mb"), trio.fail_after(5):
        await provide_data(b.objective, layers, ENOUGH, b.files, STORE, b.network(), b.log)

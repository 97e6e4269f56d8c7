"""Data files count as in place only while they are as declared; those that lie in the objective's folder are copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.objective.data import data_in_place, missing_data
from node.objective.load import load_objective
from node.objective.schema import Objective
from tests.node.execution.small_objective import IN_FILES, copy_in_files

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def objective(tmp_path: Path) -> Objective:
    """An objective whose three data files are each declared as "abc"; none of them exists yet."""
    root = copy_in_files(tmp_path)
    settings = (root / "objective.toml").read_text()
    for item in load_objective(IN_FILES, tmp_path).data:
        settings = settings.replace(item.entry.sha256.hex(), ABC).replace(f"size = {item.entry.size}", "size = 3")
    (root / "objective.toml").write_text(settings)
    return load_objective(root, tmp_path / "home" / "data")


def put_by_hand(objective: Objective, content: bytes = b"abc") -> None:
    for item in objective.data:
        (objective.root / item.entry.path).write_bytes(content)


def test_data_that_nobody_made_are_missing(objective: Objective) -> None:
    assert not data_in_place(objective)
    assert missing_data(objective) == list(objective.data)


def test_data_in_the_objectives_folder_are_copied_when_they_are_as_declared(objective: Objective) -> None:
    put_by_hand(objective, b"abd")
    assert not data_in_place(objective)
    put_by_hand(objective)
    assert data_in_place(objective)
    assert (objective.data_dir / "val.bin").read_bytes() == b"abc"


def test_data_that_were_changed_are_missing_again(objective: Objective) -> None:
    put_by_hand(objective)
    assert data_in_place(objective)
    for item in objective.data:
        (objective.root / item.entry.path).unlink()
    (objective.data_dir / "val.bin").write_bytes(b"abd")
    assert not data_in_place(objective)
    assert [item.name for item in missing_data(objective)] == ["val"]


def test_a_link_is_not_data(objective: Objective) -> None:
    put_by_hand(objective)
    assert data_in_place(objective)
    (objective.root / "val.bin").unlink()
    (objective.data_dir / "val.bin").unlink()
    (objective.data_dir / "val.bin").symlink_to(objective.data_dir / "train.bin")
    assert not data_in_place(objective)


def test_data_of_the_same_size_and_time_that_were_changed_are_missing_again(objective: Objective) -> None:
    put_by_hand(objective)
    assert data_in_place(objective)
    for item in objective.data:
        (objective.root / item.entry.path).unlink()
    path = objective.data_dir / "val.bin"
    before = path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not data_in_place(objective)

"""Files by content id: only what is referred to is kept, within a quota, and served from where it lies."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from node.ledger.files import BlobFiles
from protocol.outline import PIECE_BYTES, outline_of

CONTENT = random.Random(2).randbytes(PIECE_BYTES + 10)
ID = hashlib.sha256(CONTENT).digest()
TRUTH = outline_of([CONTENT[:PIECE_BYTES], CONTENT[PIECE_BYTES:]])


@pytest.fixture
def files(tmp_path: Path) -> BlobFiles:
    opened = BlobFiles(tmp_path / "blobs", 8 << 20)
    opened.refer_to({ID: len(CONTENT)})
    return opened


def test_a_draft_keeps_what_was_written_over_a_restart(files: BlobFiles, tmp_path: Path) -> None:
    assert files.draft(ID).write(TRUTH, 1, CONTENT[PIECE_BYTES:])
    assert not files.draft(ID).write(TRUTH, 0, bytes(PIECE_BYTES))
    again = BlobFiles(tmp_path / "blobs", 8 << 20)
    again.refer_to({ID: len(CONTENT)})
    draft = again.draft(ID)
    assert [draft.has(TRUTH, index) for index in (0, 1)] == [False, True]


def test_a_draft_that_is_too_long_is_cut(files: BlobFiles, tmp_path: Path) -> None:
    (tmp_path / "blobs" / f"{ID.hex()}.part").write_bytes(CONTENT + b"more")
    draft = files.draft(ID)
    assert draft.path.stat().st_size == len(CONTENT)
    assert all(draft.has(TRUTH, index) for index in (0, 1))


def test_what_nothing_refers_to_any_more_is_removed(files: BlobFiles, tmp_path: Path) -> None:
    files.draft(ID).write(TRUTH, 0, CONTENT[:PIECE_BYTES])
    files.keep_outline(ID, TRUTH)
    files.refer_to({bytes(32): 5})
    assert not list((tmp_path / "blobs").iterdir())
    assert files.wanted_size(ID) is None


def test_more_than_the_quota_or_the_free_disk_is_refused(files: BlobFiles) -> None:
    assert files.why_no_room([ID]) == ""
    files.refer_to({ID: 8 << 20, bytes(32): 1})
    assert "data_quota_mb" in files.why_no_room([ID, bytes(32)])
    huge = BlobFiles(files.draft(ID).path.parent, 1 << 60)
    huge.refer_to({ID: 1 << 59})
    assert "disk" in huge.why_no_room([ID])


def test_content_is_served_in_parts_with_an_outline_that_is_worked_out_once(files: BlobFiles, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(CONTENT)
    assert files.size(ID) is None
    files.offer(ID, path)
    assert files.size(ID) == len(CONTENT)
    assert files.read(ID, PIECE_BYTES - 5, 100) == CONTENT[PIECE_BYTES - 5 :]
    assert files.outline(ID) == TRUTH
    os.utime(path, (0, 0))
    path.write_bytes(bytes(len(CONTENT)))
    assert files.outline(ID) == TRUTH
    stored = next((tmp_path / "blobs").glob("*.outline"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")  # damaged, so it is worked out again
    assert files.outline(ID) != TRUTH

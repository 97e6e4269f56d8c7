"""A key signs nothing whose predecessors its home does not hold, whatever became of the ledger."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from node.ledger.error import LedgerError
from node.ledger.signing import NotSigningError, Signing
from node.ledger.store import Added, Ledger
from node.platform import private_files
from node.platform.file_trouble import HomeError
from node.platform.key_mark import KeyMark
from protocol.records import Record
from tests.node.records_for_tests import OBJECTIVE, Author, experiment

ALICE = Author("alice").identity


def opened(folder: Path, begin: bool = False) -> Ledger:
    mark = KeyMark.read(folder / "identity.signed", ALICE.author)
    if begin:
        mark.begin()
    return Ledger.open(folder / "ledger.sqlite", OBJECTIVE, mark=mark)


def signed(ledger: Ledger, *titles: str) -> list[Record]:
    return [ledger.append_own(ALICE, experiment(title), 1) for title in titles]


def test_a_ledger_that_was_lost_is_taken_back_from_peers_before_anything_is_signed(tmp_path: Path) -> None:
    ledger = opened(tmp_path, begin=True)
    first, second = signed(ledger, "one", "two")
    ledger.close()
    os.truncate(tmp_path / "ledger.sqlite", 0)
    again = opened(tmp_path)
    assert again.signing is Signing.BEHIND
    assert again.add(first, "peer") is Added.NEW
    with pytest.raises(NotSigningError, match="until peers have brought"):
        signed(again, "three")
    again.add(second, "peer")
    assert again.signing is Signing.READY
    assert signed(again, "three")[0].prev == second.id
    again.close()


def test_an_older_copy_of_the_ledger_is_behind_too(tmp_path: Path) -> None:
    ledger = opened(tmp_path, begin=True)
    signed(ledger, "one")
    ledger.close()
    shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "backup")
    ledger = opened(tmp_path)
    signed(ledger, "two")
    ledger.close()
    shutil.copy(tmp_path / "backup", tmp_path / "ledger.sqlite")
    again = opened(tmp_path)
    assert again.signing is Signing.BEHIND
    again.close()


def test_a_crash_before_the_mark_was_raised_is_made_up_for_at_the_next_start(tmp_path: Path) -> None:
    ledger = opened(tmp_path, begin=True)
    signed(ledger, "one")
    before = (tmp_path / "identity.signed").read_bytes()
    (last,) = signed(ledger, "two")
    ledger.close()
    (tmp_path / "identity.signed").write_bytes(before)
    opened(tmp_path).close()
    marks = json.loads((tmp_path / "identity.signed").read_text())
    assert marks[ALICE.author.hex()][OBJECTIVE.hex()] == {"records": 2, "last": last.id.hex()}


def test_a_record_whose_mark_cannot_be_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = opened(tmp_path, begin=True)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(private_files.os, "replace", fail)
        with pytest.raises(OSError, match="Input/output"):
            signed(ledger, "one")
    assert ledger.count() == 0
    assert [record.seq for record in signed(ledger, "one again")] == [0]
    ledger.close()


def test_a_record_of_the_own_key_that_was_signed_elsewhere_ends_the_signing(tmp_path: Path) -> None:
    twin = Author("alice")
    ledger = opened(tmp_path, begin=True)
    assert ledger.add(twin.write(experiment("by a copy")), "peer") is Added.NEW
    assert ledger.signing is Signing.FOREIGN
    with pytest.raises(NotSigningError, match="was its home copied"):
        signed(ledger, "here")
    ledger.close()
    again = opened(tmp_path)  # the other one was ended meanwhile: its record is a part of the feed
    assert signed(again, "goes on")[0].seq == 1
    again.close()


def test_two_records_with_one_number_end_the_signing_for_good(tmp_path: Path) -> None:
    ledger = opened(tmp_path, begin=True)
    signed(ledger, "here")
    assert ledger.add(Author("alice").write(experiment("by a copy")), "peer") is Added.FORK
    assert ledger.signing is Signing.FORKED
    ledger.close()
    again = opened(tmp_path)
    assert again.signing is Signing.FORKED
    again.close()


def test_what_peers_bring_in_the_place_of_what_was_signed_here_is_a_fork(tmp_path: Path) -> None:
    ledger = opened(tmp_path, begin=True)
    signed(ledger, "here")
    ledger.close()
    os.truncate(tmp_path / "ledger.sqlite", 0)
    again = opened(tmp_path)
    again.add(Author("alice").write(experiment("by a copy")), "peer")
    assert again.signing is Signing.FORKED
    again.close()


def test_a_key_of_which_nothing_says_how_far_it_signed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=r"nobody knows how far the key .* has signed"):
        opened(tmp_path)


def test_a_home_of_an_earlier_version_gets_its_mark_from_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    signed(ledger, "one")
    ledger.close()
    ledger = opened(tmp_path)
    assert ledger.signing is Signing.READY
    assert ledger.marked_head() is not None
    ledger.close()


@pytest.mark.parametrize("content", [b"", b"garbage", b'{"00": {}}', b"{}{}"])
def test_a_damaged_mark_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.signed").write_bytes(content)
    with pytest.raises(HomeError, match=r"identity.signed is damaged.* remove the damaged file"):
        opened(tmp_path)


def test_a_ledger_that_was_moved_away_while_it_is_open_takes_no_record(tmp_path: Path) -> None:
    ledger = opened(tmp_path, begin=True)
    (tmp_path / "ledger.sqlite").rename(tmp_path / "elsewhere")
    with pytest.raises(LedgerError, match="moved, removed or replaced"):
        signed(ledger, "one")
    ledger.close()

"""What a damaged ledger still holds is taken over, and what is not as it was signed is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.ledger.error import LedgerError
from node.ledger.repair import check, records_of, repair
from node.ledger.store import Ledger
from protocol.records import Record
from tests.node.records_for_tests import OBJECTIVE, Author, experiment

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def records(path: Path) -> list[Record]:
    """Two hundred records of bob's, which fill some fifty pages, and a source."""
    bob = Author("bob")
    ledger = Ledger.open(path, OBJECTIVE)
    ledger.set_meta("objective", OBJECTIVE)
    ledger.put_blob(b"LR = 1\n")
    for number in range(200):
        ledger.add(bob.write(experiment(f"number {number}")), "peer")
    ledger.close()
    return bob.records


def held(path: Path) -> list[Record]:
    ledger = Ledger.open(path, OBJECTIVE)
    try:
        return list(ledger.all_records())
    finally:
        ledger.close()


def test_a_whole_ledger_is_said_to_be_whole(path: Path, records: list[Record]) -> None:
    found = check(path)
    assert found.whole
    assert found.records == {OBJECTIVE: {records[0].author: 200}}
    assert [record.id for record, _ in records_of(path)] == [record.id for record in records]


@pytest.mark.parametrize("page", [0, 1, 8, 20])
def test_one_damaged_page_costs_no_more_than_what_lay_on_it_and_after(
    path: Path, records: list[Record], page: int
) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(os.urandom(PAGE))
    assert not check(path).whole
    done = repair(path)
    after = held(path)
    assert [record.id for record in after] == [record.id for record in records[: len(after)]]
    assert len(after) + done.lost >= 190
    assert done.kept_as.read_bytes()[page * PAGE :]
    assert check(path).whole


@pytest.mark.parametrize("content", [b"", b"certainly not a database" * 100])
def test_a_file_with_nothing_in_it_is_kept_and_an_empty_ledger_begun(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert not check(path).whole
    done = repair(path)
    assert done.kept_as.read_bytes() == content
    assert held(path) == []


def test_a_ledger_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        check(path)

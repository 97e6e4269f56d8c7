"""What the first release kept is kept by this one: its ledger opens, loses nothing, and its feed goes on.

The file is as that release wrote it, in two experiments of a node whose key is that of alice in these tests; the
objective was tinylm with a budget of 8,192 tokens.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from node.ledger.store import Ledger
from protocol.records import Experiment, open_record
from tests.node.records_for_tests import Author, experiment

WRITTEN = Path(__file__).with_name("ledger_of_first_release.sqlite")
ALICE = Author("alice").identity
Rows = list[tuple[object, ...]]


def rows_of(path: Path) -> dict[str, Rows]:
    """Everything in the file, table by table."""
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}
    connection.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(WRITTEN, tmp_path / "ledger.sqlite"))


def test_it_can_be_read_as_it_is(path: Path) -> None:
    ledger = Ledger.read(path)
    claim, other = (record.body for record in ledger.feed(ALICE.author))
    assert isinstance(claim, Experiment)
    assert isinstance(other, Experiment)
    assert (claim.decision, claim.proposer, other.decision) == ("improved", "catalogue", "unclear")
    assert other.parent == claim.child
    assert ledger.get_blob(claim.child) is not None
    ledger.close()


def test_nothing_of_it_is_lost_and_its_feed_goes_on(path: Path) -> None:
    before = rows_of(path)
    assert [len(before[table]) for table in ("records", "runs", "blobs")] == [2, 12, 21]
    objective = Ledger.read(path).objective

    ledger = Ledger.open(path, objective)
    for _, record_id, _, author, seq, wire, _ in before["records"]:
        assert isinstance(wire, bytes)
        assert open_record(wire).id == record_id  # a peer still takes it, signature and all
        assert ledger.records(author, seq, 1) == [wire]  # type: ignore[arg-type]
    for _, source, seed, conditions, _ in before["runs"]:
        outcome = ledger.cached_run(source, seed, conditions)  # type: ignore[arg-type]
        assert outcome is not None
        assert outcome.value is not None
        assert (outcome.curve, outcome.ended_at) == ((), None)
    assert ledger.screenings.finished("schedule", "cpu") == []
    assert ledger.drop_unreferred_blobs() == 0
    made = ledger.append_own(ALICE, experiment("the next one"), 1)
    assert (made.seq, made.prev) == (2, ledger.feed(ALICE.author)[1].id)
    ledger.close()

    after = rows_of(path)
    assert all(row in after[table] for table, rows in before.items() if table != "sqlite_sequence" for row in rows)
    again = Ledger.open(path, objective)
    assert again.feed(ALICE.author)[2] == made
    again.close()

"""The door for peers' records: what is wrong with one is found before it is stored, and no record stops the node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.ledger.store import Added, Ledger, Quota
from node.network.intake import Intake, is_urgent
from node.network.parameters import OFFENCES_ALLOWED
from node.network.peer_score import PeerScore
from protocol.codec import MalformedError
from protocol.feed import Fork
from protocol.identity import Identity, peer_id_of
from protocol.metric import Direction, Metric, Scale
from protocol.records import MAX_RECORD_BYTES, Hypothesis, sign_record
from tests.node.network.conftest import Log
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, replication

RECORDS_ALLOWED = 30
PEER = Identity.from_seed(os.urandom(32)).peer_id


@dataclass
class Door:
    """An intake on a real ledger, and what it logged."""

    intake: Intake
    ledger: Ledger
    peer_score: PeerScore
    log: Log


def door_to(ledger: Ledger, block: frozenset[str] = frozenset()) -> Door:
    log = Log()
    peer_score = PeerScore(log, lambda _: None, block=block)
    return Door(Intake(ledger, peer_score, log), ledger, peer_score, log)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE, Quota(records_per_author=RECORDS_ALLOWED, authors=2))
    yield ledger
    ledger.close()


@pytest.fixture
def door(ledger: Ledger) -> Door:
    return door_to(ledger)


def test_a_good_record_is_kept_once_with_who_brought_it(door: Door) -> None:
    record = door.intake.open(Author("ann").write(experiment("first")).wire())
    assert door.intake.keep(record, PEER) is Added.NEW
    assert door.intake.keep(record, "another peer") is Added.KNOWN
    assert door.ledger.origin(record.id) == PEER
    assert door.log.lines == []


def test_a_record_with_a_broken_signature_is_not_opened(door: Door) -> None:
    wire = bytearray(Author("ann").write(experiment("first")).wire())
    wire[-1] ^= 1
    with pytest.raises(MalformedError, match="signature"):
        door.intake.open(bytes(wire))


def test_a_record_of_another_metric_than_the_objectives_is_not_opened(tmp_path: Path, door: Door) -> None:
    """Its author says that higher is better where lower is, or leaves the metric out where it must be named."""
    other = replace(experiment("first"), metric=Metric(Direction.HIGHER, Scale.LOG, 1.0, 0.0))
    with pytest.raises(MalformedError, match="another metric"):
        door.intake.open(Author("ann").write(other).wire())
    ledger = Ledger.open(tmp_path / "other.sqlite", OBJECTIVE, metric=other.metric)
    assert door_to(ledger).intake.open(Author("ann").write(other).wire()).body == other
    with pytest.raises(MalformedError, match="another metric"):
        door_to(ledger).intake.open(Author("bob").write(experiment("first")).wire())
    ledger.close()


def test_a_record_of_another_objective_is_not_opened(door: Door) -> None:
    elsewhere = sign_record(Author("ann").identity, bytes(32), 0, bytes(32), 0, experiment("first"))
    with pytest.raises(MalformedError, match="another objective"):
        door.intake.open(elsewhere.wire())


def test_a_record_above_the_size_limit_is_not_opened(door: Door) -> None:
    with pytest.raises(MalformedError, match="at most 65536"):
        door.intake.open(bytes(MAX_RECORD_BYTES + 1))


def test_a_record_whose_predecessor_is_missing_is_a_gap_and_no_offence(door: Door) -> None:
    ann = Author("ann")
    first, second = ann.write(experiment("first")), ann.write(experiment("second"))
    assert door.intake.keep(second, PEER) is Added.GAP
    assert door.intake.keep(first, PEER) is Added.NEW
    assert door.intake.keep(second, PEER) is Added.NEW
    assert door.log.lines == []


def test_a_second_record_in_one_place_is_logged_as_a_fork_and_ends_the_feed(door: Door) -> None:
    ann, twin = Author("ann"), Author("ann")
    door.intake.keep(ann.write(experiment("one past")), PEER)
    assert door.intake.keep(twin.write(experiment("another past")), PEER) is Added.FORK
    assert door.log.of("fork found", seq=0)
    assert door.intake.keep(ann.write(experiment("and on")), PEER) is Added.REFUSED
    assert "forked" in door.log.reasons("refused record")


def test_the_proof_of_a_fork_is_kept_and_logged_once(door: Door) -> None:
    one, other = (Author("ann").write(experiment(title)) for title in ("one past", "another past"))
    fork = door.intake.open_fork(one.wire(), other.wire())
    assert door.intake.keep_fork(fork, PEER) is Added.FORK
    assert door.intake.keep_fork(fork, PEER) is Added.KNOWN
    assert len(door.log.of("fork found")) == 1
    assert door.intake.keep(one, PEER) is Added.REFUSED


def test_a_proof_that_proves_nothing_or_is_of_another_objective_is_not_opened(door: Door) -> None:
    ann = Author("ann")
    first, second = ann.write(experiment("first")), ann.write(experiment("second"))
    with pytest.raises(MalformedError, match="no fork"):
        door.intake.open_fork(first.wire(), second.wire())
    elsewhere = [sign_record(ann.identity, bytes(32), 0, bytes(32), 0, experiment(title)) for title in "ab"]
    with pytest.raises(MalformedError, match="another objective"):
        door.intake.open_fork(*(record.wire() for record in elsewhere))


async def test_records_are_opened_off_the_event_loop_and_told_in_their_order(door: Door) -> None:
    ann = Author("ann")
    records = [ann.write(experiment(f"number {number}")) for number in range(9)]
    wires = [record.wire() for record in records]
    wires[4] = wires[4][:-1] + bytes([wires[4][-1] ^ 1])
    wires[7] = b"no record"
    opened = await door.intake.open_all(wires)
    assert [opened[index] for index in (0, 1, 2, 3, 5, 6, 8)] == [records[index] for index in (0, 1, 2, 3, 5, 6, 8)]
    assert "signature" in str(opened[4])
    assert isinstance(opened[7], MalformedError)
    assert await door.intake.open_all([]) == []


async def test_what_is_over_a_quota_is_refused_and_its_bringer_not_blamed(door: Door) -> None:
    ann = Author("ann")
    records = [ann.write(experiment(f"number {number}")) for number in range(RECORDS_ALLOWED + 2 * OFFENCES_ALLOWED)]
    added = [door.intake.keep(record, PEER) for record in records]
    assert set(added[:RECORDS_ALLOWED]) == {Added.NEW}
    assert set(added[RECORDS_ALLOWED:]) == {Added.REFUSED}
    assert "over a limit" in door.log.reasons("refused record")
    assert not door.peer_score.is_banned(PEER)
    door.intake.keep(Author("bob").write(experiment("second author")), PEER)
    assert door.intake.keep(Author("cat").write(experiment("third author")), PEER) is Added.REFUSED


def test_nothing_of_a_blocked_author_is_kept_whoever_brings_it(ledger: Ledger) -> None:
    ann = Author("ann")
    door = door_to(ledger, block=frozenset({peer_id_of(ann.key)}))
    assert door.intake.keep(ann.write(experiment("first")), PEER) is Added.REFUSED
    assert door.intake.keep(Author("bob").write(experiment("first")), PEER) is Added.NEW


def test_a_full_disk_is_logged_and_stops_nothing(door: Door) -> None:
    pages = door.ledger._db.execute("PRAGMA page_count").fetchone()[0]
    door.ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # to SQLite, this is a full disk
    ann = Author("ann")
    records = [ann.write(experiment(f"number {number}")) for number in range(RECORDS_ALLOWED)]
    assert Added.REFUSED in [door.intake.keep(record, PEER) for record in records]
    assert door.log.of("record not kept")
    door.ledger._db.execute("PRAGMA max_page_count = 1000000")
    for record in records:
        door.intake.keep(record, PEER)
    assert door.ledger.count() == RECORDS_ALLOWED


def test_a_fork_refused_by_the_store_is_not_logged_as_found(door: Door) -> None:
    fork = Fork(Author("ann").key, bytes(32), 0, b"", b"")
    assert door.intake.keep_fork(fork, PEER) is Added.REFUSED
    assert not door.log.of("fork found")


def test_all_but_a_trial_that_found_nothing_is_urgent() -> None:
    ann = Author("ann")
    claim = ann.write(experiment("an improvement"))
    assert is_urgent(claim)
    assert is_urgent(ann.write(replication(claim)))
    assert is_urgent(ann.write(Hypothesis("try this", "", "", None, None)))
    assert not is_urgent(ann.write(experiment("no gain", decision="no_gain")))

"""The ledger keeps what it was given, in order, once, and through the death of its process."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from node.ledger.error import LedgerError
from node.ledger.outcome import Outcome
from node.ledger.pool import Bringer
from node.ledger.schema import transaction
from node.ledger.settings import Description, LedgerSettings
from node.ledger.store import Added, Ledger, Quota
from protocol.feed import forked_feed, open_fork
from protocol.objective import FileEntry, Manifest, encode_manifest, objective_id
from protocol.records import Unknown, sign_record
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, replication, source

STRANGER = Bringer("a stranger")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    yield opened
    opened.close()


def outcome(value: float = 3.5) -> Outcome:
    return Outcome(
        value=value,
        metrics={"value": value, "windows": 1024.0},
        checkpoints=((20, 5.0), (50, 4.0)),
        tokens=524288,
        cpu_seconds=9.5,
        wall_seconds=9.9,
        peak_memory=400_000_000,
        failure=None,
        log_tail="",
        tier="inproc",
    )


def test_own_records_form_a_feed(ledger: Ledger) -> None:
    alice = Author("alice").identity
    first = ledger.append_own(alice, experiment("one"), 1)
    second = ledger.append_own(alice, experiment("two"), 2)
    assert (first.seq, second.seq) == (0, 1)
    assert second.prev == first.id
    assert [head.length for head in ledger.vector()] == [2]


def test_records_outlive_the_ledger_object(tmp_path: Path) -> None:
    alice, bob = Author("alice"), Author("bob")
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE)
    mine = ledger.append_own(alice.identity, experiment("one"), 1)
    ledger.add(bob.write(replication(mine)), "peer")
    ids = [record.id for record in ledger.all_records()]
    ledger.close()
    again = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE)
    assert [record.id for record in again.all_records()] == ids
    again.close()


def test_a_known_record_is_not_stored_twice(ledger: Ledger) -> None:
    record = Author("bob").write(experiment())
    assert ledger.add(record, "peer") is Added.NEW
    assert ledger.add(record, "other") is Added.KNOWN
    assert ledger.count() == 1


def test_a_record_after_a_gap_waits_for_sync(ledger: Ledger) -> None:
    bob = Author("bob")
    bob.write(experiment("one"))
    assert ledger.add(bob.write(experiment("two")), "peer") is Added.GAP
    assert ledger.count() == 0


def test_a_fork_is_kept_as_proof_and_ends_the_feed(ledger: Ledger) -> None:
    bob, twin = Author("bob"), Author("bob")
    ledger.add(bob.write(experiment("one")), "peer")
    assert ledger.add(twin.write(experiment("another one")), "peer") is Added.FORK
    assert [fork.seq for fork in ledger.forks()] == [0]
    assert ledger.add(bob.write(experiment("two")), "peer") is Added.REFUSED


def test_a_next_record_with_another_past_is_a_fork(ledger: Ledger) -> None:
    bob, twin = Author("bob"), Author("bob")
    ledger.add(bob.write(experiment("one")), "peer")
    twin.write(experiment("another one"))
    assert ledger.add(twin.write(experiment("two")), "peer") is Added.FORK


def test_a_proven_fork_is_kept_without_any_record_of_it_and_for_good(tmp_path: Path) -> None:
    bob, twin = Author("bob"), Author("bob")
    fork = open_fork(bob.write(experiment("one")).wire(), twin.write(experiment("another one")).wire())
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(authors=1))
    assert [ledger.add_fork(fork, Bringer("peer")), ledger.add_fork(fork, Bringer("peer"))] == [Added.FORK, Added.KNOWN]
    assert ledger.add(Author("carol").write(experiment()), "peer") is Added.REFUSED  # proofs count as authors, too
    ledger.close()
    again = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE)
    assert again.add(bob.records[0], "peer") is Added.REFUSED
    assert again.fork(fork.author) == fork
    assert again.vector() == (forked_feed(fork.author),)
    again.close()


def test_another_objectives_record_is_refused(ledger: Ledger) -> None:
    record = sign_record(Author("bob").identity, source("elsewhere"), 0, bytes(32), 1, experiment())
    assert ledger.add(record, "peer") is Added.REFUSED


def test_a_run_of_one_author_is_taken_as_its_records_one_by_one_are(tmp_path: Path) -> None:
    """Whatever is wrong in the middle of it: a gap, a fork, a limit, an author who has forked its feed."""
    ann = Author("ann")
    records = [ann.write(experiment(f"number {number}")) for number in range(8)]
    other = Author("ann")
    other.write(experiment("number 0"))
    forked = other.write(experiment("another number 1"))
    runs = {
        "a feed": records,
        "a gap": [records[0], *records[2:]],
        "known ones first": [records[0], records[0], *records[1:]],
        "a fork": [*records[:3], forked, *records[3:]],
        "too many": records * 2,
    }
    for name, run in runs.items():
        one_by_one = Ledger.open(tmp_path / name / "a.sqlite", OBJECTIVE, Quota(records_per_author=6))
        together = Ledger.open(tmp_path / name / "b.sqlite", OBJECTIVE, Quota(records_per_author=6))
        for begin in (0, 3):
            some = run[begin : begin + 3]
            assert together.add_run(some, STRANGER) == [one_by_one.add(record, STRANGER) for record in some]
        assert together.add_run(run, STRANGER) == [one_by_one.add(record, STRANGER) for record in run]
        assert together.all_records() == one_by_one.all_records()
        assert together.vector() == one_by_one.vector()
        one_by_one.close()
        together.close()
        again = Ledger.open(tmp_path / name / "b.sqlite", OBJECTIVE)
        assert again.vector() == together.vector()
        again.close()


def test_of_a_run_that_found_no_room_on_the_disk_nothing_is_held(ledger: Ledger) -> None:
    ann = Author("ann")
    records = [ann.write(experiment(f"number {number}")) for number in range(40)]
    assert set(ledger.add_run(records[:2], STRANGER)) == {Added.NEW}
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # to SQLite, this is a full disk
    with pytest.raises(sqlite3.OperationalError, match="full"):
        ledger.add_run(records[2:], STRANGER)
    assert (ledger.count(), len(ledger.feed(ann.key))) == (2, 2)
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    assert set(ledger.add_run(records[2:], STRANGER)) == {Added.NEW}
    reader = Ledger.read(ledger.path, OBJECTIVE)
    assert reader.all_records() == records
    reader.close()


def test_a_transaction_that_cannot_be_committed_is_over() -> None:
    """One that stayed open would take in all that comes later, and never write it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE a (id INTEGER PRIMARY KEY);"
        "CREATE TABLE b (id INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED);"
    )
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.execute("INSERT INTO b VALUES (1)")
    assert not connection.in_transaction
    assert connection.execute("SELECT * FROM b").fetchall() == []


def test_a_run_is_held_to_the_room_of_its_author(tmp_path: Path) -> None:
    """A first run of large records has no more room than the same records one by one."""
    author = Author("one key")
    records = [author.write(Unknown("padding", {"x": bytes(60_000)})) for _ in range(64)]
    one_by_one = Ledger.open(tmp_path / "a.sqlite", OBJECTIVE)
    together = Ledger.open(tmp_path / "b.sqlite", OBJECTIVE)
    chosen = Bringer("chosen", chosen=True)
    assert together.add_run(records, chosen) == [one_by_one.add(record, chosen) for record in records]
    assert 0 < together.count() < 64
    one_by_one.close()
    together.close()


def test_limits_bound_what_peers_can_add(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(blob_bytes=100, records_per_author=1, authors=1))
    bob = Author("bob")
    assert ledger.add(bob.write(experiment("one")), "peer") is Added.NEW
    assert ledger.add(bob.write(experiment("two")), "peer") is Added.REFUSED
    assert ledger.add(Author("carol").write(experiment("one")), "peer") is Added.REFUSED
    with pytest.raises(LedgerError, match="blob_quota_mb"):
        ledger.put_blob(bytes(101))
    ledger.put_blob(bytes(75), from_peer=True)
    with pytest.raises(LedgerError, match="blob_quota_mb"):
        ledger.put_blob(bytes(10), from_peer=True)
    ledger.put_blob(bytes(25))  # the quota keeps space for what this node makes itself
    ledger.close()


def test_sources_of_records_are_wanted_until_they_arrive(ledger: Ledger) -> None:
    body = experiment(child=source("the child's text"))
    ledger.add(Author("bob").write(body), "peer")
    assert list(ledger.wanted_blobs()) == [body.parent, body.child]
    assert ledger.put_blob(b"the child's text") == body.child
    assert list(ledger.wanted_blobs()) == [body.parent]
    assert ledger.get_blob(body.child) == b"the child's text"


def test_only_content_that_something_refers_to_is_kept(tmp_path: Path) -> None:
    files = (FileEntry("train.py", source("the baseline"), 12),)
    manifest = encode_manifest(Manifest("an objective", files, ()))
    ledger = Ledger.open(tmp_path / "l.sqlite", objective_id(manifest), Quota(blob_bytes=2 * len(manifest) + 1100))
    body = experiment(child=source("the child's text"))
    alice = Author("alice").identity
    ledger.append_own(alice, body, 1)
    ledger.store_run(source("a source that ran"), 7, "cpu", outcome())
    other = encode_manifest(Manifest("chosen once, with no record yet", (FileEntry("a.py", source("a"), 1),), ()))
    LedgerSettings(ledger, objective_id(other)).choose(Description(baseline=source("another tree")))
    ledger.settings.choose(Description(baseline=source("a tree of files")))
    kept = [b"the baseline", b"a tree of files", b"the child's text", b"a source that ran", manifest]
    kept += [b"another tree", b"a", other]
    for content in (*kept, b"an idea given up", bytes(900)):
        ledger.put_blob(content)
    assert ledger.drop_unreferred_blobs() == 916
    assert all(ledger.get_blob(hashlib.sha256(content).digest()) == content for content in kept)
    ledger.put_blob(bytes(900))
    ledger.close()


def test_runs_are_remembered_by_source_seed_and_class(ledger: Ledger) -> None:
    ledger.store_run(source("s"), 7, "cpu", outcome())
    assert ledger.cached_run(source("s"), 7, "cpu") == outcome()
    assert ledger.cached_run(source("s"), 8, "cpu") is None
    assert ledger.cached_run(source("s"), 7, "gpu") is None


def test_a_record_is_found_by_the_start_of_its_id(ledger: Ledger) -> None:
    record = Author("bob").write(experiment())
    ledger.add(record, "peer")
    assert ledger.get(record.id.hex()[:8]) == record
    assert ledger.get("not-hex") is None


def test_addresses_are_kept_latest_first(ledger: Ledger) -> None:
    ledger.remember_address("/ip4/127.0.0.1/tcp/1/p2p/a")
    ledger.remember_address("/ip4/127.0.0.1/tcp/2/p2p/b")
    ledger.remember_address("/ip4/127.0.0.1/tcp/1/p2p/a")
    assert ledger.addresses() == ["/ip4/127.0.0.1/tcp/1/p2p/a", "/ip4/127.0.0.1/tcp/2/p2p/b"]


def test_reading_needs_a_ledger_and_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="autoresearch-node join"):
        Ledger.read(tmp_path / "none.sqlite")


def test_a_newer_ledger_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    Ledger.open(path, OBJECTIVE).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(LedgerError, match="newer"):
        Ledger.open(path, OBJECTIVE)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(b"certainly not a database" * 100)
    with pytest.raises(LedgerError, match="ledger repair"):
        Ledger.open(path, OBJECTIVE)
    with pytest.raises(LedgerError, match="is no usable ledger"):
        Ledger.read(path)


def test_a_damaged_file_is_noticed_and_reported(tmp_path: Path) -> None:
    bob = Author("bob")
    for number in range(3):
        bob.write(experiment(f"number {number}"))
    for name, damage in {
        "another payload": "UPDATE records SET wire = (SELECT wire FROM records WHERE seq = 2) WHERE seq = 1",
        "no record": "UPDATE records SET wire = x'00' WHERE seq = 1",
        "lost": "DELETE FROM records WHERE seq = 1",
    }.items():
        path = tmp_path / f"{name}.sqlite"
        ledger = Ledger.open(path, OBJECTIVE)
        for record in bob.records:
            ledger.add(record, "peer")
        ledger.close()
        connection = sqlite3.connect(path)
        connection.execute(damage)
        connection.commit()
        connection.close()
        with pytest.raises(LedgerError, match="ledger repair"):
            Ledger.open(path, OBJECTIVE)
        with pytest.raises(LedgerError, match="damaged"):
            Ledger.read(path, OBJECTIVE)


async def test_subscribers_hear_of_new_records_only(ledger: Ledger) -> None:
    bob = Author("bob")
    async with ledger.subscribe() as arrivals:
        record = bob.write(experiment())
        ledger.add(record, "a peer")
        ledger.add(record, "a peer")
        mine = ledger.append_own(Author("alice").identity, experiment("mine"), 1)
        with trio.fail_after(1):
            first, second = await arrivals.receive(), await arrivals.receive()
        assert (first.record.id, first.origin) == (record.id, "a peer")
        assert (second.record.id, second.origin) == (mine.id, "own")
        with pytest.raises(trio.WouldBlock):
            arrivals.receive_nowait()


WRITER = """
    import sys
    from pathlib import Path
    from node.ledger.store import Ledger
    from tests.node.records_for_tests import OBJECTIVE, Author, experiment
    ledger = Ledger.open(Path(sys.argv[1]), OBJECTIVE)
    for number in range(100000):
        record = ledger.append_own(Author("alice").identity, experiment(f"number {number}"), number)
        print(record.id.hex(), flush=True)
"""


def test_every_record_a_killed_writer_announced_is_there(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    )
    assert writer.stdout is not None
    announced = [writer.stdout.readline().strip() for _ in range(25)]
    writer.send_signal(signal.SIGKILL)
    announced += [line.strip() for line in writer.stdout if len(line) == 65]
    writer.wait()
    writer.stdout.close()
    ledger = Ledger.open(path, OBJECTIVE)
    feed = ledger.feed(Author("alice").identity.author)
    assert set(announced) <= {record.id.hex() for record in feed}
    assert [record.seq for record in feed] == list(range(len(feed)))
    assert all(after.prev == before.id for before, after in itertools.pairwise(feed))
    ledger.close()


def test_a_reader_takes_in_what_the_node_stores_meanwhile(tmp_path: Path) -> None:
    alice = Author("alice")
    writer = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    writer.add(alice.write(experiment("one")), "peer")
    reader = Ledger.read(tmp_path / "ledger.sqlite", OBJECTIVE)
    assert reader.refresh() == 0
    writer.add(alice.write(experiment("two")), "peer")
    assert reader.refresh() == 1
    assert list(reader.all_records()) == alice.records


def test_a_flood_of_keys_pushes_itself_out_and_a_newcomer_stays(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(authors=64))
    for number in range(200):
        flooded = ledger.add(Author(f"free key {number}").write(experiment("dull")), f"flooder {number % 3}")
    assert flooded in (Added.NEW, Added.REFUSED)
    newcomer = Author("newcomer").write(experiment("a discovery"))
    assert ledger.add(newcomer, "newcomer") is Added.NEW
    for number in range(200, 400):
        ledger.add(Author(f"free key {number}").write(experiment("dull")), f"flooder {number % 3}")
    assert newcomer in ledger.all_records()
    assert ledger.count() <= 64
    ids = [record.id for record in ledger.all_records()]
    wanted = ledger.wanted_blobs()
    ledger.close()
    again = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE)
    assert [record.id for record in again.all_records()] == ids
    assert again.wanted_blobs() == wanted
    again.close()


def test_who_was_pushed_out_is_asked_for_by_nobody_and_can_come_again(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(authors=2))
    reader = Ledger.read(tmp_path / "l.sqlite", OBJECTIVE)
    authors = [Author(name) for name in ("bob", "carol", "dan")]
    for author in authors:
        assert ledger.add(author.write(experiment("one")), author.name) is Added.NEW
        reader.refresh()
    (gone,) = [author for author in authors if not ledger.feed(author.identity.author)]
    assert ledger.heads.head(gone.identity.author) == forked_feed(gone.identity.author)
    assert ledger.add(gone.records[0], gone.name) is Added.NEW
    assert ledger.heads.head(gone.identity.author) != forked_feed(gone.identity.author)
    reader.refresh()
    assert {record.id for record in reader.all_records()} == {record.id for record in ledger.all_records()}
    reader.close()
    ledger.close()


def test_a_proven_author_keeps_its_place(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(authors=2))
    bob = Author("bob")
    ledger.add(bob.write(experiment("one")), "flooder")
    ledger.keep_authors({bob.identity.author})
    for number in range(20):
        ledger.add(Author(f"free key {number}").write(experiment("dull")), f"peer {number}")
    assert ledger.add(bob.write(experiment("two")), "flooder") is Added.NEW


def test_few_large_records_are_taken_of_one_author_and_of_one_peer(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l.sqlite", OBJECTIVE, Quota(unproven_bytes=4 << 20))
    for name in ("one key", "another", "a third"):
        author = Author(name)
        while ledger.add(author.write(Unknown("padding", {"x": bytes(60_000)})), "flooder") is Added.NEW:
            pass
    assert sum(len(record.payload) for record in ledger.all_records()) < 1 << 20
    assert ledger.add(Author("newcomer").write(experiment("a discovery")), "newcomer") is Added.NEW


class NothingBeside(sqlite3.Connection):
    """As on a read-only file system or a full disk: SQLite makes files of its own beside a database, even to read."""

    def execute(self, *_: Any) -> sqlite3.Cursor:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorname = "SQLITE_CANTOPEN"
        raise error


def test_a_ledger_is_read_where_nothing_can_be_written_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(path, OBJECTIVE)
    ledger.add(Author("somebody").write(experiment("An idea")), "somebody")
    ledger.close()
    connect = sqlite3.connect

    def refused(at: str, **how: Any) -> sqlite3.Connection:
        return connect(at, **how) if "immutable" in at else connect(at, **how, factory=NothingBeside)

    monkeypatch.setattr(sqlite3, "connect", refused)
    reader = Ledger.read(path, OBJECTIVE)
    assert reader.count() == 1
    reader.close()
    (tmp_path / "ledger.sqlite-wal").write_bytes(b"something that is not in the file yet")
    with pytest.raises(LedgerError):
        Ledger.read(path, OBJECTIVE)


@pytest.mark.parametrize("what", ["removed", "replaced", "cut short"])
def test_a_file_that_is_taken_away_while_the_node_runs_is_told(tmp_path: Path, what: str) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(path, OBJECTIVE)
    ledger.refuse_another_file()
    if what == "cut short":
        os.truncate(path, 0)
    else:
        path.unlink()
    if what == "replaced":
        path.write_bytes(bytes(4096))
    with pytest.raises(LedgerError, match="cut short" if what == "cut short" else "moved, removed or replaced"):
        ledger.refuse_another_file()
    ledger.close()

"""Another client, written from protocol/README.md over another libp2p, and a real node understand each other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from node.ledger.store import Added
from protocol.messages import Lease
from protocol.objective import Invite, encode_invite
from protocol.records import Hypothesis, Record, body_to_json
from protocol.sync import LIST_AT_ONCE
from tests.node.network.conftest import Node, Start, start, until
from tests.node.records_for_tests import BASELINE, OBJECTIVE, Author, audit, experiment, source

__all__ = ["start"]  # the fixture

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[1] / "protocol" / "vectors"
SECONDS = 25  # after which a client ends by itself, whatever became of the test

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules" / "libp2p").is_dir(),
    reason="the JavaScript client: Node.js 20 or newer, and `npm ci` in tests/interop",
)


@dataclass
class Client:
    """A running client: what it has printed so far, one dictionary per line."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def of(self, event: str, **details: Any) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines
            if line["event"] == event and all(line.get(name) == value for name, value in details.items())
        ]


@asynccontextmanager
async def client(*arguments: str) -> AsyncIterator[Client]:
    """The client, connected to somebody by these arguments, until the block ends."""
    running = Client()
    command = ["node", str(HERE / "client.mjs"), *arguments, str(SECONDS)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))

        async def read() -> None:
            rest = b""
            async for chunk in process.stdout:
                *lines, rest = (rest + chunk).split(b"\n")
                running.lines += [json.loads(line) for line in lines]

        nursery.start_soon(read)
        try:
            yield running
        finally:
            print(*running.lines, sep="\n", file=sys.stderr)  # shown when the test fails
            nursery.cancel_scope.cancel()


def invite_to(node: Node) -> str:
    return encode_invite(Invite(OBJECTIVE, (node.address,)))


def add(node: Node, record: Record) -> Record:
    """Lay in a node's ledger what somebody else wrote."""
    assert node.ledger.add(record, "somebody") is Added.NEW
    return record


def said(line: dict[str, Any]) -> dict[str, Any]:
    """The record in a line."""
    return {name: value for name, value in line.items() if name not in ("event", "via")}


async def test_the_client_opens_the_vectors_as_this_code_does() -> None:
    command = ["node", str(HERE / "vectors.mjs"), str(VECTORS)]
    done = await trio.run_process(command, capture_stdout=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, "")


async def test_a_feed_reaches_the_client_by_sync_and_by_gossip(start: Start) -> None:
    async with start("a") as a:
        before = [a.write(f"before {number}") for number in range(300)]
        async with client(invite_to(a)) as other:
            await until(lambda: other.of("published tampered"), 15)
            after = a.write("after")
            await until(lambda: other.of("record", via="gossip"))
            assert [said(line) for line in other.of("record", via="sync")] == [body_to_json(r) for r in before]
            assert [said(line) for line in other.of("record", via="gossip")] == [body_to_json(after)]
            # the node may have opened a session beside the client's
            assert sum(line["got"] for line in other.of("synced")) == 300
            (feed,) = other.of("synced")[0]["feeds"]
            assert feed == {"author": a.identity.peer_id, "length": 300, "head": before[-1].id.hex()}
            assert not other.of("refused")


async def test_records_that_could_wait_reach_the_client_in_one_message(start: Start) -> None:
    async with start("a") as a, client(invite_to(a)) as other:
        await until(lambda: other.of("published tampered") and a.ledger.count() == 1, 15)
        written = [a.write("first", "no_gain"), a.write("second", "unclear"), a.write("third")]
        await until(lambda: len(other.of("record", via="gossip")) == 3)
        assert [said(line) for line in other.of("record", via="gossip")] == [body_to_json(r) for r in written]


async def test_the_node_takes_a_valid_record_and_refuses_a_tampered_one(start: Start) -> None:
    async with start("a") as a, client(a.address, OBJECTIVE.hex()) as other:
        await until(lambda: other.of("published tampered") and a.log.of("refused message"), 15)
        (record,) = a.ledger.all_records()
        assert record.body == Hypothesis(
            "An idea from another client", "initialisation", "Said by another client.", None, None
        )
        assert other.of("joined")[0]["own"] == body_to_json(record)["author"]
        assert a.log.reasons("refused message") == "a record's signature does not hold"


async def test_what_the_client_says_travels_on(start: Start) -> None:
    async with start("b") as b, start("a", [b.address]) as a:
        await until(lambda: a.peer_ids() and b.peer_ids())
        async with client(invite_to(a)):
            await until(lambda: b.titles() == {"An idea from another client"}, 15)
        assert not b.log.of("refused message")


async def test_the_client_hands_on_what_it_holds(start: Start) -> None:
    async with start("a") as a, start("b") as b:  # who do not know each other
        written = a.write("from far away")
        async with client(encode_invite(Invite(OBJECTIVE, (a.address, b.address)))):
            everything = {"from far away", "An idea from another client"}
            await until(lambda: a.titles() == b.titles() == everything, 15)
            assert b.ledger.all_records()[0].wire() == written.wire()


async def test_every_kind_of_record_reaches_the_client(start: Start) -> None:
    async with start("a") as a:
        written = [a.write("a claim")]
        written.append(add(a, Author("replicator").report(written[0])))
        written.append(add(a, Author("auditor").write(audit(written[1]))))
        written.append(add(a, Author("thinker").write(Hypothesis("An idea", "positions", "Distances.", None, None))))
        async with client(invite_to(a)) as other:
            await until(lambda: other.of("published"), 15)
            heard = {line["id"]: said(line) for line in other.of("record") if line["via"] != "own"}
            assert heard == {record.id.hex(): body_to_json(record) for record in written}
            assert {line["kind"] for line in heard.values()} == {"experiment", "replication", "audit", "hypothesis"}


async def test_a_node_with_too_many_feeds_to_list_and_the_client_bring_each_other_up_to_date(start: Start) -> None:
    async with start("a") as a, start("b") as b:  # who do not know each other
        everybody = [Author(f"author {number}") for number in range(LIST_AT_ONCE + 40)]
        for author in everybody:
            first, second = author.write(experiment("first")), author.write(experiment("second"))
            for node, record in ((a, first), (b, first), (b, second)):
                add(node, record)
        written = a.write("only here")
        async with client(encode_invite(Invite(OBJECTIVE, (a.address, b.address)))) as other:
            # first empty-handed, then with more feeds than a node would list
            await until(lambda: b.ledger.count() == 2 * len(everybody) + 2, 15)
            a.network._anti_entropy.request_sync(other.of("joined")[0]["own"])
            await until(lambda: a.ledger.vector() == b.ledger.vector(), 15)
            assert len(other.of("record")) == 2 * len(everybody) + 2  # the client's own among them
            assert written.id in {record.id for record in b.ledger.all_records()}
            assert not other.of("sync failed")


async def test_the_client_takes_the_proof_of_a_fork_and_hands_it_on(start: Start) -> None:
    async with start("a") as a, start("b") as b:  # who do not know each other
        one, twin = Author("forker"), Author("forker")
        a.ledger.add(one.write(experiment("one past")), "somebody")
        a.ledger.add(twin.write(experiment("another past")), "somebody")
        async with client(encode_invite(Invite(OBJECTIVE, (a.address, b.address)))) as other:
            await until(lambda: b.ledger.forks(), 15)
            assert b.ledger.forks() == a.ledger.forks()
            assert other.of("fork", via="sync", author=one.identity.peer_id, seq=0)


async def test_the_client_proves_a_fork_that_it_saw_by_itself(start: Start) -> None:
    async with start("a") as a, start("b") as b:  # who do not know each other
        a.ledger.add(Author("forker").write(experiment("one past")), "somebody")
        b.ledger.add(Author("forker").write(experiment("another past")), "somebody")
        async with client(encode_invite(Invite(OBJECTIVE, (a.address, b.address)))) as other:
            await until(lambda: other.of("published tampered") and b.ledger.forks(), 15)
            a.network._anti_entropy.request_sync(other.of("joined")[0]["own"])
            await until(lambda: a.ledger.forks())
            assert not other.of("sync failed")


async def test_a_lease_reaches_the_client(start: Start) -> None:
    async with start("a") as a, client(invite_to(a)) as other:
        await until(lambda: other.of("published tampered") and a.ledger.count() == 1, 15)
        a.ledger.leases.take(Lease(BASELINE, source("an edit"), 60), time.monotonic())
        await until(lambda: other.of("lease"))
        (lease,) = other.of("lease")
        assert lease == {
            "event": "lease",
            "of": a.identity.peer_id,
            "parent": BASELINE.hex(),
            "fingerprint": source("an edit").hex(),
            "seconds": 60,
        }


async def test_a_session_that_the_node_opens_ends_well(start: Start) -> None:
    async with start("a") as a, client(invite_to(a)) as other:
        await until(lambda: other.of("published tampered") and a.ledger.count() == 1, 15)
        sessions = len(other.of("synced"))
        a.network._anti_entropy.request_sync(other.of("joined")[0]["own"])
        await until(lambda: len(other.of("synced")) > sessions)
        assert not other.of("sync failed")

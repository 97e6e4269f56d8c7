"""Whatever a stranger sends, a node goes on serving the others, and says in one clear line what it refused."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_uvarint

from node.ledger.leases import LEASES_PER_PEER
from node.network import frames
from node.network.host import parse_address
from node.network.parameters import LOGGED_FIRST, PRESENCES_OF_A_STRANGER, SYNCS_PER_PEER, UNREAD_BYTES
from protocol.codec import encode
from protocol.feed import FeedHead
from protocol.identity import Identity
from protocol.messages import (
    BLOB_PROTOCOL,
    MAX_FRAME,
    SYNC_PROTOCOL,
    Done,
    GossipRecord,
    Lease,
    Presence,
    Records,
    Vector,
    encode_gossip,
    encode_message,
    topic,
)
from protocol.records import sign_record
from tests.node.network.conftest import Node, Start, identity_of, until
from tests.node.network.stranger import PUBSUB, Stranger, stranger_on
from tests.node.records_for_tests import OBJECTIVE, experiment


def presence_of(address: str, padding: int = 0) -> bytes:
    fields = {"t": "presence", "class": "cpu", "feeds": 0, "records": 0, "addresses": [address]}
    return encode({**fields, "zz": bytes(padding)} if padding else fields)


Attack = Callable[[Stranger], Awaitable[None]]


@asynccontextmanager
async def scene(start: Start) -> AsyncIterator[tuple[Node, Stranger]]:
    """A node under attack and its attacker; afterwards a third, innocent one must still be served."""
    async with start("a") as a, start("innocent", [a.address]) as innocent, stranger_on(a.address) as stranger:
        await until(lambda: len(a.peer_ids()) == 2)
        yield a, stranger
        innocent.write("still heard")
        await until(lambda: "still heard" in a.titles())
        blob = a.ledger.put_blob(b"still served")
        assert await innocent.network.fetch_blob(blob, max_bytes=100) == b"still served"
        assert not a.log.of("network task failed")
        assert not a.log.of("session failed")


def record_of(stranger: Stranger, seq: int = 0, title: str = "a record", objective: bytes = OBJECTIVE) -> Any:
    return sign_record(stranger.identity, objective, seq, os.urandom(32) if seq else bytes(32), 0, experiment(title))


def gossip_record(stranger: Stranger, **options: Any) -> bytes:
    return encode_gossip(GossipRecord(record_of(stranger, **options).wire()))


# ---- gossip ----------------------------------------------------------------------------------------------------------


async def junk_stream(stranger: Stranger) -> None:
    stream = await stranger.open(PUBSUB)
    await stream.write(os.urandom(5000))


async def endless_length(stranger: Stranger) -> None:
    stream = await stranger.open(PUBSUB)
    await stream.write(b"\xff" * 30)


async def oversized_message(stranger: Stranger) -> None:
    stream = await stranger.open(PUBSUB)
    await stream.write(encode_uvarint(50_000_000) + b"x" * 1000)


async def truncated_message(stranger: Stranger) -> None:
    stream = await stranger.open(PUBSUB)
    await stream.write(encode_uvarint(1000) + b"x" * 10)
    await stream.reset()


async def not_protobuf(stranger: Stranger) -> None:
    await stranger.gossip_bytes(b"\xff" * 200)


async def topic_that_is_no_text(stranger: Stranger) -> None:
    rpc = rpc_pb2.RPC()
    rpc.subscriptions.add(subscribe=True, topicid="AAAA")
    rpc.control.graft.add(topicID="AAAA")
    await stranger.gossip_bytes(rpc.SerializeToString().replace(b"AAAA", b"\xff\xfe\xfd\xfc"))


async def unsigned(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(b"x", signature=b""))


async def wrongly_signed(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(b"x", signature=bytes(64)))


async def undecodable_key(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(b"x", from_id=b"\x12\x20" + os.urandom(32), key=b"\xff\xff\xff"))


async def undecodable_sender(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(b"x", from_id=b"zz"))


async def several_topics(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(b"x", topicIDs=[topic(OBJECTIVE), "another"]))


async def not_a_message(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(b"\xc1 garbage"))


async def too_large(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(bytes(100_000)))


async def record_with_a_forged_signature(stranger: Stranger) -> None:
    wire = bytearray(record_of(stranger).wire())
    wire[-1] ^= 1
    await stranger.gossip(stranger.message(encode_gossip(GossipRecord(bytes(wire)))))


async def record_of_another_objective(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(gossip_record(stranger, objective=bytes(32))))


async def record_under_another_name(stranger: Stranger) -> None:
    other = Stranger(stranger.host, identity_of("somebody else"), stranger.victim)
    await stranger.gossip(stranger.message(gossip_record(other)))


async def test_bad_gossip_is_survived_and_told(start: Start) -> None:
    cases: dict[Attack, str] = {
        junk_stream: "",  # may by chance be a long message that does not come
        endless_length: "garbage where gossip is spoken",
        oversized_message: "garbage where gossip is spoken",
        truncated_message: "",  # any peer may go in the middle of a word
        not_protobuf: "garbage where gossip is spoken",
        topic_that_is_no_text: "",
        unsigned: "wrongly addressed or signed",
        wrongly_signed: "wrongly addressed or signed",
        undecodable_key: "broken gossip",
        undecodable_sender: "wrongly addressed or signed",
        several_topics: "wrongly addressed or signed",
        not_a_message: "msgpack",
        too_large: "too large",
        record_with_a_forged_signature: "signature",
        record_of_another_objective: "another objective",
        record_under_another_name: "another than its author",
    }
    async with scene(start) as (a, _):
        for attack, said in cases.items():
            before = len(a.log.lines)
            async with stranger_on(a.address) as stranger:
                await attack(stranger)
                if said:
                    await until(lambda: told(a, before, said))  # noqa: B023
        assert a.ledger.count() == 0


def told(node: Node, since: int, what: str) -> bool:
    """Whether the node has refused something for this reason since so many lines."""
    return any(e.startswith("refused") and what in d["reason"] for e, d in node.log.lines[since:])


async def test_control_messages_about_nothing_leave_no_trace(start: Start) -> None:
    async with scene(start) as (a, stranger):
        rpc = rpc_pb2.RPC()
        for number in range(100):
            rpc.control.graft.add(topicID=f"topic {number}")
            prune = rpc.control.prune.add(topicID=f"topic {number}", backoff=2**63)
            prune.peers.add(peerID=os.urandom(34), signedPeerRecord=b"junk")
            rpc.control.ihave.add(topicID=f"topic {number}", messageIDs=[b"\xff\xfe"])
        rpc.control.iwant.add(messageIDs=[os.urandom(8) for _ in range(5000)])
        rpc.senderRecord = b"\x01\x02"
        await stranger.gossip_bytes(rpc.SerializeToString())
        rpc.ClearField("senderRecord")
        await stranger.gossip_bytes(rpc.SerializeToString())
        router = a.network._gossip._router
        await until(lambda: len(a.peer_ids()) == 2)
        assert set(router.back_off) <= {topic(OBJECTIVE)}


async def test_a_replayed_record_is_not_passed_on(start: Start) -> None:
    async with start("b") as b, stranger_on(b.address) as stranger, start("c", [b.address]) as c:
        await until(lambda: len(b.peer_ids()) == 2)
        wire = gossip_record(stranger)
        await stranger.gossip(stranger.message(wire))
        await until(lambda: c.ledger.count() == 1)
        b.network._gossip._recent.clear()  # as after a thousand other records
        await stranger.gossip(stranger.message(wire))
        await until(lambda: "an old one, said again" in b.log.reasons("refused record"))
        assert b.ledger.count() == c.ledger.count() == 1


async def test_a_fork_is_found_and_told(start: Start) -> None:
    async with scene(start) as (a, stranger):
        await stranger.gossip(stranger.message(gossip_record(stranger, title="one past")))
        await until(lambda: "one past" in a.titles())
        await stranger.gossip(stranger.message(gossip_record(stranger, title="another past")))
        await until(lambda: a.log.of("fork found", seq=0))
        await stranger.gossip(stranger.message(gossip_record(stranger, seq=1)))
        await until(lambda: "forked" in a.log.reasons("refused record"))
        assert "another past" not in a.titles()


async def test_a_flood_of_presence_and_gaps_is_survived(start: Start) -> None:
    async with scene(start) as (a, stranger):
        presence = encode_gossip(Presence("cpu", 1, 1, ()))
        await stranger.gossip(*(stranger.message(presence) for _ in range(200)))
        await stranger.gossip(*(stranger.message(gossip_record(stranger, seq=n)) for n in range(5, 95)))
        await until(lambda: a.network._gossip.presence(stranger.host.peer_id))
        assert a.ledger.count() == 0


async def test_presences_of_free_keys_are_few_small_and_of_their_own_addresses_only(start: Start) -> None:
    async with scene(start) as (a, stranger), start("c", [a.address]) as c:
        padded = presence_of("/ip4/127.0.0.1/tcp/1", padding=1000)
        await stranger.gossip(stranger.message(padded))
        await until(lambda: "unknown fields" in a.log.reasons("refused message"))
        await stranger.gossip(stranger.message(presence_of(a.address)))
        await until(lambda: "addresses of another peer" in a.log.reasons("refused message"))
        keys = [replace(stranger, identity=Identity.from_seed(os.urandom(32))) for _ in range(200)]
        await stranger.gossip(*(key.message(presence_of("/ip4/127.0.0.1/tcp/1")) for key in keys))
        known = c.network._gossip.presence
        await until(lambda: any(known(key.identity.peer_id) for key in keys))
        await trio.sleep(0.3)
        assert sum(bool(known(key.identity.peer_id)) for key in keys) <= PRESENCES_OF_A_STRANGER + 1


async def test_who_says_more_than_its_allowance_is_banned(start: Start) -> None:
    async with scene(start) as (a, stranger):
        presence = encode_gossip(Presence("cpu", 1, 1, ()))
        await stranger.gossip(*(stranger.message(presence) for _ in range(400)))
        await until(lambda: a.log.of("peer banned"))
        assert "its publisher says too much" in a.log.reasons("refused message")


async def test_a_flood_of_leases_is_survived_and_takes_little(start: Start) -> None:
    async with scene(start) as (a, stranger):
        leases = [encode_gossip(Lease(bytes(32), n.to_bytes(32, "big"), 86_400)) for n in range(200)]
        await stranger.gossip(*(stranger.message(lease) for lease in leases))
        await until(lambda: a.ledger.leases.taken(bytes(32), time.monotonic()))
        await stranger.gossip(stranger.message(gossip_record(stranger, title="and a record")))
        await until(lambda: "and a record" in a.titles())
        assert len(a.ledger.leases.taken(bytes(32), time.monotonic())) <= LEASES_PER_PEER


async def test_a_peer_that_keeps_at_it_is_banned_for_a_minute(start: Start) -> None:
    async with scene(start) as (a, stranger):
        await stranger.gossip(*(stranger.message(b"garbage %d" % n) for n in range(200)))
        await until(lambda: a.log.of("peer banned"))
        await until(lambda: stranger.host.peer_id not in a.peer_ids())
        assert len(a.log.of("refused message")) <= LOGGED_FIRST * 4
        await stranger.host.dial(parse_address(a.address))
        await until(lambda: not stranger.host.peers())


# ---- sync and blobs --------------------------------------------------------------------------------------------------


async def test_garbage_on_a_stream_is_refused(start: Start) -> None:
    async with scene(start) as (a, stranger):
        for sent, said in (
            ((MAX_FRAME + 1).to_bytes(4, "big") + b"x" * 100, "larger than allowed"),
            (bytes(4), "empty frame"),
            (b"\x00\x00\x00\x05\xc1\xc1\xc1\xc1\xc1", "msgpack"),
            (b"\x00\x00\x00\x01\x80", "missing required field `t`"),
            (b"GET / HTTP/1.1\r\n\r\n", "larger than allowed"),
        ):
            for protocol in (SYNC_PROTOCOL, BLOB_PROTOCOL):
                before = len(a.log.lines)
                stream = await stranger.open(protocol)
                await stream.write(sent)
                await until(lambda: told(a, before, said))  # noqa: B023


async def test_messages_out_of_place_are_refused(start: Start) -> None:
    vector = Vector(OBJECTIVE, ())
    async with scene(start) as (a, stranger):
        for protocol, messages, said in (
            (SYNC_PROTOCOL, (Done(),), "Done where a session does not expect it"),
            (SYNC_PROTOCOL, (vector, vector), "a vector after the last one"),
            (SYNC_PROTOCOL, (Vector(bytes(32), ()),), "another objective"),
            (BLOB_PROTOCOL, (vector,), "no blob request"),
        ):
            stream = await stranger.open(protocol)
            for message in messages:
                await stranger.send(stream, encode_message(message))
            await until(lambda said=said: said in a.log.reasons("refused stream"))  # type: ignore[misc]


async def test_a_vector_of_lies_gets_only_what_exists(start: Start) -> None:
    async with scene(start) as (a, stranger):
        a.write("one")
        feeds = tuple(FeedHead(os.urandom(32), 2**53, os.urandom(32)) for _ in range(1000))
        stream = await stranger.open(SYNC_PROTOCOL)
        await stranger.send(stream, encode_message(Vector(OBJECTIVE, feeds)))
        await until(lambda: a.log.of("synced", sent=1))


async def test_bad_records_in_a_session_are_refused_one_by_one(start: Start) -> None:
    async with scene(start) as (a, stranger):
        good, elsewhere = record_of(stranger, title="good"), record_of(stranger, objective=bytes(32))
        forged = good.wire()[:-1] + bytes([good.wire()[-1] ^ 1])
        stream = await stranger.open(SYNC_PROTOCOL)
        await stranger.send(stream, encode_message(Vector(OBJECTIVE, ())))
        wires = (b"garbage", forged, elsewhere.wire(), record_of(stranger, seq=7).wire(), good.wire())
        await stranger.send(stream, encode_message(Records(wires)))
        await stranger.send(stream, encode_message(Done()))
        await until(lambda: "good" in a.titles())
        await until(lambda: len(a.log.of("refused record")) == 4)
        assert a.ledger.count() == 1


async def test_a_stream_on_which_nothing_comes_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME_SECONDS", 0.3)
    async with scene(start) as (a, stranger):
        await stranger.open(SYNC_PROTOCOL)
        stream = await stranger.open(BLOB_PROTOCOL)
        await stream.write(b"\x00\x00")
        await until(lambda: a.log.reasons("refused stream").count("nothing came in time") == 2)


async def test_one_peer_cannot_take_all_sessions(start: Start) -> None:
    async with scene(start) as (a, stranger):
        with suppress(frames.StreamEndedError):
            for _ in range(SYNCS_PER_PEER + 1):
                await stranger.open(SYNC_PROTOCOL)
        await until(lambda: "too many sync sessions" in a.log.reasons("refused stream"))


async def test_a_peer_that_ignores_flow_control_is_dropped(start: Start) -> None:
    async with scene(start) as (a, stranger):
        a.network._host.answer("/deaf", lambda _: trio.sleep_forever())
        stream = await stranger.open("/deaf")
        body = bytes(60_000)
        header = struct.pack("!BBHII", 0, 0, 0, stream.muxed_stream.stream_id, len(body))
        with suppress(BaseLibp2pError):
            for _ in range(2 * UNREAD_BYTES // len(body)):
                await stream.muxed_conn._write_frame(header + body)
        await until(lambda: stranger.host.peer_id not in a.peer_ids())


# ---- connections -----------------------------------------------------------------------------------------------------


async def test_half_open_and_junk_connections_keep_nobody_out(start: Start) -> None:
    async with scene(start) as (a, _):
        port = int(a.address.split("/")[4])
        sockets = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(100)]
        for socket in sockets[::2]:
            with suppress(trio.BrokenResourceError):  # turned away already
                await socket.send_all(os.urandom(300))
        async with start("newcomer", [a.address]) as newcomer:
            await until(lambda: newcomer.identity.peer_id in a.peer_ids())
        for socket in sockets:
            await socket.aclose()


async def test_junk_below_the_streams_is_the_sender_s_loss(start: Start) -> None:
    async with scene(start) as (_, stranger):
        stream = await stranger.open(PUBSUB)
        await stream.muxed_conn.secured_conn.write(struct.pack("!BBHII", 9, 9, 0xFFFF, 7, 9))
        await stream.muxed_conn.secured_conn.write(os.urandom(240))

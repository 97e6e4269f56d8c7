"""Nodes on loopback meet, hear each other at once, and end up with the same records whatever they missed."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.stream_muxer.yamux.yamux import DEFAULT_WINDOW_SIZE, FLAG_SYN, TYPE_PING, YAMUX_HEADER_FORMAT, YamuxStream
from msgspec.structs import replace

from node.ledger.store import Added
from node.network import ListenError, gossip, host, presences, slots
from node.network.anti_entropy import AntiEntropy
from node.network.libp2p_patches import connections, pubsub
from protocol.messages import Lease, Presence
from tests.node.network.conftest import Start, identity_of, until
from tests.node.network.stranger import stranger_on
from tests.node.records_for_tests import Author, experiment


async def test_two_nodes_connect_and_a_record_is_heard_at_once(start: Start) -> None:
    async with start("a") as a, start("b", [a.address]) as b:
        assert await until(lambda: a.peer_ids() and b.peer_ids()) < 2
        assert a.peer_ids() == {b.identity.peer_id}
        record = a.write("first")
        assert await until(lambda: b.ledger.count() == 1) < 2
        assert b.ledger.all_records()[0].wire() == record.wire()
        assert b.ledger.origin(record.id) == a.identity.peer_id
        assert b.log.of("listening")
        assert b.log.of("peer connected")


async def test_more_than_a_window_of_small_messages_costs_few_frames_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[int] = []
    send = YamuxStream.send_window_update

    async def count(stream: YamuxStream, increment: int, skip_lock: bool = False) -> None:
        returned.append(increment)
        await send(stream, increment, skip_lock)

    monkeypatch.setattr(connections, "YAMUX_WINDOW_BYTES", DEFAULT_WINDOW_SIZE)
    async with start("a") as a, start("b", [a.address]) as b:
        await until(lambda: b.log.of("peer connected"))
        await until(lambda: a.identity.peer_id in map(str, b.network._gossip._router.mesh[b.network._gossip._topic]))
        for node in (a, b):  # so that gossip brings everything
            monkeypatch.setattr(node.network._anti_entropy, "request_sync", lambda *_: None)
        monkeypatch.setattr(YamuxStream, "send_window_update", count)
        for number in range(200):
            body = replace(experiment(f"number {number}"), reason="é" * 500)
            b.ledger.append_own(b.identity, body, 1)
            await until(lambda number=number: a.ledger.count() > number - 10, 20)  # type: ignore[misc]
        await until(lambda: a.ledger.count() == 200, 20)
    assert sum(returned) > DEFAULT_WINDOW_SIZE / 2
    assert len(returned) < 20


async def test_records_pass_through_the_middle_of_a_line(start: Start) -> None:
    async with start("b") as b, start("a", [b.address]) as a, start("c", [b.address]) as c:
        await until(lambda: len(b.peer_ids()) == 2)
        a.write("from one end")
        c.write("from the other")
        b.write("from the middle")
        everything = {"from one end", "from the other", "from the middle"}
        await until(lambda: a.titles() == b.titles() == c.titles() == everything)
        assert a.peer_ids() == c.peer_ids() == {b.identity.peer_id}


async def test_history_that_comes_by_sync_goes_on_to_the_next_node(start: Start) -> None:
    async with start("b") as b, start("c", [b.address]) as c:
        await until(lambda: c.peer_ids())
        async with start("a") as a:
            for number in range(20):
                a.write(f"before {number}")
            async with start("bridge", [a.address, b.address]) as bridge:
                await until(lambda: len(bridge.peer_ids()) == 2)
                await until(lambda: c.ledger.count() == 20, 10)
                await until(lambda: sum(line["got"] for line in c.log.of("synced")) == 20)


async def test_a_latecomer_gets_the_history_of_somebody_who_has_gone(start: Start) -> None:
    async with start("b") as b, start("a", [b.address]) as a:
        for number in range(300):
            a.write(f"number {number}")
        await until(lambda: b.ledger.count() == 300)
    async with start("b") as b, start("c", [b.address]) as c:  # b has begun anew, so that gossip has nothing to repeat
        await until(lambda: c.ledger.vector() == b.ledger.vector())
        await until(lambda: c.log.of("synced", got=300, sent=0) and b.log.of("synced", got=0, sent=300))


async def test_two_nodes_hold_one_session_at_a_time_and_send_nothing_twice(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in = AntiEntropy._take_in

    async def slowly(*arguments: Any) -> int:
        await trio.sleep(0.03)
        return await take_in(*arguments)

    monkeypatch.setattr(AntiEntropy, "_take_in", slowly)
    async with start("a") as a:
        for number in range(600):
            a.write(f"number {number}")
        async with start("b", [a.address]) as b:
            await until(lambda: b.ledger.count() > 20)
            a.network._anti_entropy.request_sync(b.identity.peer_id)  # as every minute, which a long session outlasts
            await until(lambda: b.ledger.vector() == a.ledger.vector(), 20)
            await until(lambda: a.log.of("synced"))
            await trio.sleep(0.3)  # for the session that was asked for
            assert [line["sent"] for line in a.log.of("synced")] == [600]


async def test_hundreds_of_feeds_that_differ_here_and_there_become_equal(start: Start) -> None:
    first = {number: Author(f"author {number}").write(experiment("one")) for number in range(200)}
    async with start("a") as a, start("b") as b:
        for number, record in first.items():
            a.ledger.add(record, "somebody")
            if number % 40:
                b.ledger.add(record, "somebody")
        b.write("only here")
        async with start("c", [a.address, b.address]) as c:
            await until(lambda: c.ledger.count() == 201)
            await until(lambda: a.ledger.vector() == b.ledger.vector() == c.ledger.vector())
            await until(lambda: sum(line["got"] for line in b.log.of("synced")) == 5)


async def test_the_proof_of_a_fork_reaches_those_who_saw_one_branch_or_none(start: Start) -> None:
    one, twin = Author("forker"), Author("forker")
    async with start("a") as a, start("b", [a.address]) as b, start("c", [b.address]) as c:
        await until(lambda: len(b.peer_ids()) == 2)
        a.ledger.add(one.write(experiment("one past")), "somebody")
        a.ledger.add(twin.write(experiment("another past")), "somebody")
        b.ledger.add(one.records[0], "somebody")
        a.write("a reason to sync")
        a.network._anti_entropy.request_sync(b.identity.peer_id)
        await until(lambda: b.ledger.forks() == c.ledger.forks() == a.ledger.forks() != [])
        assert c.log.of("fork found", seq=0)
        assert c.ledger.add(one.write(experiment("later")), "somebody") is Added.REFUSED
        assert c.ledger.vector() == a.ledger.vector()


async def test_a_node_that_missed_a_record_notices_the_gap_and_fills_it(start: Start) -> None:
    async with start("b") as b, start("a", [b.address]) as a:
        await until(lambda: b.peer_ids())
        a.write("heard")
        await until(lambda: b.ledger.count() == 1)
        listeners = a.ledger._subscribers.copy()
        a.ledger._subscribers.clear()  # as when a subscriber lags too far behind
        a.write("missed")
        a.ledger._subscribers |= listeners
        a.write("heard again")
        await until(lambda: b.titles() == {"heard", "missed", "heard again"})


async def test_nodes_keep_looking_for_each_other(start: Start) -> None:
    async with start("a") as a, start("b", [a.address]) as b:
        address = a.address
        await until(lambda: address in b.ledger.addresses())
    async with start("b") as b:  # it remembers the address, and nobody is there yet
        async with start("a", listen=[address.split("/p2p/")[0]]) as a:
            await until(lambda: b.peer_ids() == {a.identity.peer_id}, 10)
        await until(lambda: not b.peer_ids())
        async with start("a", listen=[address.split("/p2p/")[0]]):
            await until(lambda: b.peer_ids(), 10)


async def test_who_was_dialled_last_time_is_an_anchor_and_dialled_again(start: Start) -> None:
    async with start("a") as a, start("came") as came:
        async with start("b", [a.address]) as b:
            came.network._learn(b.address)
            await until(lambda: len(b.peer_ids()) == 2)
        async with start("b", allow=frozenset({a.identity.peer_id})) as b:
            assert b.ledger.anchors() == (a.address,)
            await until(lambda: b.peer_ids() == {a.identity.peer_id})


async def test_connections_from_outside_end_none_that_this_node_opened(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "INCOMING_MOST", 1)
    async with start("honest") as honest, start("a", [honest.address]) as a:
        await until(lambda: a.peer_ids())
        async with stranger_on(a.address), stranger_on(a.address), stranger_on(a.address):
            await until(lambda: len(a.log.of("peer makes way")) == 2)
            await until(lambda: len(a.peer_ids()) == 2)
            assert honest.identity.peer_id in a.peer_ids()
            assert not honest.log.of("peer lost")


async def test_many_peers_at_one_address_are_out_of_the_mesh_and_heard(start: Start) -> None:
    async with start("a") as a, start("b", [a.address]) as b:
        mesh = a.network._gossip._router.mesh[a.network._gossip._topic]
        await until(lambda: b.identity.peer_id in map(str, mesh))
        a.network._peer_score._colocated = lambda peer: 6
        await until(lambda: b.identity.peer_id not in map(str, mesh))
        b.write("said from outside the mesh")
        await until(lambda: a.titles(), 10)


async def test_ten_reconnections_cost_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MAX_CONNECTIONS", 6)  # a slot is free again when its peer has gone
    async with start("a") as a:
        for number in range(10):
            async with start("b", [a.address]) as b:
                await until(lambda b=b: b.peer_ids() and a.peer_ids())  # type: ignore[misc]
                b.write(f"visit {number}")
                await until(lambda number=number: a.ledger.count() == number + 1)  # type: ignore[misc]
            await until(lambda: not a.peer_ids())
        await until(lambda: len(a.log.of("peer lost")) == 10)
        assert len(a.log.of("peer connected")) == 10


async def test_a_peer_that_does_not_answer_is_hung_up_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "OPEN_SILENT_SECONDS", 0.3)
    async with start("a") as a, stranger_on(a.address) as frozen:
        frozen.host.libp2p.get_network().set_stream_handler(lambda _: trio.sleep_forever())
        await until(lambda: a.peer_ids())
        a.network._anti_entropy.request_sync(frozen.host.peer_id)
        await until(lambda: not a.peer_ids())


async def test_a_peer_that_is_only_slow_to_answer_is_waited_for(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "OPEN_SILENT_SECONDS", 0.3)
    async with start("a") as a, stranger_on(a.address) as slow:
        network = slow.host.libp2p.get_network()
        answer = network.common_stream_handler
        ping = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, 1)

        async def answer_late(stream: Any) -> None:
            for _ in range(10):
                await trio.sleep(0.1)
                await stream.muxed_conn._write_frame(ping)
            await answer(stream)

        network.set_stream_handler(answer_late)
        held = trio.Event()

        async def hold(stream: Any) -> None:
            held.set()

        slow.host.answer("/late", hold)
        await until(lambda: a.peer_ids())
        await a.network._host.open_stream(slow.host.peer_id, "/late")
        await until(held.is_set)
        assert not a.log.of("peer lost")


async def test_gossip_begins_also_with_a_peer_that_took_too_long_to_agree_on_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (host, pubsub):
        monkeypatch.setattr(module, "NEGOTIATE_SECONDS", 1.0)
    async with start("a") as a, start("b") as b:
        network = b.network._host.libp2p.get_network()
        answer, late_until = network.common_stream_handler, trio.current_time() + 1.5

        async def answer_late(stream: Any) -> None:
            await trio.sleep_until(late_until)
            await answer(stream)

        network.set_stream_handler(answer_late)
        a.network._learn(b.address)
        await until(lambda: a.peer_ids())
        a.write("said before gossip had begun")
        await until(lambda: b.identity.peer_id in map(str, a.network._gossip._pubsub.peers))
        assert not a.log.of("peer lost")


async def test_who_comes_back_after_long_is_brought_what_it_missed_once(start: Start) -> None:
    async with start("a") as a:
        for number in range(200):
            a.write(f"idea {number}", decision="no_gain")
        async with start("b", [a.address]) as b, start("c", [a.address]) as c:
            await until(lambda: b.ledger.count() == c.ledger.count() == 200, 20)
            async with start("d", [a.address, b.address, c.address]) as d:
                opened = d.network._anti_entropy._last  # sessions that it has opened, and held
                await until(lambda: len(opened) == 3, 20)
                assert d.ledger.count() == 200
                assert sum(details["sent"] for node in (a, b, c) for details in node.log.of("synced")) == 600


async def test_who_has_not_been_heard_for_long_is_forgotten(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presences, "PRESENCE_SECONDS", 0.05)
    monkeypatch.setattr(presences, "PRESENCES_PER_SECOND", 1000.0)
    async with start("a") as a:
        async with start("b", [a.address]) as b:
            b.network.announce(Presence("cpu-2", 3, 5, ()))
            await until(lambda: a.network._gossip.presence(b.identity.peer_id))
        await until(lambda: not a.network._gossip.presence(b.identity.peer_id))


async def test_presence_is_heard(start: Start) -> None:
    async with start("a") as a, start("b", [a.address]) as b:
        presence = Presence("cpu-2", 3, 5, ())
        b.network.announce(presence)
        said = replace(presence, addresses=(b.address,))
        await until(lambda: [peer.presence for peer in a.network.peers()] == [said])
        assert a.network.authors("cpu-2") == {b.identity.author}
        assert a.network.authors("cpu") == set()


async def test_who_was_dialled_knows_that_it_can_be(start: Start) -> None:
    async with start("a") as a:
        assert a.network.reach() == "alone"
        async with start("b", [a.address]) as b:
            await until(lambda: a.peer_ids() and b.peer_ids())
            assert a.network.reach().startswith("reachable on the local network")
            assert b.network.reach().startswith("outgoing only")


async def test_peers_learn_of_each_other_from_what_a_common_peer_passes_on(start: Start) -> None:
    async with start("hub") as hub, start("a", [hub.address]) as a, start("b", [hub.address]) as b:
        await until(lambda: len(hub.peer_ids()) == 2)
        a.network.announce(Presence("cpu", 0, 0, ()))
        await until(lambda: a.identity.peer_id in b.peer_ids())


async def test_what_did_not_work_travels_with_the_next_discovery_and_in_order(start: Start) -> None:
    async with start("b") as b, start("a", [b.address]) as a:
        await until(lambda: b.peer_ids())
        await until(lambda: a.network._anti_entropy._last or b.network._anti_entropy._last)  # the first session is over
        for number in range(3):
            a.write(f"null {number}", decision="no_gain")
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert b.ledger.count() == 0
        a.write("discovery")
        await until(lambda: b.ledger.count() == 4)
        assert not b.log.of("synced", got=4)


async def test_what_did_not_work_goes_out_by_itself_after_a_while(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip, "BATCH_SECONDS", 0.2)
    async with start("b") as b, start("a", [b.address]) as a:
        await until(lambda: b.peer_ids())
        a.write("null", decision="no_gain")
        await until(lambda: b.ledger.count() == 1)


async def test_nobody_gets_into_a_private_swarm_without_its_key(start: Start) -> None:
    key, other = bytes(range(32)), bytes(32)
    async with start("a", swarm_key=key) as a, start("friend", [a.address], swarm_key=key) as friend:
        record = a.write("ours")
        await until(lambda: friend.ledger.count() == 1)
        assert friend.ledger.all_records()[0].id == record.id
        async with start("open", [a.address]) as stranger, start("guess", [a.address], swarm_key=other) as guesser:
            await trio.sleep(1.5)  # there is no event for what must not happen
            assert not stranger.peer_ids()
            assert not guesser.peer_ids()
        assert a.peer_ids() == {friend.identity.peer_id}


async def test_only_those_on_the_allow_list_are_let_in(start: Start) -> None:
    allowed = frozenset({identity_of("friend").peer_id})
    async with (
        start("a", allow=allowed) as a,
        start("friend", [a.address]) as friend,
        start("other", [a.address]) as other,
    ):
        await until(lambda: a.peer_ids() == {friend.identity.peer_id} and friend.peer_ids())
        await until(lambda: not other.peer_ids())


async def test_nothing_of_somebody_blocked_is_taken_from_anybody(start: Start) -> None:
    blocked = frozenset({identity_of("bad").peer_id})
    async with start("a", block=blocked) as a, start("b", [a.address]) as b, start("bad", [b.address]) as bad:
        await until(lambda: a.peer_ids() and bad.peer_ids())
        bad.write("unwanted")
        await until(lambda: b.titles() == {"unwanted"})
        b.write("wanted")
        await until(lambda: a.titles() == {"wanted"})
        assert a.peer_ids() == {b.identity.peer_id}


async def test_leaving_is_quick_and_tells_the_peers(start: Start) -> None:
    async with start("a") as a:
        with trio.CancelScope() as scope:
            async with start("b", [a.address]) as b, start("c", [a.address]):
                await until(lambda: len(a.peer_ids()) == 2 and b.peer_ids())
                left = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
        assert trio.current_time() - left < 1.5
        assert await until(lambda: not a.peer_ids()) < 1


async def test_a_start_that_is_given_up_at_once_ends(start: Start) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with start("a"):
            raise AssertionError("it was given up")
    async with start("b"):
        pass


@pytest.mark.sockets
async def test_an_address_that_cannot_be_had_is_an_error_for_people(start: Start) -> None:
    async with start("a") as a:
        port = a.address.split("/")[4]
        for listen, why in (
            ([f"/ip4/127.0.0.1/tcp/{port}"], "another node or program has this port"),  # with SO_REUSEPORT it could
            ([f"/ip4/0.0.0.0/tcp/{port}"], "another node or program has this port"),
            (["/ip4/127.0.0.1/tcp/0", f"/ip4/127.0.0.1/tcp/{port}"], "another node or program has this port"),
            (["/ip4/203.0.113.1/tcp/0", "/ip4/127.0.0.1/tcp/0"], "this machine has no such address"),
        ):
            with pytest.raises(ListenError, match=why):
                async with start("b", listen=listen):
                    raise AssertionError("it must not come this far")


@pytest.mark.sockets
async def test_the_same_address_twice_is_one(start: Start) -> None:
    async with start("a", listen=["/ip4/127.0.0.1/tcp/0"] * 2) as a:
        assert len(a.network.addresses()) == 1


async def test_nobody_listens_any_more_when_a_node_has_ended(start: Start) -> None:
    async with start("a") as a:
        port = int(a.address.split("/")[4])
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is(start: Start) -> None:
    with pytest.raises(ZeroDivisionError):
        async with start("a"):
            raise ZeroDivisionError


async def test_a_newcomer_hears_what_is_being_tried(start: Start) -> None:
    async with start("a") as a:
        a.ledger.leases.take(Lease(bytes(32), b"f" * 32, 60), time.monotonic())
        async with start("b", [a.address]) as b:
            await until(lambda: bool(b.ledger.leases.taken(bytes(32), time.monotonic())), 15)


async def test_a_lease_is_heard_by_those_connected_and_goes_on_through_them(start: Start) -> None:
    async with start("b") as b, start("a", [b.address]) as a, start("c", [b.address]) as c:
        await until(lambda: len(b.peer_ids()) == 2)
        lease = Lease(bytes(32), b"f" * 32, 60)

        def heard() -> bool:
            a.ledger.leases.take(lease, time.monotonic())  # said again, as during a trial
            return bool(c.ledger.leases.taken(bytes(32), time.monotonic()))

        await until(heard)
        assert b.ledger.leases.taken(bytes(32), time.monotonic()) == {b"f" * 32}
        assert not a.ledger.leases.taken(bytes(32), time.monotonic())

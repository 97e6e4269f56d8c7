"""Each thing that can be wrong with an address is told as what it is, with what to do."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from node.network.discovery import named_peers
from node.network.host import Host, parse_address
from node.network.peer_check import Fault, NotReachedError, PeerCheck, check_peer, most_telling
from node.network.peer_score import PeerScore
from protocol.identity import Identity
from tests.node.network.conftest import LOOPBACK, Start, until
from tests.node.records_for_tests import OBJECTIVE

KEY = b"k" * 32


def somebody() -> str:
    return Identity.from_seed(os.urandom(32)).peer_id


@asynccontextmanager
async def host(key: bytes | None = None, listen: list[str] | None = None) -> AsyncIterator[Host]:
    made = Host(Identity.from_seed(os.urandom(32)), PeerScore(lambda *_, **__: None, lambda _: None), key)
    async with made.run(listen or []):
        yield made


async def found_at(address: str, key: bytes | None = None, objective: bytes | None = None) -> PeerCheck:
    async with host(key) as here:
        return await check_peer(here, address, objective, key is not None)


def place(address: str) -> str:
    return address.partition("/p2p/")[0]


@pytest.mark.sockets
async def test_of_a_node_that_is_there_all_is_told(start: Start) -> None:
    async with start("a") as a:
        found = await found_at(a.address, objective=OBJECTIVE)
        assert not found.fault
        assert found.objective == OBJECTIVE.hex()
        assert len(found.pings) == 3
        assert found.agent.startswith("py-libp2p/")
        assert found.connect_seconds is not None
        other = await found_at(a.address, objective=bytes(32))
        assert other.fault == Fault.OTHER_OBJECTIVE
        assert OBJECTIVE.hex()[:16] in other.why
        assert not a.log.of("peer refused")


@pytest.mark.sockets
async def test_the_wrong_peer_at_the_right_place_is_told_with_its_id(start: Start) -> None:
    async with start("a") as a:
        found = await found_at(f"{place(a.address)}/p2p/{somebody()}")
    assert found.fault == Fault.WRONG_PEER
    assert a.identity.peer_id in found.why


@pytest.mark.sockets
async def test_keys_of_private_swarms_are_told_apart(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.network.host.DIAL_SECONDS", 1.0)  # the cipher makes noise of what the other says
    async with start("a", swarm_key=KEY) as private, start("b") as open_to_all:
        assert (await found_at(private.address)).fault == Fault.PRIVATE
        assert (await found_at(private.address, b"z" * 32)).fault == Fault.OTHER_KEY
        assert (await found_at(private.address, KEY)).fault == ""
        assert (await found_at(open_to_all.address, KEY)).fault == Fault.OPEN


@pytest.mark.sockets
async def test_a_libp2p_node_of_another_kind_is_none_of_ours() -> None:
    async with host(listen=LOOPBACK) as other:
        assert (await found_at(other.addresses()[0])).fault == Fault.NO_NODE
        other.answer("/autoresearch/sync/2.0.0", lambda stream: stream.close())
        found = await found_at(other.addresses()[0])
    assert found.fault == Fault.OTHER_VERSION
    assert "version 2 of the protocol and this one 1" in found.why


@pytest.mark.sockets
@pytest.mark.parametrize(
    ("said", "fault"), [(b"SSH-2.0-OpenSSH_9.6\r\n", Fault.NO_LIBP2P), (b"", Fault.HUNG_UP), (None, Fault.NO_LIBP2P)]
)
async def test_another_program_at_the_port_is_told(
    said: bytes | None, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.network.peer_check.CHECK_HELLO_SECONDS", 0.3)

    async def serve(stream: trio.SocketStream) -> None:
        if said is None:
            await trio.sleep(1)  # a program that waits to be asked
        else:
            await stream.send_all(said)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0)
        port = listener.socket.getsockname()[1]
        assert (await found_at(f"/ip4/127.0.0.1/tcp/{port}/p2p/{somebody()}")).fault == fault
        nursery.cancel_scope.cancel()


@pytest.mark.sockets
async def test_where_nothing_is_the_reason_is_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        refused = await found_at(f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}/p2p/{somebody()}")
    assert refused.fault == Fault.REFUSED
    assert "fresh invite" in refused.why
    assert (await found_at(f"/dns4/nobody.invalid/tcp/4001/p2p/{somebody()}")).fault == Fault.NAME
    assert (await found_at("/ip4/127.0.0.1/tcp/4001")).fault == Fault.NOT_AN_ADDRESS
    async with host() as here:
        itself = await check_peer(here, f"/ip4/127.0.0.1/tcp/9/p2p/{here.peer_id}", None, private=False)
    assert itself.fault == Fault.ITSELF


def test_an_address_of_this_machine_tells_least_of_another() -> None:
    peer = somebody()
    home = parse_address(f"/ip4/192.168.1.10/tcp/4001/p2p/{peer}")
    loopback = parse_address(f"/ip4/127.0.0.1/tcp/4001/p2p/{peer}")
    faults = {loopback: NotReachedError(Fault.NO_LIBP2P), home: NotReachedError(Fault.TIMED_OUT)}
    assert most_telling(faults) == home
    assert most_telling({loopback: NotReachedError(Fault.REFUSED)}) == loopback


@pytest.mark.sockets
async def test_a_named_peer_that_is_not_there_is_told_soon_and_again_when_the_reason_changes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_peers, "NAMED_FIRST_SECONDS", 0.1)
    monkeypatch.setattr(named_peers, "NAMED_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(named_peers, "NAMED_MOST_SECONDS", 0.2)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}"
        async with start("b", [f"{address}/p2p/{somebody()}"]) as b:
            await until(lambda: b.log.of("peer not reached"))
            (told,) = b.log.of("peer not reached")
            assert told["address"] == address
            assert "connection refused" in told["why"]
            await trio.sleep(0.5)
            assert len(b.log.of("peer not reached")) == 1
            closed.close()
            async with start("a", listen=[address]) as a:
                await until(lambda: len(b.log.of("peer not reached")) == 2)
                assert a.identity.peer_id in b.log.of("peer not reached")[1]["why"]

"""Rendezvous: nodes of one objective that know one address find each other in the DHT, whoever that node is."""

from __future__ import annotations

import pytest
import trio

from node.network.discovery.kad.dht import OWN_DHT
from node.network.frames import StreamEndedError
from tests.node.network.conftest import Start, until

pytestmark = pytest.mark.sockets
OTHER = b"o" * 32
KEY = b"k" * 32


async def test_two_nodes_meet_through_a_node_of_another_objective_and_do_not_mix_with_it(start: Start) -> None:
    async with (
        start("server", objective=OTHER, public=True) as server,
        start("a", [server.address], public=True) as a,
        start("b", [server.address], public=True) as b,
    ):
        await until(lambda: b.identity.peer_id in a.peer_ids() and a.identity.peer_id in b.peer_ids(), 20)
        await until(lambda: server.identity.peer_id not in a.peer_ids() | b.peer_ids(), 20)
        await until(lambda: a.log.of("peers found") or b.log.of("peers found"), 20)


async def test_who_was_told_of_a_node_of_another_objective_hangs_up_and_says_so_once(start: Start) -> None:
    async with start("other", objective=OTHER) as other, start("a", [other.address]) as a:
        await until(lambda: a.log.of("peer of another swarm"))
        await until(lambda: not a.peer_ids() | other.peer_ids())
        await trio.sleep(2.0)  # it would have dialled again by now
        assert not a.peer_ids()
        assert len(a.log.of("peer of another swarm")) == 1


async def test_a_private_swarm_has_no_part_in_the_dht(start: Start) -> None:
    async with (
        start("a", public=True, swarm_key=KEY) as a,
        start("b", [a.address], public=True, swarm_key=KEY) as b,
    ):
        await until(lambda: b.peer_ids() == {a.identity.peer_id})
        with pytest.raises(StreamEndedError):
            await b.network._host.open_stream(a.identity.peer_id, OWN_DHT)

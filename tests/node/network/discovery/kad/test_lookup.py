"""A lookup goes from server to nearer server, takes what they say within limits, and dials nobody it should not."""

from __future__ import annotations

import random

import pytest
import trio

from node.network.discovery.kad.lookup import Answer, Candidate, Lookup
from node.network.discovery.kad.messages import KadMessage, Kind, Named, decode, encode, peer_key, swarm_key
from node.network.discovery.kad.providers import ProviderRecords
from node.network.discovery.kad.routing import RoutingTable, place_of
from node.network.groups import may_name
from node.network.parameters import (
    DHT_ASKED_MOST,
    DHT_BUCKET,
    DHT_FAILURES,
    DHT_SERVERS_OF_A_GROUP,
    PROVIDER_RECORDS_OF_A_KEY,
    PROVIDER_RECORDS_OF_A_PEER,
    PROVIDER_SECONDS,
)
from protocol.codec import MalformedError
from tests.node.network.conftest import identity_of

KEY = swarm_key(bytes(range(32)))
PEERS = [identity_of(f"peer {n}").peer_id for n in range(90)]
OWN = PEERS[0]


def place(n: int) -> str:
    return f"/ip4/10.0.{n // 250}.{n % 250 + 1}/tcp/4001"


def near(peers: list[str], count: int) -> list[str]:
    return sorted(peers, key=lambda peer: place_of(peer_key(peer)) ^ place_of(KEY))[:count]


def test_what_is_encoded_is_decoded_and_addresses_of_other_transports_are_left_out() -> None:
    named = Named(PEERS[1], ("/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001"))
    message = KadMessage(Kind.GET_PROVIDERS, KEY, (named,), (Named(PEERS[2], ()),))
    assert decode(encode(message)) == message
    udp = KadMessage(Kind.FIND_NODE, KEY, (Named(PEERS[1], ("/ip4/192.0.2.1/udp/4001", "/dns4/example.org/tcp/1")),))
    assert decode(encode(udp)).closer == (Named(PEERS[1], ()),)


@pytest.mark.parametrize("body", [b"\xff\xff", encode(KadMessage(Kind.FIND_NODE, b"x" * 81)), b"\x08\x00"])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(body)


def test_an_address_that_names_another_peer_is_left_out() -> None:
    message = KadMessage(Kind.FIND_NODE, KEY, (Named(PEERS[1], (f"{place(1)}/p2p/{PEERS[2]}",)),))
    assert decode(encode(message)).closer == (Named(PEERS[1], ()),)


async def test_a_lookup_finds_the_nearest_servers_of_which_each_knows_a_few(autojump_clock: object) -> None:
    rng = random.Random(7)
    knows = {peer: rng.sample(PEERS[1:], 12) for peer in PEERS[1:]}
    number = {peer: n for n, peer in enumerate(PEERS)}

    async def ask(candidate: Candidate) -> Answer:
        await trio.sleep(0.1)
        closer = tuple(Named(peer, (place(number[peer]),)) for peer in near(knows[candidate.peer], DHT_BUCKET))
        return Answer("/ip4/10.0.0.1/tcp/1", closer, (Named(PEERS[5], (place(5),)),))

    found = await Lookup(KEY, OWN, ask, may_name).run([Candidate(PEERS[1], (place(1),), trusted=True)])
    assert found.asked <= DHT_ASKED_MOST
    assert set(found.providers) == {PEERS[5]}
    assert len(set(found.servers) & set(near(PEERS[1:], DHT_BUCKET))) >= DHT_BUCKET - 2


async def test_with_enough_providers_a_lookup_asks_nobody_else(autojump_clock: object) -> None:
    asked: list[str] = []

    async def ask(candidate: Candidate) -> Answer:
        asked.append(candidate.peer)
        closer = tuple(Named(peer, (place(n),)) for n, peer in enumerate(PEERS[2:9], 2))
        return Answer("/ip4/10.0.0.1/tcp/1", closer, tuple(Named(peer, (place(1),)) for peer in PEERS[10:14]))

    seed = Candidate(PEERS[1], (place(1),), trusted=True)
    found = await Lookup(KEY, OWN, ask, may_name, enough=4).run([seed])
    assert asked == [PEERS[1]]
    assert not found.whole  # so it was no announcement to the nearest servers
    assert (await Lookup(KEY, OWN, ask, may_name, enough=5).run([seed])).whole


async def test_liars_who_name_ever_new_servers_end_a_lookup_no_later(autojump_clock: object) -> None:
    asked: list[str] = []
    rng = random.Random(1)

    async def ask(candidate: Candidate) -> Answer:
        asked.append(candidate.peer)
        made_up = [identity_of(f"made up {rng.random()}").peer_id for _ in range(20)]
        return Answer("/ip4/10.0.0.1/tcp/1", tuple(Named(peer, (place(1),)) for peer in made_up), ())

    await Lookup(KEY, OWN, ask, may_name).run([Candidate(PEERS[1], (place(1),))])
    assert len(asked) <= DHT_ASKED_MOST


async def test_a_server_of_the_internet_cannot_have_private_addresses_dialled(autojump_clock: object) -> None:
    asked: list[str] = []

    async def ask(candidate: Candidate) -> Answer:
        asked.append(candidate.peer)
        return Answer(
            "/ip4/11.0.0.1/tcp/1", (Named(PEERS[2], (place(2),)), Named(PEERS[3], ("/ip4/12.0.0.1/tcp/1",))), ()
        )

    await Lookup(KEY, OWN, ask, may_name).run([Candidate(PEERS[1], ("/ip4/11.0.0.1/tcp/1",), trusted=True)])
    assert asked == [PEERS[1], PEERS[3]]


def test_the_table_keeps_old_servers_few_of_a_network_and_drops_those_that_fail() -> None:
    table = RoutingTable(OWN)
    for n, peer in enumerate(PEERS[1:60]):
        table.answered(peer, f"/ip4/11.0.0.{n + 1}/tcp/4001")
    assert 0 < len(table) <= DHT_SERVERS_OF_A_GROUP
    first = next(iter(table)).peer
    for _ in range(DHT_FAILURES):
        table.failed(first)
    assert first not in table


def test_provider_records_end_and_a_flood_of_one_network_leaves_others() -> None:
    records = ProviderRecords(random.Random(3))
    records.add(KEY, Named(PEERS[1], (place(1),)), place(1), "honest", 0.0)
    for n, peer in enumerate(
        [*PEERS[2:], *(identity_of(f"more {n}").peer_id for n in range(PROVIDER_RECORDS_OF_A_KEY))]
    ):
        records.add(KEY, Named(peer, ("/ip4/11.0.0.1/tcp/1",)), "/ip4/11.0.0.1/tcp/1", "flood", 1.0 + n / 1000)
    assert len(records) == PROVIDER_RECORDS_OF_A_KEY
    assert PEERS[1] in {named.peer for named, _ in records.of(KEY, 1000, 2.0)}
    assert records.of(KEY, 20, 2.0 + PROVIDER_SECONDS) == []
    for n in range(PROVIDER_RECORDS_OF_A_PEER + 5):
        records.add(bytes([n]), Named(PEERS[2], (place(2),)), place(2), "one", 10_000.0)
    assert len(records) == PROVIDER_RECORDS_OF_A_PEER

"""Attacks below records: seats held for a few bytes a second, connections that never get on, frames of rubbish, and
content that nobody has or nobody needs."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from attacks.attack import Attack, Figures
from attacks.floods import LOOPBACK, feed, new_key, peer_with
from attacks.scene import NEVER_SECONDS, Scene
from node.network import fetch_objective
from node.network.host import Host, parse_address
from node.network.peer_score import PeerScore
from protocol.codec import encode
from protocol.identity import Identity
from protocol.messages import (
    BLOB_PROTOCOL,
    SYNC_PROTOCOL,
    BlobRequest,
    GossipRecord,
    Records,
    Vector,
    encode_gossip,
    encode_message,
)
from protocol.objective import FileEntry, Invite, Manifest, encode_manifest, objective_id
from protocol.records import Hypothesis, Record
from tests.node.network.stranger import Stranger, stranger_on
from tests.node.records_for_tests import OBJECTIVE, experiment, source

SEAT_KEYS = 8
TRICKLE_SECONDS = 8.0  # between two messages of a session that is held
HALF_OPEN, HALF_OPEN_ADDRESSES = 400, 8  # connections that never finish their handshake, and where they come from
RUBBISH_KEYS = 40
MADE_UP_CLAIMS = 40
JUNK_MIB = 24  # of room for sources at the attacked node; it has 512 usually
JUNK_SOURCES = 200
JUNK_BYTES = 256 << 10  # the most a source may have
UNTIL_FULL_SECONDS = 40.0


@asynccontextmanager
async def strangers(scene: Scene, count: int) -> AsyncIterator[list[Stranger]]:
    """So many keys, each connected to the attacked node."""
    scene.keys += count
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            identity = new_key()
            host = Host(identity, PeerScore(lambda *_, **__: None, lambda _: None))
            await stack.enter_async_context(host.run([LOOPBACK]))
            if await host.dial(parse_address(scene.victim.address)):
                made.append(Stranger(host, identity, scene.victim.address, OBJECTIVE))
        yield made


async def trickle(stranger: Stranger, protocol: str, first: list[bytes], again: Any) -> None:
    """Hold sessions of one kind, one after the other, with a message now and then."""
    while True:
        try:
            stream = await stranger.open(protocol)
            for message in first:
                await stranger.send(stream, message)
            while True:
                await stranger.send(stream, again())
                await trio.sleep(TRICKLE_SECONDS)
        except Exception:  # the stream was reset: it takes another
            await trio.sleep(0.5)


async def seats(scene: Scene) -> Figures:
    """All seats for content and for syncs are held, for some bytes a second each."""
    content = b"print('hello')\n"
    manifest = encode_manifest(
        Manifest("x", (FileEntry("train.py", hashlib.sha256(content).digest(), len(content)),), ())
    )
    for name, data in (("manifest", manifest), ("file", content)):
        (scene.folder / name).write_bytes(data)
        await scene.victim.ask(f"serve {scene.folder / name}")
    async with strangers(scene, SEAT_KEYS) as made, trio.open_nursery() as nursery:
        for stranger in made:
            for _ in range(4):
                nursery.start_soon(
                    trickle, stranger, BLOB_PROTOCOL, [], lambda: encode_message(BlobRequest(os.urandom(32), 0))
                )
            for _ in range(2):
                nursery.start_soon(
                    trickle,
                    stranger,
                    SYNC_PROTOCOL,
                    [encode_message(Vector(OBJECTIVE, ()))],
                    lambda: encode_message(Records(())),
                )
        await trio.sleep(5.0)
        begun = time.monotonic()
        invite = Invite(objective_id(manifest), (scene.victim.address,))
        with trio.move_on_after(NEVER_SECONDS):
            got = await fetch_objective(new_key(), invite, lambda done, of: None, lambda address, why: None)
        answered = time.monotonic() - begun if got is not None else None
        newcomer = scene.newcomer(0)
        for _ in range(50):
            await newcomer.ask("say")
        await scene.victim.watch(newcomer.author)
        begun = time.monotonic()
        await newcomer.join(scene.victim.address)
        held = await scene.until(lambda: scene.victim.state["records"] >= 50)
        nursery.cancel_scope.cancel()
    return {"invite": answered, "sync": time.monotonic() - begun if held is not None else None}


async def half_open(scene: Scene) -> Figures:
    """TCP connections that say a byte of their handshake now and then."""
    host, port = "127.0.0.1", int(scene.victim.address.split("/tcp/")[1].split("/")[0])

    async def one(number: int) -> None:
        while True:
            try:
                own_address = f"127.0.0.{2 + number % HALF_OPEN_ADDRESSES}"  # not those of the newcomers
                stream = await trio.open_tcp_stream(host, port, local_address=own_address)
                async with stream:
                    await stream.send_all(b"\x13/multistream/1.0.0\n"[:10])
                    while True:
                        await trio.sleep(3.0)
                        await stream.send_all(b"m")
            except (OSError, trio.BrokenResourceError):  # it was thrown out
                await trio.sleep(1.0)

    async with trio.open_nursery() as nursery:
        for number in range(HALF_OPEN):
            nursery.start_soon(one, number)
        await trio.sleep(5.0)
        newcomer = await scene.newcomer_heard(0)
        nursery.cancel_scope.cancel()
    later = await scene.newcomer_heard(1)
    return {"newcomer": newcomer, "newcomer_later": later, "memory": scene.memory_mib}


async def rubbish(scene: Scene) -> Figures:
    """Keys by the dozen that send frames of rubbish on every protocol, and come again with another key when banned."""

    async def one() -> None:
        while True:
            scene.keys += 1
            try:
                async with stranger_on(scene.victim.address, OBJECTIVE) as stranger:
                    for number in range(200):
                        kind = number % 4
                        if kind == 0:
                            await stranger.gossip_bytes(os.urandom(2000))
                        elif kind == 1:
                            await stranger.gossip(stranger.message(os.urandom(500)))
                        elif kind == 2:
                            stream = await stranger.open(SYNC_PROTOCOL)
                            await stranger.send(stream, encode(["records", [os.urandom(900)]]))
                        else:
                            stream = await stranger.open(BLOB_PROTOCOL)
                            await stream.write(os.urandom(300))
                        await trio.sleep(0.02)
            except Exception:  # thrown out, in whatever way the library tells it
                await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        for _ in range(RUBBISH_KEYS // 4):
            nursery.start_soon(one)
        await trio.sleep(5.0)
        newcomer = await scene.newcomer_heard(0)
        await trio.sleep(5.0)
        nursery.cancel_scope.cancel()
    later = await scene.newcomer_heard(1)
    return {"newcomer": newcomer, "newcomer_later": later, "memory": scene.memory_mib}


# ---- content ---------------------------------------------------------------------------------------------------------


async def claims_of_nothing(scene: Scene) -> Figures:
    """Claims whose sources do not exist, by a peer that never answers when it is asked for them."""
    scene.keys += 1
    async with stranger_on(scene.victim.address, OBJECTIVE) as stranger:

        async def silent(stream: Any) -> None:
            await trio.sleep_forever()

        stranger.host.answer(BLOB_PROTOCOL, silent)
        claims = feed(
            stranger.identity,
            [
                experiment(f"made up {n}", source(f"no parent {n}"), source(f"nothing {n}"))
                for n in range(MADE_UP_CLAIMS)
            ],
        )
        await stranger.gossip(*(stranger.message(encode_gossip(GossipRecord(record.wire()))) for record in claims))
        await scene.until(lambda: scene.victim.state["records"] >= MADE_UP_CLAIMS)
        return {"source": await scene.source_fetched(0)}


def junk(identity: Identity) -> tuple[list[Record], list[bytes]]:
    """Suggestions of random content, as large as a source may be."""
    contents = [os.urandom(JUNK_BYTES) for _ in range(JUNK_SOURCES)]
    ideas = (
        Hypothesis(f"junk {n}", "optimizer", "", hashlib.sha256(contents[2 * n]).digest(), hashlib.sha256(c).digest())
        for n, c in enumerate(contents[1::2])
    )
    return feed(identity, ideas), contents


async def junk_sources(scene: Scene) -> Figures:
    """Content that fills the room for sources, of records that stay. Then an honest peer has a source to be fetched."""
    scene.keys += 1
    records, contents = junk(new_key())
    async with peer_with(scene, records, contents=contents):
        await scene.until(lambda: scene.victim.state["records"] >= len(records))
        await trio.sleep(UNTIL_FULL_SECONDS)
    return {"source": await scene.source_fetched(0)}


STREAMS = (
    Attack("seats", f"{SEAT_KEYS} keys hold all seats at some bytes a second", seats),
    Attack(
        "half-open",
        f"{HALF_OPEN} connections from {HALF_OPEN_ADDRESSES} addresses that never finish their handshake",
        half_open,
        2,
    ),
    Attack("rubbish", "frames of rubbish on every protocol, with a new key after each ban", rubbish, 2),
    Attack("starving", f"{MADE_UP_CLAIMS} claims of sources that do not exist, and a silent peer", claims_of_nothing),
    Attack(
        "junk", f"{JUNK_SOURCES * JUNK_BYTES >> 20} MiB of junk where {JUNK_MIB} have room", junk_sources, 1, JUNK_MIB
    ),
)

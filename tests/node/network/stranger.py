"""A stranger to the swarm: a libp2p host that says over raw streams whatever a test wants it to say."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.utils.varint import encode_uvarint

from node.network.host import Host, parse_address
from node.network.peer_score import PeerScore
from protocol.identity import Identity
from protocol.messages import topic
from tests.node.records_for_tests import OBJECTIVE

PUBSUB = "/meshsub/1.1.0"


@dataclass
class Stranger:
    """`victim` is the address of the node it is connected to; `objective` is whose topic it speaks in."""

    host: Host
    identity: Identity
    victim: str
    objective: bytes = OBJECTIVE
    counter: int = 0

    async def open(self, protocol: str) -> Any:
        address = parse_address(self.victim)
        if not self.host.connected(address.peer):
            assert await self.host.dial(address)
        return await self.host.open_stream(address.peer, protocol)

    async def send(self, stream: Any, body: bytes) -> None:
        """One frame of the sync and blob protocols."""
        await stream.write(len(body).to_bytes(4, "big") + body)

    async def receive(self, stream: Any) -> bytes:
        length = int.from_bytes(await self._exactly(stream, 4), "big")
        return await self._exactly(stream, length)

    async def _exactly(self, stream: Any, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = await stream.read(count - len(data))
            assert part, "the stream ended"
            data += part
        return data

    def message(self, data: bytes, **fields: Any) -> Any:
        """A gossip message, rightly signed; `fields` are put in after signing."""
        self.counter += 1
        pair = create_new_key_pair(self.identity.seed)
        message = rpc_pb2.Message(
            data=data,
            topicIDs=[topic(self.objective)],
            from_id=ID.from_pubkey(pair.public_key).to_bytes(),
            seqno=self.counter.to_bytes(8, "big"),
        )
        message.signature = pair.private_key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
        message.key = pair.public_key.serialize()
        for name, value in fields.items():
            if name == "topicIDs":
                del message.topicIDs[:]
                message.topicIDs.extend(value)
            else:
                setattr(message, name, value)
        return message

    async def gossip(self, *messages: Any) -> None:
        await self.gossip_bytes(rpc_pb2.RPC(publish=messages).SerializeToString())

    async def gossip_bytes(self, body: bytes) -> None:
        """One frame on a new pubsub stream."""
        stream = await self.open(PUBSUB)
        await stream.write(encode_uvarint(len(body)) + body)


@asynccontextmanager
async def stranger_on(victim: str, objective: bytes = OBJECTIVE) -> AsyncIterator[Stranger]:
    """A stranger connected to the node at this address."""
    identity = Identity.from_seed(os.urandom(32))
    host = Host(identity, PeerScore(lambda *_, **__: None, lambda _: None))
    async with host.run(["/ip4/127.0.0.1/tcp/0"]):
        assert await host.dial(parse_address(victim))
        yield Stranger(host, identity, victim, objective)

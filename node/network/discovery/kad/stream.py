"""Kademlia messages on one stream: each with its length before it as a varint, sizes and waits bounded.

What goes wrong comes out as in frames.py: MalformedError, StreamEndedError or trio.TooSlowError.
"""

from __future__ import annotations

from typing import Any

import trio
from libp2p.utils.varint import encode_uvarint

from node.network.discovery.kad.messages import KadMessage, decode, encode
from node.network.frames import BROKEN_STREAM, ByteReader, StreamEndedError
from node.network.parameters import DHT_ANSWER_SECONDS, DHT_MESSAGE_BYTES
from protocol.codec import MalformedError

LENGTH_BYTES = 3  # as many as the length of a message of DHT_MESSAGE_BYTES takes


class KadStream:
    """Messages over a libp2p stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._reader = ByteReader(stream)

    async def send(self, message: KadMessage) -> None:
        body = encode(message)
        try:
            with trio.fail_after(DHT_ANSWER_SECONDS):
                await self._stream.write(encode_uvarint(len(body)) + body)
        except BROKEN_STREAM as error:
            raise StreamEndedError(type(error).__name__) from None

    async def receive(self) -> KadMessage:
        with trio.fail_after(DHT_ANSWER_SECONDS):
            length, shift = 0, 0
            while True:
                byte = (await self._reader.exactly(1))[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
                if shift >= 7 * LENGTH_BYTES:
                    raise MalformedError("a Kademlia message is larger than allowed")
            if not 0 < length <= DHT_MESSAGE_BYTES:
                raise MalformedError("a Kademlia message is larger than allowed, or empty")
            return decode(await self._reader.exactly(length))

    async def ask(self, request: KadMessage) -> KadMessage:
        """Send a request and receive its answer."""
        await self.send(request)
        answer = await self.receive()
        if answer.kind is not request.kind:
            raise MalformedError("an answer of another kind than its request")
        return answer

"""Kademlia messages on one stream: each with its length before it as a varint, sizes and waits bounded.

What goes wrong comes out as in frames.py: MalformedError, StreamEndedError or trio.TooSlowError.
"""

from __future__ import annotations

from typing import Any

import trio

from node.network.discovery.kad.messages import KadMessage, decode, encode
from node.network.frames import BROKEN_STREAM, StreamEndedError
from node.network.parameters import DHT_ANSWER_SECONDS, DHT_MESSAGE_BYTES, READ_BYTES
from protocol.codec import MalformedError

LENGTH_BYTES = 3  # as many as the length of a message of DHT_MESSAGE_BYTES takes


class KadStream:
    """Messages over a libp2p stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def send(self, message: KadMessage) -> None:
        body = encode(message)
        try:
            with trio.fail_after(DHT_ANSWER_SECONDS):
                await self._stream.write(_varint(len(body)) + body)
        except BROKEN_STREAM as error:
            raise StreamEndedError(type(error).__name__) from None

    async def receive(self) -> KadMessage:
        with trio.fail_after(DHT_ANSWER_SECONDS):
            length, shift = 0, 0
            while True:
                byte = (await self._exactly(1))[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
                if shift >= 7 * LENGTH_BYTES:
                    raise MalformedError("a Kademlia message is larger than allowed")
            if not 0 < length <= DHT_MESSAGE_BYTES:
                raise MalformedError("a Kademlia message is larger than allowed, or empty")
            return decode(await self._exactly(length))

    async def ask(self, request: KadMessage) -> KadMessage:
        """Send a request and receive its answer."""
        await self.send(request)
        answer = await self.receive()
        if answer.kind is not request.kind:
            raise MalformedError("an answer of another kind than its request")
        return answer

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                data = await self._stream.read(READ_BYTES)
            except BROKEN_STREAM as error:
                raise StreamEndedError(type(error).__name__) from None
            if not data:
                raise StreamEndedError("end of stream")
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _varint(number: int) -> bytes:
    """Seven bits a byte, the low ones first, the top bit set on all but the last: 300 is ac 02."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])

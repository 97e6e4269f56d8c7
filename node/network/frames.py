"""FramedStream: whole protocol messages over one libp2p stream, with every size and every wait bounded.

It knows the framing (4-byte big-endian length, then a message) and nothing of what messages mean. Whatever goes wrong
on a stream comes out as one of three: MalformedError (the peer sent nonsense), StreamEndedError (the peer or the
connection is gone) or trio.TooSlowError.
"""

from __future__ import annotations

import math
from typing import Any

import trio
from libp2p.exceptions import BaseLibp2pError

from node.network.parameters import (
    FRAME_SECONDS,
    READ_BYTES,
)
from protocol.codec import MalformedError
from protocol.messages import MAX_FRAME, Message, decode_message, encode_message

LENGTH_BYTES = 4

BROKEN_STREAM = (BaseLibp2pError, OSError, trio.ClosedResourceError, trio.BrokenResourceError)


class StreamEndedError(Exception):
    """The stream ended where more was expected."""


class ByteReader:
    """Exact numbers of bytes from `stream` (a libp2p INetStream), of at most `most_bytes` in all."""

    def __init__(self, stream: Any, most_bytes: float = math.inf) -> None:
        self._stream = stream
        self._left = most_bytes
        self._buffer = bytearray()

    async def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises StreamEndedError, or MalformedError where more came than may in all."""
        while len(self._buffer) < count:
            try:
                data = await self._stream.read(READ_BYTES)
            except BROKEN_STREAM as error:
                raise StreamEndedError(type(error).__name__) from None
            if not data:
                raise StreamEndedError("end of stream")
            self._left -= len(data)
            if self._left < 0:
                raise MalformedError("more bytes than a session may bring")
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


class FramedStream:
    """Messages over `stream` (a libp2p INetStream), of at most `most_bytes` in all."""

    def __init__(self, stream: Any, most_bytes: int) -> None:
        self._stream = stream
        self._reader = ByteReader(stream, most_bytes)
        self._writing = trio.Lock()

    async def send(self, message: Message) -> None:
        """Write one message, after those that other tasks began to write before.

        Raises StreamEndedError, or TooSlowError when the peer does not take it in time.
        """
        body = encode_message(message)
        if len(body) > MAX_FRAME:
            raise ValueError(f"a message of {len(body)} bytes does not fit a frame")
        try:
            async with self._writing:
                with trio.fail_after(FRAME_SECONDS):
                    await self._stream.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)
        except BROKEN_STREAM as error:
            raise StreamEndedError(type(error).__name__) from None

    async def receive(self) -> Message:
        """Read one message. Raises MalformedError, StreamEndedError or TooSlowError."""
        with trio.fail_after(FRAME_SECONDS):
            length = int.from_bytes(await self._reader.exactly(LENGTH_BYTES), "big")
            if not 0 < length <= MAX_FRAME:
                raise MalformedError("a frame is larger than allowed" if length else "an empty frame")
            return decode_message(await self._reader.exactly(length))


async def close(stream: Any, clean: bool) -> None:
    """End a stream, politely or not. Never raises, never takes long, and is done even under cancellation."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
        try:
            await (stream.close() if clean else stream.reset())
        except Exception:
            return  # it is gone already, which is all that was wanted

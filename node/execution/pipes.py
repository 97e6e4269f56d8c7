"""The pipes between the node and the rooms of a run, and between the rooms: who holds which end, and lines and pieces.

It knows descriptors and sizes, not what is said.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import trio

MAX_LINE = 8192


class Pipes:
    """The pipes of a suite while it is put together: which end is a room's, which is the node's."""

    def __init__(self) -> None:
        self._room_ends: list[int] = []
        self._node_ends: dict[int, int] = {}

    def to_room(self) -> int:
        reads, writes = os.pipe()
        self._room_ends.append(reads)
        self._node_ends[reads] = writes
        return reads

    def from_room(self) -> int:
        reads, writes = os.pipe()
        self._room_ends.append(writes)
        self._node_ends[writes] = reads
        return writes

    def between(self) -> tuple[int, int]:
        """A pipe between two rooms, (reading end, writing end); the node keeps neither."""
        ends = os.pipe()
        self._room_ends += ends
        return ends

    def stream(self, room_end: int) -> trio.lowlevel.FdStream:
        return trio.lowlevel.FdStream(self._node_ends[room_end])

    def close_room_ends(self) -> None:
        while self._room_ends:
            os.close(self._room_ends.pop())

    def close(self) -> None:
        """Close every end, when there will be no suite. Not after `stream`, which gives ends away."""
        self.close_room_ends()
        while self._node_ends:
            os.close(self._node_ends.popitem()[1])


class Lines:
    """Lines from the judge, None at the end or beyond the size of any result; and bytes, as a line counted them."""

    def __init__(self, stream: trio.lowlevel.FdStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE:
                return None
            data = await self._stream.receive_some(MAX_LINE)
            if not data:
                return None
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line

    async def content(self, length: int) -> bytes | None:
        """The next `length` bytes, which the caller has found bearable; None when there are fewer."""
        while len(self._buffer) < length:
            data = await self._stream.receive_some(1 << 16)
            if not data:
                return None
            self._buffer += data
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken


async def send_job(stream: trio.lowlevel.FdStream, header: dict[str, Any], *parts: bytes) -> None:
    for part in (json.dumps(header).encode(), *parts):
        await send_if_open(stream, struct.pack("<Q", len(part)) + part)


async def send_if_open(stream: trio.lowlevel.FdStream, data: bytes) -> None:
    """Write to a room that may be gone: its end shows on the pipe that is read."""
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return

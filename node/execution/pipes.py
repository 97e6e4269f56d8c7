"""The pipes between the node and the workers of a run, and among the workers: ends, lines, and length-prefixed parts.

It knows descriptors and sizes, not what the messages mean.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

MAX_LINE = 8192  # bytes; a judge's result with all its metrics takes a few hundred
# What a pipe between two workers holds: half a megabyte goes over at once, where 64 KiB at a time would be eight waits
# for each other, each of them as long as a busy machine makes it. Linux gives no more without privileges.
BETWEEN_BYTES = 1 << 20


class Pipes:
    """The descriptors of a run's workers while these are started: which are a worker's, and which the node's.

    A worker's descriptor is closed here once it was handed over, since a pipe ends only when nobody else holds it.
    """

    def __init__(self) -> None:
        self._worker_ends: set[int] = set()
        self._node_ends: dict[int, int] = {}

    def to_worker(self) -> int:
        """A pipe from the node to a worker: the end the worker reads from."""
        reads, writes = os.pipe()
        self._worker_ends.add(reads)
        self._node_ends[reads] = writes
        return reads

    def from_worker(self) -> int:
        """A pipe from a worker to the node: the end the worker writes to."""
        reads, writes = os.pipe()
        self._worker_ends.add(writes)
        self._node_ends[writes] = reads
        return writes

    def between(self) -> tuple[int, int]:
        """A pipe between two workers, (reading end, writing end); the node keeps neither."""
        ends = os.pipe()
        self._worker_ends.update(ends)
        with suppress(OSError):  # the user has as many of that size as the kernel gives anybody
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, BETWEEN_BYTES)
        return ends

    def file(self, path: Path) -> int:
        """A file, opened for one worker to read: who shares a descriptor shares the place in the file."""
        return self.opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def opened(self, descriptor: int) -> int:
        """A descriptor that was opened for one worker; it is a worker's end from now on."""
        self._worker_ends.add(descriptor)
        return descriptor

    def stream(self, worker_end: int) -> trio.lowlevel.FdStream:
        """The node's end of a worker's pipe. The stream owns it from now on."""
        return trio.lowlevel.FdStream(self._node_ends.pop(worker_end))

    def hand_over(self, worker_ends: Sequence[int]) -> None:
        """Close the node's copies of what a worker got."""
        for end in worker_ends:
            self._worker_ends.discard(end)
            os.close(end)

    def close(self) -> None:
        """Close whatever was neither handed over nor made a stream."""
        self.hand_over(list(self._worker_ends))
        while self._node_ends:
            os.close(self._node_ends.popitem()[1])


class Lines:
    """What the judge sends: lines, and after some of them as many bytes as the line announced."""

    def __init__(self, stream: trio.lowlevel.FdStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """The next line without its end; None when the pipe has ended, or the line is longer than MAX_LINE."""
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
        """The next `length` bytes, a number the caller has limited; None when the pipe ends before."""
        while len(self._buffer) < length:
            data = await self._stream.receive_some(1 << 16)
            if not data:
                return None
            self._buffer += data
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken


async def send_job(stream: trio.lowlevel.FdStream, header: dict[str, Any], *parts: bytes) -> None:
    """Send a worker its job: the header as JSON, then the parts, each with its length (u64, little-endian) in front."""
    for part in (json.dumps(header).encode(), *parts):
        await send_if_open(stream, struct.pack("<Q", len(part)) + part)


def say_if_room(stream: trio.lowlevel.FdStream, said: bytes) -> None:
    """Write a few bytes to a worker at once, all or nothing. They are lost on one that has ended, or reads nothing."""
    with suppress(OSError):
        os.write(stream.fileno(), said)


async def send_if_open(stream: trio.lowlevel.FdStream, data: bytes) -> None:
    """Write to a worker that may have ended. If it has, nothing is raised: its end shows where its answer is read."""
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return

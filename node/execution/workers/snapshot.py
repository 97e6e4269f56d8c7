"""Snapshots of a training under way, from which a later run of the same source goes on. Part of the worker that trains.

A source names the objects that change from step to step (`task.resumable`). Between two steps, rarely enough to cost
next to nothing, their states are written with those of all generators to a file that the node gave, and the node is
told where. So a run that was killed goes on as if nothing had happened, to the bit.

The file has two halves, written in turn: a snapshot that was not finished leaves the one before. Each begins with a
checksum, since a power cut may take what was written last. It is read in a sandbox like the one it was written in, for
the same source, and as plain data only (torch.load with weights_only). Imports nothing of ours.
"""

import io
import os
import random
import struct
import sys
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from node.execution.workers import chance

HEADER = struct.Struct("<4sI")  # a mark of this layout, and the checksum of what follows
MARK = b"snp1"
READ_BYTES = 1 << 20  # in one read, for the checksum
PLAIN = (type(None), bool, int, float, str, torch.Tensor, torch.dtype, torch.device, torch.Size)
METHODS = (("state_dict", "load_state_dict"), ("get_state", "set_state"))


class NoSnapshotError(Exception):
    """The run cannot go on from the snapshot that it was to go on from."""


class Snapshots:
    """The snapshots of one training. Without a file none are made."""

    def __init__(self, told: Mapping[str, Any] | None, tell: Callable[[int, int], None]) -> None:
        """told: {file, half, every, share, from}: the descriptor, the bytes of each half, the least seconds of training
        between two snapshots, the most that writing them may take of the time, and where the one is from which to go
        on, as [offset, length], or null.

        tell: tells the node where a snapshot is, by its offset and length.
        """
        self._told = told
        self._tell = tell
        self._objects: dict[str, list[Any]] = {}
        self._from: list[int] | None = told["from"] if told else None
        self._offset = 0
        self._wait = told["every"] if told else 0.0
        self._last = time.monotonic()

    def name(self, objects: Mapping[str, Any]) -> None:
        """Objects that are part of every snapshot from now on. Raises TypeError for one that has no state."""
        for name, given in objects.items():
            several = list(given) if isinstance(given, list | tuple) else [given]
            for one in several:
                _methods(name, one)
            self._objects[name] = several

    @property
    def unused(self) -> bool:
        """Whether there is a snapshot from which the training was to go on, and did not yet."""
        return self._from is not None

    def due(self, paused_seconds: float) -> bool:
        """Whether it is time for the next one. paused_seconds: in which the node held this process, so far."""
        if self._told is None or not self._objects:
            return False
        return time.monotonic() - paused_seconds - self._last >= self._wait

    def save(self, own: Mapping[str, Any], paused_seconds: float) -> None:
        """Write what was named, all generators, and `own`, which is the worker's. What cannot be kept is said once."""
        assert self._told is not None
        begun = time.monotonic()
        objects = {
            name: [getattr(one, _methods(name, one)[0])() for one in several] for name, several in self._objects.items()
        }
        # The generators last: reading the state of any generator makes it known to chance.
        state = {"own": own, "objects": objects, "generators": _generators()}
        if not _is_plain(state):
            self._give_up("what task.resumable was given has states of other things than tensors and plain values")
            return
        written = _Writer(self._told["file"], self._offset, self._told["half"])
        torch.save(state, written)
        if not written.finish():
            self._give_up(written.why)
            return
        self._tell(self._offset, written.length)
        self._offset = self._told["half"] - self._offset  # the other half
        now = time.monotonic()
        self._wait = max(self._told["every"], (now - begun) / self._told["share"])
        self._last = now - paused_seconds

    def restore(self) -> Mapping[str, Any] | None:
        """Put back what was saved, if the training is to go on from a snapshot; returns the worker's `own`.

        Raises NoSnapshotError when the snapshot is damaged, or is of something else than what was named.
        """
        if self._told is None or self._from is None:
            return None
        offset, length = self._from
        self._from = None
        state = _read(self._told["file"], offset, length)
        numbers = {name: len(several) for name, several in self._objects.items()}
        if {name: len(states) for name, states in state["objects"].items()} != numbers:
            raise NoSnapshotError("the snapshot is of other objects than task.resumable was given")
        chance.recall(bytes.fromhex(state["generators"]["known"]))  # first: what is not known is taken for a seed
        for name, states in state["objects"].items():
            for one, saved in zip(self._objects[name], states, strict=True):
                getattr(one, _methods(name, one)[1])(saved)
        _set_generators(state["generators"])
        self._offset = self._told["half"] if offset == 0 else 0
        self._last = time.monotonic()
        own: Mapping[str, Any] = state["own"]
        return own

    def _give_up(self, why: str) -> None:
        """Make no more of them: the run goes on, and begins anew if it is interrupted."""
        print(f"no snapshots of this run: {why}", file=sys.stderr)
        self._told = None


def _methods(name: str, one: Any) -> tuple[str, str]:
    for get, put in METHODS:
        if callable(getattr(one, get, None)) and callable(getattr(one, put, None)):
            return get, put
    raise TypeError(
        f"task.resumable({name}=...): a {type(one).__name__} has neither state_dict and load_state_dict nor get_state "
        "and set_state"
    )


def _is_plain(value: Any) -> bool:
    """Whether torch.load gives it back with weights_only: tensors, plain values, and containers of them."""
    if type(value) in (dict, OrderedDict):
        return all(_is_plain(key) and _is_plain(one) for key, one in value.items())
    if type(value) in (list, tuple, set):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)


def _generators() -> dict[str, Any]:
    """The states of the generators that all of a process share, and what chance knows of states."""
    numpy: Any = np.random.get_state(legacy=True)
    algorithm, words, position, has_gauss, gauss = numpy
    states = {
        "torch": torch.get_rng_state(),
        "numpy": [algorithm, torch.from_numpy(words.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "random": random.getstate(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }
    return {**states, "known": chance.remembered().hex()}


def _set_generators(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    algorithm, words, *rest = states["numpy"]
    np.random.set_state((algorithm, words.numpy().astype(np.uint32), *rest))
    random.setstate(states["random"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"])


def _read(file: int, offset: int, length: int) -> dict[str, Any]:
    """A snapshot. Raises NoSnapshotError when it is damaged."""
    mark, checksum = HEADER.unpack(os.pread(file, HEADER.size, offset).ljust(HEADER.size, b"\0"))
    section = _Section(file, offset + HEADER.size, length - HEADER.size)
    found = 0
    while content := section.read(READ_BYTES):
        found = zlib.crc32(content, found)
    if mark != MARK or found != checksum:
        raise NoSnapshotError("the snapshot is damaged")
    section.seek(0)
    state: dict[str, Any] = torch.load(section, weights_only=True)
    return state


class _Writer(io.RawIOBase):
    """Writes a snapshot to one half of the file.

    torch ends the process when a write raises, so what goes wrong is told afterwards, by `finish`.
    """

    def __init__(self, file: int, offset: int, most: int) -> None:
        self._file, self._offset, self._most = file, offset, most
        self._checksum = 0
        self.length = HEADER.size
        self.why = ""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        self._checksum = zlib.crc32(view, self._checksum)
        if self.length + size > self._most:
            self.why = self.why or f"one would have more than {self._most / 1e6:.0f} MB"
        elif not self.why:
            self._put(view, self._offset + self.length)
        self.length += size
        return size

    def finish(self) -> bool:
        """Write the header; whether all was written."""
        if not self.why:
            self._put(memoryview(HEADER.pack(MARK, self._checksum)), self._offset)
        return not self.why

    def _put(self, view: memoryview, place: int) -> None:
        try:
            while view:
                written = os.pwrite(self._file, view, place)
                view, place = view[written:], place + written
        except OSError as error:
            self.why = f"one could not be written ({os.strerror(error.errno or 0)})"


class _Section(io.RawIOBase):
    """A part of a file, as a file of its own to read."""

    def __init__(self, file: int, offset: int, length: int) -> None:
        self._file, self._offset, self._length = file, offset, length
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._length - self._place)]
        count = os.preadv(self._file, [view], self._offset + self._place) if view else 0
        self._place += count
        return count

"""Unfinished runs: the files of a run of a model while it goes on, so that it can go on after an interruption.

Each run has a folder: its weights as far as they were handed out, the snapshots of its training, and a note of the
snapshot that is complete, with what the run had cost by then. The candidate writes the first two and the node the note,
whole or not at all. So whenever the node is killed, the note names a snapshot that was finished and not written over:
the next one is written to the other half of the file.

The folder's name is a hash of all that makes a run what it is: objective, source, seed, budget, and the platform on
which it comes out the same. So what is in it is given to a candidate of that run and to nobody else. The node never
looks into it, but notes its sha256. So a candidate finds what was there when the costs were noted, and nothing of work
after that, which nobody counts. What the node cannot check, that the snapshot is what an honest training would have
had, is as it is without an interruption: the source shares a process with whatever writes it, and pays for what is in.

The folder goes when the run is over. Of runs that nobody came back to, the oldest go beyond a number and a size.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from node.execution.sandbox.tree import bytes_in
from node.execution.weights import RunWeights
from node.ledger.files import DISK_RESERVE
from node.objective.schema import Objective
from node.platform.hardware import platform_name
from node.platform.private_files import write_private

# Of training, between two snapshots: what an interruption costs at most, and longer than the runs of most objectives,
# which make none. A model of 33 million parameters writes 400 MB a time.
EVERY_SECONDS = 60.0
MOST_SHARE = 0.01  # of the time, for writing them: one that takes a second is made at most every 100 s
# Of what an objective allows for the weights of one model, the most that a snapshot may have: the model, two moments of
# an optimizer, and one average. And for all else, bytes: generators, and places in the text.
WEIGHTS_IN_SNAPSHOT, BESIDE_WEIGHTS = 4, 16 << 20
# Of runs that are not under way. More than a trial has, and a disk that a person still has room on.
MOST_KEPT, MOST_KEPT_BYTES, MOST_KEPT_SECONDS = 16, 4 << 30, 7 * 86400.0
SPARE_DISK = 2 << 30  # bytes that must be free beside a snapshot for any to be written
BLOCK = 512  # bytes, in which stat(2) counts what a file takes of the disk
_READ_BYTES = 1 << 20  # in one read or write, of what the node clears or takes the sum of
WEIGHTS, SNAPSHOTS, NOTE = "weights", "snapshots", "note.json"  # in a run's folder


class Snapshot(msgspec.Struct, frozen=True):
    """A complete snapshot, and what the run had cost when it was made, all its earlier parts included.

    offset, length, sha256: where it is in its file, and what was there. sets: the weights that had been handed out.
    parts: how often the training was begun. share: of the budget, as the candidate says.
    """

    offset: int
    length: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory: int
    share: float = 0.0
    parts: int = 1
    sets: tuple[tuple[int, int, int], ...] = ()  # step, offset, length
    sha256: str = ""


NOTHING = Snapshot(0, 0, 0.0, 0.0, 0, parts=0)  # of a run that has not begun


def half_bytes(objective: Objective) -> int:
    """The most that one snapshot may have."""
    return WEIGHTS_IN_SNAPSHOT * objective.budget.weights_bytes + BESIDE_WEIGHTS


def snapshot_file_bytes(objective: Objective) -> int:
    """The most that the file of a run's snapshots may have: two of them."""
    return 2 * half_bytes(objective)


class UnfinishedRun:
    """The files of one run under way. latest: the snapshot that it goes on from; None while there is none."""

    def __init__(self, folder: Path, objective: Objective) -> None:
        """Raises OSError."""
        self._folder = folder
        self._half = half_bytes(objective)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.latest = self._noted()
        self.start = NOTHING
        self.is_short_of_disk = False  # a candidate may write less than its objective allows
        # Whoever writes one of its two files could make it as long as the longer one may be.
        need = SPARE_DISK + 2 * snapshot_file_bytes(objective)
        self.has_room = self.latest is not None or shutil.disk_usage(folder).free >= need
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self.weights = RunWeights(os.open(folder / WEIGHTS, flags, 0o600))
        try:
            os.close(os.open(folder / SNAPSHOTS, flags, 0o600))
        except OSError:
            self.weights.close()
            raise

    def begin_part(self) -> None:
        """To be called before a candidate is started: `start` is then what the run goes on from. Raises OSError.

        Whatever else a candidate wrote is removed: of weights those that are going to be handed out again, and of the
        snapshots' file all that is not the one to go on from, nor was paid for. Reads and writes as much as there is.
        """
        if self.latest is not None and self._sha256(self.latest.offset, self.latest.length) != self.latest.sha256:
            self.begin_anew()
        self.start = self.latest or NOTHING
        self._leave_only(self.start)
        ends = (offset + length for _, offset, length in self.start.sets)
        os.truncate(self.weights.descriptor, max(ends, default=0))
        self.weights.sets = []

    def for_candidate(self) -> int:
        """A descriptor of the file of snapshots, opened for one worker alone; the caller closes it."""
        access = os.O_RDWR if self.has_room else os.O_RDONLY
        return os.open(self._folder / SNAPSHOTS, access | os.O_CLOEXEC)

    def longest_file(self, wanted: int) -> int:
        """Bytes that each file may get that a candidate writes: those wanted, as far as the disk has room for them."""
        free = shutil.disk_usage(self._folder).free - DISK_RESERVE
        files = [os.stat(self._folder / name).st_blocks * BLOCK for name in (WEIGHTS, SNAPSHOTS)]
        most = max(0, free + sum(files)) // (2 if self.has_room else 1)
        self.is_short_of_disk = most < wanted
        return min(wanted, most)

    def told(self, descriptor: str) -> dict[str, object] | None:
        """What a candidate is told of snapshots (workers/snapshot.py); None where the disk is short of room.

        descriptor: its number of the file.
        """
        if not self.has_room:
            return None
        start = None if self.latest is None else [self.latest.offset, self.latest.length]
        return {"file": int(descriptor), "half": self._half, "every": EVERY_SECONDS, "share": MOST_SHARE, "from": start}

    def is_possible(self, offset: int, length: int) -> bool:
        """Whether a snapshot can be there."""
        return offset in (0, self._half) and 0 < length <= self._half

    def is_due(self, seconds: float) -> bool:
        """Whether a candidate may tell of a snapshot so long after the one before; sooner than it should is a flood."""
        return seconds >= EVERY_SECONDS / 2

    def keep(self, snapshot: Snapshot) -> None:
        """From now on the run goes on from this one if it is interrupted. On a full disk from the one before.

        Reads it, which takes a second for some GB; so call it in a thread.
        """
        with suppress(OSError):
            snapshot = msgspec.structs.replace(snapshot, sha256=self._sha256(snapshot.offset, snapshot.length))
            write_private(self._folder / NOTE, msgspec.json.encode(snapshot), durable=False)
            self.latest = snapshot

    def begin_anew(self) -> None:
        """Forget the snapshots."""
        self.latest = None
        (self._folder / NOTE).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; they stay only if there is a snapshot to go on from."""
        self.weights.close()
        if self.latest is None:
            self.remove()

    def remove(self) -> None:
        """The run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _sha256(self, offset: int, length: int) -> str:
        digest = hashlib.sha256()
        with (self._folder / SNAPSHOTS).open("rb") as file:
            file.seek(offset)
            while length > 0 and (content := file.read(min(length, _READ_BYTES))):
                digest.update(content)
                length -= len(content)
        return digest.hexdigest()

    def _leave_only(self, snapshot: Snapshot) -> None:
        """Clear the file of snapshots but for this one. Where nothing was written before it, nothing is."""
        file = os.open(self._folder / SNAPSHOTS, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.truncate(file, snapshot.offset + snapshot.length)
            place = 0
            while place < snapshot.offset and (place := os.lseek(file, place, os.SEEK_DATA)) < snapshot.offset:
                end = min(snapshot.offset, os.lseek(file, place, os.SEEK_HOLE))
                while place < end:
                    place += os.pwrite(file, bytes(min(_READ_BYTES, end - place)), place)
        finally:
            os.close(file)

    def _noted(self) -> Snapshot | None:
        """What an earlier run of this folder noted; None where it noted nothing that makes sense."""
        try:
            found = msgspec.json.decode((self._folder / NOTE).read_bytes(), type=Snapshot)
        except (OSError, msgspec.MsgspecError):
            return None
        with suppress(OSError):
            written = (self._folder / WEIGHTS).stat().st_size, (self._folder / SNAPSHOTS).stat().st_size
            ends = max((offset + length for _, offset, length in found.sets), default=0), found.offset + found.length
            if self.is_possible(found.offset, found.length) and all(map(int.__le__, ends, written)):
                return found
        return None


class UnfinishedRuns:
    """The folders of an objective's runs that are under way, or were interrupted."""

    def __init__(self, folder: Path, objective: Objective) -> None:
        self._folder = folder
        self._objective = objective
        self._under_way: set[Path] = set()

    @contextmanager
    def run(self, source: str, seed: int) -> Iterator[UnfinishedRun]:
        """The files of this run, with those of its last part if it was interrupted.

        Whoever sees the run to its end calls `remove`. Raises OSError.
        """
        folder = self._path(source, seed)
        while folder in self._under_way:  # the same run twice at once: each has files of its own
            folder = folder.with_name(f"{folder.name}+")
        self._under_way.add(folder)
        try:
            self._forget_oldest()
            run = UnfinishedRun(folder, self._objective)
            try:
                yield run
            finally:
                run.close()
        finally:
            self._under_way.discard(folder)

    def over(self, source: str, seed: int) -> None:
        """Remove what is left of this run, which is over."""
        folder = self._path(source, seed)
        if folder not in self._under_way:
            shutil.rmtree(folder, ignore_errors=True)

    def _path(self, source: str, seed: int) -> Path:
        objective = self._objective
        budget = [objective.conditions, objective.budget.tokens, objective.budget.seconds]
        what = [objective.id.hex(), *budget, source, seed, platform_name()]
        return self._folder / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    def _forget_oldest(self) -> None:
        """Remove what has no note, and the oldest beyond what is kept. Those under way stay."""
        size, now = 0, time.time()
        for kept, (written, folder) in enumerate(sorted(self._interrupted(), reverse=True), 1):
            size += bytes_in(str(folder), MOST_KEPT_BYTES)
            if kept > MOST_KEPT or size > MOST_KEPT_BYTES or abs(now - written) > MOST_KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def _interrupted(self) -> list[tuple[float, Path]]:
        """When the note of each run that is not under way was written, and its folder; 0 where there is none."""
        found = []
        with suppress(FileNotFoundError):
            for folder in self._folder.iterdir():
                if folder not in self._under_way:
                    note = folder / NOTE
                    found.append((note.stat().st_mtime if note.exists() else 0.0, folder))
        return found

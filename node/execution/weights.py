"""The weights of runs: the file that a candidate writes them to, and what is kept of recent runs on disk.

Weights may be larger than a pipe or the node's memory should carry, so they stay in files: the candidate gets a file of
its own to write to, and when it is dead the examination worker gets the same file to read. The node copies the final
weights aside, and never looks into them.

With kept weights a run can be scored on other data without training again. The losses per target that a judge handed
out are kept too, and given to the judge of a child of the same source, which checks where the child gains over it. Both
are opaque bytes by name. Losing them costs a holdout score, or makes some of the judge's probes less likely to hit a
look ahead; nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from node.objective.schema import Objective

WEIGHTS_KEPT_BYTES = 200 << 20  # some 380 runs of the embedded objective, each 0.55 MB
# Of large models the last runs are kept beyond that, since each of a trial's pairs is scored on the holdout once more,
# as long as the disk has room.
RUNS_KEPT = 16
SPARE_DISK = 4 << 30  # bytes
_COPY_BYTES = 16 << 20  # in one step


@dataclass(frozen=True)
class WeightsSet:
    """Where in a run's file the weights after a step are. Step 0 stands for the final ones."""

    step: int
    offset: int
    length: int


@dataclass
class RunWeights:
    """The weights of one run, in a file that was opened for it; where that lies is the caller's matter."""

    descriptor: int
    sets: list[WeightsSet] = field(default_factory=list)  # in the order of their steps, the final ones last

    def for_candidate(self) -> int:
        """A descriptor for writing, opened for one worker alone; the caller closes it."""
        return self._opened(os.O_WRONLY)

    def for_examination(self) -> int:
        """A descriptor for reading, opened for one worker alone; the caller closes it."""
        return self._opened(os.O_RDONLY)

    def final(self) -> Iterator[bytes]:
        """The final weights, in parts. Raises OSError, also when the file ends before they do."""
        final = self.sets[-1]
        done = 0
        while done < final.length:
            content = os.pread(self.descriptor, min(_COPY_BYTES, final.length - done), final.offset + done)
            if not content:
                raise OSError("the file of weights ends early")
            yield content
            done += len(content)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self.descriptor).st_size

    def close(self) -> None:
        os.close(self.descriptor)

    def _opened(self, flags: int) -> int:
        # Opened anew, since those who share an opening share its position and flags.
        return os.open(f"/proc/self/fd/{self.descriptor}", flags | os.O_CLOEXEC)


class WeightsStore:
    """Final weights and losses of recent runs on disk; the least recently used go first beyond a limit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def key(objective: Objective, source: str, seed: int) -> str:
        """The name of a run's weights. At another scale of the objective it is another run."""
        run = f"{objective.id.hex()} {objective.conditions}\n{source}"
        return f"{hashlib.sha256(run.encode()).hexdigest()[:32]}-{seed}"

    @staticmethod
    def losses_key(objective: Objective, source: str, seed: int, split: str) -> str:
        """The name of a run's losses on a split."""
        return f"{WeightsStore.key(objective, source, seed)}-{split}"

    def keep(self, key: str, weights: RunWeights) -> None:
        """Keep a run's final weights if the disk allows; a run is not lost without them. Blocks while it copies."""
        self._write(key, weights.final())

    def kept(self, key: str) -> RunWeights | None:
        """The kept weights of an earlier run; None where there are none. The caller closes them."""
        path = self._folder / key
        try:
            os.utime(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        return RunWeights(descriptor, [WeightsSet(0, 0, os.fstat(descriptor).st_size)])

    def get(self, key: str) -> bytes | None:
        """Kept losses."""
        path = self._folder / key
        try:
            data = path.read_bytes()
            path.touch()
        except OSError:
            return None
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep losses if the disk allows."""
        self._write(key, [data])

    def _write(self, key: str, parts: Iterable[bytes]) -> None:
        """Have all of these parts under a name, or what was there before. Nothing is left of what cannot be written."""
        draft = self._folder / f".{key}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(draft, "wb") as file:
                file.writelines(parts)
            draft.replace(self._folder / key)
            self._forget_oldest()
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def _forget_oldest(self) -> None:
        files = [path for path in self._folder.iterdir() if path.is_file()]
        found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in files)
        total, count = sum(size for _, size, _ in found), len(found)
        for _, size, path in found:
            if total <= WEIGHTS_KEPT_BYTES:
                return
            if count <= RUNS_KEPT and shutil.disk_usage(self._folder).free > SPARE_DISK:
                return
            path.unlink(missing_ok=True)
            total, count = total - size, count - 1

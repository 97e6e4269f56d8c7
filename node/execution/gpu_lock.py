"""One GPU is used by one node at a time: a lock that all programs of a machine, of any user, can see.

It is a lock on a file (flock(2)), which the kernel takes back when the process that holds it ends, however it ends. So
none is ever left over, and the file itself may lie there for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

from node.platform.gpu_types import Gpu
from node.platform.log import Log

_PLACES = (Path("/run/lock"), Path(tempfile.gettempdir()))  # the first in which every user may make files
_STICKY_AND_OPEN = 0o1777
_TRIES = 3
RETRY_SECONDS = 2.0  # before a GPU that another node has is asked for again


def lock_folder() -> Path:
    """Where the locks of all users of this machine are."""
    for place in _PLACES[:-1]:
        with contextlib.suppress(OSError):
            if place.stat().st_mode & _STICKY_AND_OPEN == _STICKY_AND_OPEN:
                return place
    return _PLACES[-1]


class GpuLock:
    """The lock of one GPU. `take` it before anything of this node's uses the GPU, and `release` it afterwards."""

    def __init__(self, gpu: Gpu, folder: Path | None = None) -> None:
        """folder: where the lock is; all that are to respect each other need the same."""
        # A GPU without a number of its own is known by its place among its like.
        name = gpu.uuid or f"{gpu.vendor}-{gpu.index}"
        safe = "".join(c if c.isalnum() or c == "-" else "_" for c in name)[:60]
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        self.path = (folder or lock_folder()) / f"autoresearch-gpu-{safe}-{digest}.lock"
        self._gpu = gpu
        self._held: int | None = None
        self._told = False

    @property
    def held(self) -> bool:
        return self._held is not None

    def take(self) -> bool:
        """Whether this node has the lock now. Raises OSError when there can be no lock file."""
        if self._held is not None:
            return True
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._held = descriptor
        return True

    def take_or_tell(self, log: Log) -> bool:
        """Whether this node has the lock now. If not, the log says why; once, until it had it."""
        hint = "runs wait until it ends or pauses; or give each node a GPU of its own by [research] gpu"
        try:
            if self.take():
                self._told = False
                return True
            why = f"another node on this machine uses it (process {self.holder() or 'unknown'})"
        except OSError as problem:
            why, hint = f"no lock can be had on it: {problem}", f"is {self.path.parent} a folder to write in?"
        if not self._told:
            self._told = True
            log("GPU in use", level="warning", gpu=self._gpu.index, device=self._gpu.name, why=why, hint=hint)
        return False

    def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def holder(self) -> int | None:
        """The process that has the lock, as the kernel tells; None where it tells nobody, or one we cannot see."""
        try:
            found = self.path.stat()
            lines = Path("/proc/locks").read_text().splitlines()
        except OSError:
            return None
        file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in lines:  # "1: FLOCK  ADVISORY  WRITE 708 00:15:1234 0 EOF"
            words = line.split()
            if len(words) > 5 and words[1] == "FLOCK" and words[5] == file and words[4].isdecimal():
                return int(words[4]) or None
        return None

    def _open(self) -> int:
        """The lock file, to read only: another user's may not be written to, and a lock needs no more."""
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):
                return os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with contextlib.suppress(FileExistsError):  # somebody else was quicker
                made = os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444)
                os.fchmod(made, 0o444)  # whatever the umask
                return made
        raise FileNotFoundError(f"{self.path} comes and goes; it is a lock that nobody should remove")

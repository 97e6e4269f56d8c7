"""A GPU's device files where there is no GPU: character devices of the kernel's own that answer as no driver would.

They are made as root, who alone can. A request that reaches such a device is answered ENOTTY, which no door answers: a
closed one gives EPERM (seccomp), EACCES (Landlock) or ENOENT (a mount).
"""

from __future__ import annotations

import functools
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

_FULL = os.makedev(1, 7)  # /dev/full, which reads as zeros and refuses what is written with ENOSPC


@dataclass(frozen=True)
class StandIn:
    given: Path  # the device file that a program gets
    other: Path  # beside it, the file of a GPU that is not given


def make(folder: Path, mode: int = 0o666, group: int = 0) -> StandIn:
    """Two device files in a folder. Needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    made = StandIn(folder / "gpu0", folder / "gpu1")
    for path in (made.given, made.other):
        os.mknod(path, stat.S_IFCHR, _FULL)
        path.chmod(mode)
        os.chown(path, 0, group)
    return made


@functools.cache
def lack() -> str | None:
    """Why no such files can be had here; None where they can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.close(os.open(make(Path(folder)).given, os.O_RDWR))
        except OSError as problem:
            return f"no device files that stand for a GPU's can be made here ({problem.strerror}): run it as root"
    return None

"""How much of this machine's processors a process takes, with all it started, since it was last asked.

Programs that began and ended in between are counted as far as their parents waited for them. It knows no node.
"""

from __future__ import annotations

import os
import time

import psutil

LEAST_SECONDS = 1.0  # between two measures: asked sooner, the last share is given again


class CpuShare:
    """The share of all processors, 0 to 1, that a process tree takes."""

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid if pid is not None else os.getpid())
        self._cores = psutil.cpu_count() or 1
        self._at, self._seconds = time.monotonic(), self._of_each()
        self._share = 0.0

    def now(self) -> float:
        """The share since the last call, or since this was made."""
        passed = time.monotonic() - self._at
        if passed >= LEAST_SECONDS:
            seconds = self._of_each()
            used = sum(max(0.0, spent - self._seconds.get(pid, 0.0)) for pid, spent in seconds.items())
            self._share = min(1.0, used / passed / self._cores)
            self._at, self._seconds = self._at + passed, seconds
        return self._share

    def _of_each(self) -> dict[int, float]:
        """CPU seconds by process id. Of the process itself without those of children that it has waited for: these
        were counted while they ran."""
        found: dict[int, float] = {}
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue  # it has ended meanwhile
            found[process.pid] = times.user + times.system
        return found

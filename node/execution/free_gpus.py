"""The GPUs that runs have to themselves: which are free, and which of them a run gets.

It knows which runs of this node have which GPU, locks it against other nodes, and asks the driver what others use. It
starts nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from node.execution.gpu_lock import RETRY_SECONDS, GpuLock
from node.platform.gpus import Gpu, GpuDriver
from node.platform.log import Log


class FreeGpus:
    """Gives each GPU to one run at a time. There are to be as many runs at most, so that one is always free."""

    def __init__(self, gpus: Sequence[Gpu], driver: GpuDriver | None, log: Log, locks_dir: Path | None = None) -> None:
        """locks_dir: as of `GpuLock`."""
        self._free = list(gpus)
        self._driver = driver
        self._log = log
        self._locks = {gpu: GpuLock(gpu, locks_dir) for gpu in gpus}

    @property
    def count(self) -> int:
        """How many there are, and so how many runs go on at a time."""
        return len(self._locks)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Gpu]:
        """A GPU for the time of a run, as soon as no other node has it: the one with most memory free."""
        memory = dict.fromkeys(self._free, 0)
        if len(memory) > 1 and self._driver is not None:
            for gpu in memory:
                use = await trio.to_thread.run_sync(self._driver.use, gpu)
                memory[gpu] = use.memory_free if use is not None else 0
        while (found := self._locked(memory)) is None:
            await trio.sleep(RETRY_SECONDS)
        gpu = found
        self._free.remove(gpu)
        try:
            yield gpu
        finally:
            self._locks[gpu].release()
            self._free.append(gpu)

    def _locked(self, memory: Mapping[Gpu, int]) -> Gpu | None:
        """A free GPU that this node has locked now. Another run may have taken one while the driver was asked."""
        best_first = sorted(self._free, key=lambda gpu: -memory.get(gpu, 0))
        return next((gpu for gpu in best_first if self._locks[gpu].take_or_tell(self._log)), None)

"""The GPUs that runs have to themselves: which are free, and which of them a run gets.

It knows which runs of this node have which GPU, and asks the driver what others use. It starts nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from node.platform.gpus import Gpu, GpuDriver


class FreeGpus:
    """Gives each GPU to one run at a time. There are to be as many runs at most, so that one is always free."""

    def __init__(self, gpus: Sequence[Gpu], driver: GpuDriver | None) -> None:
        self._free = list(gpus)
        self._driver = driver

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Gpu | None]:
        """A GPU for the time of a run: the one with most memory free. None where runs use none."""
        memory = dict.fromkeys(self._free, 0)
        if len(memory) > 1 and self._driver is not None:
            for gpu in memory:
                use = await trio.to_thread.run_sync(self._driver.use, gpu)
                memory[gpu] = use.memory_free if use is not None else 0
        if not memory:
            yield None
            return
        # Another run may have taken one while the driver was asked.
        gpu = max(self._free, key=lambda gpu: memory.get(gpu, 0))
        self._free.remove(gpu)
        try:
            yield gpu
        finally:
            self._free.append(gpu)

"""The GPUs that runs may use: each is given to one run at a time, of this node and of all others on the machine.

It knows which GPU is free, and not what is done on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from node.execution.gpu.room_process import CANDIDATE, PROGRAM
from node.execution.gpu.rooms import Given, GpuRooms
from node.execution.gpu_lock import RETRY_SECONDS, GpuLock
from node.execution.run_folder import place_of_folders, remove_left_over
from node.execution.sandbox.layers import Layers
from node.objective.schema import Kind, Objective
from node.platform.gpu_types import Gpu
from node.platform.gpus import GpuDriver
from node.platform.log import Log

KEEP_FREE = 512 << 20  # bytes that are left to others, the screen among them, where nobody says how many


class GpuPool:
    """Rooms on GPUs, one run's on each. `open` it first; `cool_down` ends what waits in it."""

    def __init__(
        self,
        objective: Objective,
        layers: Layers,
        gpus: Sequence[Gpu],
        driver: GpuDriver,
        folders_dir: Path,
        log: Log,
        locks_dir: Path | None = None,
        keep_free: int = KEEP_FREE,
    ) -> None:
        """folders_dir: a folder of this node's own, for those of runs. locks_dir: None for the machine's own.

        keep_free: bytes of each GPU that runs leave to others.
        """
        self._given = Given(objective, layers, driver, folders_dir, log, keep_free)
        self._gpus, self._locks_dir = gpus, locks_dir
        self._log = log
        self._idle: list[GpuRooms] = []
        self._freed = trio.Event()
        self._cold = False

    def open(self, nursery: trio.Nursery) -> None:
        """Have rooms live in this nursery, and start the first."""
        self._given = replace(self._given, folders_dir=place_of_folders(self._given.folders_dir))
        remove_left_over(self._given.folders_dir)
        self._idle = [GpuRooms(gpu, self._given, nursery, GpuLock(gpu, self._locks_dir)) for gpu in self._gpus]
        self.warm_up()

    def warm_up(self) -> None:
        """Start the room that runs the source on the next GPU that waits for a run, if no other node has it."""
        for rooms in self._idle:
            if not rooms.problem and rooms.lock.take_or_tell(self._log):
                rooms.get_ready(PROGRAM if self._given.objective.kind == Kind.PROGRAM else CANDIDATE)
                return

    @property
    def count(self) -> int:
        """How many GPUs there are, and so how many runs go on at a time."""
        return len(self._gpus)

    def can_serve(self, runs: int) -> bool:
        """Always: runs on one GPU follow each other."""
        return True

    def next(self) -> Gpu | None:
        """The GPU that a run would be given now; None where it would have to wait for one."""
        free = (rooms for rooms in self._idle if not rooms.problem and rooms.lock.take_or_tell(self._log))
        return next((rooms.gpu for rooms in free), None)

    @asynccontextmanager
    async def lent(self, wanted: Gpu | None = None) -> AsyncIterator[GpuRooms]:
        """A GPU's rooms for one run, for as long as the block; as soon as one is free, and no other node has it.

        wanted: this GPU, unless it is set aside; else any.
        """
        rooms = await self._take(wanted)
        try:
            await rooms.begin()
            yield rooms
        finally:
            with trio.CancelScope(shield=True):
                await rooms.finish()
                if self._cold:
                    await rooms.cool_down()
            self._idle.append(rooms)
            self._freed.set()
            self._freed = trio.Event()

    async def _take(self, wanted: Gpu | None) -> GpuRooms:
        self._cold = False
        while True:
            freed = self._freed
            for rooms in list(self._idle):
                if wanted is not None and rooms.gpu != wanted:
                    continue
                if not await rooms.is_well():
                    wanted = None
                elif rooms in self._idle and rooms.lock.take_or_tell(self._log):
                    self._idle.remove(rooms)
                    return rooms
            with trio.move_on_after(RETRY_SECONDS):
                await freed.wait()

    async def cool_down(self) -> None:
        """End the rooms that wait, and those in use once they are given back, until there is a run again."""
        self._cold = True
        for rooms in list(self._idle):
            await rooms.cool_down()

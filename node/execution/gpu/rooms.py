"""The rooms of one GPU: a candidate's and an examination's, each started ahead of need, and what becomes of its memory.

One run at a time has them. While its candidate trains the examination's room gets ready, and while it is judged the
next candidate's. It knows how rooms follow each other on a GPU, not which runs these are, nor what is sent to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import trio

from node.execution.fork_servers import NUMPY, WARM_MEMORY, forked, start_server
from node.execution.gpu.memory import CONTEXT_BYTES, GpuMemory, is_back, used_by
from node.execution.gpu.room_process import CANDIDATE, EXAMINATION, PROGRAM, GpuRoom
from node.execution.gpu_lock import GpuLock
from node.execution.hidden_packages import hidden_paths
from node.execution.sandbox.forks import ForkServer
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.tree import descendants
from node.execution.worker import Worker
from node.execution.worker_set import most_memory
from node.objective.schema import Objective
from node.platform.gpu_types import Gpu
from node.platform.gpus import GpuDriver
from node.platform.log import Log

WATCH_SECONDS = 0.5  # between two questions to the driver about a room that works
BACK_SECONDS = 5.0  # after a room has ended, for the driver to give its memory back: 0.1 s on an H200
_LOOK_SECONDS = 0.2  # between two looks at whether it has


@dataclass(frozen=True)
class Given:
    """What rooms of any GPU are made with."""

    objective: Objective
    layers: Layers
    driver: GpuDriver
    folders_dir: Path
    log: Log
    keep_free: int  # bytes of each GPU that runs leave to others


class GpuRooms:
    """The rooms of one GPU."""

    def __init__(self, gpu: Gpu, given: Given, nursery: trio.Nursery, lock: GpuLock) -> None:
        self.gpu, self.lock = gpu, lock
        self.problem = ""  # why no run is given this GPU
        self._given = given
        self._nursery = nursery
        self._memory = GpuMemory(gpu, given.driver)
        self._ahead: dict[str, GpuRoom] = {}
        self._used: list[GpuRoom] = []  # by the run under way
        self._left: set[int] = set()  # processes that have ended and whose memory has not come back
        self._named = False  # the driver names processes of ours
        self._used_before: int | None = None
        self._numpy: ForkServer | None = None

    # ---- what a run needs of them ----------------------------------------------------------------------------------

    @property
    def numpy(self) -> ForkServer:
        """The server of what needs no GPU: the judge, and what draws texts."""
        if self._numpy is None or not self._numpy.alive:
            self._numpy = start_server(
                NUMPY,
                self._given.layers,
                most_memory(self._given.objective),
                hidden=hidden_paths(self._given.objective),
            )
            self._nursery.start_soon(self._numpy.supervise)
        return self._numpy

    @property
    def tier(self) -> str:
        return self.numpy.process.tier

    async def worker(
        self, program: str, arguments: Sequence[str], descriptors: Sequence[int], policy: Policy, nursery: trio.Nursery
    ) -> Worker:
        """A worker that runs one of the workers' programs, on the GPU and under the room's policy if it runs a source.

        Raises ServerLostError, OSError when none can be started.
        """
        if program not in (CANDIDATE, EXAMINATION, PROGRAM):
            return await forked(self.numpy, program, arguments, descriptors, policy, nursery)
        if program == EXAMINATION:  # the candidate's memory is to be back before
            await self._came_back({pid for room in self._used for pid in room.pids})
        room = self._taken(program)
        worker = await room.serve(arguments, descriptors)
        nursery.start_soon(self._watch, room)
        if program == PROGRAM:
            return worker  # a judge may hold a clock by now, beside which nothing starts
        if program == CANDIDATE or self._examinations_left():
            self.get_ready(EXAMINATION)
        else:
            self.get_ready(CANDIDATE)
        return worker

    def get_ready(self, program: str) -> None:
        """Start a room of this kind ahead of need, unless one waits or the machine is short of memory."""
        if program != EXAMINATION:
            _ = self.numpy  # what draws the run's text, and a program's judge
        if program in self._ahead and self._ahead[program].alive:
            return
        if psutil.virtual_memory().available > WARM_MEMORY:
            with suppress(OSError):  # no processes or descriptors are free: the run that needs them will say so
                self._ahead[program] = self._start(program)

    # ---- between runs ----------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """A run has them from now on."""
        use = await self._memory.use()
        if use is None:
            return
        waiting = [pid for room in self._ahead.values() for pid in descendants(room.process.pid)]
        ours = [use.processes[pid] for pid in waiting if pid in use.processes]
        if not waiting or any(ours):  # else what waits here cannot be told from what others have
            self._used_before = use.memory_total - use.memory_free - sum(ours)

    async def finish(self) -> None:
        """The run that had them is over: see to it that its rooms have ended, and that their memory is back.

        Else `problem` says so, and no run is given this GPU.
        """
        for room in self._used:
            room.end()
        pids = {pid for room in self._used for pid in room.pids}
        self._used = stuck = [room for room in self._used if not await room.worker.ends()]
        if stuck:
            self._set_aside(pids, "a run that was killed does not end")
        elif not await self._came_back(pids):
            self._set_aside(pids, "memory of a run that has ended is still taken")

    def _set_aside(self, pids: set[int], what: str) -> None:
        self._left |= pids
        self.problem = what
        self._given.log(
            "GPU set aside",
            level="error",
            gpu=self.gpu.index,
            device=self.gpu.name,
            why=f"{what} (processes {', '.join(map(str, sorted(self._left)[:8]))})",
            hint="no run is made on it until that is over; if it stays so, reset the GPU or restart the machine",
        )

    async def is_well(self) -> bool:
        """Whether a run may be given this GPU; one that was set aside may be well again."""
        over = all(room.worker.ended.is_set() for room in self._used)
        if self.problem and over and await self._came_back(self._left, wait=False):
            self._given.log("GPU is back", gpu=self.gpu.index, device=self.gpu.name)
            self.problem, self._left = "", set()
        return not self.problem

    async def cool_down(self) -> None:
        """End what waits here, and let other nodes have the GPU."""
        rooms = list(self._ahead.values())
        self._ahead.clear()
        for room in rooms:
            room.end()
        if self._numpy is not None:
            self._numpy.process.kill()
        with trio.CancelScope(shield=True):
            for room in rooms:
                await room.worker.ends()
            if self._numpy is not None:
                await self._numpy.ended.wait()
        self._numpy = None
        self.lock.release()

    # ---- within ----------------------------------------------------------------------------------------------------

    def _taken(self, program: str) -> GpuRoom:
        room = self._ahead.pop(program, None)
        if room is None or not room.alive:
            room = self._start(program)
        self._used.append(room)
        return room

    def _examinations_left(self) -> bool:
        """Where the seed is no secret, a second examination follows the first."""
        if self._given.objective.secret_seed:
            return False
        return sum(room.program == EXAMINATION for room in self._used) < 2

    def _start(self, program: str) -> GpuRoom:
        given = self._given
        return GpuRoom.start(
            program, given.objective, self.gpu, given.layers, given.folders_dir, self._allowed(), self._nursery
        )

    def _allowed(self) -> int:
        """Bytes of the GPU that a run's worker may use; 0 where nobody knows how many there are.

        At least one: where others are to have all of it, a run is to fail, and not to take what they need.
        """
        asked, there = self._given.objective.budget.gpu_memory_bytes, self.gpu.memory_bytes
        if not there:
            return asked
        left = max(1, there - self._given.keep_free - (self._used_before or 0))
        return min(asked, left) if asked else left

    async def _watch(self, room: GpuRoom) -> None:
        """End a room that takes more of the GPU than it may."""
        allowed = self._allowed()
        with trio.CancelScope() as watching:

            async def ask() -> None:
                while True:
                    room.pids.update(descendants(room.process.pid))
                    use = await self._memory.use()
                    if use is not None:
                        self._named |= any(pid in use.processes for pid in room.pids)
                        used = used_by(use, room.pids, self._used_before)
                        # Its own context; and those of rooms that wait, where the driver does not tell them apart.
                        contexts = 1 + (0 if self._named else len(self._ahead))
                        if allowed and used > allowed + CONTEXT_BYTES * contexts * bool(self.gpu.device_files):
                            self._exceeded(room, used, allowed)
                            return
                    await trio.sleep(WATCH_SECONDS)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await room.worker.ended.wait()
                watching.cancel()

    def _exceeded(self, room: GpuRoom, used: int, allowed: int) -> None:
        self._given.log(
            "GPU memory exceeded", level="warning", gpu=self.gpu.index, used_mb=used >> 20, allowed_mb=allowed >> 20
        )
        room.process.kill("memory")

    async def _came_back(self, pids: set[int], wait: bool = True) -> bool:
        with trio.move_on_after(BACK_SECONDS):
            while True:
                use = await self._memory.use()
                # Of drivers that name no processes: besides what others had, the rooms that wait have a context each.
                waiting = CONTEXT_BYTES * len(self._ahead)
                before = None if self._used_before is None else self._used_before + waiting
                if use is None:
                    return wait  # a driver that does not answer sets no GPU aside, and brings none back
                if is_back(use, pids, self._named, before):
                    return True
                if not wait:
                    return False
                await trio.sleep(_LOOK_SECONDS)
        return False

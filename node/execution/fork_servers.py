"""The fork servers of runs: processes in a sandbox that have torch or numpy imported, and fork the workers of runs.

One pair of servers serves one run at a time, and then the next. The candidate and the examination workers are forks of
the one with torch; the drawing worker and the judge, which know the text to be scored, of another, which never forks
what runs a source. It knows how long servers are kept, and not what their forks do.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import psutil
import trio

from node.execution.sandbox.forks import ForkServer
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.orders import FIRST_GIVEN
from node.execution.sandbox.policy import Policy
from node.execution.worker import Worker
from node.platform.gpu_types import Gpu

PROGRAMS = Path(__file__).parent / "workers"
TORCH = ("preload_torch.py", ("train.py", "answer.py", "program.py"))
NUMPY = ("preload_numpy.py", ("draw.py", "judge.py", "program_judge.py"))
# Sizes are in bytes. Servers are kept for the next run only while this much memory is free for each pair. With its run
# a pair needs less.
WARM_MEMORY = 3 << 30
# A server forks for weeks, which is some 10 ms of its CPU time each; what a fork may use, its own policy says.
SERVER_CPU_SECONDS = 1e7
SERVER_TASKS = 64
SERVER_OUTPUT = 1 << 16


def start_server(
    kind: tuple[str, Sequence[str]],
    layers: Layers,
    memory_bytes: int,
    file_bytes: int = 0,
    hidden: tuple[Path, ...] = (),
) -> ForkServer:
    """A server of one kind, on the main thread. Raises OSError.

    memory_bytes, file_bytes: the most memory that any fork of it may use, and the longest file that one may write.
    hidden: what it and its forks cannot read, of what is shown to every program.
    """
    preload, programs = kind
    policy = Policy(
        wall_seconds=math.inf,
        cpu_seconds=SERVER_CPU_SECONDS,
        memory_bytes=memory_bytes,
        tasks=SERVER_TASKS,
        output_bytes=SERVER_OUTPUT,
        writable_bytes=file_bytes,
        hidden=hidden,
    )
    return ForkServer.start(PROGRAMS / preload, [PROGRAMS / name for name in programs], policy, layers)


@asynccontextmanager
async def numpy_server(layers: Layers, memory_bytes: int) -> AsyncIterator[ForkServer]:
    """A server with numpy by itself, for as long as the block."""
    async with trio.open_nursery() as nursery:
        server = start_server(NUMPY, layers, memory_bytes)
        nursery.start_soon(server.supervise)
        yield server
        nursery.cancel_scope.cancel()


class Servers(Protocol):
    """What makes the workers of one run, each when it is its turn."""

    @property
    def tier(self) -> str:
        """Of the sandbox that they run in."""

    @property
    def gpu(self) -> Gpu | None:
        """What they run sources on; None for the processor."""

    @property
    def numpy(self) -> ForkServer:
        """The server of those workers that know the text to be scored."""

    async def worker(
        self, program: str, arguments: Sequence[str], descriptors: Sequence[int], policy: Policy, nursery: trio.Nursery
    ) -> Worker:
        """A worker that runs one of the workers' programs under a policy, and is supervised in the nursery.

        It finds copies of the descriptors as 3, 4 and so on, and the caller closes its own. Raises ServerLostError,
        OSError when none can be started.
        """


class ServerPool(Protocol):
    """Lends each run what makes its workers, and keeps it between runs."""

    def open(self, nursery: trio.Nursery) -> None:
        """Have all of it live in this nursery, and start the first."""

    def warm_up(self) -> None:
        """Get ready for a run beside those under way, if there may be one."""

    def lent(self) -> AbstractAsyncContextManager[Servers]:
        """What makes the workers of one run, for as long as the block."""

    def can_serve(self, runs: int) -> bool:
        """Whether there is memory for so many runs more."""

    async def cool_down(self) -> None:
        """Give back what is held for the next run, until there is one."""


async def forked(
    server: ForkServer,
    program: str,
    arguments: Sequence[str],
    descriptors: Sequence[int],
    policy: Policy,
    nursery: trio.Nursery,
) -> Worker:
    """A worker that is a fork of this server. Otherwise as `Servers.worker`."""
    worker = Worker(await server.fork(program, arguments, descriptors, policy))
    nursery.start_soon(worker.supervise)
    return worker


class ForkServers:
    """A server with torch and one with numpy. After use they are as clean as before: see `sandbox.fork_server`."""

    gpu: Gpu | None = None

    def __init__(self, torch: ForkServer, numpy: ForkServer) -> None:
        self.torch, self.numpy = torch, numpy

    @classmethod
    def start(
        cls,
        layers: Layers,
        memory_bytes: int,
        file_bytes: int,
        hidden: tuple[Path, ...],
        nursery: trio.Nursery,
    ) -> ForkServers:
        """Start both, as `start_server` does; they are supervised in the nursery. Only forks with torch write files."""
        torch = start_server(TORCH, layers, memory_bytes, file_bytes, hidden)
        nursery.start_soon(torch.supervise)
        try:
            numpy = start_server(NUMPY, layers, memory_bytes, hidden=hidden)
        except BaseException:
            torch.process.kill()
            raise
        nursery.start_soon(numpy.supervise)
        return cls(torch, numpy)

    @property
    def alive(self) -> bool:
        return self.torch.alive and self.numpy.alive

    @property
    def tier(self) -> str:
        return self.torch.process.tier

    async def worker(
        self, program: str, arguments: Sequence[str], descriptors: Sequence[int], policy: Policy, nursery: trio.Nursery
    ) -> Worker:
        """A fork of the server that has this program."""
        server = self.torch if f"{program}.py" in TORCH[1] else self.numpy
        return await forked(server, program, arguments, descriptors, policy, nursery)

    async def destroy(self) -> None:
        """End both. Returns when they are dead, also when cancelled meanwhile."""
        for server in (self.torch, self.numpy):
            server.process.kill()
        with trio.CancelScope(shield=True):
            for server in (self.torch, self.numpy):
                await server.ended.wait()


class Given:
    """The descriptors a worker is given, and the numbers under which it finds them."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def __call__(self, descriptor: int) -> str:
        """Give this one too; the argument by which the worker is told."""
        self.descriptors.append(descriptor)
        return str(FIRST_GIVEN + len(self.descriptors) - 1)


class ForkServerPool:
    """ForkServers that wait for runs, as far as the machine has memory for them."""

    def __init__(
        self, layers: Layers, memory_bytes: int, most: int, file_bytes: int = 0, hidden: tuple[Path, ...] = ()
    ) -> None:
        """most: how many pairs are started ahead of need, one for each run that goes on at a time.

        memory_bytes, file_bytes, hidden: as of `start_server`.
        """
        self._hidden = hidden
        self._layers = layers
        self._memory_bytes, self._file_bytes = memory_bytes, file_bytes
        self._most = most
        self._idle: list[ForkServers] = []
        self._busy = 0
        self._cold = False
        self._nursery: trio.Nursery | None = None

    def open(self, nursery: trio.Nursery) -> None:
        """Have servers live in this nursery, and start the first."""
        self._nursery = nursery
        self.warm_up()

    def warm_up(self) -> None:
        """Start the next pair, unless there is one for each run already or the machine is short of memory."""
        if self._busy + len(self._idle) < self._most and self._memory_for_one_more():
            with suppress(OSError):  # no processes or descriptors are free: the run that needs them will say so
                self._idle.append(self._start())

    def take(self) -> ForkServers:
        """ForkServers for one run, ready or starting. Raises OSError when none can be started."""
        self._cold = False
        self._idle = [servers for servers in self._idle if servers.alive]
        servers = self._idle.pop(0) if self._idle else self._start()
        self._busy += 1
        return servers

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[ForkServers]:
        """ForkServers for one run, for as long as the block. Raises OSError when none can be started."""
        servers = self.take()
        try:
            yield servers
        finally:
            await self.give_back(servers)

    async def give_back(self, servers: ForkServers) -> None:
        """Keep servers for the next run if they are well, and there is the memory; else end them."""
        self._busy -= 1
        if servers.alive and not self._cold and self._memory_for_one_more():
            self._idle.append(servers)
        else:
            await servers.destroy()

    async def cool_down(self) -> None:
        """End the servers that wait, and those in use once they are given back, until there is a run again.

        So a paused node does not hold their memory.
        """
        self._cold = True
        idle, self._idle = self._idle, []
        for servers in idle:
            await servers.destroy()

    def can_serve(self, runs: int) -> bool:
        """Whether there is memory for so many runs at once, as far as servers for them do not wait already."""
        missing = max(0, runs - len(self._idle))
        return bool(psutil.virtual_memory().available > WARM_MEMORY * missing)

    def _memory_for_one_more(self) -> bool:
        """More than 3 GiB must be available for the first pair that waits, more than 6 GiB for the second."""
        return bool(psutil.virtual_memory().available > WARM_MEMORY * (1 + len(self._idle)))

    def _start(self) -> ForkServers:
        assert self._nursery is not None
        return ForkServers.start(self._layers, self._memory_bytes, self._file_bytes, self._hidden, self._nursery)

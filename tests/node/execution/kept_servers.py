"""Fork servers that are kept from one test to the next, since each takes two seconds of CPU to import torch.

A node keeps its servers from one run to the next in the same way: after a run they are as clean as before, which
test_fork_servers.py holds with servers of its own. What is kept here is only the process; to each test it looks like a
server that was started for it, and that ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import trio

from node.execution import fork_servers
from node.execution.sandbox.forks import ForkedProcess, ForkServer
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import SandboxedProcess

MOST_KEPT = 4
_start_server = fork_servers.start_server


class KeptServer(ForkServer):
    """The server that one test has, of a process that others may have had."""

    def __init__(self, server: ForkServer, layers: Layers, key: object) -> None:
        super().__init__(server.process, server._requests, layers)
        self.real, self.key = server, key
        self.process = _Released(server.process, self.release)  # type: ignore[assignment]
        self._ready = server._ready
        self._forks: list[ForkedProcess] = []
        self._asking = 0
        self._released = trio.Event()

    def release(self) -> None:
        self._released.set()

    async def supervise(self) -> None:
        try:
            await self._released.wait()
        finally:
            self.ended.set()
            KEPT.take_back(self)

    async def fork(
        self, program: str, arguments: Sequence[str], descriptors: Sequence[int], policy: Policy
    ) -> ForkedProcess:
        self._asking += 1  # and stays so when this does not end well: the process is then not kept
        fork = await super().fork(program, arguments, descriptors, policy)
        self._asking -= 1
        self._forks.append(fork)
        return fork

    @property
    def clean(self) -> bool:
        """Whether another test may have its process: it is well, and no fork is left."""
        self.real._ready = self._ready
        return self.real.alive and self._ready and not self._asking and not any(fork._running for fork in self._forks)


class _Released:
    """A process that is given back where its server would be ended."""

    def __init__(self, process: SandboxedProcess, release: Any) -> None:
        self._process, self._release = process, release

    def kill(self, *_: object) -> None:
        self._release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)


class KeptServers:
    """Processes of servers that no test has at the moment."""

    def __init__(self) -> None:
        self._kept: list[tuple[object, ForkServer]] = []

    def start_server(
        self,
        kind: tuple[str, Sequence[str]],
        layers: Layers,
        memory_bytes: int,
        file_bytes: int = 0,
        hidden: tuple[Path, ...] = (),
    ) -> ForkServer:
        """As `fork_servers.start_server`, with the process of a server that was started alike if there is one."""
        key = (kind[0], layers, memory_bytes, file_bytes, hidden)
        for place, (kept, server) in enumerate(self._kept):
            if kept == key and server.alive:
                del self._kept[place]
                return KeptServer(server, layers, key)
        return KeptServer(_start_server(kind, layers, memory_bytes, file_bytes, hidden), layers, key)

    def take_back(self, server: KeptServer) -> None:
        if not server.clean:
            _end(server.real)
            return
        self._kept.append((server.key, server.real))
        while len(self._kept) > MOST_KEPT:
            _end(self._kept.pop(0)[1])

    def end(self) -> None:
        while self._kept:
            _end(self._kept.pop()[1])

    def processes(self) -> set[int]:
        """All that is kept: not left over by a test."""
        found: set[int] = set()
        for _, server in self._kept:
            with contextlib.suppress(psutil.NoSuchProcess):
                outer = psutil.Process(server.process.pid)
                found |= {outer.pid, *(child.pid for child in outer.children(recursive=True))}
        return found


def _end(server: ForkServer) -> None:
    """End its process at once and wait for it."""
    process: SandboxedProcess = server.process
    process.kill()
    with contextlib.suppress(RuntimeError):  # outside of an event loop nobody waits for it
        trio.lowlevel.notify_closing(server._requests.fileno())
    server._requests.close()
    popen: subprocess.Popen[bytes] = process._process
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(5)
    if popen.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(popen.pid, signal.SIGKILL)
        popen.wait()
    process._close()


KEPT = KeptServers()


def workers_left() -> list[int]:
    """Processes below this one, less what is kept and those that read repositories for tests that were before."""
    kept = KEPT.processes()
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if child.pid not in kept and child.name() != "git"]

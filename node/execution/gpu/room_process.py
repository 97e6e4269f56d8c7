"""A GPU room from the node's side: a sandboxed process that has torch imported, waits for one job, and serves once.

It knows how a room is started and given its job, and what its sandbox lets it do. What is in the descriptors it passes
on, and who may use the GPU when, it does not know. What happens inside is in `workers/gpu_room.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio

from node.execution.fork_servers import PROGRAMS
from node.execution.hidden_packages import hidden_paths
from node.execution.run_folder import RunFolder
from node.execution.sandbox import launch
from node.execution.sandbox.forks import ServerLostError
from node.execution.sandbox.layers import Layers, tier
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import SandboxedProcess
from node.execution.worker import Worker
from node.execution.worker_set import examination_memory, longest_file
from node.ledger.files import DISK_RESERVE
from node.objective.schema import Kind, Objective
from node.platform.gpu_types import Gpu
from node.platform.gpus import chosen_by

READY = b"ready"
READY_SECONDS = 300.0  # to import torch and set up the device: 4 s; minutes on a machine that others use
CANDIDATE, EXAMINATION, PROGRAM = "train", "answer", "program"
# Processes and threads together: CUDA and torch make a few threads each for every processor, and a compiler processes.
TASKS = 512
LOG_BYTES = 1 << 20
CACHE_BYTES = 2 << 30  # that a candidate may write: what is compiled is some 20 MB for a model of eight layers
# Of the host: CUDA's libraries and its own memory are resident in every process that uses it, 0.9 GB on an H200 before
# anything is computed. An objective's budget says what the source uses, as on a processor.
DEVICE_LIBRARIES = 4 << 30
EXAMINATION_CPU_SECONDS = 600.0
_MOST_MESSAGE_BYTES = 8192
_END_SECONDS = 2.0  # for a room that closed its socket to end by itself, so that it says why
# For matrix products that give the same bits every time (torch's notes on reproducibility).
_SAME_BITS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


# torch.compile then gives back what it was given.
_UNCOMPILED = {"TORCH_COMPILE_DISABLE": "1"}


class GpuRoom:
    """One room. Make one with `start`; `serve` gives it its job, and `end` ends it."""

    def __init__(self, program: str, process: SandboxedProcess, ours: socket.socket, folder: RunFolder | None) -> None:
        self.program = program
        self.worker = Worker(process)
        self.pids: set[int] = set()  # that it was seen to have, for asking the driver whose memory is whose
        self._ours = ours
        self._folder = folder
        self._ready: bool | None = None
        self._turn = trio.Lock()

    @classmethod
    def start(
        cls,
        program: str,
        objective: Objective,
        gpu: Gpu,
        layers: Layers,
        folders_dir: Path,
        memory: int,
        nursery: trio.Nursery,
    ) -> GpuRoom:
        """Start a room for a candidate, an examination or a program; it is supervised in the nursery.

        folders_dir: where the folder is made in which the compiler of a candidate or a program works. memory: bytes of
        the GPU that it may use, 0 for what is free. Call on the main thread. Raises OSError, and as
        SandboxedProcess.start does.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folder = None
        try:
            if program in (CANDIDATE, PROGRAM):
                folder = RunFolder.make(folders_dir, {}, (), {}, {}, {})
            policy = _candidate(objective, gpu, folder) if folder is not None else _examination(objective, gpu)
            if not launch.may_start_programs(tier(layers), policy):
                policy = replace(policy, env={**policy.env, **_UNCOMPILED})  # as a compiler starts programs
            orders = {
                "socket": theirs.fileno(),
                "program": program,
                "device": gpu.torch_device,
                "memory": memory,
                "deterministic": _gives_same_bits(objective),
            }
            command = [*launch.python(PROGRAMS / "gpu_room.py"), json.dumps(orders)]
            process = SandboxedProcess.start(command, policy, layers, keep=(theirs.fileno(),))
        except BaseException:
            ours.close()
            if folder is not None:
                folder.remove()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        room = cls(program, process, ours, folder)
        nursery.start_soon(room._supervise)
        return room

    @property
    def process(self) -> SandboxedProcess:
        assert isinstance(self.worker.process, SandboxedProcess)
        return self.worker.process

    @property
    def alive(self) -> bool:
        return not self.worker.ended.is_set() and not self.process.dying

    async def wait_ready(self) -> None:
        """Return when it waits for its job. Raises ServerLostError when it has ended, or takes too long."""
        async with self._turn:
            if self._ready is None:
                self._ready = False
                with trio.move_on_after(READY_SECONDS):
                    self._ready = await self._received() == READY
        if not self._ready:
            with trio.move_on_after(_END_SECONDS):  # it is to say why before it ends
                await self.worker.ended.wait()
            self.process.kill()
            raise ServerLostError(self.process.log_tail() or "the GPU room has ended, or was not ready in time")

    async def serve(self, arguments: Sequence[str], descriptors: Sequence[int]) -> Worker:
        """Give it its job: it finds copies of the descriptors as 3, 4 and so on; the caller closes its own.

        Raises ServerLostError.
        """
        await self.wait_ready()
        message = json.dumps(list(arguments)).encode()
        assert len(message) <= _MOST_MESSAGE_BYTES
        try:
            socket.send_fds(self._ours, [message], list(descriptors))
        except OSError as lost:
            self.process.kill()
            raise ServerLostError(f"the GPU room has ended: {self.process.log_tail() or lost}") from lost
        return self.worker

    def end(self) -> None:
        """End it; it is dead or dying when this returns."""
        self.process.kill()

    async def _supervise(self) -> None:
        try:
            await self.worker.supervise()
        finally:
            trio.lowlevel.notify_closing(self._ours.fileno())
            self._ours.close()
            if self._folder is not None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._folder.remove)

    async def _received(self) -> bytes:
        """What it says; b"" when it has ended."""
        while True:
            try:
                return self._ours.recv(_MOST_MESSAGE_BYTES)
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_readable(self._ours.fileno())
                except trio.ClosedResourceError:
                    return b""
            except OSError:
                return b""


def _candidate(objective: Objective, gpu: Gpu, folder: RunFolder) -> Policy:
    """What a candidate or a program may do: what a command's source may, as a compiler starts other programs."""
    budget = objective.budget
    free = shutil.disk_usage(folder.root).free - DISK_RESERVE
    include = Path(sysconfig.get_path("include"))  # Python.h, which what is compiled includes
    return Policy(
        wall_seconds=budget.wall_seconds,
        cpu_seconds=(budget.wall_seconds + READY_SECONDS) * (os.cpu_count() or 1),
        memory_bytes=budget.memory_bytes + _libraries(gpu),
        tasks=TASKS,
        output_bytes=LOG_BYTES,
        read_only=(PROGRAMS, *([include] if include.is_dir() else [])),
        writable=folder.root,
        # A file may be as long: that of the weights, and what a compiler writes for itself, which is a hundred MB.
        writable_bytes=min(max(CACHE_BYTES, longest_file(objective)), max(0, free)),
        directory=folder.work,
        stand_ins={"/tmp": folder.temporary, "/dev/shm": folder.shared_memory},
        env={
            "HOME": str(folder.home),
            "TMPDIR": str(folder.temporary),
            "TORCHINDUCTOR_CACHE_DIR": str(folder.home / "inductor"),
            "TRITON_CACHE_DIR": str(folder.home / "triton"),
            # Else as many processes wait for something to compile as the machine has processors, each with torch.
            "TORCHINDUCTOR_COMPILE_THREADS": str(budget.threads),
            **_environment(objective, gpu),
        },
        threads=budget.threads,
        locks=True,
        builds=True,
        devices=tuple(Path(path) for path in gpu.device_files),
        hidden=hidden_paths(objective),
    )


def _examination(objective: Objective, gpu: Gpu) -> Policy:
    """What an examination may do: it answers, and writes nowhere. CUDA makes threads, so it may too."""
    return Policy(
        wall_seconds=objective.budget.wall_seconds,
        cpu_seconds=EXAMINATION_CPU_SECONDS,
        memory_bytes=examination_memory(objective) + _libraries(gpu),
        tasks=TASKS,
        output_bytes=LOG_BYTES,
        read_only=(PROGRAMS,),
        env={"CUDA_CACHE_DISABLE": "1", **_environment(objective, gpu)},
        threads=objective.budget.threads,
        processes="threads",
        devices=tuple(Path(path) for path in gpu.device_files),
        hidden=hidden_paths(objective),
    )


def _libraries(gpu: Gpu) -> int:
    return DEVICE_LIBRARIES if gpu.device_files else 0


def _gives_same_bits(objective: Objective) -> bool:
    """Whether a run is to be the same to the last bit when it is made again on this GPU, which costs speed.

    A program's seconds are a limit, and no time to be used.
    """
    return not objective.timed if objective.kind == Kind.PROGRAM else objective.budget.seconds is None


def _environment(objective: Objective, gpu: Gpu) -> dict[str, str]:
    return chosen_by(gpu) | (_SAME_BITS if _gives_same_bits(objective) else {})

"""A GPU where there is none: a driver that takes the memory of a room's processes for memory of a GPU.

For tests, and for trying out `scripts/gpu_check.py`. Runs on it train on the processor, in the rooms that a GPU's runs
have and by the clock on the wall. What the driver says is real: who is there, and how much each has. So a process that
is left behind, or takes too much, shows as it would on a GPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.execution.sandbox.tree import descendants
from node.platform.gpu_types import Gpu, GpuUse

MEMORY = 16 << 30
_PAGE = os.sysconf("SC_PAGE_SIZE")


def stand_in(index: int = 0, memory_bytes: int = MEMORY) -> Gpu:
    """A GPU of this machine's own processor."""
    name = f"stand-in {index}"
    uuid = f"GPU-00000000-{os.getpid()}-{index}"  # of this process: others that try something out have theirs
    return Gpu(index, name, memory_bytes, "nvidia", uuid, "none", device_files=(), torch_device="cpu")


@dataclass
class StandInDriver:
    """Answers as a driver does, of stand-ins that runs of this process use.

    left: memory of processes that have ended, by their numbers, as a broken driver would keep it. mute: it gives no
    answer.
    """

    all_gpus: Sequence[Gpu]
    left: dict[int, int] = field(default_factory=dict)
    mute: bool = False
    asked: int = 0

    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(self.all_gpus)

    def use(self, gpu: Gpu) -> GpuUse | None:
        self.asked += 1
        if self.mute:
            return None
        processes = dict(_on(gpu)) | self.left
        free = max(0, gpu.memory_bytes - sum(processes.values()))
        return GpuUse(free, gpu.memory_bytes, processes, busy_percent=None, celsius=None)


def _on(gpu: Gpu) -> Iterator[tuple[int, int]]:
    """(number, resident bytes) of each process of ours that was told to use this GPU."""
    told = f"CUDA_VISIBLE_DEVICES={gpu.uuid}".encode()
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):  # it has ended
            if told in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                yield pid, int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE

"""Whose memory on a GPU is whose: what a room's processes have there, and whether it is back when they have ended.

Only the driver is asked, never a process of the room. Drivers differ in what they say: some name processes by numbers
of another PID namespace, as in a container, and some say nothing of how much each has. Then what is used in all counts
beside what was used before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from node.platform.concurrency import in_thread
from node.platform.gpu_types import Gpu, GpuUse
from node.platform.gpus import GpuDriver

# What a process has on a GPU besides what its program asks for: the context and the kernels that are loaded. Half of it
# was seen on an H200.
CONTEXT_BYTES = 1 << 30
SLACK_BYTES = 256 << 20  # that others' use may change by, where the driver names no processes of ours


@dataclass(frozen=True)
class GpuMemory:
    """One GPU's memory, as its driver tells."""

    gpu: Gpu
    driver: GpuDriver

    async def use(self) -> GpuUse | None:
        return await in_thread(lambda: self.driver.use(self.gpu))


def used_by(use: GpuUse, pids: Collection[int], used_before: int | None) -> int:
    """Bytes that these processes have.

    used_before: what all had before these were started, None where nobody knows. A driver that names one of them, and
    says how much it has, is believed; else what has come since then is theirs.
    """
    named = [use.processes[pid] for pid in pids if pid in use.processes]
    if named and all(named):
        return sum(named)
    if used_before is None:
        return 0
    return max(0, use.memory_total - use.memory_free - used_before)


def is_back(use: GpuUse, pids: Collection[int], were_named: bool, used_before: int | None) -> bool:
    """Whether nothing is left on the GPU of processes that have ended.

    were_named: the driver named one of them while they ran, so that it would name them now.
    """
    if any(pid in use.processes for pid in pids):
        return False
    if were_named or used_before is None:
        return True
    return use.memory_total - use.memory_free <= used_before + SLACK_BYTES

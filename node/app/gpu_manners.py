"""Whether this machine's GPUs may be used now: not while others compute on them, nor while they are hot or full.

It asks the driver and /proc who is there, and gives the reason against working in words. It stops nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from node.execution.sandbox.tree import descendants
from node.platform.config import FILE_NAME, Config
from node.platform.gpu_types import Gpu, GpuUse
from node.platform.gpus import GpuDriver

_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # that of the machine (PROC_PID_INIT_INO in linux/proc_ns.h)
QUIET_SECONDS = 10.0  # how long the reason against a GPU must be gone before work goes on


@dataclass
class GpuManners:
    """Checks the GPUs that runs use. Takes milliseconds, or seconds where a driver hangs: call it in a thread.

    uses: what the driver said last of each.
    """

    config: Config
    gpus: tuple[Gpu, ...]
    driver: GpuDriver
    uses: dict[Gpu, GpuUse] = field(default_factory=dict)
    _last: dict[Gpu, tuple[float, str]] = field(default_factory=dict)  # when a reason was last found, and which

    def reason_not_to_work(self) -> str | None:
        """Why nothing should be run now: a GPU that a run of ours has is needed, or every GPU is. None: go on."""
        own = descendants(os.getpid())
        reasons: list[str | None] = []
        for gpu in self.gpus:
            ours = _has_open(own, gpu)
            reason = self._kept(gpu, self._against(gpu, set(own), ours))
            if reason is not None and ours:
                return reason
            reasons.append(reason)
        return reasons[0] if reasons and None not in reasons else None

    def _kept(self, gpu: Gpu, reason: str | None) -> str | None:
        """The reason, which holds for a while, so that work does not start and stop every second."""
        now = time.monotonic()
        if reason is not None:
            self._last[gpu] = (now, reason)
            return reason
        since, last = self._last.get(gpu, (-QUIET_SECONDS, ""))
        return last if now - since < QUIET_SECONDS else None

    def _against(self, gpu: Gpu, own: set[int], ours: bool) -> str | None:
        use = self.driver.use(gpu)
        if use is None:
            self.uses.pop(gpu, None)
            return None  # nobody knows
        self.uses[gpu] = use
        limit = self.config.gpu_max_celsius
        if limit and use.celsius is not None and use.celsius > limit:
            return f"{gpu.name} has {use.celsius} °C, more than gpu_max_celsius in {FILE_NAME}"
        others = [pid for pid in sorted(set(use.processes) - own) if _is_another(pid, gpu, ours)]
        if others and not self.config.gpu_others:
            return f"{gpu.name} is used by {_named(others[0])} (gpu_others in {FILE_NAME})"
        if not ours and use.memory_total and use.memory_free < self.config.gpu_free_mb << 20:
            return f"{gpu.name} has {use.memory_free >> 20} MiB free, less than gpu_free_mb in {FILE_NAME}"
        return None


def _has_open(pids: Iterable[int], gpu: Gpu) -> bool:
    """Whether one of these processes has the GPU's own device file open."""
    return any(_opened(pid, gpu) for pid in pids)


def _is_another(pid: int, gpu: Gpu, ours: bool) -> bool:
    """Whether a process that the driver names, and that is no descendant of this one, is somebody else's.

    In a container the driver may name processes by the numbers that they have outside, which mean nothing here, or
    another process. While a run of ours has the GPU, such a number is taken for its own. Outside of one a process that
    is not there, or has no GPU open, has just ended.
    """
    opened = _opened(pid, gpu)
    if opened or (opened is None and os.path.exists(f"/proc/{pid}")):  # another user's cannot be looked into
        return True
    return not ours and _in_a_container()


def _in_a_container() -> bool:
    """Whether processes have other numbers here than for the driver."""
    try:
        return os.readlink("/proc/self/ns/pid") != _FIRST_PID_NAMESPACE
    except OSError:
        return True


def _opened(pid: int, gpu: Gpu) -> bool | None:
    """None where it cannot be seen. By the device's number: by its path it may be another one in a sandbox."""
    try:
        device = os.stat(gpu.device_files[-1]).st_rdev
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except (OSError, IndexError):
        return None
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            found = os.stat(f"/proc/{pid}/fd/{descriptor}")
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == device:
                return True
    return False


def _named(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return f"process {pid}"
    return f"process {pid}, {''.join(c for c in name if c.isprintable())}"

"""What this machine is: processor, memory, graphics processors.

It measures and names the machine. It does not compare results across machines. No torch here.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from node.platform.gpu_types import MAX_NAME, Gpu, printable

SHARE_OF_CORES = 4  # runs take one core in four, so that the machine's user does not notice them
MEMORY_PER_RUN = 4 << 30  # bytes, at least: with the workers that score it and those that get ready for the next run
MEMORY_BESIDE = 1 << 30  # bytes, for the other workers, besides what the candidate may use
MOST_RUNS = 16
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of cgroup v2: bytes, or "max"
CONTAINER_CORES = Path("/sys/fs/cgroup/cpu.max")  # of cgroup v2: "quota period" in microseconds, or "max period"


@dataclass(frozen=True)
class Hardware:
    device: str  # the processor's own name, at most MAX_NAME printable characters
    cores: int  # those this process may use
    memory_bytes: int  # of the machine, or of the container this runs in
    gpus: tuple[Gpu, ...]  # that runs may use


def measure(gpus: Sequence[Gpu] = ()) -> Hardware:
    """Measure this machine. gpus: those that count, such as those that runs may use."""
    return Hardware(_processor(), cores(), memory_bytes(), tuple(gpus))


def bearable_runs(hardware: Hardware, threads: int, memory_bytes: int) -> int:
    """How many runs this machine can make side by side without its user noticing, 1 to MOST_RUNS.

    threads, memory_bytes: those of one run. With 16 cores, 32 GiB and runs of one thread and 2 GiB, cores allow
    16 // 4 = 4 and memory 32 // 4 = 8, so 4.
    """
    memory = max(MEMORY_PER_RUN, memory_bytes + MEMORY_BESIDE)
    return max(1, min(hardware.cores // (SHARE_OF_CORES * threads), hardware.memory_bytes // memory, MOST_RUNS))


@dataclass(frozen=True)
class ComputeClass:
    """What a machine must reach to be of a class: training tokens per second on the baseline, and memory."""

    name: str
    device: str  # what runs train on: "cpu" or "gpu"
    tokens_per_second: float
    memory_bytes: int


def device_kind(hardware: Hardware, device: str = "cpu") -> str:
    """What the runs of an objective for this device compute on here: "gpu", or "cpu" also on a machine with GPUs."""
    return "gpu" if device == "gpu" and hardware.gpus else "cpu"


def platform_name() -> str:
    """What two machines with the same processor must also share for a training to end in the same numbers on both.

    That is torch's version and the vector instructions its kernels use, for example "torch 2.13.0+cpu avx2 x86_64".
    Linux names these under another label on ARM64, where torch has kernels of its own for SVE.
    """
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    wide = next((name for name in ("avx512f", "avx2", "sve2", "sve") if name in flags), "plain")
    return f"torch {torch_version()} {wide} {platform.machine()}"[:MAX_NAME]


def torch_version() -> str:
    """The installed torch, such as "2.13.0+cpu". It is looked up, not imported. "" where there is none."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def compute_class(
    hardware: Hardware, classes: Sequence[ComputeClass], tokens_per_second: float, device: str = "cpu"
) -> ComputeClass:
    """The compute class of this machine's results: the last one listed whose requirements it meets.

    tokens_per_second: measured on the objective's baseline. A machine that meets none, or an objective without classes,
    gives the class named after the device. A run has one GPU to itself, any of them, so the smallest one's memory
    counts.
    """
    kind = device_kind(hardware, device)
    memory = min(gpu.memory_bytes for gpu in hardware.gpus) if kind == "gpu" else hardware.memory_bytes
    reached = [
        one
        for one in classes
        if one.device == kind and tokens_per_second >= one.tokens_per_second and memory >= one.memory_bytes
    ]
    return reached[-1] if reached else ComputeClass(kind, kind, 0.0, 0)


def cores() -> int:
    """The cores this process may run on, or the container's share, rounded up: "150000 100000" in cpu.max is 2."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = CONTAINER_CORES.read_text().split()
        return max(1, min(allowed, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        return allowed


def memory_bytes() -> int:
    """The memory of this machine, or of the container this runs in."""
    total = psutil.virtual_memory().total
    try:
        return min(total, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return total


def _processor() -> str:
    return printable(_cpuinfo("model name") or platform.processor() or platform.machine()) or "unknown processor"


def _cpuinfo(label: str) -> str:
    """The value under this label in /proc/cpuinfo, of the first processor that has one; "" when none has."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        found, _, value = line.partition(":")
        if found.strip() == label and printable(value):
            return value
    return ""

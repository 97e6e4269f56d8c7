"""What is known of a graphics processor, whichever driver says it: two plain statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_NAME = 80  # what a record's device field holds
MAX_GPUS = 64  # of one machine: four times as many as any server has


@dataclass(frozen=True)
class Gpu:
    index: int  # as its driver counts them
    name: str  # printable, at most MAX_NAME
    memory_bytes: int  # 0 where the driver does not say
    vendor: str  # "nvidia" or "amd"
    uuid: str  # "" where unknown
    driver: str  # its version, "" where unknown
    device_files: tuple[str, ...]  # every file that a program needs to use this GPU, and no other
    torch_device: str = "cuda"  # what torch calls it, also an AMD one; a stand-in says "cpu"
    problem: str = ""  # why no run here can be given it, such as device files that a container does not have


@dataclass(frozen=True)
class GpuUse:
    """One GPU at one moment."""

    memory_free: int  # bytes
    memory_total: int
    processes: Mapping[int, int]  # pid, of this PID namespace where it is known, -> bytes, 0 where nobody says
    busy_percent: int | None
    celsius: int | None


def printable(name: str) -> str:
    """A name from outside on one line, at most MAX_NAME characters of it."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:MAX_NAME].strip()

"""AMD's GPUs by what its kernel driver (amdgpu, KFD) shows under /sys. Untried: no such GPU was at hand.

The layout is that of the kernel's documentation (gpu/amdgpu) and of drivers/gpu/drm/amd/amdkfd/kfd_topology.c. It needs
no library, and a file that is not there or says something else means "unknown".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from node.platform.gpu_types import MAX_GPUS, Gpu, GpuUse, printable

KFD = "/dev/kfd"  # the device file that all its GPUs share
KFD_TOPOLOGY = "/sys/devices/virtual/kfd/kfd/topology"  # which AMD's runtime reads (libhsakmt, topology.c)
_NODES, _PROCESSES = "sys/class/kfd/kfd/topology/nodes", "sys/class/kfd/kfd/proc"


@dataclass(frozen=True)
class Amd:
    """The driver's files. root: where /sys is found, for a test that has a tree of its own."""

    root: Path = Path("/")

    def gpus(self) -> tuple[Gpu, ...]:
        """The nodes of KFD's topology that have compute units; the others are processors."""
        found: list[Gpu] = []
        nodes = self.root / _NODES
        names = sorted((name for name in _listed(nodes) if name.isdecimal()), key=int)
        for name in names[:MAX_GPUS]:
            properties = _properties(nodes / name / "properties")
            minor = properties.get("drm_render_minor", 0)
            if properties.get("simd_count", 0) > 0 and minor > 0:
                found.append(self._gpu(len(found), nodes / name, properties.get("unique_id", 0), minor))
        return tuple(found)

    def use(self, gpu: Gpu) -> GpuUse | None:
        """What the card's folder says; None where it does not even say how much memory there is."""
        card = self._card(gpu)
        total, used = _number(card / "mem_info_vram_total"), _number(card / "mem_info_vram_used")
        if total is None or used is None:
            return None
        sensors = [card / "hwmon" / name / "temp1_input" for name in _listed(card / "hwmon")]
        degrees = [value // 1000 for sensor in sensors if (value := _number(sensor)) is not None]
        return GpuUse(
            memory_free=max(0, total - used),
            memory_total=total,
            processes=self._processes(gpu),
            busy_percent=_number(card / "gpu_busy_percent"),
            celsius=max(degrees, default=None),
        )

    def _gpu(self, index: int, node: Path, unique: int, minor: int) -> Gpu:
        files = (KFD, f"/dev/dri/renderD{minor}")
        missing = [path for path in files if not (self.root / path.removeprefix("/")).exists()]
        card = self.root / f"sys/class/drm/renderD{minor}/device"
        return Gpu(
            index=index,
            name=printable(_text(card / "product_name") or _text(node / "name")) or "AMD GPU",
            memory_bytes=_number(card / "mem_info_vram_total") or 0,
            vendor="amd",
            uuid=f"GPU-{unique:016x}" if unique else "",  # as ROCR_VISIBLE_DEVICES takes it
            driver=printable(_text(self.root / "sys/module/amdgpu/version")),
            device_files=files,
            problem=f"its device files are not here: {', '.join(missing)}" if missing else "",
        )

    def _card(self, gpu: Gpu) -> Path:
        return self.root / "sys/class/drm" / os.path.basename(gpu.device_files[-1]) / "device"

    def _processes(self, gpu: Gpu) -> dict[int, int]:
        """Of each process that has a queue: what it has of this GPU's memory, by the number KFD gives the GPU."""
        nodes = self.root / _NODES
        minor = gpu.device_files[-1].rpartition("renderD")[2]
        number = next(
            (
                _number(nodes / name / "gpu_id")
                for name in _listed(nodes)
                if str(_properties(nodes / name / "properties").get("drm_render_minor")) == minor
            ),
            None,
        )
        found = {}
        for pid in filter(str.isdecimal, _listed(self.root / _PROCESSES)):
            used = _number(self.root / _PROCESSES / pid / f"vram_{number}")
            if used:
                found[int(pid)] = used
        return found


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _properties(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""

"""What `doctor` says of GPUs: which are here, whether runs can use them, who does now, and what a run would open.

It asks the drivers and the settings, and changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from node.platform import hardware
from node.platform.config import FILE_NAME, Config
from node.platform.gpus import Gpu, GpuDriver, InstalledDrivers, usable
from node.view.model.findings import Finding

GIB = 1 << 30
UNTRIED = ", untried: no such GPU was at hand when this was written"
WSL_DEVICE = "/dev/dxg"  # by which Windows gives its GPUs to Linux programs


def gpu_findings(config: Config) -> list[Finding]:
    """One finding for each GPU, and one for what a run that has one may reach."""
    drivers = InstalledDrivers()
    try:
        return [*_findings(config, drivers, drivers.gpus(), drivers.nvidia.mute)]
    finally:
        drivers.close()


def _findings(config: Config, driver: GpuDriver, gpus: tuple[Gpu, ...], mute: bool) -> Iterator[Finding]:
    if mute:
        yield Finding("gpu", "warn", "NVIDIA's driver is here and does not answer", "try nvidia-smi, or restart")
    elif not gpus:
        yield _none()
    for gpu in gpus:
        yield _one(config, driver, gpu)
    opened = [gpu for gpu in gpus if usable([gpu], config, None)[0]]
    if opened:
        yield _doors(opened)


def _none() -> Finding:
    if shutil.which("nvidia-smi"):
        return Finding("gpu", "warn", "nvidia-smi is here but no driver names a GPU", "check the driver: nvidia-smi")
    if os.path.exists(WSL_DEVICE):
        return Finding("gpu", "ok", "those of Windows, which runs cannot reach; they use the processor", "")
    return Finding("gpu", "ok", "none; runs use the processor", "")


def _one(config: Config, driver: GpuDriver, gpu: Gpu) -> Finding:
    version = f", driver {gpu.driver}" if gpu.driver else ""
    untried = UNTRIED if gpu.vendor == "amd" else ""
    what = f"{gpu.index}: {gpu.name}, {gpu.memory_bytes / GIB:.1f} GiB{version}{untried}"
    commands, reasons = usable([gpu], config, None)
    if not commands:
        why = reasons[0].removeprefix(f"{gpu.name}: ")
        if FILE_NAME in why:  # a person's wish is nothing to be mended
            return Finding("gpu", "ok", f"{what}; runs do not use it: {why}", "")
        return Finding("gpu", "warn", f"{what}; runs cannot use it", why)
    _, reasons = usable([gpu], config, hardware.torch_version())
    if reasons:
        why = reasons[0].removeprefix(f"{gpu.name}: ")
        return Finding("gpu", "warn", f"{what}; only commands, which bring a torch of their own, can use it", why)
    return Finding("gpu", "ok", f"{what}; runs can use it; {_use(driver, gpu)}", "")


def _use(driver: GpuDriver, gpu: Gpu) -> str:
    use = driver.use(gpu)
    if use is None:
        return "who uses it now is not known"
    degrees = f", {use.celsius} °C" if use.celsius is not None else ""
    return f"processes that compute on it now: {len(use.processes)}; {use.memory_free / GIB:.1f} GiB free{degrees}"


def _doors(gpus: list[Gpu]) -> Finding:
    files = ", ".join(dict.fromkeys(path for gpu in gpus for path in gpu.device_files))
    return Finding(
        "gpu doors",
        "ok",
        f"of {files}, a run of an objective for GPUs may open those of the one GPU that it has to itself, and ask the "
        "driver by ioctl, to compute on it; it may also name its threads through /proc/self/task and listen on a local "
        "socket, without which CUDA does not start. Other runs open none of this. docs/security.md says what that "
        f"exposes; `gpu = false` below [research] in {FILE_NAME} forbids it",
        "",
    )

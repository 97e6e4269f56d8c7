"""The graphics processors of this machine: what each is, what its device files are, who uses it, and which may be used.

It asks the drivers and knows no torch. A driver that hangs, crashes or is absent never does so to the node: NVIDIA's is
asked in a process of its own (`nvml_program`), for a bounded time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from node.platform.amd import KFD, KFD_TOPOLOGY, Amd
from node.platform.config import FILE_NAME
from node.platform.environment import child_environment, variable
from node.platform.gpu_types import MAX_GPUS, MAX_NAME, Gpu, GpuUse, printable

NVML_SECONDS = 5.0  # for an answer
# For the first one, which starts the driver: where nothing keeps it loaded, that is a second or two for each GPU.
NVML_START_SECONDS = 30.0
MUTE_SECONDS = 60.0  # before a driver that gave no answer in time is asked again
MOST_ANSWER_BYTES = 1 << 20
_LIBRARY_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib")  # where containers often have the driver's
_LIBRARY = "libcuda.so.1"  # by which such a folder is known
_NVIDIA_CONTROL, _NVIDIA_MEMORY = "/dev/nvidiactl", "/dev/nvidia-uvm"
_MOST_PROCESSES = 4096


class GpuDriver(Protocol):
    """What is asked of the drivers. It takes milliseconds; where one hangs NVML_SECONDS, at first NVML_START_SECONDS.

    So call it in a thread once trio runs.
    """

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs here."""

    def use(self, gpu: Gpu) -> GpuUse | None:
        """Who uses it now, and what is free. None: the driver did not answer."""


class Nvml:
    """NVIDIA's driver through its management library, in a process of its own that ends with this one."""

    def __init__(self, program: Sequence[str] = (), control: Path = Path(_NVIDIA_CONTROL)) -> None:
        """program: a command that answers as `nvml_program` does. control: the file that is there with the driver."""
        beside = Path(__file__).with_name("nvml_program.py")
        self._program = list(program) or [sys.executable, "-I", "-B", str(beside)]
        self._control = control
        self._process: subprocess.Popen[bytes] | None = None
        self._mute_until = 0.0
        self._turn = threading.Lock()

    def gpus(self) -> tuple[Gpu, ...]:
        answer = self._ask({"ask": "gpus"}) if self._control.exists() else None
        rows = answer.get("gpus", []) if answer else []
        found = [_gpu(row, str(answer.get("driver", ""))) for row in rows[:MAX_GPUS]] if answer else []
        return tuple(gpu for gpu in found if gpu is not None)

    def use(self, gpu: Gpu) -> GpuUse | None:
        answer = self._ask({"ask": "use", "uuid": gpu.uuid})
        return None if answer is None else _use(answer)

    @property
    def mute(self) -> bool:
        """Whether the driver is here and gave no answer the last time it was asked."""
        return self._control.exists() and self._mute_until > time.monotonic()

    def close(self) -> None:
        """End the process that asks. It is started again when it is needed."""
        with self._turn:
            self._end()

    def _ask(self, request: dict[str, str]) -> dict[str, Any] | None:
        with self._turn:
            if time.monotonic() < self._mute_until:
                return None
            answer = self._exchange(request)
            if answer is None:
                self._end()
                self._mute_until = time.monotonic() + MUTE_SECONDS
            return answer

    def _exchange(self, request: dict[str, str]) -> dict[str, Any] | None:
        seconds = NVML_SECONDS
        try:
            if self._process is None:
                seconds = NVML_START_SECONDS
                self._process = subprocess.Popen(
                    self._program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    env=child_environment(LD_LIBRARY_PATH=os.pathsep.join(driver_libraries())), start_new_session=True,
                )  # fmt: skip
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._line(seconds))
        except (OSError, ValueError, RecursionError):
            return None
        return answer if isinstance(answer, dict) and "error" not in answer else None

    def _line(self, seconds: float) -> bytes:
        """The next line of the program. Raises ValueError when there is none in time, or none at all."""
        assert self._process is not None
        assert self._process.stdout is not None
        until, line = time.monotonic() + seconds, b""
        poller = select.poll()
        poller.register(self._process.stdout, select.POLLIN)
        while not line.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not poller.poll(1000 * left):
                raise ValueError("the driver does not answer")
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            line += part
            if not part or len(line) > MOST_ANSWER_BYTES:
                raise ValueError("the program that asks the driver has ended, or says too much")
        return line

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        # A process that is stuck inside the driver cannot be killed; it is left to the kernel.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)


@dataclass(frozen=True)
class InstalledDrivers:
    """All drivers that this version knows, as one."""

    nvidia: Nvml = field(default_factory=Nvml)
    amd: Amd = field(default_factory=Amd)

    def gpus(self) -> tuple[Gpu, ...]:
        return (*self.nvidia.gpus(), *self.amd.gpus())

    def use(self, gpu: Gpu) -> GpuUse | None:
        return self.amd.use(gpu) if gpu.vendor == "amd" else self.nvidia.use(gpu)

    def close(self) -> None:
        """End what was started for asking; it is started again when it is needed."""
        self.nvidia.close()


class GpuSetting(Protocol):
    """What the settings say of GPUs: whether runs may use them, or which."""

    @property
    def gpu(self) -> bool | tuple[int, ...]: ...


def installed() -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs that the installed drivers name, and what is wrong with a driver, with what to do about it."""
    drivers = InstalledDrivers()
    try:
        found = drivers.gpus()
        mute = "NVIDIA's driver is here and does not answer; try nvidia-smi, or start this machine again"
        return found, (mute,) if drivers.nvidia.mute else ()
    finally:
        drivers.close()


def driver_libraries() -> list[str]:
    """Folders with NVIDIA's driver in them where the linker does not look by itself: it has to be told of them."""
    told = [folder for folder in variable("LD_LIBRARY_PATH").split(os.pathsep) if os.path.isabs(folder)]
    folders = dict.fromkeys(os.path.normpath(folder) for folder in (*told, *_LIBRARY_FOLDERS))
    return [folder for folder in folders if os.path.exists(os.path.join(folder, _LIBRARY))]


def driver_files(devices: Sequence[str]) -> list[str]:
    """What a program that has these device files reads of the kernel besides, to find its GPU: AMD's runtime does."""
    return [KFD_TOPOLOGY] if KFD in devices and os.path.exists(KFD_TOPOLOGY) else []


def chosen_by(gpu: Gpu) -> dict[str, str]:
    """The environment variables by which a program uses this GPU and no other.

    One without an id is the only one whose device files are there, so it is the first for the program.
    """
    if gpu.vendor == "amd":
        return {"ROCR_VISIBLE_DEVICES": gpu.uuid or "0"}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpu.uuid or "0"}


def usable(
    gpus: Sequence[Gpu], setting: GpuSetting, torch_version: str | None
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs that runs may use, and for each other one why not, with what to do about it.

    setting: the configuration. torch_version: as installed, such as "2.13.0+cu130"; None for programs that bring what
    they use a GPU with. A stand-in, whose torch_device is "cpu", needs no build for it.
    """
    left, reasons = [], []
    for gpu in gpus:
        reason = _reason_against(gpu, setting.gpu, torch_version)
        if reason is None:
            left.append(gpu)
        else:
            reasons.append(f"{gpu.name}: {reason}")
    return tuple(left), tuple(reasons)


def _reason_against(gpu: Gpu, wanted: bool | tuple[int, ...], torch_version: str | None) -> str | None:
    if wanted is False:
        return f"[research] gpu = false in {FILE_NAME} keeps runs off it"
    if wanted is not True and gpu.index not in wanted:
        return f"[research] gpu = {list(wanted)} in {FILE_NAME} leaves out number {gpu.index}"
    if gpu.problem:
        return gpu.problem
    closed = [path for path in gpu.device_files if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        return f"you may not open {', '.join(closed)}; join the group that the file belongs to, and log in again"
    if gpu.torch_device == "cpu" or torch_version is None:
        return None
    build = torch_version.partition("+")[2]
    made_for = "nvidia" if build.startswith("cu") or not build else "amd" if build.startswith("rocm") else ""
    if made_for == gpu.vendor:
        return None
    kind = f"for {'NVIDIA' if made_for == 'nvidia' else 'AMD'}" if made_for else "for processors only"
    what = "CUDA" if gpu.vendor == "nvidia" else "ROCm"
    return f"the installed torch {torch_version or '(none)'} is a build {kind}; install one for {what}"


def _gpu(row: Mapping[str, Any], driver: str) -> Gpu | None:
    """One GPU as `nvml_program` tells of it; None where the row is not one."""
    try:
        minor, own = int(row["minor"]), f"/dev/nvidia{int(row['minor'])}"
        files = (_NVIDIA_CONTROL, _NVIDIA_MEMORY, own) if minor >= 0 else ()
        missing = [path for path in files if not os.path.exists(path)]
        problem = "it is divided by MIG, and parts of a GPU cannot be given to a run yet" if row.get("mig") else ""
        if not files or missing:
            problem = f"its device files are not here: {', '.join(missing) or 'the driver names none'}"
        if missing == [_NVIDIA_MEMORY]:  # it is made when the first program computes on a GPU
            problem += "; `sudo nvidia-modprobe -u -c 0` makes it"
        return Gpu(
            index=int(row["index"]),
            name=printable(str(row["name"])) or "NVIDIA GPU",
            memory_bytes=max(0, int(row["memory"])),
            vendor="nvidia",
            uuid=printable(str(row["uuid"])),
            driver=printable(driver),
            device_files=files,
            problem=problem,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _use(row: Mapping[str, Any]) -> GpuUse | None:
    try:
        processes = {int(pid): max(0, int(used)) for pid, used in list(row["processes"])[:_MOST_PROCESSES]}
        busy, celsius = row["busy"], row["celsius"]
        return GpuUse(
            memory_free=max(0, int(row["free"])),
            memory_total=max(0, int(row["total"])),
            processes=processes,
            busy_percent=None if busy is None else int(busy),
            celsius=None if celsius is None else int(celsius),
        )
    except (KeyError, TypeError, ValueError):
        return None


__all__ = [
    "MAX_GPUS",
    "MAX_NAME",
    "Amd",
    "Gpu",
    "GpuDriver",
    "GpuSetting",
    "GpuUse",
    "InstalledDrivers",
    "Nvml",
    "chosen_by",
    "driver_files",
    "driver_libraries",
    "installed",
    "usable",
]

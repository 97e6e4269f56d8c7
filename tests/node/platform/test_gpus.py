"""GPUs are what their drivers say, and a driver that misbehaves is one that says nothing.

NVIDIA's library is not on this machine: the real program that asks it runs with a stand-in for its Python module.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.platform import gpus, nvml_program
from node.platform.config import Config, load_config
from node.platform.gpus import Amd, Gpu, Nvml, usable

STAND_IN = """
import os, sys, time
class NVMLError(Exception):
    def __init__(self, value): self.value = value
NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION, NVML_ERROR_NOT_FOUND, NVML_TEMPERATURE_GPU = 3, 4, 6, 0
class Memory: total, free, used = 150 << 30, 140 << 30, 10 << 30
class Process: pid, usedGpuMemory = 4711, 10 << 30
class Hidden: pid, usedGpuMemory = 4712, None
class Desktop: pid, usedGpuMemory = 900, 300 << 20
class Game: pid, usedGpuMemory = 901, 2 << 30
class Drawn: pid, smUtil = 900, 3
class Played: pid, smUtil = 901, 70
class Rates: gpu = 97
def nvmlInit(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetHandleByUUID(uuid): return int(uuid[-1])
def nvmlDeviceGetName(gpu): return b"NVIDIA\\n H200"
def nvmlDeviceGetMemoryInfo(gpu):
    if gpu == 1: raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return Memory
def nvmlDeviceGetUUID(gpu): return f"GPU-{gpu}"
def nvmlDeviceGetMinorNumber(gpu): return gpu
def nvmlDeviceGetMigMode(gpu): raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
def nvmlSystemGetDriverVersion(): return "580.159.04"
def nvmlDeviceGetComputeRunningProcesses(gpu): return [Process, Hidden]
def nvmlDeviceGetGraphicsRunningProcesses(gpu): return [Desktop] if gpu else [Desktop, Game]
def nvmlDeviceGetProcessUtilization(gpu, since):
    if gpu == 1: raise NVMLError(NVML_ERROR_NOT_FOUND)
    return [Drawn, Played]
def nvmlDeviceGetUtilizationRates(gpu): return Rates
def nvmlDeviceGetTemperature(gpu, sensor): return 61
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Nvml]:
    yield from with_module(tmp_path, STAND_IN)


def with_module(folder: Path, text: str) -> Iterator[Nvml]:
    (folder / "pynvml.py").write_text(text)
    control = folder / "nvidiactl"
    control.touch()
    run = f"runpy.run_path({nvml_program.__file__!r}, None, '__main__')"
    script = f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); {run}"
    driver = Nvml([sys.executable, "-I", "-B", "-c", script], control)
    yield driver
    driver.close()


def config(folder: Path, gpu: object = True) -> Config:
    return load_config(None, {"home": str(folder / "home"), "gpu": gpu})


def test_gpus_are_those_that_nvidias_driver_names(driver: Nvml) -> None:
    first, second = driver.gpus()
    assert (first.index, first.name, first.memory_bytes) == (0, "NVIDIA H200", 150 << 30)
    assert (first.vendor, first.uuid, first.driver) == ("nvidia", "GPU-0", "580.159.04")
    assert first.device_files == ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0")
    assert second.device_files[-1] == "/dev/nvidia1"
    assert second.memory_bytes == 0, "it does not say"


def test_who_uses_a_gpu_is_told_by_process(driver: Nvml) -> None:
    use = driver.use(driver.gpus()[0])
    assert use is not None
    assert (use.memory_free, use.memory_total) == (140 << 30, 150 << 30)
    assert use.processes == {4711: 10 << 30, 4712: 0, 901: 2 << 30}, "and what draws much, but not the desktop"
    assert (use.busy_percent, use.celsius) == (97, 61)
    second = driver.use(driver.gpus()[1])
    assert second is not None
    assert (second.memory_free, second.processes) == (0, {4711: 10 << 30, 4712: 0})


@pytest.mark.parametrize(
    "change",
    [
        "raise ImportError",
        "def nvmlInit(): raise NVMLError(9)",
        "def nvmlDeviceGetCount(): os.abort()",
        "def nvmlDeviceGetCount(): raise NVMLError(15)",
        "def nvmlDeviceGetName(gpu): os.write(1, b'[' * 100_000 + b'\\n'); return 'x'",
        "def nvmlDeviceGetName(gpu): os.write(1, b'x' * (2 << 20)); return 'x'",
        "def nvmlDeviceGetName(gpu): os.write(1, b'{\"gpus\": [7, {}, null]}\\n'); return 'x'",
    ],
)
def test_a_driver_that_has_no_answer_means_no_gpu(tmp_path: Path, change: str) -> None:
    for driver in with_module(tmp_path, f"{STAND_IN}\n{change}\n"):
        assert driver.gpus() == ()


def test_a_driver_that_hangs_is_left_alone_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "NVML_START_SECONDS", 0.5)
    for driver in with_module(tmp_path, f"{STAND_IN}\ndef nvmlInit(): time.sleep(600)\n"):
        begun = time.monotonic()
        assert driver.gpus() == ()
        assert time.monotonic() - begun < 5
        assert driver.mute
        begun = time.monotonic()
        assert driver.gpus() == ()
        assert time.monotonic() - begun < 0.1


def test_a_driver_that_hangs_later_is_found_out_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "NVML_SECONDS", 0.5)
    hangs = "def nvmlDeviceGetHandleByUUID(uuid): time.sleep(600)"
    for driver in with_module(tmp_path, f"{STAND_IN}\n{hangs}\n"):
        (first, _) = driver.gpus()
        begun = time.monotonic()
        assert driver.use(first) is None
        assert time.monotonic() - begun < 5
        assert driver.mute


def test_the_process_that_asks_ends_when_the_node_does(driver: Nvml) -> None:
    driver.gpus()
    process = driver._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0


def test_without_the_driver_nothing_is_started(tmp_path: Path) -> None:
    driver = Nvml(["/nonexistent"], tmp_path / "nvidiactl")
    assert driver.gpus() == ()
    assert not driver.mute


def amd_tree(root: Path) -> Amd:
    """A machine with one processor and one GPU, as the kernel's documentation lays them out."""
    files = {
        "sys/class/kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 16\nsimd_count 0\ndrm_render_minor 0\n",
        "sys/class/kfd/kfd/topology/nodes/1/properties": "simd_count 416\ndrm_render_minor 128\nunique_id 255\n",
        "sys/class/kfd/kfd/topology/nodes/1/gpu_id": "51000\n",
        "sys/class/kfd/kfd/topology/nodes/1/name": "gfx90a\n",
        "sys/class/kfd/kfd/proc/812/vram_51000": "4096\n",
        "sys/class/kfd/kfd/proc/813/vram_51000": "0\n",
        "sys/class/drm/renderD128/device/mem_info_vram_total": "68702699520\n",
        "sys/class/drm/renderD128/device/mem_info_vram_used": "10000000\n",
        "sys/class/drm/renderD128/device/gpu_busy_percent": "3\n",
        "sys/class/drm/renderD128/device/hwmon/hwmon4/temp1_input": "41000\n",
        "sys/module/amdgpu/version": "6.12.12\n",
        "dev/kfd": "",
        "dev/dri/renderD128": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Amd(root)


def test_amds_gpus_are_read_from_what_the_kernel_shows(tmp_path: Path) -> None:
    driver = amd_tree(tmp_path)
    (gpu,) = driver.gpus()
    assert (gpu.name, gpu.vendor, gpu.memory_bytes, gpu.driver) == ("gfx90a", "amd", 68702699520, "6.12.12")
    assert (gpu.uuid, gpu.device_files) == ("GPU-00000000000000ff", ("/dev/kfd", "/dev/dri/renderD128"))
    assert gpu.problem == ""
    use = driver.use(gpu)
    assert use is not None
    assert (use.memory_free, use.processes, use.busy_percent, use.celsius) == (68692699520, {812: 4096}, 3, 41)


def test_an_amd_gpu_without_its_device_files_is_named_with_its_problem(tmp_path: Path) -> None:
    driver = amd_tree(tmp_path)
    (tmp_path / "dev/kfd").unlink()
    (gpu,) = driver.gpus()
    assert gpu.problem == "its device files are not here: /dev/kfd"
    assert Amd(tmp_path / "elsewhere").gpus() == ()


GPUS = tuple(Gpu(n, f"gpu {n}", 1 << 34, "nvidia", f"GPU-{n}", "580", (f"/dev/nvidia{n}",)) for n in range(3))


def test_the_settings_say_which_gpus_runs_may_use(tmp_path: Path) -> None:
    assert usable(GPUS, config(tmp_path), "2.13.0+cu130") == (GPUS, ())
    none, reasons = usable(GPUS, config(tmp_path, False), "2.13.0+cu130")
    assert none == ()
    assert len(reasons) == 3
    assert "gpu = false" in reasons[0]
    some, reasons = usable(GPUS, config(tmp_path, [0, 2]), "2.13.0+cu130")
    assert some == (GPUS[0], GPUS[2])
    assert reasons == ("gpu 1: [research] gpu = [0, 2] in swarm.toml leaves out number 1",)


@pytest.mark.parametrize(
    ("build", "vendor"), [("2.13.0+cpu", ""), ("2.13.0+cu130", "nvidia"), ("2.13.0", "nvidia"), ("2.13.0+rocm7", "amd")]
)
def test_a_gpu_is_of_use_only_to_a_torch_that_is_built_for_it(tmp_path: Path, build: str, vendor: str) -> None:
    (amd,) = amd_tree(tmp_path).gpus()
    found, reasons = usable((GPUS[0], amd), config(tmp_path), build)
    assert [gpu.vendor for gpu in found] == [vendor] * bool(vendor)
    assert all(build in reason and "install one for" in reason for reason in reasons)


def test_a_gpu_with_a_problem_is_refused_for_it(tmp_path: Path, driver: Nvml) -> None:
    found, reasons = usable(driver.gpus()[:1], config(tmp_path), "2.13.0+cu130")
    assert found == ()
    assert reasons == ("NVIDIA H200: its device files are not here: /dev/nvidiactl, /dev/nvidia-uvm, /dev/nvidia0",)

"""What this machine is, and when it may be used."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from node.platform import hardware
from node.platform.gpus import Gpu
from node.platform.hardware import Hardware, bearable_runs, device_kind, measure

GPU = Gpu(0, "a gpu", 1 << 34, "nvidia", "GPU-1", "580", ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0"))


def test_this_machine_is_measured() -> None:
    machine = measure()
    assert 0 < len(machine.device) <= 80
    assert machine.device.isprintable()
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert 1 << 28 < machine.memory_bytes <= psutil.virtual_memory().total


def test_cores_are_those_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert measure().cores == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("cpuinfo", "wide"),
    [
        ({"flags": " fpu sse avx avx2"}, "avx2"),
        ({"flags": " fpu avx2 avx512f"}, "avx512f"),
        ({"Features": " fp asimd sve"}, "sve"),
        ({"Features": " fp asimd"}, "plain"),
        ({}, "plain"),
    ],
)
def test_a_platform_names_the_vector_instructions_of_its_architecture(
    cpuinfo: dict[str, str], wide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_cpuinfo", lambda label: cpuinfo.get(label, ""))
    assert hardware.platform_name().split()[-2] == wide


def test_a_laptop_makes_one_run_at_a_time_and_a_server_several() -> None:
    gib = 1 << 30
    assert bearable_runs(Hardware("a processor", 2, gib, ()), 1, 3 * gib) == 1
    assert bearable_runs(Hardware("a processor", 8, 8 * gib, ()), 1, 3 * gib) == 2
    assert bearable_runs(Hardware("a processor", 256, 512 * gib, ()), 1, 3 * gib) == 16
    assert bearable_runs(Hardware("a processor", 64, 8 * gib, ()), 1, 3 * gib) == 2, "memory is short"
    assert bearable_runs(Hardware("a processor", 64, 64 * gib, ()), 1, 30 * gib) == 2, "a run may use much"
    assert bearable_runs(Hardware("a processor", 64, 64 * gib, ()), 8, gib) == 2, "a run has many threads"


def test_a_container_has_its_share_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = tmp_path / "cpu.max"
    monkeypatch.setattr("node.platform.hardware.CONTAINER_CORES", share)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)))
    share.write_text("150000 100000\n")
    assert measure().cores == 2
    share.write_text("max 100000\n")
    assert measure().cores == 64


def test_runs_train_on_a_gpu_only_where_there_is_one() -> None:
    laptop = Hardware("a processor", 4, 1 << 33, ())
    server = Hardware("a processor", 4, 1 << 33, (GPU,))
    assert device_kind(laptop) == device_kind(server) == "cpu"
    assert device_kind(server, "gpu") == "gpu"
    assert device_kind(laptop, "gpu") == "cpu"

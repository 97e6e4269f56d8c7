"""A GPU that others use is left to them, and the node's own runs are no others.

The driver is a stand-in; the processes are real, and the device they have open is one that every machine has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.app import gpu_manners
from node.app.availability import Availability
from node.app.gpu_manners import QUIET_SECONDS, GpuManners
from node.platform.config import load_config
from node.platform.gpus import Gpu, GpuUse
from node.platform.home import Home

HOLD = "import sys, time; held = open(sys.argv[1]); print(flush=True); time.sleep(60)"
FULL, ZERO = "/dev/full", "/dev/zero"  # stand for two GPUs' device files
MEMORY = 10 << 30
UNKNOWN = 2**22 + 5  # above the highest pid that Linux gives


def gpu(number: int, device: str) -> Gpu:
    return Gpu(number, f"gpu {number}", MEMORY, "nvidia", f"GPU-{number}", "580", ("/dev/null", device))


class Driver:
    """Says of each GPU what the test says; at first that nobody uses it."""

    def __init__(self) -> None:
        self.uses: dict[int, GpuUse | None] = {}

    def gpus(self) -> tuple[Gpu, ...]:
        return ()

    def use(self, gpu: Gpu) -> GpuUse | None:
        return self.uses.get(gpu.index, GpuUse(MEMORY, MEMORY, {}, 0, 40))

    def by(self, *pids: int, free: int = MEMORY, celsius: int | None = 40, index: int = 0) -> None:
        self.uses[index] = GpuUse(free, MEMORY, dict.fromkeys(pids, 0), 50, celsius)


Holder = Callable[[str, bool], int]


@pytest.fixture
def hold() -> Iterator[Holder]:
    """Starts a process that has a device file open: as a child of this one, or of nobody here. Returns its pid."""
    started = []

    def start(device: str, ours: bool) -> int:
        if ours:
            process = subprocess.Popen([sys.executable, "-c", HOLD, device], stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            started.append(process.pid)
            return process.pid
        # It is handed to the init, as one is that this process has nothing to do with.
        made = subprocess.run(
            ["/bin/sh", "-c", f'setsid {sys.executable} -c "{HOLD}" {device} > "$0" 2>&1 & echo $!', "/dev/null"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        started.append(int(made.stdout))
        while not gpu_manners._opened(started[-1], gpu(0, device)):
            pass
        return started[-1]

    yield start
    for pid in started:
        os.kill(pid, 9)
    for pid in started:  # until then it may still count, in the next test
        while any(gpu_manners._opened(pid, gpu(0, device)) for device in (FULL, ZERO)):
            time.sleep(0.01)


@pytest.fixture
def driver() -> Driver:
    return Driver()


def manners(folder: Path, driver: Driver, toml: str = "", count: int = 1) -> GpuManners:
    (folder / "swarm.toml").write_text(f"[manners]\n{toml}\n")
    config = load_config(folder / "swarm.toml", {"home": str(folder / "home")})
    return GpuManners(config, tuple(gpu(n, device) for n, device in enumerate((FULL, ZERO)[:count])), driver)


def test_a_gpu_that_nobody_uses_may_be_used(tmp_path: Path, driver: Driver) -> None:
    assert manners(tmp_path, driver).reason_not_to_work() is None


def test_a_gpu_on_which_another_program_computes_is_left_to_it(tmp_path: Path, driver: Driver, hold: Holder) -> None:
    other = hold(FULL, False)
    driver.by(other)
    reason = manners(tmp_path, driver).reason_not_to_work() or ""
    assert reason.startswith(f"gpu 0 is used by process {other}, python")
    assert "gpu_others in swarm.toml" in reason
    assert manners(tmp_path, driver, "gpu_others = true").reason_not_to_work() is None


def test_the_nodes_own_runs_are_no_others(tmp_path: Path, driver: Driver, hold: Holder) -> None:
    driver.by(hold(FULL, True))
    assert manners(tmp_path, driver).reason_not_to_work() is None


def test_another_program_beside_a_run_of_ours_is_seen(tmp_path: Path, driver: Driver, hold: Holder) -> None:
    ours, other = hold(FULL, True), hold(FULL, False)
    driver.by(ours, other)
    assert f"process {other}" in (manners(tmp_path, driver).reason_not_to_work() or "")


def test_a_process_that_has_just_ended_is_nobody(tmp_path: Path, driver: Driver, hold: Holder) -> None:
    driver.by(UNKNOWN, hold(ZERO, False))
    assert manners(tmp_path, driver).reason_not_to_work() is None


def test_in_a_container_a_number_from_outside_is_taken_for_ours_while_we_have_the_gpu(
    tmp_path: Path, driver: Driver, hold: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_manners, "_FIRST_PID_NAMESPACE", "another one")
    known = hold(ZERO, False)  # here it is another process than the driver means, without the GPU
    driver.by(UNKNOWN, known)
    assert f"process {known}" in (manners(tmp_path, driver).reason_not_to_work() or "")
    hold(FULL, True)
    assert manners(tmp_path, driver).reason_not_to_work() is None


def test_with_a_second_gpu_free_work_goes_on_there(tmp_path: Path, driver: Driver, hold: Holder) -> None:
    driver.by(hold(FULL, False))
    asked = manners(tmp_path, driver, count=2)
    assert asked.reason_not_to_work() is None
    hold(FULL, True)
    assert "gpu 0" in (asked.reason_not_to_work() or ""), "a run of ours is on the one that is needed"


def test_a_full_gpu_is_not_begun_on(tmp_path: Path, driver: Driver, hold: Holder) -> None:
    driver.by(free=100 << 20)
    assert manners(tmp_path, driver).reason_not_to_work() == (
        "gpu 0 has 100 MiB free, less than gpu_free_mb in swarm.toml"
    )
    assert manners(tmp_path, driver, "gpu_free_mb = 100").reason_not_to_work() is None
    hold(FULL, True)
    assert manners(tmp_path, driver).reason_not_to_work() is None, "it is our run that fills it"


def test_a_hot_gpu_is_left_to_cool(tmp_path: Path, driver: Driver) -> None:
    driver.by(celsius=91)
    assert manners(tmp_path, driver).reason_not_to_work() is None
    hot = manners(tmp_path, driver, "gpu_max_celsius = 85")
    assert hot.reason_not_to_work() == "gpu 0 has 91 °C, more than gpu_max_celsius in swarm.toml"


def test_a_reason_holds_for_some_seconds(tmp_path: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(gpu_manners.time, "monotonic", lambda: now[0])
    asked = manners(tmp_path, driver, "gpu_max_celsius = 85")
    driver.by(celsius=91)
    assert asked.reason_not_to_work()
    driver.by(celsius=60)
    now[0] += QUIET_SECONDS - 1
    assert asked.reason_not_to_work()
    now[0] += 1
    assert asked.reason_not_to_work() is None


def test_a_driver_that_does_not_answer_is_no_reason(tmp_path: Path, driver: Driver) -> None:
    driver.uses[0] = None
    assert manners(tmp_path, driver).reason_not_to_work() is None


def test_it_is_one_of_the_reasons_for_which_a_node_pauses(tmp_path: Path, driver: Driver, hold: Holder) -> None:
    driver.by(hold(FULL, False))
    asked = manners(tmp_path, driver)
    home = Home(tmp_path / "home")
    home.make()
    assert "gpu_others" in (Availability(asked.config, home, asked).reason_not_to_work() or "")

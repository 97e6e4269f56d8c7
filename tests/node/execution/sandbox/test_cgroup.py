"""Where control groups can be made no process escapes the meter; elsewhere what pays by CPU time cannot fork."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import trio

from node.execution.sandbox import cgroup
from node.execution.sandbox.cgroup import Cgroup
from node.execution.sandbox.forks import ForkServer
from node.execution.sandbox.layers import Layers, tier
from node.execution.sandbox.process import SandboxedProcess, run_once
from tests.node.execution.sandbox.conftest import PolicyMaker, python

ROOT = Path(__file__).parents[4]
# Children that end between two looks at /proc, of a parent that ignores SIGCHLD: their time is in no account there.
HIDES = """if True:
    import os, signal, time
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(100):
        ours, theirs = os.pipe()
        if os.fork() == 0:
            while time.process_time() < 0.01: pass
            os._exit(0)
        os.close(theirs)
        os.read(ours, 1)
        os.close(ours)
"""
HIDDEN_SECONDS = 1.0
REFUSED = "PermissionError: [Errno 1] Operation not permitted"


@pytest.fixture(scope="session")
def place() -> str | None:
    """Where this machine lets us make groups; None where it does not."""
    return cgroup.find()


def runs(pid: int) -> bool:
    """Whether a process is alive: one that nobody has waited for yet is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends(pid: int, seconds: float = 5.0) -> bool:
    """Whether a killed process ends: the kernel takes it out of its group a moment before it is one that has ended."""
    deadline = time.monotonic() + seconds
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not runs(pid)


def is_for_others(place: str | None) -> bool:
    """Whether no group can be made here; then it is shown that none was given to us."""
    if place is not None:
        return False
    own = cgroup.own_group()
    assert own is None or not os.access(f"{own}/cgroup.procs", os.W_OK) or not os.access(own, os.W_OK)
    return True


async def test_cpu_time_cannot_be_hidden(layers: Layers, policy: PolicyMaker, place: str | None) -> None:
    counted = layers.cgroup is not None and tier(layers) in ("bwrap", "unshare")
    assert (layers.cgroup is None) == (place is None)
    end = await run_once(python(HIDES), policy(wall_seconds=120, processes="any" if counted else "threads"), layers)
    if counted:
        assert end.code == 0
        assert end.cpu_seconds >= HIDDEN_SECONDS
    else:
        assert end.log_tail.splitlines()[-1] == REFUSED


async def test_what_ends_over_the_limit_of_cpu_time_is_ended_with_all_it_hid(
    layers: Layers, policy: PolicyMaker, place: str | None
) -> None:
    if is_for_others(place) or tier(layers) == "inproc":
        return
    end = await run_once(
        python(HIDES.replace("range(100)", "range(10_000)")), policy(wall_seconds=120, cpu_seconds=0.5), layers
    )
    assert end.reason == "cpu"
    assert end.cpu_seconds < 5


async def test_a_program_is_in_a_group_of_its_own_that_goes_with_it(
    layers: Layers, policy: PolicyMaker, place: str | None
) -> None:
    if is_for_others(place):
        return
    process = SandboxedProcess.start(python("import time; time.sleep(60)"), policy(), layers)
    group = process._cgroup
    assert group is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        with trio.fail_after(10):
            while process.pid not in group.processes():
                await trio.sleep(0.01)
        process.kill()
    assert not group.path.exists()
    assert group.cpu_seconds() == 0.0


async def test_a_program_sees_no_control_groups(layers: Layers, policy: PolicyMaker, place: str | None) -> None:
    code = f"""if True:
        import os
        paths = ["/proc/self/cgroup", "/proc/self/mountinfo", "/sys/fs/cgroup", {(place or "/sys/fs/cgroup")!r}]
        for path in paths + [os.path.join(path, "cgroup.procs") for path in paths[2:]]:
            for attempt in (open, os.listdir, lambda path: open(path, "w"), lambda path: os.mkdir(path + "/inside")):
                try:
                    attempt(path)
                    print("could", path, attempt)
                except OSError:
                    pass
    """
    end = await run_once(python(code), policy(), layers)
    assert (end.code, end.log_tail) == (0, "")


async def test_without_a_sandbox_what_left_its_session_is_ended_and_counted(
    layers: Layers, policy: PolicyMaker, place: str | None, tmp_path: Path
) -> None:
    if is_for_others(place):
        return
    unsafe = dataclasses.replace(layers, bwrap=False, unshare=False, inproc=False, unsafe=True)
    told = tmp_path / "pid"
    code = f"""if True:
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open({str(told)!r}, "w").write(str(os.getpid()))
                while True: pass
            os._exit(0)
        while not os.path.exists({str(told)!r}) or not open({str(told)!r}).read(): time.sleep(0.01)
        time.sleep(0.5)
    """
    end = await run_once(python(code), policy(), unsafe)
    assert end.code == 0
    assert ends(int(told.read_text()))


LEAVES_A_GROUP = """
import subprocess, sys, time
from node.execution.sandbox.cgroup import Cgroup
group = Cgroup.make(sys.argv[1])
inside = subprocess.Popen(group.entering(["/bin/sleep", "600"]))
print(group.path, inside.pid, flush=True)
time.sleep(600)
"""


def test_groups_of_a_killed_node_are_removed_and_those_in_use_are_not(place: str | None) -> None:
    if is_for_others(place):
        return
    assert place is not None
    command = [sys.executable, "-c", LEAVES_A_GROUP, place]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert killed.stdout is not None
    path, pid = killed.stdout.readline().split()
    ours = Cgroup.make(place)
    stranger = Path(place) / f"somebody-{os.getpid()}"
    stranger.mkdir()
    try:
        cgroup.remove_left_over(place)
        assert Path(path).exists(), "its maker lives"
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        cgroup.remove_left_over(place)
        assert not Path(path).exists()
        assert ends(int(pid))
        assert ours.path.exists()
        assert stranger.exists()
    finally:
        ours.remove()
        stranger.rmdir()
        killed.stdout.close()
    assert not ours.path.exists()


async def test_a_program_does_not_start_outside_its_group(
    layers: Layers, policy: PolicyMaker, place: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_for_others(place):
        return
    monkeypatch.setattr(cgroup, "_ENTER", 'echo nothing > "$0" && exec "$@"')
    end = await run_once(python("print('it ran')"), policy(), layers)
    assert end.code not in (0, None)
    assert "it ran" not in end.log_tail


# ---- forks of a fork server ------------------------------------------------------------------------------------------


async def test_a_fork_may_fork_where_all_is_counted_and_nowhere_else(
    layers: Layers, policy: PolicyMaker, tmp_path: Path
) -> None:
    (tmp_path / "preload.py").write_text("import os, signal, time")
    (tmp_path / "program.py").write_text(HIDES + "    if os.fork() == 0: time.sleep(600)\n")
    for groups in (layers, dataclasses.replace(layers, cgroup=None)):
        server = ForkServer.start(tmp_path / "preload.py", [tmp_path / "program.py"], policy(), groups)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.supervise)
            if server.may_fork_again:
                assert groups.cgroup is not None
                for _ in range(2):  # what the first left behind does not keep the second from anything
                    fork = await server.fork("program", [], [], policy(wall_seconds=120, processes="any"))
                    fork.start_clock()
                    await fork.supervise()
                    assert fork.outcome is not None
                    assert (fork.outcome.reason, fork.outcome.code) == ("exit", 0)
                    assert fork.outcome.cpu_seconds >= HIDDEN_SECONDS
            else:
                with pytest.raises(ValueError, match="no processes here"):
                    await server.fork("program", [], [], policy(processes="any"))
            nursery.cancel_scope.cancel()

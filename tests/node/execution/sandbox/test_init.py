"""In every tier a program ends as it would outside; the init of its namespace can be neither ended nor looked into."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from node.execution.sandbox.layers import Layers
from node.execution.sandbox.process import SandboxedProcess, run_once
from node.execution.sandbox.tree import children, descendants
from tests.node.execution.sandbox.conftest import PolicyMaker, python

SECONDS = 5.0
WAYS_TO_DIE = {
    "os.kill(os.getpid(), signal.SIGTERM)": signal.SIGTERM,
    "signal.raise_signal(signal.SIGUSR1)": signal.SIGUSR1,
    "signal.setitimer(signal.ITIMER_REAL, 0.05); signal.pause()": signal.SIGALRM,
    "os.abort()": signal.SIGABRT,
    "os.kill(os.getpid(), signal.SIGSEGV)": signal.SIGSEGV,
}


@pytest.mark.parametrize("how", WAYS_TO_DIE)
async def test_a_signal_to_itself_ends_a_program(layers: Layers, policy: PolicyMaker, how: str) -> None:
    outcome = await run_once(python(f"import os, signal; {how}"), policy(wall_seconds=SECONDS), layers)
    assert (outcome.reason, outcome.code, outcome.signal) == ("exit", None, WAYS_TO_DIE[how])
    assert outcome.log_tail == ""


async def test_a_programs_process_group_is_its_own(namespaced: Layers, policy: PolicyMaker) -> None:
    outcome = await run_once(python("import os, signal; os.kill(0, signal.SIGHUP)"), policy(), namespaced)
    assert (outcome.reason, outcome.code, outcome.signal) == ("exit", None, signal.SIGHUP)


async def test_a_signal_that_the_node_ignores_is_not_ignored_inside(layers: Layers, policy: PolicyMaker) -> None:
    """As SIGHUP is where the node was started by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        outcome = await run_once(python("import signal; print(signal.getsignal(signal.SIGHUP))"), policy(), layers)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert outcome.log_tail == "0"


async def test_a_program_that_kills_itself_is_reported_as_killed(layers: Layers, policy: PolicyMaker) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    outcome = await run_once(python(code), policy(wall_seconds=SECONDS), layers)
    assert (outcome.reason, outcome.code, outcome.signal) == ("killed", None, signal.SIGKILL)


@pytest.mark.parametrize("code", [0, 1, 120, 128, 200, 255])
async def test_the_exit_status_is_kept(layers: Layers, policy: PolicyMaker, code: int) -> None:
    outcome = await run_once(python(f"import os; os._exit({code})"), policy(), layers)
    assert (outcome.reason, outcome.code, outcome.signal) == ("exit", code, None)


ORPHANS = """if True:
    import os, time
    for _ in range(20):
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(0.05)  # its parent is gone by then
            os._exit(0)
        os.wait()
    try:
        os.wait()
    except ChildProcessError:
        print("not mine", flush=True)
    time.sleep(60)
"""


async def test_orphans_are_reaped_and_not_by_the_program(namespaced: Layers, policy: PolicyMaker) -> None:
    process = SandboxedProcess.start(python(ORPHANS), policy(), namespaced)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        with trio.fail_after(SECONDS):
            while process.log_tail() != "not mine":
                await trio.sleep(0.01)
            while len(descendants(process.pid)) > 3:  # unshare or bwrap, init, program; zombies would be listed too
                await trio.sleep(0.01)
        process.kill()


ATTACK = """if True:
    import os, signal, sys, time
    assert os.getpid() != 1
    reached = []
    for name in ("cmdline", "environ", "fd", "maps", "mem", "root", "status"):
        try:
            os.listdir("/proc/1/" + name) if name in ("fd", "root") else open("/proc/1/" + name, "rb").read(1)
            reached.append(name)
        except OSError:
            pass
    for number in signal.valid_signals():
        try:
            os.kill(1, number)
        except OSError:
            pass
    time.sleep(0.2)
    print("alive, having read", reached)
    sys.exit(7)
"""


async def test_the_init_can_be_neither_ended_nor_looked_into(namespaced: Layers, policy: PolicyMaker) -> None:
    outcome = await run_once(python(ATTACK), policy(), namespaced)
    assert (outcome.reason, outcome.code, outcome.log_tail) == ("exit", 7, "alive, having read []")


HOLDS = "import os, time; os.fork(); os.write({}, b'r'); time.sleep(60)"


async def test_killing_the_init_kills_everything(namespaced: Layers, policy: PolicyMaker) -> None:
    ours, theirs = os.pipe()
    process = SandboxedProcess.start(python(HOLDS.format(theirs)), policy(), namespaced, keep=(theirs,))
    os.close(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        await trio.lowlevel.wait_readable(ours)
        (init,) = children(process.pid)
        os.kill(init, signal.SIGKILL)
    assert process.outcome is not None
    assert (process.outcome.reason, process.outcome.log_tail) == ("killed", "")
    assert os.read(ours, 3).strip(b"r") == b""
    assert os.read(ours, 1) == b""  # no process is left that could write
    os.close(ours)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may see what an init has open")
async def test_the_init_holds_none_of_the_programs_descriptors(namespaced: Layers, policy: PolicyMaker) -> None:
    ours, theirs = os.pipe()
    process = SandboxedProcess.start(python(HOLDS.format(theirs)), policy(), namespaced, keep=(theirs,))
    os.close(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        await trio.lowlevel.wait_readable(ours)
        (init,) = children(process.pid)
        held = {os.readlink(entry) for entry in Path(f"/proc/{init}/fd").iterdir()}
        capabilities = [line for line in Path(f"/proc/{init}/status").read_text().splitlines() if "CapEff" in line]
        process.kill()
    assert f"pipe:[{os.fstat(ours).st_ino}]" not in held  # both ends of a pipe have this name
    assert int(capabilities[0].split()[1], 16) == 0
    os.close(ours)

"""Nothing of a sandboxed program outlives it, nor outlives the node, however the node ends.

Every process of a tree holds the write end of a pipe: the pipe reads empty when, and only when, all of them are dead.
"""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from node.execution.sandbox.layers import Layers
from node.execution.sandbox.process import SandboxedProcess, run_once
from tests.node.execution.sandbox.conftest import PolicyMaker, python

ROOT = Path(__file__).parents[4]
SECONDS = 2.0

DAEMON = """if True:
    import os, time
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
    except PermissionError:
        pass
    print("ends")
"""

NODE = """if True:
    import sys, trio
    from node.execution.sandbox.process import SandboxedProcess
    from node.execution.sandbox.layers import Layers
    from node.execution.sandbox.policy import Policy
    layers, pipe, program = eval(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    policy = Policy(wall_seconds=60, cpu_seconds=60, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 20)
    process = SandboxedProcess.start([sys.executable, "-I", "-c", program], policy, layers, keep=(pipe,))
    print(process.pid, flush=True)
    trio.run(process.supervise)
"""


def all_dead(pipe: int, seconds: float) -> bool:
    readable, _, _ = select.select([pipe], [], [], seconds)
    return bool(readable) and os.read(pipe, 1) == b""


async def test_a_daemon_dies_with_the_program_that_made_it(layers: Layers, policy: PolicyMaker) -> None:
    ours, theirs = os.pipe()
    box_done = trio.Event()

    async def run() -> None:
        outcome = await run_once(python(DAEMON), policy(), layers, keep=(theirs,))
        assert outcome.reason == "exit"
        box_done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(10):
            await box_done.wait()
    os.close(theirs)
    assert all_dead(ours, 0)
    os.close(ours)


PARENT = """if True:
    import subprocess, sys, time
    time.sleep(0.2)
    subprocess.Popen(["/bin/sh", "-c", "sleep 60; true"])
    print("has a child", flush=True)
    {}
"""


@pytest.mark.parametrize("last", ["time.sleep(60)", "sys.exit()"])
@pytest.mark.parametrize("frozen", [False, True])
async def test_without_namespaces_what_a_program_started_is_ended_too(
    machine: Layers, policy: PolicyMaker, frozen: bool, last: str
) -> None:
    bare = dataclasses.replace(machine, bwrap=False, unshare=False, inproc=False, unsafe=True)
    ours, theirs = os.pipe()
    program = PARENT.format(last).replace("Popen(", f"Popen(pass_fds=[{theirs}], args=")
    process = SandboxedProcess.start([sys.executable, "-c", program], policy(), bare, keep=(theirs,))
    os.close(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        with trio.fail_after(10):
            while "has a child" not in process.log_tail():
                await trio.sleep(0.01)
        if frozen:
            process.freeze()
        process.kill()
    assert all_dead(ours, SECONDS)
    os.close(ours)


def kill_the_node(layers: Layers, program: str, *, ready: bool) -> bool:
    """Whether all of the program is dead soon after a kill -9 of the node that runs it."""
    ours, theirs = os.pipe()
    argv = [sys.executable, "-c", NODE, repr(layers), str(theirs), program.replace("PIPE", str(theirs))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=(theirs,), cwd=ROOT) as node:
        os.close(theirs)
        assert node.stdout is not None
        assert int(node.stdout.readline()) > 0
        if ready:
            assert os.read(ours, 1) == b"r"
        node.send_signal(signal.SIGKILL)
    dead = all_dead(ours, SECONDS)
    os.close(ours)
    return dead


def test_a_kill_9_of_the_node_leaves_nothing(layers: Layers) -> None:
    program = "import os, time; os.write(PIPE, b'r'); time.sleep(60)"
    assert kill_the_node(layers, program, ready=True)


def test_a_kill_9_of_the_node_leaves_no_daemon(namespaced: Layers) -> None:
    program = "import os, time; (os.fork() or os.setsid() or os.fork()) or os.write(PIPE, b'r'); time.sleep(60)"
    assert kill_the_node(namespaced, program, ready=True)


def test_a_kill_9_of_the_node_while_the_sandbox_is_set_up_leaves_nothing(layers: Layers) -> None:
    assert kill_the_node(layers, "import time; time.sleep(60)", ready=False)

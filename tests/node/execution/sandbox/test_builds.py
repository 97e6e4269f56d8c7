"""A program that makes and starts others may do so in a folder of its own, and all it started ends with it."""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import SandboxedProcess, run_once
from node.execution.sandbox.tree import descendants
from tests.node.execution.sandbox.conftest import PolicyMaker, only, python
from tests.node.execution.sandbox.raid import SUCCEEDED, raid
from tests.node.execution.sandbox.test_confinement import names
from tests.node.execution.sandbox.tiers import TIERS

ROOT = Path(__file__).parents[4]
DAEMON = "(setsid sleep 60 &); (trap '' TERM HUP; sleep 60; true) & "

NODE = """if True:
    import sys, trio
    from pathlib import Path
    from node.execution.sandbox.process import SandboxedProcess
    from node.execution.sandbox.layers import Layers
    from node.execution.sandbox.policy import Policy
    layers, pipe, shell, scratch = eval(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    policy = Policy(wall_seconds=60, cpu_seconds=60, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 20,
                    writable=scratch, writable_bytes=1 << 20, builds=True)
    process = SandboxedProcess.start(["/bin/bash", "-c", shell], policy, layers, keep=(pipe,))
    process.start_clock()
    print(process.pid, flush=True)
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.supervise)
            while "started" not in process.log_tail():
                await trio.sleep(0.01)
            if sys.argv[5] == "frozen":
                process.freeze()
            print("started", flush=True)
    trio.run(main)
"""


# In tier inproc a program makes processes only as a user of its own, so the node must be root.
@pytest.fixture(params=TIERS if os.geteuid() == 0 else TIERS[:2])
def layers(request: pytest.FixtureRequest) -> Layers:
    return only(request.param)


@pytest.fixture
def builder(policy: PolicyMaker, scratch: Path) -> Policy:
    return policy(writable=scratch, writable_bytes=1 << 24, builds=True)


def bash(shell: str) -> list[str]:
    return ["/bin/bash", "-c", shell]


def all_dead(pipe: int, seconds: float) -> bool:
    readable, _, _ = select.select([pipe], [], [], seconds)
    return bool(readable) and os.read(pipe, 1) == b""


async def test_what_it_made_can_be_executed_and_changed(layers: Layers, builder: Policy, scratch: Path) -> None:
    shell = "printf '#!/bin/sh\\necho made' > a; chmod 755 a; ln -s a b; touch -d @0 a; ./b"
    outcome = await run_once(bash(shell), builder, layers)
    assert (outcome.code, outcome.log_tail) == (0, "made")
    assert (stat.S_IMODE((scratch / "a").stat().st_mode), (scratch / "a").stat().st_mtime) == (0o755, 0)


async def test_nothing_outside_can_be_changed(layers: Layers, builder: Policy, tmp_path: Path) -> None:
    where = tmp_path / "outside"
    where.touch()
    where.chmod(0o777)
    os.utime(where, (5, 5))
    shell = f"chmod 700 {where} || touch -d @0 {where} || ln -s x {tmp_path}/x || ln {where} y || exit 3"
    assert (await run_once(bash(shell), builder, layers)).code == 3
    assert (stat.S_IMODE(where.stat().st_mode), where.stat().st_mtime) == (0o777, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "scratch"]


async def test_it_cannot_make_a_program_that_runs_as_another_user(layers: Layers, builder: Policy) -> None:
    shell = "cp /bin/true a; chmod u+s a || chmod g+s a || chmod 6755 a || chmod 755 a && echo only this"
    assert (await run_once(bash(shell), builder, layers)).log_tail.endswith("only this")


# What another user may do who can write to a file, no mount and no rule forbids: to say that it was changed now. And
# without a PID namespace a program that makes processes can ask what any process has set and used.
KNOWN = {
    "bwrap": set[str](),
    "unshare": set[str](),
    "inproc": {"change a secret's times", "read the node's CPU clock", "ask for the node's process group"},
}


@pytest.mark.sockets
def test_nothing_hostile_succeeds_that_is_not_known_to(layers: Layers, tmp_path: Path) -> None:
    found = raid(layers, tmp_path, builds=True)
    done = {name for name in names("ATTEMPTS") if found.results[name] == SUCCEEDED}
    tier = next(name for name in TIERS if getattr(layers, name))
    assert done <= KNOWN[tier]
    assert found.secret.read_text() == "the hidden split"
    assert found.bystander_stopped


async def test_local_sockets_are_there_only_where_no_other_s_are_seen(layers: Layers, builder: Policy) -> None:
    code = """if True:
        import socket
        try:
            socket.socket(socket.AF_INET)
        except PermissionError:
            print("no network")
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind("here")
            server.listen()
            client.connect("here")
            print("connected")
    """
    outcome = await run_once(python(code), builder, layers)
    assert outcome.log_tail.startswith("no network")
    assert ("connected" in outcome.log_tail) == (outcome.tier == "bwrap")


async def test_it_starts_in_its_folder_and_leaves_locked_files_as_they_are(
    layers: Layers, policy: PolicyMaker, builder: Policy, scratch: Path
) -> None:
    for folder in (scratch / "work" / "in", scratch / "shm"):
        folder.mkdir(parents=True)
    for folder in (scratch / "work", scratch / "work" / "in", scratch / "shm"):
        folder.chmod(0o1777)
    locked = scratch / "work" / "in" / "locked"
    locked.write_text("as it was")
    limits = policy(
        writable=scratch, writable_bytes=1 << 20, builds=True, directory=scratch / "work", locked=(locked,),
        stand_ins={"/dev/shm": scratch / "shm"},
    )  # fmt: skip
    tries = "'echo x > in/locked' 'rm -f in/locked' 'mv in/locked y' 'mv in out'"
    shell = f"pwd; for it in {tries}; do eval $it && echo $it; done 2> /dev/null; echo x > new; echo y > in/new"
    outcome = await run_once(bash(shell), limits, layers)
    assert (outcome.log_tail, outcome.code) == (str(scratch / "work"), 0)
    assert (locked.read_text(), (scratch / "work/in/new").read_text()) == ("as it was", "y\n")
    if outcome.tier != "inproc":
        await run_once(bash("echo z > /dev/shm/file"), limits, layers)
        assert (scratch / "shm" / "file").read_text() == "z\n"


@pytest.mark.parametrize("last", ["exit 3", "kill -9 $$", "kill -9 -1; exit 3", "sleep 60"])
async def test_what_it_started_ends_with_it(last: str, layers: Layers, builder: Policy) -> None:
    ours, theirs = os.pipe()
    process = SandboxedProcess.start(bash(DAEMON + last), builder, layers, keep=(theirs,))
    process.start_clock(1.0 if last == "sleep 60" else 20.0)
    os.close(theirs)
    with trio.fail_after(30):
        await process.supervise()
    assert all_dead(ours, 0)
    os.close(ours)
    assert process.outcome is not None
    expected = {"kill -9 $$": ("killed", None), "sleep 60": ("time", None)}
    assert (process.outcome.reason, process.outcome.code) == expected.get(last, ("exit", 3))


async def test_a_frozen_one_stands_still_and_can_be_ended(layers: Layers, builder: Policy, scratch: Path) -> None:
    process = SandboxedProcess.start(
        bash(DAEMON + "(while true; do echo x >> file; sleep 0.01; done) & wait"), builder, layers
    )
    process.start_clock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        while not (scratch / "file").exists():
            await trio.sleep(0.01)
        process.freeze()
        size = (scratch / "file").stat().st_size
        await trio.sleep(0.3)
        assert (scratch / "file").stat().st_size == size
        process.thaw()
        with trio.fail_after(10):
            while (scratch / "file").stat().st_size == size:
                await trio.sleep(0.01)
        process.freeze()
        with trio.fail_after(2):
            process.kill()
            await process.dead()
    assert descendants(process.pid) == [process.pid]  # the list begins with the pid it was asked for


@pytest.mark.parametrize("state", ["running", "frozen"])
def test_nothing_outlives_a_node_that_is_killed(state: str, layers: Layers, builder: Policy, scratch: Path) -> None:
    ours, theirs = os.pipe()
    shell = DAEMON + "sleep 0.1; echo started; sleep 60"
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, repr(layers), str(theirs), shell, str(scratch), state],
        cwd=ROOT, pass_fds=(theirs,), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(theirs)
    assert node.stdout is not None
    assert int(node.stdout.readline()) > 0
    assert node.stdout.readline() == "started\n"
    node.send_signal(signal.SIGKILL)
    node.wait()
    assert all_dead(ours, 3)
    os.close(ours)
    node.stdout.close()


async def test_its_children_s_time_memory_and_number_count(layers: Layers, builder: Policy) -> None:
    code = """if True:
        import os, time
        held = b"x" * (50 << 20)
        child = os.fork()
        more = b"y" * (50 << 20)
        while time.process_time() < 0.5:
            pass
        if child:
            os.wait()
    """
    outcome = await run_once(python(code), builder, layers)
    assert outcome.code == 0, outcome
    assert outcome.cpu_seconds > 0.9
    assert outcome.peak_memory > 100 << 20

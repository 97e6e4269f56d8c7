"""A sandboxed process reports why it ended, what its program printed, and what it used."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import trio

from node.execution.sandbox.layers import Layers
from node.execution.sandbox.process import NoSandboxError, SandboxedProcess, run_once
from node.execution.sandbox.tree import descendants
from node.execution.sandbox.watch import poll_seconds
from tests.node.execution.sandbox.conftest import PolicyMaker, python

MEBIBYTE = 1 << 20


# Ends


async def test_a_program_that_ends_by_itself_is_reported_with_its_exit_code(
    layers: Layers, policy: PolicyMaker
) -> None:
    outcome = await run_once(python("raise SystemExit(7)"), policy(), layers)
    assert (outcome.reason, outcome.code, outcome.signal) == ("exit", 7, None)


async def test_a_program_that_crashes_is_reported_with_its_signal(layers: Layers, policy: PolicyMaker) -> None:
    outcome = await run_once(python("import ctypes; ctypes.string_at(8)"), policy(), layers)
    assert (outcome.reason, outcome.code, outcome.signal) == ("exit", None, signal.SIGSEGV)


async def test_wall_time_is_limited_from_the_start_of_the_clock(layers: Layers, policy: PolicyMaker) -> None:
    process = SandboxedProcess.start(python("import time; time.sleep(60)"), policy(wall_seconds=0.1), layers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        await trio.sleep(0.5)
        assert process.outcome is None  # a spare worker may wait without limit
        process.start_clock()
        with trio.fail_after(3):
            await process.dead()
    assert process.outcome is not None
    assert process.outcome.reason == "time"


async def test_a_program_that_stops_itself_still_meets_its_time_limit(layers: Layers, policy: PolicyMaker) -> None:
    code = "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGSTOP)"
    outcome = await run_once(python(code + "; import time; time.sleep(60)"), policy(wall_seconds=0.5), layers)
    assert outcome.reason == "time"


async def test_cpu_time_is_limited(layers: Layers, policy: PolicyMaker) -> None:
    outcome = await run_once(python("while True: pass"), policy(cpu_seconds=0.4), layers)
    assert outcome.reason == "cpu"
    assert 0.4 <= outcome.cpu_seconds < 3


async def test_memory_is_limited(layers: Layers, policy: PolicyMaker) -> None:
    code = "eaten = []\nwhile True: eaten.append(b'x' * (8 << 20))"
    outcome = await run_once(python(code), policy(memory_bytes=128 * MEBIBYTE), layers)
    assert outcome.reason == "memory"
    assert outcome.peak_memory > 128 * MEBIBYTE


async def test_threads_are_limited(layers: Layers, policy: PolicyMaker) -> None:
    code = """if True:
        import threading, time
        while True:
            try:
                threading.Thread(target=time.sleep, args=(60,)).start()
            except RuntimeError:
                time.sleep(60)
    """
    assert (await run_once(python(code), policy(tasks=8), layers)).reason == "tasks"


async def test_a_fork_bomb_is_ended(namespaced: Layers, policy: PolicyMaker) -> None:
    code = """if True:
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
    """
    assert (await run_once(python(code), policy(tasks=16), namespaced)).reason == "tasks"


async def test_without_a_pid_namespace_nothing_forks(inproc: Layers, policy: PolicyMaker) -> None:
    outcome = await run_once(python("import os; os.fork()"), policy(), inproc)
    assert "Operation not permitted" in outcome.log_tail


async def test_printing_is_limited_and_never_blocks_the_program(layers: Layers, policy: PolicyMaker) -> None:
    code = "import os\nwhile True: os.write(1, b'y' * 65536)"
    outcome = await run_once(python(code), policy(output_bytes=4 * MEBIBYTE), layers)
    assert outcome.reason == "output"
    assert len(outcome.log_tail) <= 4096
    quiet = "import sys; sys.stdout.write('z' * 1_000_000)"
    assert (await run_once(python(quiet), policy(output_bytes=4 * MEBIBYTE), layers)).code == 0


async def test_a_large_file_is_too_much_on_disk(layers: Layers, policy: PolicyMaker, scratch: Path) -> None:
    code = "import time\nf = open('big', 'wb')\nwhile f.write(b'x' * 65536): time.sleep(0.001)"
    limits = policy(writable=scratch, writable_bytes=MEBIBYTE)
    assert (await run_once(python(code), limits, layers)).reason == "disk"


async def test_many_empty_files_are_too_much_on_disk(layers: Layers, policy: PolicyMaker, scratch: Path) -> None:
    code = "import os\nfor n in range(10**6): os.close(os.open(str(n), os.O_CREAT))"
    limits = policy(writable=scratch, writable_bytes=MEBIBYTE)
    assert (await run_once(python(code), limits, layers)).reason == "disk"


async def test_a_writable_folder_that_somebody_removes_stops_nobody_from_watching(
    layers: Layers, policy: PolicyMaker, scratch: Path
) -> None:
    wide = policy(writable=scratch, writable_bytes=MEBIBYTE)
    process = SandboxedProcess.start(python("print('here'); import time; time.sleep(60)"), wide, layers)
    process.start_clock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        with trio.fail_after(30):
            while "here" not in process.log_tail():
                await trio.sleep(0.01)
        scratch.rmdir()
        await trio.sleep(0.3)
        assert process.outcome is None
        process.kill()
    assert process.outcome is not None
    assert process.outcome.reason == "killed"


async def test_the_node_can_read_what_a_program_left_in_its_writable_folder(
    layers: Layers, policy: PolicyMaker, scratch: Path
) -> None:
    code = "open('train.bin', 'wb').write(b'data')"
    outcome = await run_once(python(code), policy(writable=scratch, writable_bytes=MEBIBYTE), layers)
    assert outcome.code == 0
    assert (scratch / "train.bin").read_bytes() == b"data"


async def test_a_killed_process_is_reported_as_killed_and_is_dead(layers: Layers, policy: PolicyMaker) -> None:
    process = SandboxedProcess.start(python("import time; time.sleep(60)"), policy(), layers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        await trio.sleep(0.2)
        process.kill()
        with trio.fail_after(2):
            await process.dead()
        assert not Path(f"/proc/{process.pid}").exists()
    assert process.outcome is not None
    assert (process.outcome.reason, process.outcome.signal) == ("killed", signal.SIGKILL)


async def test_a_program_killed_from_outside_is_reported_as_killed(layers: Layers, policy: PolicyMaker) -> None:
    process = SandboxedProcess.start(python("print('working'); import time; time.sleep(60)"), policy(), layers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        while "working" not in process.log_tail():
            await trio.sleep(0.01)
        os.kill(descendants(process.pid)[-1], signal.SIGKILL)  # as the kernel does when memory runs out
    assert process.outcome is not None
    assert (process.outcome.reason, process.outcome.code, process.outcome.log_tail) == ("killed", None, "working")


async def test_a_process_killed_at_once_never_runs_its_program(layers: Layers, policy: PolicyMaker) -> None:
    process = SandboxedProcess.start(python("print('ran')"), policy(), layers)
    process.kill()
    with trio.fail_after(2):
        await process.supervise()
    assert process.outcome is not None
    assert (process.outcome.reason, process.outcome.log_tail) == ("killed", "")


async def test_a_kill_can_be_waited_for_by_several(layers: Layers, policy: PolicyMaker) -> None:
    process = SandboxedProcess.start(python("import time; time.sleep(60)"), policy(), layers)
    async with trio.open_nursery() as nursery:
        for waiter in (process.supervise, process.dead, process.dead):
            nursery.start_soon(waiter)
        await trio.sleep(0.1)
        process.kill()
    await process.dead()
    assert process.outcome is not None


async def test_cancelling_the_supervision_kills(layers: Layers, policy: PolicyMaker) -> None:
    process = SandboxedProcess.start(python("import time; time.sleep(60)"), policy(), layers)
    with trio.move_on_after(0.2):
        await process.supervise()
    assert process.outcome is not None
    assert process.outcome.reason == "killed"
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_machine_without_a_sandbox_runs_nothing(policy: PolicyMaker) -> None:
    bare = Layers(bwrap=False, unshare=False, inproc=False, landlock=0, seccomp=False, root=False)
    with pytest.raises(NoSandboxError, match="doctor"):
        SandboxedProcess.start(python(""), policy(), bare)


@pytest.mark.sandbox
async def test_an_unprotected_program_still_has_limits_and_gets_no_environment(
    policy: PolicyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_SECRET_KEY", "do not leak")
    bare = Layers(False, False, False, landlock=0, seccomp=False, root=False, unsafe=True)
    code = "import os, time; print(os.environ, flush=True); time.sleep(60)"
    outcome = await run_once(python(code), policy(wall_seconds=1.5), bare)
    assert (outcome.reason, outcome.tier) == ("time", "unsafe")
    assert "LANG" in outcome.log_tail
    assert "SECRET" not in outcome.log_tail


def test_a_process_is_not_started_on_a_thread_that_will_end(machine: Layers, policy: PolicyMaker) -> None:
    refusals: list[RuntimeError] = []

    def start() -> None:
        try:
            SandboxedProcess.start(python(""), policy(), machine)
        except RuntimeError as refusal:
            refusals.append(refusal)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(refusals[0])


# Pipes and log


async def test_descriptors_are_kept_under_their_numbers(layers: Layers, policy: PolicyMaker) -> None:
    ours, theirs = os.pipe()
    stdin, feed = os.pipe()
    os.write(feed, b"question")
    os.close(feed)
    code = f"import os; os.write({theirs}, os.read(0, 100) + b' answered')"
    process = SandboxedProcess.start(python(code), policy(), layers, keep=(theirs,), stdin=stdin)
    os.close(theirs)
    os.close(stdin)
    await process.supervise()
    assert os.read(ours, 100) == b"question answered"
    assert os.read(ours, 100) == b""
    os.close(ours)


async def test_the_log_is_safe_to_show(layers: Layers, policy: PolicyMaker) -> None:
    code = (
        r"print('\x1b[2Jred\x07', end='\r'); print('\u202eesrever\ttab'); print('last', file=__import__('sys').stderr)"
    )
    outcome = await run_once(python(code), policy(), layers)
    assert outcome.log_tail == "[2Jred\nesrever    tab\nlast"


async def test_no_descriptor_of_ours_stays_open(layers: Layers, policy: PolicyMaker) -> None:
    await run_once(python("print('x')"), policy(), layers)
    before = sorted(os.listdir("/proc/self/fd"))
    await run_once(python("print('x')"), policy(), layers)
    with trio.move_on_after(0.2):
        await run_once(python("import time; time.sleep(60)"), policy(), layers)
    assert sorted(os.listdir("/proc/self/fd")) == before


# Accounts


async def test_cpu_time_can_be_read_while_it_runs(layers: Layers, policy: PolicyMaker) -> None:
    ours, theirs = os.pipe()
    code = f"""if True:
        import os, time
        os.write({theirs}, b"a")
        end = time.process_time() + 0.5
        while time.process_time() < end:
            pass
        os.write({theirs}, b"b")
        time.sleep(60)
    """
    process = SandboxedProcess.start(python(code), policy(), layers, keep=(theirs,))
    os.close(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        readings = []
        for mark in (b"a", b"b"):
            await trio.lowlevel.wait_readable(ours)
            assert os.read(ours, 1) == mark
            readings.append(process.cpu_seconds())
        process.kill()
    assert readings[1] - readings[0] == pytest.approx(0.5, abs=0.05)
    assert process.cpu_seconds() >= readings[1]
    os.close(ours)


async def test_cpu_time_of_disowned_children_counts(namespaced: Layers, policy: PolicyMaker) -> None:
    code = """if True:
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(3):
            if os.fork() == 0:
                while time.process_time() < 1:
                    pass
                os._exit(0)
        try:
            os.wait()
        except ChildProcessError:
            pass  # nobody is left to wait for, and none was reaped by us
    """
    started = time.monotonic()
    outcome = await run_once(python(code), policy(), namespaced)
    assert outcome.cpu_seconds > 1.5  # of 3: what a child used since the last check is lost when it ends
    assert outcome.wall_seconds <= time.monotonic() - started


def test_checks_that_take_long_are_made_less_often_within_limits() -> None:
    assert poll_seconds(0.0001) == 0.05
    assert poll_seconds(0.0008) == pytest.approx(0.08)
    assert poll_seconds(1.0) == 0.1

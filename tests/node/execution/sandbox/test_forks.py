"""A fork of a fork server runs one program and is watched like any other; nothing of it is left for the next one."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from node.execution.sandbox.forks import ForkedProcess, ForkServer, ServerLostError
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.tree import children, descendants
from node.execution.sandbox.watch import ProcessEnd
from tests.node.execution.sandbox.conftest import PolicyMaker
from tests.node.execution.sandbox.raid import SUCCEEDED, raid_as_fork

ROOT = Path(__file__).parents[4]
MEBIBYTE = 1 << 20
PROGRAM = "exec(compile(__import__('sys').argv[1], 'given', 'exec'))"  # what it is given, as a line of Python
PRELOAD = """if True:
    import json, math, mmap, os, random, resource, signal, socket, sys, threading, time, types
    library = types.ModuleType("library")
    library.answer = lambda: 42
    sys.modules["library"] = library
    random.seed(1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The scripts of a server."""
    (tmp_path / "preload.py").write_text(PRELOAD)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


@dataclasses.dataclass
class Serving:
    """A server in a nursery, and forks of it that run lines of Python."""

    server: ForkServer
    nursery: trio.Nursery
    policy: Policy

    async def fork(self, code: str, descriptors: Sequence[int] = (), **limits: object) -> ForkedProcess:
        policy = dataclasses.replace(self.policy, **limits)  # type: ignore[arg-type]
        fork = await self.server.fork("program", [code], descriptors, policy)
        self.nursery.start_soon(fork.supervise)
        return fork

    async def run(self, code: str, descriptors: Sequence[int] = (), **limits: object) -> ProcessEnd:
        fork = await self.fork(code, descriptors, **limits)
        fork.start_clock()
        return await end_of(fork)


async def end_of(fork: ForkedProcess) -> ProcessEnd:
    with trio.fail_after(60):
        while fork.outcome is None:
            await trio.sleep(0.01)
    return fork.outcome


@asynccontextmanager
async def serving(folder: Path, policy: Policy, layers: Layers) -> AsyncIterator[Serving]:
    server = ForkServer.start(folder / "preload.py", [folder / "program.py"], policy, layers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.supervise)
        yield Serving(server, nursery, dataclasses.replace(policy, processes="threads"))
        nursery.cancel_scope.cancel()


# What a fork is


@pytest.mark.parametrize("processes", ["threads", "none"])
def test_no_attack_of_a_fork_succeeds(layers: Layers, tmp_path: Path, processes: str) -> None:
    results = raid_as_fork(layers, tmp_path, "threads" if processes == "threads" else "none")
    succeeded = {name for name, came in results.items() if came == SUCCEEDED}
    granted = {"talk through a pair of streams", "read randomness"}
    assert succeeded == granted | ({"use threads"} if processes == "threads" else set())
    assert len(results) > 90


async def test_it_ends_as_a_program_does(layers: Layers, policy: PolicyMaker, folder: Path) -> None:
    ways = {
        "print('done')": ("exit", 0, None, "done"),
        "raise SystemExit(7)": ("exit", 7, None, ""),
        "raise SystemExit('a reason')": ("exit", 1, None, "a reason"),
        "os = __import__('os'); os._exit(255)": ("exit", 255, None, ""),
        "import os; os.abort()": ("exit", None, signal.SIGABRT, ""),
        "import os; os.kill(os.getpid(), 9)": ("killed", None, signal.SIGKILL, ""),
        "import ctypes; ctypes.string_at(8)": ("exit", None, signal.SIGSEGV, ""),
    }
    async with serving(folder, policy(), layers) as serve:
        for code, expected in ways.items():
            end = await serve.run(code)
            assert (end.reason, end.code, end.signal, end.log_tail) == expected, code
        raised = await serve.run("1 / 0")
        assert (raised.code, raised.log_tail.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")


OPEN_ONES = """if True:
    import os
    print(os.read(3, 9), os.read(0, 1), os.fstat(1).st_ino == os.fstat(2).st_ino)
    found = []
    for number in range(4096):
        try:
            os.fstat(number)
            found.append(number)
        except OSError:
            pass
    print(found)
"""


async def test_it_has_the_descriptors_it_was_given_and_no_others(
    layers: Layers, policy: PolicyMaker, folder: Path
) -> None:
    (folder / "data").write_text("given")
    async with serving(folder, policy(), layers) as serve:
        for _ in range(2):  # the position of the first reader is not the second one's
            data = os.open(folder / "data", os.O_RDONLY)
            end = await serve.run(OPEN_ONES, [data])
            os.close(data)
            assert end.log_tail == "b'given' b'' True\n[0, 1, 2, 3]"


async def test_its_number_is_the_kernels_and_its_time_begins_with_it(
    layers: Layers, policy: PolicyMaker, folder: Path
) -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time()); input()"
    reads, writes = os.pipe()
    async with serving(folder, policy(), layers) as serve:
        fork = await serve.fork("import os; os.dup2(3, 0)\n" + spin, [reads])
        assert fork.pid in descendants(serve.server.process.pid)
        assert not children(fork.pid)
        with trio.fail_after(30):
            while not fork.log_tail() and fork.outcome is None:
                await trio.sleep(0.01)
            os.write(writes, b"\n")
        end = await end_of(fork)
    assert 0.3 <= end.cpu_seconds < 0.5
    assert fork.pid not in descendants(os.getpid())
    for descriptor in (reads, writes):
        os.close(descriptor)


# Its limits


BREACHES = {
    "time": ("import time; time.sleep(60)", {"wall_seconds": 0.2}),
    "cpu": ("while True: pass", {"cpu_seconds": 0.3}),
    "memory": ("eaten = []\nwhile True: eaten.append(b'x' * (8 << 20))", {"memory_bytes": 128 * MEBIBYTE}),
    "output": ("import os\nwhile True: os.write(1, b'y' * 65536)", {"output_bytes": MEBIBYTE}),
    "tasks": (
        """if True:
        import threading, time
        while True:
            try:
                threading.Thread(target=time.sleep, args=(60,)).start()
            except RuntimeError:
                time.sleep(0.1)
        """,
        {"tasks": 8},
    ),
}


async def test_every_limit_is_its_own_and_the_server_outlives_the_breach(
    layers: Layers, policy: PolicyMaker, folder: Path
) -> None:
    async with serving(folder, policy(), layers) as serve:
        for reason, (code, limits) in BREACHES.items():
            assert (await serve.run(code, **limits)).reason == reason
            assert (await serve.run("print('next')")).log_tail == "next"
        assert serve.server.process.outcome is None


async def test_its_cpu_time_cannot_be_hidden_in_children(layers: Layers, policy: PolicyMaker, folder: Path) -> None:
    """Children that nobody waits for end between two looks at /proc, and leave their time in no account."""
    code = """if True:
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(50):
            if os.fork() == 0:
                while time.process_time() < 0.008: pass
                os._exit(0)
    """
    async with serving(folder, policy(), layers) as serve:
        end = await serve.run(code)
    assert (end.code, end.log_tail.splitlines()[-1]) == (1, "PermissionError: [Errno 1] Operation not permitted")


async def test_a_frozen_fork_stands_still_and_goes_on(layers: Layers, policy: PolicyMaker, folder: Path) -> None:
    code = "import time\nfor _ in range(20): print('.', flush=True); time.sleep(0.05)"
    async with serving(folder, policy(wall_seconds=30), layers) as serve:
        fork = await serve.fork(code)
        fork.start_clock()
        while not fork.log_tail():
            await trio.sleep(0.01)
        fork.freeze()
        await trio.sleep(0.1)
        before = fork.log_tail()
        await trio.sleep(0.3)
        assert fork.log_tail() == before
        fork.thaw()
        end = await end_of(fork)
        assert (end.reason, end.code, end.log_tail.count(".")) == ("exit", 0, 20)
        frozen = await serve.fork("import time; time.sleep(60)")
        frozen.freeze()
        frozen.kill()
        assert (await end_of(frozen)).reason == "killed"
    assert fork.frozen_seconds > 0.3


# What the next fork sees


STATE = """if True:
    import fcntl, gc, json, library, math, os, random, resource, signal, sys, threading, time
    print(json.dumps({
        "argv": sys.argv[2:], "answer": library.answer(), "pi": math.pi, "sum": sum([1, 2]), "hash": hash("word"),
        "environment": sorted(os.environ), "cwd": os.getcwd(), "umask": os.umask(0o77),
        "limit": sys.getrecursionlimit(),
        "handler": str(signal.getsignal(signal.SIGTERM)), "mask": str(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "priority": os.getpriority(os.PRIO_PROCESS, 0), "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "threads": threading.active_count(), "modules": len(sys.modules), "path": sys.path, "gc": gc.isenabled(),
        "flags": [fcntl.fcntl(number, fcntl.F_GETFL) for number in (0, 1, 2)], "timer": signal.getitimer(0),
        "cores": sorted(os.sched_getaffinity(0)), "hook": str(sys.settrace), "output": str(sys.stdout),
        "position": os.lseek(3, 0, os.SEEK_CUR),
    }))
"""
VANDAL = """if True:
    import builtins, fcntl, gc, json, library, math, os, random, resource, signal, sys, threading, time
    library.answer = lambda: "changed"
    math.pi, builtins.sum = 3, max
    os.environ["LEFT"] = "behind"
    os.chdir("/usr"); os.umask(0); sys.setrecursionlimit(99); sys.path.append("/usr/left"); gc.disable()
    signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    signal.setitimer(signal.ITIMER_REAL, 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    sys.modules["json"].dumps = None
    for number in (0, 1, 2, 3): fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
    os.lseek(3, 2, os.SEEK_SET)
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    for attempt in (lambda: os.nice(-5), lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 20),
                    lambda: os.sched_setaffinity(0, {0}), lambda: resource.prlimit(os.getppid(), 7, (8, 8)),
                    lambda: os.kill(os.getppid(), 9), lambda: open("/tmp/left", "w"),
                    lambda: open("/dev/shm/left", "w"),
                    lambda: os.memfd_create("left")):
        try:
            attempt()
            print("could", attempt)
        except OSError:
            pass
    print("random", random.random())
"""


async def test_nothing_of_a_fork_is_left_for_the_next_one(layers: Layers, policy: PolicyMaker, folder: Path) -> None:
    (folder / "data").write_text("given")
    async with serving(folder, policy(), layers) as serve:

        async def run(code: str) -> str:
            data = os.open(folder / "data", os.O_RDONLY)
            end = await serve.run(code, [data])
            os.close(data)
            assert end.code == 0, end
            return end.log_tail

        before = await run(STATE)
        assert '"answer": 42' in before
        assert (await run(VANDAL)).startswith("random")
        assert await run(STATE) == before


async def test_words_are_hashed_alike_in_every_server(machine: Layers, policy: PolicyMaker, folder: Path) -> None:
    code = "print({str(n) for n in range(50)}, hash(b'bytes'))"
    seen = set()
    for _ in range(2):
        async with serving(folder, policy(), machine) as serve:
            seen.add((await serve.run(code)).log_tail)
    assert len(seen) == 1


TORCH_STATE = """if True:
    import torch
    torch.manual_seed(5)
    layer = torch.nn.Linear(4, 4)
    print(torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(),
          torch.is_grad_enabled(), torch.initial_seed(), layer(torch.ones(2, 4)).sum().item(), torch.randn(3).tolist(),
          torch.nn.functional.relu(torch.tensor([-1.0])).item(), torch.get_float32_matmul_precision(),
          torch._C._get_mkldnn_enabled(), torch.is_inference_mode_enabled(), torch.nn.Linear.forward.__module__)
"""
TORCH_VANDAL = """if True:
    import torch
    torch.set_num_threads(2); torch.set_default_dtype(torch.float64); torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False); torch.set_float32_matmul_precision("medium"); torch._C._set_mkldnn_enabled(False)
    torch.nn.functional.relu = torch.nn.Linear.forward = lambda *_: torch.zeros(1)
    torch.Tensor.sum = None
    torch.randn = torch.ones
    torch.inference_mode().__enter__()
    print("vandalised", torch.ones(100, 100).mm(torch.ones(100, 100))[0, 0].item())
"""


async def test_torch_is_as_clean_for_the_next_fork(machine: Layers, policy: PolicyMaker, folder: Path) -> None:
    (folder / "preload.py").write_text("import torch\ntorch.set_num_threads(1)\ntorch.ones(2, 2) @ torch.ones(2, 2)\n")
    async with serving(folder, policy(memory_bytes=2 << 30), machine) as serve:
        before = await serve.run(TORCH_STATE)
        assert before.code == 0, before
        assert (await serve.run(TORCH_VANDAL)).log_tail.startswith("vandalised")
        assert (await serve.run(TORCH_STATE)).log_tail == before.log_tail


# Its server


@pytest.mark.parametrize(
    ("left", "told"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "2 threads"),
        ("import mmap\nshared = mmap.mmap(-1, 4096)", "shares memory"),
        ("import os\nopened = os.open(os.__file__, os.O_RDONLY)", "descriptors open"),
        ("import no_such_module", "no_such_module"),
    ],
)
async def test_a_server_that_would_share_something_does_not_serve(
    layers: Layers, policy: PolicyMaker, folder: Path, left: str, told: str
) -> None:
    (folder / "preload.py").write_text(left)
    async with serving(folder, policy(), layers) as serve:
        with pytest.raises(ServerLostError, match=told):
            await serve.fork("print('never')")


async def test_a_fork_dies_with_its_server_and_then_there_are_no_more(
    layers: Layers, policy: PolicyMaker, folder: Path
) -> None:
    ours, theirs = os.pipe()
    async with serving(folder, policy(), layers) as serve:
        fork = await serve.fork("import time; time.sleep(60)", [theirs])
        os.close(theirs)
        serve.server.process.kill()
        assert (await end_of(fork)).reason == "killed"
        assert all_dead(ours)
        with pytest.raises(ServerLostError):
            await serve.fork("print('never')")
    os.close(ours)


async def test_a_fork_that_is_given_up_is_not_run(layers: Layers, policy: PolicyMaker, folder: Path) -> None:
    ours, theirs = os.pipe()
    async with serving(folder, policy(), layers) as serve:
        busy = await serve.fork("import time; time.sleep(0.5)")
        with trio.move_on_after(0.2) as patience:
            await serve.fork("import os; os.write(3, b'never')", [theirs])
        os.close(theirs)
        assert patience.cancelled_caught
        await end_of(busy)
        assert (await serve.run("print('next')")).log_tail == "next"
        assert os.read(ours, 9) == b""
    os.close(ours)


async def test_cancelling_leaves_no_process(layers: Layers, policy: PolicyMaker, folder: Path) -> None:
    before = set(children(os.getpid()))
    opened = len(os.listdir("/proc/self/fd"))
    async with serving(folder, policy(), layers) as serve:
        fork = await serve.fork("import time; time.sleep(60)")
    assert fork.outcome is not None
    assert set(children(os.getpid())) == before
    assert len(os.listdir("/proc/self/fd")) == opened


NODE = """if True:
    import sys, trio
    from pathlib import Path
    from node.execution.sandbox.layers import Layers
    from tests.node.execution.sandbox.test_forks import Policy, serving
    layers, pipe, folder = eval(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    policy = Policy(wall_seconds=60, cpu_seconds=60, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 20)
    async def main():
        async with serving(folder, policy, layers) as serve:
            await serve.fork("import os, time; os.write(3, b'r'); time.sleep(60)", [pipe])
            await trio.sleep_forever()
    trio.run(main)
"""


def test_a_kill_9_of_the_node_leaves_neither_server_nor_fork(layers: Layers, folder: Path) -> None:
    ours, theirs = os.pipe()
    argv = [sys.executable, "-c", NODE, repr(layers), str(theirs), str(folder)]
    with subprocess.Popen(argv, pass_fds=(theirs,), cwd=ROOT) as node:
        os.close(theirs)
        assert os.read(ours, 1) == b"r"
        started = time.monotonic()
        node.send_signal(signal.SIGKILL)
    assert all_dead(ours)
    assert time.monotonic() - started < 5
    os.close(ours)


def all_dead(pipe: int) -> bool:
    """Whether nobody is left who could write to the pipe, within seconds."""
    ready, _, _ = select.select([pipe], [], [], 5)
    return bool(ready) and os.read(pipe, 1) == b""

"""Runs a hostile program behind a tier, beside everything it may attack, and reports the result of each attempt.

Shared by the tests and by `scripts/attack_table.py`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import trio

from node.execution.sandbox import fork_server
from node.execution.sandbox.forks import ForkServer
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.orders import FIRST_GIVEN
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import run_once
from node.execution.sandbox.watch import ProcessEnd
from tests.node.execution.sandbox.gpu_stand_in import StandIn

HOSTILE = Path(__file__).with_name("hostile.py")
SUCCEEDED = "done"
_POLICY = Policy(wall_seconds=30, cpu_seconds=30, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 20)

# Programs that never end by themselves, each with the limit it must meet.
BOMBS: dict[str, tuple[str, dict[str, float]]] = {
    "fork for ever": ("import os\nwhile True: os.fork()", {"tasks": 16}),
    "start threads for ever": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()",
        {"tasks": 16},
    ),
    "fill the memory": ("eaten = []\nwhile True: eaten.append(b'x' * (8 << 20))", {"memory_bytes": 128 << 20}),
    "fill the memory with shared pages": (
        "import mmap\neaten = []\n"
        "while True:\n    eaten.append(mmap.mmap(-1, 8 << 20))\n    eaten[-1].write(b'x' * (8 << 20))",
        {"memory_bytes": 128 << 20},
    ),
    "fill the disk": (
        "import time\nf = open('big', 'wb')\nwhile f.write(b'x' * 65536): time.sleep(0.001)",
        {"writable_bytes": 1 << 20},
    ),
    "fill the disk with empty files": (
        "import itertools\nfor n in itertools.count(): open(str(n), 'w').close()",
        {"writable_bytes": 1 << 20},
    ),
    "flood the log": ("import os\nwhile True: os.write(1, b'y' * 65536)", {"output_bytes": 1 << 20}),
    "open descriptors for ever": ("held = []\nwhile True: held.append(open('/dev/urandom'))", {}),
    "run for ever": ("while True: pass", {"wall_seconds": 1}),
    "sleep through SIGTERM": (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)",
        {"wall_seconds": 1},
    ),
    "stop itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", {"wall_seconds": 1}),
}


@dataclass(frozen=True)
class Raid:
    """The result of every attempt, by name: SUCCEEDED, or what stopped it."""

    results: dict[str, str]
    secret: Path
    bystander_stopped: bool


def raid(layers: Layers, folder: Path, builds: bool = False, gpu: StandIn | None = None) -> Raid:
    """One hostile program beside a secret, a listening node, a stopped process and an open descriptor.

    gpu: of which it is given one device file.
    """
    secret, data, scratch = folder / "secret", folder / "data", folder / "scratch"
    secret.write_text("the hidden split")
    secret.chmod(0o666)
    data.mkdir()
    (data / "given").write_text("the training split")
    scratch.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix, secret.open() as opened:
        unix.bind(f"{secret}.socket")
        unix.listen()
        os.set_inheritable(opened.fileno(), True)
        target = {
            "secret": str(secret), "data": str(data), "scratch": str(scratch), "node": os.getpid(),
            "port": tcp.getsockname()[1], "descriptor": opened.fileno(), "result": str(scratch / "result.json"),
        }  # fmt: skip
        policy = replace(_POLICY, read_only=(data, HOSTILE), writable=scratch, writable_bytes=1 << 20, builds=builds)
        if gpu is not None:
            target |= {"device": str(gpu.given), "other device": str(gpu.other)}
            policy = replace(policy, devices=(gpu.given,))
        argv = [sys.executable, "-I", str(HOSTILE), json.dumps(target)]
        bystander = subprocess.Popen(["sleep", "60"])
        os.environ["NODE_SECRET_KEY"] = "do not leak"
        try:
            bystander.send_signal(signal.SIGSTOP)
            outcome = trio.run(run_once, argv, policy, layers)
            status = Path(f"/proc/{bystander.pid}/stat").read_text()
        finally:
            del os.environ["NODE_SECRET_KEY"]
            bystander.kill()
            bystander.wait()
    assert (scratch / "result.json").exists(), outcome
    return Raid(json.loads((scratch / "result.json").read_text()), secret, bystander_stopped=") T " in status)


def raid_as_fork(layers: Layers, folder: Path, processes: Literal["threads", "none"] = "threads") -> dict[str, str]:
    """The same program as a fork of a fork server, against its server; the result of every attempt, by name."""
    secret, preload = folder / "secret", folder / "preload.py"
    secret.write_text("the hidden split")
    preload.write_text("import ctypes, fcntl, json, mmap, resource, socket, threading\n")
    target = {
        "secret": str(secret), "data": str(folder), "scratch": str(folder), "port": 9, "descriptor": 9,
        "result": FIRST_GIVEN, "program": fork_server.__file__,
    }  # fmt: skip
    reads, writes = os.pipe()

    async def run() -> ProcessEnd | None:
        server = ForkServer.start(preload, [HOSTILE], _POLICY, layers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.supervise)
            policy = replace(_POLICY, processes=processes)
            fork = await server.fork(HOSTILE.stem, [json.dumps(target)], [writes], policy)
            os.close(writes)
            fork.start_clock()
            await fork.supervise()
            nursery.cancel_scope.cancel()
        return fork.outcome

    outcome = trio.run(run)
    with os.fdopen(reads) as results:
        text = results.read()
    assert text, outcome
    found: dict[str, str] = json.loads(text)
    return found


def bomb(name: str, layers: Layers, scratch: Path) -> ProcessEnd:
    """Run one of BOMBS to its end; an outcome with reason "exit" means that the program gave up by itself."""
    code, limits = BOMBS[name]
    wide = replace(_POLICY, writable=scratch, writable_bytes=1 << 20)
    policy = replace(wide, **limits)  # type: ignore[arg-type]
    return trio.run(run_once, [sys.executable, "-I", "-u", "-c", code], policy, layers)

"""What a worker makes of its machine, and of an outcome, before it says anything of them."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from node.execution.remote.worker_link import outcome_of
from node.execution.remote.worker_process import on_wire, visible
from node.execution.remote.worker_protocol import (
    MAX_NUMBERS,
    PRELUDE,
    Hello,
    Lacks,
    NodeSide,
    Refused,
    Run,
    RunMade,
    UseObjective,
    framed,
)
from node.ledger.outcome import Outcome
from node.platform.gpu_types import Gpu
from protocol.codec import encode

PROGRAM = [sys.executable, "-m", "node", "worker"]
OUTCOME = Outcome(1.5, {"bits": 1.5}, ((20, 2.0),), 100, 1.0, 2.0, 1 << 20, None, "", "bwrap")


def gpu(index: int) -> Gpu:
    return Gpu(index, "a GPU", 8 << 30, "nvidia", f"GPU-{index}", "600.1", ())


@pytest.mark.parametrize(
    ("environment", "indices"),
    [
        ({}, [0, 1, 2]),
        ({"CUDA_VISIBLE_DEVICES": "2"}, [2]),
        ({"CUDA_VISIBLE_DEVICES": "0, 2"}, [0, 2]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"ROCR_VISIBLE_DEVICES": "1"}, [1]),
    ],
)
def test_a_worker_uses_the_gpus_that_its_scheduler_gave_it(environment: dict[str, str], indices: list[int]) -> None:
    assert [found.index for found in visible([gpu(0), gpu(1), gpu(2)], environment)] == indices


def test_whatever_a_command_calls_its_values_an_outcome_can_be_sent() -> None:
    odd = {"fine": 1.0, "x" * 100: 1.0, "a\x1b[31m": 1.0, "far": math.inf, **{f"m{n}": 1.0 for n in range(400)}}
    replay = {"prices": {"bid": (1.0, 2.0)}}
    made = on_wire(replace(OUTCOME, metrics=odd, log_tail="x" * 10_000 + "\ud800", replay=replay))
    assert outcome_of(made).replay == replay
    assert len(made.metrics) == MAX_NUMBERS
    assert {"far", "x" * 100, "a\x1b[31m"}.isdisjoint(made.metrics)
    assert made.log_tail.endswith("x?")
    assert isinstance(made, RunMade)
    encode(made)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "said",
    [
        b"\0\0\0\0",
        b"GET / HTTP/1.1\r\n",
        framed(Run(1, "source", 7)),
        framed(UseObjective(b"no manifest")),
    ],
    ids=["empty", "http", "too early", "no manifest"],
)
def test_a_worker_that_does_not_understand_the_node_ends_and_says_so(tmp_path: Path, said: bytes) -> None:
    done = subprocess.run([*PROGRAM, "--cache", str(tmp_path)], input=said, capture_output=True, timeout=120)
    assert done.returncode == 1
    assert b"node not understood" in done.stderr
    assert done.stdout.startswith(PRELUDE)


@pytest.mark.sandbox
def test_a_cache_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run([*PROGRAM, "--cache", str(tmp_path / "file")], stdin=subprocess.DEVNULL, capture_output=True)
    (refused,) = NodeSide().receive(done.stdout)
    assert isinstance(refused, Refused)
    assert "give one with --cache" in refused.why


@pytest.mark.sandbox
def test_nothing_but_frames_goes_to_standard_output_and_the_end_of_input_ends_it(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(PROGRAM, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=120)
    (hello,) = NodeSide().receive(done.stdout)
    assert isinstance(hello, Hello)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "autoresearch-node" / "worker" / "places" / "0" / "lock").exists()


@pytest.mark.sandbox
def test_a_node_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from subprocess import PIPE, Popen; "
        f"Popen({[*PROGRAM, '--cache', str(tmp_path)]!r}, stdin=PIPE, stdout=PIPE, start_new_session=True);"
        "time.sleep(600)"
    )
    node = subprocess.Popen([sys.executable, "-c", program])
    try:
        worker = wait_for_worker(tmp_path)
    finally:
        node.send_signal(signal.SIGKILL)
        node.wait()
    worker.wait(30)


def wait_for_worker(cache: Path) -> psutil.Process:
    for _ in range(600):
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [])[-2:] == ["--cache", str(cache)] and (cache / "places" / "0").exists():
                return psutil.Process(process.pid)
        psutil.cpu_percent(0.1)
    raise TimeoutError("no worker was started")


def test_lacks_of_an_objective_of_the_largest_size_fits_a_frame() -> None:
    side = NodeSide()
    contents = frozenset(number.to_bytes(32, "big") for number in range(1024))
    side.receive(PRELUDE + framed(Hello(1, "0", "h", "t", "d", 1, 1, (), "", bytes(16))))
    side.use(b"manifest", contents)
    assert len(side.receive(framed(Lacks(tuple(contents))))) == 1

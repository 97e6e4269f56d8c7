"""Rooms that are forked from a process with torch in it, for measurements of many short runs. They are no sandbox.

A room spends a second and a half of CPU on importing torch, and a run has three of them: nothing beside a full budget,
most of a run beside a small one. Here the measuring process imports torch once, and each room is a fork of it that runs
the same script with the same descriptors, limits and accounting; the scores are the same to the last bit. What trains
is this repository's own ideas. Only scripts use this, never the node.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.runner import WORKER_PROGRAMS
from node.execution.sandbox import stage
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import Box

TIER = "forked, no sandbox"
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STANDARD = (0, 1, 2)
_start_boxed = Box.start


@dataclass
class Forked:
    """What a box wants to know of its process."""

    pid: int
    stdout: BinaryIO
    returncode: int | None = None


def use() -> None:
    """From now on this process starts its rooms by forking. Before anything has imported torch."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    candidate = runpy.run_path(str(WORKER_PROGRAMS / "train.py"))
    candidate["torch"].set_num_threads(1)
    candidate["warm_up"]()
    Box.start = start  # type: ignore[method-assign,assignment]


def start(
    command: Sequence[str], policy: Policy, layers: Layers, keep: Sequence[int] = (), stdin: int | None = None
) -> Box:
    """In place of `Box.start`, for rooms: the script and its arguments come after Python's own options."""
    arguments = [word for word in command[1:] if not word.startswith("-")]
    if Path(arguments[0]).parent != WORKER_PROGRAMS:
        return _start_boxed(command, policy, layers, keep, stdin)
    reads, writes = os.pipe()
    lifeline, held = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        serve(arguments, {0: os.open(os.devnull, os.O_RDONLY), 1: writes, 2: writes}, keep)
    os.close(writes)
    os.close(lifeline)
    process: Any = Forked(pid, os.fdopen(reads, "rb", buffering=0))
    return Box(process, policy, TIER, held)


def serve(arguments: list[str], standard: dict[int, int], keep: Sequence[int]) -> NoReturn:
    """Be the room: nothing of the parent but its memory, then the script."""
    status = 1
    try:
        os.setsid()
        for number in STANDARD:
            os.dup2(standard[number], number)
        stage._close_descriptors(list(keep))
        stage._go_last()
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

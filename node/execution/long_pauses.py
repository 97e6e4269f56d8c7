"""Long pauses: a training that stands still for minutes is ended, to go on from its snapshot when the pause is over.

A process that stands still holds its memory, which may be gigabytes, and who pauses for long wants that back. It knows
processes and the pause gate. What is lost is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from node.execution.pause_gate import PauseGate
from node.execution.sandbox.watch import Watched
from node.execution.snapshots import EVERY_SECONDS
from node.execution.worker import RunFailed
from node.platform.gpu_types import Gpu

# Longer than a moment in which somebody else needs the processor, and shorter than a meeting or a game. Who needs a GPU
# needs its memory at once, and nothing but the end of a process gives that back.
LONG_PAUSE_SECONDS, LONG_PAUSE_ON_GPU_SECONDS = 300.0, 20.0
# Of training, that may be made again for it: the interval between two snapshots, and as much again for one that takes
# long to write; or all of a training that has only begun.
MOST_LOST_SECONDS = 2 * EVERY_SECONDS


class PutAway(Exception):
    """A training was ended in a long pause, and goes on when the pause is over."""


@contextmanager
def ending_in_long_pauses(
    process: Watched, gate: PauseGate, gpu: Gpu | None, at_stake: Callable[[], float], nursery: trio.Nursery
) -> Iterator[None]:
    """Inside the block the process is ended in a long pause, if little is lost: what fails for it fails as PutAway.

    gpu: on which it runs. at_stake: the seconds of training that would have to be made again.
    """
    ended, watching = trio.Event(), trio.CancelScope()

    async def watch() -> None:
        with watching:
            while True:
                await gate.wait_closed_for(LONG_PAUSE_SECONDS if gpu is None else LONG_PAUSE_ON_GPU_SECONDS)
                if at_stake() <= MOST_LOST_SECONDS:
                    ended.set()
                    process.kill()
                    return
                await gate.wait_open()

    nursery.start_soon(watch)
    try:
        yield
    except RunFailed:
        if ended.is_set():
            raise PutAway from None
        raise
    finally:
        watching.cancel()

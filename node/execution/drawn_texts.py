"""The texts of runs whose objective draws them: each drawn in a sandbox of its own, and kept while runs share its seed.

Both runs of a pair have the same seed, and so has the holdout score that may follow, so the texts of the last few seeds
are kept. It knows lengths, not what the texts say.
"""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from contextlib import suppress

import trio

from node.execution import run_seeds
from node.execution.fork_servers import Given
from node.execution.pipes import Pipes, send_if_open
from node.execution.sandbox.forks import ForkServer, ServerLostError
from node.execution.sandbox.policy import Policy
from node.execution.worker import RunFailed, Worker
from node.objective.schema import Objective
from protocol.records import Failure

# Sizes are in bytes. The texts of a run of tinylm are 0.84 MB, and 0.32 MB more for the holdout.
MAX_TEXT = 32 << 20  # of one text, since the node holds it in memory and passes it on through pipes
KEPT = 64 << 20  # of all texts that are kept: at least two of the largest
DRAW_SECONDS = 60.0  # of wall time and of CPU; tinylm's texts take a tenth of a second each
DRAW_MEMORY = 1 << 30
END_SECONDS = 2.0  # for a worker that sent no text to end by itself, so that its exit status says why


class DrawnTexts:
    """The texts of an objective's runs, by seed and name; the least recently used go first beyond a limit."""

    def __init__(self, objective: Objective, most: int) -> None:
        """most: bytes of one text, from the host's settings."""
        self._objective = objective
        self._most = min(most, MAX_TEXT)
        self._kept: OrderedDict[tuple[int, str], bytes] = OrderedDict()
        self._drawing = trio.Lock()  # so that two runs that need one text do not draw it twice

    async def get(self, seed: int, name: str, server: ForkServer) -> bytes:
        """The text called `name` ("train", "val" or "holdout") of runs with this seed; a fork of `server` draws it.

        Raises RunFailed when the objective's module does not draw it, ServerLostError and OSError when no worker can be
        started.
        """
        async with self._drawing:
            text = self._kept.get((seed, name))
            if text is None:
                text = self._kept[seed, name] = await self._draw(seed, name, server)
            self._kept.move_to_end((seed, name))
            while sum(map(len, self._kept.values())) > KEPT:
                self._kept.popitem(last=False)
            return text

    async def prefetch(self, seed: int, name: str, server: ForkServer) -> None:
        """Draw a text that is needed soon. A failure is not told here: whoever needs the text meets it again."""
        with suppress(RunFailed, ServerLostError, OSError):
            await self.get(seed, name, server)

    async def _draw(self, seed: int, name: str, server: ForkServer) -> bytes:
        assert self._objective.draw is not None
        pipes, given = Pipes(), Given()
        try:
            job, out = pipes.to_worker(), pipes.from_worker()
            module = pipes.file(self._objective.root / self._objective.draw)
            arguments = [given(end) for end in (job, out, module)]
            worker = Worker(await server.fork("draw", arguments, given.descriptors, _policy()))
        except BaseException:
            pipes.close()
            raise
        pipes.hand_over(given.descriptors)
        text: bytes | None = None
        async with trio.open_nursery() as nursery, pipes.stream(job) as jobs, pipes.stream(out) as made:
            nursery.start_soon(worker.supervise)
            worker.process.start_clock()
            told = {"seed": run_seeds.text_seed(seed), "name": name, "most": self._most}
            line = json.dumps(told | self._objective.told_of_scale).encode()
            await send_if_open(jobs, line + b"\n")
            text = await _text(made, self._most)
            if text is None:
                with trio.move_on_after(END_SECONDS):
                    await worker.ended.wait()
            failure = worker.failure() if worker.ended.is_set() else Failure.OUTPUT
            await worker.destroy()
        if text is None:
            tail = worker.process.log_tail() or "it sent no text, or one that is too long"
            raise RunFailed(failure, f"{self._objective.draw} did not draw the text {name!r} of this run: {tail}")
        return text


def _policy() -> Policy:
    return Policy(
        wall_seconds=DRAW_SECONDS,
        cpu_seconds=DRAW_SECONDS,
        memory_bytes=DRAW_MEMORY,
        tasks=16,
        output_bytes=1 << 20,
        processes="none",
    )


async def _text(stream: trio.lowlevel.FdStream, most: int) -> bytes | None:
    """What the worker sends: <u64 length> and so many bytes. None when it is more than it may be, or ends before."""
    data = bytearray()
    expected = 8
    while len(data) < expected:
        more = await stream.receive_some(1 << 18)
        if not more:
            return None
        data += more
        if expected == 8 and len(data) >= 8:
            (length,) = struct.unpack("<Q", data[:8])
            if not 0 < length <= most:
                return None
            expected = 8 + length
    return bytes(data[8:]) if len(data) == expected else None

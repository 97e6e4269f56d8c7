"""A source's own loop without any of ours: how many tokens it trains on in a second. Used by gpu_check.py.

    gpu_plain_loop.py SOURCE DEVICE CONTEXT VOCABULARY SCALE THREADS

SOURCE is a file with the objective's source and TIMED behind it. Here it runs in a plain process, on random tokens that
lie on the device, with a task that only makes batches. The same text runs in a room too, as any source does.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOKENS = 4_000_000  # of the made-up text
# Appended to a source: it times its own steps, after those in which everything is set up, and ends with what it found.
TIMED = """

class _Timed:
    SKIPPED, SECONDS = 10, {seconds}

    def __init__(self, task):
        self._task = task

    def __getattr__(self, name):
        return getattr(self._task, name)

    def batches(self, size):
        import time

        def clock():
            if self._task.device.type != "cpu":
                torch.cuda.synchronize()
            return time.monotonic()

        begun = None
        for step, batch in enumerate(self._task.batches(size)):
            if step == self.SKIPPED:
                begun = clock()
            elif begun is not None and time.monotonic() - begun > self.SECONDS:
                steps = step - self.SKIPPED
                raise SystemExit(f"tokens/s {{steps * size * self._task.context / (clock() - begun):.0f}}")
            yield batch


_train = train


def train(task):
    return _train(_Timed(task))
"""


class PlainTask:
    """As much of a task as a source needs."""

    seed, tokens, tokens_spent, progress = 1, 0, 0, 0.5

    def __init__(self, device: str, context: int, vocabulary: int, scale: str) -> None:
        import torch

        self.device, self.context, self.vocabulary, self.scale = torch.device(device), context, vocabulary, scale

    def batches(self, size: int) -> Iterator[tuple[Any, Any]]:
        import torch

        text = torch.randint(self.vocabulary, (TOKENS,), dtype=torch.int32).to(self.device)
        offsets = torch.arange(self.context + 1, device=self.device)
        while True:
            starts = torch.randint(TOKENS - self.context - 1, (size,)).to(self.device)
            windows = text[starts[:, None] + offsets].long()
            yield windows[:, :-1], windows[:, 1:]

    def report(self, model: Any, loss: Any) -> None:
        """Nothing: a plain loop looks at its loss now and then only."""


def main() -> None:
    source, device, context, vocabulary, scale, threads = sys.argv[1:]
    # Last in turn, as runs are: else one of the two would have more of a busy machine.
    os.nice(19)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write("19")
    import torch

    torch.set_num_threads(int(threads))
    names: dict[str, Any] = {"__name__": "source"}
    exec(compile(Path(source).read_text("utf-8"), source, "exec"), names)
    names["train"](PlainTask(device, int(context), int(vocabulary), scale))


if __name__ == "__main__":
    main()

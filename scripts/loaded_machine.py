"""A busy machine, and sources whose cost is known: what the measurements of cost share."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MEAN_SECONDS = 3.0  # for which a busy program runs, and for which it rests, on average
# They end with the script that started them, however it ends.
BUSY = (
    "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(10_000))",
    "import os, torch; parent = os.getppid(); torch.set_num_threads(1); m = torch.randn(700, 700)\n"
    "while os.getppid() == parent: m = (m @ m) / 30",
)
# In tinylm's loop: a second model takes some of the steps as well, and is thrown away.
LOOP = "    for x, y in task.batches(BATCH):\n"
BEFORE = """\
    shadow = build(task)
    shadow_optimizers = make_optimizers(shadow)
    steps = 0
"""
SOME_STEPS = """\
        steps += 1
        if steps % {every} == 0:
            shadow.zero_grad(set_to_none=True)
            loss_of(shadow, x, y).backward()
            for optimizer in shadow_optimizers:
                optimizer.step()
"""


def dearer(source: str, every: int = 5) -> str:
    """tinylm's source with more to do in every run, every fifth step twice: a fifth more."""
    assert source.count(LOOP) == 1
    return source.replace(LOOP, BEFORE + LOOP + SOME_STEPS.format(every=every))


def other_rate(source: str, number: int) -> str:
    """tinylm's source with another learning rate, which costs nothing."""
    edited = source.replace("LR = 1e-3", f"LR = {(500 + number % 1500) / 1e6 + 1e-9:.10f}")
    assert edited != source
    return edited


@contextmanager
def two_busy_programs(seed: int) -> Iterator[None]:
    """Two programs that run and rest at random, each for MEAN_SECONDS on average."""
    programs = [subprocess.Popen([sys.executable, "-c", program]) for program in BUSY]
    over = threading.Event()

    def change(program: subprocess.Popen[bytes], dice: random.Random) -> None:
        runs = True
        while not over.wait(dice.expovariate(1 / MEAN_SECONDS)):
            program.send_signal(signal.SIGSTOP if runs else signal.SIGCONT)
            runs = not runs

    threads = [
        threading.Thread(target=change, args=(program, random.Random(seed + number)))
        for number, program in enumerate(programs)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for program in programs:
            program.kill()
            program.wait()

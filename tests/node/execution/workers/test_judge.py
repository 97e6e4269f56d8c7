"""The judge's patience: how long it waits for an answer, whatever comes meanwhile."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

from node.execution.workers.judge import Late, Patience

# Waits three seconds for a byte on its standard input, and says whether it came in time.
WAITING = """
import select, sys
from node.execution.workers.judge import Late, Patience
print("waits", flush=True)
try:
    Patience(3.0).wait(0, select.POLLIN)
    print("in time")
except Late:
    print("late")
"""


def test_an_answer_that_does_not_come_is_late() -> None:
    reads, _ = os.pipe()
    with pytest.raises(Late):
        Patience(0.05).wait(reads, select.POLLIN)


def test_an_answer_that_comes_bit_by_bit_is_late_too() -> None:
    def drip() -> None:
        for _ in range(100):
            time.sleep(0.05)
            os.write(writes, b".")

    reads, writes = os.pipe()
    patience, read = Patience(0.3), 0
    threading.Thread(target=drip, daemon=True).start()
    with contextlib.suppress(Late):
        for _ in range(100):
            patience.wait(reads, select.POLLIN)
            read += len(os.read(reads, 1))
    assert 1 <= read < 50


def test_a_judge_that_was_frozen_goes_on_waiting() -> None:
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as judge:
        assert judge.stdin is not None
        assert judge.stdout is not None
        assert judge.stdout.readline() == b"waits\n"
        judge.send_signal(signal.SIGSTOP)
        time.sleep(3.5)  # longer than its patience, of which this counts for one second
        judge.send_signal(signal.SIGCONT)
        judge.stdin.write(b".")
        judge.stdin.close()
        assert judge.stdout.read() == b"in time\n"

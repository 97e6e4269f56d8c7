"""The runs of a bare loop, each in a plain process of its own, in the place of a node's runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from node.execution.run_progress import Progress
from node.execution.runs import Runs
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from protocol.records import Failure
from search_bench.stand_in_runs import StandInRuns

PROGRAM = Path(__file__).with_name("bare_run.py")
RUN_SECONDS = 180.0  # of wall time


class BareRuns(StandInRuns):
    """Counts the CPU seconds of the runs' processes, imports included. A bare loop keeps no weights to score again."""

    def __init__(self, objective: Objective, of_node: Runs) -> None:
        self._objective = objective
        super().__init__(of_node)
        self.cpu_seconds = 0.0

    async def run(
        self, source: str, seed: int, progress: Callable[[Progress], None], incumbent: str | None = None
    ) -> Outcome:
        """As `Runs.run`; nothing else goes on in this process meanwhile."""
        begun, tokens = time.monotonic(), self._objective.budget.tokens
        with tempfile.TemporaryDirectory(prefix="bare-run-") as name:
            path = Path(name) / "train.py"
            path.write_text(source, "utf-8")
            before = _of_children()
            words = [sys.executable, str(PROGRAM), str(self._objective.root), str(path), str(seed), str(tokens)]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=RUN_SECONDS, cwd=name)
                status, out, told = done.returncode, done.stdout, done.stderr
            except subprocess.TimeoutExpired:
                status, out, told = -1, "", "it took too long"
            self.cpu_seconds += _of_children() - before
        wall_seconds = time.monotonic() - begun
        if status != 0:
            return Outcome(None, {}, (), 0, 0.0, wall_seconds, 0, Failure.EXCEPTION, told[-2000:], "")
        found = json.loads(out)
        return Outcome(found["value"], {}, (), tokens, found["seconds"], wall_seconds, 0, None, "", "")

    def can_alternate(self) -> bool:
        return False


def _of_children() -> float:
    """CPU seconds of the processes that this one has waited for."""
    times = os.times()
    return times.children_user + times.children_system

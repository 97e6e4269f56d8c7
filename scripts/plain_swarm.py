"""Start and watch plain nodes (see plain_node.py): what the demonstrations of the network share.

Only processes started here are ever ended, by their id.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NODE = [sys.executable, str(Path(__file__).resolve().parent / "plain_node.py")]


@dataclass
class PlainNode:
    """One node. `prefix` is put before its command line: "ip netns exec NAME" puts it into a namespace."""

    folder: Path
    arguments: Sequence[str] = ()
    prefix: Sequence[str] = ()
    program: Sequence[str] = field(default_factory=lambda: NODE)
    state: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    ends: int = 0  # how often it ended without being told to
    owed: int = 0  # records that it has said it made, and so has to have for ever

    def start(self) -> None:
        command = [*self.prefix, *self.program, str(self.folder), *self.arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.process, self.state = process, {}
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        threading.Thread(target=self._complain, args=(process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            state = json.loads(line)
            self.owed = max(self.owed, state["own"])
            if process is self.process:
                self.state = state

    def _complain(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.complaints.append(line.rstrip())
            del self.complaints[:-200]

    def write(self, count: int, size: int = 500) -> None:
        self._order(f"write {count} {size}")

    def write_source(self, size: int) -> None:
        self._order(f"source {size}")

    def _order(self, order: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it as a crash would. A prefix that forks keeps the node as its child: `ip netns exec` does not."""
        assert self.process is not None
        if self.process.poll() is not None:
            self.ends += 1
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None and self.process.stdin is not None:
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def of(self, name: str) -> Any:
        return self.state.get(name)


def wait_for(condition: Callable[[], object], seconds: float) -> float | None:
    """Seconds until the condition held; None when it did not within the time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.05)
    return None


def lost(nodes: Sequence[PlainNode]) -> int:
    """Records that a node has said it made and that it does not hold now; where all are equal, nobody does."""
    return sum(max(0, node.owed - (node.of("own") or 0)) for node in nodes)


def equal(nodes: Sequence[PlainNode], records: int | None = None) -> bool:
    """Whether all hold the same feeds, and so many records where a number is given."""
    digests = {node.of("digest") for node in nodes}
    counts = {node.of("records") for node in nodes}
    return len(digests) == 1 and None not in digests and (records is None or counts == {records})

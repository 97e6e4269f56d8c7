"""Start and watch real nodes on this machine: what the demonstration scripts share.

Every node is the installed program in a process of its own, with a home below one folder, listening on loopback only.
Only processes started here are ever ended, by their id.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, "-m", "node"]
# Short runs are noisier than what is left out when less is judged, and would take less time than their judging.
JUDGED_LESS = (
    ("language.py", "\nWINDOWS = 4096", "\nWINDOWS = 1024"),
    ("language.py", "CHECKPOINT_WINDOWS = 256", "CHECKPOINT_WINDOWS = 64"),
    ("judge.py", "CHECKPOINT_WINDOWS = 256", "CHECKPOINT_WINDOWS = 64"),
)
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
EDITABLE = "RATE = 0.5\nSIZE = 30\nDEPTH = 4\n"
COMMAND = "from train import DEPTH, RATE, SIZE\n\nprint(f'METRIC loss={1 + RATE**2 + SIZE / 100 + (DEPTH - 9) ** 2}')\n"


def small_objective(folder: Path, tokens: int, category: str | None = None) -> Path:
    """A copy of tinylm with a smaller token budget, judged on less: a different objective id, runs of a second or two.

    category: keep only the ideas of this category, so that the first hypothesis is known beforehand.
    """
    root = folder / f"tinylm-{tokens}"
    shutil.copytree(REPOSITORY / "objectives" / "tinylm", root, ignore=shutil.ignore_patterns("__pycache__"))
    settings = root / "objective.toml"
    text, changed = re.subn(r"(?m)^tokens\s*=\s*[\d_]+", f"tokens = {tokens}", settings.read_text(), count=1)
    assert changed == 1, "objective.toml names its own token budget first, and those of its scales after it"
    settings.write_text(text)
    judge_less(root)
    for ideas in (root / "ideas").glob("*.toml"):
        if category is not None and f'category = "{category}"' not in ideas.read_text():
            ideas.unlink()
    return root


def command_objective(folder: Path) -> Path:
    """An objective whose runs take a moment."""
    root = folder / "command"
    root.mkdir()
    (root / "train.py").write_text(EDITABLE)
    (root / "bench.py").write_text(COMMAND)
    about = ["--command", "python bench.py", "--metric", "loss", "--lower", "--editable", "train.py"]
    subprocess.run([*PROGRAM, "objective", "import", str(root), *about], check=True, stdout=subprocess.DEVNULL)
    return root


def judge_less(root: Path) -> None:
    """Let the judge of a copy of tinylm look at less, which takes a fraction of the time."""
    for name, usual, small in JUDGED_LESS:
        text = (root / name).read_text()
        assert text.count(usual) == 1, f"{name} says {usual!r} once"
        (root / name).write_text(text.replace(usual, small))


@dataclass
class NodeProcess:
    """One node: its home, and the process while it runs."""

    home: Path
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    program: list[str] = field(default_factory=lambda: PROGRAM)

    def start(self, *more: str) -> None:
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with (self.home.parent / f"{self.home.name}.out").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(*self.program, "join", "--no-dashboard", *more),
                    *("--home", str(self.home), "--listen", LOOPBACK, *self.arguments),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.home.parent,
                env={**os.environ, "NO_COLOR": "1"},
            )

    def end(self, how: signal.Signals = signal.SIGINT, patience: float = 10.0) -> float:
        """Signal this node's process and wait for it; returns the seconds it took."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(patience)
        self.process = None
        return time.monotonic() - begun

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask(self, *command: str) -> Any:
        """The answer of a reading command, as data. Raises CalledProcessError with what it printed."""
        done = subprocess.run(
            [*PROGRAM, *command, "--json", "--home", str(self.home)], capture_output=True, text=True, timeout=60
        )
        done.check_returncode()
        return json.loads(done.stdout)

    def invite(self, patience: float = 120.0) -> str:
        """The node's invite, as soon as it listens."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return str(self.ask("invite")["invite"])
            except subprocess.CalledProcessError as error:
                if time.monotonic() > deadline or not self.running():
                    raise RuntimeError(f"{self.home.name}: {error.stderr}") from None
                time.sleep(0.5)

    def records(self) -> list[dict[str, Any]]:
        found = self.ask("records")
        assert isinstance(found, list)
        return found

    def events(self) -> list[dict[str, Any]]:
        """Everything in the node's log so far; a torn last line is left out."""
        try:
            lines = (self.home / "node.log.jsonl").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        events = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events

    def wait_for(
        self, what: str, condition: Callable[[list[dict[str, Any]]], bool], patience: float, since: int = 0
    ) -> list[dict[str, Any]]:
        """Wait until the node's log (from event number `since`) fulfils a condition."""
        deadline = time.monotonic() + patience
        while not condition(events := self.events()[since:]):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.home.name}: no {what} within {patience:.0f} s")
            if not self.running():
                raise RuntimeError(f"{self.home.name} ended while waiting for {what}")
            time.sleep(0.2)
        return events


def heard(*any_of: str) -> Callable[[list[dict[str, Any]]], bool]:
    """A condition: the log has one of these events."""
    return lambda events: any(found.get("event") in any_of for found in events)


@contextmanager
def ended_afterwards(*nodes: NodeProcess) -> Iterator[None]:
    """Whatever happens, no node started here outlives the block."""
    try:
        yield
    finally:
        for node in nodes:
            if node.running():
                assert node.process is not None
                node.process.kill()
                node.process.wait()

"""What interruptions cost a run of minutes, and what runs leave behind: real nodes, real sandboxes, a table.

    .venv/bin/python scripts/interruptions.py [--only run|weights|many] [--seconds 300] [--every 60] [--runs 50]

    run      a node's first run, of so many seconds, is paused and resumed, its node is killed with SIGKILL, started
             again, stopped as by Ctrl-C, and started again; its value beside that of the same run without any of this
    weights  a model of 200 MB goes from its candidate to its examination: the memory of the node meanwhile
    many     short runs one after the other: the node's memory, descriptors, processes and disk, before and after

--every: seconds between two snapshots, for a shorter --seconds. The exit status says whether everything held.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from swarm_here import PROGRAM, REPOSITORY, NodeProcess, ended_afterwards, heard

from node.cli.main import main as node_main
from node.execution import snapshots
from node.execution.runner import UNFINISHED, Runner
from node.execution.sandbox.layers import probe
from node.execution.snapshots import NOTE, Snapshot
from node.ledger.outcome import Outcome
from node.ledger.store import Ledger
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.platform.home import Home
from node.trials.own_seeds import OwnSeeds

AS_NODE = "--as-node"  # first argument: be a node, with the seconds between snapshots that follow
QUIET_SETTINGS = "[network]\nlan = false\nupnp = false\n"
TEMPLATE = REPOSITORY / "objectives" / "template"
LOOP = "    for inputs, targets in task.batches"
SHORT_TOKENS, PROBE_TOKENS = 4096, 65_536
PATIENCE = 3600.0
FROZEN_SECONDS = 10.0
MOST_MORE = 0.6  # of a run's CPU time, which is noisy on a busy machine; what is made again after a kill is not counted
WEIGHTS_MB = 200
NODE_MAY_GROW = 40 << 20  # bytes, by 200 MB of weights, and by fifty runs
SEED = 7


@dataclass(frozen=True)
class Row:
    what: str
    found: str
    holds: bool


def ignore(*_: object, **__: object) -> None:
    """Progress and events that nobody reads."""


def changed(folder: Path, tokens: int, source: str, **numbers: int) -> Objective:
    """The template with another budget, another source and other numbers."""
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = folder / "objective.toml"
    text = settings.read_text()
    for name, number in {"tokens": tokens, "wall_seconds": int(PATIENCE), **numbers}.items():
        text, count = re.subn(rf"(?m)^{name} = .*", f"{name} = {number}", text)
        assert count == 1, f"objective.toml says {name} once"
    settings.write_text(text)
    (folder / "train.py").write_text(source)
    return load_objective(folder, folder.parent / "data")


def resumable() -> str:
    text = (TEMPLATE / "train.py").read_text()
    assert text.count(LOOP) == 1
    return text.replace(LOOP, f"    task.resumable(model=model, optimizer=optimizer)\n{LOOP}")


def run_once(objective: Objective, weights: Path, seed: int) -> Outcome:
    """One run without an interruption."""

    async def run() -> Outcome:
        async with Runner(objective, probe(), weights, ignore) as runner:
            return await runner.run(objective.source, seed, ignore)

    outcome = trio.run(run)
    assert outcome.failure is None, outcome.log_tail
    return outcome


# ---- a run that is interrupted ---------------------------------------------------------------------------------------


def noted(home: Path) -> Snapshot | None:
    """What the node has noted of its run."""
    for note in (home / "weights" / UNFINISHED).glob(f"*/{NOTE}"):
        try:
            return msgspec.json.decode(note.read_bytes(), type=Snapshot)
        except FileNotFoundError:
            return None
    return None


def wait_for_share(node: NodeProcess, share: float) -> Snapshot:
    """Wait for a snapshot of at least so much of the run."""
    deadline = time.monotonic() + PATIENCE
    while (found := noted(node.home)) is None or found.share < share:
        if time.monotonic() > deadline or not node.running():
            raise RuntimeError(f"no snapshot of {share:.0%} of the run")
        time.sleep(0.2)
    return found


def say(node: NodeProcess, word: str) -> None:
    subprocess.run([*PROGRAM, word, "--home", str(node.home)], check=True, capture_output=True)


def interrupted_run(folder: Path, seconds: float, every: float) -> list[Row]:
    probed = changed(folder / "probe" / "objective", PROBE_TOKENS, resumable())
    speed = run_once(probed, folder / "probe" / "weights", SEED)
    tokens = int(PROBE_TOKENS * seconds / speed.cpu_seconds) // 512 * 512
    objective = changed(folder / "objective", tokens, resumable())
    program = [sys.executable, str(Path(__file__).resolve()), AS_NODE, str(every)]
    node = NodeProcess(folder / "home", ["--objective", str(objective.root)], program=program)
    node.home.mkdir(parents=True)
    (node.home / "swarm.toml").write_text(QUIET_SETTINGS)
    begun = time.monotonic()
    with ended_afterwards(node):
        node.start()
        wait_for_share(node, 0.2)
        say(node, "pause")
        time.sleep(FROZEN_SECONDS)
        say(node, "resume")
        killed_at = wait_for_share(node, 0.45)
        children = psutil.Process(node.process.pid).children(recursive=True) if node.process else []
        node.end(signal.SIGKILL)
        _, left = psutil.wait_procs(children, timeout=5)
        node.start()
        node.wait_for("the run to go on", heard("run goes on"), PATIENCE)
        wait_for_share(node, 0.7)
        node.end(signal.SIGINT, patience=60)
        since = len(node.events())
        node.start()
        node.wait_for("the baseline", heard("baseline"), PATIENCE, since)
        node.end(signal.SIGINT, patience=60)
    took = time.monotonic() - begun
    with closing(Ledger.read(node.home / "ledger.sqlite")) as ledger:
        outcome = ledger.runs(objective.source_id)[0]
    seed = OwnSeeds(Home(node.home).identity(), objective.id).of_screening(objective.source_id)
    whole = run_once(objective, folder / "whole", seed)
    went_on = [event for event in node.events() if event.get("event") == "run goes on"]
    same = (outcome.value, outcome.checkpoints) == (whole.value, whole.checkpoints)
    left_over = list((node.home / "weights" / UNFINISHED).glob("*"))
    more = outcome.cpu_seconds / whole.cpu_seconds - 1
    return [
        Row("the same run without interruptions", f"{whole.value!r}, {whole.cpu_seconds:.0f} s of CPU", True),
        Row("paused, resumed, killed, stopped", f"{outcome.value!r}, {outcome.cpu_seconds:.0f} s of CPU", same),
        Row("checkpoints of both", "equal" if same else f"{outcome.checkpoints} {whole.checkpoints}", same),
        Row("snapshot at the kill", f"{killed_at.share:.0%} of the run, {killed_at.length / 1e6:.2f} MB", True),
        Row("went on at", ", ".join(f"{event['share']:.0%}" for event in went_on), len(went_on) == 2),
        Row("its cost, all parts", f"{more:+.0%}", abs(more) < MOST_MORE),
        Row("seconds in all, pause and starts included", f"{took:.0f}", True),
        Row("processes left by the kill", str(len(left)), not left),
        Row("files left of it", str(len(left_over)), not left_over),
    ]


# ---- large weights ---------------------------------------------------------------------------------------------------


def large_weights(folder: Path) -> list[Row]:
    ballast = f'        self.register_buffer("ballast", torch.ones({WEIGHTS_MB * 250_000}))\n'
    source = (TEMPLATE / "train.py").read_text().replace("        self.head =", f"{ballast}        self.head =")
    assert ballast in source
    objective = changed(folder / "objective", SHORT_TOKENS, source, weights_mb=256)
    me, seen = psutil.Process(), []

    async def run() -> Outcome:
        async with Runner(objective, probe(), folder / "weights", ignore) as runner, trio.open_nursery() as nursery:
            seen.append(me.memory_info().rss)

            async def watch() -> None:
                while True:
                    seen.append(me.memory_info().rss)
                    await trio.sleep(0.05)

            nursery.start_soon(watch)
            outcome = await runner.run(objective.source, SEED, ignore)
            nursery.cancel_scope.cancel()
        return outcome

    outcome = trio.run(run)
    grown = max(seen) - seen[0]
    kept = sum(path.stat().st_size for path in (folder / "weights").iterdir() if path.is_file())
    return [
        Row(
            f"a run with {WEIGHTS_MB} MB of weights",
            f"{outcome.value} {outcome.failure or ''}",
            outcome.value is not None,
        ),
        Row("the node's memory grew by at most", f"{grown / 1e6:.0f} MB", grown < NODE_MAY_GROW),
        Row("weights kept for the holdout", f"{kept / 1e6:.0f} MB", kept >= WEIGHTS_MB * 1_000_000),
    ]


# ---- many runs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """What a node and its workers hold. Sizes in bytes."""

    memory: int
    workers: int
    descriptors: int
    processes: int
    disk: int

    @classmethod
    def now(cls, home: Path) -> Held:
        me = psutil.Process()
        children = me.children(recursive=True)
        memory = 0
        for child in children:
            try:
                memory += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        files = [path for path in home.rglob("*") if path.is_file()]
        disk = sum(path.stat().st_blocks * 512 for path in files)
        return cls(me.memory_info().rss, memory, len(os.listdir("/proc/self/fd")), len(children), disk)


def many_runs(folder: Path, runs: int) -> list[Row]:
    objective = changed(folder / "objective", SHORT_TOKENS, resumable())
    home = folder / "home"

    async def run() -> tuple[Held, Held, Held, list[Outcome]]:
        outcomes = []
        async with Runner(objective, probe(), home, ignore) as runner:
            for number in range(runs):
                outcomes.append(await runner.run(objective.source, number, ignore))
                if number == 1:  # the first run imports, and starts what the next ones find
                    before = Held.now(home)
            after = Held.now(home)
            await runner.cool_down()
            return before, after, Held.now(home), outcomes

    before, after, cold, outcomes = trio.run(run)
    failed = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    weights = sum(path.stat().st_blocks * 512 for path in home.iterdir() if path.is_file())
    more = after.memory - before.memory
    return [
        Row(f"{runs} runs", f"{len(failed)} failed", not failed),
        Row("the node's memory", _from_to(before.memory, after.memory), more < NODE_MAY_GROW),
        Row("its workers' memory", _from_to(before.workers, after.workers), after.workers < 1.3 * before.workers),
        Row("descriptors", f"{before.descriptors} -> {after.descriptors}", after.descriptors <= before.descriptors),
        Row("processes", f"{before.processes} -> {after.processes}", after.processes <= before.processes),
        Row("processes once it cooled down", str(cold.processes), cold.processes == 0),
        Row("disk besides kept weights", f"{(after.disk - weights) / 1e6:.2f} MB", after.disk == weights),
    ]


def _from_to(before: int, after: int) -> str:
    return f"{before / 1e6:.0f} -> {after / 1e6:.0f} MB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("run", "weights", "many"))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--every", type=float, default=snapshots.EVERY_SECONDS)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    parts: dict[str, Callable[[Path], list[Row]]] = {
        "run": lambda folder: interrupted_run(folder, options.seconds, options.every),
        "weights": large_weights,
        "many": lambda folder: many_runs(folder, options.runs),
    }
    holds = True
    for name, part in parts.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="interruptions-") as folder:
                for row in part(Path(folder)):
                    print(f"{'' if row.holds else 'NOT: '}{row.what:45} {row.found}")
                    sys.stdout.flush()
                    holds &= row.holds
    print("all of it holds" if holds else "not all of it holds")
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == [AS_NODE]:
        snapshots.EVERY_SECONDS = float(sys.argv[2])
        sys.argv[1:] = sys.argv[3:]
        node_main()
    else:
        sys.exit(main())

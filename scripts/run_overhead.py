"""What a run costs besides training and scoring, all processes counted, and how soon it begins.

    .venv/bin/python scripts/run_overhead.py [--rounds 5] [--tokens 524288]

The CPU seconds of each part of a run: its workers from when they have their job; making them, from the fork until then;
the servers that fork them; the node. What the servers take until they are ready is paid once, and shown apart. Medians
with the smallest and largest value. Writes nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.run_progress import Progress
from node.execution.runner import Runner
from node.execution.sandbox.forks import ForkedProcess, ForkServer
from node.execution.sandbox.layers import probe, tier
from node.execution.worker import Worker
from node.objective.schema import Objective
from tests.node.execution.small_objective import small_objective

TRAINING, SCORING, DRAWING = "training", "scoring", "drawing the text"
PART_OF_PROGRAM = {"train": TRAINING, "answer": SCORING, "judge": SCORING, "draw": DRAWING}
MAKING, SERVERS, NODE = "making workers", "fork servers", "the node"
BESIDE = (MAKING, SERVERS, NODE)
CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED, in the clock that the kernel has for each process (clock_getcpuclockid(3))
FIRST, WALL = "first step, ms", "wall seconds"


class Observer:
    """Sees every server and every fork that this process makes."""

    def __init__(self) -> None:
        self.servers: list[ForkServer] = []
        self.forks: list[tuple[str, ForkedProcess]] = []
        self.before_job: dict[ForkedProcess, float] = {}
        start, fork, begin = ForkServer.start, ForkServer.fork, Worker.begin_job

        def start_seen(*arguments: Any) -> ForkServer:
            self.servers.append(start(*arguments))
            return self.servers[-1]

        async def fork_seen(server: ForkServer, program: str, *arguments: Any) -> ForkedProcess:
            made = await fork(server, program, *arguments)
            self.forks.append((program, made))
            return made

        def begin_seen(worker: Worker, seconds: float) -> None:
            begin(worker, seconds)
            self.before_job[worker.process] = time.clock_gettime(~worker.process.pid << 3 | CLOCK_OF_PROCESS)

        ForkServer.start = start_seen  # type: ignore[method-assign,assignment]
        ForkServer.fork = fork_seen  # type: ignore[method-assign,assignment]
        Worker.begin_job = begin_seen  # type: ignore[method-assign]

    def of_servers(self) -> float:
        return sum(server.process.cpu_seconds() for server in self.servers)


async def one(runner: Runner, objective: Objective, seed: int, observer: Observer) -> dict[str, float]:
    """The parts of one run."""
    observer.forks.clear()
    servers, node = observer.of_servers(), time.process_time()
    called, began = time.monotonic(), []

    def note(progress: Progress) -> None:
        began.append(time.monotonic())

    outcome = await runner.run(objective.source, seed, note)
    assert outcome.value is not None, outcome
    parts: dict[str, float] = defaultdict(float)
    parts |= {NODE: time.process_time() - node, WALL: time.monotonic() - called}
    parts[FIRST] = 1000 * (began[0] - called)
    await trio.sleep(1)  # for what was drawn ahead, and for servers to note the end of their forks
    parts[SERVERS] = observer.of_servers() - servers
    for program, fork in observer.forks:
        before = observer.before_job.get(fork, 0.0)
        parts[MAKING] += before
        parts[PART_OF_PROGRAM[program]] += fork.cpu_seconds() - before
    return parts


def spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


async def measure(objective: Objective, folder: Path, rounds: int) -> None:
    layers, observer = probe(), Observer()
    async with Runner(objective, layers, folder, lambda *_, **__: None) as runner:
        for server in observer.servers:
            await server.wait_ready()
        once = observer.of_servers()
        await one(runner, objective, 0, observer)
        runs = [await one(runner, objective, seed, observer) for seed in range(1, rounds + 1)]
    print(f"tier {tier(layers)}, {objective.budget.tokens} tokens, {rounds} runs")
    for part in (TRAINING, SCORING, DRAWING, *BESIDE):
        print(f"{part:20} {spread([run[part] for run in runs], '.3f')} s of CPU")
    beside = [sum(run[part] for part in BESIDE) for run in runs]
    whole = [
        own + sum(run[part] for part in (TRAINING, SCORING, DRAWING)) for own, run in zip(beside, runs, strict=True)
    ]
    print(f"{'besides':20} {spread(beside, '.3f')} s, {spread(list(map(share, beside, whole)), '.1%')} of the run")
    drawn = [own + run[DRAWING] for own, run in zip(beside, runs, strict=True)]
    print(f"{'with drawing':20} {spread(drawn, '.3f')} s, {spread(list(map(share, drawn, whole)), '.1%')} of the run")
    print(f"{'fork servers, once':20} {once:.2f} s")
    for part, form in ((FIRST, ".0f"), (WALL, ".2f")):
        print(f"{part:20} {spread([run[part] for run in runs], form)}")


def share(part: float, whole: float) -> float:
    return part / whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=524_288)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        objective = small_objective(Path(name), tokens=options.tokens)
        trio.run(measure, objective, Path(name) / "weights", options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())

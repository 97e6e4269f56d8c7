"""Which measure of a source's cost does the neighbours' load not move? Real training of tinylm, timed in several ways.

    .venv/bin/python scripts/cost_measures.py [--tokens 65536] [--same 20] [--dearer 12] [--quiet]

Every measure times pairs of sources: such as cost the same (the learning rate differs), and such as differ by a fifth
(a second model takes every fifth step as well, and is thrown away). Meanwhile two busy programs are started and stopped
at random; with --quiet they are not. Pairs of all measures take turns, so that all meet the same machine. Shown is
ln(cost ratio) of both kinds: mean, standard deviation and the largest distance from the mean of what is expected.

Sources train in forks of this process that no sandbox holds, since only their CPU time is of interest. What came of it:
docs/decisions/cost-measure.md.
"""

from __future__ import annotations

import argparse
import json
import math
import mmap
import os
import random
import select
import signal
import statistics
import struct
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from in_process import text
from loaded_machine import dearer, other_rate, two_busy_programs

from node.execution.workers import train as candidate
from node.execution.workers.preload_torch import warm_up
from node.objective.load import load_objective

ROOT = Path(__file__).resolve().parent.parent
TINYLM = ROOT / "objectives" / "tinylm"
REFERENCE_SHARE = 0.25  # CPU time of the reference, as a share of the run's


# ---- processes that train --------------------------------------------------------------------------------------------


@dataclass
class Training:
    """A source that trains in a fork of this process. It begins stopped, and runs from one `thaw` to the next `freeze`.

    share: of the budget, as the source's task reports it.
    """

    pid: int
    memory: mmap.mmap
    begun: float = 0.0  # CPU seconds it had used when training began
    used: float | None = None  # CPU seconds of training, once it has ended

    @property
    def share(self) -> float:
        return float(struct.unpack_from("d", self.memory)[0])

    def cpu_seconds(self) -> float:
        if self.used is not None:
            return self.used
        return time.clock_gettime((~self.pid << 3) | 2) - self.begun  # CPUCLOCK_SCHED of a process

    def run_for(self, seconds: float) -> None:
        """Let it run for so long, or to its end."""
        os.kill(self.pid, signal.SIGCONT)
        descriptor = os.pidfd_open(self.pid)
        try:
            ended, _, _ = select.select([descriptor], [], [], seconds)
        finally:
            os.close(descriptor)
        if not ended:
            os.kill(self.pid, signal.SIGSTOP)
            return
        _, status, used = os.wait4(self.pid, 0)
        assert status == 0, f"a training ended with status {status}"
        self.used = used.ru_utime + used.ru_stime - self.begun

    def run_until(self, cpu_seconds: float) -> None:
        """Let it run until it has used so much, or to its end."""
        while self.used is None and (missing := cpu_seconds - self.cpu_seconds()) > 0.001:
            self.run_for(missing)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def start(source: str, seed: int, tokens: int, data: Any) -> Training:
    memory = mmap.mmap(-1, 8)
    pid = os.fork()
    if pid == 0:
        _train(source, seed, tokens, data, memory)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    training = Training(pid, memory)
    training.begun = training.cpu_seconds()
    return training


def _train(source: str, seed: int, tokens: int, data: Any, memory: mmap.mmap) -> NoReturn:
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        job = {"seed": seed, "tokens": tokens, "context": 64, "vocabulary": 256, "checkpoints": []}
        task = candidate.Task(job, data, devnull, devnull)
        report = task.report

        def noting(model: Any, loss: Any) -> None:
            report(model, loss)
            struct.pack_into("d", memory, 0, task.progress)

        task.report = noting
        os.kill(os.getpid(), signal.SIGSTOP)
        candidate.load({"train.py": source.encode()}, seed).train(task)  # type: ignore[attr-defined]
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


# ---- measures --------------------------------------------------------------------------------------------------------

Start = Callable[[str], Training]


def one_after_the_other(start: Start, parent: str, child: str) -> float:
    """The parent to its end, then the child."""
    used = []
    for source in (parent, child):
        training = start(source)
        while training.used is None:
            training.run_for(0.1)
        used.append(training.cpu_seconds())
    return math.log(used[1] / used[0])


def alternating(seconds: float, cpus: str, by_share: bool = False) -> Callable[[Start, str, str], float]:
    """In rounds, in each of which both use so many seconds of CPU time, in random order.

    cpus: "any", which the scheduler chooses; "one" for both and all rounds; "round", another one for every round.
    by_share: in each round the one that is behind by its share of the budget gets more, up to twice as much.
    """

    def measure(start: Start, parent: str, child: str) -> float:
        both = [start(parent), start(child)]
        allowed = sorted(os.sched_getaffinity(0))
        cpu = random.choice(allowed)
        targets = [0.0, 0.0]
        while any(training.used is None for training in both):
            if cpus == "round":
                cpu = random.choice(allowed)
            weights = _weights(both) if by_share else (1.0, 1.0)
            for side in random.sample((0, 1), 2):
                targets[side] += seconds * weights[side]
                if cpus != "any" and both[side].used is None:
                    os.sched_setaffinity(both[side].pid, {cpu})
                both[side].run_until(targets[side])
        return math.log(both[1].cpu_seconds() / both[0].cpu_seconds())

    return measure


def _weights(both: list[Training]) -> tuple[float, float]:
    """How much CPU time each gets in a round, so that both end together. Bounded: they may report what they like."""
    shares = [training.share for training in both]
    if min(shares) < 0.05:
        return 1.0, 1.0
    speeds = [share / training.cpu_seconds() for share, training in zip(shares, both, strict=True)]
    relative = min(2.0, max(0.5, speeds[0] / speeds[1]))
    return 1 / math.sqrt(relative), math.sqrt(relative)


def beside_a_reference(seconds: float) -> Callable[[Start, str, str], float]:
    """One after the other, each in turns with a training that is known; counted in steps of that one."""

    def measure(start: Start, parent: str, child: str) -> float:
        costs = []
        cpu = random.choice(sorted(os.sched_getaffinity(0)))
        for source in (parent, child):
            reference, training = start("reference"), start(source)
            for each in (reference, training):
                os.sched_setaffinity(each.pid, {cpu})
            reference.run_until(0.3)  # its first steps are slower
            share, spent = reference.share, reference.cpu_seconds()
            target = 0.0
            while training.used is None:
                target += seconds
                training.run_until(target)
                reference.run_until(spent + target * REFERENCE_SHARE)
            speed = (reference.share - share) / (reference.cpu_seconds() - spent)
            reference.end()
            costs.append(training.cpu_seconds() * speed)
        return math.log(costs[1] / costs[0])

    return measure


MEASURES: dict[str, Callable[[Start, str, str], float]] = {
    "one after the other": one_after_the_other,
    "alternating 50 ms, any CPU": alternating(0.05, "any"),
    "alternating 20 ms, one CPU": alternating(0.02, "one"),
    "alternating 50 ms, one CPU": alternating(0.05, "one"),
    "alternating 200 ms, one CPU": alternating(0.2, "one"),
    "alternating 50 ms, a CPU a round": alternating(0.05, "round"),
    "the same by share": alternating(0.05, "round", by_share=True),
    "beside a reference, 50 ms": beside_a_reference(0.05),
}

# ---- table -----------------------------------------------------------------------------------------------------------


@dataclass
class Found:
    same: list[float] = field(default_factory=list)
    dearer: list[float] = field(default_factory=list)


def row(name: str, found: Found) -> str:
    def part(values: list[float], around: float) -> str:
        if len(values) < 2:
            return ""
        furthest = max(abs(value - around) for value in values)
        return f"{statistics.mean(values):+.3f} ± {statistics.stdev(values):.3f}, {furthest:.3f}"

    return f"{name:34} {part(found.same, 0.0):26} {part(found.dearer, math.log(1.2)):26}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=65_536)
    parser.add_argument("--same", type=int, default=20, help="pairs of equal cost for each measure")
    parser.add_argument("--dearer", type=int, default=12, help="pairs of which the child costs a fifth more")
    parser.add_argument("--quiet", action="store_true", help="without the busy programs")
    parser.add_argument("--only", default="", help="measures whose names contain this")
    options = parser.parse_args()
    torch = sys.modules["torch"]
    torch.set_num_threads(1)
    warm_up()
    objective = load_objective(TINYLM, TINYLM)
    data = torch.frombuffer(bytearray(text(objective, 1, "train")), dtype=torch.uint8)
    source = objective.source
    chosen = {name: measure for name, measure in MEASURES.items() if options.only in name}
    found = {name: Found() for name in chosen}
    with nullcontext() if options.quiet else two_busy_programs(1):
        for number in range(max(options.same, options.dearer)):
            for name, measure in chosen.items():

                def start_one(which: str, seed: int = number) -> Training:
                    if which == "reference":
                        return start(source, seed, 1 << 40, data)
                    return start(which, seed, options.tokens, data)

                if number < options.same:
                    found[name].same.append(measure(start_one, source, other_rate(source, 37 * number)))
                if number < options.dearer:
                    found[name].dearer.append(measure(start_one, source, dearer(source)))
            print(
                json.dumps({name: [each.same[-1:], each.dearer[-1:]] for name, each in found.items()}), file=sys.stderr
            )
    print(f"{'ln(cost ratio)':34} {'the same: mean ± SD, most':26} {'a fifth dearer, from 0.182':26}")
    for name, each in found.items():
        print(row(name, each))
    return 0


if __name__ == "__main__":
    sys.exit(main())

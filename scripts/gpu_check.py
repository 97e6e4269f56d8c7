"""Does this machine's GPU work for runs, how fast, and is everything given back? One command, under ten minutes.

    .venv/bin/python scripts/gpu_check.py [--seconds 10] [--repeats 6] [--objective FOLDER] [--gpu 0]
    .venv/bin/python scripts/gpu_check.py --stand-in                    (no GPU: the same checks on this processor)

Prints a line for each check as it ends, and at last a table. Exits with 1 where a check failed or had no time. Nothing
is left behind: it works in a temporary folder, and every process that it starts ends with it. Without --objective it
takes nanolm, or where that is not here or its data cannot be made, tinylm, whose model is far too small for a GPU.

Times of runs without compiling unless said otherwise, since compiling takes half a minute for each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import trio

from node.execution.gpu.pool import GpuPool
from node.execution.gpu.room_process import CANDIDATE, EXAMINATION
from node.execution.gpu_lock import GpuLock
from node.execution.prepare import prepare_data
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe, tier
from node.execution.sandbox.tree import descendants
from node.ledger.outcome import Outcome
from node.objective.edits import EditError, apply
from node.objective.limits import HostLimits
from node.objective.load import load_objective
from node.objective.schema import Objective, ObjectiveError
from node.platform.gpu_types import Gpu
from node.platform.gpus import GpuDriver, InstalledDrivers
from node.proposers.catalogue import read_ideas
from scripts.gpu_attacks import TIERS, only
from scripts.gpu_kernel_check import kernels
from scripts.gpu_plain_loop import TIMED
from scripts.gpu_stand_in import StandInDriver, stand_in
from tests.node.execution.sandbox import gpu_stand_in
from tests.node.execution.sandbox.raid import SUCCEEDED

REPOSITORY = Path(__file__).resolve().parent.parent
MOST_SECONDS = 560.0  # of all checks together; what is left then is not begun
IDEAS = 3
RATES = 2  # measurements of tokens/s on each side
GOAL_RATE, GOAL_FIRST_STEP = 0.97, 1.0  # of the plain loop's tokens/s; seconds
HANG_SECONDS = 8.0
END_SECONDS = 15.0  # for a run that is ended to be over and cleared away
RATE_SECONDS = 5.0  # in which a rate is measured, once everything is set up
PLAIN_LOOP = Path(__file__).with_name("gpu_plain_loop.py")
ATTACKS = Path(__file__).with_name("gpu_attacks.py")
NANOLM, TINYLM = REPOSITORY / "objectives" / "nanolm", REPOSITORY / "objectives" / "tinylm"
RATE = re.compile(r"tokens/s (\d+)")


class CheckFailed(Exception):
    """A check found what must not be; the text says what."""


@dataclass
class Row:
    name: str
    ok: bool | None  # None: there was no time for it
    seconds: float
    found: str


@dataclass
class Bench:
    """What all checks share."""

    objective: Objective
    gpu: Gpu
    driver: GpuDriver
    layers: Layers
    folder: Path
    stand_in: bool
    repeats: int
    deadline: float
    rows: list[Row] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def log(self, event: str, level: str = "info", **details: Any) -> None:
        self.events.append((event, details))

    def pool(self, objective: Objective | None = None) -> GpuPool:
        folders = self.folder / "folders"
        return GpuPool(objective or self.objective, self.layers, [self.gpu], self.driver, folders, self.log)

    def runner(self, objective: Objective | None = None) -> Runner:
        objective = objective or self.objective
        return Runner(objective, self.layers, self.folder / "weights", self.log, gpus=self.pool(objective))

    @property
    def eager(self) -> str:
        """The baseline without compiling."""
        return self.objective.source.replace("torch.compile(loss_of)", "loss_of")

    async def check(self, name: str, most: float, patience: float, measure: Callable[[], Awaitable[str]]) -> None:
        """One check, which has so many seconds, or with patience so many times as many. What it returns is shown."""
        begun = time.monotonic()
        left = self.deadline - begun
        if left < most / 3:
            self.note(Row(name, None, 0.0, f"{left:.0f} s were left, it needs up to {most:.0f}"))
            return
        most *= patience
        ok, found = False, f"not over after {min(most, left):.0f} s"
        with trio.move_on_after(min(most, left)):
            try:
                ok, found = True, await measure()
            except* (CheckFailed, OSError, RuntimeError, AssertionError) as problems:
                ok, found = False, "; ".join(_texts(problems))
        self.note(Row(name, ok, time.monotonic() - begun, found))

    def note(self, row: Row) -> None:
        self.rows.append(row)
        print(line_of(row), flush=True)


def _texts(problem: BaseException) -> Iterator[str]:
    if isinstance(problem, BaseExceptionGroup):
        for inner in problem.exceptions:
            yield from _texts(inner)
    else:
        yield f"{problem}" if isinstance(problem, CheckFailed) else f"{type(problem).__name__}: {problem}"


def line_of(row: Row) -> str:
    mark = {True: "ok", False: "FAILED", None: "no time"}[row.ok]
    return f"{mark:8}{row.name:32}{row.seconds:7.1f} s  {row.found}"


def must(outcome: Outcome, what: str) -> Outcome:
    if outcome.value is None:
        raise CheckFailed(f"{what}: {outcome.failure}: {outcome.log_tail[-400:]}")
    return outcome


# ---- the checks ------------------------------------------------------------------------------------------------------


async def driver_view(bench: Bench) -> str:
    use = await trio.to_thread.run_sync(bench.driver.use, bench.gpu)
    if use is None:
        raise CheckFailed("the driver gives no answer")
    others = {pid: size >> 20 for pid, size in use.processes.items()}
    told = f"{bench.gpu.name}, driver {bench.gpu.driver}, {use.memory_free >> 20} of {use.memory_total >> 20} MiB free"
    return f"{told}, sandbox {tier(bench.layers)}, others' processes (MiB): {others or 'none'}"


async def rooms(bench: Bench) -> str:
    """Rooms get ready, in every tier that this machine has."""
    took = []
    for name in TIERS:
        if not getattr(bench.layers, name):
            continue
        begun = time.monotonic()
        async with replace(bench, layers=only(bench.layers, name)).runner() as runner:
            await ready(runner)
            took.append(f"{name} {time.monotonic() - begun:.1f} s")
    return f"a cold room is ready: {', '.join(took)}"


async def ready(runner: Runner, *programs: str) -> None:
    """Wait for rooms that are started ahead: the candidate's, and those of these programs."""
    assert runner._gpus is not None
    rooms = runner._gpus._idle[0]
    for program in (CANDIDATE, *programs):
        rooms.get_ready(program)
        await rooms._ahead[program].wait_ready()


async def attacks(bench: Bench) -> str:
    """What a hostile program tries that has been given the GPU, as scripts/attack_table.py has it of a stand-in.

    In a process of its own, since it starts what it attacks by itself.
    """
    files = bench.gpu.device_files
    if files:
        others = (f"/dev/nvidia{number}" for number in range(64))
        other = next((path for path in others if path not in files and os.path.exists(path)), "/dev/nvidia-modeset")
        devices = [files[-1], other]
    elif os.geteuid() == 0:
        made = gpu_stand_in.make(bench.folder / "devices")
        devices = [str(made.given), str(made.other)]
    else:
        return "left out: only root can make the device files of a stand-in"
    command = [sys.executable, str(ATTACKS), *devices]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode:
        raise CheckFailed(done.stderr.decode("utf-8", "replace")[-400:])
    results: dict[str, dict[str, str]] = json.loads(done.stdout)
    came_through = [
        f"{name}: {attack}" for name, found in results.items() for attack, came in found.items() if came == SUCCEEDED
    ]
    if came_through:
        raise CheckFailed("; ".join(came_through))
    return f"none of {', '.join(f'{len(found)} ({name})' for name, found in results.items())} succeeded"


async def baseline(bench: Bench) -> str:
    """The objective's own source, as it is: compiled where it compiles."""
    async with bench.runner() as runner:
        await ready(runner)
        outcome = must(await runner.run(bench.objective.source, 1, lambda progress: None), "the baseline")
        holdout = must(await runner.examine(bench.objective.source, 1, "holdout"), "its holdout")
    return f"{described(bench, outcome)}, holdout {holdout.value:.4f}"


def described(bench: Bench, outcome: Outcome) -> str:
    seconds = bench.objective.budget.seconds or outcome.cpu_seconds
    return (
        f"{bench.objective.metric} {outcome.value:.4f}, {outcome.tokens / 1e6:.2f} M tokens "
        f"({outcome.tokens / seconds:,.0f}/s of the budget), {outcome.cpu_seconds:.1f} s of the GPU, "
        f"{outcome.wall_seconds:.1f} s in all"
    )


async def ideas(bench: Bench) -> str:
    """The first ideas of the catalogue that apply, each of another category."""
    sources: dict[str, tuple[str, str]] = {}
    for idea in read_ideas(bench.objective.root / "ideas"):
        if idea.category not in sources and len(sources) < IDEAS:
            try:
                sources[idea.category] = idea.title, apply(bench.eager, idea.edits)
            except EditError:
                continue
    if len(sources) < IDEAS:
        raise CheckFailed(f"only {len(sources)} ideas apply")
    found = []
    async with bench.runner() as runner:
        for title, source in sources.values():
            outcome = must(await runner.run(source, 1, lambda progress: None), title)
            found.append(f"{title} {outcome.value:.4f}")
    return "; ".join(found)


async def first_step(bench: Bench) -> str:
    """From asking for a run to the candidate's first report of a step, with a room that waits."""
    objective = bench.objective
    if objective.budget.seconds is not None:
        objective = replace(objective, budget=replace(objective.budget, seconds=1.0))
    took = []
    async with bench.runner(objective) as runner:
        for seed in range(3):
            await ready(runner)
            seen: list[float] = []
            begun = time.monotonic()
            await runner.run(bench.eager, seed, lambda progress, seen=seen: seen.append(time.monotonic()))  # type: ignore[misc]
            took.append(seen[0] - begun)
    shown = ", ".join(f"{seconds:.2f}" for seconds in took)
    if min(took) > GOAL_FIRST_STEP and not bench.stand_in:
        raise CheckFailed(f"{shown} s, the goal is {GOAL_FIRST_STEP:g} s")
    return f"{shown} s"


async def rate(bench: Bench) -> str:
    """Tokens/s of the same loop in a room and in a plain process, alternating."""
    source = bench.eager + TIMED.format(seconds=RATE_SECONDS)
    budget = replace(bench.objective.budget, tokens=0, seconds=600.0, warmup_seconds=60.0, wall_seconds=120.0)
    rates: list[tuple[float, float]] = []
    async with bench.runner(replace(bench.objective, budget=budget)) as runner:
        for seed in range(RATES):
            await ready(runner, EXAMINATION)  # else that would get ready beside what is measured
            outcome = await runner.run(source, seed, lambda progress: None)
            await runner.cool_down()  # so that nothing of ours is beside the plain loop
            rates.append((told_rate(outcome.log_tail), await plain_rate(bench, source)))
    ratio = statistics.median(inside / plain for inside, plain in rates)
    shown = "; ".join(f"{inside:,.0f} to {plain:,.0f}" for inside, plain in rates)
    if ratio < GOAL_RATE and not bench.stand_in:
        raise CheckFailed(f"{ratio:.3f} of the plain loop's ({shown} tokens/s); the goal is {GOAL_RATE}")
    return f"{ratio:.3f} of the plain loop's ({shown} tokens/s)"


async def plain_rate(bench: Bench, source: str) -> float:
    path = bench.folder / "plain.py"
    path.write_text(source, "utf-8")
    objective = bench.objective
    words: list[object] = [path, bench.gpu.torch_device, objective.context, objective.vocabulary]
    words += [objective.scale, objective.budget.threads]
    command = [sys.executable, str(PLAIN_LOOP), *map(str, words)]
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, check=False, start_new_session=True
    )
    return told_rate((done.stdout + done.stderr).decode("utf-8", "replace"))


def told_rate(text: str) -> float:
    found = RATE.findall(text)
    if not found:
        raise CheckFailed(f"no rate was told: {text[-400:]}")
    return float(found[-1])


async def out_of_memory(bench: Bench) -> str:
    """A source that takes all of the GPU's memory fails for that, soon, and the memory is back."""
    cuda = "kept = []\n    while True:\n        kept.append(torch.ones(1 << 28, device=task.device))"
    # Of a stand-in, the memory of the process counts for the GPU's; the watch over it ends this one.
    grows = "kept = []\n    while True:\n        kept.append(torch.ones(1 << 24))"
    objective, line = bench.objective, cuda
    if bench.stand_in:
        budget = replace(objective.budget, gpu_memory_bytes=1 << 30, memory_bytes=4 << 30)
        objective, line = replace(objective, budget=budget), grows
    return await fails(bench, objective, line, "memory", 0.0)


async def hang(bench: Bench) -> str:
    """A source whose kernel never ends is ended at its time, and with it the kernel."""
    line = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    "
    line += "while True:\n        pass" if bench.stand_in else "torch.cuda._sleep(1 << 62); torch.cuda.synchronize()"
    budget = replace(bench.objective.budget, tokens=10**9, seconds=None, wall_seconds=HANG_SECONDS)
    return await fails(bench, replace(bench.objective, budget=budget), line, "timeout", HANG_SECONDS)


async def fails(bench: Bench, objective: Objective, line: str, failure: str, after: float) -> str:
    """A source with this line at the beginning of its training fails so, not much later, and leaves nothing."""
    begins = "def train(task):\n"
    if begins not in bench.eager:
        raise CheckFailed(f"the source has no line {begins!r}")
    source = bench.eager.replace(begins, f"{begins}    {line}\n")
    async with bench.runner(objective) as runner:
        await ready(runner)
        begun = time.monotonic()
        outcome = await runner.run(source, 1, lambda progress: None)
        took = time.monotonic() - begun
        await runner.cool_down()
    if outcome.failure != failure:
        raise CheckFailed(f"it ended by {outcome.failure}, not {failure}: {outcome.log_tail[-300:]}")
    if took > after + END_SECONDS:
        raise CheckFailed(f"it took {took:.1f} s, {took - after:.1f} s more than it may")
    return f"{failure} after {took:.1f} s; {await nothing_left(bench)}"


async def nothing_left(bench: Bench) -> str:
    """Nobody of ours is on the GPU. Raises CheckFailed."""
    aside = [details["why"] for event, details in bench.events if event == "GPU set aside"]
    if aside:
        raise CheckFailed(f"the GPU was set aside: {aside[0]}")
    ours = set(descendants(os.getpid()))
    for _ in range(20):
        use = await trio.to_thread.run_sync(bench.driver.use, bench.gpu)
        if use is None:
            return "the driver does not say what is left"
        left = ours & set(use.processes)
        if not left:
            return "no process and no memory is left"
        await trio.sleep(0.1)
    raise CheckFailed(f"processes are left on the GPU: {sorted(left)}")


async def two_nodes(bench: Bench) -> str:
    """A second node on this machine is refused the GPU, and told who has it."""
    lock = GpuLock(bench.gpu)
    async with bench.runner() as runner:
        await ready(runner)
        if lock.take():
            lock.release()
            raise CheckFailed("a second node got the GPU")
        holder = lock.holder()
    if holder not in (os.getpid(), None):
        raise CheckFailed(f"process {holder} has it")
    if not lock.take():
        raise CheckFailed("it is not free after the first node has ended")
    lock.release()
    return f"refused while process {os.getpid()} had it, free afterwards"


async def repeated(bench: Bench) -> str:
    """The baseline at several seeds, and one seed twice: how far runs are from each other by chance."""
    values = []
    seeds = [1, 1, *range(2, bench.repeats)]
    async with bench.runner() as runner:
        for seed in seeds:
            outcome = must(await runner.run(bench.eager, seed, lambda progress: None), f"seed {seed}")
            assert outcome.value is not None
            values.append(outcome.value)
    logs = [math.log(value) for value in values]
    shown = ", ".join(f"{value:.4f}" for value in values)
    return (
        f"{shown}: standard deviation over seeds {statistics.stdev(logs[1:]):.2%}, "
        f"the same seed twice {abs(logs[0] - logs[1]):.3%} apart"
    )


CHECKS: Sequence[tuple[str, float, Callable[[Bench], Awaitable[str]]]] = (
    ("driver", 15, driver_view),
    ("rooms in every tier", 60, rooms),
    ("attacks through the open doors", 60, attacks),
    ("a second node", 30, two_nodes),
    ("baseline, as it is", 120, baseline),
    ("first step, warm", 60, first_step),
    ("out of memory", 45, out_of_memory),
    ("hang", 45, hang),
    ("tokens/s beside a plain loop", 100, rate),
    ("ideas", 120, ideas),
    ("kernels of gpu_kernel", 150, kernels),
    ("repeated baselines", 200, repeated),
)
WITHOUT_DATA = {"driver", "rooms in every tier", "attacks through the open doors", "a second node"}


# ---- all of them -----------------------------------------------------------------------------------------------------


def objectives(options: argparse.Namespace, folder: Path) -> Iterator[Objective]:
    """Those that may be taken, the best first, with as many seconds as were asked for."""
    wanted = [options.objective.resolve()] if options.objective else [TINYLM] if options.stand_in else [NANOLM, TINYLM]
    for root in wanted:
        try:
            objective = load_objective(root, folder / "data" / root.name)
        except ObjectiveError as problem:
            print(f"{root.name} cannot be used: {problem}", flush=True)
            continue
        if objective.device == "gpu" and options.stand_in:
            objective = objective.on_device("cpu") or objective
        budget = replace(objective.budget, tokens=0, seconds=float(options.seconds), wall_seconds=300.0)
        budget = replace(budget, warmup_seconds=max(120.0, budget.warmup_seconds))
        yield replace(objective, device="gpu", budget=budget, statistics=replace(objective.statistics, slope=0.0))


async def prepare(bench: Bench, others: Iterator[Objective], ready: trio.Event) -> None:
    """Make the data of the bench's objective, or of the next one where they cannot be made."""
    limits = HostLimits(memory_bytes=64 << 30, wall_seconds=3600, threads=64, data_bytes=4 << 30)
    while True:
        begun = time.monotonic()
        try:
            await prepare_data(bench.objective, bench.layers, limits, lambda event, **details: None)
        except (ObjectiveError, OSError) as problem:
            print(f"{bench.objective.name} cannot be used: {problem}", flush=True)
            bench.objective = next(others)
            continue
        print(f"        data of {bench.objective.name} after {time.monotonic() - begun:.0f} s", flush=True)
        ready.set()
        return


def chosen(options: argparse.Namespace) -> tuple[Gpu, GpuDriver]:
    if options.stand_in:
        gpu = stand_in()
        return gpu, StandInDriver([gpu])
    driver = InstalledDrivers()
    for gpu in driver.gpus():
        if gpu.index == options.gpu:
            if gpu.problem:
                sys.exit(f"{gpu.name}: {gpu.problem}")
            return gpu, driver
    sys.exit(f"there is no GPU {options.gpu} here; --stand-in tries the checks on the processor")


async def run(options: argparse.Namespace) -> bool:
    gpu, driver = chosen(options)
    begun, layers = time.monotonic(), probe()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
        found, ready = objectives(options, Path(name)), trio.Event()
        bench = Bench(
            next(found), gpu, driver, layers, Path(name), options.stand_in, options.repeats, begun + options.most
        )
        print(f"{bench.objective.name}, {options.seconds:g} s a run, on {gpu.name}", flush=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepare, bench, found, ready)
            for title, most, measure in CHECKS:
                if title not in WITHOUT_DATA:
                    await ready.wait()
                if not options.only or title in options.only:
                    await bench.check(title, most, options.patience, partial(measure, bench))
            nursery.cancel_scope.cancel()
    print(f"\n{'':8}{'check':32}{'took':>9}  on {gpu.name}, torch {version('torch')}")
    for row in bench.rows:
        print(line_of(row))
    print(f"{time.monotonic() - begun:.0f} s in all")
    return all(row.ok for row in bench.rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="budget of a run (10)")
    parser.add_argument("--repeats", type=int, default=6, help="runs of the baseline for its noise (6)")
    parser.add_argument("--objective", type=Path, help="another objective's folder")
    parser.add_argument("--gpu", type=int, default=0, help="number of the GPU, as the driver counts (0)")
    parser.add_argument("--stand-in", action="store_true", help="the processor in the place of a GPU")
    parser.add_argument("--only", nargs="*", help="these checks only, by name")
    parser.add_argument("--most", type=float, default=MOST_SECONDS, help="seconds of all checks together")
    parser.add_argument("--patience", type=float, default=1.0, help="how many times longer than usual a check may take")
    return 0 if trio.run(run, parser.parse_args()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The far end: a process that makes whole runs for a node which speaks to it over standard input and output.

It is what `autoresearch-node worker` is. Nothing but frames goes to its standard output; what it logs goes to standard
error. It has no identity, ledger or network: it gets an objective and jobs, makes each job in the sandboxes of this
machine as a node does, and says what came of it. It ends when its standard input does, whatever is under way, and its
sandboxes with it. What is said and in which order, `worker_protocol` knows.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from node.execution.remote.objective_intake import ObjectiveIntake
from node.execution.remote.worker_cache import CacheError, WorkerCache
from node.execution.remote.worker_protocol import (
    MAX_LOG_TAIL,
    MAX_NUMBERS,
    MAX_WHY,
    PRELUDE,
    VERSION,
    Beat,
    Broken,
    Cancel,
    Content,
    CoolDown,
    Dropped,
    Examine,
    FromNode,
    FromWorker,
    GpuThere,
    Hello,
    Job,
    Lacks,
    Made,
    Pause,
    Ready,
    Refused,
    Resume,
    Run,
    RunMade,
    RunPair,
    Told,
    UseObjective,
    WorkerSide,
)
from node.execution.run_progress import Progress, part_at
from node.execution.runner import UNFINISHED
from node.execution.runs import Runs, runner_for
from node.execution.sandbox.layers import Layers, probe, remedy, tier
from node.execution.weights import WeightsStore
from node.ledger.outcome import Outcome
from node.objective.limits import HostLimits, excesses, gpus_for
from node.objective.schema import Objective, ObjectiveError
from node.platform import gpus, hardware
from node.platform.concurrency import in_thread
from node.platform.config import FILE_NAME, SandboxBackend
from node.platform.environment import variable, variables
from node.platform.gpu_types import MAX_NAME, Gpu
from node.platform.log import render_line
from protocol.codec import MalformedError
from protocol.fields import is_plain

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 300.0  # without a word of the node, which says something every few seconds: the line is dead
PROGRESS_SECONDS = 0.1  # between two reports of one run
MOST_UNSENT = 1 << 20  # bytes that wait to be sent, beyond which progress is not reported
READ_BYTES = 1 << 16
FLUSH_SECONDS = 1.0  # for what was said last to be sent
PROGRAM = "autoresearch-node"
# How Slurm and others say which GPUs a job has, where they do not hide the others.
VISIBLE_GPUS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def work(cache_folder: Path | None, cache_bytes: int, limits: HostLimits, backend: SandboxBackend) -> int:
    """Serve the node at the other end of standard input and output until it is gone. Returns the exit status.

    cache_folder: where contents and weights are kept; None takes one in this user's caches, or where there can be none
    a temporary one. limits: what this machine gives an objective at most. backend: of its sandbox.
    """
    output = _take_standard_output()
    os.write(output, PRELUDE)
    with _cache_folder(cache_folder) as folder:
        try:
            with WorkerCache(folder, cache_bytes) as cache:
                return trio.run(WorkerProcess(cache, probe(backend), limits, output).run)
        except CacheError as error:
            return trio.run(partial(_refuse, output, str(error)))


def _take_standard_output() -> int:
    """The descriptor for frames. Whoever else prints here prints to standard error from now on."""
    output = os.dup(1)
    os.dup2(2, 1)
    return output


@contextmanager
def _cache_folder(given: Path | None) -> Iterator[Path]:
    caches = variable("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = given or Path(caches, PROGRAM, "worker")
    if given is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            with tempfile.TemporaryDirectory(prefix=f"{PROGRAM}-") as temporary:
                yield Path(temporary)
            return
    yield folder.absolute()


async def _refuse(output: int, why: str) -> int:
    log("worker refused", level="error", why=why)
    await trio.lowlevel.FdStream(output).send_all(WorkerSide().say(Refused(why[:MAX_WHY])))
    return 1


def log(event: str, level: str = "info", **details: Any) -> None:
    """An event as a line on standard error, which the node at the other end keeps in its own log."""
    line = render_line({"level": level, "event": event, **details}, colour=False)
    print(line.partition(" ")[2].strip(), file=sys.stderr, flush=True)  # without the time, which the node's log has


class WorkerProcess:
    """One worker, from its hello to its end."""

    def __init__(self, cache: WorkerCache, layers: Layers, limits: HostLimits, output: int) -> None:
        self._cache = cache
        self._layers = layers
        self._limits = limits
        self._side = WorkerSide()
        self._output = trio.lowlevel.FdStream(output)
        self._unsent = bytearray()
        self._to_send = trio.Event()
        self._all_sent = trio.Event()
        self._heard = time.monotonic()
        self._intake: ObjectiveIntake | None = None
        self._scale = ""
        self._gpus: tuple[Gpu, ...] = ()
        self._begin, self._jobs = trio.open_memory_channel[tuple[Job, trio.CancelScope]](1)
        self._under_way: tuple[int, trio.CancelScope] | None = None
        self._runs: Runs | None = None
        self._nursery: trio.Nursery | None = None
        self._status = 0

    async def run(self) -> int:
        """Serve until the node is gone, or this worker has refused."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._end_on_signal)
            nursery.start_soon(self._send)
            nursery.start_soon(self._beat)
            self._greet()
            if tier(self._layers) is None:
                self._refuse("; ".join(remedy(self._layers)))
            await self._listen()
            with trio.move_on_after(FLUSH_SECONDS):
                await self._all_sent.wait()
            nursery.cancel_scope.cancel()
        if self._intake is not None:
            self._intake.discard()
        return self._status

    # ---- saying ------------------------------------------------------------------------------------------------------

    def _say(self, frame: FromWorker) -> None:
        self._unsent += self._side.say(frame)
        if self._all_sent.is_set():
            self._all_sent = trio.Event()
        self._to_send.set()

    async def _send(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send = trio.Event()
            data = bytes(self._unsent)
            self._unsent.clear()
            try:
                await self._output.send_all(data)
            except trio.BrokenResourceError:  # the node is gone
                self._end()
                return
            if not self._unsent:
                self._all_sent.set()

    async def _beat(self) -> None:
        while True:
            await trio.sleep(BEAT_SECONDS)
            if time.monotonic() - self._heard > SILENCE_SECONDS:
                log("node silent", level="warning", why=f"no word of it for {SILENCE_SECONDS:.0f} s; this worker ends")
                self._end()
                return
            self._say(Beat())

    def _greet(self) -> None:
        machine = hardware.measure()
        found, _ = gpus.installed()
        self._gpus, _ = gpus.usable(visible(found, variables(VISIBLE_GPUS)), self._limits, hardware.torch_version())
        self._say(
            Hello(
                protocol=VERSION,
                program=importlib.metadata.version(PROGRAM),
                host=socket.gethostname()[:80],
                platform=hardware.platform_name(),
                device=machine.device,
                cores=machine.cores,
                memory_bytes=machine.memory_bytes,
                gpus=tuple(GpuThere(gpu.name, gpu.memory_bytes, gpu.vendor, gpu.driver) for gpu in self._gpus),
                sandbox=tier(self._layers) or "",
                store=self._cache.store,
            )
        )

    def _refuse(self, why: str) -> None:
        """Say why no runs can be made here. The node ends the conversation then, and with it this worker."""
        log("worker refused", level="error", why=why)
        self._status = 1
        self._say(Refused(why[:MAX_WHY]))

    def _end(self) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    async def _end_on_signal(self) -> None:
        """A scheduler that takes the machine back says so by a signal, and kills a while later."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                log("worker ends", why=f"by signal {signal.Signals(number).name}")
                self._status = 128 + number
                self._end()
                return

    # ---- hearing -----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Do what the node says, until its end of standard input is closed."""
        async with trio.lowlevel.FdStream(os.dup(0)) as stream:
            while data := await stream.receive_some(READ_BYTES):
                self._heard = time.monotonic()
                try:
                    for frame in self._side.receive(data):
                        await self._take(frame)
                except (MalformedError, OSError) as error:
                    log("node not understood", level="error", why=str(error))
                    self._status = 1
                    return

    async def _take(self, frame: FromNode) -> None:
        match frame:
            case UseObjective():
                self._scale = frame.scale
                await self._use(frame.manifest)
            case Content():
                assert self._intake is not None
                await in_thread(partial(self._intake.receive, frame.id, frame.data, frame.last))
                await self._load_when_complete()
            case Run() | RunPair() | Examine():
                scope = trio.CancelScope()
                self._under_way = frame.job, scope
                self._begin.send_nowait((frame, scope))
            case Cancel() if self._under_way is not None and self._under_way[0] == frame.job:
                self._under_way[1].cancel()
            case Pause() if self._runs is not None:
                self._runs.pause_gate.pause()
            case Resume() if self._runs is not None:
                self._runs.pause_gate.resume()
            case CoolDown() if self._runs is not None and self._nursery is not None:
                self._nursery.start_soon(self._runs.cool_down)

    # ---- the objective -----------------------------------------------------------------------------------------------

    async def _use(self, manifest: bytes) -> None:
        """Put in place what the cache has of an objective, and say what it lacks."""
        self._intake = ObjectiveIntake(self._cache, manifest)
        if self._intake.size > self._cache.most_bytes:
            self._refuse(
                f"the objective has {self._intake.size >> 20} MiB of files and data, and the cache of this worker "
                f"takes {self._cache.most_bytes >> 20}: raise its --cache-mb"
            )
            return
        self._say(Lacks(await in_thread(self._intake.lacking)))
        await self._load_when_complete()

    async def _load_when_complete(self) -> None:
        assert self._intake is not None
        assert self._nursery is not None
        if self._intake.lacks:
            return
        try:
            objective = await in_thread(partial(self._intake.load, self._scale))
        except ObjectiveError as error:
            self._refuse(str(error))
            return
        own, _ = gpus_for(objective, self._limits)
        gpu = visible(own, variables(VISIBLE_GPUS))[:1]  # a worker makes one run at a time
        too_much = excesses(objective, self._limits)
        if too_much:
            else_do = "" if gpu else _on_processors(objective)
            gives = f"{objective.name} asks for more than {socket.gethostname()} gives"
            self._refuse(f"{gives}: {'; '.join(too_much)}{else_do}")
            return
        if objective.device == "gpu" and not gpu:
            self._refuse(
                f"{objective.name} is for a GPU, and the scheduler has given this job none ({_visible_in_words()}): "
                f"ask for one in [workers] command, as in srun --gres=gpu:1{_on_processors(objective)}"
            )
            return
        await self._nursery.start(self._work, objective, gpu)

    # ---- jobs --------------------------------------------------------------------------------------------------------

    async def _work(
        self, objective: Objective, gpu: Sequence[Gpu], task_status: Any = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Make runs of the objective, one job after the other."""
        weights_dir = self._cache.weights_dir(_weights_of(objective))
        drivers = gpus.InstalledDrivers()
        make = partial(runner_for, objective, self._layers, weights_dir, log, 1, self._limits.data_bytes)
        async with make(gpu, drivers) as runs:
            self._runs = runs
            self._say(Ready(runs.can_alternate()))
            task_status.started()
            async for job, scope in self._jobs:
                with scope:
                    await self._do(runs, objective, job)
                if scope.cancelled_caught:
                    self._say(Dropped(job.job))

    async def _do(self, runs: Runs, objective: Objective, job: Job) -> None:
        before = runs.timing
        report = [_Reports(partial(self._report, job.job, side)) for side in (0, 1)]
        try:
            outcomes = await self._outcomes(runs, objective, job, report)
        except OSError as error:
            self._say(Broken(job.job, str(error)[:MAX_WHY]))
            return
        self._say(
            Made(
                job=job.job,
                outcomes=tuple(map(on_wire, outcomes)),
                train_seconds=max(0.0, runs.timing.train_seconds - before.train_seconds),
                judge_seconds=max(0.0, runs.timing.judge_seconds - before.judge_seconds),
                alternates=runs.can_alternate(),
            )
        )

    async def _outcomes(
        self, runs: Runs, objective: Objective, job: Job, report: Sequence[Callable[[Progress], None]]
    ) -> tuple[Outcome, ...]:
        match job:
            case Run():
                self._borrow(objective, losses_of=job.incumbent, seed=job.seed, split="val")
                self._cache.take_over(_weights_of(objective), UNFINISHED)
                return (await runs.run(job.source, job.seed, report[0], job.incumbent),)
            case RunPair():
                return await runs.run_pair(job.parent, job.child, job.seed, report[0], report[1])
            case Examine():
                self._borrow(objective, job.source, losses_of=job.incumbent, seed=job.seed, split=job.split)
                return (await runs.examine(job.source, job.seed, job.split, job.incumbent),)

    def _borrow(self, objective: Objective, *weights_of: str, losses_of: str | None, seed: int, split: str) -> None:
        """Have what other workers of this cache kept of earlier runs, where this one did not make them itself."""
        names = [WeightsStore.key(objective, source, seed) for source in weights_of]
        names += [] if losses_of is None else [WeightsStore.losses_key(objective, losses_of, seed, split)]
        self._cache.borrow(_weights_of(objective), names)

    def _report(self, job: int, side: int, progress: Progress) -> None:
        """Say how far a run is."""
        if len(self._unsent) > MOST_UNSENT:
            return
        share = min(1.0, max(0.0, progress.share))
        loss = progress.loss if progress.loss is not None and math.isfinite(progress.loss) else None
        self._say(Told(job, side, share, loss, max(0.0, progress.seconds), progress.phase, max(0.0, progress.cost)))


class _Reports:
    """Passes on how far a run is: not too often, but the last of every part of its curve."""

    def __init__(self, say: Callable[[Progress], None]) -> None:
        self._say = say
        self._said_at, self._latest = 0.0, Progress(0.0, None, 0.0, "")
        self._unsaid = False  # the latest

    def __call__(self, progress: Progress) -> None:
        now, latest = time.monotonic(), self._latest
        another_part = progress.phase != latest.phase or part_at(progress.share) != part_at(latest.share)
        if another_part and self._unsaid:
            self._say(latest)
        self._latest = progress
        self._unsaid = progress.phase == latest.phase and now - self._said_at < PROGRESS_SECONDS
        if not self._unsaid:
            self._said_at = now
            self._say(progress)


def visible(found: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that a scheduler has given this process, by number or uuid; all where it says nothing of them."""
    for name in VISIBLE_GPUS:
        if name in environment:
            given = [word.strip() for word in environment[name].split(",")]
            return tuple(gpu for gpu in found if str(gpu.index) in given or (gpu.uuid and gpu.uuid in given))
    return tuple(found)


def _weights_of(objective: Objective) -> str:
    """A name for the weights of an objective's runs: those at another scale are others."""
    return "-".join(filter(None, [objective.id.hex()[:32], objective.scale]))


def _fits(name: str, value: float) -> bool:
    return len(name) <= MAX_NAME and is_plain(name) and math.isfinite(value)


def _on_processors(objective: Objective) -> str:
    """What else a person can do where no GPU is, if an objective for GPUs has a scale for processors."""
    if objective.device != "gpu" or objective.on_device("cpu") is None:
        return ""
    return f"; or set gpu = false below [research] in the node's {FILE_NAME}, for its scale for processors"


def _visible_in_words() -> str:
    return ", ".join(f"{name}={value!r}" for name, value in variables(VISIBLE_GPUS).items())


def on_wire(outcome: Outcome) -> RunMade:
    """An outcome as it is sent. Of a command's other values, which it names itself, those that the protocol takes."""
    named = {name: value for name, value in outcome.metrics.items() if _fits(name, value)}
    return RunMade(
        value=outcome.value,
        metrics=dict(list(named.items())[:MAX_NUMBERS]),
        checkpoints=outcome.checkpoints,
        tokens=outcome.tokens,
        cpu_seconds=outcome.cpu_seconds,
        wall_seconds=max(0.0, outcome.wall_seconds),
        peak_memory=outcome.peak_memory,
        failure=outcome.failure,
        log_tail=outcome.log_tail[-MAX_LOG_TAIL:].encode("utf-8", "replace").decode(),
        sandbox=outcome.tier,
        replay={} if outcome.replay is None else {name: dict(rows) for name, rows in outcome.replay.items()},
    )

"""Runs of a command objective: its files and a source in a fresh folder, its command in the sandbox, its values read.

Theory of operation (docs/decisions/command-objectives.md says what such a value is worth).

1. A folder of the run's own is made: the objective's files as they were locked, never the person's folder, with the
   source in place of the editable ones, and the run's seed written where the objective says. Result files are left
   out, so that what a run has not written does not count.
2. The command runs in the sandbox in that folder, without network, with the declared environment to read. The sandbox
   ends it and all it started, at the latest after the budget's wall time.
3. The locked files must be as they were, and the values are read from what was printed or written.
4. The objective's checks run in the same folder, in a sandbox of their own.

Whatever the command does, the result is an outcome: a value, or a failure with a sentence and the end of its output.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from node.execution import run_seeds
from node.execution.alternation import shares
from node.execution.command import values
from node.execution.command.environment import UV, NotPreparedError, Surroundings, surroundings
from node.execution.command.output import Output
from node.execution.command.values import Measured, Refusal, Value
from node.execution.free_gpus import FreeGpus
from node.execution.pause_gate import PauseGate
from node.execution.run_folder import RunFolder, place_of_folders, remove_left_over
from node.execution.run_progress import Progress
from node.execution.runner import Timing
from node.execution.sandbox import launch
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import SandboxedProcess
from node.execution.sandbox.watch import ProcessEnd
from node.execution.verdict import LOG_TAIL_CHARACTERS, unfit
from node.execution.worker import FAILURE_OF_REASON
from node.ledger.files import DISK_RESERVE
from node.ledger.outcome import Outcome
from node.objective.schema import SETTINGS, Command, Objective
from node.objective.trees import TreeError, files_of
from node.platform.gpus import Gpu, chosen_by
from protocol.records import Failure

FOLDER_BYTES = 4 << 30  # that a run may write: checkpoints of a small model, and what compilers leave
OUTPUT_BYTES = 64 << 20  # that it may print: a line of progress for each step, for hours
TASKS = 512  # processes and threads: numerical libraries and compilers make one of each for every processor
PROGRESS_SECONDS = 0.5
SCALE_VARIABLE = "AUTORESEARCH_SCALE"  # environment variable with the scale's name, where a run is made at one
_BASH = ("/bin/bash", "/usr/bin/bash")
_EVALUATE = Path(__file__).parents[1] / "workers" / "evaluate.py"


class RunRefused(Exception):
    """A run ends here, for this reason. `output` is the end of what it printed."""

    def __init__(self, refusal: Refusal, output: str = "") -> None:
        super().__init__(refusal.sentence)
        self.refusal, self.output = refusal, output


@dataclass
class _Use:
    """What one run has used so far. `checks` are none of its cost."""

    gpu: Gpu | None = None  # that is its own
    tier: str = ""
    cpu_seconds: float = 0.0  # of the device: with a GPU, how long the run had it
    peak_memory: int = 0


class CommandRunner:
    """Makes runs, `parallel_runs` of them at a time. An async context manager; leaving it ends every run."""

    def __init__(
        self,
        objective: Objective,
        layers: Layers,
        folders_dir: Path,
        parallel_runs: int = 1,
        gpus: FreeGpus | None = None,
    ) -> None:
        """folders_dir: a folder of this runner's own, in which the folders of runs are made.

        gpus: for an objective whose device is "gpu", those of which each run has one to itself.
        """
        assert objective.command is not None
        parallel_runs = min(parallel_runs, gpus.count) if gpus is not None else parallel_runs
        self._objective = objective
        self._command = objective.command
        self._layers = layers
        self.folders_dir = folders_dir
        self.parallel_runs = parallel_runs
        self._slots = trio.Semaphore(parallel_runs)
        threads = objective.budget.threads
        # A run computes on as many processors as the objective has threads, so that a source that makes more gains
        # none.
        self._gpus = gpus
        self._free_processors = [part[:threads] for part in shares(os.sched_getaffinity(0), parallel_runs, threads)]
        self.pause_gate = PauseGate()
        self.timing = Timing()

    async def __aenter__(self) -> Self:
        self.folders_dir = place_of_folders(self.folders_dir)
        await trio.to_thread.run_sync(remove_left_over, self.folders_dir)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to end: a run ends what it started, and removes its folder, before it returns."""
        with contextlib.suppress(OSError):  # it was never made, or is not empty
            self.folders_dir.rmdir()

    async def run(
        self, source: str, seed: int, progress: Callable[[Progress], None], incumbent: str | None = None
    ) -> Outcome:
        """Run the command on a source. Cancelling ends it at once. See `Runs`; an incumbent changes nothing here."""
        async with self._slots:
            await self.pause_gate.wait_open()
            processors = self._free_processors.pop()
            begun = self.pause_gate.clock()
            try:
                async with contextlib.nullcontext() if self._gpus is None else self._gpus.one() as gpu:
                    use = _Use(gpu=gpu)
                    found = await self._measure(source, run_seeds.task_seed(seed), progress, use, processors)
            except RunRefused as problem:
                return self._ended(use, begun, problem)
            finally:
                self._free_processors.append(processors)
            return self._ended(use, begun, found)

    def can_alternate(self) -> bool:
        """Never: what a command measures is its own clock's, which turns would disturb."""
        return False

    async def run_pair(
        self,
        parent: str,
        child: str,
        seed: int,
        of_parent: Callable[[Progress], None],
        of_child: Callable[[Progress], None],
    ) -> tuple[Outcome, Outcome]:
        """Run both sources, one after the other."""
        return await self.run(parent, seed, of_parent), await self.run(child, seed, of_child)

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        """A failure: a command has no data of its own to score again."""
        return _failed(Failure.EXCEPTION, "a command has no holdout", 0.0, _Use())

    async def cool_down(self) -> None:
        """Nothing is held for the next run."""

    # ---- one run ---------------------------------------------------------------------------------------------------

    async def _measure(
        self, source: str, seed: int, progress: Callable[[Progress], None], use: _Use, processors: Sequence[int]
    ) -> Measured:
        """Raises RunRefused."""
        files = self._staged(source, seed)
        beside = self._surroundings()
        make = partial(
            RunFolder.make,
            self.folders_dir,
            {path: data for path, data in files.items() if not _declared(path, beside.links)},
            self._objective.editable,
            beside.links,
            beside.home_links,
            {"uv": UV},
        )
        try:
            folder = await trio.to_thread.run_sync(make)
        except OSError as problem:  # of this machine: a full disk, a folder that somebody removed
            told = f"the run's folder could not be made: {problem.strerror}"
            raise RunRefused(Refusal(Failure.KILLED, told)) from None
        try:
            policy = self._policy(folder, beside, seed, use.gpu)
            measured = await self._run_command(folder, beside, policy, progress, use, processors)
            if self._command.checks is not None:
                if (path := folder.changed_source()) is not None:
                    told = f"the run changed its own {path}, so the checks would judge another source than was measured"
                    raise RunRefused(Refusal(Failure.INVALID, told))
                await self._check(self._command, folder, policy, progress, processors)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(folder.remove)
        return measured

    async def _run_command(
        self,
        folder: RunFolder,
        beside: Surroundings,
        policy: Policy,
        progress: Callable[[Progress], None],
        use: _Use,
        processors: Sequence[int],
    ) -> Measured:
        output = Output(self._command.failed_by)
        begun = self.pause_gate.clock()
        reads, writes = os.pipe()
        answer = bytearray()
        async with trio.lowlevel.FdStream(reads) as pipe, trio.open_nursery() as nursery:
            try:
                words = self._words(folder, beside, writes)
                process = self._start(words, policy, output, processors, keep=(writes,))
            finally:
                os.close(writes)
            nursery.start_soon(_collect, pipe, answer)
            end = await self._watch(process, policy.wall_seconds, output, progress, "train")
        # A run has its GPU for as long as it runs, whatever it does there: that is its cost.
        seconds = end.cpu_seconds if use.gpu is None else self.pause_gate.clock() - begun
        use.tier, use.cpu_seconds, use.peak_memory = end.tier, seconds, end.peak_memory
        if (refusal := _refused_end("the command", end, policy, policy.wall_seconds)) is not None:
            raise RunRefused(refusal, output.tail(LOG_TAIL_CHARACTERS))
        self._confirm_unchanged(folder, output)
        if output.found is not None:
            told = f"the command printed {output.found!r}, by which the objective knows a failed run"
            raise RunRefused(Refusal(Failure.INVALID, told), output.tail(LOG_TAIL_CHARACTERS))
        found = await trio.to_thread.run_sync(self._values, folder, output, bytes(answer))
        if isinstance(found, Refusal):
            raise RunRefused(found, output.tail(LOG_TAIL_CHARACTERS))
        return found

    async def _check(
        self,
        command: Command,
        folder: RunFolder,
        policy: Policy,
        progress: Callable[[Progress], None],
        processors: Sequence[int],
    ) -> None:
        assert command.checks is not None
        output = Output()
        process = self._start([_bash(), "-c", command.checks], policy, output, processors)
        end = await self._watch(process, command.checks_seconds, output, progress, "judge")
        if end.reason == "exit" and end.code != 0:
            told = f"checks failed: they ended {_by(end)}"
            raise RunRefused(Refusal(Failure.INVALID, told), output.tail(LOG_TAIL_CHARACTERS))
        if (refusal := _refused_end("checks", end, policy, command.checks_seconds)) is not None:
            raise RunRefused(refusal, output.tail(LOG_TAIL_CHARACTERS))
        self._confirm_unchanged(folder, output)

    def _start(
        self,
        words: Sequence[str],
        policy: Policy,
        output: Output,
        processors: Sequence[int],
        keep: Sequence[int] = (),
    ) -> SandboxedProcess:
        process = SandboxedProcess.start(words, policy, self._layers, keep, on_output=output.add)
        if processors:
            process.pin(processors)
        return process

    async def _watch(
        self,
        process: SandboxedProcess,
        seconds: float,
        output: Output,
        progress: Callable[[Progress], None],
        phase: str,
    ) -> ProcessEnd:
        """Let a started process run to its end, and show how far it is meanwhile."""
        process.start_clock(seconds)
        begun = self.pause_gate.clock()
        usual = seconds if phase != "train" else self._objective.budget.seconds or seconds

        async def show() -> None:
            while True:
                passed = self.pause_gate.clock() - begun
                said = output.share()
                progress(Progress(min(passed / usual, 1.0) if said is None else said, None, passed, phase))
                await trio.sleep(PROGRESS_SECONDS)

        with self.pause_gate.freezing(process):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(show)
                await process.supervise()
                nursery.cancel_scope.cancel()
        assert process.outcome is not None
        return process.outcome

    # ---- before ----------------------------------------------------------------------------------------------------

    def _staged(self, source: str, seed: int) -> dict[str, bytes]:
        """The files of the run, by path. Raises RunRefused."""
        try:
            edited = files_of(source, self._objective.editable)
        except TreeError as problem:
            raise RunRefused(
                Refusal(Failure.SYNTAX, f"the source is not what the objective edits: {problem}")
            ) from None
        files = {path: data for path, data in self._objective.files.items() if path not in self._command.files}
        files |= {path: text.encode("utf-8", "replace") for path, text in edited.items()}
        for rewrite in self._command.seed_rewrites:
            find, data = rewrite.find.encode(), files.get(rewrite.file, b"")
            if (times := data.count(find)) != 1:
                told = (
                    f"the run's seed cannot be set: {rewrite.find!r} stands {times} times in {rewrite.file}, not once"
                )
                raise RunRefused(Refusal(Failure.INVALID, told))
            files[rewrite.file] = data.replace(find, rewrite.replace.replace("{seed}", str(seed)).encode())
        return files

    def _surroundings(self) -> Surroundings:
        environment = self._objective.environment
        try:
            if environment is None:
                return surroundings(self._objective.root, ())
            return surroundings(self._objective.root, environment.paths, environment.prepare)
        except NotPreparedError as problem:
            # Of this machine, not of the source: so the run is not remembered, and is made when things are in place.
            raise RunRefused(Refusal(Failure.KILLED, str(problem))) from None

    def _policy(self, folder: RunFolder, beside: Surroundings, seed: int, gpu: Gpu | None) -> Policy:
        budget = self._objective.budget
        wall_seconds = budget.wall_seconds
        variables = {
            "PATH": os.pathsep.join((str(folder.programs), *beside.program_folders)),
            "HOME": str(folder.home),
            "TMPDIR": str(folder.temporary),
            "TORCHINDUCTOR_CACHE_DIR": str(folder.temporary),
            "PYTHONNOUSERSITE": "1",  # the checks are not to import what the run has put into its home
            "HF_HUB_OFFLINE": "1",  # else models in a cache are asked for on the network first
            **beside.variables,
            **(chosen_by(gpu) if gpu is not None else {}),
            self._command.seed_variable: str(seed),
            **({SCALE_VARIABLE: self._objective.scale} if self._objective.scale else {}),
        }
        if beside.import_folders:
            variables["PYTHONPATH"] = os.pathsep.join(str(folder.work / inner) for inner in beside.import_folders)
        return Policy(
            wall_seconds=wall_seconds,
            cpu_seconds=wall_seconds * (os.cpu_count() or 1),
            memory_bytes=budget.memory_bytes,
            tasks=TASKS,
            output_bytes=OUTPUT_BYTES,
            read_only=(_EVALUATE,),
            programs=beside.shown,
            devices=tuple(map(Path, gpu.device_files)) if gpu is not None else (),
            writable=folder.root,
            writable_bytes=min(FOLDER_BYTES, max(0, shutil.disk_usage(self.folders_dir).free - DISK_RESERVE)),
            directory=folder.work,
            locked=folder.locked_paths,
            stand_ins={"/tmp": folder.temporary, "/dev/shm": folder.shared_memory},
            env=variables,
            threads=budget.threads,
            locks=True,
            builds=True,
        )

    def _words(self, folder: RunFolder, beside: Surroundings, descriptor: int) -> list[str]:
        """The command line. Raises RunRefused."""
        if self._command.run is not None:
            return [_bash(), "-c", self._command.run]
        assert self._command.evaluator is not None
        python = beside.find("python3")
        if python is None:
            raise RunRefused(Refusal(Failure.KILLED, "an evaluator needs python3, which is not installed here"))
        evaluator, program = self._command.evaluator, self._objective.editable[0]
        return [python, str(_EVALUATE), str(descriptor), str(folder.work / evaluator), str(folder.work / program)]

    # ---- afterwards ------------------------------------------------------------------------------------------------

    def _confirm_unchanged(self, folder: RunFolder, output: Output) -> None:
        if (path := folder.changed()) is not None:
            told = f"the run changed {path}, which is no file that may be edited"
            raise RunRefused(Refusal(Failure.INVALID, told), output.tail(LOG_TAIL_CHARACTERS))

    def _values(self, folder: RunFolder, output: Output, answer: bytes) -> Measured | Refusal:
        found = self._found(folder, output, answer)
        if isinstance(found, Refusal):
            return found
        objective = self._objective
        measured = values.measured(found, objective.metric, objective.unit, self._command.require)
        if isinstance(measured, Measured) and not objective.measure.fits(measured.value):
            told = f"{objective.metric}: {unfit(measured.value, objective.measure)}"
            return Refusal(Failure.INVALID, told)
        if isinstance(measured, Refusal) and objective.metric not in found:
            return Refusal(measured.failure, measured.sentence + self._said_otherwise(output))
        return measured

    def _said_otherwise(self, output: Output) -> str:
        """Where the metric was printed in another form than the objective says: which, and what to write."""
        name, form = self._objective.metric, self._command.values
        for other, read, shown in (
            ("block", values.in_block, f"{name}: NUMBER"),
            ("lines", values.in_lines, f"METRIC {name}=NUMBER"),
        ):
            if other != form and name in read(output.text()):
                return f'; it printed a line `{shown}`: set command.values to "{other}" in {SETTINGS}'
        wanted = {"lines": f"METRIC {name}=NUMBER", "block": f"{name}: NUMBER"}.get(form)
        return f"; it has to print a line `{wanted}`" if wanted else ""

    def _found(self, folder: RunFolder, output: Output, answer: bytes) -> dict[str, Value] | Refusal:
        if self._command.evaluator is not None:
            return values.of_evaluator(answer, self._objective.metric)
        if self._command.values == "lines":
            return values.in_lines(output.text())
        if self._command.values == "block":
            return values.in_block(output.text())
        parts = []
        for path in self._command.files:
            try:
                part = values.in_json(path, folder.read(path, values.MOST_JSON_BYTES))
            except OSError as problem:
                why = "it is a link" if problem.errno == errno.ELOOP else problem.strerror or str(problem)
                return Refusal(Failure.EXCEPTION, f"the run wrote no {path} ({why})")
            if isinstance(part, Refusal):
                return part
            parts.append(part)
        return values.merged(parts)

    def _ended(self, use: _Use, begun: float, found: Measured | RunRefused) -> Outcome:
        wall_seconds = self.pause_gate.clock() - begun
        old = self.timing
        self.timing = Timing(old.runs + 1, old.train_seconds + wall_seconds, old.judge_seconds)
        if isinstance(found, RunRefused):
            sentence = found.refusal.sentence[:LOG_TAIL_CHARACTERS]
            left = LOG_TAIL_CHARACTERS - len(sentence) - 1
            printed = found.output[-left:] if left > 0 else ""
            return _failed(found.refusal.failure, f"{printed}\n{sentence}".strip(), wall_seconds, use)
        return Outcome(
            value=found.value,
            metrics=found.metrics,
            checkpoints=(),
            tokens=self._objective.budget.tokens,
            cpu_seconds=use.cpu_seconds,
            wall_seconds=wall_seconds,
            peak_memory=use.peak_memory,
            failure=None,
            log_tail="",
            tier=use.tier,
        )


def _declared(path: str, links: dict[str, Path]) -> bool:
    """Whether a file lies where the environment does: it is the environment's then."""
    return any(path == link or path.startswith(link + "/") for link in links)


def _bash() -> str:
    return next((path for path in _BASH if os.path.exists(path)), _BASH[0])


async def _collect(pipe: trio.lowlevel.FdStream, answer: bytearray) -> None:
    """What an evaluator's values are; of more than is read, one byte more."""
    async for data in pipe:
        answer += data[: values.MOST_JSON_BYTES + 1 - len(answer)]


def _refused_end(what: str, end: ProcessEnd, policy: Policy, seconds: float) -> Refusal | None:
    """Why a process has no result, by how it ended; None where it ended well."""
    if end.reason == "disk" and policy.writable_bytes < FOLDER_BYTES:
        return Refusal(
            Failure.KILLED, f"{what} had {policy.writable_bytes >> 20} MiB of disk, as there is no more here"
        )
    alone = end.tier == "inproc" and not launch.is_supervised(end.tier, policy)
    if end.code and alone and os.strerror(errno.EPERM) in end.log_tail:
        # Of this machine: elsewhere the same source may run.
        why = "it may have tried to start another program, which it cannot here: install bubblewrap"
        return Refusal(Failure.KILLED, f"{what} ended {_by(end)}; {why}")
    told = {
        "time": f"{what} did not end within {seconds:g} s, so it was ended",
        "cpu": f"{what} took more CPU time than all processors have in its time",
        "memory": f"{what} took more memory than the objective's budget allows",
        "tasks": f"{what} had more than {TASKS} processes and threads",
        "output": f"{what} printed more than {OUTPUT_BYTES >> 20} MiB",
        "disk": f"{what} filled the disk, or wrote more than {FOLDER_BYTES >> 30} GiB, or where it cannot be counted",
        "killed": f"{what} was killed, by the kernel or by somebody on this machine",
    }
    if end.reason != "exit":
        return Refusal(FAILURE_OF_REASON[end.reason], told[end.reason])
    return None if end.code == 0 else Refusal(Failure.EXCEPTION, f"{what} ended {_by(end)}")


def _by(end: ProcessEnd) -> str:
    return f"with exit status {end.code}" if end.signal is None else f"by signal {end.signal}"


def _failed(failure: Failure, log_tail: str, seconds: float, use: _Use) -> Outcome:
    return Outcome(
        None, {}, (), 0, use.cpu_seconds, seconds, use.peak_memory, failure, log_tail[-LOG_TAIL_CHARACTERS:], use.tier
    )

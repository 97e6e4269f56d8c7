"""The candidate worker: trains one source and hands its weights out. A fork inside a sandbox; imports nothing of ours.

    train.py JOBS_FD RESULTS_FD WEIGHTS_FD [TRAIN_FD]

Everything heavy was done before the fork (preload_torch.py), so training begins at once. The job on JOBS_FD comes in
parts, each <u64 length> and bytes: JSON {seed, tokens, context, vocabulary, checkpoints, editable}, the source's files
in the order of their paths in `editable`, and the training text where there is no TRAIN_FD to read it from. Where the
budget is time, the JSON has {seconds, warmup_seconds, threads} too, and at one of the objective's scales {scale}. Where
the run's seed is secret, it has {batch_seed, chance}: the seed of the batches, and bytes in hexadecimal that are mixed
into whatever the source seeds. Where the node keeps snapshots, it has {snapshots} (snapshot.py). After the job the node
says on JOBS_FD how long it has held this process (pauses.py). Weights are written to the file WEIGHTS_FD, the state's
tensors in order. Frames on RESULTS_FD are a byte of tag, three of padding, <u32 length> and a body, all little-endian:

    P <u32 step> <f64 share> <f64 loss>  progress; share of the budget, and the mean of the losses, in nats, that the
                                       source reported in this one of the budget's CURVE_PARTS parts so far; the last
                                       frame of a part has all of them
    W <u32 step> <u64 offset> <u64 length>  the weights after that many steps are written there; step 0: the final
    S <u64 offset> <u64 length> <f64 seconds>  a snapshot is complete, and is there in its file; warming up as of D
    D <u64 tokens> <f64 seconds>       done; tokens that were spent, and seconds of warming up on a GPU, else 0
    F name of a failure                the run failed; standard error says why

The node trusts none of these frames: the source shares this process and could write any of them.
"""

import json
import math
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from node.execution.workers import chance
from node.execution.workers.budgets import CURVE_PARTS, Budget, GpuTimeBudget, GpuTokenBudget, TimeBudget, TokenBudget
from node.execution.workers.exchange import read, receive
from node.execution.workers.exchange import send as send_bytes
from node.execution.workers.pauses import Pauses
from node.execution.workers.snapshot import NoSnapshotError, Snapshots
from node.execution.workers.source import load, out_of_memory, print_refusal, print_traceback, repeats
from node.execution.workers.source_modules import NotPython

# Added to the run's seed for the generator of batches. The source's own generator is seeded with the run's seed itself,
# and must not draw the same numbers.
BATCH_SEED = 77_000
PROGRESS_SECONDS = 0.1  # between two reports: often enough for a progress bar, and a negligible part of the CPU time
BYTE_VOCABULARY = 256  # the most tokens of which each is one byte of a text
FINAL = 0  # in place of the step, for the weights after training


class Diverged(Exception):
    """The loss reported is no longer a finite number."""


class Mean:
    """The mean of numbers that come one by one."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def add(self, value: float) -> None:
        self.sum += value
        self.count += 1


class Task:
    """What a source is given, and what it must report. The contract of the objective's `train(task)`."""

    def __init__(
        self, job: dict[str, Any], data: torch.Tensor, results: int, weights: int, pauses: Pauses | None = None
    ) -> None:
        """Before chance is mixed in: the batches come from a generator with exactly this seed."""
        self._job = job
        self.seed: int = job["seed"]
        self.tokens: int = job["tokens"]  # 0 where the budget is time
        self.scale: str = job.get("scale", "")  # the name of the objective's scale; "" is its own budget
        self.seconds: float | None = job.get("seconds")  # None where it is tokens
        self.context: int = job["context"]
        self.vocabulary: int = job["vocabulary"]
        self.device = torch.device(job.get("gpu", "cpu"))
        self._on_processor = self.device.type == "cpu"
        self._checkpoints = frozenset(job["checkpoints"])
        self._data = data
        self._shuffler = torch.Generator().manual_seed(job["batch_seed"]) if "batch_seed" in job else None
        self._starts = torch.empty(0, dtype=torch.int64)  # of windows that were drawn and not used yet
        self._results, self._weights = results, weights
        self._paused = pauses.seconds if pauses is not None else float  # seconds so far, in which the node held us
        self._budget = budget_of(job, self._paused)
        self.snapshots = Snapshots(job.get("snapshots"), self._tell_of_snapshot)
        self._step_is_over = False  # since the last batch was made
        self._steps = 0
        self._reported = -math.inf  # when, by time.monotonic
        self._unread: list[torch.Tensor] = []  # losses, each a float64 on the GPU
        self._part, self._share = 0, 0.0  # of the budget, at the last report
        self._of_part = Mean()  # of the losses in this part

    @property
    def progress(self) -> float:
        """Share of the budget spent by the steps before this one, 0 to 1."""
        return min(1.0, self._budget.spent)

    @property
    def tokens_spent(self) -> int:
        """Tokens of the steps that were taken."""
        return self._budget.tokens

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs (inputs, targets), int64 (size, context) on the device, until the budget is spent.

        Each step spends size · context tokens: 16 windows of 64 tokens spend 1024, so a budget of 524,288 tokens is 512
        steps. Of a budget in seconds it spends what it takes. Targets are the inputs shifted by one.
        """
        offsets = torch.arange(self.context + 1)
        anywhere = None if self._shuffler else torch.Generator().manual_seed(BATCH_SEED + self.seed)
        positions = len(self._data) - self.context - 1
        self._go_on(anywhere)
        self._budget.begin()
        while self._budget.spent < 1:
            starts = torch.randint(positions, (size,), generator=anywhere) if anywhere else self._next_starts(size)
            windows = self._on_device(self._data[starts[:, None] + offsets])
            yield windows[:, :-1], windows[:, 1:]
            self._budget.count(size * self.context)
            # Here, and not in `report`: a source may report before its optimizer takes the step, or once for several
            # batches. Now both are over.
            if self._step_is_over:
                self._step_is_over = False
                self._save_if_due(anywhere)

    def resumable(self, **objects: Any) -> None:
        """Name all that changes from step to step, before the first batch: the model, its optimizer, and what else.

        Each is an object with `state_dict` and `load_state_dict`, or with `get_state` and `set_state`, or a list of
        such objects. From time to time their states are kept, so that a run that is interrupted goes on from there: the
        first batch that it makes is the one that came next, with all named objects and all generators as they were. A
        source that names nothing begins anew. Raises TypeError for an object without a state.
        """
        self.snapshots.name(objects)

    def _save_if_due(self, anywhere: torch.Generator | None) -> None:
        paused = self._paused()
        if not self.snapshots.due(paused):
            return
        self.read_losses()
        generator = anywhere or self._shuffler
        assert generator is not None
        own = {
            "batches": generator.get_state(),
            "starts": self._starts.clone(),  # not all that it is a part of
            "steps": self._steps,
            "budget": self._budget.state(),
        }
        self.snapshots.save(own, paused)

    def _go_on(self, anywhere: torch.Generator | None) -> None:
        """Where the run was interrupted, if it was and this is its first batch."""
        own = self.snapshots.restore()
        if own is None:
            return
        generator = anywhere or self._shuffler
        assert generator is not None
        generator.set_state(own["batches"])
        self._starts, self._steps = own["starts"], own["steps"]
        self._budget.go_on(own["budget"])

    def _tell_of_snapshot(self, offset: int, length: int) -> None:
        send(self._results, b"S", struct.pack("<QQd", offset, length, self.warmup_seconds))

    def _next_starts(self, size: int) -> torch.Tensor:
        """Where the next windows begin. The text is cut into windows, and each is used once, in random order.

        When all were used the text is cut anew, beginning at another byte. A text drawn for one run is hardly longer
        than what the run reads: windows that begin anywhere would miss a third of it, and read as much of it twice.
        """
        while len(self._starts) < size:
            first = torch.randint(self.context, (), generator=self._shuffler)
            count = (len(self._data) - 1 - int(first)) // self.context
            if count < 1:
                raise ValueError(f"a text of {len(self._data)} bytes is too short for windows of {self.context}")
            cut = first + self.context * torch.randperm(count, generator=self._shuffler)
            self._starts = torch.cat([self._starts, cut])
        starts, self._starts = self._starts[:size], self._starts[size:]
        return starts

    def _on_device(self, windows: torch.Tensor) -> torch.Tensor:
        """Tokens as int64 on the device. A GPU takes them while it is at the step before."""
        if self._on_processor:
            return windows.long()
        return windows.pin_memory().to(self.device, non_blocking=True).long()

    def report(self, model: torch.nn.Module, loss: Any) -> None:
        """To be called once per step, with the loss in nats. Raises Diverged when it is not finite.

        A loss on a GPU is read every PROGRESS_SECONDS and at the end of a part of the budget, with all since then, as
        reading waits for the GPU.
        """
        share = self.progress
        part = int(share * CURVE_PARTS)
        if part != self._part:
            self.tell_of_losses()
            self._part = part
            self._of_part = Mean()
        self._steps += 1
        self._share = share
        if self._on_processor:
            value = float(loss.detach() if isinstance(loss, torch.Tensor) else loss)
            self._of_part.add(self._finite(value, self._steps))
        else:
            self._unread.append(torch.as_tensor(loss).detach().to(self.device, torch.float64).reshape(()))
        if time.monotonic() - self._reported >= PROGRESS_SECONDS:
            self.tell_of_losses()
        self._step_is_over = True
        if self._steps in self._checkpoints:
            self.hand_out(self._steps, model)

    def tell_of_losses(self) -> None:
        """Report progress, with all losses so far. Raises Diverged when one is not finite."""
        self.read_losses()
        if self._of_part.count:
            mean = self._of_part.sum / self._of_part.count
            send(self._results, b"P", struct.pack("<Idd", self._steps, self._share, mean))
        self._reported = time.monotonic()

    def read_losses(self) -> None:
        """Take in the losses on a GPU that were not read yet. Raises Diverged when one is not finite."""
        losses = torch.stack(self._unread).tolist() if self._unread else []
        self._unread.clear()
        for step, value in enumerate(losses, self._steps - len(losses) + 1):
            self._of_part.add(self._finite(value, step))

    def _finite(self, loss: float, step: int) -> float:
        if not math.isfinite(loss):
            raise Diverged(f"the loss after step {step} is {loss}")
        return loss

    @property
    def warmup_seconds(self) -> float:
        """Seconds of a GPU that went into compiling and warming up; 0 on processors."""
        return 0.0 if "gpu" not in self._job else self._budget.warmup

    def hand_out(self, step: int, model: torch.nn.Module) -> None:
        """Write the model's weights behind those that are in the file, a tensor at a time. Raises OSError."""
        tensors = list(model.state_dict().values())
        offset = os.lseek(self._weights, 0, os.SEEK_END)
        length = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        # First, so that the node can say what is wrong with weights that are too large to be written.
        send(self._results, b"W", struct.pack("<IQQ", step, offset, length))
        for tensor in tensors:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            send_bytes(self._weights, memoryview(flat.view(torch.uint8).numpy()))


def budget_of(job: dict[str, Any], paused: Callable[[], float]) -> Budget:
    """The budget of a run, of which time is that of this process from now on, without the seconds of pauses."""
    if "gpu" in job:
        clock = partial(gpu_seconds, job["gpu"], paused)
        if "seconds" in job:
            return GpuTimeBudget(job["seconds"], job["warmup_seconds"], clock)
        return GpuTokenBudget(job["tokens"], job["warmup_seconds"], clock)
    if "seconds" not in job:
        return TokenBudget(job["tokens"])
    threads = job["threads"]
    return TimeBudget(job["seconds"], job["warmup_seconds"], lambda: time.process_time() / threads)


def gpu_seconds(device: str, paused: Callable[[], float]) -> float:
    """Seconds, when all that was asked of the device is done. A stand-in for one is a processor, which is always."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.monotonic() - paused()


def main() -> None:
    jobs, results, weights, *train_files = (int(number) for number in sys.argv[1:])
    job = json.loads(receive(jobs))
    torch.use_deterministic_algorithms(repeats(job))
    torch.set_num_threads(job.get("threads", 1))
    files = {path: receive(jobs) for path in job["editable"]}
    text = bytearray(read(train_files[0])) if train_files else receive(jobs)
    task = Task(job, tokens_of(text, job["vocabulary"]), results, weights, Pauses(jobs))
    if "chance" in job:
        chance.mix_in(bytes.fromhex(job["chance"]))
    failure = "exception"
    try:
        train(files, task, results)
        return
    except NotPython as error:
        failure = "syntax"
        print_refusal(error)
    except Diverged as error:
        failure = "diverged"
        print(f"diverged: {error}", file=sys.stderr)
    except SystemExit as error:
        failure = "diverged" if error.code == "diverged" else "exception"
        print(f"the source ended the run: {error.code}", file=sys.stderr)
    except BaseException as error:
        failure = "memory" if out_of_memory(error) else "exception"
        print_traceback(error)
    sys.stdout.flush()
    sys.stderr.flush()
    send(results, b"F", failure.encode())


def train(files: Mapping[str, bytes | bytearray], task: Task, results: int) -> None:
    module = load(files, task.seed)
    chance.begin(task.seed)
    model = module.train(task)
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"train(task) must return a torch.nn.Module, not {type(model).__name__}")
    task.tell_of_losses()
    if task.snapshots.unused:
        raise NoSnapshotError("train(task) made no batch, so it did not go on from where it was interrupted")
    sys.stdout.flush()
    task.hand_out(FINAL, model)
    send(results, b"D", struct.pack("<Qd", task.tokens_spent, task.warmup_seconds))


def tokens_of(text: bytes | bytearray, vocabulary: int) -> torch.Tensor:
    """The tokens of a text: bytes, or where there are more than 256 different ones, two bytes each, little-endian."""
    if vocabulary <= BYTE_VOCABULARY:
        return torch.frombuffer(text, dtype=torch.uint8)
    return torch.from_numpy(np.frombuffer(text, dtype="<u2").astype(np.int32))


def send(descriptor: int, tag: bytes, body: bytes = b"") -> None:
    send_bytes(descriptor, struct.pack("<cxxxI", tag, len(body)) + body)


if __name__ == "__main__":
    main()

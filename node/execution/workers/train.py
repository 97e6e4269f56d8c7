"""The candidate worker: trains one source and hands its weights out. A fork inside a sandbox; imports nothing of ours.

    train.py JOBS_FD RESULTS_FD [TRAIN_FD]

Everything heavy was done before the fork (preload_torch.py), so training begins at once. The job on JOBS_FD comes in
parts, each <u64 length> and bytes: JSON {seed, tokens, context, vocabulary, checkpoints, editable}, the source's files
in the order of their paths in `editable`, and the training text where there is no TRAIN_FD to read it from. Where the
run's seed is secret, the JSON has {batch_seed, chance} too: the seed of the batches, and bytes in hexadecimal that are
mixed into whatever the source seeds. Frames on RESULTS_FD are a byte of tag, three of padding, <u32 length> and a body,
all little-endian:

    P <u32 step> <f64 share> <f64 loss>  progress; share of the token budget, loss in nats as reported by the source
    W <u32 step> bytes                 weights after that many steps: the state's tensors in order; step 0: the final
    D                                  done
    F name of a failure                the run failed; standard error says why

The node trusts none of these frames: the source shares this process and could write any of them.
"""

import json
import math
import os
import struct
import sys
import time
import traceback
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from node.execution.workers import chance, source_modules
from node.execution.workers.exchange import read, receive
from node.execution.workers.exchange import send as send_bytes
from node.execution.workers.source_modules import NotPython, SourceModules

OURS = (__file__, source_modules.__file__)
# Added to the run's seed for the generator of batches. The source's own generator is seeded with the run's seed itself,
# and must not draw the same numbers.
BATCH_SEED = 77_000
PROGRESS_SECONDS = 0.1  # between two reports: often enough for a progress bar, and a negligible part of the CPU time
FINAL = 0  # in place of the step, for the weights after training
TRACEBACK_LINES = 12


class Diverged(Exception):
    """The loss reported is no longer a finite number."""


class Task:
    """What a source is given, and what it must report. The contract of the objective's `train(task)`."""

    def __init__(self, job: dict[str, Any], data: torch.Tensor, results: int) -> None:
        """Before chance is mixed in: the batches come from a generator with exactly this seed."""
        self.seed: int = job["seed"]
        self.tokens: int = job["tokens"]
        self.context: int = job["context"]
        self.vocabulary: int = job["vocabulary"]
        self.device = torch.device("cpu")
        self._checkpoints = frozenset(job["checkpoints"])
        self._data = data
        self._shuffler = torch.Generator().manual_seed(job["batch_seed"]) if "batch_seed" in job else None
        self._starts = torch.empty(0, dtype=torch.int64)  # of windows that were drawn and not used yet
        self._results = results
        self._spent = 0
        self._steps = 0
        self._reported = -math.inf  # when, by time.monotonic

    @property
    def progress(self) -> float:
        """Share of the token budget spent by the steps before this one, 0 to 1."""
        return min(1.0, self._spent / self.tokens)

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs (inputs, targets), int64 (size, context), until the token budget is spent.

        Each step spends size · context tokens: 16 windows of 64 tokens spend 1024, so a budget of 524,288 tokens is 512
        steps. Targets are the inputs shifted by one.
        """
        offsets = torch.arange(self.context + 1)
        anywhere = None if self._shuffler else torch.Generator().manual_seed(BATCH_SEED + self.seed)
        positions = len(self._data) - self.context - 1
        while self._spent < self.tokens:
            starts = torch.randint(positions, (size,), generator=anywhere) if anywhere else self._next_starts(size)
            windows = self._data[starts[:, None] + offsets].long()
            yield windows[:, :-1], windows[:, 1:]
            self._spent += size * self.context

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

    def report(self, model: torch.nn.Module, loss: Any) -> None:
        """To be called once per step, with the loss in nats. Raises Diverged when it is not finite."""
        self._steps += 1
        value = float(loss.detach() if isinstance(loss, torch.Tensor) else loss)
        if not math.isfinite(value):
            raise Diverged(f"the loss after step {self._steps} is {value}")
        now = time.monotonic()
        if now - self._reported >= PROGRESS_SECONDS:
            self._reported = now
            send(self._results, b"P", struct.pack("<Idd", self._steps, self.progress, value))
        if self._steps in self._checkpoints:
            send_weights(self._results, self._steps, model)


def main() -> None:
    jobs, results, *train_files = (int(number) for number in sys.argv[1:])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    job = json.loads(receive(jobs))
    files = {path: receive(jobs) for path in job["editable"]}
    text = bytearray(read(train_files[0])) if train_files else receive(jobs)
    os.close(jobs)
    task = Task(job, torch.frombuffer(text, dtype=torch.uint8), results)
    if "chance" in job:
        chance.mix_in(bytes.fromhex(job["chance"]))
    failure = "exception"
    try:
        train(files, task, results)
        return
    except NotPython as error:
        failure = "syntax"
        print("".join(traceback.format_exception_only(error.__cause__)).strip(), file=sys.stderr)
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
    sys.stdout.flush()
    send_weights(results, FINAL, model)
    send(results, b"D")


def load(files: Mapping[str, bytes | bytearray], seed: int) -> types.ModuleType:
    """The source as a module. Raises NotPython when it cannot be compiled, and whatever its own top level raises."""
    modules = SourceModules(files)
    chance.begin(seed)
    return modules.load()


def out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def print_traceback(error: BaseException) -> None:
    """Print the end of a traceback, without our own frames above those of the source."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in OURS:
        trace = trace.tb_next
    lines = "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    print("\n".join(lines[-TRACEBACK_LINES:]), file=sys.stderr)


def send_weights(results: int, step: int, model: torch.nn.Module) -> None:
    tensors = (tensor.detach().cpu().contiguous().reshape(-1) for tensor in model.state_dict().values())
    content = b"".join(tensor.view(torch.uint8).numpy().tobytes() for tensor in tensors)
    send(results, b"W", struct.pack("<I", step) + content)


def send(descriptor: int, tag: bytes, body: bytes = b"") -> None:
    send_bytes(descriptor, struct.pack("<cxxxI", tag, len(body)) + body)


if __name__ == "__main__":
    main()

"""The judge: alone holds the hidden text, asks examination workers for logits, and sends the node one result.

A fork inside a sandbox, since an objective may come from a stranger; imports numpy and the objective's judge.py,
nothing of ours and never torch. In the contract with judge.py an examination worker is called a room.

    judge.py CONTROL_FD VERDICT_FD JUDGE_FD TRAIN_FD|- (REQUESTS_FD REPLIES_FD)... [NAME=HIDDEN_FD...]

Waits on CONTROL_FD for a line of JSON. Where the run's seed is secret, this is {secret_seed, seed, split, steps,
weights, text, source_growth}, and as many bytes as `text` says follow: the text to be scored, unless it is in a file.
judge.py then offers `judge(text, rooms, seed)`, which returns metrics. Elsewhere the line is {secret_seed, seed, split,
steps, weights, incumbent}, and as many bytes as `incumbent` says follow: the losses that the judge handed out for the
model's parent, if there are any. judge.py then offers `judge(data, rooms, seed, split, train_sample, incumbent)`, which
returns metrics and losses. Where the objective has a table of the bytes of each token, the line has {token_bytes} too,
and that many bytes follow at the end. At one of the objective's scales it has {scale}.

On VERDICT_FD it writes the line "close K", upon which the node ends examination worker K and answers with the line
"dead". At last it writes one line of JSON: {"metrics": {...}, "losses": n}, {"rejected": reason}, {"late": reason} or
{"error": reason}. After metrics come n bytes of losses, which the node keeps unread and gives back when a child of this
model is judged at the same seed.
"""

import json
import os
import select
import struct
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.execution.workers.exchange import MAX_REASON, NodePipe, load_module, numbers, read, told

NO_FILE = "-"  # in place of a descriptor
SAMPLE_BYTES = 1 << 20  # of the training data, from which a judge may fit a simple reference model (a bigram)
# Of wall time, which a busy machine stretches: these end a wait for one that sleeps. The node limits its CPU time.
FIRST_ANSWER_SECONDS = 150.0  # an examination worker builds its model and loads weights first
ANSWER_SECONDS = 60.0  # for any later answer: a batch of the embedded objective takes milliseconds
REQUEST = struct.Struct("<IIII")
TICK_SECONDS = 1.0
HEADER = struct.Struct("<III")
MAX_VOCABULARY = 1 << 16
MAX_ANSWER_BYTES = 1 << 28  # memory for one answer; 64 windows of 64 tokens with 256 logits take 4 MiB
ASKED_AHEAD_BYTES = 32 << 10  # half of what a pipe holds (64 KiB, pipe(7))


class Refused(Exception):
    """The examination worker did not answer as agreed; the text says how."""


class Late(Refused):
    """It did not answer in time, which may be the machine's fault."""


class Patience:
    """How long an answer may still take. Of a pause of the node, which freezes this process too, a tick counts."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait(self, descriptor: int, event: int) -> None:
        """Return when the descriptor is ready (or its other end gone). Raises Late when there was too much waiting."""
        poller = select.poll()
        poller.register(descriptor, event)
        while self._left > 0:
            begun = time.monotonic()
            ready = poller.poll(min(TICK_SECONDS, self._left) * 1000)
            self._left -= min(TICK_SECONDS, time.monotonic() - begun)
            if ready:
                return
        raise Late("the examination did not answer within its deadline")


class Room:
    """One examination worker, from the judge's side."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests, self._replies = requests, replies
        self._set = 0
        self._seconds = FIRST_ANSWER_SECONDS
        for descriptor in (requests, replies):
            os.set_blocking(descriptor, False)

    def select(self, number: int) -> None:
        """Choose the weight set that answers from now on."""
        self._set = number

    def logits(self, tokens: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Float32 (batch, time, vocabulary) for token ids (batch, time); neither width nor finiteness is checked.

        Raises Refused when the answer has another shape, when the worker has ended, or when it takes too long.
        """
        return next(self.each([tokens]))

    def each(self, batches: Sequence[NDArray[np.uint16]]) -> Iterator[NDArray[np.float32]]:
        """`logits` of each of these in turn. The worker computes the next while the caller uses one.

        Only one batch is asked ahead, and only if it fits the pipe. A larger one would block the worker in writing its
        answer while the judge blocks in writing the question.
        """
        return self._each([(tokens, None) for tokens in batches])

    def next_token(
        self, batches: Sequence[tuple[NDArray[np.uint16], NDArray[np.uint16]]]
    ) -> Iterator[NDArray[np.float32]]:
        """For each batch, (windows, vocabulary) logits of the token that follows a place of each window.

        A batch is token ids (windows, time) and one place of each window, from 0 to time - 1. Place 0 asks what comes
        after the first token. Only what was asked for crosses the pipe. Raises Refused as `logits` does.
        """
        for answer in self._each([(tokens, places) for tokens, places in batches]):
            yield answer[:, 0]

    def _each(
        self, questions: Sequence[tuple[NDArray[np.uint16], NDArray[np.uint16] | None]]
    ) -> Iterator[NDArray[np.float32]]:
        asked = 0
        for number, (tokens, places) in enumerate(questions):
            while asked < len(questions) and (asked <= number or (asked == number + 1 and fits(questions[asked][0]))):
                self._ask(*questions[asked])
                asked += 1
            yield self._take(len(tokens), tokens.shape[1] if places is None else 1)

    def _ask(self, tokens: NDArray[np.uint16], places: NDArray[np.uint16] | None) -> None:
        request = REQUEST.pack(self._set, *tokens.shape, int(places is not None)) + tokens.astype("<u2").tobytes()
        if places is not None:
            request += places.astype("<u2").tobytes()
        self._send(request, Patience(self._seconds))

    def _take(self, batch: int, length: int) -> NDArray[np.float32]:
        patience = Patience(self._seconds)
        shape = HEADER.unpack(self._receive(HEADER.size, patience))
        size = 4 * batch * length * shape[2]
        if shape[:2] != (batch, length) or shape[2] > MAX_VOCABULARY or size > MAX_ANSWER_BYTES:
            raise Refused(f"logits of shape {shape} where those of {batch} windows at {length} places were asked for")
        content = self._receive(size, patience)
        self._seconds = ANSWER_SECONDS
        return np.frombuffer(content, dtype="<f4").reshape(shape)

    def _send(self, data: bytes, patience: Patience) -> None:
        view = memoryview(data)
        while view:
            patience.wait(self._requests, select.POLLOUT)
            try:
                view = view[os.write(self._requests, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise Refused("the examination ended before it answered") from None

    def _receive(self, length: int, patience: Patience) -> bytearray:
        """Exactly `length` bytes, copied once into memory of our own."""
        data = bytearray(length)
        view = memoryview(data)
        while view:
            patience.wait(self._replies, select.POLLIN)
            try:
                count = os.readv(self._replies, [view])
            except BlockingIOError:
                continue
            if count == 0:
                raise Refused("the examination ended before it answered")
            view = view[count:]
        return data


def fits(tokens: NDArray[np.uint16]) -> bool:
    """Whether a question fits into the pipe whole while the worker is still busy with the one before."""
    return REQUEST.size + 2 * tokens.size + 2 * len(tokens) <= ASKED_AHEAD_BYTES


class Rooms:
    """The examination workers of one run, to be opened one after the other.

    `weights` is the number of weight sets: one for each of `steps`, then the final one. `source_growth` is how many
    bytes longer the source is than the baseline, both compressed, and at least 0: what it could hold of a public text.
    It is None where the run's seed is no secret. `token_bytes` has the number of bytes of each token, for metrics by
    byte; None where the objective has no such table. `scale` is the name of the objective's scale at which the run was
    made; "" for its own budget.
    """

    def __init__(self, job: dict[str, Any], node: NodePipe, ends: list[tuple[int, int]], table: bytes) -> None:
        self.steps: tuple[int, ...] = tuple(job["steps"])
        self.weights: int = job["weights"]
        self.scale: str = job.get("scale", "")
        self.source_growth: int | None = job.get("source_growth")
        self.token_bytes = np.frombuffer(table, dtype=np.uint8) if table else None
        self._node = node
        self._ends = ends
        self._opened = 0

    @contextmanager
    def open(self) -> Iterator[Room]:
        """The next examination worker. Leaving the block ends its process, and returns when that is dead."""
        number = self._opened
        self._opened += 1
        if number >= len(self._ends):
            raise RuntimeError(f"a judge may open {len(self._ends)} rooms in one examination")
        try:
            yield Room(*self._ends[number])
        finally:
            self._node.send(f"close {number}")
            self._node.read_line()


def main() -> None:
    control, verdict, judge_file = (int(word) for word in sys.argv[1:4])
    train_file, *others = sys.argv[4:]
    ends = [int(word) for word in takewhile(str.isdigit, others)]
    judge = load_module(judge_file, "judge")
    sample = read(int(train_file), SAMPLE_BYTES) if train_file != NO_FILE else b""
    data = {name: read(int(file)) for name, _, file in (word.rpartition("=") for word in others[len(ends) :])}
    node = NodePipe(control, verdict)
    job = json.loads(node.read_line())
    content = node.read_bytes(job["text"] if job["secret_seed"] else job["incumbent"])
    table = node.read_bytes(job.get("token_bytes", 0))
    rooms = Rooms(job, node, list(zip(ends[::2], ends[1::2], strict=True)), table)
    result: dict[str, Any]
    losses = b""
    try:
        if job["secret_seed"]:
            metrics = judge.judge(content or data[job["split"]], rooms, job["seed"])
        else:
            metrics, losses = judge.judge(data, rooms, job["seed"], job["split"], sample, content)
        result = {"metrics": numbers(metrics), "losses": len(losses)}
    except Late as late:
        result = {"late": str(late)}
    except (Refused, judge.Rejected) as refusal:
        result = {"rejected": str(refusal)[:MAX_REASON]}
    except Exception as error:
        traceback.print_exc()
        result = {"error": told(error, judge.__file__)}
    node.send(json.dumps(result), losses if "losses" in result else b"")


if __name__ == "__main__":
    main()

"""The judge of programs: alone holds what is asked and the right answers, asks programs, and sends the node the scores.

A fork inside a sandbox, since an objective may come from a stranger; imports numpy and the objective's judge.py,
nothing of ours and never torch.

    program_judge.py CONTROL_FD VERDICT_FD JUDGE_FD (QUESTIONS_FD ANSWERS_FD)... [NAME=HIDDEN_FD...]

Waits on CONTROL_FD for a line of JSON, {seed, split, texts, causal, timed, source_growths} and perhaps {scale}, and the
texts that were drawn for this run, as long as `texts` says. judge.py offers `judge(session, seed, split)`, which
returns metrics, and `Rejected`. There is a pair of pipes for each program: one, or in a timed session the parent's and
the child's.

On VERDICT_FD it writes lines of JSON: {"progress": share}; in a timed session {"turn": number}, upon which the node
lets this program alone run and answers with a line; and at last {"results": [...]}, for each program {"metrics":
{...}}, {"rejected": reason}, {"ended": reason} where it was gone before it had answered, or {"error": reason}. One
with metrics may have "replay" too, rows of numbers for people to look at: the numbers follow the line (replays.py).

Theory of operation of a timed session. Both programs are asked the same: `judge` runs once for each, in a thread. They
take turns, and one thread alone runs at a time. A turn begins with a timed question and lasts until the next that is
not said to belong to it; what else is asked keeps the turn, since passing it on takes longer than many an answer. In
each round every program has a turn, in an order that is drawn, so that the machine's load meets both. The program whose
turn it is not stands still.
"""

import hashlib
import json
import sys
import threading
import time
import traceback
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from node.execution.workers import arrays, replays
from node.execution.workers.arrays import Array, Arrays
from node.execution.workers.exchange import MAX_REASON, NodePipe, load_module, numbers, read, told

Shape = tuple[int, ...] | Mapping[str, tuple[int, ...]] | None  # None where any will do

PROGRESS_SECONDS = 0.1  # between two reports
MOST_METRICS, MOST_NAME = 32, 60  # of one program; characters of a metric's name


class Refused(Exception):
    """The program did not answer as agreed; the text says how."""


class Turns:
    """Whose turn it is, of programs that are asked by threads of their own. One thread runs at a time."""

    def __init__(self, programs: int, node: NodePipe, seed: int) -> None:
        self._changed = threading.Condition()
        self._live = list(range(programs))
        self._round: list[int] = []
        self._holder: int | None = None
        self._taken = False  # the holder has begun its turn
        self._node = node
        self._dice = np.random.default_rng(seed)

    def take(self, program: int) -> None:
        """Give up the turn, and return when it is this program's again."""
        with self._changed:
            if self._holder is None or (self._holder == program and self._taken):
                self._pass_on()
            while self._holder != program:
                self._changed.wait()
            self._taken = True
        self._node.send(json.dumps({"turn": program}))
        self._node.read_line()

    def leave(self, program: int) -> None:
        """This program is asked no more."""
        with self._changed:
            self._live.remove(program)
            if self._holder == program:
                self._pass_on()

    def _pass_on(self) -> None:
        self._round = [each for each in self._round if each in self._live]
        self._round = self._round or [int(each) for each in self._dice.permutation(self._live)]
        self._holder, self._taken = self._round.pop() if self._round else None, False
        self._changed.notify_all()


class Session:
    """One program, as judge.py sees it.

    data: the objective's files for the judge, by name. texts: what was drawn for this run, "train" and that of the
    split. seconds: how long the last answer took, in a timed session. source_growth: how many bytes longer than the
    baseline its source is, both compressed, and at least 0: what it could hold of something that is not drawn.
    """

    def __init__(
        self,
        number: int,
        ends: tuple[int, int],
        job: Mapping[str, Any],
        data: Mapping[str, bytes],
        texts: Mapping[str, bytes],
        node: NodePipe,
        turns: Turns | None,
    ) -> None:
        self.data, self.texts = data, texts
        self._number, self._node, self._turns = number, node, turns
        self._questions, self._answers = ends
        self._seed: int = job["seed"]
        self.scale: str = job.get("scale", "")  # the name of the objective's scale; "" is its own budget
        self.source_growth: int = job["source_growths"][number]
        self._causal: bool = job["causal"]
        self._prepared = False
        self._asked: set[bytes] = set()  # hashes of what a timed session has asked
        self._reported = 0.0  # when, by time.monotonic
        self.recorded: tuple[replays.Announced, bytes] | None = None  # the replay

    def generator(self, label: str) -> np.random.Generator:
        """A generator of its own for each label, the same in every run with this seed.

        It is seeded with a hash: what a source works out of one generator from the numbers it is shown says nothing of
        another.
        """
        digest = hashlib.sha256(f"{label}\0{self._seed}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))

    def prepare(self, **given: object) -> None:
        """Have the program prepare with these arrays, which its source finds in `task.arrays`.

        Once, before any question. Returns when it has. Where judge.py does not call it, the program prepares before the
        first question, without arrays. Raises Refused.
        """
        if self._prepared:
            raise RuntimeError("a program prepares once, before the first question")
        self._prepared = True
        self._exchange(arrays.PREPARE, given, {})

    def ask(self, inputs: object, shape: Shape = None) -> Arrays:
        """What the program's `answer(task, inputs)` returns: an array, or a dictionary of arrays.

        inputs: an array, or a dictionary of arrays. shape: that the answer must have; of a dictionary, by name. Its
        numbers may be anything, NaN too. Raises Refused.
        """
        if not self._prepared:
            self.prepare()
        return self._exchange(arrays.QUESTION, inputs, shape)[0]

    def stream(self, steps: Sequence[Any] | Array, shape: Shape = None) -> Iterator[Arrays]:
        """The answer to each of these in turn. The next is sent when the answer is there: what comes later is hidden.

        For objectives that are causal. Raises Refused.
        """
        if not self._causal:
            raise RuntimeError("session.stream is for objectives with causal = true under [program]")
        for number, step in enumerate(steps):
            yield self.ask(step, shape)
            self.progress((number + 1) / len(steps))

    def time(self, inputs: object, shape: Shape = None, same_turn: bool = False) -> tuple[Arrays, float]:
        """The answer to a question, and the seconds from before it is sent until all of the answer is there.

        For objectives that are timed, after a question that warms the program up; each with inputs of its own, so that
        there is no answer that was kept. same_turn: the other program has no turn before it; for short questions, of
        which some are asked in a turn. Raises Refused.
        """
        if self._turns is None:
            raise RuntimeError("session.time is for objectives with timed = true under [program]")
        if not self._asked:
            raise RuntimeError("a first answer takes longer: ask once with session.ask before session.time")
        return self._exchange(arrays.QUESTION, inputs, shape, new_turn=not same_turn)

    def progress(self, share: float) -> None:
        """Show people how far this is, from 0 to 1."""
        now = time.monotonic()
        if now - self._reported >= PROGRESS_SECONDS:
            self._reported = now
            self._node.send(json.dumps({"progress": float(share)}))

    def replay(self, **pictures: Mapping[str, Iterable[Any]]) -> None:
        """Have people see what went on in this run: pictures of rows of numbers, such as prices={"bid": bids}.

        A later call takes the place of an earlier one. It is shown on the machine that made the run, and decides
        nothing. Raises ValueError beyond the limits (replays.py).
        """
        self.recorded = replays.packed(pictures)

    def _exchange(self, tag: bytes, given: object, shape: Shape, new_turn: bool = False) -> tuple[Arrays, float]:
        parts = arrays.packed(tag, given)
        if self._turns is not None:
            if tag == arrays.QUESTION:
                self._note(parts)
            if new_turn:
                self._turns.take(self._number)
        begun = time.perf_counter()
        arrays.write(self._questions, parts)
        try:
            _, answer = arrays.receive(self._answers)
        except arrays.NoArrays as error:
            raise Refused(f"the program answered with {error}") from None
        seconds = time.perf_counter() - begun
        refuse_other_shapes(answer, shape)
        return answer, seconds

    def _note(self, parts: Sequence[bytes | memoryview]) -> None:
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        if digest.digest() in self._asked:
            raise RuntimeError("in a timed session a question is asked once: a program could have kept its answer")
        self._asked.add(digest.digest())


def refuse_other_shapes(answer: Arrays, shape: Shape) -> None:
    """Raise Refused where an answer has not the shape that was asked for."""
    if shape is None:
        return
    if isinstance(shape, Mapping) != isinstance(answer, dict):
        raise Refused(f"the answer must be {'a dictionary of arrays' if isinstance(shape, Mapping) else 'one array'}")
    found = {name: array.shape for name, array in answer.items()} if isinstance(answer, dict) else answer.shape
    wanted = {name: tuple(each) for name, each in shape.items()} if isinstance(shape, Mapping) else tuple(shape)
    if found != wanted:
        raise Refused(f"an answer of shape {str(found)[:150]} where {str(wanted)[:150]} was asked for")


def main() -> None:
    control, verdict, judge_file = (int(word) for word in sys.argv[1:4])
    ends = [int(word) for word in takewhile(str.isdigit, sys.argv[4:])]
    data = {name: read(int(file)) for name, _, file in (word.rpartition("=") for word in sys.argv[4 + len(ends) :])}
    judge = load_module(judge_file, "judge")
    node = NodePipe(control, verdict)
    job = json.loads(node.read_line())
    texts = {name: node.read_bytes(length) for name, length in job["texts"].items()}
    programs = list(zip(ends[::2], ends[1::2], strict=True))
    turns = Turns(len(programs), node, job["seed"]) if job["timed"] else None
    sessions = [Session(number, program, job, data, texts, node, turns) for number, program in enumerate(programs)]
    results: list[dict[str, Any]] = [{} for _ in sessions]

    def score(number: int) -> None:
        try:
            if turns is not None:
                turns.take(number)
            results[number] = result(judge, sessions[number], job)
        finally:
            if turns is not None:
                turns.leave(number)

    threads = [threading.Thread(target=score, args=(number,)) for number in range(1, len(sessions))]
    for thread in threads:
        thread.start()
    score(0)
    for thread in threads:
        thread.join()
    content = b""
    for each, session in zip(results, sessions, strict=True):
        if session.recorded is not None and "metrics" in each:
            each["replay"], numbers_of_it = session.recorded
            content += numbers_of_it
    node.send(json.dumps({"results": results}), content)


def result(judge: types.ModuleType, session: Session, job: Mapping[str, Any]) -> dict[str, Any]:
    """What judge.py makes of a program."""
    try:
        metrics = numbers(judge.judge(session, job["seed"], job["split"]))
        if len(metrics) > MOST_METRICS or any(len(name) > MOST_NAME for name in metrics):
            raise ValueError(f"at most {MOST_METRICS} metrics are kept, with names of at most {MOST_NAME} characters")
        return {"metrics": metrics}
    except arrays.Ended:
        return {"ended": "the program ended before it had answered"}
    except (Refused, judge.Rejected) as refusal:
        return {"rejected": str(refusal)[:MAX_REASON]}
    except Exception as error:
        traceback.print_exc()
        return {"error": told(error, judge.__file__)}


if __name__ == "__main__":
    main()

"""A coding agent as a proposer: any program that, started in a folder with the source and a brief, edits the source.

It runs in the sandbox like every stranger's program, or, where a person said so because it needs a network and a key of
its own, as that person. In that case it is shown no word that came from a peer: what such an agent reads it may obey.
What it leaves behind is untrusted either way, and passes the same door as a model's answer.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from node.execution.pause_gate import PauseGate
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import Box, Outcome
from node.objective.edits import MAX_SOURCE_CHARACTERS, fingerprint
from node.platform.log import Log
from node.proposers.answer import OTHER, AnswerError, Words, checked, decode_words
from node.proposers.prompt import Task, brief, crash_report
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult, tried_result
from protocol.records import Experiment, Record

BRIEF_FILE, WORDS_FILE = "brief.md", "hypothesis.json"
MEMORY_BYTES = 4 << 30
TASKS = 256
OUTPUT_BYTES = 16 << 20
DISK_BYTES = 256 << 20
MAX_WORDS_BYTES = 64 << 10
NOBODYS_WORDS = frozenset({"catalogue", "numeric", "agent"})  # proposers whose titles come from no peer
# Reads the environment from a file, so that no key shows in the list of processes.
WITH_ENVIRONMENT = '. "$0"; rm -f "$0"; cd "$1"; shift; exec "$@"'


@dataclass(frozen=True)
class AgentOrder:
    """How the agent is run. `environment` is given to it only with network."""

    command: tuple[str, ...]
    network: bool
    environment: Mapping[str, str]
    seconds: float


class Agent:
    """Proposes what the agent made of the source. `own`: this node's own results; `ideas`: people's, in words.

    While the node rests, it stands still like a run.
    """

    name = "agent"
    costly = True

    def __init__(
        self,
        order: AgentOrder,
        layers: Layers,
        task: Task,
        own: Callable[[], Sequence[TriedResult]],
        ideas: Callable[[], Sequence[str]],
        pause_gate: PauseGate,
        log: Log,
    ) -> None:
        self._order = order
        self._layers = layers
        self._task = task
        self.categories = task.categories
        self._own = own
        self._ideas = ideas
        self._pause_gate = pause_gate
        self._log = log
        self._crash = ""

    async def propose(self, context: Context) -> Proposal | None:
        await self._pause_gate.wait_open()
        with tempfile.TemporaryDirectory(prefix="agent-", ignore_cleanup_errors=True) as place:
            folder = Path(place) / "work"
            folder.mkdir()
            source = folder / self._task.editable
            source.write_text(context.source)
            source.chmod(0o666)  # in the sandbox the agent may be another user; the folder above is closed to others
            (folder / BRIEF_FILE).write_text(self._brief(context))
            outcome = await self._run(folder)
            try:
                proposal = self._taken(folder, context)
            except AnswerError as error:
                why = f"{error} (it ended by {outcome.reason}, code {outcome.code})"
                self._log("answer refused", proposer=self.name, why=why, log_tail=outcome.log_tail)
                return None
        self._log("agent asked", seconds=round(outcome.wall_seconds), title=proposal.title)
        return proposal

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """A crash is told in the next brief."""
        self._crash = crash_report(lesson.failure, lesson.log_tail) if lesson.failure is not None else ""

    def _brief(self, context: Context) -> str:
        if self._order.network:
            results = tuple(tried for tried in self._own() if tried.proposer in NOBODYS_WORDS)
            return brief(self._task, replace(context, results=results), (), self._crash, WORDS_FILE)
        return brief(self._task, context, self._ideas(), self._crash, WORDS_FILE)

    async def _run(self, folder: Path) -> Outcome:
        order = self._order
        policy = Policy(
            wall_seconds=order.seconds,
            cpu_seconds=order.seconds,
            memory_bytes=MEMORY_BYTES,
            tasks=TASKS,
            output_bytes=OUTPUT_BYTES,
            writable=folder,
            writable_bytes=DISK_BYTES,
        )
        if not order.network:
            return await self._supervised(order.command, policy, self._layers)
        variables = folder.with_name("environment")
        lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in order.environment.items())
        with open(os.open(variables, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(lines)
        program = ["/bin/sh", "-c", WITH_ENVIRONMENT, str(variables), str(folder), *order.command]
        return await self._supervised(program, policy, _as_the_person(self._layers))

    async def _supervised(self, command: Sequence[str], policy: Policy, layers: Layers) -> Outcome:
        box = Box.start(command, policy, layers)
        box.start_clock()
        with self._pause_gate.freezing(box):
            await box.supervise()
        assert box.outcome is not None
        return box.outcome

    def _taken(self, folder: Path, context: Context) -> Proposal:
        """What the agent left behind. Raises AnswerError."""
        source = checked(_read(folder / self._task.editable, MAX_SOURCE_CHARACTERS))
        if fingerprint(source) in context.tried:
            raise AnswerError("the source was tried already, or is as it was")
        try:
            words = decode_words(_read(folder / WORDS_FILE, MAX_WORDS_BYTES), self._task.categories)
        except AnswerError:
            words = Words("An agent's edit", OTHER, "")
        return Proposal(words.title, words.category, words.reason, self.name, source)


def _as_the_person(layers: Layers) -> Layers:
    """No protection at all: limits are watched, and the environment is what was given."""
    return replace(layers, bwrap=False, unshare=False, inproc=False, unsafe=True)


def results_of(feed: Sequence[Record]) -> list[TriedResult]:
    """An author's own experiments, as far as they can teach without a look at the sources."""
    return [tried_result(record.body, {}) for record in feed if isinstance(record.body, Experiment)]


def program_of(command: Sequence[str]) -> tuple[str, ...] | None:
    """The command with the program's full path, None when there is no such program."""
    path = shutil.which(command[0])
    return (os.path.abspath(path), *command[1:]) if path is not None else None


def _read(path: Path, most: int) -> str:
    """A plain file's text. Raises AnswerError for what is none: it was made by somebody nobody trusts."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise AnswerError(f"{path.name} cannot be read (it is no file)")
            data = file.read(most + 1)
    except OSError as error:
        raise AnswerError(f"{path.name} cannot be read ({error.strerror})") from None
    if len(data) > most:
        raise AnswerError(f"{path.name} is larger than {most >> 10} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise AnswerError(f"{path.name} is not UTF-8 text") from None

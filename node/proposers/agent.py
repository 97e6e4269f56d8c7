"""A coding agent as a proposer: any program that, started in a folder with the source and a brief, edits the source.

It runs in the sandbox like a peer's source. One that is known by name asks its model through the node (`agent_proxy`),
which adds the key. Where the person at this machine allows an agent a network and a key of its own, it runs outside, as
that person's own program; then it is shown no text that came from a peer, since an agent may obey what it reads (prompt
injection). What it leaves behind is untrusted either way, and is checked like a model's answer.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from node.execution.pause_gate import PauseGate
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import SandboxedProcess
from node.execution.sandbox.watch import ProcessEnd
from node.objective.trees import MAX_SOURCE_CHARACTERS, TreeError, files_of, source_of
from node.platform.log import Log
from node.proposers.agent_presets import REQUESTS_A_TURN, Preset, Task
from node.proposers.agent_program import Installed
from node.proposers.agent_proxy import PORT, Account, AgentProxy
from node.proposers.agent_service import Reach
from node.proposers.answer import OTHER, AnswerError, Description, checked, decode_description
from node.proposers.elsewhere import Elsewhere
from node.proposers.prompt import ResearchBrief, brief, carried_over, crash_report, repetition
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult, tried_results
from node.proposers.repeats import Repeats
from protocol.records import Record

BRIEF_FILE, DESCRIPTION_FILE = "brief.md", "hypothesis.json"
MEMORY_BYTES = 4 << 30  # agents run in language runtimes that reserve gigabytes
TASKS = 256  # processes and threads, the compilers and shells it starts among them
OUTPUT_BYTES = 16 << 20  # a chatty agent's whole session
DISK_BYTES = 256 << 20  # the source is some kilobytes; the rest is for what the agent writes on the way
MAX_DESCRIPTION_BYTES = 64 << 10  # a title and a reason are under 1 KiB
TITLES_OF_NO_PEER = frozenset({"catalogue", "numeric", "agent"})  # proposers whose titles come from no peer
# Reads the environment from a file, so that no key shows in the list of processes.
WITH_ENVIRONMENT = '. "$0"; rm -f "$0"; cd "$1"; shift; exec "$@"'


@dataclass(frozen=True)
class Access:
    """What an agent that is known by name asks its model with: through the node, as `proxy` of [llm] says."""

    preset: Preset
    installed: Installed
    reach: Reach
    model: str
    turns: int
    proxy: str
    account: Account


@dataclass(frozen=True)
class AgentOrder:
    """How the agent is run.

    seconds: the most it may take. environment: given to it only with network. hidden: what it cannot read in the
    sandbox, since what the judge asks about is made from it. access: for one that is known by name, which then needs
    no command.
    """

    command: tuple[str, ...]
    network: bool
    environment: Mapping[str, str]
    seconds: float
    hidden: tuple[Path, ...] = ()
    access: Access | None = None


class Agent:
    """Proposes the source as the agent edited it.

    own: this node's own results. ideas: people's suggestions in words. pause_gate: while the node is paused, the agent
    is frozen, as runs are.
    """

    name = "agent"
    costly = True

    def __init__(
        self,
        order: AgentOrder,
        layers: Layers,
        task: ResearchBrief,
        own: Callable[[], Sequence[TriedResult]],
        ideas: Callable[[], Sequence[str]],
        repeats: Repeats,
        elsewhere: Elsewhere | None,
        pause_gate: PauseGate,
        log: Log,
    ) -> None:
        self._order = order
        self._layers = layers
        self._task = task
        self.categories = task.categories
        self._own = own
        self._ideas = ideas
        self._repeats = repeats
        self._elsewhere = elsewhere
        self._pause_gate = pause_gate
        self._log = log
        self._crash = ""
        self._repetition = ""  # what the next brief says of a repeated idea

    async def propose(self, context: Context) -> Proposal | None:
        await self._pause_gate.wait_open()
        if self._elsewhere is not None and not self._order.network:
            context = replace(context, offers=await self._elsewhere.in_words(context, self._task.categories))
        with tempfile.TemporaryDirectory(prefix="agent-", ignore_cleanup_errors=True) as parent:
            folder = Path(parent) / "work"
            _write_source(folder, files_of(context.source, self._task.editable))
            (folder / BRIEF_FILE).write_text(self._brief(context))
            self._repetition = ""
            outcome = await self._run(folder)
            try:
                proposal = await self._edited_source(folder, context)
            except AnswerError as error:
                why = f"{error} (it ended by {outcome.reason}, code {outcome.code})"
                self._log("answer refused", proposer=self.name, why=why, log_tail=outcome.log_tail)
                return None
        title = proposal.title if proposal is not None else ""
        self._log("agent asked", seconds=round(outcome.wall_seconds), title=title)
        return proposal

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Keep a crash for the next brief."""
        self._crash = crash_report(lesson.failure, lesson.log_tail) if lesson.failure is not None else ""

    def _brief(self, context: Context) -> str:
        last = self._crash or self._repetition
        if self._order.network:
            results = tuple(tried for tried in self._own() if tried.proposer in TITLES_OF_NO_PEER)
            return brief(self._task, replace(context, results=results), (), last, DESCRIPTION_FILE)
        return brief(self._task, context, self._ideas(), last, DESCRIPTION_FILE)

    async def _run(self, folder: Path) -> ProcessEnd:
        order = self._order
        policy = Policy(
            wall_seconds=order.seconds,
            cpu_seconds=order.seconds,
            memory_bytes=MEMORY_BYTES,
            tasks=TASKS,
            output_bytes=OUTPUT_BYTES,
            writable=folder,
            writable_bytes=DISK_BYTES,
            hidden=order.hidden,
            locks=True,  # the tools it starts lock files: package managers, compilers' caches, databases
        )
        if order.access is not None:
            return await self._through_the_node(order.access, policy, folder)
        if not order.network:
            return await self._supervised(order.command, policy, self._layers)
        variables = folder.with_name("environment")
        lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in order.environment.items())
        with open(os.open(variables, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(lines)
        program = ["/bin/sh", "-c", WITH_ENVIRONMENT, str(variables), str(folder), *order.command]
        return await self._supervised(program, policy, _as_the_person(self._layers))

    async def _through_the_node(self, access: Access, policy: Policy, folder: Path) -> ProcessEnd:
        """Run a known agent with a home of its own beside its folder, and answer it until it has ended."""
        home = folder.with_name("home")
        task = Task(access.model, access.turns, PORT, self._task.editable)
        started = access.preset.start(task, access.reach.service)
        _write_source(home, started.home_files)
        policy = replace(
            policy,
            writable=folder.parent,
            directory=folder,
            programs=access.installed.shown,
            env={
                "PATH": access.installed.path, "HOME": str(home), "TMPDIR": str(home), **started.environment
            },
            node_at=PORT,
            builds=True,  # these tools set modes of their files, make links, and start what they have brought along
        )  # fmt: skip
        proxy = AgentProxy(access.reach, access.proxy, access.account, access.turns * REQUESTS_A_TURN, self._log)
        process = SandboxedProcess.start([*access.installed.words, *started.arguments], policy, self._layers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer, process, proxy)
            outcome = await self._until_it_ends(process)
            nursery.cancel_scope.cancel()
        counted = proxy.counted
        self._log(
            "agent requests",
            asked=counted.requests,
            refused=counted.refused,
            sent=counted.bytes_up,
            received=counted.bytes_down,
            tokens=counted.used.tokens,
            cost=round(counted.used.money, 6),
        )
        return outcome

    async def _supervised(self, command: Sequence[str], policy: Policy, layers: Layers) -> ProcessEnd:
        return await self._until_it_ends(SandboxedProcess.start(command, policy, layers))

    async def _until_it_ends(self, process: SandboxedProcess) -> ProcessEnd:
        process.start_clock()
        with self._pause_gate.freezing(process):
            await process.supervise()
        assert process.outcome is not None
        return process.outcome

    async def _edited_source(self, folder: Path, context: Context) -> Proposal | None:
        """The proposal made of the files that the agent left behind, None of a repetition. Raises AnswerError."""
        files = {path: _read(folder, path, MAX_SOURCE_CHARACTERS) for path in self._task.editable}
        try:
            source = await checked(source_of(files), context.parser)
        except TreeError as error:
            raise AnswerError(f"the edited files cannot be stored: {error}") from None
        refusal = await context.refusal(source)
        if refusal is not None:
            raise AnswerError(refusal)
        try:
            text = _read(folder, DESCRIPTION_FILE, MAX_DESCRIPTION_BYTES)
            description = decode_description(text, self._task.categories)
        except AnswerError:  # the description is optional, the edit counts
            description = Description("An agent's edit", OTHER, "")
        tried = await self._repeats.of(context, description.title, source) if not self._crash else None
        if tried is not None:
            self._log(
                "idea repeats", proposer=self.name, title=description.title, tried=tried.title, decision="dropped"
            )
            # The next brief tells of it, where it may: a peer's title is not shown to an agent outside the sandbox.
            own = not self._order.network or tried.proposer in TITLES_OF_NO_PEER
            self._repetition = repetition(tried, self._task.measure) if own else ""
            return None
        origin = carried_over(description.offer, context)
        return Proposal(description.title, description.category, description.reason, self.name, source, origin=origin)


async def _answer(process: SandboxedProcess, proxy: AgentProxy) -> None:
    listener = await process.listener()
    if listener is not None:
        await proxy.serve(listener)


def _as_the_person(layers: Layers) -> Layers:
    """Layers without any protection: limits are watched, and the environment holds the variables given."""
    return replace(layers, bwrap=False, unshare=False, inproc=False, unsafe=True)


def results_of(feed: Sequence[Record]) -> list[TriedResult]:
    """The results of an author's own experiments, without the constants they changed: no source is read."""
    return list(tried_results(feed))


def program_of(command: Sequence[str]) -> tuple[str, ...] | None:
    """The command with the program's full path, None when there is no such program."""
    path = shutil.which(command[0])
    return (os.path.abspath(path), *command[1:]) if path is not None else None


def _write_source(folder: Path, files: Mapping[str, str]) -> None:
    """Put the editable files where the agent finds them."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    for path, text in files.items():
        file = folder / path
        for above in reversed(list(file.relative_to(folder).parents)[:-1]):
            (folder / above).mkdir(exist_ok=True)
            (folder / above).chmod(0o777)
        file.write_bytes(text.encode())
        file.chmod(0o666)  # in the sandbox the agent may be another user; the folder above is closed to others


def _read(folder: Path, path: str, most: int) -> str:
    """The text of a plain file below a folder. Raises AnswerError.

    The agent is untrusted: it may have put a link to the person's files there, or in the place of a folder, a pipe that
    would hang the reader, or a file without end. So no link is followed on the way, opening does not block, and no more
    is read than is allowed.
    """
    *above, name = path.split("/")
    try:
        with ExitStack() as stack:
            place = _opened(str(folder), os.O_DIRECTORY, None, stack)
            for part in above:
                place = _opened(part, os.O_DIRECTORY, place, stack)
            handle = _opened(name, os.O_NONBLOCK, place, stack)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise AnswerError(f"{path} cannot be read (it is no file)")
            with open(handle, "rb", closefd=False) as file:
                data = file.read(most + 1)
    except OSError as error:
        raise AnswerError(f"{path} cannot be read ({error.strerror})") from None
    if len(data) > most:
        raise AnswerError(f"{path} is larger than {most >> 10} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise AnswerError(f"{path} is not UTF-8 text") from None


def _opened(name: str, how: int, folder: int | None, stack: ExitStack) -> int:
    """A descriptor to read from, closed with the stack; of a link it is an error."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | how, dir_fd=folder)
    stack.callback(os.close, handle)
    return handle

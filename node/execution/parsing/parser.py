"""The node's side of the helper process: questions about sources, each within limits of time, memory and size.

A text that goes over a limit is refused like one that is no Python, with a sentence that says why, and is remembered,
so that it costs its time once. Time is the helper's own CPU time, which the machine's load does not move: an honest
source is not refused because the machine is busy. The helper is started when it is first needed and ends, reaped, with
the trio run in which it was started. Questions are answered one after the other.

It knows no record and no ledger, and does not say what an answer is good for.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import trio

from node.objective import sources
from node.objective.changes import Change
from node.objective.edits import Constant, Edit, EditError, edit_fields, line_end, with_line_ends
from node.objective.trees import MAX_SOURCE_CHARACTERS, TreeError, source_of
from node.platform.environment import git_environment
from node.platform.log import Log, short_id

# 220,000 characters of Python's own library take 0.2 s; the worst hostile source takes 5 s and more.
CPU_SECONDS = 2.0  # of the helper's, for one question
MEMORY_BYTES = 512 << 20  # of address space: the worst sources of the greatest length that end in time take 180 MiB
WAIT_SECONDS = 60.0  # for one answer; on a machine this busy the source is not to blame
CHECK_SECONDS = 0.05  # between two looks at the helper's clock
MERGE_SECONDS = 10  # git takes milliseconds; hostile texts can make a merge take very long
MAX_QUESTION_BYTES = 8 << 20  # three texts of the greatest length, where most characters take two bytes or three
MAX_ANSWER_BYTES = 4 << 20  # one text of the greatest length, as JSON may write it
MAX_REMEMBERED = 2000  # answers, and refused texts; at most some 20 KB each, and usually under 1 KB
LENGTH_BYTES = 4
HELPER = Path(__file__).with_name("helper.py")

TOO_LONG = "takes too long to parse"
BROKEN = "ends the process that parses it"
TOO_LARGE = "takes more to describe than is allowed"

Side = Literal["ours", "theirs"]
T = TypeVar("T")


class TooCostlyError(EditError):
    """A text went over a limit of time, memory or size while it was parsed."""


@dataclass(frozen=True)
class Facts:
    """What a source is known by.

    fingerprint: as in records; the sha256 of the text where it does not parse. numbers: the module-level UPPERCASE
    constants of its Python files that are finite numbers, in order. error: why it cannot be used: a Python file does
    not parse, or it is no tree; None where all is well. too_costly: it was given up at a limit.
    """

    fingerprint: bytes
    numbers: tuple[Constant, ...]
    error: str | None = None
    too_costly: bool = False


class _Found(msgspec.Struct):
    fingerprint: str
    numbers: list[tuple[str, bool | int | float, int, str | None]]
    error: str | None


class _Answer(msgspec.Struct):
    last: bool
    answer: msgspec.Raw = msgspec.Raw()
    refused: str | None = None


class SourceParser:
    """Answers what the node asks about sources. One trio run uses it at a time; it may serve several in turn.

    log: of texts that are refused at a limit. editable: the editable files of the objective whose sources they are.
    Where they are not known, a source says by its first line whether it is a tree, and a single file is Python.
    """

    def __init__(self, log: Log | None = None, editable: Sequence[str] = ()) -> None:
        self._log = log
        self._editable = tuple(editable)
        self._turn = trio.Lock()
        self._helper: _Helper | None = None
        self._answers: OrderedDict[bytes, Any] = OrderedDict()  # by digest of the question
        self._refused: OrderedDict[bytes, str] = OrderedDict()  # by digest of a text, or of a question on innocent ones
        self._innocent: OrderedDict[bytes, None] = OrderedDict()  # digests of texts that were parsed within the limits

    # ---- what can be asked -----------------------------------------------------------------------------------------

    async def facts(self, source: str) -> Facts:
        """What a source is known by. It is never refused: `error` says what is wrong with it."""
        try:
            found = await self._ask(_Found, "facts", [source, self._editable], blamed=[source])
        except EditError as error:
            digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
            return Facts(digest, (), str(error), too_costly=True)
        return Facts(bytes.fromhex(found.fingerprint), tuple(Constant(*each) for each in found.numbers), found.error)

    async def fingerprint(self, source: str) -> bytes:
        """The fingerprint of a source; see `Facts`."""
        return (await self.facts(source)).fingerprint

    async def seeds(self, source: str) -> frozenset[str]:
        """The constants that do nothing but seed. Raises EditError."""
        return frozenset(await self._ask(list[str], "seeds", [source, self._editable], blamed=[source]))

    async def fixes_seed(self, source: str) -> bool:
        """Whether a source seeds generators and never reads the run's own seed. Raises EditError."""
        return await self._ask(bool, "fixes_seed", [source, self._editable], blamed=[source])

    async def idle(self, baseline: str, source: str) -> frozenset[str]:
        """The constants that a baseline reads and a source no longer. Raises EditError."""
        values = [baseline, source, self._editable]
        return frozenset(await self._ask(list[str], "idle", values, blamed=[baseline, source]))

    async def lacks(self, source: str, names: Sequence[str]) -> tuple[str, ...]:
        """Which of these names a source gives to nothing. Raises EditError."""
        values = [source, list(names), self._editable]
        return tuple(await self._ask(list[str], "lacks", values, blamed=[source]))

    async def compare(self, source: str, child: str, unread: frozenset[str] = frozenset()) -> tuple[bool, bool]:
        """Whether a child changes nothing, and whether nothing but chance. unread: constants that nothing reads.

        Raises EditError where a text goes over a limit.
        """
        values = [source, child, sorted(unread), self._editable]
        nothing, chance = await self._ask(tuple[bool, bool], "compare", values, blamed=[source, child])
        return nothing, chance

    async def apply(self, source: str, edits: Sequence[Edit]) -> str:
        """The source after all edits. Raises EditError when one does not apply or the result does not parse."""
        tables = [edit_fields(edit) for edit in edits]
        blamed = [source, json.dumps(tables)]
        return await self._ask(str, "edited", [source, tables, self._editable], blamed=blamed, remember=False)

    async def merge(self, base: str, ours: str, theirs: str, on_conflict: Side | None = None) -> str | None:
        """Ours with the change from base to theirs, by lines. None on a conflict or if the result does not parse.

        Of several files each is merged by itself, and a conflict in one is a conflict. Lines end as those of the base
        do. None also when it takes longer than MERGE_SECONDS. on_conflict: whose version is taken of lines that both
        have changed; without it, such lines are a conflict.
        """
        try:
            versions = [sources.read(source, self._editable) for source in (base, ours, theirs)]
        except EditError:
            return None
        merged = await _merged_files(versions, on_conflict)
        if merged is None or (await self.facts(merged)).error is not None:
            return None
        return merged

    async def diff(self, before: str, after: str, names: tuple[str, str], most: int) -> list[str]:
        """A unified diff of two sources, cut after `most` lines. Raises EditError at a limit."""
        return await self._ask(list[str], "diff", [before, after, names, most, self._editable], remember=False)

    async def carry(self, before: str, after: str, source: str) -> str:
        """A source with the edit between two others, by the names of what it changes. Raises EditError."""
        values = [before, after, source, self._editable]
        return await self._ask(str, "carried", values, blamed=[before, after, source], remember=False)

    async def change(self, before: str, after: str) -> Change:
        """What an edit changes, without what may be written another way. Raises EditError."""
        return await self._ask(Change, "change", [before, after, self._editable], blamed=[before, after])

    async def lines_changed(self, before: str, after: str) -> int:
        """How many lines differ between two sources. Raises EditError at a limit."""
        return await self._ask(int, "lines_changed", [before, after, self._editable], remember=False)

    # ---- limits and memory -----------------------------------------------------------------------------------------

    async def _ask(
        self, kind: type[T], name: str, values: list[Any], blamed: Sequence[str] = (), remember: bool = True
    ) -> T:
        """The answer to a question, as this type. Raises EditError with the helper's sentence, or at a limit.

        blamed: texts of which one may be to blame where a limit is met. remember: keep the answer, for it is small.
        """
        if any(len(text) > MAX_SOURCE_CHARACTERS for text in blamed):
            raise EditError(f"the source is longer than {MAX_SOURCE_CHARACTERS} characters")
        question = json.dumps([name, *values], ensure_ascii=False).encode("utf-8", "surrogatepass")
        if len(question) > MAX_QUESTION_BYTES:
            raise TooCostlyError(f"the texts are larger than {MAX_QUESTION_BYTES >> 20} MiB together")
        key = hashlib.sha256(question).digest()
        if key in self._answers:
            self._answers.move_to_end(key)
            known: T = self._answers[key]
            return known
        digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in blamed]
        async with self._turn:
            self._refuse_known(key, *digests)
            answer = await self._exchange(question)
            if isinstance(answer, str):
                # Of several texts those are to blame that were never parsed by themselves; of innocent ones, the pair.
                for digest in [d for d in digests if d not in self._innocent] or [key]:
                    _remember(self._refused, digest, f"the source {answer}")
                    if self._log is not None:
                        self._log("source refused", level="warning", source=short_id(digest), why=answer)
                raise TooCostlyError(f"the source {answer}")
        if answer.refused is not None:
            raise EditError(answer.refused)
        if len(digests) == 1:
            _remember(self._innocent, digests[0], None)
        found = msgspec.json.decode(answer.answer, type=kind)
        if remember:
            _remember(self._answers, key, found)
        return found

    def _refuse_known(self, *digests: bytes) -> None:
        for digest in digests:
            if digest in self._refused:
                raise TooCostlyError(self._refused[digest])

    async def _exchange(self, question: bytes) -> _Answer | str:
        """The helper's answer, or the limit that was met, in words. Raises TooCostlyError where no text is to blame."""
        if self._helper is not None and not self._helper.ended:
            answer = await self._asked(self._helper, question)
            if answer != BROKEN:
                return answer
            # It may have died while it waited, and the source be not to blame: a fresh one shows it.
        return await self._asked(_Helper(), question)

    async def _asked(self, helper: _Helper, question: bytes) -> _Answer | str:
        self._helper = None  # whatever happens now, only one that has answered is asked again
        try:
            answer = await helper.answer(question)
            if isinstance(answer, _Answer) and not answer.last:
                self._helper = helper
            return answer
        finally:
            if self._helper is None:
                helper.kill()


def _remember(memory: OrderedDict[bytes, Any], key: bytes, value: Any) -> None:
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)


class _Helper:
    """One helper process. It is reaped by a task of the trio run, whenever and however it ends."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", "-B", str(HELPER), str(os.getpid()), str(MEMORY_BYTES)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is the node's to handle
            env={"LANG": "C.UTF-8"},
            cwd="/",
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._into = trio.lowlevel.FdStream(os.dup(self._process.stdin.fileno()))
        self._out_of = trio.lowlevel.FdStream(os.dup(self._process.stdout.fileno()))
        self._process.stdin.close()
        self._process.stdout.close()
        # A process's own CPU clock, by the kernel's rule for its number (clock_getcpuclockid(3)).
        self._clock = ~self._process.pid << 3 | 2
        self._pidfd = os.pidfd_open(self._process.pid)
        self.ended = False
        trio.lowlevel.spawn_system_task(self._reap)

    async def answer(self, question: bytes) -> _Answer | str:
        """The answer, or the limit that was met, in words. Raises TooCostlyError where no text is to blame."""
        cpu_end, wait_end = self._cpu_seconds() + CPU_SECONDS, time.monotonic() + WAIT_SECONDS
        why = BROKEN

        async def watch() -> None:
            nonlocal why
            while why == BROKEN:
                await trio.sleep(CHECK_SECONDS)
                if self._cpu_seconds() > cpu_end:
                    why = TOO_LONG
                elif time.monotonic() > wait_end:
                    why = ""
            self.kill()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            answer = await self._talk(question)
            nursery.cancel_scope.cancel()
        if answer is None and not why:
            raise TooCostlyError("the source was not parsed in time, for this machine is busy")
        return why if answer is None else answer

    async def _talk(self, question: bytes) -> _Answer | str | None:
        """The answer, TOO_LARGE, or None when the helper has ended."""
        try:
            await self._into.send_all(len(question).to_bytes(LENGTH_BYTES, "big") + question)
            size = int.from_bytes(await self._receive(LENGTH_BYTES), "big")
            if size > MAX_ANSWER_BYTES:
                return TOO_LARGE
            return msgspec.json.decode(await self._receive(size), type=_Answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError, msgspec.DecodeError):
            return None

    async def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = await self._out_of.receive_some(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def _cpu_seconds(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:  # it has ended
            return 0.0

    def kill(self) -> None:
        """End it now; it is reaped by its task."""
        if not self.ended:
            self._process.kill()

    async def _reap(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._pidfd)
        finally:
            self.kill()  # where it is the trio run that ends
            with trio.CancelScope(shield=True):
                await trio.lowlevel.wait_readable(self._pidfd)
            os.close(self._pidfd)
            self._process.wait()
            self.ended = True
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._into)
                await trio.aclose_forcefully(self._out_of)


async def _merged_files(versions: Sequence[sources.Files], on_conflict: Side | None) -> str | None:
    """The source of all files merged: base, ours and theirs. None on a conflict or out of time."""
    base, ours, theirs = versions
    if not base.keys() == ours.keys() == theirs.keys():
        return None
    merged = dict(ours)
    with trio.move_on_after(MERGE_SECONDS) as patience:
        for path in base:
            if len(base) > 1 and theirs[path] in (base[path], ours[path]):
                continue  # most edits change few files, and git costs a process
            text = await _merged_by_git(base[path], ours[path], theirs[path], on_conflict)
            if text is None:
                return None
            merged[path] = text
    if patience.cancelled_caught:
        return None
    try:
        source = source_of(merged)
    except TreeError:  # longer than a source may be
        return None
    return source if len(source) <= MAX_SOURCE_CHARACTERS else None


async def _merged_by_git(base: str, ours: str, theirs: str, on_conflict: Side | None) -> str | None:
    """One file merged by lines. None on a conflict."""
    end = line_end(base if "\n" in base else ours)
    with tempfile.TemporaryDirectory(prefix="merge-") as folder:
        paths = [Path(folder) / name for name in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base, theirs), strict=True):
            path.write_bytes(with_line_ends(text, end).encode("utf-8", "surrogatepass"))
        preference = [] if on_conflict is None else [f"--{on_conflict}"]
        command = ["git", "merge-file", "-p", "-q", *preference, *map(str, paths)]
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, env=git_environment(), check=False
        )
    if done.returncode != 0:  # a conflict, or an error of git
        return None
    return done.stdout.decode("utf-8", "surrogatepass")

"""What a node and a worker elsewhere say to each other: bytes in, events out, and no I/O, clock or chance.

Theory of operation. A worker is a process that a command of the node's person starts somewhere (srun, ssh, docker,
kubectl). The two speak over its standard input and output. First the worker prints one line, PRELUDE, so that what a
login shell prints before it (a greeting, say) is told apart; after that there are only frames: a length (4 bytes,
big-endian), a msgpack map of that length whose "t" names its type, and a line end. That is there because srun passes
on whole lines: without it a frame would wait for the next one.

    node                                            worker
                                                    PRELUDE
                                              <---  hello     version, platform, hardware, sandbox, where weights are
    objective   the manifest               --->
                                              <---  lacks     contents of it that are not in the worker's cache, by id
    content     chunks of each of those    --->
                                              <---  ready     or refused, with why; then it ends
    run, pair or examine                   --->
                                              <---  progress  any number of them
                                              <---  outcome   or broken (no process could be started there)
    cancel      ends the run under way     --->
                                              <---  dropped   or the outcome, if that was already on its way

There is at most one job at a time, a run, a pair or an examination, and each has a number, one higher than the last.
`pause`, `resume` and `cool` can come whenever a worker is ready, `beat` from both sides at any time: it says only that
the sender still is there. A worker ends when its standard input does.

Contents are named by their sha256 and travel only where the worker lacks them. Weights never travel: they stay in the
worker's cache, and `store` in its hello says which part of a cache that is.

Each end has its own rules: `NodeSide` reads what workers say, and trusts it no more than what peers say; `WorkerSide`
reads what the node says. Which frame may come when is in one table for each (`_FROM_WORKER`, `_FROM_NODE`). What breaks
a rule raises MalformedError, and is the end of that worker.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from node.execution.workers.replays import MOST_NUMBERS, MOST_ROWS, NAME
from protocol.codec import Limits, MalformedError, decode, encode
from protocol.fields import Device, Id, Platform, Sandbox, Statement, Whole, is_plain, read
from protocol.records import Failure

VERSION = 1  # of this protocol; a worker of another one is refused
PRELUDE = b"autoresearch-node worker speaks from here\n"
MAX_BEFORE_PRELUDE = 64 << 10  # bytes that a login may print before
LENGTH_BYTES = 4
FRAME_END = b"\n"
CHUNK_BYTES = 512 << 10  # of content in one frame
MAX_CONTENTS = 1024  # files and data that one objective has, as its manifest allows
MAX_SOURCE_BYTES = 1 << 20  # in UTF-8: 256 Ki characters, each of which takes 3 where it stands for a byte that is none
STORE_BYTES = 16
MAX_WHY = 2000  # characters
MAX_LOG_TAIL = 4000
MAX_NUMBERS = 256  # named numbers, or checkpoints, of one outcome
MAX_SECONDS = 1e9

# A worker's frames are small; a node's hold up to two sources, or a chunk of content.
FROM_WORKER = Limits(max_bytes=256 << 10, max_depth=6, max_items=8192, max_text=4 * MAX_LOG_TAIL, max_binary=64)
FROM_NODE = Limits(max_bytes=3 << 20, max_depth=4, max_items=64, max_text=MAX_SOURCE_BYTES, max_binary=CHUNK_BYTES)

Source = Annotated[str, Meta(max_length=MAX_SOURCE_BYTES)]
Why = Annotated[str, Meta(max_length=MAX_WHY)]
Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(max_length=80)]
Split = Annotated[str, Meta(pattern=r"\A[a-z]{1,20}\Z")]
PictureName = Annotated[str, Meta(pattern=rf"\A{NAME.pattern}\Z")]
Row = Annotated[tuple[float, ...], Meta(min_length=1, max_length=MOST_NUMBERS)]
Picture = Annotated[dict[PictureName, Row], Meta(min_length=1, max_length=MOST_ROWS)]
ReplayMade = Annotated[dict[PictureName, Picture], Meta(max_length=MOST_ROWS)]


class Frame(msgspec.Struct, frozen=True, tag_field="t"):
    """A map on this wire. Text in it is a source or a program's output: what shows it cleans it first."""


# ---- what a worker says ----------------------------------------------------------------------------------------------


class GpuThere(Statement, frozen=True):
    """A GPU that the worker's runs may use."""

    name: Name
    memory_bytes: Whole
    vendor: Name
    driver: Name


class Hello(Statement, frozen=True, tag_field="t", tag="hello"):
    """What the worker is. store: the part of a cache in which it keeps weights. program: its version."""

    protocol: Whole
    program: Name
    host: Name
    platform: Platform
    device: Device
    cores: Annotated[int, Meta(ge=1, le=1 << 20)]
    memory_bytes: Whole
    gpus: Annotated[tuple[GpuThere, ...], Meta(max_length=64)]
    sandbox: Sandbox
    store: Annotated[bytes, Meta(min_length=STORE_BYTES, max_length=STORE_BYTES)]


class Lacks(Frame, frozen=True, tag="lacks"):
    """The contents that the worker needs for the objective and does not have."""

    contents: Annotated[tuple[Id, ...], Meta(max_length=MAX_CONTENTS)]


class Ready(Frame, frozen=True, tag="ready"):
    """The worker has the objective. alternates: it can make both runs of a pair at once."""

    alternates: bool


class Refused(Frame, frozen=True, tag="refused"):
    """The worker cannot make runs, and ends; `why` says what to do."""

    why: Why


class Told(Frame, frozen=True, tag="progress"):
    """How far a job is. side: 0, or 1 for the child of a pair. cost: as of `Progress`; an earlier version says none."""

    job: Whole
    side: Annotated[int, Meta(ge=0, le=1)]
    share: Share
    loss: float | None
    seconds: Seconds
    phase: Annotated[str, Meta(pattern=r"\A[a-z]{1,20}\Z")]
    cost: Seconds = 0.0


class RunMade(Frame, frozen=True, array_like=True, tag=False):
    """An outcome on the wire, as `node.ledger.outcome.Outcome` has it."""

    value: float | None
    metrics: Annotated[dict[Name, float], Meta(max_length=MAX_NUMBERS)]
    checkpoints: Annotated[tuple[tuple[Whole, float], ...], Meta(max_length=MAX_NUMBERS)]
    tokens: Whole
    cpu_seconds: Seconds
    wall_seconds: Seconds
    peak_memory: Whole
    failure: Failure | None
    log_tail: Annotated[str, Meta(max_length=MAX_LOG_TAIL)]
    sandbox: Sandbox
    replay: ReplayMade = {}  # empty where the judge recorded none, and of an earlier version

    def __post_init__(self) -> None:
        if (self.value is None) == (self.failure is None):
            raise MalformedError("an outcome has either a value or a failure")
        if sum(len(row) for picture in self.replay.values() for row in picture.values()) > MOST_NUMBERS:
            raise MalformedError(f"an outcome whose replay has more than {MOST_NUMBERS} numbers")
        if not is_plain(self.sandbox) or not all(map(is_plain, self.metrics)):
            raise MalformedError("an outcome has names that are not plain text")


class Made(Frame, frozen=True, tag="outcome"):
    """What became of a job: two outcomes of a pair, else one. Seconds: of wall time that training and judging took."""

    job: Whole
    outcomes: Annotated[tuple[RunMade, ...], Meta(min_length=1, max_length=2)]
    train_seconds: Seconds
    judge_seconds: Seconds
    alternates: bool


class Broken(Frame, frozen=True, tag="broken"):
    """No process could be started for a job; nothing is known of its source."""

    job: Whole
    why: Why


class Dropped(Frame, frozen=True, tag="dropped"):
    """The job that was cancelled has ended."""

    job: Whole


class Beat(Frame, frozen=True, tag="beat"):
    """The sender still is there."""


# ---- what the node says ----------------------------------------------------------------------------------------------


class UseObjective(Frame, frozen=True, tag="objective"):
    """The objective of all runs that follow, as its manifest. scale: at which they are made; "" for its own budget."""

    manifest: Annotated[bytes, Meta(max_length=CHUNK_BYTES)]
    scale: Annotated[str, Meta(pattern=r"\A[a-z0-9_-]{0,40}\Z")] = ""


class Content(Frame, frozen=True, tag="content"):
    """The next bytes of a content that the worker lacks; `last` ends it."""

    id: Id
    data: Annotated[bytes, Meta(max_length=CHUNK_BYTES)]
    last: bool


class Run(Frame, frozen=True, tag="run"):
    """Train a source and score it. incumbent: the source it is to be better than."""

    job: Whole
    source: Source
    seed: Whole
    incumbent: Source | None = None


class RunPair(Frame, frozen=True, tag="pair"):
    """Make both runs of a pair in turns."""

    job: Whole
    parent: Source
    child: Source
    seed: Whole


class Examine(Frame, frozen=True, tag="examine"):
    """Score an earlier run on another split."""

    job: Whole
    source: Source
    seed: Whole
    split: Split
    incumbent: Source | None = None


class Cancel(Frame, frozen=True, tag="cancel"):
    """End the job if it is under way."""

    job: Whole


class Pause(Frame, frozen=True, tag="pause"):
    """Freeze the job under way."""


class Resume(Frame, frozen=True, tag="resume"):
    """Let it go on."""


class CoolDown(Frame, frozen=True, tag="cool"):
    """Give back memory that is held for the next run."""


FromWorker = Hello | Lacks | Ready | Refused | Told | Made | Broken | Dropped | Beat
FromNode = UseObjective | Content | Run | RunPair | Examine | Cancel | Pause | Resume | CoolDown | Beat
Job = Run | RunPair | Examine


# ---- frames ----------------------------------------------------------------------------------------------------------


def framed(frame: FromWorker | FromNode) -> bytes:
    """A frame as it is sent."""
    body = encode(frame)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body + FRAME_END


Event = TypeVar("Event")


class _Frames(Generic[Event]):
    """Cuts a stream into frames and reads each once, within limits."""

    def __init__(self, kinds: Any, limits: Limits) -> None:
        self._decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(kinds)
        self._limits = limits
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Event | None:
        """The next whole frame; None until more bytes have come. Raises MalformedError."""
        if len(self._buffer) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if not 0 < length <= self._limits.max_bytes:
            raise MalformedError(f"a frame of {length} bytes, where 1 to {self._limits.max_bytes} are allowed")
        end = LENGTH_BYTES + length
        if len(self._buffer) < end + len(FRAME_END):
            return None
        body, after = bytes(self._buffer[LENGTH_BYTES:end]), bytes(self._buffer[end : end + len(FRAME_END)])
        if after != FRAME_END:
            raise MalformedError(
                "a frame without its line end; does something on the way change bytes, as a terminal does?"
            )
        del self._buffer[: end + len(FRAME_END)]
        decode(body, self._limits)
        return read(self._decoder, body, "a frame")


# ---- the node's side -------------------------------------------------------------------------------------------------


class State(Enum):
    """Where the conversation with a worker is. The same words for both ends."""

    SILENT = auto()  # nothing but what a login prints; the worker may be waiting in a scheduler's queue
    GREETING = auto()  # the worker runs; its hello comes next
    ASKED = auto()  # it has the manifest, and says next what it lacks
    FILLING = auto()  # it gets what it lacks, and says next that it is ready
    IDLE = auto()
    BUSY = auto()  # one job is under way
    OVER = auto()  # it has refused


# Which frames of a worker may come in which state, and the state after them.
_FROM_WORKER: dict[tuple[State, type[Any]], State] = {
    (State.GREETING, Hello): State.GREETING,  # until the node has answered it: see `use`
    (State.GREETING, Refused): State.OVER,
    (State.ASKED, Lacks): State.FILLING,
    (State.ASKED, Refused): State.OVER,
    (State.FILLING, Ready): State.IDLE,
    (State.FILLING, Refused): State.OVER,
    (State.BUSY, Told): State.BUSY,
    (State.BUSY, Made): State.IDLE,
    (State.BUSY, Broken): State.IDLE,
    (State.BUSY, Dropped): State.IDLE,
}
_FROM_WORKER |= {(state, Beat): state for state in State if state is not State.SILENT}


class NodeSide:
    """The node's end of a conversation. `receive` gives what the worker said; the rest gives bytes to send."""

    def __init__(self) -> None:
        self.state = State.SILENT
        self.before = b""  # what came before PRELUDE, which a person may want to see
        self._frames: _Frames[FromWorker] = _Frames(FromWorker, FROM_WORKER)
        self._greeted = False
        self._known: frozenset[bytes] = frozenset()  # contents that the worker may lack
        self._job: Job | None = None
        self._jobs = 0

    def receive(self, data: bytes) -> list[FromWorker]:
        """What the worker says with these bytes. Raises MalformedError; nothing may follow then."""
        if self.state is State.SILENT:
            data = self._after_prelude(data)
        self._frames.feed(data)
        said: list[FromWorker] = []
        while self.state is not State.SILENT and (frame := self._frames.next()) is not None:
            self._take(frame)
            said.append(frame)
        return said

    def use(self, manifest: bytes, contents: frozenset[bytes], scale: str = "") -> bytes:
        """Answer a hello with the objective, whose files and data these contents are, at a scale of it."""
        assert self.state is State.GREETING
        assert self._greeted
        self.state, self._known = State.ASKED, contents
        return framed(UseObjective(manifest, scale))

    def begin(self, job: Job) -> bytes:
        """Give an idle worker a job, numbered by `number_of_next`."""
        assert self.state is State.IDLE
        assert job.job == self.number_of_next
        self.state, self._job, self._jobs = State.BUSY, job, job.job
        return framed(job)

    @property
    def number_of_next(self) -> int:
        return self._jobs + 1

    def cancel(self) -> bytes:
        """End the job under way; the worker says when it has."""
        assert self._job is not None
        return framed(Cancel(self._job.job))

    def _after_prelude(self, data: bytes) -> bytes:
        """The bytes after PRELUDE; none while that has not come."""
        self.before += data
        before, found, after = self.before.partition(PRELUDE)
        if found:
            self.before, self.state = before, State.GREETING
            return after
        if len(self.before) > MAX_BEFORE_PRELUDE:
            raise MalformedError(f"it prints something else than frames: {_shown(self.before)}")
        return b""

    def _take(self, frame: FromWorker) -> None:
        after = _FROM_WORKER.get((self.state, type(frame)))
        if after is None:
            raise MalformedError(f"a worker that is {self.state.name.lower()} cannot say {type(frame).__name__}")
        if isinstance(frame, Hello):
            if self._greeted:
                raise MalformedError("a second hello")
            self._greeted = True
        elif isinstance(frame, Lacks):
            if len(set(frame.contents)) != len(frame.contents) or not self._known.issuperset(frame.contents):
                raise MalformedError("it lacks what the objective has not")
        elif isinstance(frame, Told | Made | Broken | Dropped):
            self._check_job(frame)
        self.state = after
        if after is State.IDLE:
            self._job = None

    def _check_job(self, frame: Told | Made | Broken | Dropped) -> None:
        assert self._job is not None
        if frame.job != self._job.job:
            raise MalformedError(f"it speaks of job {frame.job}, and job {self._job.job} is under way")
        pair = isinstance(self._job, RunPair)
        if isinstance(frame, Made) and len(frame.outcomes) != (2 if pair else 1):
            raise MalformedError("a pair has two outcomes, and other jobs one")
        if isinstance(frame, Told) and frame.side and not pair:
            raise MalformedError("only a pair has two sides")


# ---- the worker's side -----------------------------------------------------------------------------------------------

# Which frames of the node may come in which state. The states after them are the worker's to say: see `say`.
_FROM_NODE: dict[State, tuple[type[Any], ...]] = {
    State.GREETING: (UseObjective,),
    State.FILLING: (Content,),
    State.IDLE: (Run, RunPair, Examine, Cancel, Pause, Resume, CoolDown),
    State.BUSY: (Cancel, Pause, Resume, CoolDown),
}
_SAID: dict[type[Any], State] = {
    Lacks: State.FILLING,
    Ready: State.IDLE,
    Refused: State.OVER,
    Made: State.IDLE,
    Broken: State.IDLE,
    Dropped: State.IDLE,
}


class WorkerSide:
    """The worker's end. `receive` gives what the node said; `say` gives bytes to send, and keeps count of the state."""

    def __init__(self) -> None:
        self.state = State.GREETING
        self._frames: _Frames[FromNode] = _Frames(FromNode, FROM_NODE)
        self._jobs = 0

    def receive(self, data: bytes) -> list[FromNode]:
        """What the node says with these bytes. Raises MalformedError; nothing may follow then."""
        self._frames.feed(data)
        said: list[FromNode] = []
        while (frame := self._frames.next()) is not None:
            if not isinstance(frame, Beat):
                self._take(frame)
            said.append(frame)
        return said

    def say(self, frame: FromWorker) -> bytes:
        """A frame to send."""
        self.state = _SAID.get(type(frame), self.state)
        return framed(frame)

    def _take(self, frame: FromNode) -> None:
        if not isinstance(frame, _FROM_NODE.get(self.state, ())):
            raise MalformedError(f"a worker that is {self.state.name.lower()} cannot be told {type(frame).__name__}")
        if isinstance(frame, UseObjective):
            self.state = State.ASKED
        elif isinstance(frame, Run | RunPair | Examine):
            if frame.job != self._jobs + 1:
                raise MalformedError(f"job {frame.job} follows job {self._jobs}")
            self.state, self._jobs = State.BUSY, frame.job


def _shown(data: bytes) -> str:
    """The start of bytes from outside as text for a message."""
    text = " ".join(data[:400].decode("utf-8", errors="replace").split())
    return repr(text[:200])

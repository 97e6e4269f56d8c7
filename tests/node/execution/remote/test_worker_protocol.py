"""What node and worker say to each other: every rule of the conversation, and everything that breaks one is refused."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from node.execution.remote.worker_protocol import (
    CHUNK_BYTES,
    FROM_WORKER,
    MAX_BEFORE_PRELUDE,
    MAX_SOURCE_BYTES,
    PRELUDE,
    VERSION,
    Beat,
    Broken,
    Cancel,
    Content,
    Dropped,
    Examine,
    FromWorker,
    Hello,
    Lacks,
    Made,
    NodeSide,
    Pause,
    Ready,
    Refused,
    Run,
    RunMade,
    RunPair,
    State,
    Told,
    UseObjective,
    WorkerSide,
    framed,
)
from protocol.codec import MalformedError

CONTENT = b"c" * 32
HELLO = Hello(VERSION, "0.1.0", "host", "torch", "cpu", 2, 1 << 30, (), "bwrap", b"s" * 16)
OUTCOME = RunMade(1.5, {"bits": 1.5}, ((20, 2.0),), 100, 1.0, 2.0, 1 << 20, None, "", "bwrap")


def greeted() -> NodeSide:
    side = NodeSide()
    assert side.receive(PRELUDE + framed(HELLO)) == [HELLO]
    return side


def ready() -> NodeSide:
    side = greeted()
    side.use(b"manifest", frozenset({CONTENT}))
    side.receive(framed(Lacks((CONTENT,))) + framed(Ready(True)))
    assert side.state is State.IDLE
    return side


def running(pair: bool = False) -> NodeSide:
    side = ready()
    side.begin(RunPair(1, "a", "b", 7) if pair else Run(1, "a", 7))
    return side


def test_what_a_terminal_on_the_way_changes_is_noticed() -> None:
    with pytest.raises(MalformedError, match="as a terminal does"):
        running().receive(framed(Beat()).replace(b"\n", b"\r\n"))


def test_a_whole_conversation_arrives_at_both_ends_in_whatever_pieces_it_comes() -> None:
    node, worker = NodeSide(), WorkerSide()
    heard: list[FromWorker] = []
    told: list[Any] = []

    def to_node(data: bytes) -> None:
        for position in range(len(data)):
            heard.extend(node.receive(data[position : position + 1]))

    def to_worker(data: bytes) -> None:
        for position in range(len(data)):
            told.extend(worker.receive(data[position : position + 1]))

    to_node(b"Last login: today\r\n" + PRELUDE + worker.say(HELLO))
    to_worker(node.use(b"manifest", frozenset({CONTENT})))
    to_node(worker.say(Lacks((CONTENT,))))
    to_worker(framed(Content(CONTENT, b"bytes", True)))
    to_node(worker.say(Ready(True)))
    to_worker(node.begin(Examine(1, "source", 2**53 - 1, "holdout", "incumbent")))
    to_node(
        worker.say(Told(1, 0, 0.5, None, 1.0, "judge"))
        + worker.say(Beat())
        + worker.say(Made(1, (OUTCOME,), 1.0, 2.0, True))
    )
    assert [type(each).__name__ for each in told] == ["UseObjective", "Content", "Examine"]
    assert [type(each).__name__ for each in heard] == ["Hello", "Lacks", "Ready", "Told", "Beat", "Made"]
    assert (node.before, node.state, worker.state) == (b"Last login: today\r\n", State.IDLE, State.IDLE)


def test_what_is_printed_before_the_prelude_has_a_limit() -> None:
    side = NodeSide()
    assert side.receive(b"x" * MAX_BEFORE_PRELUDE) == []
    with pytest.raises(MalformedError, match="prints something else than frames: 'xxxx"):
        side.receive(b"x")


@pytest.mark.parametrize("length", [0, FROM_WORKER.max_bytes + 1, 2**32 - 1])
def test_a_frame_of_no_or_of_too_many_bytes_is_refused_before_it_has_come(length: int) -> None:
    with pytest.raises(MalformedError, match="are allowed"):
        greeted().receive(length.to_bytes(4, "big"))


@pytest.mark.parametrize(
    "body",
    [b"\xc1", b"\x80", b"\x81\xa1t\xa4what", b"\x81\xa1t\xa5hello", b"\xa3abc", b"\x91" * 100 + b"\xc0"],
    ids=["no msgpack", "no type", "unknown type", "no fields", "no map", "too deep"],
)
def test_a_body_that_is_no_frame_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        running().receive(len(body).to_bytes(4, "big") + body + b"\n")


@pytest.mark.parametrize(
    ("side", "frame"),
    [
        (greeted, HELLO),
        (greeted, Ready(True)),
        (greeted, Lacks(())),
        (ready, Ready(True)),
        (ready, Lacks(())),
        (ready, Made(1, (OUTCOME,), 1.0, 1.0, True)),
        (ready, Told(1, 0, 0.5, None, 1.0, "train")),
        (ready, Refused("late")),
        (running, HELLO),
        (running, Made(2, (OUTCOME,), 1.0, 1.0, True)),
        (running, Made(1, (OUTCOME, OUTCOME), 1.0, 1.0, True)),
        (running, Told(1, 1, 0.5, None, 1.0, "train")),
        (running, Told(0, 0, 0.5, None, 1.0, "train")),
        (running, Broken(9, "no")),
        (running, Dropped(0)),
    ],
    ids=lambda value: value.__name__ if callable(value) else type(value).__name__,
)
def test_a_frame_that_does_not_follow_is_refused(side: Any, frame: FromWorker) -> None:
    with pytest.raises(MalformedError):
        side().receive(framed(frame))


def test_a_worker_may_lack_only_what_the_objective_has_and_each_once() -> None:
    for contents in ((b"other" + bytes(27),), (CONTENT, CONTENT)):
        side = greeted()
        side.use(b"manifest", frozenset({CONTENT}))
        with pytest.raises(MalformedError, match="lacks what the objective has not"):
            side.receive(framed(Lacks(contents)))


@pytest.mark.parametrize(
    "changed",
    [
        {"value": None},
        {"failure": "exception"},
        {"failure": "whatever", "value": None},
        {"value": math.nan},
        {"value": math.inf},
        {"metrics": {"bits": math.nan}},
        {"metrics": {"x" * 81: 1.0}},
        {"metrics": {"a\x1b[31m": 1.0}},
        {"metrics": {f"m{number}": 1.0 for number in range(300)}},
        {"tokens": -1},
        {"tokens": 2**53 + 1},
        {"cpu_seconds": -1.0},
        {"wall_seconds": 1e12},
        {"log_tail": "x" * 5000},
        {"sandbox": "x" * 21},
        {"checkpoints": [[1, 2.0]] * 300},
        {"replay": {"<b>": {"bid": [1.0]}}},
        {"replay": {"prices": {"bid": []}}},
        {"replay": {"prices": {"bid": ["1"]}}},
        {"replay": {"prices": {"bid": [1.0] * 1500, "ask": [1.0] * 1500}}},
    ],
    ids=str,
)
def test_an_outcome_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    fields = dict(zip(RunMade.__struct_fields__, msgspec.to_builtins(OUTCOME), strict=True)) | changed
    frame = {"t": "outcome", "job": 1, "outcomes": [list(fields.values())]}
    frame |= {"train_seconds": 1.0, "judge_seconds": 1.0, "alternates": True}
    body = msgspec.msgpack.encode(frame)
    with pytest.raises(MalformedError):
        running().receive(len(body).to_bytes(4, "big") + body + b"\n")


def test_outcomes_of_a_pair_with_the_longest_replays_are_taken() -> None:
    longest = {"prices": {f"row {number}": (float(number),) * 128 for number in range(16)}}
    made = Made(1, (replace(OUTCOME, replay=longest),) * 2, 1.0, 1.0, True)
    assert running(pair=True).receive(framed(made)) == [made]


def test_an_outcome_of_an_earlier_version_has_no_replay() -> None:
    fields = msgspec.to_builtins(OUTCOME)[:-1]
    frame = {"t": "outcome", "job": 1, "outcomes": [fields]}
    frame |= {"train_seconds": 1.0, "judge_seconds": 1.0, "alternates": True}
    body = msgspec.msgpack.encode(frame)
    assert running().receive(len(body).to_bytes(4, "big") + body + b"\n") == [Made(1, (OUTCOME,), 1.0, 1.0, True)]


def test_a_pair_has_two_outcomes_and_two_sides() -> None:
    side = running(pair=True)
    side.receive(framed(Told(1, 1, 0.5, 2.0, 1.0, "train")))
    side.receive(framed(Made(1, (OUTCOME, OUTCOME), 1.0, 1.0, True)))
    assert side.state is State.IDLE
    with pytest.raises(MalformedError, match="two outcomes"):
        running(pair=True).receive(framed(Made(1, (OUTCOME,), 1.0, 1.0, True)))


def test_a_cancelled_job_may_have_been_made_all_the_same() -> None:
    for last in (Dropped(1), Made(1, (OUTCOME,), 1.0, 1.0, True), Broken(1, "no memory")):
        side = running()
        side.cancel()
        side.receive(framed(last))
        assert side.state is State.IDLE
        assert side.number_of_next == 2


def test_two_sources_of_the_largest_size_fit_into_a_frame() -> None:
    side = ready()
    largest = "\ufffd" * (256 << 10)
    assert len(largest.encode()) <= MAX_SOURCE_BYTES
    data = side.begin(RunPair(1, largest, largest, 7))
    worker = WorkerSide()
    worker.receive(framed(UseObjective(b"m")))
    worker.say(Lacks(()))
    worker.say(Ready(True))
    assert worker.receive(data) == [RunPair(1, largest, largest, 7)]


@pytest.mark.parametrize(
    "frame",
    [Run(1, "a", 7), Content(CONTENT, b"", True), Pause(), Cancel(1)],
    ids=lambda frame: type(frame).__name__,
)
def test_a_worker_that_has_no_objective_is_told_nothing_but_that(frame: Any) -> None:
    with pytest.raises(MalformedError, match="cannot be told"):
        WorkerSide().receive(framed(frame))


def test_a_worker_gets_one_job_at_a_time_in_their_order() -> None:
    for jobs in ((Run(1, "a", 7), Run(2, "a", 7)), (Run(2, "a", 7),)):
        worker = WorkerSide()
        worker.receive(framed(UseObjective(b"m")))
        worker.say(Lacks(()))
        worker.say(Ready(True))
        with pytest.raises(MalformedError):
            worker.receive(b"".join(map(framed, jobs)))


def test_a_chunk_has_a_limit() -> None:
    worker = WorkerSide()
    worker.receive(framed(UseObjective(b"m")))
    worker.say(Lacks((CONTENT,)))
    assert len(worker.receive(framed(Content(CONTENT, bytes(CHUNK_BYTES), False)))) == 1
    with pytest.raises(MalformedError):
        worker.receive(framed(Content(CONTENT, bytes(CHUNK_BYTES + 1), False)))


@given(st.binary(max_size=300))
def test_whatever_bytes_come_a_node_takes_them_or_refuses_them(data: bytes) -> None:
    for side in (NodeSide(), greeted(), ready(), running()):
        try:
            side.receive(data)
        except MalformedError:
            continue


@given(st.integers(0, len(framed(Made(1, (OUTCOME,), 1.0, 1.0, True))) - 1), st.integers(0, 255))
def test_an_outcome_with_any_byte_changed_is_an_outcome_or_refused(position: int, byte: int) -> None:
    data = bytearray(framed(Made(1, (OUTCOME,), 1.0, 1.0, True)))
    data[position] = byte
    try:
        said = running().receive(bytes(data))
    except MalformedError:
        return
    assert all(isinstance(each, Made | Beat) for each in said)

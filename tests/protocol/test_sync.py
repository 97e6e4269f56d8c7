"""Any two nodes that sync hold the same afterwards; equal ones send little; and lying gains a peer nothing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import MalformedError
from protocol.digests import ALL, FAN_OUT, Digest, FeedTree, parts_of
from protocol.feed import FeedHead, Fork, forked_feed, open_fork
from protocol.messages import (
    MAX_FRAME,
    Done,
    Forks,
    Message,
    Records,
    Vector,
    decode_message,
    encode_message,
)
from protocol.records import Record, open_record
from protocol.sync import BATCH_BYTES, LIST_AT_ONCE, Reconciliation
from tests.node.records_for_tests import OBJECTIVE, Author, experiment

LONGEST = 3


def feed_of(name: str, titles: Iterable[str]) -> list[Record]:
    author = Author(name)
    return [author.write(experiment(title, decision="no_gain")) for title in titles]


FEEDS = [feed_of(f"author {number}", [f"number {n}" for n in range(LONGEST)]) for number in range(150)]
RECORDS = {record.wire(): record for feed in FEEDS for record in feed}
ALICE = FEEDS[0][0].author


class Shelf:
    """A store of feeds that takes the next record of each, and remembers proofs of forks."""

    def __init__(self, lengths: dict[int, int]) -> None:
        self.heads = FeedTree()
        self.feeds: dict[bytes, list[Record]] = {}
        self.forks: dict[bytes, Fork] = {}
        for number, length in lengths.items():
            for record in FEEDS[number][:length]:
                self.take(record)

    def records(self, author: bytes, start: int, limit: int) -> list[bytes]:
        return [record.wire() for record in self.feeds.get(author, [])[start : start + limit]]

    def fork(self, author: bytes) -> Fork | None:
        return self.forks.get(author)

    def take(self, record: Record) -> None:
        feed = self.feeds.setdefault(record.author, [])
        if record.author in self.forks:
            raise AssertionError("a record of a feed known to be forked was sent")
        if record.seq == len(feed) and (not feed or record.prev == feed[-1].id):
            feed.append(record)
            self.heads.put(FeedHead(record.author, len(feed), record.id))
        elif record.seq <= len(feed) and record not in feed:
            other = feed[record.seq] if record.seq < len(feed) else feed[-1]
            self.take_fork(open_fork(other.wire(), record.wire()))

    def take_fork(self, fork: Fork) -> None:
        self.forks[fork.author] = fork
        self.heads.put(forked_feed(fork.author))


class Side:
    """One side of a session: what it sent, and how many bytes of that were not records."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.session = Reconciliation(shelf, OBJECTIVE)
        self.rounds = self.bytes = 0
        self.done = False

    def say(self, messages: Iterable[Message]) -> list[bytes]:
        said = [encode_message(message) for message in messages]
        assert all(len(data) <= MAX_FRAME for data in said)
        self.rounds += sum(b"vector" in data for data in said)
        self.bytes += sum(len(data) for data in said if b"wires" not in data)
        return said

    def hear(self, data: bytes) -> list[bytes]:
        step = self.session.receive(decode_message(data))
        for wire in step.records:
            self.shelf.take(RECORDS.get(wire) or open_record(wire))
        for first, second in step.forks:
            self.shelf.take_fork(open_fork(first, second))
        self.done = self.done or step.done
        return self.say(step.send)


def converse(left: Shelf, right: Shelf) -> tuple[Side, Side]:
    """A whole session, messages crossing as they do on a stream."""
    sides = Side(left), Side(right)
    inboxes = [sides[1].say(sides[1].session.start()), sides[0].say(sides[0].session.start())]
    while any(inboxes):
        for me, side in enumerate(sides):
            while inboxes[me]:
                inboxes[1 - me] += side.hear(inboxes[me].pop(0))
    assert sides[0].done
    assert sides[1].done
    return sides


lengths = st.dictionaries(st.integers(0, len(FEEDS) - 1), st.integers(1, LONGEST), max_size=len(FEEDS))
half = dict.fromkeys(range(len(FEEDS)), 2)


@given(lengths, lengths)
def test_any_two_stores_are_equal_after_one_session(left: dict[int, int], right: dict[int, int]) -> None:
    a, b = Shelf(left), Shelf(right)
    converse(a, b)
    assert a.feeds == b.feeds


@given(lengths, lengths)
def test_large_stores_that_differ_a_little_are_too(left: dict[int, int], right: dict[int, int]) -> None:
    a, b = Shelf({**half, **left}), Shelf({**half, **right})
    converse(a, b)
    assert a.feeds == b.feeds


@pytest.mark.parametrize("few", [0, 1, 5, 60])
def test_a_newcomer_and_an_old_node_are_equal_after_one_session(few: int) -> None:
    old, newcomer = Shelf(half), Shelf(dict.fromkeys(range(few), LONGEST))
    sides = converse(old, newcomer)
    assert old.feeds == newcomer.feeds
    assert sides[0].rounds == (1 if few == 0 else 2)


def test_small_swarms_take_one_round() -> None:
    small = dict.fromkeys(range(LIST_AT_ONCE), 1)
    sides = converse(Shelf(small), Shelf({**small, 3: 2, 5: 3}))
    assert sides[0].rounds == sides[1].rounds == 1


def test_agreeing_that_nothing_is_new_costs_the_same_however_much_there_is() -> None:
    sides = converse(Shelf(half), Shelf(half))
    assert sides[0].rounds == sides[1].rounds == 1
    assert sides[0].bytes == sides[1].bytes < 500


def test_one_new_record_among_many_costs_little() -> None:
    old, new = Shelf(half), Shelf({**half, 7: 3})
    sides = converse(old, new)
    assert old.feeds == new.feeds
    assert max(side.bytes for side in sides) < 2500


# ---- forks -----------------------------------------------------------------------------------------------------------


def branches(number: int, at: int) -> tuple[Shelf, Shelf]:
    """Two stores that hold different branches of Alice's feed from some record on, among `number` feeds."""
    everything = dict.fromkeys(range(1, number), 2)
    one, two = Shelf(everything), Shelf(everything)
    twin = Author("author 0", FEEDS[0][:at])
    for record in FEEDS[0]:
        one.take(record)
    for record in FEEDS[0][:at]:
        two.take(record)
    for title in ("another past", "and its future"):
        two.take(twin.write(experiment(title)))
    return one, two


@pytest.mark.parametrize("number", [2, 150])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_two_nodes_with_different_branches_both_learn_of_the_fork(number: int, at: int) -> None:
    one, two = branches(number, at)
    converse(one, two)
    converse(one, two)
    assert set(one.forks) == set(two.forks) == {ALICE}
    assert one.heads.digest(ALL) == two.heads.digest(ALL)


@pytest.mark.parametrize("number", [2, 150])
def test_the_proof_of_a_fork_is_sent_to_nodes_that_lack_it(number: int) -> None:
    one, two = branches(number, 1)
    converse(one, two)
    converse(one, two)
    for ignorant in (Shelf({0: 3}), Shelf({0: 1}), Shelf({}), Shelf(half)):
        converse(one, ignorant)
        assert set(ignorant.forks) == {ALICE}
        sides = converse(one, ignorant)  # who both know have nothing to say, whatever they hold of that feed
        assert sides[0].rounds == 1
        assert sides[0].bytes < 5000


def test_equal_lengths_with_other_heads_bring_the_proof() -> None:
    shelf = Shelf({0: 3})
    sent = list(Reconciliation(shelf, OBJECTIVE).receive(Vector(OBJECTIVE, (FeedHead(ALICE, 3, b"\1" * 32),))).send)
    assert sent[0] == Records((FEEDS[0][2].wire(),))


# ---- hostile input ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(1, 2**53)), max_size=5))
def test_a_hostile_vector_is_sent_nothing_but_what_exists(claims: list[tuple[bytes, int]]) -> None:
    shelf = Shelf({0: 3})
    feeds = tuple({a: FeedHead(a, n, b"\1" * 32) for a, n in [*claims, (ALICE, 1)]}.values())
    sent = list(Reconciliation(shelf, OBJECTIVE).receive(Vector(OBJECTIVE, feeds)).send)
    wires = [wire for message in sent if isinstance(message, Records) for wire in message.wires]
    assert wires == shelf.records(ALICE, 1, 6)
    assert isinstance(sent[-1], Done)


def lies(count: int, number: int = FAN_OUT) -> tuple[Digest, ...]:
    return (Digest(count, bytes(16)),) * number


NO_FEEDS = Vector(OBJECTIVE, ())
OUT_OF_PLACE: dict[str, list[Message]] = {
    "done before a vector": [Done()],
    "records before a vector": [Records(())],
    "forks before a vector": [Forks(())],
    "a vector of another objective": [Vector(bytes(32), ())],
    "two lists": [NO_FEEDS, NO_FEEDS],
    "a message after done": [NO_FEEDS, Done(), Done()],
    "digests of half the parts": [Vector(OBJECTIVE, (), lies(1, 8))],
    "more digests than parts": [Vector(OBJECTIVE, (), lies(1, 32))],
    "feeds beside digests of all": [Vector(OBJECTIVE, (FeedHead(ALICE, 1, b"\1" * 32),), lies(1))],
    "a request": [NO_FEEDS, Vector(OBJECTIVE, (), lies(9))],
}


@pytest.mark.parametrize("number", [0, 150], ids=["few", "many"])
@pytest.mark.parametrize("messages", OUT_OF_PLACE.values(), ids=OUT_OF_PLACE.keys())
def test_what_does_not_belong_in_a_session_ends_it(messages: list[Message], number: int) -> None:
    session = Reconciliation(Shelf(dict.fromkeys(range(number), 1)), OBJECTIVE)
    session.start()
    with pytest.raises(MalformedError):
        [session.receive(message) for message in messages]


def test_a_feed_outside_the_buckets_in_question_ends_the_session() -> None:
    shelf = Shelf(half)
    session = Reconciliation(shelf, OBJECTIVE)
    (said,) = session.start()
    assert isinstance(said, Vector)
    first, *rest = said.digests
    session.receive(Vector(OBJECTIVE, (), (Digest(1, bytes(16)), *rest)))  # only bucket "0" differs
    elsewhere = shelf.heads.within("f")[0]
    with pytest.raises(MalformedError, match="not about it"):
        session.receive(Vector(OBJECTIVE, (elsewhere,)))
    assert first.count > 0


@given(st.lists(st.integers(0, 2**53), min_size=FAN_OUT, max_size=FAN_OUT), st.integers(0, 2**53))
def test_claims_of_any_size_take_no_more_rounds_than_we_hold(counts: list[int], later: int) -> None:
    session = Reconciliation(Shelf(half), OBJECTIVE)
    session.start()
    digests = tuple(Digest(count, bytes(16)) for count in counts)
    for _ in range(4):
        (said, *rest) = session.receive(Vector(OBJECTIVE, (), digests)).send
        if not isinstance(said, Vector):
            break
        digests = lies(later, len(said.digests))
    else:
        raise AssertionError("still taking buckets apart")
    assert isinstance([said, *rest][-1], Done)


def test_batches_fit_a_frame() -> None:
    sent = list(Reconciliation(Shelf(half), OBJECTIVE).receive(NO_FEEDS).send)
    sizes = [sum(map(len, message.wires)) for message in sent if isinstance(message, Records)]
    assert sum(sizes) == sum(len(record.wire()) for feed in FEEDS for record in feed[:2])
    assert max(sizes) <= BATCH_BYTES


def test_the_largest_vector_fits_a_frame() -> None:
    feeds = tuple(FeedHead(n.to_bytes(32, "big"), 2**53, b"\1" * 32) for n in range(10_000))
    largest = Vector(OBJECTIVE, feeds, lies(2**53, 512 * len(parts_of(ALL))))
    data = encode_message(largest)
    assert len(data) <= MAX_FRAME
    assert decode_message(data) == largest

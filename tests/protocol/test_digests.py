"""A digest says what a bucket holds, however it came to hold it, and changes whenever that changes."""

from __future__ import annotations

import hashlib
import random

from hypothesis import given
from hypothesis import strategies as st

from protocol.digests import ALL, FEW, Digest, FeedTree, digest_of_feeds, digest_of_parts, lies_in, parts_of
from protocol.feed import FeedHead


def author(number: int, clustered: bool = False) -> bytes:
    """A key; clustered ones have their first 16 digits in common."""
    key = hashlib.sha256(b"%d" % number).digest()
    return bytes(8) + key[8:] if clustered else key


def head(number: int, length: int = 1, clustered: bool = False) -> FeedHead:
    return FeedHead(author(number, clustered), length, hashlib.sha256(b"%d %d" % (number, length)).digest())


def tree_of(heads: list[FeedHead]) -> FeedTree:
    tree = FeedTree()
    for one in heads:
        tree.put(one)
    return tree


def by_definition(heads: list[FeedHead], bucket: str = ALL) -> Digest:
    """What protocol/README.md says, word for word."""
    inside = [one for one in heads if lies_in(one.author, bucket)]
    if len(inside) <= FEW:
        return Digest(len(inside), digest_of_feeds(inside))
    return digest_of_parts([by_definition(inside, part) for part in parts_of(bucket)])


numbers = st.dictionaries(st.integers(0, 400), st.integers(1, 3), max_size=120)


@given(numbers, st.booleans(), st.randoms())
def test_a_digest_depends_on_what_is_held_alone(held: dict[int, int], clustered: bool, dice: random.Random) -> None:
    heads = [head(number, length, clustered) for number, length in held.items()]
    history = [head(number, earlier, clustered) for number, length in held.items() for earlier in range(1, length)]
    dice.shuffle(history)
    tree = tree_of(history)
    for bucket in (ALL, "0", "00"):
        tree.digest(bucket)
    for one in heads:
        tree.put(one)
    assert len(tree) == len(heads)
    for bucket in (ALL, "0", "a", "00", "0" * 17, "ab3"):
        assert tree.digest(bucket) == by_definition(heads, bucket)
        inside = sorted((one for one in heads if lies_in(one.author, bucket)), key=lambda one: one.author)
        assert tree.within(bucket) == inside


@given(numbers, st.integers(0, 400))
def test_every_change_shows(held: dict[int, int], number: int) -> None:
    tree = tree_of([head(n, length) for n, length in held.items()])
    before = tree.digest(ALL)
    tree.put(head(number, 4))
    assert tree.digest(ALL) != before
    assert tree.head(author(number)) == head(number, 4)


def test_ten_thousand_feeds_take_a_step_per_digit() -> None:
    tree = tree_of([head(number) for number in range(10_000)])
    assert tree.digest(ALL) == by_definition([head(number) for number in range(10_000)])
    assert max(len(tree.within(bucket)) for bucket in ("abc", "123", "000")) <= FEW


@given(numbers, st.sets(st.integers(0, 400), max_size=120), st.booleans())
def test_what_was_dropped_leaves_no_trace(held: dict[int, int], dropped: set[int], clustered: bool) -> None:
    tree = tree_of([head(number, length, clustered) for number, length in held.items()])
    for number in dropped:
        tree.drop(author(number, clustered))
    left = [head(number, length, clustered) for number, length in held.items() if number not in dropped]
    assert len(tree) == len(left)
    for bucket in (ALL, "0", "a", "00", "0" * 17):
        assert tree.digest(bucket) == by_definition(left, bucket)

"""A node's own seeds differ by all that they are for, come back after a restart, and are nobody else's."""

from __future__ import annotations

import itertools

from node.trials.own_seeds import OwnSeeds, Use
from protocol.draw import pair_seed
from tests.node.records_for_tests import OBJECTIVE, Author, source

ALICE, BOB = Author("alice").identity, Author("bob").identity
PARENT, CHILD = source("parent"), source("child")


def test_seeds_differ_by_use_pair_number_source_objective_and_node() -> None:
    every = [
        OwnSeeds(identity, objective).seed(use, a, b, number)
        for identity in (ALICE, BOB)
        for objective in (OBJECTIVE, source("another objective"))
        for use in Use
        for a, b in itertools.product((PARENT, CHILD), repeat=2)
        for number in range(3)
    ]
    assert len(set(every)) == len(every) == 2 * 2 * len(Use) * 4 * 3


def test_a_node_that_starts_again_has_the_same_seeds() -> None:
    seeds, again = OwnSeeds(ALICE, OBJECTIVE), OwnSeeds(Author("alice").identity, OBJECTIVE)
    assert seeds.of_screening(PARENT) == again.of_screening(PARENT)
    pair, pair_again = (each.of_pairs(Use.EXPERIMENT, PARENT, CHILD) for each in (seeds, again))
    assert [pair(number) for number in (1, 2)] == [pair_again(number) for number in (1, 2)]


def test_no_seed_follows_from_what_is_public() -> None:
    salts = (b"", ALICE.author, OBJECTIVE, OBJECTIVE + ALICE.author)
    public = {
        pair_seed(a, b, number, salt)
        for a, b in itertools.product((PARENT, CHILD), repeat=2)
        for number in range(9)
        for salt in salts
    }
    own = {OwnSeeds(ALICE, OBJECTIVE).seed(use, PARENT, CHILD, number) for use in Use for number in range(9)}
    assert not own & public


def test_the_key_shows_in_no_text_about_seeds() -> None:
    assert ALICE.seed.hex() not in repr(OwnSeeds(ALICE, OBJECTIVE))
    assert repr(ALICE.seed) not in repr(OwnSeeds(ALICE, OBJECTIVE))

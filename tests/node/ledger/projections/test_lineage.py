"""A lineage follows from its author's own feed, and its gain is what was measured along it."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from node.ledger.projections.lineage import (
    MAX_CLAIMED_GAIN,
    ancestry,
    claimed_gain_by_category,
    claimed_gains,
    derivations,
    measured_gain_by_category,
    nearest_ends,
    source_ids,
)
from node.ledger.projections.steps import steps_of
from protocol.records import Effect
from tests.node.records_for_tests import BASELINE, Author, experiment, replication, source


def test_a_lineage_goes_back_over_adoptions_into_those_of_others() -> None:
    alice, bob = Author("alice"), Author("bob")
    alice.write(experiment("one"))
    two = alice.write(experiment("two", source("one")))
    bob.write(experiment("three"))
    merge = replace(replication(two, adopted=source("merged")), route="merge", base=source("three"))
    bob.write(merge)
    bob.write(experiment("four", source("merged")))
    records = [*alice.records, *bob.records]
    derived = derivations(records)
    there = ancestry(derived, (bob.key, source("four")))
    names = ("four", "merged", "three", "two", "one")
    assert source_ids(there) == {BASELINE, *map(source, names)}
    assert source_ids(ancestry(derived, (alice.key, source("two")))) == {BASELINE, source("two"), source("one")}
    assert source_ids(ancestry(derivations(bob.records), (bob.key, source("merged")))) == {
        source("merged"), source("three"), BASELINE
    }, "the claim has not arrived"  # fmt: skip


def test_an_author_cannot_write_into_the_lineage_of_another_nor_by_what_it_did_not_keep() -> None:
    alice, mallory = Author("alice"), Author("mallory")
    alice.write(experiment("one"))
    alice.write(experiment("tried again", source("elsewhere"), source("one"), decision="no_gain"))
    mallory.write(experiment("mine", source("somewhere"), source("one"), effect=Effect(-5.0, 0.01, 2)))
    mallory.write(experiment("the beginning", source("anything"), BASELINE))
    records = [*alice.records, *mallory.records]
    lineage = ancestry(derivations(records), (alice.key, source("one")))
    assert lineage == {(alice.key, source("one")), (alice.key, BASELINE)}
    assert claimed_gain_by_category(claimed_gains(records), lineage) == {"initialisation": pytest.approx(0.2)}


@pytest.mark.parametrize("number", range(8))
def test_the_nearest_end_of_each_version_is_what_a_walk_from_it_would_find(number: int) -> None:
    dice = random.Random(number)
    versions = [(dice.choice("ab").encode(), bytes([dice.randrange(40)])) for _ in range(60)]
    derived = {
        version: frozenset(dice.sample(versions, dice.choice((1, 1, 2)))) for version in dice.sample(versions, 55)
    }
    ends = [bytes([end]) for end in dice.sample(range(40), 4)]
    found = nearest_ends(derived, ends)
    for version in derived:
        reached = source_ids(ancestry(derived, version, until=set(ends))) & set(ends)
        assert found.get(version) == (version[1] if version[1] in ends else min(reached, key=ends.index, default=None))


def test_a_wild_claim_counts_for_little() -> None:
    mallory = Author("mallory")
    wild = mallory.write(experiment("wild", effect=Effect(-50.0, 0.01, 2)))
    assert claimed_gain_by_category(claimed_gains([wild]), [(mallory.key, source("wild"))]) == {
        "initialisation": MAX_CLAIMED_GAIN
    }


def test_a_lineage_is_followed_back_as_far_as_is_asked() -> None:
    alice = Author("alice")
    for number in range(9):
        alice.write(experiment(f"{number + 1}", source(f"{number}")))
    lineage = ancestry(derivations(alice.records), (alice.key, source("9")), until={source("7"), source("3")})
    assert source_ids(lineage) == {source("9"), source("8"), source("7")}


def test_following_sources_that_are_made_from_each_other_ends() -> None:
    alice = Author("alice")
    alice.write(experiment("one", source("two")))
    alice.write(experiment("two", source("one")))
    lineage = ancestry(derivations(alice.records), (alice.key, source("one")))
    assert source_ids(lineage) == {source("one"), source("two")}


def test_what_a_best_has_gained_is_counted_by_category() -> None:
    alice, bob, carol = Author("alice"), Author("bob"), Author("carol")
    first = alice.write(experiment("one", effect=Effect(-0.2, 0.01, 2)))
    second = alice.write(experiment("two", source("one"), effect=Effect(-0.1, 0.01, 2), category="optimizer"))
    bob.write(experiment("three", effect=Effect(-0.05, 0.01, 2), category="batch"))
    bob.write(replication(first, effect=Effect(-0.18, 0.01, 2), adopted=source("merged")))
    carol.write(experiment("four", category="batch"))
    carol.write(replace(replication(second, effect=Effect(-0.3, 0.01, 2), adopted=source("two")), route="whole"))
    held = [*alice.records, *bob.records, *carol.records]
    assert measured_gain_by_category(held, steps_of(alice.records)) == pytest.approx(
        {"initialisation": 0.2, "optimizer": 0.1}
    )
    assert measured_gain_by_category(held, steps_of(bob.records)) == pytest.approx(
        {"batch": 0.05, "initialisation": 0.18}
    )
    assert measured_gain_by_category(held, steps_of(carol.records)) == pytest.approx(
        {"initialisation": 0.5 * 2 / 3, "optimizer": 0.5 / 3}
    )
    merged = replace(replication(second, effect=Effect(-0.15, 0.01, 2), adopted=source("both")), route="merge")
    bob.write(replace(merged, base=source("merged")))
    found = measured_gain_by_category([*held, bob.records[-1]], steps_of(bob.records))
    assert found == pytest.approx({"batch": 0.05, "initialisation": 0.18, "optimizer": 0.15})
    assert measured_gain_by_category(held, steps_of(alice.records, {second.id})) == pytest.approx(
        {"initialisation": 0.2}
    )
    assert measured_gain_by_category([], []) == {}

"""A line is what its author's own feed says of it, and what a best has gained is what was measured on the way."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from node.lines import MOST_CLAIMED, ancestry, banked, claimed, line_gains, made_from, sources
from node.views import steps_of
from protocol.records import Effect
from tests.node.records_for_tests import BASELINE, Author, experiment, replication, source


def test_a_line_goes_back_over_adoptions_into_the_lines_of_others() -> None:
    alice, bob = Author("alice"), Author("bob")
    alice.write(experiment("one"))
    two = alice.write(experiment("two", source("one")))
    bob.write(experiment("three"))
    merge = replace(replication(two, adopted=source("merged")), route="merge", base=source("three"))
    bob.write(merge)
    bob.write(experiment("four", source("merged")))
    records = [*alice.records, *bob.records]
    origins = made_from(records)
    there = ancestry(origins, (bob.key, source("four")))
    names = ("four", "merged", "three", "two", "one")
    assert sources(there) == {BASELINE, *map(source, names)}
    assert sources(ancestry(origins, (alice.key, source("two")))) == {BASELINE, source("two"), source("one")}
    assert sources(ancestry(made_from(bob.records), (bob.key, source("merged")))) == {
        source("merged"), source("three"), BASELINE
    }, "the claim has not arrived"  # fmt: skip


def test_nobody_writes_into_the_line_of_somebody_else_nor_by_what_was_not_kept() -> None:
    alice, mallory = Author("alice"), Author("mallory")
    alice.write(experiment("one"))
    alice.write(experiment("tried again", source("elsewhere"), source("one"), decision="no_gain"))
    mallory.write(experiment("mine", source("somewhere"), source("one"), effect=Effect(-5.0, 0.01, 2)))
    mallory.write(experiment("the beginning", source("anything"), BASELINE))
    records = [*alice.records, *mallory.records]
    line = ancestry(made_from(records), (alice.key, source("one")))
    assert line == {(alice.key, source("one")), (alice.key, BASELINE)}
    assert line_gains(claimed(records), line) == {"initialisation": pytest.approx(0.2)}


def test_a_wild_claim_counts_for_little() -> None:
    mallory = Author("mallory")
    wild = mallory.write(experiment("wild", effect=Effect(-50.0, 0.01, 2)))
    assert line_gains(claimed([wild]), [(mallory.key, source("wild"))]) == {"initialisation": MOST_CLAIMED}


def test_a_line_is_gone_back_as_far_as_is_asked() -> None:
    alice = Author("alice")
    for number in range(9):
        alice.write(experiment(f"{number + 1}", source(f"{number}")))
    line = ancestry(made_from(alice.records), (alice.key, source("9")), until={source("7"), source("3")})
    assert sources(line) == {source("9"), source("8"), source("7")}


def test_sources_that_are_made_from_each_other_have_an_end_too() -> None:
    alice = Author("alice")
    alice.write(experiment("one", source("two")))
    alice.write(experiment("two", source("one")))
    line = ancestry(made_from(alice.records), (alice.key, source("one")))
    assert sources(line) == {source("one"), source("two")}


def test_what_a_best_has_gained_is_counted_by_category() -> None:
    alice, bob, carol = Author("alice"), Author("bob"), Author("carol")
    first = alice.write(experiment("one", effect=Effect(-0.2, 0.01, 2)))
    second = alice.write(experiment("two", source("one"), effect=Effect(-0.1, 0.01, 2), category="optimizer"))
    bob.write(experiment("three", effect=Effect(-0.05, 0.01, 2), category="batch"))
    bob.write(replication(first, effect=Effect(-0.18, 0.01, 2), adopted=source("merged")))
    carol.write(experiment("four", category="batch"))
    carol.write(replace(replication(second, effect=Effect(-0.3, 0.01, 2), adopted=source("two")), route="whole"))
    held = [*alice.records, *bob.records, *carol.records]
    assert banked(held, steps_of(alice.records)) == pytest.approx({"initialisation": 0.2, "optimizer": 0.1})
    assert banked(held, steps_of(bob.records)) == pytest.approx({"batch": 0.05, "initialisation": 0.18})
    assert banked(held, steps_of(carol.records)) == pytest.approx({"initialisation": 0.5 * 2 / 3, "optimizer": 0.5 / 3})
    merged = replace(replication(second, effect=Effect(-0.15, 0.01, 2), adopted=source("both")), route="merge")
    bob.write(replace(merged, base=source("merged")))
    found = banked([*held, bob.records[-1]], steps_of(bob.records))
    assert found == pytest.approx({"batch": 0.05, "initialisation": 0.18, "optimizer": 0.15})
    assert banked(held, steps_of(alice.records, {second.id})) == pytest.approx({"initialisation": 0.2})
    assert banked([], []) == {}

"""What carries over to a larger scale is told by category, by what anybody's transfers show on seeds of their own."""

from __future__ import annotations

import math

import pytest
from msgspec import structs

from node.ledger.projections.transfers import ALL, carry_over, comparisons, expected_ratios
from protocol.records import ChainStep, Effect, Pair, Record, Transfer
from tests.node.records_for_tests import Author, experiment, run, source, transfer

GAIN = math.log(2.8 / 3.5)  # of the claims that `experiment` makes


def world(*authors: Author) -> list[Record]:
    return [record for author in authors for record in author.records]


def anybody(author: bytes) -> bool:
    return True


@pytest.fixture
def alice() -> Author:
    return Author("alice")


@pytest.fixture
def bob() -> Author:
    return Author("bob")


def test_a_category_has_the_share_that_carries_over_and_the_size_of_what_does(alice: Author, bob: Author) -> None:
    for title, gain in (("One", GAIN), ("Two", GAIN / 2), ("Three", 0.01)):
        bob.write(transfer(alice.write(experiment(title)), Effect(gain, 0.01, 2), by=bob.identity))
    together, by_category = carry_over(comparisons(world(alice, bob), anybody), "large")
    assert (together.category, by_category.category) == (ALL, "initialisation")
    assert (by_category.tried, by_category.carried) == (3, 2)
    assert by_category.rate == pytest.approx(3 / 5)
    assert by_category.ratio == pytest.approx((GAIN + GAIN / 2 + 0.01) / (3 * GAIN))
    assert by_category.ratio_error > 0.2  # the three differ by more than they were measured by
    assert 0.5 < by_category.expected < 0.8
    assert carry_over(comparisons(world(alice, bob), anybody), "medium") == []


def test_an_idea_within_a_chain_counts_by_its_part_of_the_gain(alice: Author, bob: Author) -> None:
    chain = (ChainStep(source("r1"), "optimizer", -0.15), ChainStep(source("r2"), "batch", -0.05))
    claim = alice.write(structs.replace(experiment("Both"), steps=(*chain, ChainStep(source("r3"), "schedule", 0.01))))
    bob.write(transfer(claim, Effect(GAIN / 2, 0.01, 2), by=bob.identity))
    found = {row.category: row for row in carry_over(comparisons(world(alice, bob), anybody), "large")}
    tried = {name: round(row.tried, 9) for name, row in found.items()}
    assert tried == {ALL: 1.0, "batch": 0.25, "optimizer": 0.75}
    assert found["batch"].ratio == found["optimizer"].ratio == pytest.approx(0.5)


def test_several_authors_share_the_weight_of_a_discovery_and_each_counts_once(alice: Author, bob: Author) -> None:
    claim = alice.write(experiment())
    for author in (bob, Author("carol")):
        for _ in range(2):
            author.write(transfer(claim, Effect(GAIN, 0.01, 2), by=author.identity))
        alice.records += author.records
    (together, _) = carry_over(comparisons(world(alice), anybody), "large")
    assert together.tried == pytest.approx(1)


def test_what_does_not_run_there_is_lost(alice: Author, bob: Author) -> None:
    claim = alice.write(experiment())
    body = transfer(claim, Effect(GAIN, 0.01, 2), by=bob.identity)
    failed = Pair(body.pairs[0].seed, run(3.0), run(None))
    bob.write(structs.replace(body, decision="failed", effect=None, pairs=(failed,)))
    (together, _) = carry_over(comparisons(world(alice, bob), anybody), "large")
    assert (together.tried, together.carried, together.ratio) == (1, 0, 0)


def test_a_transfer_counts_only_on_seeds_that_its_author_could_not_choose(alice: Author, bob: Author) -> None:
    claim = alice.write(experiment())
    honest = transfer(claim, Effect(GAIN, 0.01, 2), by=bob.identity)
    chosen = (structs.replace(honest.pairs[0], seed=7), honest.pairs[1])
    lies: list[Transfer] = [
        structs.replace(honest, pairs=chosen),
        structs.replace(honest, scale="medium"),  # the proof is for another scale
        structs.replace(honest, child=source("another")),
        transfer(claim, Effect(GAIN, 0.01, 2), by=alice.identity),
    ]
    for lie in lies:
        author = Author("bob")
        author.write(lie)
        assert comparisons(world(alice, author), anybody) == []


def test_a_transfer_of_a_key_that_was_not_found_right_counts_for_nothing(alice: Author, bob: Author) -> None:
    mallory = Author("mallory")
    for number in range(20):
        claim = alice.write(experiment(f"{number}"))
        mallory.write(transfer(claim, Effect(-GAIN, 0.01, 2), by=mallory.identity))
        bob.write(transfer(claim, Effect(GAIN, 0.01, 2), by=bob.identity))
    held = world(alice, bob, mallory)
    assert comparisons(held, lambda author: author == bob.key) == comparisons(world(alice, bob), anybody)
    assert not any("proven_value" in record.__dict__ for record in mallory.records), "no proof of its is verified"


def test_ratios_to_go_by_are_drawn_to_that_of_all_and_bounded(alice: Author, bob: Author) -> None:
    for number in range(8):
        bob.write(transfer(alice.write(experiment(f"{number}")), Effect(GAIN, 0.01, 2), by=bob.identity))
    odd = alice.write(experiment("odd", category="batch"))
    bob.write(transfer(odd, Effect(-GAIN, 0.01, 2), by=bob.identity))
    ratios = expected_ratios(carry_over(comparisons(world(alice, bob), anybody), "large"))
    assert ratios["initialisation"] == pytest.approx(1.0, abs=0.1)
    assert 0.1 <= ratios["batch"] < 0.4
    assert ratios["batch"] < ratios[ALL] < ratios["initialisation"]

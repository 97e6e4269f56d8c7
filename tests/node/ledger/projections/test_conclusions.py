"""What an experiment came to, in one set of words, and how many there are by one count."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from node.ledger.projections.conclusions import conclusion, conclusion_text, found_text, tally
from protocol.records import ChainStep, Effect, Experiment, Record
from tests.node.records_for_tests import Author, experiment

SMALL = Effect(-0.02, 0.01, 1)


def bet(title: str) -> Experiment:
    return replace(experiment(title, decision="unclear", effect=SMALL), bet=True)


def chain(of: Record, decision: str) -> Experiment:
    steps = (ChainStep(of.id, "initialisation", -0.02),)
    return replace(experiment("A chain", decision=decision, effect=SMALL), screening=None, steps=steps)


@pytest.mark.parametrize(
    ("decision", "told"),
    [("improved", "claimed"), ("no_gain", "dropped"), ("unclear", "dropped"), ("failed", "failed")],
)
def test_an_idea_that_is_no_bet_is_claimed_dropped_or_failed(decision: str, told: str) -> None:
    assert conclusion(experiment(decision=decision)) == told


def test_a_bet_is_kept_although_its_trial_proved_nothing() -> None:
    alice = Author("alice")
    kept = alice.write(bet("A bet"))
    assert isinstance(kept.body, Experiment)
    assert (kept.body.decision, conclusion(kept.body)) == ("unclear", "kept")
    assert conclusion_text(kept, alice.records) == "kept as a bet; no claim yet"


@pytest.mark.parametrize(
    ("decision", "of_chain", "of_bet"),
    [
        ("improved", "claimed", "kept as a bet; claimed since, with record {}"),
        ("unclear", "not proven yet", "kept as a bet; no claim yet"),
        ("no_gain", "cut", "kept as a bet; cut since, with record {}"),
        ("failed", "cut", "kept as a bet; cut since, with record {}"),
    ],
)
def test_what_became_of_a_bet_is_said_by_the_chain_that_names_it(decision: str, of_chain: str, of_bet: str) -> None:
    alice = Author("alice")
    kept = alice.write(bet("A bet"))
    proof = alice.write(chain(kept, decision))
    assert conclusion_text(proof, alice.records) == of_chain
    assert conclusion_text(kept, alice.records) == of_bet.format(proof.id.hex()[:10])


def test_a_stranger_who_names_a_bet_in_a_chain_of_its_own_concludes_nothing_about_it() -> None:
    alice, mallory = Author("alice"), Author("mallory")
    kept = alice.write(bet("A bet"))
    mallory.write(chain(kept, "failed"))
    assert conclusion_text(kept, [*alice.records, *mallory.records]) == "kept as a bet; no claim yet"


def test_the_proof_of_a_chain_is_a_claim_but_no_experiment_of_its_own() -> None:
    alice = Author("alice")
    kept = alice.write(bet("A bet"))
    alice.write(experiment("No good", decision="failed", effect=None))
    alice.write(chain(kept, "improved"))
    counts = tally(alice.records)
    assert (counts.experiments, counts.kept, counts.failed, counts.claims) == (2, 1, 1, 1)


def test_what_was_ended_early_says_so_in_place_of_a_gain() -> None:
    alice = Author("alice")
    ended = replace(experiment("Worse", decision="no_gain", effect=None), screening=None, pairs=(), ended_at=0.76)
    record = alice.write(ended)
    assert found_text(ended) == "ended early at 76 % of the budget"
    assert conclusion_text(record, alice.records) == "dropped, ended early at 76 % of the budget"
    assert conclusion_text(record, alice.records, math.log(1.025)).endswith("the budget, 2.5 % behind its parent")
    assert found_text(experiment(decision="failed", effect=None)) is None

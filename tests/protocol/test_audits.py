"""A report counts when it is valid, and is believed when another author got the same numbers from the same seeds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from protocol.audits import ARBITERS, MAX_REPORTS, Case, case_of
from protocol.draw import drawn, drawn_number, pair_seed
from protocol.evidence import standing_of
from protocol.metric import Direction, Metric, Scale
from protocol.records import Effect, Pair, Record, Replication, Run
from tests.node.records_for_tests import Author, audit, experiment, replication

NAMES = ("bob", "carol", "dave", "eve", "frank", "grace")


def claim() -> Record:
    return Author("alice").write(experiment())


def peers(*names: str) -> list[Author]:
    return [Author(name) for name in names]


def everything(*authors: Author) -> list[Record]:
    return [record for author in authors for record in author.records]


def case(claimed: Record, *authors: Author) -> Case:
    return case_of(claimed, everything(*authors), "cpu")


def keys(*authors: Author) -> set[bytes]:
    return {author.key for author in authors}


# ---- valid reports --------------------------------------------------------------------------------------------------


def changed(claimed: Record, author: Author, **fields: object) -> Record:
    body = replication(claimed, by=author.identity)
    return author.write(replace(body, **fields))  # type: ignore[arg-type]


def test_a_report_on_its_authors_own_seeds_counts() -> None:
    claimed, (bob,) = claim(), peers("bob")
    report = bob.report(claimed)
    assert case(claimed, bob).reports == (report,)


def test_reports_of_the_first_version_count_though_their_seeds_do_not_depend_on_the_claim() -> None:
    claimed, (bob,) = claim(), peers("bob")
    body = replication(claimed, by=bob.identity)
    old = tuple(
        replace(pair, seed=pair_seed(body.parent, body.child, number, bob.key))
        for number, pair in enumerate(body.pairs, 1)
    )
    body = replace(body, proof=UNSET)
    bob.write(replace(body, pairs=old[:1], effect=Effect(-0.19, 0.01, 1)))
    assert case(claimed, bob).reports == ()
    report = bob.write(replace(body, pairs=old))
    assert case(claimed, bob).reports == (report,)


def test_reports_count_that_were_made_when_anybody_could_work_out_their_seeds() -> None:
    claimed, (bob,) = claim(), peers("bob")
    body = replace(replication(claimed, by=bob.identity), proof=UNSET)
    seeds = [pair_seed(body.parent, body.child, number, claimed.id + bob.key) for number in (1, 2)]
    old = tuple(replace(pair, seed=seed) for pair, seed in zip(body.pairs, seeds, strict=True))
    report = bob.write(replace(body, pairs=old))
    assert case(claimed, bob).reports == (report,)


def test_seeds_that_were_chosen_do_not_count() -> None:
    """Another's proof, none, one of another claim or with a flipped bit, and a good one beside other seeds."""
    alice, (bob, carol) = Author("alice"), peers("bob", "carol")
    claimed, other = alice.write(experiment()), alice.write(experiment())
    good = replication(claimed, by=bob.identity)
    elsewhere = replication(other, by=bob.identity)
    assert isinstance(good.proof, bytes)
    flipped = bytes([good.proof[0] ^ 1]) + good.proof[1:]
    for wrong in (
        replication(claimed, by=carol.identity),
        replace(good, proof=UNSET),
        replace(good, proof=elsewhere.proof),
        replace(good, proof=elsewhere.proof, pairs=elsewhere.pairs),
        replace(good, proof=flipped),
        replace(good, pairs=(good.pairs[1], good.pairs[0])),
        replace(good, pairs=(replace(good.pairs[0], seed=good.pairs[0].seed + 1), good.pairs[1])),
    ):
        (bob,) = peers("bob")
        bob.write(wrong)
        assert case(claimed, bob).reports == ()


def test_the_seeds_of_a_report_follow_from_nothing_public_and_are_no_other_reports() -> None:
    alice, (bob, carol) = Author("alice"), peers("bob", "carol")
    claimed, again = alice.write(experiment()), alice.write(experiment())
    reports = [replication(of, by=by.identity) for of in (claimed, again) for by in (bob, carol)]
    shown = {pair.seed for report in reports for pair in report.pairs}
    assert len(shown) == 8
    source_ids, salts = (reports[0].parent, reports[0].child), (b"", bob.key, claimed.id, claimed.id + bob.key)
    public = {pair_seed(a, b, n, salt) for a in source_ids for b in source_ids for n in range(9) for salt in salts}
    assert not shown & public
    assert replication(claimed, by=bob.identity) == reports[0]


def test_an_effect_that_does_not_follow_from_its_pairs_does_not_count() -> None:
    claimed = claim()
    for fields in ({"effect": Effect(-0.3, 0.01, 2)}, {"effect": Effect(-0.19, 0.01, 3)}, {"effect": None}):
        (bob,) = peers("bob")
        changed(claimed, bob, **fields)
        assert case(claimed, bob).reports == ()


def test_one_pair_counts_where_it_is_far_from_zero_in_either_direction() -> None:
    for mean, counts in ((-0.026, True), (0.026, True), (-0.024, False), (0.024, False)):
        claimed, (bob,) = claim(), peers("bob")
        pairs = replication(claimed, by=bob.identity, effect=Effect(mean, 0.01, 2)).pairs
        changed(claimed, bob, pairs=pairs[:1], effect=Effect(mean, 0.01, 1))
        assert bool(case(claimed, bob).reports) == counts


def test_another_pair_than_the_first_or_a_failed_run_does_not_count() -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    good = replication(claimed, by=bob.identity).pairs
    changed(claimed, bob, pairs=good[1:], effect=Effect(-0.19, 0.01, 1))
    good = replication(claimed, by=carol.identity).pairs
    failed = Pair(good[1].seed, good[1].parent, Run(None, 1.0, 1, (), "memory"))
    changed(claimed, carol, pairs=(good[0], failed))
    assert case(claimed, bob, carol).reports == ()


def test_the_part_of_an_effect_owed_to_cost_is_bounded_by_the_measured_cost() -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")

    def slower(author: Author, owed: float) -> None:
        body = replication(claimed, by=author.identity)
        pairs = tuple(Pair(p.seed, p.parent, replace(p.child, cpu_seconds=19.0)) for p in body.pairs)
        author.write(replace(body, pairs=pairs, effect=Effect(-0.19 + owed, 0.01, 2)))

    slower(bob, +0.1)  # 0.15 · ln 2
    slower(carol, -0.1)  # slower code is no gain
    assert [report.author for report in case(claimed, bob, carol).reports] == [bob.key]


def test_pairs_whose_runs_did_not_take_turns_have_no_part_that_is_owed_to_cost() -> None:
    claimed, (bob,) = claim(), peers("bob")
    body = replication(claimed, by=bob.identity)
    dear = tuple(
        replace(pair, child=replace(pair.child, cpu_seconds=2 * pair.parent.cpu_seconds)) for pair in body.pairs
    )
    assert body.effect is not None
    more = replace(body.effect, mean=body.effect.mean + 0.1)
    seeds = tuple(pair.seed for pair in body.pairs)
    bob.write(replace(body, pairs=dear, effect=more, alternated=()))
    assert case(claimed, bob).reports == ()
    report = bob.write(replace(body, pairs=dear, effect=more, alternated=seeds))
    assert case(claimed, bob).reports == (report,)


@pytest.mark.parametrize(("alternated", "same"), [(True, False), (False, True)])
def test_costs_of_runs_that_did_not_take_turns_are_no_matter_of_dispute(alternated: bool, same: bool) -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    seeds = tuple(pair.seed for pair in replication(claimed, by=bob.identity).pairs)
    report = bob.write(replace(replication(claimed, by=bob.identity), alternated=seeds))
    found = audit(report)
    slow = replace(found.pair, child=replace(found.pair.child, cpu_seconds=2 * found.pair.child.cpu_seconds))
    carol.write(replace(found, pair=slow, alternated=(slow.seed,) if alternated else ()))
    (votes,) = case(claimed, bob, carol).votes.values()
    assert (carol.key in votes.agree) is same


def test_the_number_of_reports_that_count_is_limited() -> None:
    claimed, many = claim(), peers(*(f"peer {n}" for n in range(MAX_REPORTS + 5)))
    for peer in many:
        peer.report(claimed)
    found = case(claimed, *many)
    assert [r.author for r in found.reports] == drawn(claimed.id, keys(*many))[:MAX_REPORTS]


# ---- audits ---------------------------------------------------------------------------------------------------------


def test_a_report_is_audited_when_another_author_got_the_same() -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    report = bob.report(claimed)
    bob.write(audit(report))
    assert not case(claimed, bob).audited(report)
    carol.write(audit(report))
    assert case(claimed, bob, carol).audited(report)


def test_the_claimant_does_not_audit_its_own_claim() -> None:
    alice, (bob,) = Author("alice"), peers("bob")
    claimed = alice.write(experiment())
    report = bob.report(claimed)
    alice.write(audit(report, agrees=False))
    assert case(claimed, alice, bob).votes == {}


@pytest.mark.parametrize(
    ("platform", "final", "early", "agrees"),
    [
        ("torch on a processor", 0.00005, 0.0, True),
        ("torch on a processor", 0.0005, 0.0, False),
        ("torch elsewhere", 0.0005, 0.00005, True),
        ("torch elsewhere", 0.0005, 0.0005, False),
        ("torch elsewhere", 0.1, 0.0, False),
        ("", 0.0005, 0.0, True),
    ],
)
def test_final_values_must_agree_on_one_platform_and_early_ones_everywhere(
    platform: str, final: float, early: float, agrees: bool
) -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    report = bob.report(claimed)
    told = audit(report)
    child = told.pair.child
    assert child.value is not None
    points = tuple((step, score + early) for step, score in child.checkpoints)
    found = replace(child, value=child.value + final, checkpoints=points)
    carol.write(replace(told, platform=platform, pair=replace(told.pair, child=found)))
    (votes,) = case(claimed, bob, carol).votes.values()
    assert bool(votes.agree) is agrees


SPREAD = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.01)  # 4.3 spreads are 0.043


@pytest.mark.parametrize(
    ("found", "platform", "same"),
    [
        (0.75, "torch on a processor", True),
        (0.65, "torch on a processor", True),  # an effect of −0.06 where −0.1 was reported
        (0.60, "torch on a processor", False),
        (0.60, "torch on another", True),  # half of the effect besides
        (0.50, "torch on another", False),  # no gain
    ],
)
def test_where_runs_do_not_repeat_the_effect_of_a_pair_must(found: float, platform: str, same: bool) -> None:
    def pair(seed: int, child: float) -> Pair:
        return Pair(seed, Run(0.5, 1.0, 0, (), None), Run(child, 1.0, 0, (), None))

    claimed = Author("alice").write(replace(experiment(), pairs=(pair(2, 0.75),), screening=None, metric=SPREAD))
    bob, carol = peers("bob", "carol")
    body = replication(claimed, by=bob.identity)
    reported = tuple(pair(each.seed, 0.75) for each in body.pairs)
    report = bob.write(replace(body, pairs=reported, effect=Effect(-0.1, 0.005, 2), metric=SPREAD))
    again = replace(audit(report), pair=pair(reported[0].seed, found), platform=platform, metric=SPREAD)
    carol.write(again)
    (votes,) = case(claimed, bob, carol).votes.values()
    assert (votes.agree == {carol.key}) is same


def test_a_report_on_another_metric_than_the_claims_does_not_count() -> None:
    claimed, (bob,) = claim(), peers("bob")
    changed(claimed, bob, metric=Metric(Direction.LOWER, Scale.LOG, 1.0, 0.5))
    assert case(claimed, bob).reports == ()


def test_early_scores_that_are_left_out_do_not_agree() -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    report = bob.report(claimed)
    told = audit(report)
    carol.write(replace(told, pair=replace(told.pair, child=replace(told.pair.child, checkpoints=()))))
    assert case(claimed, bob, carol).suspended == keys(bob, carol)


# ---- disputes -------------------------------------------------------------------------------------------------------


def test_while_a_dispute_is_open_neither_side_counts() -> None:
    claimed, (bob, carol, dave) = claim(), peers("bob", "carol", "dave")
    reports = [peer.report(claimed) for peer in (bob, carol, dave)]
    carol.write(audit(reports[0], agrees=False))
    found = case(claimed, bob, carol, dave)
    assert found.suspended == keys(bob, carol)
    assert found.counting() == [reports[2]]
    assert standing_of(claimed, everything(bob, carol, dave)).disputed == 2


def test_two_arbiters_on_one_side_settle_a_dispute() -> None:
    for lie, losers in ((True, ("bob",)), (False, ("carol",))):
        claimed, everybody = claim(), peers(*NAMES)
        bob, carol, dave, eve, *_ = everybody
        report = bob.report(claimed)
        carol.write(audit(report, agrees=False))
        for arbiter in (dave, eve):
            arbiter.write(audit(report, agrees=not lie))
        assert case(claimed, *everybody).liars == keys(*peers(*losers))


def test_an_auditor_that_covers_a_false_report_stops_counting_with_it() -> None:
    claimed, everybody = claim(), peers(*NAMES)
    bob, carol, dave, eve, *_ = everybody
    report = bob.report(claimed)
    dave.write(audit(report))
    for honest in (carol, eve, everybody[4]):
        honest.write(audit(report, agrees=False))
    assert case(claimed, *everybody).liars == keys(bob, dave)


# ---- whose turn it is ------------------------------------------------------------------------------------------------


def test_one_replicator_is_drawn_to_audit_a_report_and_the_other_stands_in() -> None:
    claimed, (bob, carol, dave) = claim(), peers("bob", "carol", "dave")
    report = bob.report(claimed)
    assert case(claimed, bob).turn_of(carol.key, keys(bob, carol)) is None  # who has not replicated does not audit
    for peer in (carol, dave):
        other = peer.report(claimed)
        bob.write(audit(other))
    found = case(claimed, bob, carol, dave)
    turns = [found.turn_of(peer.key, keys(bob, carol, dave)) for peer in (carol, dave)]
    assert [turn.report for turn in turns if turn is not None] == [report, report]
    assert sorted(turn.rank for turn in turns if turn is not None) == [0, 1]


def test_all_auditors_run_the_same_pair_of_a_report() -> None:
    claimed, (bob, carol, dave) = claim(), peers("bob", "carol", "dave")
    for peer in (bob, carol, dave):
        peer.report(claimed)
    found = case(claimed, bob, carol, dave)
    for peer in (bob, carol, dave):
        turn = found.turn_of(peer.key, keys(bob, carol, dave))
        assert turn is not None
        assert isinstance(turn.report.body, Replication)
        assert turn.pair == turn.report.body.pairs[drawn_number(turn.report.id, 2)]


def test_three_arbiters_are_drawn_and_neither_side_is_among_them() -> None:
    claimed, everybody = claim(), peers(*NAMES, "heidi", "ivan")
    bob, carol, *others = everybody
    report = bob.report(claimed)
    carol.write(audit(report, agrees=False))
    found = case(claimed, bob, carol)
    assert found.turn_of(bob.key, keys(*everybody)) is None
    assert found.turn_of(carol.key, keys(*everybody)) is None
    turns = [found.turn_of(other.key, keys(*everybody)) for other in others]
    assert sum(turn is not None and turn.arbitration and turn.rank == 0 for turn in turns) == ARBITERS
    assert all(turn is not None for turn in turns)


def test_three_replicators_suffice_to_audit_each_other() -> None:
    claimed, everybody = claim(), peers("bob", "carol", "dave")
    for peer in everybody:
        peer.report(claimed)
    for _ in range(10):
        found = case(claimed, *everybody)
        for peer in everybody:
            turn = found.turn_of(peer.key, keys(*everybody))
            if turn is not None and turn.rank == 0:
                peer.write(audit(turn.report, number=drawn_number(turn.report.id, 2)))
                break
        else:
            break
    judged = standing_of(claimed, everything(*everybody))
    assert (judged.verdict, judged.audited, judged.missing, judged.keys) == ("confirmed", 3, 0, 3)
    assert not judged.general


def test_with_two_replicators_a_discovery_stays_open_and_says_what_is_missing() -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    first, second = bob.report(claimed), carol.report(claimed)
    bob.write(audit(second))
    carol.write(audit(first))
    judged = standing_of(claimed, everything(bob, carol))
    assert (judged.verdict, judged.audited, judged.missing) == ("open", 2, 1)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-0.3, 0.1)), max_size=8),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.booleans(), st.integers(0, 1)), max_size=14),
    st.randoms(use_true_random=False),
)
def test_standing_and_turns_do_not_depend_on_the_order_of_records(
    results: list[tuple[int, float]], audits: list[tuple[int, int, bool, int]], dice: random.Random
) -> None:
    claimed, everybody = claim(), peers(*NAMES)
    reports = [everybody[who].report(claimed, mean) for who, mean in results]
    for who, which, agrees, number in audits if reports else []:
        everybody[who].write(audit(reports[which % len(reports)], agrees, number))
    records = everything(*everybody)
    mixed = records[:]
    dice.shuffle(mixed)
    assert standing_of(claimed, mixed) == standing_of(claimed, records)
    one, other = case_of(claimed, mixed, "cpu"), case_of(claimed, records, "cpu")
    for peer in everybody:
        assert one.turn_of(peer.key, keys(*everybody)) == other.turn_of(peer.key, keys(*everybody))

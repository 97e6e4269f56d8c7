"""A report counts when it is valid, and is believed when another author got the same numbers from the same seeds."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from protocol import audits
from protocol.audits import MOST_OF_ONE_AUTHOR, repeats, reports_on
from protocol.draw import pair_seed
from protocol.metric import Direction, Metric, Scale
from protocol.records import Audit, Effect, Pair, Record, Replication, Run
from tests.node.records_for_tests import Author, audit, experiment, replication


def claim() -> Record:
    return Author("alice").write(experiment())


def peers(*names: str) -> list[Author]:
    return [Author(name) for name in names]


def valid(claimed: Record, *authors: Author) -> list[Record]:
    """The reports on a claim in these feeds that are valid, in the class "cpu"."""
    records = [record for author in authors for record in author.records]
    return reports_on(claimed, records, lambda _: True).get("cpu", [])


def repeats_here(report: Record, found: Audit) -> bool | None:
    assert isinstance(report.body, Replication)
    return repeats(report.body, found)


# ---- valid reports --------------------------------------------------------------------------------------------------


def changed(claimed: Record, author: Author, **fields: object) -> Record:
    body = replication(claimed, by=author.identity)
    return author.write(replace(body, **fields))  # type: ignore[arg-type]


def test_a_report_on_its_authors_own_seeds_counts() -> None:
    claimed, (bob,) = claim(), peers("bob")
    report = bob.report(claimed)
    assert valid(claimed, bob) == [report]


def test_of_one_author_only_the_first_few_reports_on_a_claim_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    for number in range(3 * MOST_OF_ONE_AUTHOR):
        changed(claimed, bob, compute_class=f"made up {number}")
    bob.report(claimed)
    report = carol.report(claimed)
    verified: list[bytes] = []
    monkeypatch.setattr(audits, "_is_valid", lambda record, *_: not verified.append(record.author))
    found = reports_on(claimed, [*bob.records, *carol.records], lambda _: True)
    assert verified.count(bob.key) == MOST_OF_ONE_AUTHOR
    assert found["cpu"] == [report]


def test_reports_of_the_first_version_count_though_their_seeds_do_not_depend_on_the_claim() -> None:
    claimed, (bob,) = claim(), peers("bob")
    body = replication(claimed, by=bob.identity)
    old = tuple(
        replace(pair, seed=pair_seed(body.parent, body.child, number, bob.key))
        for number, pair in enumerate(body.pairs, 1)
    )
    body = replace(body, proof=UNSET)
    bob.write(replace(body, pairs=old[:1], effect=Effect(-0.19, 0.01, 1)))
    assert valid(claimed, bob) == []
    report = bob.write(replace(body, pairs=old))
    assert valid(claimed, bob) == [report]


def test_reports_count_that_were_made_when_anybody_could_work_out_their_seeds() -> None:
    claimed, (bob,) = claim(), peers("bob")
    body = replace(replication(claimed, by=bob.identity), proof=UNSET)
    seeds = [pair_seed(body.parent, body.child, number, claimed.id + bob.key) for number in (1, 2)]
    old = tuple(replace(pair, seed=seed) for pair, seed in zip(body.pairs, seeds, strict=True))
    report = bob.write(replace(body, pairs=old))
    assert valid(claimed, bob) == [report]


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
        assert valid(claimed, bob) == []


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
        assert valid(claimed, bob) == []


def test_one_pair_counts_where_it_is_far_from_zero_in_either_direction() -> None:
    for mean, counts in ((-0.026, True), (0.026, True), (-0.024, False), (0.024, False)):
        claimed, (bob,) = claim(), peers("bob")
        pairs = replication(claimed, by=bob.identity, effect=Effect(mean, 0.01, 2)).pairs
        changed(claimed, bob, pairs=pairs[:1], effect=Effect(mean, 0.01, 1))
        assert bool(valid(claimed, bob)) == counts


def test_another_pair_than_the_first_or_a_failed_run_does_not_count() -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    good = replication(claimed, by=bob.identity).pairs
    changed(claimed, bob, pairs=good[1:], effect=Effect(-0.19, 0.01, 1))
    good = replication(claimed, by=carol.identity).pairs
    failed = Pair(good[1].seed, good[1].parent, Run(None, 1.0, 1, (), "memory"))
    changed(claimed, carol, pairs=(good[0], failed))
    assert valid(claimed, bob, carol) == []


def test_the_part_of_an_effect_owed_to_cost_is_bounded_by_the_measured_cost() -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")

    def slower(author: Author, owed: float) -> None:
        body = replication(claimed, by=author.identity)
        pairs = tuple(Pair(p.seed, p.parent, replace(p.child, cpu_seconds=19.0)) for p in body.pairs)
        author.write(replace(body, pairs=pairs, effect=Effect(-0.19 + owed, 0.01, 2)))

    slower(bob, +0.1)  # 0.15 · ln 2
    slower(carol, -0.1)  # slower code is no gain
    assert [report.author for report in valid(claimed, bob, carol)] == [bob.key]


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
    assert valid(claimed, bob) == []
    report = bob.write(replace(body, pairs=dear, effect=more, alternated=seeds))
    assert valid(claimed, bob) == [report]


@pytest.mark.parametrize(("alternated", "same"), [(True, False), (False, True)])
def test_costs_of_runs_that_did_not_take_turns_are_no_matter_of_dispute(alternated: bool, same: bool) -> None:
    claimed, (bob,) = claim(), peers("bob")
    seeds = tuple(pair.seed for pair in replication(claimed, by=bob.identity).pairs)
    report = bob.write(replace(replication(claimed, by=bob.identity), alternated=seeds))
    found = audit(report)
    slow = replace(found.pair, child=replace(found.pair.child, cpu_seconds=2 * found.pair.child.cpu_seconds))
    again = replace(found, pair=slow, alternated=(slow.seed,) if alternated else ())
    assert repeats_here(report, again) is same


# ---- audits ---------------------------------------------------------------------------------------------------------


def test_an_audit_of_another_pair_or_class_says_nothing_of_a_report() -> None:
    claimed, (bob, carol) = claim(), peers("bob", "carol")
    told, other = bob.report(claimed), carol.report(claimed)
    assert isinstance(told.body, Replication)
    assert repeats_here(told, audit(told)) is True
    assert repeats_here(told, audit(told, agrees=False)) is False
    assert repeats_here(told, audit(other)) is None
    assert repeats_here(told, replace(audit(told), compute_class="gpu")) is None


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
    claimed, (bob,) = claim(), peers("bob")
    report = bob.report(claimed)
    told = audit(report)
    child = told.pair.child
    assert child.value is not None
    points = tuple((step, score + early) for step, score in child.checkpoints)
    found = replace(child, value=child.value + final, checkpoints=points)
    assert repeats_here(report, replace(told, platform=platform, pair=replace(told.pair, child=found))) is agrees


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
    (bob,) = peers("bob")
    body = replication(claimed, by=bob.identity)
    reported = tuple(pair(each.seed, 0.75) for each in body.pairs)
    report = bob.write(replace(body, pairs=reported, effect=Effect(-0.1, 0.005, 2), metric=SPREAD))
    again = replace(audit(report), pair=pair(reported[0].seed, found), platform=platform, metric=SPREAD)
    assert repeats_here(report, again) is same


def test_a_report_on_another_metric_than_the_claims_does_not_count() -> None:
    claimed, (bob,) = claim(), peers("bob")
    changed(claimed, bob, metric=Metric(Direction.LOWER, Scale.LOG, 1.0, 0.5))
    assert valid(claimed, bob) == []


def test_early_scores_that_are_left_out_do_not_agree() -> None:
    claimed, (bob,) = claim(), peers("bob")
    report = bob.report(claimed)
    told = audit(report)
    left_out = replace(told, pair=replace(told.pair, child=replace(told.pair.child, checkpoints=())))
    assert repeats_here(report, left_out) is False

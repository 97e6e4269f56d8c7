"""Reproducing: what a record reports is run again and agrees to the last digit, or does not and is shown so."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from node.app.reproduce import CannotReproduceError, compared, reproduce
from node.execution.prepare import prepare_data
from node.execution.runner import Runner
from node.execution.sandbox.layers import probe
from node.ledger.store import Ledger
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.trials.own_seeds import OwnSeeds, Use
from protocol.audits import is_report
from protocol.metric import Direction, Metric, Scale
from protocol.records import Effect, Hypothesis, Pair, Record, Run, open_record, sign_record
from protocol.seeds import seeds_in
from tests.node.execution.small_objective import ENOUGH, TINYLM, small_objective
from tests.node.json_forms_for_tests import hold
from tests.node.records_for_tests import Author, experiment, proof_of, replication
from tests.node.records_for_tests import source as source_id

TEMPLATE = TINYLM.parent / "template"
TEMPLATE_SOURCE = (TEMPLATE / "train.py").read_text()


def ignore(*_: object, **__: object) -> None:
    """Progress that no test reads."""


@pytest.mark.long
def test_an_honest_record_is_reproduced_to_the_last_digit_and_a_false_one_is_not(tmp_path: Path) -> None:
    layers = probe()
    objective = small_objective(tmp_path)
    ledger = Ledger.open(tmp_path / "ledger.sqlite", objective.id)
    source = ledger.put_blob(objective.source.encode())

    async def measured() -> Run:
        async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
            outcome = await runner.run(objective.source, 5, ignore)
        return Run(outcome.value, outcome.cpu_seconds, outcome.tokens, outcome.checkpoints, None)

    honest = trio.run(measured)
    false = replace(honest, value=(honest.value or 0.0) * 0.9)
    body = replace(experiment("claim", source, source), screening=None, pairs=(Pair(5, honest, false),))
    record = Author("alice").write(body)
    parent, child = trio.run(reproduce, record, ledger, objective, layers, ignore)
    assert (parent.same, parent.checkpoints_equal, parent.found) == (True, True, honest.value)
    assert (child.same, child.checkpoints_equal) == (False, True)
    ledger.close()


@pytest.mark.long
@pytest.mark.sandbox
def test_an_auditor_repeats_a_record_to_the_last_digit_on_another_home(tmp_path: Path) -> None:
    """One home makes an experiment and another a report, at seeds that only they know. A third home has nothing but the
    records, the sources and the objective's files, and comes to the same values and scores."""
    layers, parent = probe(), TEMPLATE_SOURCE
    child = parent.replace("LR = 3e-3", "LR = 2e-3")
    assert child != parent
    alice, bob = Author("alice"), Author("bob")

    async def experiment_of(objective: Objective, folder: Path) -> Record:
        seed = OwnSeeds(alice.identity, objective.id).seed(Use.EXPERIMENT, source_id(parent), source_id(child), 1)
        pair = await measured(objective, folder, seed)
        body = replace(experiment("claim", source_id(parent), source_id(child)), screening=None, pairs=(pair,))
        return sign_record(alice.identity, objective.id, 0, bytes(32), 1, body)

    async def report_of(claim: Record, objective: Objective, folder: Path) -> Record:
        proof = proof_of(claim, bob.identity)
        pair = await measured(objective, folder, seeds_in(proof, 1)[0])
        body = replace(replication(claim, by=bob.identity, effect=Effect(0.0, 0.01, 1)), pairs=(pair,))
        return sign_record(bob.identity, objective.id, 0, bytes(32), 1, body)

    async def measured(objective: Objective, folder: Path, seed: int) -> Pair:
        async with Runner(objective, layers, folder / "weights", ignore) as runner:
            outcomes = [await runner.run(text, seed, ignore) for text in (parent, child)]
        assert [outcome.failure for outcome in outcomes] == [None, None]
        before, after = (
            Run(outcome.value, outcome.cpu_seconds, outcome.tokens, outcome.checkpoints, None) for outcome in outcomes
        )
        return Pair(seed, before, after)

    async def everything() -> None:
        homes = {name: await home(name) for name in ("alice", "bob", "carol")}
        claim = await experiment_of(homes["alice"], tmp_path / "alice")
        report = await report_of(claim, homes["bob"], tmp_path / "bob")
        assert is_report(report)
        ledger = Ledger.open(tmp_path / "carol" / "ledger.sqlite", homes["carol"].id)
        for text in (parent, child):
            ledger.put_blob(text.encode())
        for wire in (claim.wire(), report.wire()):
            rows = await reproduce(open_record(wire), ledger, homes["carol"], layers, ignore)
            assert [row.failure for row in rows] == [None, None]
            assert [row.found for row in rows] == [row.said for row in rows]
            assert all(row.checkpoints_equal for row in rows)
            assert rows[0].found != rows[1].found
        ledger.close()

    async def home(name: str) -> Objective:
        root = tmp_path / name / "objective"
        shutil.copytree(TEMPLATE, root)
        budget = (root / "objective.toml").read_text()
        budget = budget.replace("tokens = 131072", "tokens = 32768").replace("wall_seconds = 120", "wall_seconds = 900")
        (root / "objective.toml").write_text(budget)
        objective = load_objective(root, tmp_path / name / "data")
        await prepare_data(objective, layers, ENOUGH, ignore)
        return objective

    trio.run(everything)


def test_a_record_that_cannot_be_run_again_is_an_error_with_a_reason(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite", bytes(32))
    idea = Author("alice").write(Hypothesis("an idea", "optimizer", "because", None, None))
    for record, reason in ((idea, "reports no runs"), (Author("bob").write(experiment()), "has not arrived here")):
        with pytest.raises(CannotReproduceError, match=reason):
            trio.run(reproduce, record, ledger, None, None, ignore)
    ledger.close()


def test_where_runs_do_not_repeat_the_gain_of_a_pair_must() -> None:
    """A speed that higher is better: reported 10 → 12, found 20 → 23.9 on a faster machine, or no gain at all."""
    metric = Metric(Direction.HIGHER, Scale.LOG, 1.0, 0.01)

    def pair(parent: float, child: float) -> Pair:
        return Pair(1, Run(parent, 1.0, 0, (), None), Run(child, 1.0, 0, (), None))

    assert all(each.same for each in compared("pair 1", pair(10.0, 12.0), pair(20.0, 23.9), metric))
    found = compared("pair 1", pair(10.0, 12.0), pair(20.0, 20.1), metric)
    assert not any(each.same for each in found)
    hold("reproduce", [asdict(each) for each in found])

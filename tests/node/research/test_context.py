"""What a proposer is told of a source: what was tried on it, and how far it is from those it was made from."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from node.proposers.reopening import REOPEN_GAIN, Distance
from node.research.loop import Research
from node.trials.cached_runner import CachedRunner
from protocol.records import Effect, Experiment, Record
from tests.node.records_for_tests import experiment
from tests.node.research.test_loop import unmeasured_research


def tried(research: Research, title: str, parent: bytes, text: str, gain: float | None = None) -> Record:
    """An own experiment: a bet of this gain, or without one in vain."""
    ledger = research.cached_runner.ledger
    effect = Effect(-gain, 0.005, 1) if gain is not None else Effect(0.01, 0.005, 1)
    body = experiment(title, parent, ledger.put_blob(text.encode()), "no_gain", effect)
    if gain is not None:
        body = replace(body, bet=True, decision="unclear")
    return ledger.append_own(research.identity, body, 1)


async def test_ideas_of_the_sources_before_are_closed_until_much_has_changed(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    research = unmeasured_research(cached_runner, tmp_path)
    baseline = cached_runner.objective.source_id
    tried(research, "in vain", baseline, "A = 5\n")
    small = tried(research, "a small gain", baseline, "A = 6\n", 0.02).body
    assert isinstance(small, Experiment)
    context = await research.context(research.incumbent.source())
    assert context.source_id == small.child
    assert context.closed == {"in vain", "a small gain"}
    assert context.distances[baseline] == Distance(1, 0.02)

    tried(research, "in vain again", small.child, "A = 7\n")
    tried(research, "a large gain", small.child, "A = 8\n", 0.2)
    context = await research.context(research.incumbent.source())
    assert context.closed == frozenset()


async def test_many_tries_of_an_idea_on_one_source_close_it_no_longer_than_one(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    research = unmeasured_research(cached_runner, tmp_path)
    baseline = cached_runner.objective.source_id
    for number in range(4):
        tried(research, "in vain", baseline, f"A = 5\nAUTHOR = {number}\n")
    tried(research, "a large gain", baseline, "A = 8\n", REOPEN_GAIN)
    assert (await research.context(research.incumbent.source())).closed == frozenset()


async def test_results_say_what_each_constant_was_and_what_it_became(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    research = unmeasured_research(cached_runner, tmp_path)
    baseline = cached_runner.ledger.put_blob(b"A = 1\nB = 2\n")
    tried(research, "two at once", baseline, "A = 3\nB = 2\nC = 4\n")
    (result,) = (await research.context(research.incumbent.source())).results
    assert result.changed == {"A": 3.0, "C": 4.0}
    assert result.before == {"A": 1.0}

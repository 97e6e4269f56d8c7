"""What a proposer is told of a source: what was tried on it, and how far it is from those it was made from."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from node.ledger.store import Added
from node.proposers.reopening import REOPEN_GAIN, Distance
from node.research.loop import Research
from node.trials.cached_runner import CachedRunner
from protocol.records import Effect, Experiment, Record, sign_record
from tests.node.records_for_tests import Author, experiment
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
    failed = tried(research, "in vain", baseline, "A = 5\n").body
    assert isinstance(failed, Experiment)
    small = tried(research, "a small gain", baseline, "A = 6\n", 0.02).body
    assert isinstance(small, Experiment)
    context = await research.context(research.incumbent.source())
    assert context.source_id == small.child
    assert context.closed == {"in vain", "a small gain"}
    assert context.settled == {(baseline, failed.child), (baseline, small.child)}
    assert context.distances[baseline] == Distance(1, 0.02)

    tried(research, "in vain again", small.child, "A = 7\n")
    tried(research, "a large gain", small.child, "A = 8\n", 0.2)
    context = await research.context(research.incumbent.source())
    assert context.closed == frozenset()
    assert context.settled == frozenset()


async def test_many_tries_of_an_idea_on_one_source_close_it_no_longer_than_one(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    research = unmeasured_research(cached_runner, tmp_path)
    baseline = cached_runner.objective.source_id
    for number in range(4):
        tried(research, "in vain", baseline, f"A = 5\nAUTHOR = {number}\n")
    tried(research, "a large gain", baseline, "A = 8\n", REOPEN_GAIN)
    assert (await research.context(research.incumbent.source())).closed == frozenset()


async def test_what_peers_tried_in_vain_beside_this_search_is_closed_here_too(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """Until so much has changed since the source that both were made from; what peers went on from stays open."""
    research = unmeasured_research(cached_runner, tmp_path)
    baseline, ledger = cached_runner.objective.source_id, cached_runner.ledger
    tried(research, "own step", baseline, "A = 2\n", 0.02)
    theirs = ledger.put_blob(b"A = 3\n")
    peer, last = Author("peer").identity, bytes(32)
    told = (("their step", baseline, 0.03), ("in vain", theirs, None), ("a lead", theirs, 0.04))
    for number, (title, parent, gain) in enumerate(told):
        child = theirs if parent == baseline else ledger.put_blob(title.encode())
        body = experiment(title, parent, child, "no_gain", Effect(-(gain or -0.01), 0.005, 1))
        body = replace(body, bet=True, decision="unclear") if gain else body
        record = sign_record(peer, cached_runner.objective.id, number, last, 1, body)
        assert ledger.add(record, "a peer") is Added.NEW
        last = record.id
    assert (await research.context(research.incumbent.source())).closed == {"own step", "their step", "in vain"}
    tried(research, "a large gain", research.incumbent.source(), "A = 9\n", REOPEN_GAIN)
    assert "in vain" not in (await research.context(research.incumbent.source())).closed


async def test_results_say_what_each_constant_was_and_what_it_became(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    research = unmeasured_research(cached_runner, tmp_path)
    baseline = cached_runner.ledger.put_blob(b"A = 1\nB = 2\n")
    tried(research, "two at once", baseline, "A = 3\nB = 2\nC = 4\n")
    (result,) = (await research.context(research.incumbent.source())).results
    assert result.changed == {"A": 3.0, "C": 4.0}
    assert result.before == {"A": 1.0}


async def test_what_others_say_they_tried_in_vain_is_rechecked_now_and_then(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """One hypothesis in ten is made without their word, and all without that of those whom a recheck shows wrong."""
    research = unmeasured_research(cached_runner, tmp_path)
    logged: list[tuple[str, object]] = []
    research.log = lambda event, **details: logged.append((event, details))
    baseline, ledger = cached_runner.objective.source_id, cached_runner.ledger
    strangers, friend = Author("mallory", objective=ledger.objective), Author("ann", objective=ledger.objective)
    said: dict[str, bytes] = {}
    for author, title in ((strangers, "good"), (strangers, "better"), (friend, "bad")):
        body = experiment(title, baseline, ledger.put_blob(title.encode()), "no_gain", Effect(0.01, 0.005, 1))
        assert ledger.add(author.write(body), "a peer") is Added.NEW
        said[title] = body.fingerprint
    ledger.keep_authors({friend.key})

    async def closed_by() -> tuple[set[str], set[str]]:
        """Ideas that are closed here by others' word alone, and those to recheck."""
        context = await research.context(baseline)
        own = [record.body for record in ledger.feed(research.identity.author)]
        tried_here = {body.fingerprint for body in own if isinstance(body, Experiment)}
        assert len(context.results) - len(own) == len(said) - len(context.hearsay), "nor do they teach anything"
        closes = {title for title, one in said.items() if one in context.tried and one not in tried_here}
        return closes, set(context.hearsay)

    for _ in range(9):
        assert await closed_by() == ({"good", "better", "bad"}, set())
    assert await closed_by() == (set(), {"good", "better", "bad"}), "a recheck"
    tried(research, "good", baseline, "good")  # in vain here too
    for _ in range(9):
        assert await closed_by() == ({"better", "bad"}, set())
    assert await closed_by() == (set(), {"good", "better", "bad"})
    tried(research, "better", baseline, "better", gain=0.02)
    for _ in range(9):
        assert await closed_by() == ({"bad"}, {"good", "better"}), "one of two rechecks gained"
    assert logged == [("not believed", {"who": "strangers", "rechecks": 2, "gained": 1})]

"""Thinning takes one edit after the other out of the source that they led to, the least sure first."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from msgspec.structs import replace

from node.execution.parsing.parser import SourceParser
from node.ledger.store import Ledger
from node.objective.edits import fingerprint
from node.objective.schema import Prior
from node.proposers.beliefs import Machine
from node.proposers.proposer import Context
from node.proposers.strategy import SIMPLER_PRIOR, Strategy
from node.proposers.thinning import Thinning
from node.trials.gain_posterior import gain_prior, posterior
from protocol.records import Body, ChainStep, Effect, Experiment, Record
from tests.node.conftest import ignore
from tests.node.records_for_tests import OBJECTIVE, Author, experiment

BASE = "LR = 1\n\n\ndef rate():\n    return 1\n\n\ndef width():\n    return 1\n\n\ndef depth():\n    return 1\n"


def with_two(source: str, function: str) -> str:
    return source.replace(f"{function}():\n    return 1", f"{function}():\n    return 2")


class House:
    """A node whose search has gone on from bets."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger.open(folder / "ledger.sqlite", OBJECTIVE)
        self.me = Author("me")
        self.source = BASE

    def write(self, body: Body) -> Record:
        record = self.me.write(body)
        self.ledger.add(record, "me")
        return record

    def bet(self, function: str, gain: float) -> Record:
        """Go on from an edit of this function, measured at a standard error of 1 %."""
        before, self.source = self.source, with_two(self.source, function)
        ids = [self.ledger.put_blob(text.encode()) for text in (before, self.source)]
        return self.write(replace(experiment(function, *ids, "unclear", Effect(-gain, 0.01, 1)), bet=True))

    def context(self, *tried: str, closed: str = "") -> Context:
        known = frozenset(fingerprint(text) for text in (self.source, *tried))
        identity = hashlib.sha256(self.source.encode()).digest()
        rng = random.Random(1)
        return Context(self.source, identity, known, (), rng, SourceParser(), closed=frozenset({closed}))

    def thinning(self) -> Thinning:
        return Thinning(self.ledger.all_records, self.ledger.get_blob, self.me.key)

    async def proposed(self) -> list[tuple[str, str]]:
        """Titles and sources of everything that is proposed in turn."""
        found: list[tuple[str, str]] = []
        while True:
            proposal = await self.thinning().propose(self.context(*(source for _, source in found)))
            if proposal is None:
                return found
            assert proposal.simpler
            assert proposal.category == "simplification"
            found.append((proposal.title, proposal.source))


async def test_edits_are_taken_out_one_by_one_the_least_sure_first(tmp_path: Path) -> None:
    house = House(tmp_path)
    for function, gain in (("rate", 0.02), ("width", 0.005), ("depth", 0.01)):
        house.bet(function, gain)
    assert await house.proposed() == [
        ("Without: width", with_two(with_two(BASE, "rate"), "depth")),
        ("Without: rate", with_two(with_two(BASE, "width"), "depth")),
    ], "the last one was compared with the source without it just now"


async def test_an_edit_that_surely_gained_stays(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.bet("rate", 0.2)
    house.bet("depth", 0.01)
    assert await house.proposed() == []


async def test_of_a_proven_chain_each_edit_has_the_gain_attributed_to_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    base = house.ledger.put_blob(BASE.encode())
    rate, width = house.bet("rate", 0.05), house.bet("width", 0.02)
    assert isinstance(width.body, Experiment)
    claim = experiment("rate + width", base, width.body.child, "improved", Effect(-0.08, 0.01, 2))
    steps = (ChainStep(rate.id, "batch", -0.001), ChainStep(width.id, "batch", -0.08))
    house.write(replace(claim, steps=steps))
    house.bet("depth", 0.01)
    assert [title for title, _ in await house.proposed()] == ["Without: rate"]


async def test_what_was_taken_out_in_vain_lately_is_left_alone(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.bet("rate", 0.01)
    house.bet("depth", 0.01)
    assert await house.thinning().propose(house.context(closed="Without: rate")) is None


async def test_a_simpler_source_that_shows_no_difference_is_kept(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.bet("rate", 0.01)
    house.bet("depth", 0.01)
    strategy = Strategy([house.thinning()], lambda compute_class: {}, ignore)
    assert await strategy.propose(house.context(), Machine("cpu", 1.0, 0.01, 6, {})) is not None
    assert strategy.expected == SIMPLER_PRIOR
    for error in (0.001, 0.01, 0.05):
        assert posterior(gain_prior(strategy.expected), 0.0, error).mean > 0
        assert posterior(gain_prior(Prior(0.3, 0.01)), 0.0, error).mean < 0
    assert posterior(gain_prior(strategy.expected), -0.01, 0.002).mean < 0

"""What was confirmed in another objective of the home is tried where its edit applies, and else told in words."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from node.execution.parsing.parser import SourceParser
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.objective.edits import fingerprint
from node.proposers.elsewhere import Elsewhere, OtherObjectives, offers_of
from node.proposers.prompt import ResearchBrief, carried_over, question
from node.proposers.proposer import Context, tried_results
from node.proposers.repeats import Repeats
from protocol.metric import LOSS
from protocol.records import Body, ChainStep, Effect, Experiment, Origin, Record
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, source

THERE = source("another objective")
OTHER = "LR = 1\nWIDTH = 64\n\n\ndef rate():\n    return 1\n\n\ndef finish(model):\n    return model\n"
SOURCE = (
    "# another model\nLR = 0.5\nHEADS = 4\n\n\ndef rate():\n    return 1\n\n\ndef finish(model):\n    return model\n"
)
STEADY = ("rate():\n    return 1", "rate():\n    return 2")
TASK = ResearchBrief("mine", "", "loss", LOSS, ("train.py",), "", ("initialisation",), "cpu", "a processor")


class Home:
    """A home in which tinylm was researched, and now another objective is."""

    def __init__(self, folder: Path, embedded: bool = True) -> None:
        self.path = folder / "ledger.sqlite"
        self.me, self.me_there = Author("me"), Author("me", objective=THERE)
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.there = Ledger.open(self.path, THERE)
        self.there.settings.choose(Description("tinylm", embedded=embedded, joined=1.0))
        self.here = Ledger.open(self.path, OBJECTIVE)
        self.here.settings.choose(Description("mine", joined=2.0))

    def log(self, event: str, **details: Any) -> None:
        self.logged.append((event, details))

    def claimed(self, title: str, old: str, new: str, gain: float = 0.1, category: str = "initialisation") -> Record:
        """A claim of this node's in the other objective."""
        assert OTHER.count(old) == 1
        parent, child = (self.there.put_blob(text.encode()) for text in (OTHER, OTHER.replace(old, new)))
        effect = Effect(-gain, 0.01, 2)
        return self.wrote_there(experiment(title, parent, child, effect=effect, category=category))

    def wrote_there(self, body: Body) -> Record:
        record = self.me_there.write(body)
        self.there.add(record, "own")
        return record

    def elsewhere(self, may_leave: bool = True) -> Elsewhere:
        """As a node that is started now has it."""
        self.there.close()
        others = OtherObjectives(self.path, OBJECTIVE, self.me.key, lambda _: may_leave)
        read = self.here.get_blob
        return Elsewhere(others, read, Repeats(read), self.log)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def context() -> Context:
    known = frozenset({fingerprint(SOURCE)})
    return Context(SOURCE, source(SOURCE), known, (), random.Random(1), SourceParser())


async def test_an_edit_that_applies_is_proposed_with_where_it_is_from(home: Home) -> None:
    claim = home.claimed("Twice the steady rate", *STEADY)
    proposal = await home.elsewhere().propose(context())
    assert proposal is not None
    assert proposal.source == SOURCE.replace(*STEADY)
    assert (proposal.title, proposal.proposer) == ("Twice the steady rate", "elsewhere")
    assert proposal.reason.startswith("It gained +9.5 % in tinylm (proven here).")
    assert proposal.origin == Origin(THERE, claim.id)
    assert home.logged == [("ideas from elsewhere", {"count": 1, "objectives": "tinylm"})]


async def test_a_constant_of_both_is_set_and_the_largest_gain_comes_first(home: Home) -> None:
    home.claimed("Twice the steady rate", *STEADY, gain=0.02)
    home.claimed("Three times the rate", "LR = 1", "LR = 3", gain=0.1)
    proposal = await home.elsewhere().propose(context())
    assert proposal is not None
    assert proposal.source == SOURCE.replace("LR = 0.5", "LR = 3")


async def test_what_does_not_apply_is_told_to_a_model_which_may_carry_it_over(home: Home) -> None:
    claim = home.claimed("A wider model", "WIDTH = 64", "WIDTH = 96")
    home.claimed("Of a category that is not here", "WIDTH = 64", "WIDTH = 128", category="positions")
    elsewhere = home.elsewhere()
    assert await elsewhere.propose(context()) is None
    told = await elsewhere.in_words(context(), TASK.categories)
    assert [offer.title for offer in told] == ["A wider model"]
    asked = replace(context(), offers=told)
    text = question(TASK, asked, [])[1]["content"]
    assert '"offer": 1, "objective": "tinylm", "idea": "A wider model"' in text
    assert carried_over(1, asked) == Origin(THERE, claim.id)
    assert [carried_over(number, asked) for number in (None, 0, 2)] == [None, None, None]


async def test_what_was_tried_here_is_not_offered_again(home: Home) -> None:
    claim = home.claimed("Twice the steady rate", *STEADY)
    tried = home.me.write(structs.replace(experiment(decision="no_gain"), origin=Origin(THERE, claim.id)))
    after = replace(context(), results=tried_results([tried]))
    assert await home.elsewhere().propose(after) is None


async def test_nothing_leaves_a_private_swarm(home: Home) -> None:
    home.claimed("Twice the steady rate", *STEADY)
    assert await home.elsewhere(may_leave=False).propose(context()) is None


async def test_nothing_leaves_an_objective_of_ones_own_that_no_peer_has_seen(tmp_path: Path) -> None:
    home = Home(tmp_path, embedded=False)
    home.claimed("Twice the steady rate", *STEADY)
    assert await home.elsewhere().propose(context()) is None


async def test_an_unreadable_file_offers_nothing_and_is_told(home: Home, tmp_path: Path) -> None:
    (tmp_path / "damaged.sqlite").write_bytes(b"no database, for sure" * 100)
    others = OtherObjectives(tmp_path / "damaged.sqlite", OBJECTIVE, home.me.key, lambda _: True)
    elsewhere = Elsewhere(others, home.here.get_blob, Repeats(home.here.get_blob), home.log)
    assert await elsewhere.propose(context()) is None
    assert home.logged[0][0] == "other objectives unread"


def test_a_chain_is_offered_idea_by_idea_and_what_does_not_hold_is_not(home: Home) -> None:
    """A bet that lost within the chain, a bet alone and a refused idea are no offers."""
    bet = structs.replace(experiment("good", decision="unclear"), bet=True)
    good = home.wrote_there(structs.replace(bet, title="good", child=source("1")))
    poor = home.wrote_there(structs.replace(bet, title="poor", parent=source("1"), child=source("2")))
    steps = (ChainStep(good.id, "initialisation", -0.2), ChainStep(poor.id, "initialisation", 0.01))
    home.wrote_there(structs.replace(experiment("good + poor", child=source("2")), steps=steps))
    home.wrote_there(experiment("in vain", decision="no_gain"))
    home.wrote_there(structs.replace(bet, title="alone", parent=source("2"), child=source("3")))
    (offer,) = offers_of(home.me_there.records, home.me.key, THERE, "tinylm")
    assert (offer.title, offer.origin.record, offer.gain) == ("good", good.id, 0.2)
    assert isinstance(good.body, Experiment)


def test_a_peers_claim_that_nobody_confirmed_is_not_offered(home: Home) -> None:
    peer = Author("peer", objective=THERE)
    peer.write(experiment("bold"))
    assert offers_of(peer.records, home.me.key, THERE, "tinylm") == []

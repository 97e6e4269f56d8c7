"""Recombination and suggestions: changes made by peers or on older sources are merged onto the present one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace as change
from pathlib import Path

from msgspec.structs import replace

from node.execution.parsing.parser import SourceParser
from node.ledger.store import Ledger
from node.objective.edits import fingerprint
from node.proposers.proposer import Context, TriedResult
from node.proposers.recombine import EACH_AUTHOR as IDEAS_OF_AN_AUTHOR
from node.proposers.recombine import STRANGERS_IDEAS, Recombine
from node.proposers.reopening import Distance
from node.proposers.suggested import EACH_AUTHOR, Suggested, in_words
from protocol.records import Body, ChainStep, Effect, Experiment, Hypothesis, Record
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, replication

BASE = "LR = 1\n\n\ndef rate():\n    return 1\n\n\ndef width():\n    return 1\n"
FASTER, WIDER = BASE.replace("LR = 1", "LR = 2"), BASE.replace("width():\n    return 1", "width():\n    return 2")
STEADIER = BASE.replace("rate():\n    return 1", "rate():\n    return 2")
ME, PEER = Author("me"), Author("peer")


class World:
    """A ledger, and who wrote in it."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger.open(folder / "ledger.sqlite", OBJECTIVE)
        self.authors = {name: Author(name) for name in ("me", "peer", "other")}
        self.me = self.authors["me"].identity.author

    def write(self, name: str, body: Body) -> Record:
        record = self.authors[name].write(body)
        self.ledger.add(record, name)
        return record

    def tried(self, name: str, title: str, child: str, decision: str, mean: float, parent: str = BASE) -> Record:
        """decision: also "bet"."""
        ids = [self.ledger.put_blob(text.encode()) for text in (parent, child)]
        body = experiment(title, ids[0], ids[1], "unclear" if decision == "bet" else decision, Effect(mean, 0.01, 2))
        return self.write(name, replace(body, bet=True) if decision == "bet" else body)

    def suggest(self, name: str, title: str, edit: str | None, base: str | None = BASE) -> Record:
        known = [self.ledger.put_blob(text.encode()) if text is not None else None for text in (edit, base)]
        return self.write(name, Hypothesis(title, "suggestion", "", known[0], known[1] if edit else None))

    def recombine(self) -> Recombine:
        return Recombine(self.ledger.all_records, self.ledger.get_blob, self.me, self.ledger.is_proven)

    async def recombined(
        self, source: str = BASE, tried: Sequence[str] = (), results: Sequence[TriedResult] = ()
    ) -> list[tuple[str, str]]:
        """Title and source of everything that recombination proposes, one after the other."""
        recombine = self.recombine()
        found: list[tuple[str, str]] = []
        while True:
            asked = context(source, [*tried, *(made for _, made in found)])
            proposal = await recombine.propose(change(asked, results=tuple(results)))
            if proposal is None:
                return found
            found.append((proposal.title, proposal.source))

    async def suggested(self, source: str = BASE, tried: Sequence[str] = ()) -> list[tuple[str, str]]:
        proposer = Suggested(self.ledger.all_records, self.ledger.get_blob, self.me)
        found: list[tuple[str, str]] = []
        while True:
            proposal = await proposer.propose(context(source, [*tried, *(made for _, made in found)]))
            if proposal is None:
                return found
            found.append((proposal.title, proposal.source))


def context(source: str, tried: Sequence[str]) -> Context:
    known = frozenset(fingerprint(text) for text in (source, *tried))
    return Context(source, hashlib.sha256(source.encode()).digest(), known, (), random.Random(1), SourceParser())


async def test_a_peers_discovery_that_held_here_is_merged_onto_the_present_source(tmp_path: Path) -> None:
    world = World(tmp_path)
    claim = world.tried("peer", "Wider", WIDER, "improved", -0.1)
    assert await world.recombined(FASTER) == []
    world.write("me", replication(claim))
    assert await world.recombined(FASTER) == [("Wider", FASTER.replace(WIDTH_1, WIDTH_2))]


WIDTH_1, WIDTH_2 = "width():\n    return 1", "width():\n    return 2"


async def test_a_discovery_that_did_not_hold_here_is_not_used(tmp_path: Path) -> None:
    world = World(tmp_path)
    claim = world.tried("peer", "Wider", WIDER, "improved", -0.1)
    world.write("me", replication(claim, decision="contradicts", effect=Effect(0.1, 0.01, 2)))
    assert await world.recombined(FASTER) == []


async def test_two_near_misses_are_tried_together_before_each_alone_on_a_new_source(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("me", "Steadier", STEADIER, "unclear", -0.004)
    world.tried("me", "Wider", WIDER, "no_gain", -0.006)
    world.tried("me", "Worse", BASE.replace("LR = 1", "LR = 9"), "no_gain", 0.3)
    world.tried("peer", "Not mine", BASE.replace("LR = 1", "LR = 8"), "no_gain", -0.004)
    both = WIDER.replace("rate():\n    return 1", "rate():\n    return 2")
    assert await world.recombined(tried=[STEADIER, WIDER]) == [("Wider + Steadier", both)]
    titles = [title for title, _ in await world.recombined(FASTER)]
    assert titles == ["Wider + Steadier", "Wider", "Steadier"]


async def test_leads_of_strangers_leave_room_for_those_of_who_was_found_right(tmp_path: Path) -> None:
    """However many keys they have, whatever gains they write, and also under a title of another's lead."""
    world = World(tmp_path)
    world.authors |= {name: Author(name) for name in ("friend", *(f"key {number}" for number in range(10)))}
    world.tried("friend", "Wider", WIDER, "bet", -0.03)
    for number in range(40):
        title = "Wider" if number == 0 else f"Made up {number}"
        edited = BASE.replace("rate():\n    return 1", f"rate():\n    return {20 + number}")
        world.tried(f"key {number // 4}", title, edited, "bet", -0.5)
    world.ledger.keep_authors({Author("friend").key})
    found = await world.recombined(FASTER)
    assert ("Wider", FASTER_AND_WIDER) in found
    assert len({title for title, _ in found if title.startswith("Made up") and " + " not in title}) == STRANGERS_IDEAS


async def test_one_idea_tried_on_two_sources_is_no_pair(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("me", "Wider", WIDER, "unclear", -0.004)
    world.tried("me", "Wider", WIDER + "# and a word\n", "unclear", -0.006)
    assert [title for title, _ in await world.recombined(FASTER)] == ["Wider"]


FASTER_AND_WIDER = FASTER.replace("width():\n    return 1", "width():\n    return 2")


async def test_a_peers_lead_is_an_idea_before_anybody_has_re_run_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("peer", "Wider", WIDER, "bet", -0.05)
    world.tried("other", "Steadier", STEADIER, "unclear", -0.05)
    assert await world.recombined(FASTER) == [("Wider", FASTER_AND_WIDER)]


async def test_gains_that_the_present_source_lacks_are_merged_two_and_three_at_a_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    long = BASE + "\n\ndef depth():\n    return 1\n"
    for name, title, function in (("me", "Wider", "width"), ("peer", "Deeper", "depth"), ("other", "Steadier", "rate")):
        child = long.replace(f"{function}():\n    return 1", f"{function}():\n    return 2")
        world.tried(name, title, child, "bet", -0.05, parent=long)
    titles = [title for title, _ in await world.recombined(long.replace("LR = 1", "LR = 2"))]
    assert sorted(titles[0].split(" + ")) == ["Deeper", "Steadier", "Wider"]
    assert len(titles) == 7
    assert set(titles[-2:]) == {"Deeper", "Steadier"}, "an own gain is worth more than a lead"


async def test_what_the_present_source_was_made_from_is_no_idea_for_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("me", "Wider", WIDER, "bet", -0.05)
    world.tried("peer", "Wider", WIDER.replace("return 2", "return 3"), "bet", -0.04)
    assert await world.recombined(WIDER) == []
    narrow = WIDER.replace("width():\n    return 2", "width():\n    return 1") + "# done\n"
    world.tried("me", "Without Wider", narrow, "bet", -0.001, parent=WIDER)
    assert await world.recombined(narrow) == [], "what was taken out does not come back"


async def test_one_idea_is_never_merged_with_itself(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("peer", "Wider", WIDER, "bet", -0.05)
    world.tried("other", "Wider", WIDER.replace("return 2", "return 3"), "bet", -0.04)
    world.tried("other", "Steadier + Wider", STEADIER, "bet", -0.03)
    titles = [title for title, _ in await world.recombined(FASTER)]
    assert titles == ["Wider", "Steadier + Wider"]


async def test_two_changes_of_one_constant_are_never_merged(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("peer", "Fast and wide", FASTER_AND_WIDER, "bet", -0.05)
    world.tried("other", "Fast and steady", STEADIER.replace("LR = 1", "LR = 2"), "bet", -0.05)
    bodies = [record.body for record in world.ledger.all_records()]
    results = [
        TriedResult(body.parent, body.child, "", body.title, "", -0.05, "unclear", {"LR": 2.0})
        for body in bodies
        if isinstance(body, Experiment)
    ]
    assert any(" + " in title for title, _ in await world.recombined())
    assert not any(" + " in title for title, _ in await world.recombined(results=results))


async def test_an_idea_takes_part_in_few_merges(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("peer", "Wider", WIDER, "bet", -0.05)
    world.tried("other", "Steadier", STEADIER, "bet", -0.05)
    here = hashlib.sha256(FASTER.encode()).digest()
    merged = [TriedResult(here, b"", "", "Wider + Other", "recombine", 0.01, "no_gain", {})] * 2
    assert len(await world.recombined(FASTER)) == 3
    assert {title for title, _ in await world.recombined(FASTER, results=merged)} == {"Wider", "Steadier"}


async def test_an_idea_that_was_tried_lately_is_not_merged_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("peer", "Wider", WIDER, "bet", -0.05)
    asked = change(context(FASTER, []), closed=frozenset({"Wider"}), distances={b"": Distance(0, 0.0)})
    assert (
        await Recombine(world.ledger.all_records, world.ledger.get_blob, world.me, world.ledger.is_proven).propose(
            asked
        )
        is None
    )


async def test_the_bets_of_a_chain_that_does_not_hold_are_no_ideas(tmp_path: Path) -> None:
    world = World(tmp_path)
    bet = world.tried("peer", "Wider", WIDER, "bet", -0.05)
    assert isinstance(bet.body, Experiment)
    chain = experiment("Wider", bet.body.parent, bet.body.child, "no_gain", Effect(0.01, 0.01, 2))
    world.write("peer", replace(chain, steps=(ChainStep(bet.id, "batch", 0.01),)))
    assert await world.recombined(FASTER) == []


async def test_many_leads_of_one_author_do_not_displace_anothers(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(9):
        world.tried("peer", f"Flood {number}", BASE.replace("LR = 1", f"LR = {number + 2}"), "bet", -1.0 - number)
    world.tried("other", "A modest one", WIDER, "bet", -0.03)
    titles = [title for title, _ in await world.recombined(STEADIER) if " + " not in title]
    assert "A modest one" in titles
    assert len(titles) == IDEAS_OF_AN_AUTHOR + 1


async def test_changes_in_conflict_and_those_already_made_are_no_proposals(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tried("me", "Wider", WIDER, "unclear", -0.004)
    assert await world.recombined(WIDER) == []
    assert await world.recombined(WIDER.replace(WIDTH_2, "width():\n    return 3")) == []


async def test_a_suggested_edit_is_carried_over_to_the_present_source(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.suggest("peer", "Wider, please", WIDER)
    world.suggest("me", "Steadier, please", STEADIER)
    world.suggest("peer", "Only words", None)
    assert await world.suggested(FASTER) == [
        ("Steadier, please", FASTER.replace("rate():\n    return 1", "rate():\n    return 2")),
        ("Wider, please", FASTER.replace(WIDTH_1, WIDTH_2)),
    ]
    assert in_words(world.ledger.all_records(), world.me) == ["Only words"]


async def test_a_change_of_nothing_but_a_seed_is_neither_merged_nor_suggested(tmp_path: Path) -> None:
    world = World(tmp_path)
    seeded = "import random\n\nrandom.seed(1)\n\n\n" + BASE
    lucky = seeded.replace("seed(1)", "seed(2)")
    world.tried("me", "Lucky", lucky, "unclear", -0.004, parent=seeded)
    world.suggest("peer", "Lucky, please", lucky, seeded)
    world.suggest("peer", "Faster and lucky", lucky.replace("LR = 1", "LR = 2"), seeded)
    assert await world.recombined(seeded) == []
    assert await world.suggested(seeded) == [("Faster and lucky", lucky.replace("LR = 1", "LR = 2"))]


async def test_many_suggestions_of_one_author_do_not_displace_anothers(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(20):
        world.suggest("peer", f"Flood {number}", BASE.replace("LR = 1", f"LR = {number + 2}"))
    world.suggest("other", "A modest one", WIDER)
    titles = [title for title, _ in await world.suggested()]
    assert titles[:2] == ["A modest one", "Flood 19"]
    assert len(titles) == EACH_AUTHOR + 1


async def test_hostile_suggestions_are_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    absent = hashlib.sha256(b"not here").digest()
    world.write("peer", Hypothesis("Absent", "suggestion", "", absent, absent))
    world.write("peer", Hypothesis("No text", "suggestion", "", world.ledger.put_blob(b"\xff\xfe"), None))
    world.suggest("peer", "No Python", BASE + "def (", None)
    world.suggest("peer", "Huge", BASE + "#" * 300_000, None)
    assert await world.suggested() == []

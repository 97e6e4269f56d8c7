"""The fate of suggestions: in which order they wait, what a person decides, and what is told of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace as changed

from node.cli.main import main
from node.execution.parsing.parser import SourceParser
from node.ledger.error import LedgerError
from node.ledger.settings import Description
from node.platform.home import Home
from node.proposers import suggestion_inbox
from node.proposers.plateau import what_would_help
from node.proposers.proposer import Proposal
from node.proposers.suggested import CONFLICT, MOST_ATTEMPTS, Suggested, SuggestionNotes, queue
from node.proposers.suggestion_choices import Choices, KeptChoices
from node.proposers.suggestion_inbox import (
    Suggestion,
    ends_first,
    keep_taking_up,
    leave,
    outlook,
    suggestion_in_words,
)
from node.trials.cached_runner import CachedRunner
from node.view.model.suggestions import suggestions
from protocol.identity import Identity
from protocol.records import Experiment, Pair, Record, Run
from tests.node.json_forms_for_tests import hold
from tests.node.proposers.test_recombine import BASE, FASTER, WIDER, World, context
from tests.node.records_for_tests import OBJECTIVE, Author, experiment
from tests.node.research.test_loop import research_on

STEADIER = BASE.replace("rate():\n    return 1", "rate():\n    return 2")
RUNNING = {"runs": [], "resting": None, "researches": True}


def home_of(world: World) -> Home:
    """The home around a world's ledger."""
    home = Home(Path(world.ledger._path).parent)
    settings = world.ledger.settings
    settings.choose(Description(baseline=world.ledger.put_blob(BASE.encode()), editable=("train.py",)))
    settings.author = world.me
    return home


def shown(world: World, running: dict[str, Any] | None = RUNNING, has_model: bool = False) -> dict[str, dict[str, Any]]:
    """What a person is told of every suggestion, by title."""
    home = home_of(world)
    found = suggestions(world.ledger, home, KeptChoices(home.suggestion_choices)(), has_model, running)
    return {one["title"]: one for one in found["suggestions"]}


def proposer_of(world: World) -> Suggested:
    home = home_of(world)
    notes = SuggestionNotes(world.ledger.settings)
    choices = KeptChoices(home.suggestion_choices)
    return Suggested(world.ledger.all_records, world.ledger.get_blob, world.me, choices, notes)


def tried(
    world: World, name: str, suggestion: Record, decision: str = "no_gain", screening: Pair | None = None
) -> Record:
    """The experiment of a node on a suggestion, which names it as `Suggested` does."""
    assert suggestion.body.edit is not None  # type: ignore[union-attr]
    reason = f"Suggested by …abcdef12, record {suggestion.id.hex()[:10]}. Because."
    body = experiment(f"of {suggestion.id.hex()}", decision=decision)
    if screening is not None:
        body = changed(body, screening=screening, pairs=(), effect=None)
    return world.write(name, changed(body, proposer="suggested", reason=reason))


def decide(home: Home, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["suggestions", *arguments, "--home", str(home.root)])
    return int(ended.value.code or 0)


# ---- order and decisions -------------------------------------------------------------------------------------------


def titles(world: World, choices: Choices) -> list[str]:
    return [record.body.title for record in queue(world.ledger.all_records(), world.me, choices)]  # type: ignore[union-attr]


def test_own_suggestions_come_first_in_the_order_they_were_given(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name, title in (("peer", "p1"), ("me", "m1"), ("peer", "p2"), ("other", "o1"), ("me", "m2")):
        world.suggest(name, title, WIDER)
    assert titles(world, Choices()) == ["m1", "m2", "o1", "p2", "p1"]


def test_one_that_was_tried_here_waits_no_more_and_hides_none_behind_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    first, _ = world.suggest("me", "first", WIDER), world.suggest("me", "second", FASTER)
    tried(world, "peer", first)
    assert titles(world, Choices()) == ["first", "second"], "what a peer tried may still be tried here"
    tried(world, "me", first)
    assert titles(world, Choices()) == ["second"]


def test_a_failure_of_the_machine_is_no_verdict_a_few_times(tmp_path: Path) -> None:
    world = World(tmp_path)
    slow = world.suggest("me", "slow", WIDER)
    pair = Pair(1, Run(3.5, 1.0, 1, (), None), Run(None, 1.0, 1, (), "timeout"))
    for attempt in range(MOST_ATTEMPTS):
        assert titles(world, Choices()) == ["slow"], attempt
        assert shown(world)["slow"]["state"] == "waiting"
        tried(world, "me", slow, "failed", pair)
    assert titles(world, Choices()) == []
    told = shown(world)["slow"]
    assert (told["state"], told["why"]) == (
        "tried",
        "its run failed (timeout), perhaps by what else this machine did then",
    )


def test_a_person_moves_vetoes_and_takes_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    mine, second = (world.suggest("me", title, WIDER).id.hex() for title in ("m1", "m2"))
    theirs = world.suggest("peer", "p1", FASTER).id.hex()
    waiting = [mine, second, theirs]
    moved = Choices().moved(theirs, waiting, up=True)
    assert titles(world, moved) == ["m1", "p1", "m2"]
    world.suggest("me", "m3", STEADIER)
    assert titles(world, moved) == ["m1", "p1", "m2", "m3"]
    assert titles(world, moved.with_veto(theirs)) == ["m1", "m2", "m3"]
    assert titles(world, Choices().with_taken_back(mine)) == ["m2", "m3", "p1"]
    assert titles(world, Choices().with_veto(theirs).without_veto(theirs)) == ["m1", "m2", "m3", "p1"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"vetoed": 3}', '{"vetoed": ["x", 4]}', "[" * 100_000])
def test_a_damaged_file_of_choices_counts_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "choices.json"
    path.write_text(content)
    assert KeptChoices(path)() == Choices()


def test_decisions_are_made_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path)
    mine, theirs = world.suggest("me", "mine", WIDER), world.suggest("peer", "theirs", FASTER)
    home = home_of(world)
    assert decide(home, "up", theirs.id.hex()[:12]) == 0
    assert "number 1 now" in capsys.readouterr().err
    assert decide(home, "veto", theirs.id.hex()) == 0
    assert decide(home, "take-back", theirs.id.hex()) == 2
    assert "another node's" in capsys.readouterr().err
    assert decide(home, "take-back", mine.id.hex()) == 0
    assert "it was sent already" in capsys.readouterr().err
    assert decide(home, "up", "feedfeed") == 2
    assert "no single suggestion" in capsys.readouterr().err
    assert decide(home, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    hold("suggestions", told)
    found = told["suggestions"]
    assert {one["title"]: one["state"] for one in found} == {"mine": "taken_back", "theirs": "vetoed"}


def test_what_no_node_has_taken_up_yet_is_taken_back_for_good(tmp_path: Path) -> None:
    world = World(tmp_path)
    home = home_of(world)
    leave(home.suggestions, suggestion_in_words("Never mind", OBJECTIVE))
    (one,) = shown(world, None).values()
    assert (one["state"], one["can"]) == ("left", ["take-back"])
    assert decide(home, "take-back", one["file"]) == 0
    assert shown(world, None) == {}
    (home.suggestions / "7.refused").write_text('{"text": "It had no train", "edit": "x"}')
    (home.suggestions / "7.why").write_text("there is no train in it")
    (one,) = shown(world).values()
    assert (one["title"], one["state"], one["why"]) == ("It had no train", "refused", "there is no train in it")
    assert decide(home, "take-back", "../ledger.json") == 2
    assert decide(home, "take-back", one["file"]) == 0
    assert shown(world) == {}


# ---- what a person is told -----------------------------------------------------------------------------------------


async def test_each_suggestion_says_where_it_stands(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.suggest("me", "next", WIDER)
    gone = world.suggest("me", "done", STEADIER)
    record = tried(world, "me", gone, "improved")
    world.suggest("me", "words", None)
    world.suggest("peer", "theirs", FASTER)
    told = shown(world)
    assert {title: one["state"] for title, one in told.items()} == {
        "next": "waiting",
        "theirs": "waiting",
        "words": "needs_model",
        "done": "tried",
    }
    assert (told["next"]["place"], told["next"]["why"]) == (1, "tried in this node's next turn")
    assert (told["done"]["record"], told["done"]["why"]) == (record.id.hex(), "claimed")
    assert told["done"]["gain_text"].startswith("+18")
    assert "[llm]" in told["words"]["why"]
    assert shown(world, has_model=True)["words"]["state"] == "with_model"
    assert "no node runs here" in shown(world, None)["next"]["why"]
    assert "is paused: night" in shown(world, RUNNING | {"resting": "night"})["next"]["why"]
    under_way = RUNNING | {"runs": [{"suggestion": told["next"]["id"][:10]}]}
    assert shown(world, under_way)["next"]["state"] == "trying"


def test_what_was_tried_is_neither_vetoed_nor_taken_back_nor_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    mine = world.suggest("me", "mine", WIDER)
    record = tried(world, "me", mine, "no_gain")
    home = home_of(world)
    for decision in ("veto", "take-back", "allow"):
        assert decide(home, decision, mine.id.hex()) == 2
        said = capsys.readouterr().err
        assert f"this node has tried it already, and it was dropped (record {record.id.hex()[:10]})" in said
    assert KeptChoices(home.suggestion_choices)() == Choices()


def test_a_node_that_ends_after_what_it_runs_leaves_a_suggestion_to_its_next_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.suggest("me", "next", WIDER)
    for more, waits in ((0, True), (1, False), (None, False)):
        told = shown(world, RUNNING | {"more_experiments": more})["next"]
        assert told["state"] == "waiting"
        assert ("ends after the experiment under way (join --experiments)" in told["why"]) == waits
        edit = Suggestion("t", OBJECTIVE, WIDER, b"")
        said = outlook(edit, True, False, ends_first(RUNNING | {"more_experiments": more}))
        assert ("it is tried first when the node next starts" in said) == waits
        assert ("tries it next" in said) != waits


def test_an_idea_in_words_is_told_at_once_that_it_needs_a_model_and_how(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.suggest("me", "words", None)
    words = suggestion_in_words("Try a cosine", OBJECTIVE)
    for said in (outlook(words, True, has_model=False), shown(world)["words"]["why"]):
        assert all(way in said for way in ("[llm] or [agent]", "doctor", "--edit"))
    assert "needs a model" in outlook(words, True, has_model=False).partition(",")[0]
    assert "as an edit" in what_would_help(has_model=False, has_peers=True)


def test_the_record_of_a_suggestion_shows_what_became_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path)
    mine = world.suggest("me", "mine", WIDER)
    record = tried(world, "me", mine, "no_gain")
    home = home_of(world)
    for more in ((), ("--json",)):
        with pytest.raises(SystemExit):
            main(["show", mine.id.hex()[:12], "--home", str(home.root), *more])
    text, _, data = capsys.readouterr().out.partition("{")
    assert f"came of it: tried: dropped: no gain here, +18.1 % ± 0.8 (2 pairs), record {record.id.hex()[:10]}" in text
    assert json.loads("{" + data)["fate"]["record"] == record.id.hex()


async def test_what_cannot_be_applied_says_why_and_waits_for_another_source(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.suggest("me", "Faster", FASTER)
    proposer = proposer_of(world)
    here = context(WIDER, [WIDER.replace("LR = 1", "LR = 2")])
    assert proposer.urgent_waits(here.source_id)
    assert await proposer.urgent(here, 9) == []
    assert not proposer.urgent_waits(here.source_id)
    told = shown(world)["Faster"]
    assert (told["state"], "tried on this source already" in told["why"]) == ("dropped", True)
    there = context(BASE, [])
    assert proposer.urgent_waits(there.source_id)
    assert [idea.title for idea in await proposer.urgent(there, 9)] == ["Faster"]
    assert shown(world)["Faster"]["state"] == "waiting"


async def test_of_a_conflict_an_own_suggestion_is_tried_as_it_was_written_and_a_peers_is_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    still_faster = BASE.replace("LR = 1", "LR = 3")
    theirs = world.suggest("peer", "Theirs", still_faster).id.hex()
    proposer, here = proposer_of(world), context(FASTER.replace("width():", "width(): # wide"), [])
    assert await proposer.propose(here) is None
    assert (shown(world)["Theirs"]["state"], shown(world)["Theirs"]["why"]) == ("dropped", CONFLICT)
    world.suggest("me", "Mine", still_faster)
    (idea,) = await proposer.urgent(here, 9)
    assert (idea.title, idea.source) == ("Mine", here.source.replace("LR = 2", "LR = 3"))
    KeptChoices(home_of(world).suggestion_choices).keep(Choices().moved(theirs, [theirs], up=True))
    assert [idea.title for idea in await proposer.urgent(here, 9)] == ["Theirs"]


async def test_peers_suggestions_are_urgent_only_when_moved_up_and_never_when_vetoed(tmp_path: Path) -> None:
    world = World(tmp_path)
    theirs = world.suggest("peer", "Wider", WIDER).id.hex()
    proposer, here = proposer_of(world), context(BASE, [])
    assert not proposer.urgent_waits(here.source_id)
    kept = KeptChoices(home_of(world).suggestion_choices)
    kept.keep(Choices().moved(theirs, [theirs], up=True))
    assert [idea.title for idea in await proposer.urgent(here, 9)] == ["Wider"]
    kept.keep(kept().with_veto(theirs))
    assert await proposer.propose(here) is None


async def test_what_a_person_asks_for_is_tried_next_whatever_waits(cached_runner: CachedRunner, tmp_path: Path) -> None:
    research = research_on(cached_runner, tmp_path, "A = 1\n", "A = 2\n", "B = 1\n")
    asked = Proposal("asked", "batch", "r", "suggested", "B = 1\n")

    class Asked:
        done = False

        def urgent_waits(self, source: bytes) -> bool:
            return not self.done

        async def urgent(self, context: object, most: int) -> list[Proposal]:
            self.done = True
            return [asked]

        def is_withdrawn(self, proposal: Proposal) -> bool:
            return proposal.source == "A = 1\n"

    await research.candidates.next(research.incumbent.source(), None)
    assert research.candidates.waiting[0].proposal.source == "A = 1\n"
    research.strategy = replace(research.strategy, asked_for=Asked())
    research.candidates.strategy = research.strategy
    record = await research.turn()
    assert record is not None
    assert isinstance(record.body, Experiment)
    assert record.body.title == "asked"
    assert research.candidates.waiting == [], "what the person has withdrawn meanwhile is dropped"


async def test_of_several_only_as_many_as_are_run_at_once_leave_the_queue(tmp_path: Path) -> None:
    world = World(tmp_path)
    first, second = world.suggest("me", "first", WIDER), world.suggest("me", "second", STEADIER)
    proposer, here = proposer_of(world), context(FASTER, [])
    kept = KeptChoices(home_of(world).suggestion_choices)
    kept.keep(Choices().moved(second.id.hex(), [first.id.hex(), second.id.hex()], up=True))
    (idea,) = await proposer.urgent(here, 1)
    assert idea.title == "second"
    assert proposer.urgent_waits(here.source_id)
    assert not proposer.is_withdrawn(idea)
    kept.keep(kept().with_taken_back(second.id.hex()))
    assert proposer.is_withdrawn(idea)


# ---- refused at once, delayed --------------------------------------------------------------------------------------


def refused(home: Home, capsys: pytest.CaptureFixture[str], folder: Path, text: str) -> str:
    (folder / "edit.py").write_bytes(text.encode())
    with pytest.raises(SystemExit) as ended:
        main(["suggest", "x", "--edit", str(folder / "edit.py"), "--home", str(home.root)])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_an_edit_that_cannot_run_here_is_refused_at_once(
    cached_runner: CachedRunner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective, ledger = cached_runner.objective, cached_runner.ledger
    for content in (objective.manifest_bytes, *objective.files.values()):
        ledger.put_blob(content)
    best = objective.source.replace("LR = ", "MORE = 1\nLR = 2 * ")
    ledger.settings.choose(Description(baseline=objective.source_id, editable=objective.editable))
    ledger.settings.author = Author("alice").key
    claim = experiment("Faster", objective.source_id, ledger.put_blob(best.encode()))
    ledger.append_own(Author("alice").identity, claim, 0)
    home = Home(tmp_path)
    assert "is empty" in refused(home, capsys, tmp_path, " \n")
    assert "no `train`" in refused(home, capsys, tmp_path, best.replace("def train(", "def trains("))
    assert "no `build`" in refused(home, capsys, tmp_path, best.replace("def build(", "def builds("))
    mine = objective.source.replace("LR = ", "LR = 3 * ").replace("\n", "\r\n")
    (tmp_path / "edit.py").write_bytes(mine.encode())
    with pytest.raises(SystemExit) as ended:
        main(["suggest", "x", "--edit", str(tmp_path / "edit.py"), "--home", str(home.root)])
    assert not ended.value.code
    assert "with your lines where its best source has changed the same ones" in capsys.readouterr().out


async def test_a_suggestion_that_the_ledger_cannot_take_yet_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(tmp_path)
    home = home_of(world)
    leave(home.suggestions, suggestion_in_words("Later", OBJECTIVE))
    identity = Identity.from_seed(Author("me").identity.seed)
    real, failures = world.ledger.append_own, [LedgerError("it is held by another process")] * 3

    def append(*given: Any) -> Record:
        if failures:
            raise failures.pop()
        return real(*given)

    monkeypatch.setattr(world.ledger, "append_own", append)
    events: list[str] = []
    with trio.move_on_after(4 * suggestion_inbox.TROUBLE_SECONDS):
        await keep_taking_up(
            home.suggestions, world.ledger, identity, SourceParser(), lambda event, **_: events.append(event)
        )
    assert events == ["suggestions delayed", "suggestion published"], "the same trouble is logged once"


def test_notes_are_bounded_and_survive_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    notes = SuggestionNotes(world.ledger.settings)
    for number in range(1000):
        notes.note(f"{number:064x}", "why")
    notes.note(f"{999:064x}", None)
    again = SuggestionNotes(world.ledger.settings)
    assert 0 < len(again.known) <= 300
    assert f"{999:064x}" not in again.known

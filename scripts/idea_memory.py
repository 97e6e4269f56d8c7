"""How often does a model's idea repeat what was tried, and what do the parts of the memory have to do with it?

    .venv/bin/python scripts/idea_memory.py record FOLDER [--experiments 70] [--tokens 65536]
    .venv/bin/python scripts/idea_memory.py ask FOLDER [--ideas 60] [--seeds 3]
    .venv/bin/python scripts/idea_memory.py similarity

`record` has a node research tinylm with two thirds of its known ideas. `ask` goes on from that history with a model
that knows all of them, in other words (`paraphrased_ideas.py`), and draws among those that apply to the source. One
*heeds* what it is told: it proposes nothing that the question lists, by any of its titles. One *ignores* it. Its ideas
are not run; each is recorded as one that gained nothing. Counted are the runs that went to ideas that had been tried
and that the strategy would not try again yet, and the new ideas that were taken for one of them. For an earlier
version, copy this file and `paraphrased_ideas.py` into its `scripts/` and `ask` there, of the same folder.

`similarity` compares all known ideas of the embedded objectives with each other, and tinylm's with themselves in other
words, on the baseline and on a source with six edits more.
"""

from __future__ import annotations

import argparse
import inspect
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lone_research import researcher
from paraphrased_ideas import TITLES, as_edits, in_other_words

from node.execution.pause_gate import PauseGate
from node.objective import sources
from node.objective.edits import EditError, apply
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.objective.trees import source_of
from node.proposers.catalogue import Catalogue, Idea, read_ideas
from node.proposers.configured import brief_of
from node.proposers.llm import LanguageModel
from node.proposers.proposer import Context, Proposal
from node.research.loop import Research
from protocol.records import Decision, Effect, Experiment

try:
    from node.objective.changes import change_between
    from node.proposers.novelty import Described, rarities, same_idea
    from node.proposers.repeats import Repeats
except ImportError:  # an earlier version, which can be asked and compares nothing
    pass

OBJECTIVES = Path(__file__).resolve().parent.parent / "objectives"
CHECKS = "repeats" in inspect.signature(LanguageModel).parameters  # an earlier version compares no ideas
SOUND = (
    "LeCun initialisation, embeddings 0.02",
    "RMSNorm instead of LayerNorm",
    "Rotary positions, base 100",
    "Learning rate 2e-3",
    "Second moment over 20 steps (beta2 0.95)",
    "Linear decay to zero",
)
IN_VAIN = Effect(0.01, 0.005, 1)


def known_ideas() -> dict[str, Idea]:
    return {idea.title: idea for idea in read_ideas(OBJECTIVES / "tinylm" / "ideas")}


# ---- a history -------------------------------------------------------------------------------------------------------


async def record(folder: Path, experiments: int, tokens: int) -> None:
    """A node's research on tinylm with two of three known ideas."""
    root = folder / "objective"
    shutil.copytree(OBJECTIVES / "tinylm", root, ignore=shutil.ignore_patterns("__pycache__"))
    settings = (root / "objective.toml").read_text().splitlines()
    shorter = [f"tokens = {tokens}" if line.startswith("tokens = ") else line for line in settings]
    (root / "objective.toml").write_text("\n".join(shorter))
    some = [idea for number, idea in enumerate(known_ideas().values()) if number % 3]
    async with researcher(folder, root, seed=1) as research:
        proposers = research.strategy.proposers
        research.strategy.proposers = [
            Catalogue(some) if isinstance(proposer, Catalogue) else proposer for proposer in proposers
        ]
        for number in range(experiments):
            made = await research.turn()
            if made is None:
                break
            if isinstance(made.body, Experiment):
                print(number, made.body.title, made.body.decision, made.body.is_bet, flush=True)


# ---- a model ---------------------------------------------------------------------------------------------------------


class ScriptedModel:
    """Answers as a service would, with known ideas in its own words. heeds: nothing that the question lists."""

    def __init__(self, ideas: Mapping[str, Idea], rng: random.Random, heeds: bool) -> None:
        self._ideas = ideas
        self._rng = rng
        self._heeds = heeds
        self.source = ""
        self.answers: list[str] = []  # the ideas' own titles

    async def ask(self, conversation: Sequence[Mapping[str, str]]) -> str | None:
        told = "\n".join(message["content"] for message in conversation if message["role"] != "assistant")
        titles = list(self._ideas)
        self._rng.shuffle(titles)
        for title in titles:
            if self._heeds and (_listed(title, told) or _listed(TITLES[title], told)):
                continue
            try:
                child = apply(self.source, self._ideas[title].edits)
            except EditError:
                continue
            if child != self.source:
                self.answers.append(title)
                written = in_other_words(title, self.source, child, f"name{self._rng.randrange(1000)}")
                return json.dumps(
                    {
                        "title": TITLES[title],
                        "category": self._ideas[title].category,
                        "reason": "It may help.",
                        "edits": as_edits(self.source, written),
                    }
                )
        return None


def _listed(title: str, told: str) -> bool:
    return json.dumps(title, ensure_ascii=False)[:70] in told  # titles are cut in a prompt


# ---- asking ----------------------------------------------------------------------------------------------------------


async def ask(folder: Path, ideas: int, seed: int, heeds: bool, checked: bool) -> Counter[str]:
    """So many answers of a model on a copy of the history, and what came of them."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="idea-memory-") as copy:
        here = Path(copy)
        shutil.copytree(folder / "home", here / "home", ignore=shutil.ignore_patterns("workspace", "lock"))
        async with researcher(here, folder / "objective", seed) as research:
            scripted = ScriptedModel(known_ideas(), random.Random(seed), heeds)
            called: list[str] = []  # titles of answers that were called a repetition
            model = _language_model(research, scripted, checked, called)
            while len(scripted.answers) < ideas:
                before = len(scripted.answers)
                await _one(research, scripted, model, called, counts)
                if len(scripted.answers) == before:
                    counts["nothing left"] += 1
                    break
    return counts


def _language_model(research: Research, scripted: ScriptedModel, checked: bool, called: list[str]) -> LanguageModel:
    def log(event: str, **details: Any) -> None:
        if event == "idea repeats":
            called.append(details["title"])

    runner = research.cached_runner
    more: dict[str, Any] = {}
    if CHECKS:
        more["elsewhere"] = None
        more["repeats"] = Repeats(runner.ledger.get_blob if checked else lambda _: None)
    given = {"endpoint": scripted, "task": brief_of(runner), "ideas": list, "pause_gate": PauseGate(), "log": log}
    return LanguageModel(**given, **more)


async def _one(
    research: Research, scripted: ScriptedModel, model: LanguageModel, called: list[str], counts: Counter[str]
) -> None:
    """One proposal, and the record of what it came to."""
    model._rests_until = float("-inf")  # a model that rests is no model that repeats less
    source = research.incumbent.source()
    context = await research.context(source)
    scripted.source = context.source
    first = len(scripted.answers)
    tried = _tried(context)
    called.clear()
    proposal = await model.propose(context)
    answered = scripted.answers[first:]
    counts["answers"] += len(answered)
    counts["repeating answers"] += sum(title in tried for title in answered)
    own = {TITLES[title] for title in answered if title in tried}
    counts["new ideas called repeats"] += sum(title not in own for title in called)
    if proposal is not None:
        counts["runs"] += 1
        counts["runs of repeats"] += answered[-1] in tried
        await _recorded(research, context, proposal)


def _tried(context: Context) -> frozenset[str]:
    """The known ideas that were tried and are not to be tried again yet, by their own titles."""
    own = {other: title for title, other in TITLES.items()} | {title: title for title in TITLES}
    here = {result.title for result in context.results if result.parent == context.source_id}
    return frozenset(own[title] for title in here | context.closed if title in own)


async def _recorded(research: Research, context: Context, proposal: Proposal) -> None:
    ledger = research.cached_runner.ledger
    child = ledger.put_blob(proposal.source.encode())
    last = next(each.body for each in reversed(ledger.all_records()) if isinstance(each.body, Experiment))
    body = Experiment(
        title=proposal.title,
        category=proposal.category,
        reason=proposal.reason,
        proposer=proposal.proposer,
        parent=context.source_id,
        child=child,
        fingerprint=await context.parser.fingerprint(proposal.source),
        compute_class=last.compute_class,
        device=last.device,
        sandbox=last.sandbox,
        decision=Decision.NO_GAIN,
        effect=IN_VAIN,
        holdout=None,
        cost_ratio=None,
        screening=None,
        pairs=(),
    )
    ledger.append_own(research.identity, body, research.now_ms())


async def ask_all(folder: Path, ideas: int, seeds: int) -> None:
    columns = ("answers", "repeating answers", "runs", "runs of repeats", "new ideas called repeats", "nothing left")
    print("model", "checked", *columns, sep="\t")
    for heeds in (False, True):
        for checked in (False, True) if CHECKS else (False,):
            total: Counter[str] = Counter()
            for seed in range(1, seeds + 1):
                total += await ask(folder, ideas, seed, heeds, checked)
            row = (str(total[column]) for column in columns)
            print("heeds" if heeds else "ignores", "yes" if checked else "no", *row, sep="\t", flush=True)


# ---- how well ideas are told apart -----------------------------------------------------------------------------------


def similarity() -> None:
    """How many known ideas are called the same, and how many in other words are found."""
    pairs = wrong = 0
    for root in sorted(path.parent for path in OBJECTIVES.glob("*/ideas") if path.parent.name != "template"):
        objective = load_objective(root, Path(tempfile.gettempdir()) / "no-data")
        described = list(_described(objective, read_ideas(root / "ideas")).values())
        rarity = rarities(one.title for one in described)
        same = [(a.title, b.title) for a, b in combinations(described, 2) if same_idea(a, b, rarity)]
        count = len(described) * (len(described) - 1) // 2
        pairs, wrong = pairs + count, wrong + len(same)
        print(f"{root.name}: {len(described)} ideas, {count} pairs, called the same: {same or 'none'}")
    print(f"{wrong} of {pairs} pairs of different ideas are called the same")
    _in_other_words()


def _described(objective: Objective, ideas: Sequence[Idea]) -> dict[str, Described]:
    """The ideas that apply to the baseline."""
    files = sources.read(objective.source, objective.editable)
    found = {}
    for idea in ideas:
        try:
            child = source_of(sources.apply(files, idea.edits))
        except EditError:
            continue
        found[idea.title] = Described(idea.title, change_between(objective.source, child, objective.editable))
    return found


def _in_other_words() -> None:
    ideas = known_ideas()
    rarity = rarities(ideas)
    objective = load_objective(OBJECTIVES / "tinylm", Path(tempfile.gettempdir()) / "no-data")
    known = _described(objective, list(ideas.values()))
    later = objective.source
    for title in SOUND:
        later = apply(later, ideas[title].edits)
    written, missed, errors = 0, [], []
    for name, source in (("baseline", objective.source), ("later source", later)):
        for title in known:
            try:
                child = apply(source, ideas[title].edits)
            except EditError:
                continue
            if child == source:
                continue
            written += 1
            other = Described(TITLES[title], change_between(source, in_other_words(title, source, child)))
            if not same_idea(other, known[title], rarity):
                missed.append(f"{title} ({name})")
            others = (one for one in known if one != title and same_idea(other, known[one], rarity))
            errors += [f"{title} ({name}) for {one}" for one in others]
    print(f"{written - len(missed)} of {written} ideas in other words are found; missed: {', '.join(missed)}")
    print(f"taken for another idea: {', '.join(errors) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("folder", type=Path)
    recording.add_argument("--experiments", type=int, default=70)
    recording.add_argument("--tokens", type=int, default=65_536)
    asking = commands.add_parser("ask")
    asking.add_argument("folder", type=Path)
    asking.add_argument("--ideas", type=int, default=60)
    asking.add_argument("--seeds", type=int, default=3)
    commands.add_parser("similarity")
    args = parser.parse_args()
    if args.command == "record":
        trio.run(record, args.folder, args.experiments, args.tokens)
    elif args.command == "ask":
        trio.run(partial(ask_all, args.folder.resolve(), args.ideas, args.seeds))
    else:
        similarity()


if __name__ == "__main__":
    main()

"""What does a model's memory hold of a long history, what does it cost, and are repeats still found?

    .venv/bin/python scripts/long_memory.py [--experiments 80 300] [--seed 1]

For tinylm's and nanolm's known ideas each it makes up a history as a search leaves one, of other lengths: two of five
experiments try a known idea (of two of three, the others stay unknown), the rest another value of a constant; one in
eight is kept, and the search goes on from it; one in twenty fails. No run is made. At each length it tells

    told, question  tokens of what a model is told of the search, and of the whole question
    ms              to work that out
    tried           of the known ideas that were tried on any source, how many the question lists
    not again       the same of those that are not to be tried again yet on the source that is reached
    found           of the latter, written another way and under another title (`paraphrased_ideas.py`), how many are
                    recognised, with milliseconds for the first look at each and for the next

and, above the table, which were missed, and which that were never tried are taken for one that was.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import trio
from idea_memory import OBJECTIVES
from lone_research import researcher
from paraphrased_ideas import TITLES, in_other_words

from node.execution.parsing.parser import SourceParser
from node.objective.edits import EditError, apply
from node.proposers.catalogue import Idea, read_ideas
from node.proposers.configured import brief_of
from node.proposers.memory import BYTES_PER_TOKEN, memory
from node.proposers.prompt import question
from node.proposers.proposer import Context
from node.proposers.repeats import Repeats
from node.research.loop import Research
from protocol.records import Decision, Effect, Experiment

KNOWN_SHARE, KEPT_SHARE, FAILED_SHARE = 0.4, 1 / 8, 1 / 20
CONSTANT = re.compile(r"(?m)^([A-Z][A-Z_0-9]*) = (\d[\d.e-]*)(?=\s|$)")
COLUMNS = ("objective", "experiments", "told", "question", "ms", "tried", "not again", "found", "first ms", "next ms")


async def grow(research: Research, ideas: Mapping[str, Idea], experiments: int, rng: random.Random) -> None:
    """Add experiments until there are so many."""
    ledger = research.cached_runner.ledger
    parser = (await research.context(research.incumbent.source())).parser
    while sum(isinstance(record.body, Experiment) for record in ledger.all_records()) < experiments:
        source_id = research.incumbent.source()
        source = research.cached_runner.source_text(source_id)
        proposed = _known(source, ideas, rng) if rng.random() < KNOWN_SHARE else _numeric(source, rng)
        if proposed is not None:
            await _record(research, parser, source_id, *proposed, rng)


def _known(source: str, ideas: Mapping[str, Idea], rng: random.Random) -> tuple[str, str, str, str] | None:
    title = rng.choice(list(ideas))
    try:
        child = apply(source, ideas[title].edits)
    except EditError:
        return None
    return (title, ideas[title].category, "catalogue", child) if child != source else None


def _numeric(source: str, rng: random.Random) -> tuple[str, str, str, str] | None:
    found = rng.choice(list(CONSTANT.finditer(source)))
    name, value = found[1], float(found[2])
    other = (
        max(1, round(value * rng.choice((0.5, 2))))
        if value == int(value)
        else float(f"{value * rng.uniform(0.5, 2):.3g}")
    )
    child = source[: found.start(2)] + f"{other:g}" + source[found.end(2) :]
    return (f"{name} {value:g} → {other:g}", "numeric", "numeric", child) if other != value else None


async def _record(
    research: Research,
    parser: SourceParser,
    parent: bytes,
    title: str,
    category: str,
    proposer: str,
    child: str,
    rng: random.Random,
) -> None:
    ledger, drawn = research.cached_runner.ledger, rng.random()
    failed, kept = drawn < FAILED_SHARE, drawn > 1 - KEPT_SHARE
    body = Experiment(
        title=title,
        category=category,
        reason="",
        proposer=proposer,
        parent=parent,
        child=ledger.put_blob(child.encode()),
        fingerprint=await parser.fingerprint(child),
        compute_class="laptop-cpu",
        device="a processor",
        sandbox="bwrap",
        decision=Decision.FAILED if failed else Decision.UNCLEAR if kept else Decision.NO_GAIN,
        effect=None if failed else Effect(rng.gauss(-0.02 if kept else 0.004, 0.005), 0.005, 1),
        holdout=None,
        cost_ratio=None,
        screening=None,
        pairs=(),
        bet=True if kept else msgspec.UNSET,
    )
    ledger.append_own(research.identity, body, research.now_ms())


# ---- what is told, and what is found ---------------------------------------------------------------------------------


async def measure(name: str, research: Research, ideas: Mapping[str, Idea], unknown: Sequence[str]) -> list[str]:
    runner = research.cached_runner
    context = await research.context(research.incumbent.source())
    task = brief_of(runner)
    begun = time.perf_counter()
    told = sum(len(line.encode()) + 1 for part in memory(context, task.measure) for line in part.lines)
    took = time.perf_counter() - begun
    asked = "\n".join(message["content"] for message in question(task, context, []))
    settled = {one.title for one in context.results if (one.parent, one.child) in context.settled}
    again = sorted(settled & ideas.keys())
    tried = {one.title for one in context.results} & ideas.keys()
    repeats = Repeats(runner.ledger.get_blob)
    tries = [title for title in again if _other_words(context, ideas, title) is not None]
    first: list[float] = []
    found = [title for title in tries if await _taken_for(repeats, context, ideas, title, first)]
    after: list[float] = []
    for title in tries:
        await _taken_for(repeats, context, ideas, title, after)
    mistaken = [(title, of) for title in unknown if (of := await _taken_for(repeats, context, ideas, title, []))]
    print(
        f"  missed: {', '.join(sorted(set(tries) - set(found))) or 'none'}; mistaken: {mistaken or 'none'}", flush=True
    )
    return [
        name,
        str(len(context.results)),
        f"{told / BYTES_PER_TOKEN:.0f}",
        f"{len(asked.encode()) / BYTES_PER_TOKEN:.0f}",
        f"{1000 * took:.0f}",
        f"{_listed(tried, asked)} of {len(tried)}",
        f"{_listed(again, asked)} of {len(again)}",
        f"{len(found)} of {len(tries)}",
        f"{1000 * statistics.median(first):.0f} (most {1000 * max(first):.0f})" if first else "",
        f"{1000 * statistics.median(after):.0f} (most {1000 * max(after):.0f})" if after else "",
    ]


def _listed(titles: Iterable[str], asked: str) -> int:
    return sum(json.dumps(title, ensure_ascii=False)[:70] in asked for title in titles)  # titles are cut in a prompt


def _other_words(context: Context, ideas: Mapping[str, Idea], title: str) -> str | None:
    """The source with the idea, written another way; None where it does not apply."""
    try:
        child = apply(context.source, ideas[title].edits)
    except EditError:
        return None
    return in_other_words(title, context.source, child) if child != context.source else None


async def _taken_for(
    repeats: Repeats, context: Context, ideas: Mapping[str, Idea], title: str, seconds: list[float]
) -> str | None:
    """The title of the result that the idea, in other words, is taken for."""
    written = _other_words(context, ideas, title)
    if written is None:
        return None
    begun = time.perf_counter()
    found = await repeats.of(context, TITLES.get(title, f"Try this: {title.lower()}"), written)
    seconds.append(time.perf_counter() - begun)
    return found.title if found is not None else None


async def tell(lengths: Sequence[int], seed: int) -> None:
    rows = []
    for name in ("tinylm", "nanolm"):
        every = {idea.title: idea for idea in read_ideas(OBJECTIVES / name / "ideas")}
        some = {title: idea for number, (title, idea) in enumerate(every.items()) if number % 3}
        with tempfile.TemporaryDirectory(prefix="long-memory-") as folder:
            root = Path(folder) / "objective"  # nothing is run, so tinylm's data do for any source
            shutil.copytree(OBJECTIVES / "tinylm", root, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(OBJECTIVES / name / "train.py", root)
            async with researcher(Path(folder), root, seed) as research:
                rng = random.Random(seed)
                for length in lengths:
                    await grow(research, some, length, rng)
                    rows.append(await measure(name, research, every, sorted(every.keys() - some.keys())))
    print("\t".join(COLUMNS))
    print("\n".join("\t".join(row) for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, nargs="+", default=[80, 300])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    trio.run(partial(tell, sorted(options.experiments), options.seed))


if __name__ == "__main__":
    main()

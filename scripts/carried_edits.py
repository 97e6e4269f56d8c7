"""How many of one objective's known ideas can be carried over to another's source, as a node does it?

    .venv/bin/python scripts/carried_edits.py [FROM TO]

Each idea is made an edit of the first objective's source. Counted are those that a merge of lines carries over to the
second one's, those that the names of what they change do, and of the others those whose category the second one has,
which are told to models in words. Nothing is trained: whether an idea that applies also gains is for experiments.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.parsing.parser import SourceParser
from node.objective.edits import EditError
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.proposers.catalogue import read_ideas
from node.proposers.proposer import Context
from node.proposers.rebase import Rebaser

OBJECTIVES = Path(__file__).resolve().parent.parent / "objectives"


def loaded(name: str) -> Objective:
    return load_objective(OBJECTIVES / name, Path(tempfile.gettempdir()) / "no-data")


async def count(first: Objective, second: Objective) -> None:
    parser = SourceParser(editable=second.editable)
    known = frozenset({await parser.fingerprint(second.source)})
    context = Context(second.source, second.source_id, known, (), random.Random(0), parser)
    applied: dict[str, list[str]] = {"by lines": [], "by names": [], "in words": []}
    texts: dict[bytes, bytes] = {b"first": first.source.encode()}
    rebaser = Rebaser(texts.get)
    ideas = 0
    for idea in read_ideas(first.root / "ideas"):
        try:
            child = await SourceParser(editable=first.editable).apply(first.source, idea.edits)
        except EditError:
            continue
        ideas += 1
        key = idea.title.encode()
        texts[key] = child.encode()
        if await rebaser.onto(context, (b"first", key)) is not None:
            applied["by lines"].append(idea.title)
        elif await rebaser.by_names(context, b"first", key) is not None:
            applied["by names"].append(idea.title)
        elif idea.category in second.categories:
            applied["in words"].append(idea.title)
    print(f"{first.name} to {second.name}: {ideas} ideas")
    for way, titles in applied.items():
        print(f"  {way}: {len(titles)}: {'; '.join(titles)}")


async def main(names: list[str]) -> None:
    for first, second in [names] if names else (("tinylm", "nanolm"), ("nanolm", "tinylm")):
        await count(loaded(first), loaded(second))


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])

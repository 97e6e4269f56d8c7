"""Replays of one policy, in a process of its own, by the node in whatever tree is first on PYTHONPATH.

    replay_worker.py MODEL OBJECTIVE_FOLDER POLICY CHECKPOINTS NUMBERS RESULT

Checkpoints and numbers are lists of whole numbers, as JSON; each number is a world and a search. It writes the true
gains of each search at the checkpoints, as JSON.
"""

from __future__ import annotations

import json
import pickle
import random
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import trio

from node.proposers.catalogue import read_ideas
from search_bench import policies, replayed_search
from search_bench.model import Landscape, Model
from search_bench.replayed_runs import ReplayedRuns

PLAIN, BEFORE = "keep if lower", "this node before"
ALL_VERIFIED, NONE_VERIFIED = "every bet verified at once", "no bet verified"
# Policies of this node's research, and the proposers that are left out.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    BEFORE: (),
    "this node": (),
    ALL_VERIFIED: (),
    NONE_VERIFIED: (),
    "without early ends": (),
    "without numeric": ("numeric",),
    "without thinning": ("thinning",),
}


def rule_of(policy: str) -> AbstractContextManager[Any]:
    """The block in which this node's research decides as the policy does."""
    if policy in (ALL_VERIFIED, NONE_VERIFIED):
        return patch("node.research.claims.claim_is_due", lambda *_: policy == ALL_VERIFIED)
    if policy != PLAIN:
        return nullcontext()
    from search_bench.keep_if_lower import in_its_place

    return in_its_place()


def kind_of_runs(policy: str) -> type[ReplayedRuns]:
    if policy in (PLAIN, BEFORE, "without early ends"):
        return ReplayedRuns
    from search_bench.replayed_curves import ReplayedCurves

    return ReplayedCurves


def of_node(
    policy: str, model: Model, objective: Path, checkpoints: list[int], numbers: list[int]
) -> list[list[float]]:
    """Searches by the node's research; with keep-if-lower, by it with that rule."""
    parser, kind = replayed_search.ParserHere(), kind_of_runs(policy)

    async def one(number: int) -> list[float]:
        landscape = Landscape(model, number)
        with replayed_search.replayed(objective, landscape, number + 1, parser, kind) as (research, runs):
            strategy = research.strategy
            strategy.proposers = [each for each in strategy.proposers if each.name not in LEFT_OUT[policy]]
            return await replayed_search.gains(research, runs, landscape, checkpoints)

    with rule_of(policy):
        return [trio.run(one, number) for number in numbers]


def main() -> None:
    packed, objective, policy, checkpoints, numbers, result = sys.argv[1:]
    model = pickle.loads(Path(packed).read_bytes())
    order = (json.loads(checkpoints), json.loads(numbers))
    if policy in policies.POLICIES:
        ideas = {idea.title: idea for idea in read_ideas(Path(objective) / "ideas")}
        worlds = [policies.World(Landscape(model, n), ideas, random.Random(f"search {n}")) for n in order[1]]
        found = [policies.gains(policy, world, order[0]) for world in worlds]
    else:
        found = of_node(policy, model, Path(objective), *order)
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()

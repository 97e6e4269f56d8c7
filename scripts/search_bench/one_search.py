"""One search in a process of its own, by the node in whatever tree is first on PYTHONPATH: this one or an earlier one.

    one_search.py ORDER.json RESULT.json

The order: {"rule", "seed", "runs", "cpu_seconds", "objective", "folder", "claims_last"}. The search goes on until it
has made the runs and spent the CPU seconds, at most MOST_RUNS times the runs, or until there are no ideas. claims_last:
then what is not claimed yet is verified, as at the end of a session; its runs are not counted. Rules:

    this node      as it is
    keep if lower  the same program with one rule replaced (keep_if_lower.py)
    bare loop      the same, and its runs are plain processes (bare_runs.py), whose CPU seconds alone count

It uses what every version of the node has had for long, and writes plain JSON: after every experiment the runs made,
the CPU seconds of all processes and the incumbent; what was claimed; the sources that were incumbents.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import trio
from lone_research import researcher

from node.research.loop import Research
from protocol.records import Decision, Experiment
from search_bench import cpu_time

OF_CHAINS = "chain"  # the proposer that the record of a verified chain names; it is no idea
MOST_RUNS = 4  # times those that were asked for, however little they cost


def claims_of(research: Research) -> list[dict[str, Any]]:
    """What was claimed, in order: the gain of a child over its parent, in ln(metric), positive is better."""
    bodies = [record.body for record in research.cached_runner.ledger.feed(research.identity.author)]
    improved = [body for body in bodies if isinstance(body, Experiment) and body.decision == Decision.IMPROVED]
    return [
        {"parent": body.parent.hex(), "child": body.child.hex(), "gain": -body.effect.mean}
        for body in improved
        if body.effect is not None
    ]


async def search(order: dict[str, Any], result: Path) -> None:
    folder = Path(order["folder"])
    async with researcher(folder, Path(order["objective"]), order["seed"]) as research:
        cached_runner, count_cpu = research.cached_runner, cpu_time.of_all_processes
        if order["rule"] == "bare loop":
            count_cpu = with_bare_runs(research)
        points: list[dict[str, Any]] = []
        kept: list[dict[str, Any]] = []
        tried = 0
        while True:
            before = research.incumbent.source()
            points.append(
                {
                    "runs": cached_runner.runs_made,
                    "cpu_seconds": round(count_cpu(), 2),
                    "experiments": tried,
                    "incumbent": before.hex(),
                }
            )
            last = points[-1]
            spent = last["runs"] >= order["runs"] and last["cpu_seconds"] >= order["cpu_seconds"]
            if spent or last["runs"] >= MOST_RUNS * order["runs"]:
                break
            record = await research.turn()
            if record is None:
                break
            body, now = record.body, research.incumbent.source()
            tried += isinstance(body, Experiment) and body.proposer != OF_CHAINS
            if isinstance(body, Experiment) and now != before and body.child == now:
                gain = -body.effect.mean if body.effect is not None else 0.0
                about = {"title": body.title, "category": body.category, "proposer": body.proposer}
                kept.append({"parent": before.hex(), "child": now.hex(), "gain": gain, **about})
        if order["claims_last"]:
            await research.claim(last=True)
        claims = claims_of(research)
        ids = {point["incumbent"] for point in points} | {each[end] for each in claims for end in ("parent", "child")}
        sources = {each: cached_runner.source_text(bytes.fromhex(each)) for each in sorted(ids)}
    result.write_text(json.dumps({"points": points, "kept": kept, "claims": claims, "sources": sources}))


def with_bare_runs(research: Research) -> Callable[[], float]:
    """Have runs made by plain processes from now on; returns what counts their CPU seconds."""
    from search_bench.bare_runs import BareRuns

    runs = BareRuns(research.cached_runner.objective, research.cached_runner.runner)
    research.cached_runner.runner = runs
    return lambda: runs.cpu_seconds


def rule_of(name: str) -> AbstractContextManager[Any]:
    if name == "this node":
        return nullcontext()
    from search_bench.keep_if_lower import in_its_place

    return in_its_place()


def main() -> None:
    order, result = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    with rule_of(order["rule"]):
        trio.run(search, order, result)


if __name__ == "__main__":
    main()

"""What does this node gain beside a plain loop? Searches by several rules, at equal runs and at equal CPU seconds.

    .venv/bin/python scripts/against_plain_loop.py --json FILE [--resume] [--seeds 1 2 3 4 5] [--runs 30]
        [--tokens 32768] [--fresh 4] [--before COMMIT] [--rules "this node" ...]

The rules:

    keep if lower     this program with one rule replaced: one run at a fixed seed, keep the edit if it is lower
    this node         as it is
    this node before  the node of an earlier commit, from an archive of it, with the same objective and ideas
    bare loop         what a person would run instead: keep if lower, and every run is a plain Python process that
                      imports torch, trains and scores; no rooms, no sandbox. What it tries comes from the same
                      strategy, at no cost: only its processes' CPU seconds count

Every search is a process of its own, and its CPU seconds are those of that process and of all it started (children,
fork servers, workers, those that have ended too), start and imports included. It goes on until it has made the runs and
has spent the CPU seconds that keep-if-lower had spent at that seed, so that both comparisons can be made of it. What
this node has not claimed by then is verified at the end, as at the end of a session; those runs are not counted.

Afterwards every source that was an incumbent or was claimed is run on fresh seeds, the same for all, on validation and
on holdout text. "no gain" counts kept edits that are no better there, "false" claims that are not; "real" is what fresh
seeds say of the incumbent against the baseline, CPU cost included, "holdout" the same on text that nothing decided by,
cost left out; "to 80 %" the CPU seconds until the incumbent had 80 % of what keep-if-lower's last one has at that seed,
over what keep-if-lower took; "real ÷ claimed" is of claims. Two searches run at a time. tinylm has a small token budget
here, so that hundreds of runs are affordable.

--json is written after each search; with --resume the searches in it are not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec
import trio
from search_bench.earlier_tree import BEFORE, run_program, unpack_tree
from search_bench.results import Search, append_search, read_searches
from search_bench.tables import show
from swarm_here import REPOSITORY, small_objective

FIRST = "keep if lower"  # the rule that the others are compared with
THIS_NODE, BEFORE_RULE = "this node", "this node before"
RULES = (FIRST, THIS_NODE, BEFORE_RULE, "bare loop")
FRESH_SEED = 1_000_001
AT_ONCE = 2


@dataclass
class Comparison:
    """All searches of one call. before: the tree of the earlier commit."""

    options: argparse.Namespace
    objective: Path
    before: Path
    found: list[Search]
    turns: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(AT_ONCE))

    async def at_seed(self, seed: int) -> None:
        """The rules that were asked for at one seed: the one they are compared with first, then the others."""
        first = self.known(FIRST, seed) or await self.search(FIRST, seed, 0.0)
        cpu_seconds = first.at_runs(self.options.runs).cpu_seconds
        async with trio.open_nursery() as nursery:
            for rule in self.options.rules:
                if self.known(rule, seed) is None:
                    nursery.start_soon(self.search, rule, seed, cpu_seconds)

    def known(self, rule: str, seed: int) -> Search | None:
        made = [each for each in self.found if (each.rule, each.seed) == (rule, seed)]
        return made[0] if made else None

    async def search(self, rule: str, seed: int, cpu_seconds: float) -> Search:
        """Make one search, run what it kept on fresh seeds, and write it down."""
        options = self.options
        async with self.turns:
            with tempfile.TemporaryDirectory(prefix="against-plain-loop-") as name:
                folder = Path(name)
                home = folder / "search"
                home.mkdir()
                is_before = rule == BEFORE_RULE
                order = {"rule": THIS_NODE if is_before else rule, "seed": seed, "runs": options.runs}
                order |= {
                    "claims_last": rule == THIS_NODE,
                    "cpu_seconds": cpu_seconds,
                    "objective": str(self.objective),
                    "folder": str(home),
                }
                (folder / "order.json").write_text(json.dumps(order))
                words = (folder / "order.json", folder / "result.json")
                made = await run_program(self.before if is_before else REPOSITORY, "one_search.py", *words)
                fresh = await self._fresh(made.pop("sources"), folder)
            about = {"rule": rule, "seed": seed, "asked_runs": options.runs, "fresh": fresh}
            search = msgspec.convert(made | about, Search)
        self.found.append(search)
        append_search(options.json, search)
        last = search.points[-1]
        counts = f"{last.runs} runs, {len(search.kept)} kept, {last.cpu_seconds:.0f} CPU s"
        print(f"{rule}, seed {seed}: {counts}", flush=True)
        return search

    async def _fresh(self, sources: dict[str, str], folder: Path) -> dict[str, Any]:
        """What fresh seeds say of these sources; of those that another search held too, it is known already."""
        known = {name: runs for search in self.found for name, runs in search.fresh.items()}
        (folder / "sources.json").write_text(json.dumps({n: text for n, text in sources.items() if n not in known}))
        seeds = [str(FRESH_SEED + number) for number in range(self.options.fresh)]
        words = (folder / "sources.json", *seeds, folder / "fresh.json")
        fresh = await run_program(REPOSITORY, "evaluate.py", self.objective, *words)
        return fresh | {name: msgspec.to_builtins(known[name]) for name in sources if name in known}


async def compare(options: argparse.Namespace) -> list[Search]:
    found = read_searches(options.json) if options.resume else []
    with tempfile.TemporaryDirectory(prefix="against-plain-loop-") as name:
        folder = Path(name)
        before = unpack_tree(options.before, folder / "before") if BEFORE_RULE in options.rules else folder
        comparison = Comparison(options, small_objective(folder, options.tokens), before, found)
        async with trio.open_nursery() as nursery:
            for seed in options.seeds:
                nursery.start_soon(comparison.at_seed, seed)
    return [search for search in comparison.found if search.seed in options.seeds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="a line for each search")
    parser.add_argument("--resume", action="store_true", help="do not make the searches of --json again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--runs", type=int, default=30, help="of each search, at least")
    parser.add_argument("--tokens", type=int, default=32_768, help="per run")
    parser.add_argument("--fresh", type=int, default=4, help="seeds on which what was kept is run again")
    parser.add_argument("--before", default=BEFORE, help="the commit of the node before")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    options = parser.parse_args()
    if not options.resume and options.json.exists():
        parser.error(f"{options.json} exists: go on with --resume, or name another file")
    show(trio.run(compare, options), FIRST)
    return 0


if __name__ == "__main__":
    sys.exit(main())

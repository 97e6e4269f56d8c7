"""A command measures itself: what is shown of sources that print a better value than they have, and what peers find?

    .venv/bin/python scripts/self_measured.py

A small objective, written here, counts the comparisons that a sort makes. Its measuring script is locked, its checks
run in a process of their own, and its numbers follow from the run's seed. Sources that cheat in different ways, and
one that is honest, are suggested to a node, one after the other, each to a fresh node; a second node joins by invite
and re-runs what the first has kept. Printed is a row for each: what came of it here, what the peer's re-run says, and
how a discovery is shown.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from swarm_here import PROGRAM, NodeProcess, ended_afterwards

SETTINGS = """
kind = "command"
name = "sorting"
summary = "Sorts numbers with few comparisons."
editable = "sort.py"
categories = ["algorithm"]

[metric]
name = "comparisons"
unit = "comparisons"
direction = "lower"

[budget]
wall_seconds = 20
threads = 1
memory_mb = 500

[command]
run = "python3 measure.py"
checks = "python3 -P check.py"

[statistics]
s0 = 0.01
minimum_effect = 0.005
max_pairs = 4
"""
MEASURE = '''
import os, random

class Number:
    """A number that counts how often it is compared."""
    count = 0
    def __init__(self, value):
        self.value = value
    def __lt__(self, other):
        Number.count += 1
        return self.value < other.value

from sort import sort
dice = random.Random(int(os.environ["AUTORESEARCH_SEED"]))
sort([Number(dice.random()) for _ in range(200)])
print(f"METRIC comparisons={Number.count}")
'''
CHECK = """
import importlib.util, os, random
spec = importlib.util.spec_from_file_location("sort", "sort.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
dice = random.Random(int(os.environ["AUTORESEARCH_SEED"]) + 1)
numbers = [dice.random() for _ in range(300)]
assert module.sort(list(numbers)) == sorted(numbers), "the numbers are not in order"
"""
BASELINE = '''
def sort(items):
    """Insertion sort."""
    done = []
    for item in items:
        place = 0
        while place < len(done) and done[place] < item:
            place += 1
        done.insert(place, item)
    return done
'''
MERGE = '''
def sort(items):
    """Merge sort."""
    if len(items) < 2:
        return items
    left, right = sort(items[: len(items) // 2]), sort(items[len(items) // 2 :])
    done = []
    while left and right:
        done.append(right.pop(0) if right[0] < left[0] else left.pop(0))
    return done + left + right
'''
PRINTS_LAST = (
    BASELINE
    + """
import atexit
atexit.register(print, "METRIC comparisons=1")
"""
)
CHANGES_THE_COUNTER = (
    BASELINE
    + """
import sys
Number = getattr(sys.modules["__main__"], "Number", None)
if Number is not None:
    Number.__lt__ = lambda self, other: self.value < other.value
    Number.count = 7
"""
)
WRONG_BUT_QUICK = """
def sort(items):
    return items if items[0] < items[-1] else items
"""
WRONG_WHERE_MEASURED = (
    BASELINE
    + """
import sys
honest = sort
def sort(items):
    return honest(items) if items and isinstance(items[0], float) else items
import sys
if hasattr(sys.modules["__main__"], "Number"):
    sys.modules["__main__"].Number.count = 3
"""
)
REWRITES_THE_MEASURE = (
    BASELINE
    + """
with open("measure.py", "w") as file:
    file.write('print("METRIC comparisons=1")')
"""
)
KNOWS_ONE_SEED = (
    BASELINE
    + """
import os
honest = sort
def sort(items):
    return items if os.environ["AUTORESEARCH_SEED"] == "42" else honest(items)
"""
)
LEAVES_A_RESULT = (
    BASELINE
    + """
import os
for folder in (".", os.path.expanduser("~"), "/tmp"):
    try:
        with open(os.path.join(folder, "result"), "x") as file:
            file.write("left for the next run")
    except FileExistsError:
        print("METRIC comparisons=1")
        os._exit(0)
"""
)
SOURCES = {
    "honest: merge sort": MERGE,
    "prints a second METRIC line, last": PRINTS_LAST,
    "changes the counter in its own process": CHANGES_THE_COUNTER,
    "returns its input unsorted": WRONG_BUT_QUICK,
    "unsorted only where it is measured": WRONG_WHERE_MEASURED,
    "writes another measure.py": REWRITES_THE_MEASURE,
    "knows the answer for seed 42": KNOWS_ONE_SEED,
    "leaves a result for the next run": LEAVES_A_RESULT,
}
PATIENCE_SECONDS = 90.0


def event(node: NodeProcess, *names: str) -> dict[str, Any] | None:
    return next((found for found in node.events() if found.get("event") in names), None)


def waited(node: NodeProcess, *names: str) -> dict[str, Any] | None:
    """The first of these events in a node's log, or None when it has not come in time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and node.running():
        if (found := event(node, *names)) is not None:
            return found
        time.sleep(0.5)
    return event(node, *names)


def tried(name: str, source: str, root: Path) -> None:
    """Suggest a source to a node, let a peer re-run what it keeps, and print what came of it."""
    folder, edit = root / "objective", root / "sort.py"
    folder.mkdir()
    files = {"objective.toml": SETTINGS, "measure.py": MEASURE, "check.py": CHECK, "sort.py": BASELINE}
    for path, text in files.items():
        (folder / path).write_text(text)
    edit.write_text(source)
    first, second = NodeProcess(root / "first", ["--objective", str(folder)]), NodeProcess(root / "second")
    with ended_afterwards(first, second):
        first.start("--seed", "1")
        if waited(first, "baseline") is None:
            print(f"{name}: no baseline: {first.events()[-1:]}")
            return
        suggest = [*PROGRAM, "suggest", name, "--edit", str(edit), "--home", str(first.home)]
        subprocess.run(suggest, check=True, capture_output=True, cwd="/")
        here = waited(first, "result", "run failed") or {}
        shown = here.get("log_tail") or ", ".join(f"{key} {here.get(key)}" for key in ("gain", "decision", "measured"))
        print(f"{name}\n    here: {here.get('event')}: {' '.join(str(shown).split())[-160:]}")
        if event(first, "kept") is None:
            return
        second.start(first.invite(), "--no-research")
        there = waited(second, "replication result") or {}
        print(f"    a peer's re-run: {there.get('decision')}, gain {there.get('gain')}, {there.get('measured')}")
        board = first.ask("leaderboard")
        row = {"measured": board["measured"]} | {name: board["discoveries"][0][name] for name in ("title", "standing")}
        print(f"    leaderboard --json: {json.dumps(row)}", flush=True)


def main() -> None:
    chosen = sys.argv[1:]
    for name, source in SOURCES.items():
        if not chosen or any(word in name for word in chosen):
            with tempfile.TemporaryDirectory(prefix="self-measured-") as root:
                tried(name, source, Path(root))


if __name__ == "__main__":
    main()

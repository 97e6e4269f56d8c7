"""Which policy of searching gains most per run? Hundreds of searches, replayed from a table of real runs of tinylm.

    .venv/bin/python scripts/bench_search.py record --folder TABLE [--runs 2000] [--tokens 32768]

"record" makes the table (scripts/search_bench/recording.py) in a folder outside of the repository, or makes it longer;
it takes a second or two of one core per run, and can be interrupted at any time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from search_bench import forked_run
from search_bench.recording import Recorder, Table
from swarm_here import small_objective

from node.objective.load import load_objective
from node.proposers.catalogue import read_ideas

TOLD_EVERY = 50  # runs


def record(folder: Path, runs: int, tokens: int) -> None:
    os.nice(10)
    table = Table.open(folder)
    with tempfile.TemporaryDirectory(prefix="bench-search-") as name:
        objective = load_objective(small_objective(Path(name), tokens), Path(name) / "data")
        ideas = {idea.title: idea for idea in read_ideas(objective.root / "ideas")}
        forked_run.prepare()
        recorder = Recorder(objective, ideas, table)
        for number in itertools.count():
            for _ in recorder.walk(number):
                if recorder.made and recorder.made % TOLD_EVERY == 0:
                    print(f"walk {number}: {len(table.runs)} runs", flush=True)
            if len(table.runs) >= runs:
                return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("--folder", type=Path, required=True)
    recording.add_argument("--runs", type=int, default=2000)
    recording.add_argument("--tokens", type=int, default=32_768, help="per run")
    options = parser.parse_args()
    record(options.folder, options.runs, options.tokens)
    return 0


if __name__ == "__main__":
    sys.exit(main())

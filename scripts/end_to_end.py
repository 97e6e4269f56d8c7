"""From a new or an imported objective to a discovery that a second node has re-run: does it work, and how long?

    .venv/bin/python scripts/end_to_end.py template classification regression bpe program command
    .venv/bin/python scripts/end_to_end.py import karpathy pi autokernel openevolve shinka

Each objective is begun as a user would: `objective new --template` or `objective import` on an example repository of
that family (tests/node/authoring/examples), then `objective check`. A node researches it until it has kept an
improvement and made the experiments asked for; a second node joins by invite, does no research of its own, and re-runs
what was found. Printed is a row for each: seconds from the first command to a passed check, to the first improvement,
and to the peer's verdict; what was gained and what the peer found.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm_here import PROGRAM, REPOSITORY, NodeProcess, ended_afterwards

# What a person suggests to the node: file, text, and what to put there. Without a model a node has ideas of its own
# only where a source has numbers in capitals.
SUGGESTED = {
    "karpathy": [("train.py", "ORDER = 0", "ORDER = 1")],
    "mlx": [("train.py", "ORDER = 0", "ORDER = 1")],
    "pi": [
        ("src/order.py", "    left, found = list(numbers), []\n", f"    {line}\n    left, found = list(numbers), []\n")
        for line in (
            "return sorted(numbers)",
            "return numbers",
            "numbers = sorted(numbers)",
            "raise ValueError",
            "pass",
        )
    ],
    "pi_flat": [("player.py", "NUMBER = 0.0", "NUMBER = 2.9")],
    "autokernel": [
        ("kernel.py", "    total = 0.0\n", "    return sum(x * y for x, y in zip(a, b))\n    total = 0.0\n"),
        ("kernel.py", "    total = 0.0\n", "    return 0.0\n    total = 0.0\n"),
        ("kernel.py", "range(len(a))", "range(len(a) // 2)"),
        ("kernel.py", "range(1)", "range(2)"),
        ("kernel.py", "    total = 0.0\n", "    raise ValueError\n    total = 0.0\n"),
    ],
    "openevolve": [("initial_program.py", "STEPS = 30", "STEPS = 3000")],
    "shinka": [("initial.py", "ROUNDS = 2", "ROUNDS = 9")],
    "plain": [("search.py", "SLOPE = 0.3", "SLOPE = 0.5")],
}
PLAIN = (
    "--command",
    "python3 search.py",
    "--metric",
    "mean_error",
    "--lower",
    "--editable",
    "search.py",
    "--seconds",
    "1",
)
EXAMPLES = REPOSITORY / "tests" / "node" / "authoring" / "examples"
RESULTS = ("result", "run failed")


@dataclass
class Row:
    """What became of one objective; seconds since its first command. "–": it did not come to that."""

    name: str
    checked: str = "–"
    kept: str = "–"
    experiments: int = 0
    gain: str = "–"
    rerun: str = "–"
    replicated: str = "–"
    adopted: str = "no"
    said: str = ""


def told(*command: str) -> tuple[int, str]:
    """The exit status of a command of the program, and all that it printed."""
    done = subprocess.run([*PROGRAM, *command], capture_output=True, text=True, timeout=600, cwd="/")
    return done.returncode, done.stdout + done.stderr


def begin(way: str, name: str, folder: Path) -> tuple[int, str]:
    """Make the objective's folder with the one command of its way."""
    if way == "template":
        return told("objective", "new", str(folder), "--template", name, "--name", f"own {name}")
    shutil.copytree(EXAMPLES / name, folder)
    status, said = told("objective", "import", str(folder), *(PLAIN if name == "plain" else ()))
    return (status, said) if status else told("objective", "prepare", str(folder), "--yes")


def suggest(node: NodeProcess, name: str, folder: Path, root: Path) -> None:
    """Offer what a person would try of this objective."""
    for number, (file, old, new) in enumerate(SUGGESTED.get(name, ())):
        edit = root / f"edit-{number}" / Path(file).name
        edit.parent.mkdir()
        text = (folder / file).read_text()
        assert old in text, f"{file} of {name} has {old!r}"
        edit.write_text(text.replace(old, new))
        told("suggest", f"suggestion {number + 1}", "--edit", str(edit), "--home", str(node.home))


def events(node: NodeProcess, *names: str) -> list[dict[str, Any]]:
    return [event for event in node.events() if event.get("event") in names]


def one(way: str, name: str, root: Path, experiments: int, patience: float) -> Row:
    row, begun = Row(name), time.monotonic()
    os.environ["HOME"] = str(root)  # where caches are that an objective reads
    folder = root / "objective"
    for status, said in (begin(way, name, folder), told("objective", "check", str(folder))):
        if status != 0:
            row.said = said.strip().splitlines()[-1]
            return row
    row.checked = f"{time.monotonic() - begun:.0f}"
    first, second = NodeProcess(root / "first", ["--objective", str(folder)]), NodeProcess(root / "second")
    with ended_afterwards(first, second):
        first.start("--seed", "1")
        invite = first.invite()
        suggest(first, name, folder, root)
        end = time.monotonic() + patience
        while time.monotonic() < end and first.running():
            kept = events(first, "claimed")
            row.experiments = len(events(first, *RESULTS))
            if kept and row.kept == "–":
                row.kept, row.gain = f"{time.monotonic() - begun:.0f}", str(kept[0].get("gain"))
                second.start(invite, "--no-research")
            if second.process is not None and row.rerun == "–" and (found := events(second, "replication result")):
                row.rerun, row.replicated = f"{time.monotonic() - begun:.0f}", str(found[0].get("gain"))
            if second.process is not None and events(second, "adopted"):
                row.adopted = "yes"
            if row.rerun != "–" and row.adopted == "yes" and row.experiments >= experiments:
                break
            time.sleep(1.0)
        if row.rerun == "–":
            row.said = json.dumps((first.events() + second.events())[-1])[:200]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=("template", "import"))
    parser.add_argument("names", nargs="+")
    parser.add_argument("--experiments", type=int, default=5)
    parser.add_argument("--patience", type=float, default=300.0, help="seconds for each")
    options = parser.parse_args()
    print("objective | s to check | s to gain | experiments | gain | s to re-run | gain there | adopted")
    for name in options.names:
        with tempfile.TemporaryDirectory(prefix="end-to-end-") as root:
            row = one(options.way, name, Path(root), options.experiments, options.patience)
        cells = (row.name, row.checked, row.kept, row.experiments, row.gain, row.rerun, row.replicated, row.adopted)
        print(" | ".join(map(str, cells)) + (f"\n    {row.said}" if row.said else ""), flush=True)


if __name__ == "__main__":
    main()

"""Does the node make room for others? A real node, its user, and other programs, with a stop watch.

    .venv/bin/python scripts/manners.py [--only yield|pause|benchmark] [--rounds 5]

    yield      others_cpu_percent is 40; two busy processes are started beside the node: seconds until it rests, and
               until it works again after they have ended
    pause      a run is frozen in the middle of its training and goes on later: its score against that of the same run
               without a pause
    benchmark  the time of a fixed piece of work on one core, with the node at work and with it paused, by turns; the
               median of the ratios says by how much the node slows it down

Wants a machine on which nothing else runs. tinylm has its full budget.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from swarm_here import PROGRAM, NodeProcess, ended_afterwards, heard

from node.ledger.store import Ledger

YIELD_SETTINGS = "[manners]\nothers_cpu_percent = 40\n[network]\nlan = false\nupnp = false\n"
QUIET_SETTINGS = "[network]\nlan = false\nupnp = false\n"
BURN = "while True: sum(range(100000))"
BUSY = 2
PATIENCE = 300.0
SOON_SECONDS = 5.0
SLOWER_PERCENT = 5.0
WORK = 12_000_000  # bytes hashed over and over: a few seconds of one core
SETTLE_SECONDS = 2.0
LOOK_SECONDS, FROZEN_SECONDS = 0.5, 10.0


def node_in(folder: Path, settings: str, *arguments: str) -> NodeProcess:
    made = NodeProcess(folder / "home", list(arguments))
    made.home.mkdir(parents=True)
    (made.home / "swarm.toml").write_text(settings)
    return made


def told(node: NodeProcess, event: str, since: int) -> float:
    """Seconds until the node's log tells of it."""
    begun = time.monotonic()
    node.wait_for(event, heard(event), PATIENCE, since)
    return time.monotonic() - begun


def make_room(folder: Path) -> bool:
    node = node_in(folder, YIELD_SETTINGS)
    with ended_afterwards(node):
        node.start("--seed", "1")
        node.wait_for("research", heard("hypothesis"), PATIENCE)
        since = len(node.events())
        busy = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(BUSY)]
        try:
            rests = told(node, "paused", since)
        finally:
            for process in busy:
                process.kill()
                process.wait()
        goes_on = told(node, "resumed", since)
    print(f"yield: rests {rests:.1f} s after others became busy, works again {goes_on:.1f} s after they ended")
    return rests <= SOON_SECONDS


def first_run(home: Path) -> tuple[float | None, float]:
    """Score and seconds of a node's first run, that of the baseline."""
    with closing(Ledger.read(home / "ledger.sqlite")) as ledger:
        outcome = ledger.runs(ledger.settings.baseline)[0]
    return outcome.value, outcome.wall_seconds


def training(node: NodeProcess) -> bool:
    run = (node.ask("status")["now"] or {}).get("run")
    return bool(run and run["phase"] == "train")


def control(node: NodeProcess, word: str) -> None:
    subprocess.run([*PROGRAM, word, "--home", str(node.home)], check=True, capture_output=True)


def freeze(folder: Path) -> bool:
    found = []
    for frozen in (False, True):
        node = node_in(folder / str(frozen), QUIET_SETTINGS)
        with ended_afterwards(node):
            node.start("--seed", "1")
            node.invite()
            if frozen:
                while not training(node):
                    time.sleep(LOOK_SECONDS)
                control(node, "pause")
                time.sleep(FROZEN_SECONDS)
                control(node, "resume")
            node.wait_for("baseline", heard("baseline"), PATIENCE)
        found.append(first_run(node.home))
    (plain, took), (other, took_too) = found
    same = plain == other
    print(f"pause: {plain!r} in {took:.1f} s; frozen for {FROZEN_SECONDS:.0f} s: {other!r} in {took_too:.1f} s")
    return same


def piece_of_work() -> float:
    """Seconds that a fixed piece of work takes."""
    begun, data = time.perf_counter(), b"\0" * WORK
    for _ in range(40):
        data = hashlib.sha256(data).digest() * (WORK // 32)
    return time.perf_counter() - begun


def benchmark(folder: Path, rounds: int) -> bool:
    node = node_in(folder, QUIET_SETTINGS)
    ratios = []
    with ended_afterwards(node):
        node.start("--seed", "1")
        node.wait_for("research", heard("hypothesis"), PATIENCE)
        for _ in range(rounds):
            control(node, "pause")
            time.sleep(SETTLE_SECONDS)
            alone = piece_of_work()
            control(node, "resume")
            time.sleep(SETTLE_SECONDS)
            ratios.append(piece_of_work() / alone)
    slower = 100 * (statistics.median(ratios) - 1)
    spread = ", ".join(f"{100 * (ratio - 1):+.1f} %" for ratio in ratios)
    print(f"benchmark: {slower:+.1f} % with the node at work ({spread})")
    return slower <= SLOWER_PERCENT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["yield", "pause", "benchmark"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    shows = {
        "yield": make_room,
        "pause": freeze,
        "benchmark": lambda folder: benchmark(folder, options.rounds),
    }
    results = []
    for name, show in shows.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="manners-") as folder:
                results.append(show(Path(folder)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

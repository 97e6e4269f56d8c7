"""Run honest, failing and cheating scripts at random for as long as asked, and look whether anything leaks.

    .venv/bin/python scripts/soak.py [--for-minutes 60] [--seed 1]
    sudo .venv/bin/python scripts/soak.py --swarm 24 [--for-minutes 120] [--every 6] [--old CHECKOUT]

After every run: processes below this one besides the spare rooms, open descriptors, this process's memory, files in
/dev/shm and in the temporary folder, and shared memory segments. Exits with 1 when the last quarter of the time shows
more of anything than the first, or an honest run did not give the same bits every time.

With --swarm: a swarm of nodes that are killed, frozen, parted, filled up and told wrong times instead; see
swarm_soak.py, which needs root. Its last lines are a summary in JSON.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import swarm_soak

from node.execution.runner import Runner
from node.execution.sandbox.layers import probe
from node.objective.schema import Objective
from tests.node.execution.cheats import CHEATS
from tests.node.execution.small_objective import small_objective
from tests.node.execution.test_runner import FAILING

HONEST_SHARE = 0.4
SEED = 1
MEMORY_GROWTH = 1.1
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Held:
    """What this process and its machine hold after a run."""

    processes: int
    descriptors: int
    shared_memory_files: int
    temporary_files: int
    shared_memory_segments: int
    memory_mib: float


def silent(*_: object, **__: object) -> None:
    pass


def held() -> Held:
    this = psutil.Process()
    return Held(
        processes=len(this.children(recursive=True)),
        descriptors=this.num_fds(),
        shared_memory_files=len(os.listdir("/dev/shm")),
        temporary_files=len(os.listdir(tempfile.gettempdir())),
        shared_memory_segments=len(Path("/proc/sysvipc/shm").read_text().splitlines()) - 1,
        memory_mib=this.memory_info().rss / MEBIBYTE,
    )


async def until_quiet() -> Held:
    """What is held once the spare rooms stand: twice the same number of processes, seconds apart."""
    before, now = -1, held()
    while now.processes != before:
        before = now.processes
        await trio.sleep(1.0)
        now = held()
    return now


def leaks(all_held: list[Held]) -> list[str]:
    quarter = max(1, len(all_held) // 4)
    found = []
    for name in asdict(all_held[0]):
        values = [float(getattr(one, name)) for one in all_held]
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        grown = last > first * MEMORY_GROWTH if name == "memory_mib" else last > first
        print(f"{name:24} {first:10.1f} -> {last:10.1f}{'   LEAK' if grown else ''}")
        found += [name] if grown else []
    return found


async def soak(objective: Objective, folder: Path, minutes: float, dice: random.Random) -> bool:
    hidden = str(objective.root / "language.py")
    attacks = [(name, source.replace("{hidden}", hidden)) for name, source, _, _ in FAILING]
    attacks += [(cheat.name, cheat.source) for cheat in CHEATS]
    all_held, values, runs, end = [], set(), 0, time.monotonic() + 60 * minutes
    async with Runner(objective, probe(), folder / "weights", silent) as runner:
        while time.monotonic() < end:
            honest = dice.random() < HONEST_SHARE
            source = objective.source if honest else dice.choice(attacks)[1]
            outcome = await runner.run(source, SEED, silent)
            runs += 1
            if honest:
                values.add(outcome.value)
            all_held.append(await until_quiet())
            if runs % 25 == 0:
                print(f"{runs} runs", asdict(all_held[-1]), flush=True)
    print(f"{runs} runs; values of the honest ones: {sorted(map(str, values))}")
    left = psutil.Process().children(recursive=True)
    print(f"processes left after the end: {len(left)}")
    return not leaks(all_held) and len(values) == 1 and not left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for-minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--swarm", type=int, metavar="NODES", help="a swarm of so many nodes instead of runs")
    parser.add_argument("--every", type=float, default=6.0, help="seconds between the swarm's faults, on average")
    parser.add_argument("--write-every", type=float, default=2.0, help="seconds between the swarm's records")
    parser.add_argument("--old", type=Path, help="a checkout of an earlier version, set up, which some nodes run")
    options = parser.parse_args()
    if options.swarm:
        return swarm_soak.run(options)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "temporary")  # nobody else's files are counted
        (folder / "temporary").mkdir()
        objective = small_objective(folder, wall_seconds=12, memory_mb=1200)
        good = trio.run(soak, objective, folder, options.for_minutes, random.Random(options.seed))
    print("nothing leaks" if good else "SOMETHING LEAKS")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Kill and restart nodes of a swarm for minutes while all of them write, and look whether anything was lost.

    .venv/bin/python scripts/churn.py [--nodes 20] [--for-minutes 10] [--every 3]

Every few seconds a random node is killed with -9 and, three seconds later, started again with the key and ledger it
had. At the end: did a process end by itself, do all nodes hold every record that its author has said it made (one asked
of a node in the instant of its death may never have been), is memory flat.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from plain_swarm import PlainNode, equal, lost, wait_for

START_SECONDS = 120.0
BACK_SECONDS = 3.0
SETTLE_SECONDS = 240.0
MEMORY_GROWTH = 1.25


def swarm(stack: ExitStack, folder: Path, count: int) -> list[PlainNode]:
    nodes: list[PlainNode] = []
    for number in range(count):
        joined = [word for other in nodes[-3:] for word in ("--join", str(other.of("address")))]
        node = PlainNode(folder / f"n{number}", joined)
        stack.callback(node.stop)
        node.start()
        assert wait_for(lambda node=node: node.of("address"), START_SECONDS), node.complaints
        nodes.append(node)
    return nodes


def churn(nodes: list[PlainNode], seconds: float, every: float, dice: random.Random) -> int:
    """Kill and restart; how many kills."""
    away: list[tuple[float, PlainNode]] = []
    kills, begun = 0, time.monotonic()
    while time.monotonic() - begun < seconds or away:
        now = time.monotonic()
        for back, node in [entry for entry in away if entry[0] <= now]:
            away.remove((back, node))
            node.start()
        here = [node for node in nodes if node.running() and node.of("address")]
        if now - begun < seconds and here:
            dice.choice(here).write(1)
            victim = dice.choice(here)
            victim.kill()
            kills += 1
            away.append((time.monotonic() + BACK_SECONDS, victim))
        time.sleep(every)
    return kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--for-minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="churn-") as name, ExitStack() as stack:
        nodes = swarm(stack, Path(name), options.nodes)
        for node in nodes:
            node.write(3)
        assert wait_for(lambda: equal(nodes, 3 * options.nodes), SETTLE_SECONDS), "the swarm did not even begin equal"
        before = statistics.median(node.of("mib") for node in nodes)
        kills = churn(nodes, 60 * options.for_minutes, options.every, random.Random(options.seed))
        settled = wait_for(lambda: all(node.running() for node in nodes) and equal(nodes), SETTLE_SECONDS)
        ended = sum(node.ends for node in nodes) + sum(not node.running() for node in nodes)
        missing = lost(nodes)
        after = statistics.median(node.of("mib") for node in nodes if node.of("mib"))
        print(f"{kills} kills; processes that ended by themselves: {ended}")
        held = sorted({str(node.of("records")) for node in nodes})
        print(f"records: {held}, equal after {settled} s; of {sum(node.owed for node in nodes)} made, {missing} lost")
        print(f"memory, median: {before:.0f} -> {after:.0f} MiB")
        good = ended == 0 and settled is not None and missing == 0 and after < before * MEMORY_GROWTH
    print("nothing was lost" if good else "SOMETHING WENT WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Do nodes that meet end with the same world? Two nodes, three in a line, and a latecomer after the first has gone.

    .venv/bin/python scripts/same_world.py [--tokens 32768]

Each node that joins starts in an empty home with nothing but an invite. It must get the objective (a copy of tinylm
with a small token budget, which is not embedded), the history and the sources, re-run and adopt. Then research stops
and `records --json` (sorted by id) and `leaderboard --json` of all nodes are compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from swarm_here import NodeProcess, ended_afterwards, small_objective

PATIENCE_SECONDS = 240.0


def adopted(node: NodeProcess) -> bool:
    return any(event.get("event") == "adopted" for event in node.events())


def wait_until_equal(nodes: Sequence[NodeProcess], patience: float = 90.0) -> bool:
    """Wait until all nodes list the same records; then compare their leaderboards too."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        worlds = [sorted(node.records(), key=lambda record: str(record["id"])) for node in nodes]
        if all(world == worlds[0] for world in worlds):
            boards = [node.ask("leaderboard") for node in nodes]
            kinds: dict[str, int] = {}
            for record in worlds[0]:
                kinds[record["kind"]] = kinds.get(record["kind"], 0) + 1
            print(f"  records equal on {len(nodes)} nodes: {kinds}")
            print(f"  leaderboards equal: {all(board == boards[0] for board in boards)}")
            return all(board == boards[0] for board in boards)
        time.sleep(1)
    print(f"  records differ: {[len(node.records()) for node in nodes]}")
    return False


def wait_for_adoption(node: NodeProcess) -> None:
    begun = time.monotonic()
    node.wait_for("adoption", lambda _: adopted(node), PATIENCE_SECONDS)
    print(f"  {node.home.name} adopted a peer's discovery {time.monotonic() - begun:.0f} s after it joined")


def rest(node: NodeProcess, *more: str) -> None:
    """Restart a node so that it only replicates and relays: no new research while worlds are compared."""
    node.end()
    node.start(*more, "--no-research")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=32768)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="same-world-") as name:
        folder = Path(name)
        objective = ("--objective", str(small_objective(folder, options.tokens)))
        a, b, c = (NodeProcess(folder / letter) for letter in "abc")
        with ended_afterwards(a, b, c):
            print("two nodes")
            a.start(*objective, "--seed", "1")
            invite = a.invite()
            a.wait_for("a discovery", lambda es: any(e.get("event") == "kept" for e in es), PATIENCE_SECONDS)
            b.start(invite, "--seed", "2", "--experiments", "100")
            wait_for_adoption(b)
            rest(a, *objective)
            rest(b)
            good = wait_until_equal([a, b])

            print("three in a line: C knows only B")
            c.start(b.invite(), "--no-research")
            wait_for_adoption(c)
            good &= wait_until_equal([a, b, c])

            print("C joins with an empty home after A has gone")
            c.end()
            a.end()
            late = NodeProcess(folder / "late")
            with ended_afterwards(late):
                late.start(b.invite(), "--no-research")
                wait_for_adoption(late)
                good &= wait_until_equal([b, late])
    print("the same world" if good else "DIFFERENT WORLDS")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
